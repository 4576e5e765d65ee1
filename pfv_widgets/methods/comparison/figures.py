"""The two comparison figures of FeatureVis, one call each (Grün et al. 2016, figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.comparison.cells import Cell, Comparison
from pfv_widgets.methods.comparison.rows import PrincipalFeatures, explainer_of, explainers, names
from pfv_widgets.methods.comparison.scales import MEANING
from pfv_widgets.methods.comparison.table import Table, Tile, draw_table
from pfv_widgets.methods.comparison.tiles import (
    Filled,
    checked_scale,
    class_names,
    computed,
    reach,
    said,
    which,
)
from pfv_widgets.methods.core.method import Cancelled, Progress
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.lrp.relevance import Relevance
from pfv_widgets.parameters import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_METHODS = (
    "occlusion", "deconvnet", "saliency", "guided_backprop", Relevance(rest="absorbed"),
)  # fmt: skip
_PFV = " PFV: principal components as colours, the same in all images of a network."


def figure_methods(
    model: object,
    images: object,
    methods: object = PAPER_METHODS,
    *,
    layer: str | None = None,
    unit: int | None = None,
    output: str | int | None = None,
    classes: object = None,
    scale: str = "each map",
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Figure:
    """Draw what several methods say of one network: a row for each image, a column a method.

    Parameters
    ----------
    model
        One network.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    methods
        Names in ``pfv_widgets.methods.METHODS`` or ``"pfv"``, or instances with options of
        their own; by default those of the paper, whose relevance has ε = 0.001 and lets
        biases absorb their share.
    layer, unit, output
        What is explained, see :class:`pfv_widgets.methods.core.target.Target`: by default the
        strongest unit of the output.
    classes
        Names of the output's units: a list, a mapping from unit to name, or ``"imagenet"``.
    scale
        ``"each map"``, ``"each method"`` or ``"all alike"``: which pictures share their colours.
    inputs, argument, device
        As for :func:`attribute`.
    progress, cancelled
        Called as ``progress(done, all)`` with numbers of maps; asked between steps.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do. Where one method alone cannot explain
        the network, its tiles say so.
    """
    chosen, target = explainers(methods), Target(layer, unit, output)
    known, scale = class_names(classes), checked_scale(scale)
    comparison = Comparison(model, images, inputs=inputs, argument=argument, device=device)
    if len(comparison.networks) > 1:
        raise PFVValueError("model: figure_methods takes one network; see figure_networks.")
    columns = [(0, one) for one in chosen.values()]
    if not columns:
        raise PFVValueError(f"methods is empty: give some of {listed(names())}.")
    rows = computed(comparison, columns, target, progress, cancelled)
    title = f"{comparison.networks[0].name}: {which(target, known)}"
    below = [said(row, target, known) or name for row, name in _named(comparison, rows)]
    filled = Filled.of(columns, rows, scale)
    headings = [one.label for one in chosen.values()]
    tiles = filled.tiles(reach)
    return _drawn(comparison, filled, title=title, headings=headings, below=below, tiles=tiles)


def figure_networks(
    models: object,
    images: object,
    method: object = "guided_backprop",
    *,
    layer: str | None = None,
    unit: int | None = None,
    output: str | int | None = None,
    classes: object = None,
    scale: str = "each map",
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Figure:
    """Draw what one method says of several networks: a row for each image, a column a network.

    Parameters
    ----------
    models
        Networks by name, or a list of them.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    method
        A name in ``pfv_widgets.methods.METHODS``, ``"pfv"``, or an instance with options of its
        own.
    layer, unit, output, classes, scale, inputs, argument, device, progress, cancelled
        As for :func:`figure_methods`.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do. Where the method cannot explain one of
        the networks, its tiles say so.
    """
    _, chosen = explainer_of(method)
    target, known = Target(layer, unit, output), class_names(classes)
    scale = checked_scale(scale)
    comparison = Comparison(models, images, inputs=inputs, argument=argument, device=device)
    columns = [(number, chosen) for number in range(len(comparison.networks))]
    rows = computed(comparison, columns, target, progress, cancelled)
    filled = Filled.of(columns, rows, scale)
    tiles = filled.tiles(lambda cell, _: said([cell], target, known))
    title = f"{chosen.label}: {which(target, known)}"
    headings = [network.name for network in comparison.networks]
    below = list(comparison.images.names)
    return _drawn(comparison, filled, title=title, headings=headings, below=below, tiles=tiles)


def _named(comparison: Comparison, rows: list[list[Cell]]) -> zip[tuple[list[Cell], str]]:
    return zip(rows, comparison.images.names, strict=True)


def _drawn(
    comparison: Comparison,
    filled: Filled,
    *,
    title: str,
    headings: list[str],
    below: list[str],
    tiles: list[list[Tile]],
) -> Figure:
    """Draw the photos, with words below them, before the tiles."""
    photos = [Tile(*one) for one in zip(comparison.images.pixels, below, strict=True)]
    has_pfv = any(isinstance(method, PrincipalFeatures) for _, method in filled.columns)
    return draw_table(
        Table(
            title,
            [[photo, *row] for photo, row in zip(photos, tiles, strict=True)],
            ["Photo", *headings],
            comparison.images.size,
            bars=filled.bars(),
            caption=MEANING[filled.scale] + _PFV * has_pfv,
        )
    )
