"""The registry of objects: add one with a drawing function and a line here."""

from __future__ import annotations

from collections.abc import Callable

from pfv_widgets.demo import animals, objects
from pfv_widgets.demo.drawing import Patch, RandomStream

DRAWINGS: dict[str, Callable[[Patch, RandomStream], None]] = {
    "balloon": objects.balloon,
    "butterfly": animals.butterfly,
    "cactus": objects.cactus,
    "cat": animals.cat,
    "fish": animals.fish,
    "flower": objects.flower,
    "house": objects.house,
    "mushroom": objects.mushroom,
    "sailboat": objects.sailboat,
    "snail": animals.snail,
}

CLASSES: tuple[str, ...] = tuple(DRAWINGS)
"""The names of all objects, in the order of the network's logits."""
