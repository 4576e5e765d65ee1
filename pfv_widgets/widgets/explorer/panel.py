"""The panel beside the gallery: layer, knobs and other pages, explained variance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Controls, Edit, Showing, Shown

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
    tabs
        Pages beside the knobs, by title.
    """

    def __init__(
        self, pfv: PFV, settings: Settings, edit: Edit, tabs: Mapping[str, w.Widget]
    ) -> None:
        self._pfv = pfv
        self._edit = edit
        self._showing = Showing()
        self._layers = [layer for layer in pfv.layers if layer.same_as is None]
        self.layer = self._layer_slider()
        self._shown = Shown()
        self._layer_line = w.HTML()
        self.knobs = Controls(
            settings,
            KNOBS,
            lambda name, value: edit(lambda old: _with_knob(old, name, value)),
        )
        self._variance = w.HTML()
        self.widget = self._laid_out(tabs)
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
            layer = self._pfv.layer(settings.layer)
            name = layer.same_as or layer.name
            self._shown.show(self.layer, name)
            self._layer_line.value = text.layer_line(layer.name, layer.kind, layer.shape)

    def on_open(self, callback: Callable[[str], None]) -> None:
        """Call back with the title of a page that is opened."""
        self.tabs.observe(lambda _: callback(self.page), "selected_index")

    @property
    def page(self) -> str:
        """Title of the page that is open; empty where none is."""
        index = self.tabs.selected_index
        return "" if index is None else str(self.tabs.titles[index])

    def show_frame(self, frame: Frame) -> None:
        """Show what a frame found: the variance that its components explain."""
        ratios = frame.basis.explained_variance_ratio.tolist()
        self._variance.value = text.variance_panel(
            ratios, frame.settings.shown, frame.settings.colour_map
        )

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
        slider.add_class("pfv-choice")
        return slider

    def _layer_moved(self, change: dict[str, Any]) -> None:
        if not self._showing.now:
            self._shown.moved(self.layer, change["new"])
            self._edit(lambda old: replace(old, layer=change["new"]))

    def _laid_out(self, tabs: Mapping[str, w.Widget]) -> w.VBox:
        pages = {"Picture": w.VBox([self.knobs[name] for name in KNOBS]), **tabs}
        self.tabs = w.Tab(list(pages.values()), titles=list(pages), selected_index=0)
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
