"""The panel beside the gallery: layer, tabs, legend."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets as w

from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import parameters_of
from pfv_widgets.widgets.explorer.lazy_tabs import LazyTabs
from pfv_widgets.widgets.explorer.responsive_layout import controls
from pfv_widgets.widgets.explorer.tabs import BatchExplorer
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, layer_slider
from pfv_widgets.widgets.toolkit.legend import legend_of, room_for_legend
from pfv_widgets.widgets.toolkit.protocols import Tab

_IN_HEAD = "components"  # the knob that stays in sight beside the layer


class Panel:
    """Controls of an explorer of a batch, which has made the knobs that ``Settings`` declares."""

    def __init__(
        self, explorer: BatchExplorer, tabs: Mapping[str, Callable[[BatchExplorer], Tab]]
    ) -> None:
        self._pfv = explorer.pfv
        self._watched = Watched()
        layers = [layer for layer in self._pfv.layers if layer.same_as is None]
        self.layer = layer_slider([(text.plain(layer.name), layer.name) for layer in layers])
        self._watched.watch(self.layer, lambda name: explorer.edit(lambda old: old.at_layer(name)))
        self.layer_line = w.HTML()
        self.legend = w.HTML(room_for_legend(explorer.settings))
        self.untrained = w.Button(
            description="Compare with an untrained copy",
            tooltip="Show the same photos below, through a copy with random weights.",
            layout=w.Layout(width="auto", margin="8px 0 0 0"),
        )
        knobs = {
            title: [
                explorer.knobs[name]
                for name in parameters_of(Settings, page=title)
                if name != _IN_HEAD
            ]
            for title in tabs
        }
        self.tabs = LazyTabs(explorer, tabs, knobs)
        head = [self.layer, self.layer_line, explorer.knobs[_IN_HEAD], self.legend]
        self.widget = controls(head, self.tabs.widget)
        self.untrained.add_class("pfv-last")
        self.widget.children = (*self.widget.children, self.untrained)

    def show(self, settings: Settings) -> None:
        """Set every control to what ``settings`` say, without calling back."""
        layer = self._pfv.layer(settings.layer)
        self._watched.show(self.layer, layer.same_as or layer.name)
        self.layer_line.value = text.layer_line(layer.name, layer.kind, layer.shape)

    def show_frame(self, frame: Frame) -> None:
        """Show the legend of a frame."""
        self.legend.value = legend_of(frame)
