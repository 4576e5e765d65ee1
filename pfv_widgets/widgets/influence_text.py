"""The result of "leave one out" in words."""

from __future__ import annotations

from collections.abc import Sequence

from pfv_widgets.analysis.influence import Influence
from pfv_widgets.widgets.text import hint, safe

_TOLD = 3  # images
_STILL = 0.5  # degrees that nobody sees


def influence_line(influence: Influence, names: Sequence[str], *, current: bool = True) -> str:
    """Return which images turn the basis most, as HTML.

    Parameters
    ----------
    influence
        What "leave one out" found.
    names
        Name of each image.
    current
        Whether it was found for what is shown now; if not, it is said and paled.
    """
    lines = _lines(influence, names)
    if current:
        return f'<div style="line-height:1.35">{lines}</div>'
    return (
        f"{hint('The composition, layer or components have changed: press again. Before:')}"
        f'<div style="line-height:1.35;opacity:.5">{lines}</div>'
    )


def _lines(influence: Influence, names: Sequence[str]) -> str:
    order = influence.most()
    if not order:
        reasons = list(dict.fromkeys(influence.reasons.values()))
        told = [one for one in reasons if one != "it is not in the basis"] or reasons
        return safe(f"No image can be left out: {'; '.join(told)}")
    first, *others = order[:_TOLD]
    if influence.angles[first] < _STILL:
        return safe(
            f"It hangs on no single image: without any one of {len(order)} the basis turns by "
            f"less than {_STILL}°."
        )
    most = (
        f"Without <b>#{first} {safe(names[first], 40)}</b> the basis turns by "
        f"<b>{influence.angles[first]:.0f}°</b>."
    )
    rest = ", ".join(
        f"#{index} {safe(names[index], 24)} {influence.angles[index]:.0f}°" for index in others
    )
    return f"{most}<br>Next: {rest}." if rest else most
