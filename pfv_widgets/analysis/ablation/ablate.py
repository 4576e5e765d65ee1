"""A network that runs without some of the components of one of its layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from pfv_widgets.analysis.core.suspects import Suspect, SuspectBasis, checked_suspects
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.network.capture import for_this_thread, modules_by_name
from pfv_widgets.engine.network.devices import copied
from pfv_widgets.engine.network.feature_layout import LAYOUTS, Layout, possible_layouts
from pfv_widgets.engine.network.layers import unknown_layer
from pfv_widgets.engine.network.model_guard import clean_name, guarded, unwrap
from pfv_widgets.engine.network.module_calls import tensors_in
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.settings import CUT_MODES
from pfv_widgets.errors import PFVTypeError, PFVValueError, warn
from pfv_widgets.validation import is_whole, plain, text_or_none, whole_numbers

MODES = CUT_MODES
_FITS = 1e-3  # that a reader reads 1 of its component
_APART = 0.1  # smallest singular value of readers × directions: below, a cut adds noise


@own_modes()
def ablate(
    model: nn.Module,
    layer: str | None,
    basis: PrincipalBasis,
    components: int | Iterable[int] = (),
    *,
    suspects: Any = (),
    mode: str = "project",
    signs: Iterable[int] | None = None,
    layout: Layout | None = None,
) -> Ablated:
    """Return a network that runs like ``model`` with components of a layer cut out.

    The network is copied: what is given stays as it is, and training the new one does not change
    it.

    Parameters
    ----------
    model
        Any eager ``nn.Module``, also one that was made by this function.
    layer
        Its layer that the basis is of; None: ``basis.layer``.
    basis
        Mean and components of the layer's feature vectors.
    components
        Indices from 0, each once; there may be none where there are suspects.
    suspects
        A ``ShortcutReport``, or some of its suspects, that are cut together with the components.
        Each is cut obliquely: what its ``reader`` reads is taken away along its direction, also
        where it is one of the components of a report's basis. Any other component is read by
        itself, at right angles, and so is a suspect whose reader does not tell it from the
        components that are cut with it.
    mode
        ``"project"``: every feature vector loses its part along the components, about the mean.
        ``"keep"``: it keeps that part alone. ``"clamp"``: it loses the positive part of each
        score, as in SpuFix (Neuhaus et al., ICCV 2023).
    signs
        1 or −1 for each component: which side is taken for positive. Matters for ``"clamp"``.
    layout
        How the layer's output is laid out, such as ``pfv.layer(name).layout``; None: as its
        shape suggests. Class tokens have no position and stay as they are.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what is legal.
    """
    network = unwrap(model)
    if not isinstance(basis, PrincipalBasis):
        raise PFVTypeError(f"basis={basis!r:.80}: expected a PrincipalBasis, such as frame.basis.")
    more = checked_suspects(suspects)
    entries: Any = plain(components)
    entries = tuple(entries) if isinstance(entries, Iterator) else entries
    nothing = isinstance(entries, tuple | list) and not entries
    indices = () if more and nothing else checked_components(entries, basis)
    if not isinstance(mode, str) or mode not in MODES:
        raise PFVValueError(f"mode={mode!r:.60}: choose one of {', '.join(map(repr, MODES))}.")
    if layout is not None and not isinstance(layout, Layout):
        raise PFVTypeError(
            f"layout={layout!r:.60}: expected a layer's layout, such as pfv.layer(name).layout, or "
            "None."
        )
    name = _checked_layer(network, layer, basis)
    _same_layer(more, name, basis)
    sides = checked_signs(signs, len(indices))
    rows = torch.stack([basis.components, _readers(basis)])[:, list(indices)]
    signed = rows * rows.new_tensor(sides)[:, None]
    directions, readers = _directions(signed, basis, more)
    if mode == "project":
        _something_left(network, name, basis, directions)
    return Ablated(copied(network), name, basis.mean, directions, readers, mode=mode, layout=layout)


class Ablated(nn.Module):
    """A network without some components of one layer; :func:`ablate` makes it.

    Its state dict holds the network's own under ``model.`` beside the mean, the directions and
    the readers.

    Attributes
    ----------
    model
        The network, whole.
    layer, mode
        As given.
    mean
        ``(C,)``, of the feature vectors.
    directions
        ``(m, C)``, unit vectors that are cut, those of negative sign reversed.
    readers
        ``(m, C)``: what measures how much of each direction there is; those of components are
        the directions.
    active
        Whether the components are cut; with False it runs as the network does.
    """

    mean: Tensor
    directions: Tensor
    readers: Tensor

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        mean: Tensor,
        directions: Tensor,
        readers: Tensor,
        *,
        mode: str,
        layout: Layout | None = None,
    ) -> None:
        super().__init__()
        self.model, self.layer, self.mode, self.layout = model, layer, mode, layout
        self.active, self.training = True, model.training
        self._checked = False  # whether the output was seen to depend on the layer
        like = next((one for one in model.parameters()), mean)
        self.register_buffer("mean", mean.detach().clone().to(like.device))
        self.register_buffer("directions", directions.detach().clone().to(like.device))
        self.register_buffer("readers", readers.detach().clone().to(like.device))

    def extra_repr(self) -> str:
        """Say in ``repr`` what is cut."""
        return f"layer={self.layer!r}, directions={len(self.directions)}, mode={self.mode!r}"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network with the components cut.

        The first time it warns where that leaves the output as it is, in eval mode.
        """
        if not self.active:
            return self.model(*args, **kwargs)
        result, changed = self._run(self.model, args, kwargs)
        if changed:
            self._checked = True
            self._look_for_an_effect(result, args, kwargs)
        return result

    def _look_for_an_effect(
        self, result: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Compare with the network whole, in eval mode: dropout differs from run to run."""
        if not self.training:
            with torch.no_grad():
                _warn_of_no_effect(self.layer, result, self.model(*args, **kwargs))
            return
        with guarded(self.model) as network:
            cut, _ = self._run(network, args, kwargs)
            _warn_of_no_effect(self.layer, cut, network(*args, **kwargs))

    def _run(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, bool]:
        """Return the output, and whether the cut changed the layer's own where that is unknown."""
        base, _, number = self.layer.partition("#")
        module, runs, changed = _module(model, base), 0, False
        tensors = (one for one in (*args, *kwargs.values()) if isinstance(one, Tensor))
        image = next((one.shape[-2:] for one in tensors if one.ndim > 2), None)

        def cut(module: nn.Module, _: object, output: object) -> Tensor | None:
            nonlocal runs, changed
            runs += 1
            if runs != int(number or 1):
                return None
            new = self._cut(module, output, None if image is None else (image[0], image[1]))
            if not self._checked:
                changed = not torch.equal(new, cast(Tensor, output))
            return new

        handle = module.register_forward_hook(for_this_thread(cut))
        try:
            result = model(*args, **kwargs)
        finally:
            handle.remove()
        if runs < int(number or 1):
            raise PFVValueError(
                f"layer={self.layer!r} did not run. Choose a layer with feature maps."
            )
        return result, changed

    def undo(self) -> nn.Module:
        """Return the network whole, with the weights that it has now."""
        return self.model

    def _cut(self, module: nn.Module, output: object, image: tuple[int, int] | None) -> Tensor:
        if not isinstance(output, Tensor):
            raise PFVValueError(
                f"layer={self.layer!r} gives a {type(output).__name__}, not one tensor. Choose a "
                "layer inside it."
            )
        layout = self.layout or self._layout_of(module, output, image)
        maps = layout.maps(output)
        new = cut_components(maps, self.mean, self.directions, self.mode, self.readers)
        new = new.to(output.dtype)
        if layout.kind == "maps":
            return new
        whole = output.clone()
        layout.maps(whole).copy_(new)  # a view: class tokens stay as they are
        return whole

    def _layout_of(
        self, module: nn.Module, output: Tensor, image: tuple[int, int] | None
    ) -> Layout:
        channels, shape = len(self.mean), tuple(output.shape)
        layouts = [Layout(name) for name, kind in LAYOUTS.items() if kind.grid and len(shape) == 4]
        if len(shape) in (3, 4) and image is not None:
            layouts = possible_layouts(shape, module, image, []) + layouts
        for layout in layouts:
            if layout.maps(output).shape[1] == channels:
                return layout
        raise PFVValueError(
            f"basis has {channels} channels, and layer {self.layer!r} gives a tensor of shape "
            f"{shape}. Give the basis of that layer, or the layer's layout=..."
        )


def _warn_of_no_effect(layer: str, cut: object, whole: object) -> None:
    """Warn where outputs are the same with components cut as without."""
    pairs = list(zip(tensors_in(cut), tensors_in(whole), strict=False))
    if pairs and all(torch.equal(one, other) for one, other in pairs):
        warn(
            f"layer={layer!r}: cutting its components leaves the network's output as it is, since "
            "that does not depend on the layer's positions. Cut an earlier layer, or one on the "
            "way to the output."
        )


def cut_components(
    maps: Tensor, mean: Tensor, directions: Tensor, mode: str, readers: Tensor | None = None
) -> Tensor:
    """Return maps ``(N, C, h, w)`` without their part along unit vectors ``(m, C)``.

    Parameters
    ----------
    mean
        ``(C,)``: the point about which the parts are measured.
    mode
        One of :data:`MODES`.
    readers
        ``(m, C)`` with ``readers @ directions.T`` the unit matrix: they measure the parts. None:
        the directions do, and the cut is at right angles.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    mean, directions = mean.to(wide), directions.to(wide)
    vectors = wide.flatten(2)
    readers = directions if readers is None else readers.to(wide)
    scores = readers @ vectors - (readers @ mean)[:, None]
    if mode == "clamp":
        scores = scores.clamp_min(0)
    across = directions.T.expand(len(vectors), -1, -1)
    if mode == "keep":
        new = mean[:, None] + across @ scores
    else:  # in one step: a copy of the maps takes as long as the product
        new = torch.baddbmm(vectors, across, scores, alpha=-1)
    return new.view(wide.shape)


def orthonormal(rows: Tensor) -> Tensor:
    """Return unit vectors at right angles that span the same, each towards the one it is made of.

    What lies in the span of those before it is left out, and so are rows of zeros.
    """
    gram = rows @ rows.T
    if bool(((gram - torch.eye(len(gram)).to(gram)).abs() < 1e-4).all()):
        return rows
    independent: list[Tensor] = []
    for row in rows.double():
        rest = row - sum(((row @ one) * one for one in independent), torch.zeros_like(row))
        if float(rest.norm()) > 1e-4 * float(row.norm()):
            independent.append(rest / rest.norm())
    return torch.stack(independent).to(rows) if independent else rows[:0]


def matched_readers(directions: Tensor, readers: Tensor) -> Tensor:
    """Return readers ``(m, C)`` for :func:`cut_components`, mixed from those given ``(k, C)``.

    Both are of the span of the orthonormal directions ``(m, C)`` that is cut, and ``k`` is at least
    ``m``. Where the readers given do not tell the directions apart, the directions themselves.
    """
    rows = readers.cpu().double()
    crossed = rows @ directions.cpu().double().T
    if float(torch.linalg.svdvals(crossed)[-1]) < _APART:
        return directions
    matched: Tensor = torch.linalg.pinv(crossed) @ rows
    return matched.to(directions)


def checked_components(components: object, basis: PrincipalBasis) -> tuple[int, ...]:
    """Return indices of components, each once."""
    most = len(basis.components) - 1
    entries: Any = [components] if is_whole(components) else plain(components)
    legal = f"one or more indices of components, whole numbers from 0 to {most}"
    indices = whole_numbers("components", entries, 0, most, legal)
    if len(set(indices)) != len(indices):
        raise PFVValueError(f"components={indices!r:.60}: name each component once.")
    return indices


def checked_signs(signs: Iterable[int] | None, number: int) -> tuple[int, ...]:
    """Return 1 or −1 for each of ``number`` components."""
    if signs is None:
        return (1,) * number
    legal = f"1 or -1 for each of the {number} components"
    sides = whole_numbers("signs", signs, -1, 1, legal)
    if len(sides) != number or 0 in sides:
        raise PFVValueError(f"signs={sides!r:.60}: expected {legal}.")
    return sides


def _checked_layer(network: nn.Module, layer: str | None, basis: PrincipalBasis) -> str:
    layer = text_or_none("layer", layer, "a layer's name")
    name = basis.layer if layer is None else layer
    if basis.layer and clean_name(name) != clean_name(basis.layer):
        raise PFVValueError(
            f"layer={name!r}: the basis is of layer {basis.layer!r}. Give that layer, or a basis "
            "of this one."
        )
    base, _, number = name.partition("#")
    while isinstance(network, Ablated) and base not in modules_by_name(network):
        network = network.model
    if base not in modules_by_name(network):  # else "module." is a part of its own
        base = clean_name(base)
    _module(network, base)
    return f"{base}#{number}" if number else base


def _readers(basis: PrincipalBasis) -> Tensor:
    """Return what measures each component of a basis, ``(k, C)``; itself where nothing else does.

    A reader is of a component as long as that is neither reversed nor in another row.
    """
    rows = basis.components
    if not isinstance(basis, SuspectBasis) or basis.readers.shape != rows.shape:
        return rows
    readers = basis.readers.to(rows)
    fits = ((readers * rows).sum(1) - 1).abs() < _FITS
    return torch.where(fits[:, None], readers, rows)


def _directions(
    signed: Tensor, basis: PrincipalBasis, suspects: tuple[Suspect, ...]
) -> tuple[Tensor, Tensor]:
    """Return unit vectors at right angles of components and suspects, and readers.

    ``signed`` ``(2, m, C)`` holds the components and what measures each.
    """
    rows, measures = signed
    whole = torch.cat([rows, *(one.direction[None].to(rows) for one in suspects)])
    if not bool(torch.isfinite(whole).all() & torch.isfinite(basis.mean).all()):
        raise PFVValueError(
            "basis: its mean or components are NaN or infinite. Fit it to features that are "
            "numbers, in float32."
        )
    directions = orthonormal(whole)
    if not len(directions):
        raise PFVValueError(
            f"components: {len(rows)} of {len(rows)} are zero, since the features do not vary so "
            "much: there is nothing to cut. Choose components with a variance."
        )
    if not suspects and torch.equal(rows, measures):
        return directions, directions
    readers = torch.cat([measures, *(one.reader[None].to(rows) for one in suspects)])
    return directions, matched_readers(directions, readers)


def _something_left(
    network: nn.Module, layer: str, basis: PrincipalBasis, directions: Tensor
) -> None:
    """Refuse to cut every direction of a layer, counting those that are cut already."""
    every = directions
    for one in network.modules():
        if isinstance(one, Ablated) and one.layer == layer and one.mode == "project" and one.active:
            every = orthonormal(torch.cat([one.directions.to(every), every]))
    if len(every) == len(basis.mean):
        raise PFVValueError(
            f"components: without all {len(every)} of layer {layer!r} every photo has the same "
            "features, and nothing is left to classify them by. Leave at least one."
        )


def _same_layer(suspects: tuple[Suspect, ...], name: str, basis: PrincipalBasis) -> None:
    for one in suspects:
        if clean_name(one.layer) != clean_name(name) or len(one.direction) != len(basis.mean):
            raise PFVValueError(
                f"suspects: {one!r} is of layer {one.layer!r}, and the basis of {name!r}. Cut one "
                "layer after the other."
            )


def _module(network: nn.Module, name: str) -> nn.Module:
    """Return a layer of a network, or of the network whose components are cut already."""
    modules = modules_by_name(network)
    if name and name in modules:
        return modules[name]
    if isinstance(network, Ablated):
        return _module(network.model, name)
    raise unknown_layer(name, [one for one in modules if one])
