"""Send a page of the browser the state of widgets anew, where it may have missed a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import anywidget
import ipywidgets as w
from ipycanvas import Canvas

from pfv_widgets.widgets.toolkit.controls import all_in, clean

EDITABLE = frozenset({"value", "index", "selected_index"})  # what a person sets in a page
_READ = "_model_name"  # in a state, tells the page that its own manager has read it
_SHOWN_ONLY = (w.HTML, w.Label, w.Image)  # their value is the kernel's alone
_SENT_OTHERWISE = (anywidget.AnyWidget, Canvas)  # scripts never change, canvases are drawn

Values = Mapping[str, Mapping[str, Any]]  # id of a model → what a person can set of it


def send_states(explorer: w.Widget, page: Values) -> None:
    """Send the state of a widget, and of all in it with layouts and styles.

    What a page is sent before it has made a model is lost to it. What a person can set is sent
    only where the ``page`` shows another value than the kernel has: a slider may just be dragged.
    It has none of controls of which a change is on its way to the kernel.
    """
    for widget in _with_looks(explorer):
        if not isinstance(widget, _SENT_OTHERWISE):
            _send(widget, page.get(widget.model_id, {}))


def _with_looks(root: w.Widget) -> Iterator[w.Widget]:
    for widget in all_in(root):
        yield widget
        for look in ("layout", "style"):
            if isinstance(part := getattr(widget, look, None), w.Widget):
                yield part


def _send(widget: w.Widget, page: Mapping[str, Any]) -> None:
    editable = frozenset() if isinstance(widget, _SHOWN_ONLY) else EDITABLE
    sent: dict[str, Any] = {}
    while True:  # another thread may have changed it meanwhile, and its message went first
        state = {
            name: value
            for name, value in widget.get_state().items()
            if name != _READ
            and (name not in editable or (name in page and clean(page[name]) != clean(value)))
        }
        if state == sent or widget.comm is None:
            return
        sent = state
        widget.send_state(state)
