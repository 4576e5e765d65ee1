"""A sequence of networks beside a fixed one: how similar each is, and its pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.analysis.compare.alignment import align, linear_cka
from pfv_widgets.analysis.compare.common_grid import grid_side, on_grid
from pfv_widgets.analysis.compare.heatmap_agreement import rank_correlation, structural_similarity
from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint, SimilarityCurve
from pfv_widgets.engine.colouring.heatmaps import render_heatmaps
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.network.named_models import (
    NamedModels,
    images_by_network,
    images_that_fit,
    named_models,
)
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.engine.progress import OnProgress, Progress, silent
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.parameters import suggestion
from pfv_widgets.validation import function_or_none, text_or_none, whole_number

_LONGEST = 96  # pixels of the heatmaps that are compared


@dataclass(frozen=True, eq=False)
class LayerView:
    """What one network shows of one layer: all that is compared with another's."""

    features: Tensor  # maps on the common grid, ``(N, C, g, g)``
    scores: Tensor  # ``(N, k, h, w)``
    basis: PrincipalBasis  # mean and components that give these scores
    factors: list[Tensor]  # maps that the scores are multiplied by, for heatmaps of ``size``
    settings: Settings  # of the picture; ``settings.layer`` is the layer
    weights: tuple[float, ...]  # of the photos, N numbers
    size: tuple[int, int]  # height and width of the heatmaps in pixels

    def heatmaps(self, scores: Tensor | None = None) -> Tensor:
        """Return heatmaps ``(N, H, W, 3)``, of other scores of its positions where given."""
        used = self.scores if scores is None else scores
        return render_heatmaps(used, self.factors, self.weights, self.settings.colouring, self.size)


def view_of(
    pfv: PFV, settings: Settings, *, longest: int = _LONGEST, on_progress: OnProgress | None = None
) -> LayerView:
    """Return what a network shows of the layer of some settings; pins do not count."""
    settings = replace(settings, pins=())
    height, width = pfv.images.size
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    with own_modes(), pfv.store.lock:
        frame = pfv.render(settings, size=size, on_progress=on_progress)
        key = pfv.store.key_of(frame.layer)
        maps = maps_on_common_grid(pfv, frame.layer)
        factors = list(pfv.store.factors(key, settings.weighting, size, None))
    return LayerView(maps, frame.scores, frame.basis, factors, frame.settings, frame.weights, size)


def maps_on_common_grid(pfv: PFV, layer: str) -> Tensor:
    """Return the maps of a layer on the common grid, ``(N, C, g, g)``; NaN in broken photos."""
    with own_modes(), pfv.store.lock:
        features = pfv.store.captured(pfv.store.key_of(layer))[0]
        maps = on_grid(features.maps, grid_side(len(pfv.images)))
        maps[list(features.broken)] = torch.nan
    return maps


def compare_views(name: str, fixed: LayerView, other: LayerView) -> CurvePoint:
    """Compare a network with the fixed one: features, scores after alignment, and heatmaps.

    The heatmaps are those of the scores that are rotated to the fixed network's (see
    :func:`align`), so that colours mean the same. NaN where a measure is undefined; ``note`` says
    why.
    """
    rotation = align(other.scores, fixed.scores)
    heatmaps = fixed.heatmaps(), other.heatmaps(rotation.apply(other.scores))
    several = len(heatmaps[0]) > 1
    plain = float(rank_correlation(*heatmaps).nanmean())
    point = CurvePoint(
        name,
        features_cka(fixed.features, other.features),
        rotation.agreement,
        float(rank_correlation(*heatmaps, of_photos=True).nanmean()) if several else plain,
        float(structural_similarity(*heatmaps).nanmean()),
        plain,
    )
    return replace(point, note=_note(point, several=several))


def _note(point: CurvePoint, *, several: bool) -> str:
    """Say which measures are undefined, and what a single photo cannot tell."""
    measures = {"CKA": point.cka, "rank correlation": point.rank_correlation, "SSIM": point.ssim}
    undefined = ", ".join(key for key, value in measures.items() if math.isnan(value))
    reason = "one side is constant, the photos are alike, or too few positions are finite"
    if undefined:
        return f"{undefined} undefined: {reason}."
    return "" if several else "One photo: its rank correlation counts borders, too."


