"""The scale from black to light yellow of maps that are never negative."""

from __future__ import annotations

import numpy as np

from pfv_widgets.methods.attribution.colours import ramp
from pfv_widgets.widgets.toolkit.text import safe


def colour_scale(low: str, high: str) -> str:
    """Return a bar of colours between two labels, as HTML."""
    colours = np.rint(255 * ramp(False)[::8]).astype(int)
    stops = ",".join("rgb({},{},{})".format(*row) for row in colours)
    bar = f"flex:1;height:10px;border-radius:3px;background:linear-gradient(to right,{stops})"
    row = "display:flex;gap:6px;line-height:1.3;align-items:center;max-width:300px"
    ends = (f"<span>{safe(end)}</span>" for end in (low, high))
    return f'<div style="{row}">{f"""<div style="{bar}"></div>""".join(ends)}</div>'
