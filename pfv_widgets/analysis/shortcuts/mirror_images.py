"""Whether photos of one of two classes were changed, or those of the other in the opposite way."""

from __future__ import annotations

from dataclasses import replace

from pfv_widgets.analysis.shortcuts.causal_test import Trial


def without_mirror_images(trials: list[Trial], classes: int) -> list[Trial]:
    """Leave one of the confirmed degradations of two classes: that which explains more.

    Noise on photos of one class gives them the contrasts of the other, and compression, which takes
    noise away, those of the other the contrasts of the one: of the two, one alone need be true.
    Each that is left says what the other would be. Where there are more classes, one that was
    changed is told from several others, and each degradation stands for itself.

    Parameters
    ----------
    trials
        Of all classes.
    classes
        How many there are photos of.
    """
    degraded = {one.unit: one for one in trials if one.evidence.quality}
    if classes != 2 or len(degraded) < 2:
        return trials
    first, second = degraded.values()
    opposite = {first: second, second: first}
    both = first.confirmed and second.confirmed
    least = min(degraded.values(), key=lambda one: one.evidence.explained)
    return [
        _beside(one, opposite[one]) if one in opposite else one
        for one in trials
        if not (both and one is least)
    ]


def _beside(one: Trial, other: Trial) -> Trial:
    mirrored = (
        f"those of {other.name!r} look {other.evidence.quality}, which explains "
        f"{100 * other.evidence.explained:.0f} %"
    )
    return replace(one, evidence=replace(one.evidence, mirrored=mirrored))
