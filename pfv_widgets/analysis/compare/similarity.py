"""How alike two networks see the same photos: each layer of one beside each of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.analysis.compare.common_grid import (
    Layers,
    chosen_layers,
    compared_networks,
    grid_side,
    pooled_maps,
)
from pfv_widgets.analysis.compare.kernels import LEAST, LayerKernel, angles_between
from pfv_widgets.analysis.compare.similarity_result import Array, Similarity
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.network.named_models import NamedModels, named_models
from pfv_widgets.engine.progress import OnProgress, Progress, silent
from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import listed
from pfv_widgets.validation import function_or_none, whole_number

_FEW_PHOTOS = 8
_ROWS = 64  # of the kernels that are in float64 at a time
_HIGH_BAND = 0.3  # of CKA between shuffled photos
_CLEAR = 1 / 3  # of the way from there to 1: what lies above needs no warning
_BAND = (0.05, 0.95)

_Key = tuple[int, str]  # which network, name of the layer


@own_modes()
def similarity(
    models: object,
    images: Any,
    layers: Layers = None,
    *,
    components: int = 3,
    grid: int | None = None,
    shuffles: int = 20,
    seed: int = 0,
    device: str | torch.device = "auto",
    chunk_size: int = 16,
    memory: int = 1 << 30,
    on_progress: OnProgress | None = None,
) -> Similarity:
    """Compare each layer of one network with each of another, on the same photos.

    Each network runs once over the photos. Of each layer its maps are averaged to a common grid of
    positions at once, so that no more than that is held.

    Parameters
    ----------
    models
        Two networks by name or in a list, of any architectures; each may be a pair of the network
        and its images, as in :func:`figure_networks`. Photos of a size that one refuses are given
        to it at the size that it declares.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    layers
        Names of layers of both, or ``{network: names}``; None: all that have maps.
    components
        Of each layer, for the principal angles: at most as many as two of the layers have.
    grid
        Positions of a photo, on each side; None: at most 7, and at most 600 of all photos.
    shuffles
        Random permutations of the photos for the null band; ``seed`` decides them.
    device, chunk_size
        As for :class:`PFV`.
    memory
        Bound in bytes for what is held of all layers. Within it, a coarser grid is taken.
    on_progress
        Called with a :class:`Progress`; it may raise :class:`Cancelled` to stop.

    Raises
    ------
    PFVTypeError, PFVValueError
        Unless there are two networks that take the photos and have the layers; or where ``memory``
        does not suffice for one position a photo.

    Notes
    -----
    Debiased linear CKA: Kornblith et al. 2019 with the estimator of Song et al. 2012, as in
    Nguyen et al. 2021. Photos with a value that is not finite, in either network, are left out of
    all layers; a layer that is not finite in most photos is undefined.

    Examples
    --------
    >>> import pfv_widgets as pw
    >>> same = pw.similarity([pw.demo_model()] * 2, pw.demo_images(4), ["stage4", "stage1"])
    >>> same.of("stage4").__round__(3)
    1.0
    """
    options = _Options(
        whole_number("components", components, 1),
        whole_number("shuffles", shuffles, 1),
        whole_number("seed", seed),
        function_or_none("on_progress", on_progress, "a function of a Progress") or silent,
    )
    chunk_size = whole_number("chunk_size", chunk_size, 1)
    named = _two_networks(models)
    batch = batch_of(images)
    networks = compared_networks(named, batch, device)
    lists = [chosen_layers(one, layers) for one in networks]
    cells = _cells(grid, len(batch), lists, whole_number("memory", memory))
    _check_components(options.components, lists, len(batch) * cells**2)
    maps = [
        pooled_maps(one, own, cells, chunk_size, options.report)
        for one, own in zip(networks, lists, strict=True)
    ]
    return _similarity((networks[0].name, networks[1].name), maps, batch.names, options)


def similarity_of_maps(
    networks: tuple[str, str],
    maps: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    photos: tuple[str, ...],
) -> Similarity:
    """Compare layers of two networks whose maps are at hand: see :func:`similarity`.

    By layer, maps are ``(N, C, g, g)``, all on one grid (:func:`on_grid`), and NaN or infinite in
    photos that do not count.
    """
    with torch.no_grad():
        return _similarity(networks, [dict(one) for one in maps], photos, _Options())


def _similarity(
    networks: tuple[str, str],
    maps: Sequence[dict[str, Tensor]],
    names: tuple[str, ...],
    options: _Options,
) -> Similarity:
    height, width = next(iter(maps[0].values())).shape[2:]
    layers = tuple(maps[0]), tuple(maps[1])
    photos = _usable_photos(maps)
    result = Similarity(
        networks=networks,
        layers=layers,
        photos=names,
        grid=(height, width),
        shuffles=options.shuffles,
        **_compared(*_kernels(maps, photos, options), photos, options),
    )
    return replace(result, warnings=_warnings(result, photos.usable))


@dataclass(frozen=True)
class _Options:
    components: int = 3
    shuffles: int = 20
    seed: int = 0
    report: OnProgress = silent


@dataclass(frozen=True, eq=False)
class _Photos:
    """Which photos count, and which layers do not."""

    usable: Tensor
    broken: set[_Key]


def _two_networks(models: object) -> NamedModels:
    """Return two networks by name; of a longer sequence none is made."""
    names = list(models) if isinstance(models, LazyNetworks) else list(named_models(models))
    if len(names) != 2:
        raise PFVValueError(
            f"models: got {len(names)} ({listed(names, most=5)}), expected two networks. For one "
            "network give an untrained copy beside it, see randomised; for more, see "
            "similarity_curve."
        )
    return named_models(models)


def _check_components(components: int, lists: Sequence[Sequence[Layer]], samples: int) -> None:
    """Refuse more components than any two layers have; the default always passes."""
    most = min(samples, *(max(layer.shape[0] for layer in layers) for layers in lists))
    legal = f"a whole number from 1 to {most}, the most that two of these layers have"
    whole_number("components", components, 1, max(most, _Options.components), legal)


def _cells(grid: int | None, photos: int, lists: Sequence[Sequence[Layer]], memory: int) -> int:
    """Return how many positions a side a photo is averaged to, within the memory."""
    number = sum(map(len, lists))
    widest = max(sum(one.shape[0] for one in layers) for layers in lists)

    def fits(side: int) -> bool:
        samples = photos * side**2
        return 4 * samples * (number * samples + widest) <= memory

    if grid is None:
        sides = list(range(grid_side(photos), 0, -1))
    else:
        sides = [whole_number("grid", grid, 1, 64)]
    side = next((side for side in sides if fits(side)), None)
    if side is None:
        raise PFVValueError(
            f"memory={memory}: {number} layers of {photos} photos take more than that. Choose "
            "fewer with layers=, give fewer photos or a smaller grid, or more memory."
        )
    return side


def _usable_photos(sides: Sequence[Mapping[str, Tensor]]) -> _Photos:
    """Return which photos are finite in all layers, and the layers that most photos break.

    Those do not count. Where no photo is left, every layer is broken.
    """
    finite = {
        (index, name): torch.isfinite(maps).flatten(1).all(1)
        for index, side in enumerate(sides)
        for name, maps in side.items()
    }
    broken = {key for key, one in finite.items() if float(one.float().mean()) < 0.5}
    usable = torch.ones_like(next(iter(finite.values())))
    for key, one in finite.items():
        usable &= one | (key in broken)
    return _Photos(usable, broken) if bool(usable.any()) else _Photos(~usable, set(finite))


def _kernels(
    sides: Sequence[dict[str, Tensor]], photos: _Photos, options: _Options
) -> tuple[LayerKernel, LayerKernel]:
    """Return what is compared of the layers of each network, stacked; their maps are given up."""
    number, done = sum(map(len, sides)), 0
    stacks: list[LayerKernel] = []
    for index, side in enumerate(sides):
        stack: LayerKernel | None = None
        for row, (name, layers) in enumerate([(name, len(side)) for name in side]):
            options.report(Progress("Preparing layers", done, number, "layers"))
            maps = side.pop(name)[photos.usable]
            is_broken = (index, name) in photos.broken
            kernel = LayerKernel.of(
                torch.zeros_like(maps) if is_broken else maps, options.components
            )
            stack = stack or kernel.room_for(layers)
            stack.put(row, kernel)
            done += 1
        assert stack is not None  # there is a layer at least
        stacks.append(stack)
    return stacks[0], stacks[1]


def _by_photo(values: Tensor, usable: Tensor) -> Array:
    """Put numbers ``(A, B, n, …)`` of the usable photos where they belong, NaN elsewhere."""
    whole = values.new_full((*values.shape[:2], len(usable), *values.shape[3:]), torch.nan)
    whole[:, :, usable] = values
    return whole.double().numpy()


def _compared(
    first: LayerKernel, second: LayerKernel, photos: _Photos, options: _Options
) -> dict[str, Any]:
    """Return the numbers of a :class:`Similarity` by their names."""
    own = [side.by_photo.flatten(2) for side in (first, second)]
    number, layers = int(photos.usable.sum()), len(first.scores)
    angles, angles_own = [], []
    for done, (row, row_own) in enumerate(zip(first.scores, first.scores_by_photo, strict=True)):
        options.report(Progress("Comparing layers", done, layers, "layers"))
        angles.append(angles_between(row, second.scores))
        angles_own.append(angles_between(row_own, second.scores_by_photo))
    return {
        "cka": _products(first.whole, second.whole).clamp(max=1).numpy(),
        "cka_by_photo": _by_photo(torch.einsum("anp,bnp->abn", *own).clamp(max=1), photos.usable),
        "null": _null_band(first.whole, second.whole, number, options),
        "angles": torch.stack(angles).numpy(),
        "angles_by_photo": _by_photo(torch.stack(angles_own), photos.usable),
    }


def _products(first: Tensor, second: Tensor) -> Tensor:
    """Sum the products of kernels ``(A, n, n)`` and ``(B, n, n)``: ``(A, B)`` in float64."""
    sums = torch.zeros(len(first), len(second), dtype=torch.float64)
    for start in range(0, first.shape[1], _ROWS):
        rows = [one[:, start : start + _ROWS].flatten(1).double() for one in (first, second)]
        sums += rows[0] @ rows[1].T
    return sums


def _null_band(first: Tensor, second: Tensor, photos: int, options: _Options) -> Array:
    """CKA with shuffled photos, each beside another one: low and high ``(2, A, B)``."""
    if photos < 2:
        return np.full((2, len(first), len(second)), np.nan)
    generator = torch.Generator().manual_seed(options.seed)
    indices = torch.arange(len(first[0])).view(photos, -1)
    draws = []
    for done in range(options.shuffles):
        options.report(Progress("Shuffling photos", done, options.shuffles, "draws"))
        order = torch.randperm(photos, generator=generator)
        index = torch.empty_like(indices)
        index[order] = indices[order.roll(1)]  # one cycle: no photo stays where it is
        flat = index.flatten()
        columns = [
            first.flatten(1) @ second[start : start + 16, flat][:, :, flat].flatten(1).T
            for start in range(0, len(second), 16)
        ]
        draws.append(torch.cat(columns, dim=1))
    low, high = np.quantile(torch.stack(draws).double().numpy(), _BAND, axis=0)
    return np.stack([low, high])


def _warnings(result: Similarity, usable: Tensor) -> tuple[str, ...]:
    """Say in words what is undefined, and where the batch is too small to tell."""
    number = int(usable.sum())
    samples = number * result.grid[0] * result.grid[1]
    if samples < LEAST:
        return (f"Undefined: {samples} positions in all, at least {LEAST} are needed.",)
    left_out = [name for name, use in zip(result.photos, usable.tolist(), strict=True) if not use]
    warnings = []
    if left_out:
        warnings.append(f"Left out, as not finite in a network: {listed(left_out, most=6)}.")
    undefined = [
        f"{name} of {network}"
        for network, layers, cka in zip(
            result.networks, result.layers, (result.cka, result.cka.T), strict=True
        )
        for name, row in zip(layers, cka, strict=True)
        if np.isnan(row).all()
    ]
    if undefined:
        warnings.append(
            f"Undefined, as constant or not finite for these photos: {listed(undefined, most=6)}."
        )
    return (*warnings, *_chance(result, number))


def _chance(result: Similarity, photos: int) -> list[str]:
    """Say where chance alone would look alike."""
    if photos < _FEW_PHOTOS:
        number = f"{photos} photo{'s' * (photos > 1)}"
        few = f"The batch is too small to tell ({number}): unrelated networks may look alike."
        return [f"{few} Give 16 photos or more."]
    high = result.null[1]
    defined = np.isfinite(result.cka) & np.isfinite(high)
    inside = int((defined & ~result.is_distinguishable).sum())
    close = defined & (high > _HIGH_BAND) & (result.cka < high + _CLEAR * (1 - high))
    band = float(np.median(high[close])) if close.any() else 0.0
    warnings = []
    if 2 * close.sum() > defined.sum():
        warnings.append(
            "The batch is too small to tell, or its photos are alike: with shuffled photos the "
            f"similarity reaches {band:.2f}."
        )
    if inside:
        total = int(defined.sum())
        which = "The two layers" if total == 1 else f"{inside} of {total} pairs of layers"
        warnings.append(f"{which} are no more alike than with shuffled photos.")
    return warnings
