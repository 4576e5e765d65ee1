"""The controls of a reconstruction: what is looked for, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as w

from pfv_widgets.methods.inversion.options import Reconstruct
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Controls, Showing
from pfv_widgets.widgets.toolkit.tooltips import BoundedIntText, Dropdown

KINDS = {
    "a class": "class", "a channel": "channel", "a component of PFV": "component",
    "a photo": "photo",
}  # fmt: skip
_MAIN = ("seed", "steps", "parametrisation")
_MORE = (
    "optimiser", "runs", "rate", "p_norm", "total_variation", "jitter", "scale", "rotation",
)  # fmt: skip
_STYLE = {"description_width": "84px"}
_WIDE = {"width": "100%", "margin": "1px 0"}
_INDENT = "92px"  # to where the controls begin, beside their labels
COMPONENTS = 8  # of PFV, that are offered


@dataclass(frozen=True)
class Wish:
    """What is looked for: one of ``KINDS``, with what each of them needs."""

    kind: str = "class"
    unit: int = 0
    layer: str | None = None
    component: int = 0
    sign: int = 1
    photo: int = 0


class ReconstructPanel:
    """Controls; knows what to show and whom to tell.

    Parameters
    ----------
    names
        Of the layers and of the photos to choose from.
    classes
        Names of the output's units, where they are known.
    wish, options
        What to show first.
    changed
        Called after a person's move: ``wish`` and ``options`` are what is asked for now.
    """

    def __init__(
        self,
        names: tuple[Sequence[str], Sequence[str]],
        classes: Mapping[int, str],
        wish: Wish,
        options: Reconstruct,
        changed: Callable[[], None],
    ) -> None:
        layers, photos = names
        self.wish, self.options = wish, options
        self._changed, self._classes, self._showing = changed, classes, Showing()
        self.kind = _dropdown("Picture of", "What the network should see.", list(KINDS.items()))
        self.layer = _dropdown(
            "Layer", "Where the network is asked.", [(text.plain(n), n) for n in layers]
        )
        self.unit = BoundedIntText(
            min=0, max=99_999, description="Number", style=_STYLE, layout=w.Layout(**_WIDE),
            tooltip="Index of the class, or of the channel of the layer, from 0.",
        )  # fmt: skip
        self.named = w.HTML(layout=w.Layout(margin=f"0 0 0 {_INDENT}", overflow="hidden"))
        numbers = [(f"component {one + 1}", one) for one in range(COMPONENTS)]
        self.component = _dropdown("Colour", "A principal component of the photos.", numbers)
        self.sign = _dropdown(
            "Towards", "More of the component, or less.", [("more of it", 1), ("less of it", -1)]
        )
        named = [
            (f"{index + 1}: {text.plain(name, 28)}", index) for index, name in enumerate(photos)
        ]
        self.photo = _dropdown("Photo", "Whose activation the picture should have.", named)
        self._fields: dict[str, w.ValueWidget] = {
            "kind": self.kind, "layer": self.layer, "unit": self.unit,
            "component": self.component, "sign": self.sign, "photo": self.photo,
        }  # fmt: skip
        for name, control in self._fields.items():
            control.observe(lambda change, name=name: self._wished(name, change["new"]), "value")
        self.main = Controls(options, _MAIN, self._set)
        self.more = Controls(options, _MORE, self._set)
        self.more["total_variation"].readout_format = ".4f"  # its default is below 0.01
        fold = _fold("More options", list(self.more.by_name.values()))
        self.widget = w.VBox(
            [
                self.kind, self.layer, self.unit, self.named, self.component, self.sign,
                self.photo, *self.main.by_name.values(), fold,
            ],
            layout=w.Layout(width="100%", overflow="hidden"),
        )  # fmt: skip
        self.show(wish, options)

    def show(self, wish: Wish, options: Reconstruct) -> None:
        """Set every control without calling back, and hide those that have no say."""
        self.wish, self.options = wish, options
        needed = {
            "class": {"unit"}, "channel": {"layer", "unit"},
            "component": {"layer", "component", "sign"}, "photo": {"layer", "photo"},
        }[wish.kind] | {"kind"}  # fmt: skip
        with self._showing:
            for name, control in self._fields.items():
                control.value = getattr(wish, name)
                control.layout.display = None if name in needed else "none"
            self.unit.description = "Class" if wish.kind == "class" else "Channel"
            known = self._classes.get(wish.unit, "") if wish.kind == "class" else ""
            self.named.value = text.hint(text.plain(known, 36)) if known else ""
            self.named.layout.display = None if known else "none"
            self.main.show(options)
            self.more.show(options)

    def lock(self, locked: bool) -> None:
        """Let nothing be changed while a picture is made, or again."""
        for control in (*self._fields.values(), *self.main.by_name.values()):
            control.disabled = locked
        for control in self.more.by_name.values():
            control.disabled = locked

    def _wished(self, name: str, value: Any) -> None:
        if self._showing.now:
            return
        wish, options = replace(self.wish, **{name: value}), self.options
        if (wish.kind == "photo") != (self.wish.kind == "photo"):  # other targets, other defaults
            usual = Reconstruct.matching() if wish.kind == "photo" else Reconstruct()
            kept = {
                field: getattr(options, field) for field in (*_MAIN, "optimiser", "runs", "rate")
            }
            options = replace(usual, **kept)
        self.show(wish, options)
        self._changed()

    def _set(self, name: str, value: Any) -> None:
        self.show(self.wish, replace(self.options, **{name: value}))
        self._changed()


def _dropdown(name: str, tip: str, options: list[tuple[str, Any]]) -> w.Dropdown:
    return Dropdown(
        options=options, description=name, tooltip=tip, style=_STYLE, layout=w.Layout(**_WIDE)
    )


def _fold(name: str, controls: Sequence[w.Widget]) -> w.VBox:
    """Return controls below a button that shows and hides them, which the keyboard reaches."""
    button = w.ToggleButton(
        description=name, tooltip="Show these options, or hide them.", icon="caret-right",
        layout=w.Layout(width="auto", margin=f"4px 2px 4px {_INDENT}"),
    )  # fmt: skip
    inside = w.VBox(controls, layout=w.Layout(display="none", overflow="hidden"))

    def turned(change: dict[str, bool]) -> None:
        button.icon = "caret-down" if change["new"] else "caret-right"
        inside.layout.display = None if change["new"] else "none"

    button.observe(turned, "value")
    return w.VBox([button, inside], layout=w.Layout(overflow="hidden"))
