"""Inputs that show their help: ipywidgets drops the tooltip of these where they have a label."""

from __future__ import annotations

from html import escape

import ipywidgets as w
import traitlets


def _with_help(label: str, widget: w.DescriptionWidget) -> str:
    return f'<span title="{escape(widget.tooltip or "")}">{escape(label)}</span>'


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


class BoundedIntText(_Described, w.BoundedIntText):
    """A whole number."""
