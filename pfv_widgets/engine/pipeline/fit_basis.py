"""A basis over a whole data set, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET
from pfv_widgets.engine.data.photo_stream import (
    LoaderStream,
    PhotoStream,
    Stream,
    StreamBatch,
)
from pfv_widgets.engine.data.tensors import Transform
from pfv_widgets.engine.device_transfer import PendingRead
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.fingerprint import network_fingerprint
from pfv_widgets.engine.network.model_guard import guarded, unwrap
from pfv_widgets.engine.pca.basis import PrincipalBasis, fit_moments, rounding
from pfv_widgets.engine.pca.batch_basis import SAME
from pfv_widgets.engine.pca.data_set_summary import DataSet
from pfv_widgets.engine.pca.streamed_moments import StreamedMoments
from pfv_widgets.engine.pipeline.colour_statistics import colour_statistics
from pfv_widgets.engine.pipeline.data_set_capture import DataSetCapture
from pfv_widgets.engine.pipeline.distributed import Ranks, ranks_of
from pfv_widgets.engine.pipeline.fit_checkpoint import FitCheckpoint
from pfv_widgets.engine.pipeline.fit_state import DataSetFit, LayerFit, read_after
from pfv_widgets.errors import PFVTypeError, PFVValueError, warn
from pfv_widgets.validation import (
    distinct_layers,
    function_or_none,
    number,
    path_of,
    text_or_none,
    truth_value,
    whole_number,
)

_MOST = 12  # components where no number is given


class Options(TypedDict, total=False):
    """Keywords of :func:`fit_basis`."""

    components: int | None
    device: str | torch.device
    progress: bool
    size: int | tuple[int, int]
    transform: Transform | None
    batch_size: int
    checkpoint: str | Path | None
    every: float
    resume: bool
    distributed: bool


@overload
def fit_basis(
    model: nn.Module, data: Any, layer: str | None = None, **options: Unpack[Options]
) -> PrincipalBasis: ...
@overload
def fit_basis(
    model: nn.Module, data: Any, layer: Sequence[str], **options: Unpack[Options]
) -> dict[str, PrincipalBasis]: ...
@own_modes()
def fit_basis(
    model: nn.Module,
    data: Any,
    layer: str | Sequence[str] | None = None,
    *,
    components: int | None = 3,
    device: str | torch.device = "auto",
    progress: bool = True,
    size: int | tuple[int, int] = 224,
    transform: Transform | None = None,
    batch_size: int = 32,
    checkpoint: str | Path | None = None,
    every: float = 60.0,
    resume: bool = False,
    distributed: bool = False,
) -> PrincipalBasis | dict[str, PrincipalBasis]:
    """Principal components of feature vectors over a data set.

    Memory does not grow with the number of images: moments are merged batch by batch, in float64.
    The result holds what its colours refer to as well (see :class:`DataSet`), so that a photo has
    the same colours in every batch.

    Parameters
    ----------
    model
        Any ``nn.Module``; it is given back as it came.
    data
        Photos: a folder, a glob or paths, as for ``load_images``. Or batches ``(N, 3, H, W)``,
        normalised, or tuples that begin with one and go on with labels, as a ``DataLoader`` gives.
    layer
        Name of the layer, or several names, which are fitted in one pass; None: the last spatial
        feature map before the read-out.
    components
        Number of components, at most the number of channels; None: 12, or as many as there are.
    device
        As for ``PFV``.
    progress
        Whether to show a progress bar.
    size, transform, batch_size
        Of photos: as for ``load_images``, and how many run at a time. Where memory runs out, half
        as many are tried.
    checkpoint
        A file from which an interrupted fit can go on; it is deleted at the end. That of an
        earlier fit is replaced, unless ``resume``; any other file is refused. None: none.
    every
        Seconds between two checkpoints.
    resume
        Whether to go on from the checkpoint, where there is one. The data must be the same, in
        the same order; that is checked.
    distributed
        Whether the photos are shared among the processes that ``torchrun`` has started, each photo
        exactly once; all get the same result. The checkpoint is that of all together.

    Returns
    -------
    PrincipalBasis or dict
        The basis, or one for each name where several were given.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, batch or file, and what is expected.

    Warns
    -----
    PFVWarning
        Where images were left out, unreadable or not finite, naming the first; where a layer gave
        no more vectors than it has channels.
    """
    several = isinstance(layer, Sequence) and not isinstance(layer, str)
    layers: list[Any] = list(layer or ()) if several else [layer]
    names = [text_or_none("layer", one, "a layer's name") for one in layers]
    if not names:
        raise PFVValueError("layer=[]: give at least one name of a layer, or None.")
    distinct_layers("layer", names)
    components = None if components is None else whole_number("components", components, 1)
    progress = truth_value("progress", progress)
    resume = truth_value("resume", resume)
    distributed = truth_value("distributed", distributed)
    if resume and checkpoint is None:
        raise PFVValueError("resume=True: give the file to go on from, checkpoint=...")
    network = unwrap(model)
    where = choose_device(network, device)
    stream = _stream_of(data, size, function_or_none("transform", transform), batch_size)
    file, every = None, number("every", every, 0)
    if checkpoint is not None:
        file = FitCheckpoint(path_of("checkpoint", checkpoint), every)
    with ranks_of(where, distributed=distributed) as ranks:
        if ranks.number > 1 and not stream.signature:
            raise PFVTypeError(
                "data: a loader cannot be shared among processes, since only it knows its images. "
                "Give a folder, a glob or paths of photos."
            )
        own = file if ranks.rank == 0 else None  # one process writes for all
        there = on_device(network, where)
        with own.locked() if own is not None else nullcontext():
            one_pass = _Pass(there, where, stream, names, components, progress, ranks)
            bases = one_pass.bases(own, resume=resume, checkpoints=file is not None)
            if own is not None:
                own.remove()
    return bases if several else next(iter(bases.values()))


def _stream_of(
    data: Any, size: int | tuple[int, int], transform: Transform | None, batch_size: int
) -> Stream:
    batch_size = whole_number("batch_size", batch_size, 1)
    if isinstance(data, ImageBatch):
        parts = zip(
            torch.split(data.tensor, batch_size),
            _split(data.labels or (None,) * len(data), batch_size),
            strict=True,
        )
        return LoaderStream(list(parts), data.normalisation)
    paths = isinstance(data, list | tuple) and data and isinstance(data[0], str | Path)
    if isinstance(data, str | Path) or paths:
        return PhotoStream(data, size, transform, batch_size)
    if not isinstance(data, Iterable) or getattr(data, "ndim", 1) == 0:
        raise PFVTypeError(
            f"data={data!r:.80}: expected batches (N, 3, H, W), such as a DataLoader gives, or a "
            "folder, a glob or paths of photos."
        )
    return LoaderStream(data)


def _check_number(components: int | None, layer: str, most: int) -> None:
    if (components or 1) > most:
        raise PFVValueError(
            f"components={components!r}: layer {layer!r} and this data allow 1 to {most}."
        )


def _split(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(values[at : at + size]) for at in range(0, len(values), size))


@dataclass
class _Pass:
    """One pass of a network over a stream of images."""

    network: nn.Module
    device: torch.device
    stream: Stream
    names: Sequence[str | None]
    components: int | None
    progress: bool
    ranks: Ranks

    def bases(
        self, checkpoint: FitCheckpoint | None, *, resume: bool, checkpoints: bool
    ) -> dict[str, PrincipalBasis]:
        """Return a basis for each layer.

        ``checkpoint`` is that of the process that writes it, ``checkpoints`` whether one does.
        """
        earlier = None
        if checkpoint is not None and resume:
            earlier = checkpoint.read(self.device)
        elif checkpoint is not None:
            checkpoint.check_replaceable()
        with guarded(self.network) as replica:
            network = DataSetCapture(replica, self.device)
            own = self._gathered(network, earlier, checkpoint, checkpoints=checkpoints)
            fit = self.ranks.merged(own)
            fit.sample_maps = own.sample_maps
            if not fit.layers:
                reasons = f"data: no image can be used. {'; '.join(fit.skipped[:5])}."
                nothing = "data gave no batch: give at least one (N, 3, H, W) tensor, or photos."
                raise PFVValueError(reasons if fit.skipped else nothing)
            if not network.layers and fit.sample:  # this process had no image
                self._choose(network, next(iter(fit.sample.values()))[None], fit)
            bases = {name: self._basis(network, name, fit) for name in fit.layers}
        for message in _messages(fit):
            warn(message)
        return bases

    def _gathered(
        self,
        network: DataSetCapture,
        earlier: DataSetFit | None,
        checkpoint: FitCheckpoint | None,
        *,
        checkpoints: bool,
    ) -> DataSetFit:
        """Run the stream through the network, from where an earlier run ended."""
        fit = DataSetFit({}, network_fingerprint(self.network), self.stream.signature)
        self.ranks.check_same(
            {
                "model": fit.network,
                "data": fit.source,
                "layer": repr(self.names),
                "components": str(self.components),
                "batch_size": str(self.stream.batch_size),
                "checkpoint": "a file" if checkpoints else "None",
            }
        )
        if earlier is not None:
            earlier.check_same(fit)
            fit = earlier
        start = int(self.ranks.of_first(str(fit.done)))
        last: _Run | None = None  # whose numbers a GPU may still be computing
        again = ""  # digest of what an earlier run has read, where it must be read again
        with tqdm(total=self.stream.total, disable=not self.progress, unit="images") as bar:
            for batch in self.stream.batches(start, self.ranks.rank, self.ranks.number):
                bar.update(batch.done - bar.n)
                if batch.done <= start:
                    again = read_after(again, batch.keys)
                    continue
                if start:
                    _check_read(again, earlier, self.stream)
                    start = 0
                with self.ranks.naming_itself():
                    before, last = last, self._run(network, batch, fit)
                _take(before, fit)
                if not checkpoints:
                    continue
                due = checkpoint is not None and checkpoint.is_due()
                if self.ranks.of_first("due" if due else ""):
                    _take(last, fit)
                    last = None
                    whole = self.ranks.merged(fit)
                    if checkpoint is not None:
                        checkpoint.write(whole)
        if start:
            _check_read(again, earlier, self.stream)
        _take(last, fit)
        return fit

    def _run(self, network: DataSetCapture, batch: StreamBatch, fit: DataSetFit) -> _Run:
        """Begin to run a batch."""
        if not len(batch.images):
            return _Run(batch, {}, {}, sums=False)
        if not network.layers:
            self._choose(network, batch.images, fit)
        sums = fit.may_sample(batch)
        maps = network.maps(network.sent(batch.images), sums=sums)
        means = {}
        for name in network.layers:
            one = maps[name]
            if name not in fit.layers:
                fit.layers[name] = LayerFit(StreamedMoments.like(one))
            dtype = torch.promote_types(one.dtype, torch.float32)
            means[name] = PendingRead(one.mean(dim=(2, 3), dtype=dtype))
        return _Run(batch, maps, means, sums=sums)

    def _choose(self, network: DataSetCapture, images: Tensor, fit: DataSetFit) -> None:
        network.choose(self.names, images)
        names = list(network.layers)
        for name, layer in network.layers.items():  # before all data is read
            _check_number(self.components, name, layer.shape[0])
        if fit.layers and list(fit.layers) != names:
            raise PFVValueError(
                f"layer={names}: the checkpoint is of {list(fit.layers)}. Choose the same layers, "
                "or begin anew with resume=False."
            )

    def _basis(self, network: DataSetCapture, name: str, fit: DataSetFit) -> PrincipalBasis:
        layer = fit.layers[name]
        if not layer.images:
            raise PFVValueError(
                f"data: layer {name!r} is NaN or infinite in every image "
                f"({'; '.join(fit.skipped[:3])}). Choose an earlier layer, or run the network in "
                "float32."
            )
        moments = layer.moments
        most = min(len(moments.mean), int(moments.count) - 1)
        _check_number(self.components, name, most)
        basis = fit_moments(moments.pooled(), self.components or min(most, _MOST), layer=name)
        # products are summed in float32, whatever they are merged in
        noise = max(basis.noise, rounding(basis.variances.float().cpu().numpy()))
        if not basis.total_variance > max(noise, SAME * basis.mean_square):
            raise PFVValueError(
                f"data: layer {name!r} has the same activations at every position of every image "
                f"(variance {basis.total_variance * moments.scale**2:.3g}): there is no component. "
                "Choose another layer, or give other images."
            )
        basis = replace(basis, noise=noise)
        basis = _in_float32(basis.scaled(moments.scale))
        by = self.stream.normalisation
        spreads, largest = colour_statistics(network, fit, basis, by or IMAGENET)
        labels = sorted(layer.class_counts)
        counts = torch.tensor([float(layer.class_counts[one]) for one in labels])
        return replace(
            basis,
            data=DataSet(
                fit.network,
                fit.done,
                fit.skipped_count,
                () if by is None else by.mean,
                () if by is None else by.std,
                spreads,
                largest,
                tuple(labels),
                counts.double(),
                _class_means(layer, labels, basis),
            ),
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A batch that runs through the network.

    Attributes
    ----------
    maps
        By layer; with ``sums``, also the channel sums of those that weight them.
    means
        Those of the layers.
    """

    batch: StreamBatch
    maps: Mapping[str, Tensor]
    means: Mapping[str, PendingRead]
    sums: bool


