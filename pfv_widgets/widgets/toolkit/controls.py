"""Controls from a parameter dataclass, in both directions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import Choice, Parameter, Slider, parameters_of
from pfv_widgets.widgets.toolkit.tooltips import Checkbox, Dropdown

Edit = Callable[[Callable[[Settings], Settings]], object]  # from the old settings to the new ones

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


def is_echo(control: w.ValueWidget, shown: Any, sent: Any) -> bool:
    """Whether a page that is shown ``shown`` sends ``sent`` back, where nobody moved anything.

    Its sliders stand on their steps: a number between two of them comes back as the nearer one.
    """
    if sent == shown or not isinstance(control, w.FloatSlider):
        return bool(sent == shown)

    def off(value: float) -> float:
        steps = (value - control.min) / control.step
        return abs(steps - round(steps))

    near = abs(sent - shown) <= control.step / 2 + 1e-9
    return near and off(shown) > 1e-6 > off(sent)  # what is typed stays as it is


class Updating(threading.local):
    """Whether this thread is setting controls itself, to what the settings say.

    A person may move one in another thread at the same time, which counts.
    """

    now = False

    def __enter__(self) -> None:
        self.now = True

    def __exit__(self, *_: object) -> None:
        self.now = False


class ShownValues:
    """What controls show: one is set again only where that changes.

    One whose value is the one shown last is left alone: another thread may just be taking in a
    person's move of it.
    """

    def __init__(self) -> None:
        self._last: dict[w.ValueWidget, Any] = {}

    def show(self, control: w.ValueWidget, value: Any) -> None:
        """Set a control to a value, where it shows another one."""
        if control not in self._last or self._last[control] != value:
            control.value = self._last[control] = value

    def moved(self, control: w.ValueWidget, value: Any) -> None:
        """Note to what a person has moved a control."""
        self._last[control] = value

    def last(self, control: w.ValueWidget) -> Any:
        """Return what a control shows, or has been moved to; None where nobody has said."""
        return self._last.get(control)


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
    """Controls for some fields of a frozen dataclass.

    Parameters
    ----------
    state
        The dataclass whose declarations are read, with the values to start from.
    names
        Fields to show, in order.
    changed
        Called as ``changed(name, value)`` when a person moves a control.
    label_width
        Room for the longest label, as CSS.
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
        self._shown = ShownValues()
        self._changed = changed
        self._updating = Updating()
        for name, control in self.by_name.items():
            self._shown.moved(control, getattr(state, name))
            control.observe(lambda change, name=name: self._moved(name, change["new"]), "value")

    def __getitem__(self, name: str) -> w.ValueWidget:
        return self.by_name[name]

    def show(self, state: Any) -> None:
        """Set every control to the values of ``state`` without calling back."""
        with self._updating:
            for name, control in self.by_name.items():
                self._shown.show(control, getattr(state, name))

    def _moved(self, name: str, value: Any) -> None:
        meant, control = clean(value), self.by_name[name]
        if not self._updating.now and not is_echo(control, self._shown.last(control), meant):
            self._shown.moved(control, meant)
            self._changed(name, meant)
