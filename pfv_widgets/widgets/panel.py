"""The panel beside the gallery: layer, knobs, explained variance, batch composition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.frame import Frame
from pfv_widgets.engine.pipeline import PFV
from pfv_widgets.engine.settings import Settings
from pfv_widgets.widgets import text
from pfv_widgets.widgets.composition import class_weight, inverted, weights_of, with_class_weight
from pfv_widgets.widgets.controls import Controls, Showing

KNOBS = (
    "components",
    "opacity",
    "sigma",
    "weighting",
    "view",
    "split",
    "colour_map",
    "sharing",
    "normalisation",
    "stable_colours",
    "similarity",
)
_HEAVIEST = 2.0  # weight at the right end of a class slider

Edit = Callable[[Callable[[Settings], Settings]], None]


class Panel:
    """Controls of an explorer; knows what to show and whom to tell, and paints nothing.

    Parameters
    ----------
    pfv
        Where layers and labels come from.
    settings
        What the controls show first.
    edit
        Called with a function from the old settings to the new ones.
    """

    def __init__(self, pfv: PFV, settings: Settings, edit: Edit) -> None:
        self._pfv = pfv
        self._edit = edit
        self._showing = Showing()
        self._layers = [layer for layer in pfv.layers if layer.same_as is None]
        self.layer = self._layer_slider()
        self._layer_line = w.HTML()
        self.knobs = Controls(
            settings,
            KNOBS,
            lambda name, value: edit(lambda old: _with_knob(old, name, value)),
        )
        self._variance = w.HTML()
        self.buttons = {name: self._button(name) for name in ("All", "None", "Invert")}
        self.classes = self._class_sliders()
        self._summary = w.HTML()
        self.widget = self._laid_out()
        self.show(settings)

    def show(self, settings: Settings) -> None:
        """Set every control to what ``settings`` say, without calling back.

        Raises
        ------
        PFVValueError
            For a layer that cannot be shown; all else is set then.
        """
        with self._showing:
            self.knobs.show(settings)
            self.knobs["split"].disabled = settings.view != "split"
            self.knobs["similarity"].disabled = not settings.pins
            weights = self._weights(settings)
            for label, slider in self.classes.items():
                slider.value = min(class_weight(weights, self._pfv.images.labels, label), _HEAVIEST)
            inside = sum(weight > 0 for weight in weights)
            self._summary.value = text.hint(f"{inside} of {len(weights)} images make the basis.")
            layer = self._pfv.layer(settings.layer)
            self.layer.value = layer.same_as or layer.name
            self._layer_line.value = text.layer_line(layer.name, layer.kind, layer.shape)

    def show_frame(self, frame: Frame) -> None:
        """Show what a frame found: the variance that its components explain."""
        ratios = frame.basis.explained_variance_ratio.tolist()
        self._variance.value = text.variance_panel(
            ratios, frame.settings.shown, frame.settings.colour_map
        )

    def _weights(self, settings: Settings) -> tuple[float, ...]:
        return weights_of(settings.images, len(self._pfv.images))

    def _layer_slider(self) -> w.SelectionSlider:
        slider = w.SelectionSlider(
            options=[(text.plain(layer.name), layer.name) for layer in self._layers],
            description="Layer",
            tooltip="Feature map that is decomposed, from the first layer to the last.",
            readout=False,
            layout=w.Layout(width="97%"),
            style={"description_width": "84px"},
        )
        slider.observe(self._layer_moved, "value")
        return slider

    def _layer_moved(self, change: dict[str, Any]) -> None:
        if not self._showing.now:
            self._edit(lambda old: replace(old, layer=change["new"]))

    def _button(self, name: str) -> w.Button:
        tips = {
            "All": "Every image counts once in the basis.",
            "None": "Take every image out, to start from none.",
            "Invert": "Take out what is in, and in what is out.",
        }
        makes = {
            "All": lambda weights: (1.0,) * len(weights),
            "None": lambda weights: (0.0,) * len(weights),
            "Invert": inverted,
        }
        button = w.Button(
            description=name, tooltip=tips[name], layout=w.Layout(width="auto", flex="1 1 0")
        )
        button.on_click(
            lambda _: self._edit(lambda old: replace(old, images=makes[name](self._weights(old))))
        )
        return button

    def _class_sliders(self) -> dict[str, w.FloatSlider]:
        return {label: self._class_slider(label) for label in self._pfv.images.classes}

    def _class_slider(self, label: str) -> w.FloatSlider:
        slider = w.FloatSlider(
            value=1.0,
            min=0.0,
            max=_HEAVIEST,
            step=0.05,
            description=text.plain(label, 18),
            tooltip=f"Weight of the class {text.plain(label)} in the basis; 0 leaves it out.",
            readout_format=".2f",
            layout=w.Layout(width="100%", margin="0"),
            style={"description_width": "84px"},
        )
        slider.observe(lambda change: self._class_moved(label, change["new"]), "value")
        return slider

    def _class_moved(self, label: str, weight: float) -> None:
        if not self._showing.now:
            labels = self._pfv.images.labels or ()
            self._edit(
                lambda old: replace(
                    old, images=with_class_weight(self._weights(old), labels, label, weight)
                )
            )

    def _class_box(self) -> list[w.Widget]:
        layout = w.Layout(max_height="210px", overflow="hidden auto", flex="0 0 auto")
        sliders = w.VBox(list(self.classes.values()), layout=layout)
        return [w.HTML(text.hint("Weight of each class")), sliders]

    def _laid_out(self) -> w.VBox:
        pages = {
            "Picture": w.VBox([self.knobs[name] for name in KNOBS]),
            "Batch": w.VBox(
                [
                    self._summary,
                    w.HBox(list(self.buttons.values())),
                    *(self._class_box() if self.classes else []),
                ]
            ),
        }
        self.tabs = w.Tab(list(pages.values()), titles=list(pages))
        self.tabs.layout.margin = "6px 0 0 0"
        return w.VBox(
            [
                self.layer,
                self._layer_line,
                self.tabs,
                w.HTML(text.heading("Explained variance")),
                self._variance,
            ],
            layout=w.Layout(flex="0 1 290px", min_width="260px", padding="0 0 0 12px"),
        )


def _with_knob(settings: Settings, name: str, value: Any) -> Settings:
    """Change one knob; fewer components leave out the channels that are gone."""
    changes = {name: value}
    if name == "components" and settings.channels is not None:
        kept = tuple(channel for channel in settings.channels if channel < value)
        changes["channels"] = kept or None
    return replace(settings, **changes)
