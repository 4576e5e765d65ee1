"""The sources of a comparison: networks, or the snapshots of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pfv_widgets.analysis.training.tracker import Tracker
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.widgets.compare.alignments import Alignments
from pfv_widgets.widgets.compare.compare_tab import CompareTab
from pfv_widgets.widgets.compare.network_similarities import NetworkSimilarities
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.renderers import DifferenceRenderer, SideRenderer
from pfv_widgets.widgets.compare.settings import CompareSettings
from pfv_widgets.widgets.compare.snapshots import (
    SnapshotDifference,
    SnapshotRenderer,
    Snapshots,
    SnapshotSimilarities,
    agreement,
    fixed_by,
    without_network,
)
from pfv_widgets.widgets.explorer.tabs import PictureTab, batch_tab
from pfv_widgets.widgets.export.export_tab import ExportTab
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.toolkit.protocols import Tab

TABS: dict[str, Callable[[Any], Tab]] = {
    "Compare": CompareTab,
    "Picture": PictureTab,
    "Batch": batch_tab,
    "Export": ExportTab,
}


@dataclass(frozen=True)
class ComparisonSource:
    """Where the pictures and similarities of a comparison come from."""

    networks: Networks | Snapshots  # what is chosen among
    renderer: Callable[[], Renderer]  # of a side
    difference: Callable[[], Renderer]  # of where the two differ
    # share of variance in common of two layers, each joined to its network's name
    agreement: Callable[[str, str, CompareSettings], float]
    similarities: NetworkSimilarities | SnapshotSimilarities  # of their layers
    tabs: Mapping[str, Callable[[Any], Tab]]
    network: Callable[[str], PFV]  # a network with its photos, by name
    code: str  # the call that opens such an explorer; {more} are further keywords
    given: tuple[str, ...]  # names in it that are the user's
    fixed: Mapping[str, object]  # fields of the settings that cannot be changed
    on_growth: Callable[..., None] | None = None  # called with what hears of more names


def networks_source(networks: Networks) -> ComparisonSource:
    """Return networks with their photos as a source."""
    alignments = Alignments(networks)
    return ComparisonSource(
        networks=networks,
        renderer=partial(SideRenderer, alignments),
        difference=partial(DifferenceRenderer, alignments),
        agreement=lambda *pair: alignments.alignment(*pair).rotation.agreement,
        similarities=NetworkSimilarities(networks),
        tabs=TABS,
        network=networks.pfv,
        code="pw.compare(models, images, settings=settings{more})",
        given=("models", "images"),
        fixed={},
    )


def tracker_source(tracker: Tracker) -> ComparisonSource:
    """Return the snapshots of a training as a source, those still to come as well."""
    return ComparisonSource(
        networks=Snapshots(tracker),
        renderer=partial(SnapshotRenderer, tracker),
        difference=partial(SnapshotDifference, tracker),
        agreement=lambda second, first, _: agreement(tracker, second, first),
        similarities=SnapshotSimilarities(tracker),
        tabs={
            "Compare": CompareTab,
            "Picture": partial(PictureTab, has_network=False),
            "Export": ExportTab,
        },
        network=without_network,
        code="tracker.explore(settings=settings{more})",
        given=("tracker",),
        fixed=fixed_by(tracker),
        on_growth=tracker.on_snapshot,
    )