def _take(run: _Run | None, fit: DataSetFit) -> None:
    """Add what a batch gave, while a GPU may be computing the next one."""
    if run is not None:
        means = {name: mean.result() for name, mean in run.means.items()}
        fit.add(run.maps, means, run.batch)
        fit.note(run.batch, run.maps if run.sums else {})


def _messages(fit: DataSetFit) -> list[str]:
    """Say what a user must know of the data."""
    messages = []
    if fit.skipped_count:
        more = "; …" if fit.skipped_count > 5 else ""
        reasons = "; ".join(fit.skipped[:5])
        messages.append(f"{fit.skipped_count} of {fit.done} images left out: {reasons}{more}")
    for name, layer in fit.layers.items():
        vectors, channels = int(layer.moments.count), len(layer.moments.mean)
        if vectors <= channels:
            messages.append(
                f"layer {name!r} gave {vectors} vectors of {channels} channels in all: the basis "
                "is that of these images, and other images may differ in all else. Give more."
            )
    return messages


def _in_float32(basis: PrincipalBasis) -> PrincipalBasis:
    return replace(
        basis,
        mean=basis.mean.float().cpu(),
        components=basis.components.float().cpu(),
        variances=basis.variances.double().cpu(),
    )


def _class_means(layer: LayerFit, labels: Sequence[str], basis: PrincipalBasis) -> Tensor:
    """Mean scores of each class, ``(n, k)``, float64."""
    if not labels:
        return torch.zeros(0, len(basis.components), dtype=torch.float64)
    means = torch.stack([layer.class_sums[one] / layer.class_counts[one] for one in labels])
    return (means - basis.mean.double()) @ basis.components.double().T


def _check_read(again: str, earlier: DataSetFit | None, stream: Stream) -> None:
    """Raise unless what was read again is what the earlier run has read."""
    if earlier is not None and not stream.signature and again != earlier.read:
        raise PFVValueError(
            f"data: its first {earlier.done} images are not those that the checkpoint has read. "
            "Give a loader that yields the same batches in the same order (shuffle=False), or "
            "begin anew with resume=False."
        )
