"""The result of "leave one out" in words."""

from __future__ import annotations

from collections.abc import Sequence

from pfv_widgets.analysis.leave_one_out import Influence
from pfv_widgets.widgets.toolkit.text import hint, safe

_NAMED = 3  # images
_UNSEEN = 0.5  # degrees that nobody sees


def influence_line(influence: Influence, names: Sequence[str], *, current: bool = True) -> str:
    """Return which images the basis depends on most, as HTML.

    What does not hold for what is shown now (``current``) is dimmed, with a note.
    """
    if current:
        return f'<div style="line-height:1.35">{_lines(influence, names, _NAMED)}</div>'
    return (
        f"{hint('The colours have changed since: press again.')}"
        f'<div style="line-height:1.35;opacity:.5">{_lines(influence, names, 1)}</div>'
    )


def _lines(influence: Influence, names: Sequence[str], number: int) -> str:
    order = influence.most()
    if not order:
        reasons = list(dict.fromkeys(influence.reasons.values()))
        worth = [one for one in reasons if one != "it is not used to find the colours"] or reasons
        return safe(f"No image can be left out: {'; '.join(worth)}.".replace("..", "."))
    first, *others = order[:number]
    if influence.angles[first] < _UNSEEN:
        return safe(
            f"No single image matters much: leaving any out changes the result by less than "
            f"{_UNSEEN}°."
        )
    most = (
        f"Without <b>{first + 1}: {safe(names[first], 28)}</b> the colours change by "
        f"<b>{influence.angles[first]:.0f}°</b>."
    )
    rest = ", ".join(
        f"{index + 1}: {safe(names[index], 14)} {influence.angles[index]:.0f}°" for index in others
    )
    return f"{most}<br>Next: {rest}." if rest else most
