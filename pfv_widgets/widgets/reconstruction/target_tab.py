"""The tab "Target" of a reconstruction: what the image should activate, and how."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import ipywidgets as w

from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.widgets.reconstruction.settings import (
    COMPONENTS,
    KINDS,
    MOST_UNITS,
    ReconstructionSettings,
)
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Controls, Watched, close_all, drop_down
from pfv_widgets.widgets.toolkit.foldable_section import Fold
from pfv_widgets.widgets.toolkit.protocols import Explorer
from pfv_widgets.widgets.toolkit.tooltips import BoundedIntText

_MAIN = ("seed", "steps", "parametrisation")
_MORE = (
    "optimiser", "runs", "rate", "p_norm", "total_variation", "jitter", "scale", "rotation",
)  # fmt: skip
_NEEDED = {
    "class": {"kind", "unit"},
    "channel": {"kind", "layer", "unit"},
    "component": {"kind", "layer", "component", "sign"},
    "photo": {"kind", "layer", "photo"},
}
_LABEL_WIDTH = "108px"  # of "Image basis" and the names of options
_STYLE = {"description_width": _LABEL_WIDTH}
_list = partial(drop_down, label_width=_LABEL_WIDTH)
_WIDE = {"width": "100%", "margin": "1px 0"}


class Reconstructing(Explorer[ReconstructionSettings], Protocol):
    """An explorer that makes pictures."""

    pfv: PFV
    classes: dict[int, str]


class TargetTab:
    """Controls of a reconstruction."""

    visible = True

    def __init__(self, explorer: Reconstructing) -> None:
        self._edit, self._classes, self._watched = explorer.edit, explorer.classes, Watched()
        pfv, settings = explorer.pfv, explorer.settings
        self._default_layer = pfv.default_layer
        layers = [(text.plain(layer.name), layer.name) for layer in pfv.layers]
        components = [(f"component {one + 1}", one) for one in range(COMPONENTS)]
        photos = [
            (f"{number}: {text.plain(name, 28)}", number - 1)
            for number, name in enumerate(pfv.images.names, 1)
        ]
        self.unit = BoundedIntText(
            min=0, max=MOST_UNITS, description="Number", style=_STYLE, layout=w.Layout(**_WIDE),
            tooltip="Number of the class, or of the layer's channel, from 0.",
        )  # fmt: skip
        self.fields: dict[str, w.ValueWidget] = {
            "kind": _list(
                "Image of",
                "What the image should activate, or match.",
                [(words, kind) for kind, words in KINDS.items()],
            ),
            "layer": _list("Layer", "The layer whose activation counts.", layers),
            "unit": self.unit,
            "component": _list(
                "Component", "A principal component of the photos at this layer.", components
            ),
            "sign": _list(
                "Direction",
                "Increase the component, or decrease it.",
                [("more of it", 1), ("less of it", -1)],
            ),
            "photo": _list("Photo", "The image should have the activation of this photo.", photos),
        }
        classes = [
            (f"{unit} · {text.plain(name, 30)}", unit)
            for unit, name in sorted(self._classes.items())
        ]
        self.class_name = _list("Class", "The class whose score the image should raise.", classes)
        self._watched.watch(self.class_name, partial(self._moved, "unit"))
        for name, control in self.fields.items():
            self._watched.watch(control, partial(self._moved, name))
        self.main = Controls(settings.options, _MAIN, self._set_option, _LABEL_WIDTH)
        self.more = Controls(settings.options, _MORE, self._set_option, _LABEL_WIDTH)
        self.more["total_variation"].readout_format = ".4f"  # its default is below 0.01
        self.widget = self._laid_out()
        self.show(settings)

    def show(self, settings: ReconstructionSettings) -> None:
        """Set every control without calling back, and hide those that have no say."""
        kind = settings.kind
        for name, control in self.fields.items():
            value = getattr(settings, name)
            displayed = self._default_layer if name == "layer" and value is None else value
            self._watched.show(control, displayed)
            control.layout.display = None if name in _NEEDED[kind] else "none"
        number = "Number" if self._classes else "Class"  # beside a list of their names
        self.unit.description = number if kind == "class" else "Channel"
        named = kind == "class" and settings.unit in self._classes
        if named:
            self._watched.show(self.class_name, settings.unit)
            self.unit.layout.display = "none"
        self.class_name.layout.display = None if named else "none"
        self.main.show(settings.options)
        self.more.show(settings.options)

    def lock(self, locked: bool) -> None:
        """Let nothing be changed while an image is made, or again."""
        options = (*self.main.by_name.values(), *self.more.by_name.values())
        for control in (*self.fields.values(), self.class_name, *options):
            control.disabled = locked

    def close(self) -> None:
        """Close every control."""
        close_all(self.widget)

    def _moved(self, name: str, value: Any) -> None:
        if name == "kind":
            self._edit(lambda old: old.of_kind(value))
        else:
            self._edit(lambda old: replace(old, **{name: value}))

    def _set_option(self, name: str, value: Any) -> None:
        self._edit(lambda old: replace(old, options=replace(old.options, **{name: value})))

    def _laid_out(self) -> w.VBox:
        fields = list(self.fields.values())
        more = Fold("More options", list(self.more.by_name.values())).widget
        names = [self.class_name] if self._classes else []
        parts = [*fields[:3], *names, *fields[3:], *self.main.by_name.values(), more]
        return w.VBox(parts, layout=w.Layout(width="100%", overflow="hidden"))