@own_modes()
def similarity_curve(
    models: object,
    images: Any,
    settings: Settings | None = None,
    *,
    fixed: str | None = None,
    device: str | torch.device = "auto",
    chunk_size: int = 16,
    on_progress: OnProgress | None = None,
    **changes: Any,
) -> SimilarityCurve:
    """Compare each network of a sequence with a fixed one, in one layer.

    Parameters
    ----------
    models
        Two or more networks by name or in a list, such as :func:`randomised` and
        :func:`checkpoints` return; each is visited once, in order. Each may be a pair of the
        network and its images or transform, as for :func:`similarity`.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes. Where networks declare
        different normalisations, each is given the images in its own. A network that is made when
        it is visited is compared in this with the fixed one alone.
    settings
        Of the pictures that are compared (None: the defaults), ``changes`` merged into them:
        ``layer`` is that of all networks. Without one it is the fixed one's default, or that of a
        network which has no such layer.
    fixed
        Name of the network that the others are compared with; None: the first.
    device, chunk_size
        As for :class:`PFV`.
    on_progress
        Called with a :class:`Progress`; it may raise :class:`Cancelled` to stop.

    Raises
    ------
    PFVTypeError, PFVValueError
        For fewer than two networks, an unknown name, or a fixed network that cannot be shown.
        What is wrong with another one is the ``note`` of its point, whose numbers are NaN.

    Notes
    -----
    Spearman's rank correlation and SSIM of heatmaps: Adebayo et al. 2018. They are measured at up
    to 96 pixels. What heatmaps show at a position whatever the photo, such as the border of the
    padding, correlates between any two networks: ``rank_correlation`` is taken about the mean over
    the photos, and ``plain_rank_correlation`` of the heatmaps as they are. With SqueezeNet and a
    random copy of it the plain one is .2 to .5, as much as that of the heatmaps of other photos.
    """
    settings = settings_of(settings, changes)
    report = function_or_none("on_progress", on_progress, "a function of a Progress") or silent
    networks = _in_order(models)
    fixed = text_or_none("fixed", fixed, "the name of a network")
    start = next(iter(networks)) if fixed is None else fixed
    if start not in networks:
        raise PFVValueError(f"fixed={start!r}: no such network. {suggestion(start, networks)}")
    batch = batch_of(images)
    visit = _Visit(networks, batch, device, whole_number("chunk_size", chunk_size, 1))
    images_of_fixed = visit.batches(start)[start]
    reference = visit.view(start, images_of_fixed, settings)
    references = {images_of_fixed.normalisation: reference}
    used = replace(settings, layer=reference.settings.layer)
    points = []
    for done, name in enumerate(networks):
        report(Progress("Comparing networks", done, len(networks), "networks"))
        try:
            batches = visit.batches(start, name)
            by = batches[start].normalisation
            if by not in references:
                references[by] = visit.view(start, batches[start], used)
            view = visit.view(name, batches[name], used, named=settings.layer is not None)
            points.append(compare_views(name, references[by], view))
        except PFVError as error:
            points.append(CurvePoint(name, note=str(error)))
    return SimilarityCurve(start, used.layer or "", tuple(points), len(batch))


@dataclass(frozen=True, eq=False)
class _Visit:
    """The networks of a sequence and the photos, each opened for as long as it is looked at."""

    networks: NamedModels | LazyNetworks
    images: ImageBatch
    device: str | torch.device
    chunk_size: int

    def batches(self, *names: str) -> dict[str, ImageBatch]:
        """Return the photos for some networks: see :func:`images_by_network`.

        Of networks that are made when they are visited, only these declare a normalisation.
        """
        if isinstance(self.networks, LazyNetworks):
            pair: NamedModels = {name: (self.networks[name], None) for name in names}
            return images_by_network(pair, self.images)
        return self._batches

    @cached_property
    def _batches(self) -> dict[str, ImageBatch]:
        assert not isinstance(self.networks, LazyNetworks)
        return images_by_network(self.networks, self.images)

    def view(
        self, name: str, images: ImageBatch, settings: Settings, *, named: bool = True
    ) -> LayerView:
        """Return what a network shows; without a layer by name it may take its own default."""
        entry = self.networks[name]
        model = entry[0] if isinstance(entry, tuple) else entry
        images = images_that_fit(name, model, images, self.device)
        pfv = PFV(model, images, self.device, chunk_size=self.chunk_size)
        try:
            if not named and all(one.name != settings.layer for one in pfv.layers):
                settings = replace(settings, layer=None)
            return view_of(pfv, settings)
        finally:
            pfv.close()


def _in_order(models: object) -> NamedModels | LazyNetworks:
    """Return networks by name; a sequence that makes its networks late stays what it is."""
    networks = models if isinstance(models, LazyNetworks) else named_models(models)
    if len(networks) < 2:
        raise PFVValueError(f"models has {len(networks)} network: give two or more, by name.")
    return networks


def features_cka(first: Tensor, second: Tensor) -> float:
    """Debiased CKA of features ``(N, C, g, g)`` over the positions of photos finite in both."""
    usable = torch.isfinite(first).flatten(1).all(1) & torch.isfinite(second).flatten(1).all(1)
    rows = [one[usable].movedim(1, 3).flatten(0, 2) for one in (first, second)]
    return linear_cka(*rows) if len(rows[0]) >= 4 else math.nan
