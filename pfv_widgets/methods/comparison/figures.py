"""The two comparison figures of FeatureVis, one call each (Grün et al. 2016, figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.export.image_grid import ImageGrid, Tile, draw_image_grid, tile_size
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.comparison.cell_tiles import (
    CellTiles,
    compute_cells,
    range_label,
    score_label,
    target_label,
)
from pfv_widgets.methods.comparison.colour_scales import SCALES, checked_scale
from pfv_widgets.methods.comparison.compared_methods import (
    Explainer,
    explainer_of,
    explainers,
    labels,
    names,
)
from pfv_widgets.methods.comparison.comparison import Comparison
from pfv_widgets.methods.core.method import Cancelled, Progress
from pfv_widgets.methods.core.target import Target, checked_unit
from pfv_widgets.methods.gradient.backprop import Deconvnet, GuidedBackprop, Saliency
from pfv_widgets.methods.lrp.relevance import Relevance
from pfv_widgets.methods.perturbation.occlusion import Occlusion
from pfv_widgets.parameters import listed

PAPER_METHODS = (
    Occlusion(), Deconvnet(start="activation"), Saliency(start="activation"),
    GuidedBackprop(start="activation"), Relevance(rule="epsilon", bias="absorbed"),
)  # fmt: skip
"""The methods of FeatureVis's figure: signals start from the unit's own map, biases absorb."""


@own_modes()
def figure_methods(
    model: object,
    images: object,
    methods: object = PAPER_METHODS,
    *,
    layer: str | None = None,
    unit: int | Sequence[int] | None = None,
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
        Names in ``pfv_widgets.METHODS`` or ``"pfv"``, or instances with options of
        their own, also several of one method; by default those of the paper.
    layer, unit, output
        What is explained, see :class:`pfv_widgets.methods.core.target.Target`: by default the
        strongest unit of the output; ``unit=[14, 776]`` is another one in each image.
    classes
        Names of the output's units: a list, a mapping from unit to name, or ``"imagenet"``.
    scale
        ``"each map"``, ``"each method"`` or ``"all alike"``: which maps share their colours.
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
    chosen, target = explainers(methods), Target(layer, checked_unit(unit), output)
    scale = checked_scale(scale)
    comparison = Comparison(
        model, images, classes=classes, inputs=inputs, argument=argument, device=device
    )
    if len(comparison.networks) > 1:
        raise PFVValueError("model: figure_methods takes one network; see figure_networks.")
    if not chosen:
        raise PFVValueError(f"methods is empty: give some of {listed(names())}.")
    columns = [(0, one) for one in chosen]
    rows = compute_cells(comparison, columns, target, progress, cancelled)
    (network,) = comparison.networks
    below = [
        score_label(row, target, network.classes) or name
        for row, name in zip(rows, comparison.images.names, strict=True)
    ]
    cells = CellTiles.of(columns, rows, scale)
    return _draw(
        comparison, cells,
        title=f"{network.name}: {target_label(target, network.classes)}",
        headings=labels(chosen),
        below=below,
        tiles=cells.tiles(lambda _, cell, colours: range_label(cell, colours)),
    )  # fmt: skip


@own_modes()
def figure_networks(
    models: object,
    images: object,
    method: object = "guided_backprop",
    *,
    layer: str | None = None,
    unit: int | Sequence[int] | None = None,
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
        Networks by name, or a list of them; ``{"name": (network, images)}`` gives one its images
        in its own normalisation, see
        :func:`pfv_widgets.engine.network.named_models.images_by_network`.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    method
        A name in ``pfv_widgets.METHODS``, ``"pfv"``, or an instance with options of its
        own. The default is that of the paper's figure.
    classes
        As for :func:`figure_methods`, or those of each network by its name.
    layer, unit, output, scale, inputs, argument, device, progress, cancelled
        As for :func:`figure_methods`.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do. Where the method cannot explain one of
        the networks, its tiles say so.
    """
    _, chosen = explainer_of(method)
    target, scale = Target(layer, checked_unit(unit), output), checked_scale(scale)
    comparison = Comparison(
        models, images, classes=classes, inputs=inputs, argument=argument, device=device
    )
    networks = comparison.networks
    columns = [(number, chosen) for number in range(len(networks))]
    rows = compute_cells(comparison, columns, target, progress, cancelled)
    cells = CellTiles.of(columns, rows, scale)
    return _draw(
        comparison, cells,
        title=f"{chosen.label}: {target_label(target, networks[0].classes)}",
        headings=[network.name for network in networks],
        below=list(comparison.images.names),
        tiles=cells.tiles(
            lambda column, cell, _: score_label([cell], target, networks[column].classes)
        ),
    )  # fmt: skip


def caption(comparison: Comparison, methods: Sequence[Explainer], scale: str) -> str:
    """Say what can be compared by colour, how images are normalised, and what each method is."""
    lines = [SCALES[scale], comparison.note]
    for label, method in zip(labels(methods), methods, strict=True):
        details = ", ".join(method.details(comparison.images.size))
        about = "; ".join(filter(None, [details, method.caution]))
        lines += [f"{label}: {about}."] if about else []
    return " ".join(filter(None, lines))


def _draw(
    comparison: Comparison,
    cells: CellTiles,
    *,
    title: str,
    headings: list[str],
    below: list[str],
    tiles: list[list[Tile]],
) -> Figure:
    """Draw the photos, with words below them, before the tiles."""
    photos = [
        Tile(photo, (words,)) for photo, words in zip(comparison.images.pixels, below, strict=True)
    ]
    rows = [[photo, *row] for photo, row in zip(photos, tiles, strict=True)]
    methods = list(dict.fromkeys(method for _, method in cells.columns))
    return draw_image_grid(
        ImageGrid(
            title,
            [tile for row in rows for tile in row],
            len(headings) + 1,
            tile_size(comparison.images.size, len(rows), len(headings) + 1),
            headings=["Photo", *headings],
            bars=cells.bars(),
            caption=caption(comparison, methods, cells.scale),
        )
    )
