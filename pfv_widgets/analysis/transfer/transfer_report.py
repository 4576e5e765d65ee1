"""Which layer of a network transfers to labelled photos, and what to look at before that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from pfv_widgets.analysis.core.scores_from_layer import unused_layers
from pfv_widgets.analysis.transfer.class_evidence import (
    components_by_class,
    confused_pairs,
    mislabelled,
    outliers,
)
from pfv_widgets.analysis.transfer.photo_chunks import labelled_chunks
from pfv_widgets.analysis.transfer.pooled_features import (
    PooledFeatures,
    chosen_layers,
    pooled_features,
    untrained,
)
from pfv_widgets.analysis.transfer.probes import (
    Probe,
    comes_first,
    difference,
    effective_rank,
    knn_probe,
    linear_probe,
    log_me,
)
from pfv_widgets.analysis.transfer.result import LayerProbes, TransferReport
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.validation import function_or_none

Progress = Callable[[str, int, int], None]


@own_modes()
def transfer_report(
    model: nn.Module,
    images_or_dataset: Any,
    labels: Sequence[object] | None = None,
    layers: Sequence[str] | None = None,
    *,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> TransferReport:
    """Probe the layers of a network with labelled photos, and say where to cut it.

    Features of a layer are its maps averaged over their positions. What counts is a
    cross-validated linear probe, beside one of nearest neighbours, the same network untrained
    and the share of the largest class; LogME and the effective rank are hints.

    Parameters
    ----------
    model
        Any ``nn.Module`` that takes the images; it is given back as it came.
    images_or_dataset
        An ``ImageBatch``, what :func:`load_images` takes (names of sub-folders are labels), or a
        ``Dataset`` or ``DataLoader`` of ``(image, label)``, which is read once and in parts.
    labels
        One for each photo; None: those of the photos.
    layers
        Names of layers; None: at most eight, spread over the network, that its output depends
        on.
    device
        As for ``PFV``.
    progress
        Called as ``progress(what, done, all)``; ``all`` is 0 where it is not known.

    Raises
    ------
    PFVValueError, PFVTypeError
        For photos without labels or of one class, fewer than two photos of each class, layers
        that cannot be chosen, and whatever else cannot be used: with the argument and the fix.

    References
    ----------
    Alain and Bengio 2016 (linear probes); You et al. 2021 (LogME); Northcutt et al. 2021
    (confident learning); Agresti and Min 2005 (intervals of paired shares).
    """
    function_or_none("progress", progress, "a function of (what, done, all)")
    report: Progress = progress or (lambda *_: None)
    network = unwrap(model)
    where = choose_device(network, device)
    total = len(images_or_dataset) if hasattr(images_or_dataset, "names") else 0
    chunks = labelled_chunks(images_or_dataset, labels)
    first = next(chunks, None)
    if first is None:
        raise PFVValueError("images_or_dataset gives no photo: give at least two of two classes.")
    ours = on_device(network, where)
    forward = Forward(ours, first.tensor[:2], where)
    chosen = chosen_layers(forward.list_layers(), layers)
    unused = unused_layers(forward, chosen)
    if layers is None:
        chosen = tuple(one for one in chosen if one not in unused) or chosen
    other = untrained(ours)
    networks = [(ours, where)] + ([] if other is None else [(other, where)])
    features = pooled_features(
        chain([first], chunks), networks, chosen,
        lambda done: report("running the network", done, total),
    )  # fmt: skip
    messages = [] if other is not None else ["The network cannot be copied: none is untrained."]
    features, more = _usable(features)
    messages += [*_about(unused, chosen), *more]
    return _report(ours, features, chosen, messages, report, unused=unused, device=where)


def _about(unused: Sequence[Layer], chosen: Sequence[Layer]) -> list[str]:
    """Say which layers the output does not depend on, and what is done with them."""
    left_out, probed = (
        [one.name for one in unused if (one in chosen) is here] for here in (False, True)
    )
    messages = []
    if left_out:
        words = "Left out, since the network's output does not depend on it"
        messages.append(f"{words}: {_few(left_out)}.")
    if probed:
        messages.append(
            f"The network's output does not depend on {_few(probed)}: a probe there says what its "
            "features hold, not what the network uses."
        )
    return messages


def _usable(features: PooledFeatures) -> tuple[PooledFeatures, list[str]]:
    """Leave out photos that have NaN somewhere and classes of one photo, and say so."""
    messages = []
    finite = np.ones(len(features), bool)
    for values in (*features.by_layer.values(), *features.untrained.values()):
        finite &= np.isfinite(values).all(1)
    if not finite.all():
        names = [name for name, good in zip(features.names, finite, strict=True) if not good]
        messages.append(f"Left out, since a layer is NaN or infinite there: {_few(names)}.")
        features = features.of(finite)
    classes, counts = np.unique(features.labels, return_counts=True)
    single = classes[counts < 2]
    if len(single) and len(classes) - len(single) >= 2:
        messages.append(
            f"Left out, since one photo of a class cannot be cross-validated: {_few(list(single))}."
        )
        features = features.of(~np.isin(features.labels, single))
    if not len(features):
        raise PFVValueError(
            "images_or_dataset: a layer is NaN or infinite for every photo. Run the network in "
            "float32, or choose other layers."
        )
    return features, messages


def _report(
    model: nn.Module,
    features: PooledFeatures,
    layers: Sequence[Layer],
    messages: list[str],
    report: Progress,
    *,
    unused: Sequence[Layer],
    device: torch.device,
) -> TransferReport:
    rows, probes = [], []
    for index, layer in enumerate(layers):
        report("probing layers", index, len(layers))
        row, probe = _probed(layer, features)
        rows.append(replace(row, used=layer not in unused))
        probes.append(probe)
    right = np.stack([probe.right for probe in probes])
    used = np.array([one.used for one in rows])
    used |= not used.any()
    best = int(np.where(used, right.sum(1), -1).argmax())
    probe, name = probes[best], layers[best].name
    report("components and photos", len(layers), len(layers))
    values = features.by_layer[name]
    try:
        with closing(PFV(model, features.pictures, device)) as pfv:
            components = components_by_class(pfv, name, features.picture_indices)
    except PFVError as error:  # the probes stand without them
        components, messages = (), [*messages, f"No components: {error}"]
    doubtful = (*mislabelled(probe, features.names), *outliers(
        values, features.labels, features.names))  # fmt: skip
    classes, counts = np.unique(features.labels, return_counts=True)
    return TransferReport(
        network=type(model).__name__,
        layers=tuple(rows),
        best=best,
        comes_first=comes_first(right[used], int(used[:best].sum())),
        behind=tuple(difference(probe.right, other.right) for other in probes),
        classes=dict(zip(map(str, classes), map(int, counts), strict=True)),
        components=components,
        confused=confused_pairs(probe),
        doubtful=doubtful,
        thumbnails={one.photo: features.thumbnails[one.photo] for one in doubtful},
        names=features.names,
        warnings=tuple(messages),
    )


def _probed(layer: Layer, features: PooledFeatures) -> tuple[LayerProbes, Probe]:
    values, labels = features.by_layer[layer.name], features.labels
    probe, other = linear_probe(values, labels), features.untrained.get(layer.name)
    untrained_probe = None if other is None else linear_probe(other, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constant features: the result is nan
        hint = log_me(values, labels)
    row = LayerProbes(
        layer.name, layer.kind, layer.shape, probe.accuracy, knn_probe(values, labels).accuracy,
        None if untrained_probe is None else untrained_probe.accuracy,
        None if untrained_probe is None else difference(probe.right, untrained_probe.right),
        hint, effective_rank(values),
    )  # fmt: skip
    return row, probe


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, map(str, names[:5]))) + more
