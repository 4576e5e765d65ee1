"""Controls from a parameter dataclass, in both directions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets as w

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import Choice, Parameter, Slider, parameters_of
from pfv_widgets.widgets.toolkit.tooltips import Checkbox, Dropdown

Edit = Callable[[Callable[[Settings], Settings]], object]  # from the old settings to the new ones
Gesture = Callable[[bool], object]  # True before, False after what is one step to undo

_WIDE = {"width": "100%", "margin": "1px 0"}
_PARTS = ("layout", "style")
LABEL_WIDTH = "92px"


def control_for(parameter: Parameter, value: Any, label_width: str = LABEL_WIDTH) -> w.ValueWidget:
    """Build the control that a declaration asks for, set to ``value``."""
    common = {
        "description": parameter.label,
        "tooltip": parameter.help,
        "layout": w.Layout(**_WIDE),
        "style": {"description_width": label_width},
        "value": value,
    }
    if isinstance(parameter, Slider):
        whole = isinstance(parameter.step, int)
        kind = w.IntSlider if whole else w.FloatSlider
        span = {"min": parameter.minimum, "max": parameter.maximum, "step": parameter.step}
        return kind(**common, **span, readout_format="d" if whole else ".2f")
    if isinstance(parameter, Choice):
        return Dropdown(**common, options=_options(parameter))
    return Checkbox(**common, indent=False)


def push_button(name: str, tip: str, act: Callable[[], object], **layout: str) -> w.Button:
    """Return a button that calls ``act()``, as wide as its words unless ``layout`` says more."""
    button = w.Button(description=name, tooltip=tip, layout=w.Layout(**{"width": "auto"} | layout))
    button.on_click(lambda _: act())
    return button


def drop_down(
    name: str,
    tip: str,
    options: Sequence[object] = (),
    label_width: str = LABEL_WIDTH,
    **layout: str | None,
) -> Dropdown:
    """Return a list with a label, as wide as its tab unless ``layout`` says more."""
    return Dropdown(
        options=options, description=name, tooltip=tip, layout=w.Layout(**_WIDE | layout),
        style={"description_width": label_width},
    )  # fmt: skip


def layer_slider(
    options: Sequence[tuple[str, str]], label_width: str = LABEL_WIDTH
) -> w.SelectionSlider:
    """Return a slider through layers, each a label and a name, without the name on show."""
    slider = w.SelectionSlider(
        options=options,
        description="Layer",
        tooltip="Feature map that is decomposed, from the first layer to the last.",
        readout=False,
        layout=w.Layout(width="97%"),
        style={"description_width": label_width},
    )
    slider.add_class("pfv-choice")
    return slider


def _options(parameter: Choice) -> list[str] | list[tuple[str, str]]:
    """Return the choices, with the words that stand for them where there are any."""
    names = list(parameter.choices)
    return [(parameter.words.get(name, name), name) for name in names] if parameter.words else names


def clean(value: Any) -> Any:
    """Return a number without the noise of a browser's fractions: 1.0, not 0.9999999999999999.

    A page counts the steps of a slider from its start, and sends its own sum back as it shows
    it, even where nobody has moved it.
    """
    return round(value, 9) if isinstance(value, float) else value


class _Quiet(threading.local):
    """Whether this thread is setting controls itself, to what the settings say.

    A person may move one in another thread at the same time, which counts.
    """

    now = False

    def __enter__(self) -> None:
        self.now = True

    def __exit__(self, *_: object) -> None:
        self.now = False


class Watched:
    """Controls that call back where a person moves them, and not where code sets them.

    One is set only where its value is another than the one shown last: another thread may just be
    taking in a person's move of it.
    """

    def __init__(self) -> None:
        self._quiet = _Quiet()
        self._last: WeakKeyDictionary[w.ValueWidget, Any] = WeakKeyDictionary()

    def watch(self, control: w.ValueWidget, act: Callable[[Any], object]) -> None:
        """Call ``act(value)`` where a person moves a control."""

        def moved(change: dict[str, Any]) -> None:
            value = clean(change["new"])
            if not self._quiet.now and not _is_echo(control, self._last.get(control), value):
                self._last[control] = value
                act(value)

        control.observe(moved, "value")

    def toggle_button(
        self, name: str, tip: str, act: Callable[[bool], object], **layout: str
    ) -> w.ToggleButton:
        """Return a button that stays pressed, and calls ``act(pressed)``."""
        button = w.ToggleButton(description=name, tooltip=tip, layout=w.Layout(**layout))
        self.watch(button, act)
        return button

    def show(self, control: w.ValueWidget, value: Any) -> None:
        """Set a control to a value, where it shows another one."""
        if control not in self._last or self._last[control] != value:
            with self._quiet:
                control.value = self._last[control] = value

    def offer(self, control: w.ValueWidget, options: Sequence[object]) -> None:
        """Give a list other options.

        A slider on a page that stands beyond the last of them would go there and send that back,
        so it goes to the first one before.
        """
        with self._quiet:
            if (getattr(control, "index", None) or 0) >= len(options) > 0:
                control.index = 0
            control.options = options
            self._last[control] = control.value


def _is_echo(control: w.ValueWidget, shown: Any, sent: Any) -> bool:
    """Whether a page that is shown ``shown`` sends ``sent`` back, where nobody moved anything.

    Its sliders stand on their steps: a number between two of them comes back as the nearer one.
    """
    if not isinstance(control, w.FloatSlider):
        return False

    def off(value: float) -> float:
        steps = (value - control.min) / control.step
        return abs(steps - round(steps))

    near = abs(sent - shown) <= control.step / 2 + 1e-9
    return sent == shown or (near and off(shown) > 1e-6 > off(sent))  # what is typed stays


def close_all(widget: w.Widget) -> None:
    """Close a widget with all that is in it: ipywidgets keeps whatever is open in memory.

    What has a way of its own to leave a page (``leave()``) takes that.
    """
    leave = getattr(widget, "leave", None)
    if leave is not None:
        leave()
        return
    for part in (*getattr(widget, "children", ()), *(getattr(widget, a, None) for a in _PARTS)):
        if isinstance(part, w.Widget):
            close_all(part)
    widget.close()


def all_in(widget: w.Widget) -> Iterator[w.Widget]:
    """Yield a widget and all that is in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_in(child)


class Controls:
    """Controls for some fields of a frozen dataclass, in order.

    They are made from its declarations, and call ``changed(name, value)`` when a person moves one.
    ``label_width`` is room for the longest label, as CSS.
    """

    def __init__(
        self,
        state: Any,
        names: Iterable[str],
        changed: Callable[[str, Any], object],
        label_width: str = LABEL_WIDTH,
    ) -> None:
        declared, names = parameters_of(state), tuple(names)
        self.by_name = {
            name: control_for(declared[name], getattr(state, name), label_width) for name in names
        }
        self._watched = Watched()
        for name, control in self.by_name.items():
            self._watched.watch(control, partial(changed, name))
        self.show(state)

    def __getitem__(self, name: str) -> w.ValueWidget:
        return self.by_name[name]

    def show(self, state: Any) -> None:
        """Set every control to the values of ``state`` without calling back."""
        for name, control in self.by_name.items():
            self._watched.show(control, getattr(state, name))
