"""The registry of things: add one with a drawing function and a line here."""

from __future__ import annotations

from collections.abc import Callable

from pfv_widgets.demo import creatures, objects
from pfv_widgets.demo.paint import Dice, Patch

THINGS: dict[str, Callable[[Patch, Dice], None]] = {
    "balloon": objects.balloon,
    "butterfly": creatures.butterfly,
    "cactus": objects.cactus,
    "cat": creatures.cat,
    "fish": creatures.fish,
    "flower": objects.flower,
    "house": objects.house,
    "mushroom": objects.mushroom,
    "sailboat": objects.sailboat,
    "snail": creatures.snail,
}

CLASSES: tuple[str, ...] = tuple(THINGS)
"""The names of all things, in the order of the network's logits."""
