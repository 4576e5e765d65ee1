"""Run only what lies behind a layer, for other features of it than those of the images.

What ran before the layer cannot depend on it: such a module answers from the recorded pass instead
of computing. Its answer is a placeholder without numbers, until something behind the layer uses it
(a skip connection, say); only then the numbers are stored. The result is compared with whole passes
in which the layer's output is replaced; where they differ, whole passes are what is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import before_each_leaf, modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import guarded, isolated, run
from pfv_widgets.engine.network.pass_recording import (
    Key,
    NeededError,
    Placeholder,
    Recorder,
    Recording,
    UnclearError,
)
from pfv_widgets.engine.network.replica import is_replica
from pfv_widgets.errors import PFVValueError

Read = Callable[[object, int], Tensor]
_MOST_RETRIES = 64


class PartialForward:
    """The part of a network behind a layer.

    Parameters
    ----------
    forward
        The network and the images ``(N, 3, H, W)``.
    layer
        Whose output is replaced.
    read
        Makes ``(n, K)`` of what the network returned for n images.
    chunk_size
        Images in one forward pass.
    check
        Called before each module that runs; what it raises ends the pass.
    like
        The same part of this network, which found out what has to be stored of a pass.

    Attributes
    ----------
    features
        The layer's feature maps of the images, ``(N, C, h, w)``.
    scores
        What ``read`` gave for them, ``(N, K)``.
    """

    def __init__(
        self,
        forward: Forward,
        layer: Layer,
        read: Read,
        chunk_size: int = 16,
        *,
        check: Callable[[], None] | None = None,
        like: PartialForward | None = None,
    ) -> None:
        self._forward, self._layer, self._read, self._check = forward, layer, read, check
        self._chunk_size = chunk_size
        self._copy: Tensor | None = None
        self._overwrite = False
        network = isolated(forward.model) if like is None else like._network
        self._network: nn.Module = network
        self._needed: frozenset[Key] | None = frozenset()
        if not is_replica(self._network) or self._has_scripted_part():
            self._needed = None
        self._recordings: list[Recording] = []
        self._modules = modules_by_name(network)
        with self._running(self._modules.values()):
            if like is None:
                self._choose_what_is_stored()
            else:
                self._needed = like._needed
            passes = [self._first(self._batch(start)) for start in self._starts()]
        self.features = torch.cat([maps for maps, _ in passes])
        self.scores = torch.cat([scores for _, scores in passes])

    def __len__(self) -> int:
        return len(self.features)

    def of(self, images: Tensor) -> PartialForward:
        """Return the same part of the network for other images ``(n, 3, H, W)`` of that size."""
        return PartialForward(
            replace(self._forward, images=images), self._layer, self._read, self._chunk_size,
            check=self._check, like=self,
        )  # fmt: skip

    @property
    def is_partial(self) -> bool:
        """Whether less than the whole network runs."""
        return self._needed is not None

    @property
    def stored_bytes(self) -> int:
        """Bytes of what modules before the layer gave, beside :attr:`features`."""
        return sum(recording.size for recording in self._recordings)

    def run(self, features: Tensor, *, overwrite: bool = False) -> Tensor:
        """Return the scores ``(N, K)`` for other features ``(N, C, h, w)`` of the same images.

        They can be differentiated by the features where gradients are on. The features themselves
        are not changed by operations in place, unless ``overwrite`` says that they may be.

        Raises
        ------
        PFVValueError
            For another shape than that of :attr:`features`.
        """
        if features.shape != self.features.shape:
            raise PFVValueError(
                f"features of shape {tuple(features.shape)}: expected those of the layer, "
                f"{tuple(self.features.shape)}."
            )
        with_gradient = torch.is_grad_enabled()
        self._overwrite = overwrite and not with_gradient
        scores = []
        with self._running(self._that_run), torch.set_grad_enabled(with_gradient):
            for index, start in enumerate(self._starts()):
                part = features[start : start + self._chunk_size]
                scores.append(self._scores_of(index, start, part))
        return torch.cat(scores)

    def _copied(self, batch: Tensor) -> Tensor:
        """Copy images, into the memory of before: fresh memory takes longer than the copy."""
        if torch.is_grad_enabled():
            return batch.clone()
        if self._copy is None or self._copy.shape != batch.shape:
            self._copy = torch.empty_like(batch)
        return self._copy.copy_(batch)

    @cached_property
    def _that_run(self) -> Collection[nn.Module]:
        """Modules that do not answer from the recorded pass, or those above that do."""
        if self._needed is None:
            return self._modules.values()
        return self._recordings[0].behind(self._modules)

    @contextmanager
    def _running(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        with guarded(self._network), ExitStack() as stack:
            if self._check is not None:
                leaves = before_each_leaf(self._network, self._check, within=modules)
                stack.enter_context(leaves)
            yield

    def _scores_of(self, index: int, start: int, features: Tensor) -> Tensor:
        if self._needed is not None:
            try:
                return self._partial(self._recordings[index], start, features)[1]
            except NeededError:  # another way than that of the recorded pass
                pass
        with self._running(self._modules.values()):
            return self._whole(self._batch(start), features)[1]

    def _starts(self) -> range:
        return range(0, len(self._forward.images), self._chunk_size)

    def _batch(self, start: int) -> Tensor:
        return self._forward.batch(start, start + self._chunk_size)

    def _has_scripted_part(self) -> bool:
        """Whether a module is not run by Python, so that it cannot answer from a recording."""
        return any(isinstance(one, torch.jit.ScriptModule) for one in self._network.modules())

    def _choose_what_is_stored(self) -> None:
        """Find out with two images which outputs are used behind the layer, and check the result.

        Sets ``_needed`` to None where parts of a pass do not give what whole passes give.
        """
        if self._needed is None:
            return
        batch = self._batch(0)[:2]
        maps, _ = self._whole(batch, None)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(maps.shape, generator=generator).to(maps) + 0.5
        changed = [maps.flip(1) * noise, maps * noise]
        needed = self._needed
        for _ in range(_MOST_RETRIES):
            try:
                recording = self._recorded(batch, needed)[0]
                parts = [self._partial(recording, 0, one)[1] for one in changed]
            except NeededError as error:
                needed |= {error.key}
                continue
            except UnclearError:
                break
            wholes = [self._whole(batch, one)[1] for one in changed]
            if all(map(_same, parts, wholes)):
                self._needed = needed
                return
            break
        self._needed = None

    def _first(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Run images as they are: return the layer's maps and the scores, and record the pass."""
        if self._needed is None:
            return self._whole(batch, None)
        recording, maps, scores = self._recorded(batch, self._needed)
        self._recordings.append(recording)
        return maps, scores

    def _whole(self, batch: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        with self._replacing(features) as outputs:
            answer = run(self._network, batch, fix="" if features is None else self._fix)
            scores = self._read(answer, len(batch))
        return outputs[0], scores

    def _recorded(self, batch: Tensor, needed: frozenset[Key]) -> tuple[Recording, Tensor, Tensor]:
        recorder = Recorder(needed)
        reach = recorder.reach_layer
        with recorder.watching(self._network), self._replacing(None, reached=reach) as outputs:
            scores = self._read(run(self._network, batch), len(batch))
        return recorder.recording(batch), outputs[0], scores

    def _partial(self, recording: Recording, start: int, features: Tensor) -> tuple[Tensor, Tensor]:
        number = recording.layer[1] + 1
        images: Tensor | None = recording.images
        if images is None:
            images = self._copied(self._batch(start)[: len(features)])
        with (
            recording.answering(self._modules),
            self._replacing(features, number=number) as outputs,
        ):
            answer = run(self._network, images, copy=False, fix=self._fix)
            scores = self._read(answer, len(features))
        return outputs[0], scores

    @property
    def _fix(self) -> str:
        return (
            f"It ran with other features of layer={self._layer.name!r} than those of the images, "
            "which it may refuse. Choose another layer."
        )

    @contextmanager
    def _replacing(
        self,
        features: Tensor | None,
        *,
        reached: Callable[[], None] | None = None,
        number: int | None = None,
    ) -> Iterator[list[Tensor]]:
        """Replace the layer's output inside the block; yield the list of what it gives then.

        ``number`` says which of its runs that is, where not all of them are made.
        """
        base, _, run_number = self._layer.name.partition("#")
        run_index = int(run_number or 1) if number is None else number
        module, layout = self._modules[base], self._layer.layout
        outputs: list[Tensor] = []
        runs = 0

        def exchange(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
            nonlocal runs
            runs += 1
            if runs != run_index:
                return None
            if reached is not None:
                reached()
            if features is None:
                outputs.append(layout.maps(output.detach()).clone())
                return None
            if isinstance(output, Placeholder) and layout.kind == "maps":
                outputs.append(features)
                new = features.to(output.dtype)
                return new if self._overwrite else new.clone()
            new = (output.fetch() if isinstance(output, Placeholder) else output).clone()
            layout.maps(new).copy_(features)  # a view: what has no position stays as it is
            outputs.append(features)
            return new

        handle = module.register_forward_hook(exchange)
        try:
            yield outputs
        finally:
            handle.remove()
        if not outputs:
            raise PFVValueError(
                f"layer={self._layer.name!r} did not run. Choose a layer with feature maps."
            )


def _same(part: Tensor, whole: Tensor) -> bool:
    """Whether scores are the same up to the rounding of another order of sums."""
    if part.shape != whole.shape or not whole.numel():
        return part.shape == whole.shape
    largest = float(whole.abs().nan_to_num(0.0, 0.0).max())
    return torch.allclose(part, whole, rtol=1e-4, atol=1e-5 * largest, equal_nan=True)
