"""One side of a comparison: which network, which layer, and the gallery of its picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as w

from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled, Progress
from pfv_widgets.errors import named
from pfv_widgets.widgets.compare.links import SIDES
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import SideSettings, parted
from pfv_widgets.widgets.compare.snapshots import Snapshots
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.order_lists import Measure
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.gallery.viewport import OnFrame
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, layer_slider
from pfv_widgets.widgets.toolkit.legend import legend_of
from pfv_widgets.widgets.toolkit.protocols import Explorer
from pfv_widgets.widgets.toolkit.tooltips import Dropdown

_LABEL = "84px"


class Owner(Explorer[Any], Protocol):
    """The explorer of a comparison, as its sides see it."""

    def show_status(self, speaker: SideOwner) -> None:
        """Show what the sides say together; one of them has just spoken."""


class SideOwner:
    """The explorer as the gallery of one side sees it: what the gallery says is the side's."""

    def __init__(self, explorer: Owner, failed: Callable[[str], None]) -> None:
        self._explorer, self._failed = explorer, failed
        self.lock, self.edit, self.gesture = explorer.lock, explorer.edit, explorer.gesture
        self.undo, self.redo = explorer.undo, explorer.redo
        self.safely, self.show_state = explorer.safely, explorer.show_state
        self.outdate_error = explorer.outdate_error
        self.message, self.kind = "Opening …", "busy"
        self.done: float | None = None
        self._stopping = threading.Event()

    def show_message(self, message: str, kind: str = "ok", tip: str = "") -> None:
        """Say something of this side."""
        del tip  # both sides share one line
        self.message, self.kind, self.done = message, kind, None
        self._explorer.show_status(self)

    def report_progress(self, progress: Progress) -> None:
        """Say how far this side is; raise ``Cancelled`` where it is to stop."""
        if self._stopping.is_set():
            self._stopping.clear()
            raise Cancelled
        self.message, self.kind = f"{progress}.", "busy"
        self.done = progress.done / max(progress.total, 1)
        self._explorer.show_status(self)

    def reject(self, settings: Settings, error: Exception, shown: Settings | None) -> None:
        """Say why this side has no picture; the other side goes on."""
        del settings, shown  # which settings fit the other side, nobody knows here
        stopped = isinstance(error, Cancelled)
        message = "Stopped: the last picture stays." if stopped else named(error)
        self._failed(message)
        self.show_message(message, "warning" if stopped else "error")

    def stop(self, is_on: bool) -> None:
        """Stop what is being rendered, or take that back."""
        (self._stopping.set if is_on else self._stopping.clear)()


class SidePane:
    """A gallery with the controls of its network and layer above it.

    Parameters
    ----------
    title
        ``"first"`` or ``"second"``.
    knobs
        Controls that the gallery follows in the browser.
    choose_network, choose_layer
        Called with the name that a person chooses.
    on_frame, on_point, measure
        As of :class:`GalleryView`.
    slides
        Whether a slider goes through the networks, which a list shows else.
    """

    def __init__(
        self,
        title: str,
        networks: Networks | Snapshots,
        renderer: Renderer,
        explorer: Owner,
        settings: SideSettings,
        *,
        knobs: dict[str, w.Widget],
        choose_network: Callable[[str], object],
        choose_layer: Callable[[str], object],
        on_frame: OnFrame,
        on_point: OnFrame,
        measure: Measure | None = None,
        slides: bool = False,
    ) -> None:
        self.owner = SideOwner(explorer, self._say_error)
        self.networks = networks
        self._on_frame = on_frame
        self._watched = Watched()
        self._names = networks.names
        self._layers: tuple[Layer, ...] = ()
        self._error = ""  # why there is no picture of what is asked for
        self.network = self._network_choice(title, slides=slides)
        self._watched.watch(self.network, choose_network)
        self.layer = layer_slider([("…", "")], _LABEL)
        self._watched.watch(self.layer, choose_layer)
        self.line, self.legend = w.HTML(), w.HTML()
        self.gallery = GalleryView(
            renderer, self.owner, settings, knobs, on_frame=self._follow, on_point=on_point,
            measure=measure, bars=False,
        )  # fmt: skip
        self.gallery.widget.layout.flex = "0 0 auto"
        self.widget = w.VBox(
            [self.network, self.layer, self.line, self.gallery.widget, self.legend],
            layout=w.Layout(flex="1 1 260px", min_width="0"),
        )
        self.widget.add_class(f"pfv-side-{title}")
        w.dlink((self.gallery.widget.layout, "max_width"), (self.widget.layout, "max_width"))

    def show_settings(self, settings: SideSettings) -> None:
        """Render other settings."""
        self._error = ""
        self.owner.stop(False)
        self.gallery.show_settings(settings)

    def show(self, settings: SideSettings) -> None:
        """Set the controls to what is asked for, without calling back."""
        network, layer = parted(settings.layer)
        if self.networks.names != self._names:  # a training may have added some
            self._names = self.networks.names
            self._watched.offer(self.network, _options(self._names))
        self._watched.show(self.network, network)
        refusal = self.networks.visit(network)
        self.layer.disabled = refusal is not None
        layers = self._layers if refusal else self.networks.layers(network)
        if layers != self._layers:
            self._layers = layers
            self._watched.offer(self.layer, _options(tuple(one.name for one in layers)))
        if refusal is None:
            self._watched.show(self.layer, layer)
        self._show_line()
        self.gallery.show()

    def _show_line(self) -> None:
        network, name = parted(self.gallery.view_state.settings.layer)
        refusal = self.networks.visit(network)
        if refusal is not None:
            status = text.status(f"No picture of this: {refusal}", kind="error")
            self.line.value = text.heading(network) + status
            return
        layer = self.networks.layer(network, name)
        line = text.layer_line(f"{network} · {layer.name}", layer.kind, layer.shape)
        note = self.networks.notes.get(network, "")
        if self._error:
            line += text.status(f"No picture of this: {self._error}", kind="error")
        elif any(self.networks.notes.values()):  # on both sides: their photos stay level
            line += text.one_line(note, f"{text.MUTED};min-height:1.35em")
        self.line.value = line

    def _say_error(self, message: str) -> None:
        self._error = message
        self._show_line()

    def _follow(self, state: Any, frame: Any) -> None:
        if self._error:
            self._say_error("")
        self.legend.value = legend_of(frame)
        self._on_frame(state, frame)

    def _network_choice(self, title: str, *, slides: bool) -> w.ValueWidget:
        label = f"{self.networks.noun} {1 + SIDES.index(title)}"
        common = {
            "options": _options(self._names),
            "description": label,
            "tooltip": f"The {title} {self.networks.noun.lower()}.",
            "layout": w.Layout(width="97%", height="32px", margin="2px"),
            "style": {"description_width": _LABEL},
        }
        # the name of the network stands below, where there is room for it
        control = w.SelectionSlider(**common, readout=False) if slides else Dropdown(**common)
        if slides:
            control.add_class("pfv-choice")
        return control


def _options(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(text.plain(name), name) for name in names]
