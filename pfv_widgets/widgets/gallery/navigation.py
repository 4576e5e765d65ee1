"""How a person moves through the gallery, as functions from one state to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfv_widgets.engine.colouring.similarity import cell_of
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit.geometry import Spot


@dataclass(frozen=True)
class Batch:
    """How many images there are, and their height and width."""

    number: int
    size: tuple[int, int]


def with_page(state: ViewState, batch: Batch, step: int) -> ViewState:
    """Go ``step`` pages on; a zoomed image gives way to the next."""
    capacity = state.page.capacity(batch.size)
    first = state.page.first + step * capacity
    if not 0 <= first < state.page.count(batch.number):
        return state
    cursor = state.page.image(first) if state.page.columns == 1 else None
    return replace(
        state, page=replace(state.page, first=first, anchor=None), cursor=cursor, hover=None
    )


def arranged(state: ViewState, batch: Batch, columns: int) -> ViewState:
    """Show ``columns`` tiles in a row, on the page of the image that is looked at."""
    target = _looked_at(state)
    if state.cursor is None and state.hover is None and state.page.anchor is not None:
        target = state.page.anchor
    page = replace(state.page, columns=columns).holding(target, batch.size)
    cursor = state.cursor if state.page.columns > 1 else None  # a single tile has it by itself
    return replace(state, page=page, cursor=target if columns == 1 else cursor, hover=None)


def spread(state: ViewState, batch: Batch, columns: int | None) -> ViewState:
    """Show the tiles over the whole width of a screen; ``columns``: as before, so many in a row."""
    target = _looked_at(state)
    page = state.page.across(batch.number, batch.size)
    if columns is not None:
        page = replace(state.page, columns=columns, aspect=1.0)
    return replace(state, page=page.holding(target, batch.size), hover=None)


def ordered(state: ViewState, order: tuple[int, ...] | None) -> ViewState:
    """Show these images in this order, from the first on; None: all of them, as they came."""
    page = replace(state.page, order=order, first=0, anchor=None)
    return replace(state, page=page, cursor=None, hover=None)


def named(state: ViewState, is_on: bool) -> ViewState:
    """Show what the images are called, or not."""
    return replace(state, page=replace(state.page, named=is_on))


def walked(state: ViewState, batch: Batch, key: str, columns: int) -> ViewState:
    """Move the cursor by an arrow key, Home or End, to another page where it leaves this one."""
    steps = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -columns, "ArrowDown": columns}
    last = state.page.count(batch.number) - 1
    if key in ("Home", "End"):
        rank = 0 if key == "Home" else last
    elif state.cursor is None:
        rank = state.page.first
    else:
        rank = min(max(state.page.rank(state.cursor) + steps[key], 0), last)
    target = state.page.image(rank)
    here = target in state.page.indices(batch.number, batch.size)
    page = state.page if here else state.page.holding(target, batch.size)
    return replace(state, page=page, cursor=target, hover=None)


def stepped(state: ViewState, key: str, shape: tuple[int, int]) -> ViewState:
    """Move the marked position by one cell of a map of ``shape`` in the image of the cursor."""
    steps = {"ArrowLeft": (0, -1), "ArrowRight": (0, 1), "ArrowUp": (-1, 0), "ArrowDown": (1, 0)}
    image = _looked_at(state)
    rows, columns = shape
    row, column = rows // 2, columns // 2
    if state.hover is not None and state.hover.image == image:
        row = min(int(state.hover.y * rows), rows - 1) + steps[key][0]
        column = min(int(state.hover.x * columns), columns - 1) + steps[key][1]
    row, column = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
    spot = Spot(image, (column + 0.5) / columns, (row + 0.5) / rows)
    return replace(state, cursor=image, hover=spot)


def spot_of(state: ViewState) -> Spot:
    """Return what the keys act on: the marked position, else the middle of the cursor's image."""
    if state.hover is not None:
        return state.hover
    return Spot(_looked_at(state), 0.5, 0.5)


def rectangle(corner: Spot, spot: Spot, shape: tuple[int, int]) -> tuple[Spot, Spot]:
    """Return opposite corners of the positions from one to another, on a map of ``shape``."""
    cells = [cell_of(one.x, one.y, shape) for one in (corner, spot)]
    rows, columns = ([cell[axis] for cell in cells] for axis in (0, 1))
    first = Spot(corner.image, min(columns) / shape[1], min(rows) / shape[0])
    return first, Spot(corner.image, (max(columns) + 1) / shape[1], (max(rows) + 1) / shape[0])


def _looked_at(state: ViewState) -> int:
    if state.cursor is not None:
        return state.cursor
    return state.hover.image if state.hover is not None else state.page.image(state.page.first)
