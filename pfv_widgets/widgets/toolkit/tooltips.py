"""Inputs that show their help, and their label as it is.

ipywidgets drops the tooltip of an input that has a label, and gives the label to MathJax.
"""

from __future__ import annotations

from html import escape

import ipywidgets as w
import traitlets


def _with_help(label: str, widget: w.DescriptionWidget) -> str:
    no_mathematics = "tex2jax_ignore mathjax_ignore"  # of MathJax 2, and of later ones
    markup = (
        f'<span class="{no_mathematics}" title="{escape(widget.tooltip or "")}">'
        f"{escape(label)}</span>"
    )
    # Jupyter's sanitizer, which comes before, takes what is between two of these for mathematics
    return markup.replace("$", "&#36;").replace("\\", "&#92;")


class _Described(traitlets.HasTraits):
    """The page is given the description with the tooltip in it; in Python it stays plain."""

    description = traitlets.Unicode("").tag(sync=True, to_json=_with_help)
    description_allow_html = traitlets.Bool(True).tag(sync=True)


class Dropdown(_Described, w.Dropdown):
    """One of several."""


class Checkbox(_Described, w.Checkbox):
    """Yes or no."""


class Text(_Described, w.Text):
    """A line of text."""


class FloatSlider(_Described, w.FloatSlider):
    """A number within a range."""


class BoundedIntText(_Described, w.BoundedIntText):
    """A whole number."""
