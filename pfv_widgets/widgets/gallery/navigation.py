"""How a person moves through the gallery, as functions from one scene to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfv_widgets.widgets.gallery.view_state import Scene
from pfv_widgets.widgets.toolkit.geometry import Page, Spot


@dataclass(frozen=True)
class Batch:
    """How many images there are, and their height and width."""

    number: int
    size: tuple[int, int]


def turned(scene: Scene, batch: Batch, step: int) -> Scene:
    """Go ``step`` pages on; a zoomed image gives way to the next."""
    capacity = scene.page.capacity(batch.size)
    first = scene.page.first + step * capacity
    if not 0 <= first < batch.number:
        return scene
    cursor = first if scene.page.columns == 1 else None
    return replace(
        scene, page=replace(scene.page, first=first, anchor=None), cursor=cursor, hover=None
    )


def arranged(scene: Scene, batch: Batch, columns: int) -> Scene:
    """Show ``columns`` tiles in a row, on the page of the image that is looked at."""
    target = _looked_at(scene)
    if scene.cursor is None and scene.hover is None and scene.page.anchor is not None:
        target = scene.page.anchor
    page = Page(0, columns).holding(target, batch.size)
    cursor = target if columns == 1 else scene.cursor
    return replace(scene, page=page, cursor=cursor, hover=None)


def walked(scene: Scene, batch: Batch, key: str, columns: int) -> Scene:
    """Move the cursor by an arrow key, Home or End, to another page where it leaves this one."""
    steps = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -columns, "ArrowDown": columns}
    if key in ("Home", "End"):
        target = 0 if key == "Home" else batch.number - 1
    elif scene.cursor is None:
        target = scene.page.first
    else:
        target = min(max(scene.cursor + steps[key], 0), batch.number - 1)
    page = scene.page.holding(target, batch.size)
    return replace(scene, page=page, cursor=target, hover=None)


def stepped(scene: Scene, key: str, places: tuple[int, int]) -> Scene:
    """Move the marked place by one of ``places`` (rows, columns) in the image of the cursor."""
    steps = {"ArrowLeft": (0, -1), "ArrowRight": (0, 1), "ArrowUp": (-1, 0), "ArrowDown": (1, 0)}
    image = _looked_at(scene)
    rows, columns = places
    row, column = rows // 2, columns // 2
    if scene.hover is not None and scene.hover.image == image:
        row = min(int(scene.hover.y * rows), rows - 1) + steps[key][0]
        column = min(int(scene.hover.x * columns), columns - 1) + steps[key][1]
    row, column = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
    spot = Spot(image, (column + 0.5) / columns, (row + 0.5) / rows)
    return replace(scene, cursor=image, hover=spot)


def spot_of(scene: Scene) -> Spot:
    """Return what the keys act on: the marked place, else the middle of the cursor's image."""
    if scene.hover is not None:
        return scene.hover
    return Spot(_looked_at(scene), 0.5, 0.5)


def _looked_at(scene: Scene) -> int:
    if scene.cursor is not None:
        return scene.cursor
    return scene.hover.image if scene.hover is not None else scene.page.first
