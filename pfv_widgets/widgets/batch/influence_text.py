"""The result of "leave one out" in words."""

from __future__ import annotations

from collections.abc import Sequence

from pfv_widgets.analysis.influence import Influence
from pfv_widgets.widgets.toolkit.text import hint, safe

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
    if current:
        return f'<div style="line-height:1.35">{_lines(influence, names, _TOLD)}</div>'
    return (
        f"{hint('The basis has changed since: press again.')}"
        f'<div style="line-height:1.35;opacity:.5">{_lines(influence, names, 1)}</div>'
    )


def _lines(influence: Influence, names: Sequence[str], told: int) -> str:
    order = influence.most()
    if not order:
        reasons = list(dict.fromkeys(influence.reasons.values()))
        worth = [one for one in reasons if one != "it is not in the basis"] or reasons
        return safe(f"No image can be left out: {'; '.join(worth)}.".replace("..", "."))
    first, *others = order[:told]
    if influence.angles[first] < _STILL:
        return safe(
            f"It hangs on no single image: without any one of {len(order)} the basis turns by "
            f"less than {_STILL}°."
        )
    most = (
        f"Without <b>#{first} {safe(names[first], 28)}</b> the basis turns by "
        f"<b>{influence.angles[first]:.0f}°</b>."
    )
    rest = ", ".join(
        f"#{index} {safe(names[index], 14)} {influence.angles[index]:.0f}°" for index in others
    )
    return f"{most}<br>Next: {rest}." if rest else most
