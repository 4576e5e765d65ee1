"""A batch through a network in chunks, and what its layers gave."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import FunctionType

import torch
from torch import Tensor, nn

from pfv_widgets.engine.device_transfer import large_empty, send
from pfv_widgets.engine.network.capture import Reduce, before_each_leaf, capture, run_captured
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.fingerprint import Fingerprint, State
from pfv_widgets.engine.network.layers import LayerListing
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded, run
from pfv_widgets.engine.progress import RUNNING, OnProgress, Progress, silent
from pfv_widgets.errors import PFVValueError

_BY_ADDRESS = frozenset({"as_strided", "as_strided_", "data_ptr", "storage", "untyped_storage"})


@dataclass(frozen=True, eq=False)
class Forward:
    """A network on its device and the images that run through it.

    Attributes
    ----------
    model
        On ``device``.
    images
        float32 ``(N, 3, H, W)`` on the CPU.
    device
        Where the images are taken, chunk by chunk.
    original
        What the user holds, where ``model`` may be a copy of it on another device.
    autocast
        Whether the network computes in bfloat16 what PyTorch deems safe in it.
    channels_last
        Whether images have their channels last in memory, which suits most convolutions; None:
        on a processor, where none was seen to be slower, in networks that name no addresses or
        strides; :meth:`list_layers` tries whether the network takes them so.
    computed_with
        State of the network with which its results were computed; None: not known, as in a copy.
    """

    model: nn.Module
    images: Tensor
    device: torch.device
    original: nn.Module | None = None
    autocast: bool = False
    channels_last: bool | None = False
    computed_with: State | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        images: Tensor,
        device: str | torch.device = "auto",
        *,
        autocast: bool = False,
        channels_last: bool | None = False,
    ) -> Forward:
        """Return a user's network, or a copy of it where it is to run on another device.

        Raises
        ------
        PFVValueError
            For a device that cannot be used, or a network that cannot be copied to it.
        """
        where = choose_device(network, device)
        there = on_device(network, where)
        return cls(there, images, where, network, autocast, channels_last)

    def batch(self, start: int, stop: int) -> Tensor:
        """Return some of the images as the network takes them."""
        batch = self.images[start:stop].to(floating_dtype(self.model))
        batch = send(batch, self.device)
        return batch.to(memory_format=torch.channels_last) if self.channels_last else batch

    def run(self, network: nn.Module, batch: Tensor) -> object:
        """Call the model, or a replica of it, as :func:`run` does."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return run(network, batch)

    def list_layers(self) -> LayerListing:
        """Run two of the images, and list every spatial feature map: see :func:`list_layers`."""
        with guarded(self.model) as network:
            # two: what does not follow the number of images is no map of them
            example = self.batch(0, 2)
            example = example if len(example) == 2 else example.repeat(2, 1, 1, 1)
            if self._puts_channels_last(network):
                example = example.to(memory_format=torch.channels_last)
            return list_layers(network, example, self.run)

    def _puts_channels_last(self, network: nn.Module) -> bool:
        if self.channels_last is not None:
            return self.channels_last
        return self.device.type == "cpu" and not _relies_on_memory(network)

    def capture(
        self,
        layouts: Mapping[str, tuple[Layout, Reduce | None]],
        known: Mapping[str, Tensor],
        chunk_size: int,
        report: OnProgress = silent,
        results: Results | None = None,
    ) -> dict[str, Tensor]:
        """Run the batch in chunks and return what was captured, ``(N, …)`` by layer name.

        ``layouts`` say how each layer's output is read, and which part of it is stored (None: all);
        ``known`` may hold the maps of the first images. The number of images that are done is
        reported before each module that runs. Where ``results`` are of a run for the same layers
        that was stopped, it goes on.
        """
        number = len(self.images)
        results = Results(number) if results is None else results
        results.begin(layouts)
        if not results.done and known.keys() >= layouts.keys():
            for name in layouts:
                results.write(name, known[name])
            results.done = len(next(iter(known.values())))
        left = number - results.done
        passes = max(-(-left // chunk_size), 1)
        step = -(-left // passes)  # of equal size: a single image costs most

        def report_done() -> None:
            report(Progress(RUNNING, results.done, number))

        with (
            guarded(self.model) as network,
            capture(network, results.writing) as captured,
            nullcontext() if report is silent else before_each_leaf(network, report_done),
        ):
            while (done := results.done) < number:
                run_captured(partial(self.run, network, self.batch(done, done + step)))
                results.check(captured)
                results.done = min(done + step, number)
                report_done()
        return results.whole

    def state(self) -> State:
        """Return what is equal as long as the network is: see :class:`Fingerprint`."""
        return self._fingerprint.state()

    def structure(self) -> State:
        """Return what is equal as long as the network's modules are."""
        return self._fingerprint.structure()

    @property
    def is_outdated(self) -> bool:
        """Whether the network has changed since results were computed with it."""
        return self.computed_with is not None and self.state() != self.computed_with

    def with_current_state(self) -> Forward:
        """Return the same, for results that are computed with the network as it is now."""
        new = replace(self, computed_with=self.state())
        vars(new)["_fingerprint"] = self._fingerprint
        return new

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is told by addresses in memory, which are others in a copy."""
        rest = {name: value for name, value in vars(self).items() if name != "_fingerprint"}
        return rest | {"computed_with": None}

    def updated(self) -> Forward:
        """Return the same of the network as it is now: a copy on another device is made anew."""
        if self.original is None or self.original is self.model:
            return self
        new = replace(self, model=on_device(self.original, self.device))
        vars(new)["_fingerprint"] = self._fingerprint  # which goes on counting
        return new

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return Fingerprint(self.original or self.model)


def _relies_on_memory(network: nn.Module) -> bool:
    """Whether a class of modules names functions whose results depend on the order in memory."""
    functions = (
        one for kind in {type(one) for one in network.modules()} for one in vars(kind).values()
    )
    codes = (one.__code__ for one in functions if isinstance(one, FunctionType))
    return any(not _BY_ADDRESS.isdisjoint(code.co_names) for code in codes)


class Results:
    """What is captured of all images, written where it belongs as the layers run.

    One tensor for each layer from the start: parts that are put together later take twice the
    memory.

    Attributes
    ----------
    whole
        Layer name → ``(N, …)``, of which the first ``done`` images are complete.
    writing
        What :func:`capture` takes, to write each layer's output.
    """

    def __init__(self, number: int) -> None:
        self.whole: dict[str, Tensor] = {}
        self.done = 0
        self.writing: dict[str, tuple[Layout, Reduce | None]] = {}
        self._reduces: dict[str, Reduce | None] = {}
        self._number = number

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(one.nbytes for one in self.whole.values())

    def begin(self, layouts: Mapping[str, tuple[Layout, Reduce | None]]) -> None:
        """Say what is captured; what is there stays where it is of the same layers."""
        reduces = {name: reduce for name, (_, reduce) in layouts.items()}
        if reduces != self._reduces:
            self.whole, self.done, self._reduces = {}, 0, reduces
        self.writing = {
            name: (layout, partial(self.write, name)) for name, (layout, _) in layouts.items()
        }

    def write(self, name: str, maps: Tensor) -> Tensor:
        """Write maps of the next images, or what a layer's function makes of them."""
        reduce = self._reduces[name]
        part = maps if reduce is None else reduce(maps)
        if name not in self.whole:
            self.whole[name] = large_empty(part, self._number, *part.shape[1:])
        return self.whole[name][self.done : self.done + len(part)].copy_(part)

    def check(self, captured: Mapping[str, Tensor]) -> None:
        """Raise an error where a layer did not run for the next images."""
        for name in self._reduces:
            if name not in captured:
                raise PFVValueError(
                    f"layer={name!r} did not run for the images from {self.done} on (counted from "
                    "0): the network leaves it out for some images. Choose one that always runs."
                )
