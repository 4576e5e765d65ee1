"""The explorer of two networks: the same photos side by side, in colours that mean the same."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.export.output_paths import FIGURE_OR_ARRAYS, write_figure_or_arrays
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.parameters import parameters_of
from pfv_widgets.widgets.compare.comparison_sources import ComparisonSource
from pfv_widgets.widgets.compare.difference_pane import DifferencePane
from pfv_widgets.widgets.compare.links import SIDES, Links
from pfv_widgets.widgets.compare.pair_figure import arrays_of, figure_of, still_of
from pfv_widgets.widgets.compare.settings import CompareSettings, SideSettings, joined
from pfv_widgets.widgets.compare.side_pane import SideOwner, SidePane
from pfv_widgets.widgets.compare.similarity_panel import notes_of
from pfv_widgets.widgets.explorer.lazy_tabs import LazyTabs
from pfv_widgets.widgets.explorer.pfv_explorer import with_knob
from pfv_widgets.widgets.explorer.responsive_layout import STYLE, body, controls
from pfv_widgets.widgets.explorer.shell import SettingsTrait, Shell, code_head
from pfv_widgets.widgets.explorer.tabs import OnFrame
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.order_lists import measured
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit import shared_resources, text
from pfv_widgets.widgets.toolkit.controls import Controls
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

DIFFERENCE = "CKA, lowest first"  # what photos are sorted by
_REST = 0.3  # seconds without another picture after which its measures are computed
_KINDS = ("ok", "warning", "error", "busy")


class CompareExplorer(Shell[CompareSettings]):
    """Two galleries of the same photos, each seen through a network and a layer of its own.

    Set ``settings`` from code, or move a control: both take the same road. A network that has no
    picture says why above its gallery; the other one goes on.

    Parameters
    ----------
    source
        Networks and photos, or the snapshots of a training.
    settings
        What to show first.

    Raises
    ------
    PFVError
        For settings that cannot be shown.
    """

    settings = SettingsTrait(CompareSettings)
    file_kinds = FIGURE_OR_ARRAYS
    file_stem = "comparison"

    def __init__(self, source: ComparisonSource, settings: CompareSettings | None = None) -> None:
        self.source, self.similarities = source, source.similarities
        self.networks: Any = source.networks
        self.links = Links(source.networks)
        self._on_frame: list[OnFrame] = []
        for name in self.links.names(settings or CompareSettings()):
            if (refusal := source.networks.visit(name)) is not None:
                raise refusal
        settings = self.links.complete(settings or CompareSettings())
        super().__init__(settings)
        with self._opening():
            shared_resources.use(source.networks, self)
            self._closing.append(lambda: shared_resources.release(source.networks, self))
            self._check(settings)
            settings.weights(len(self.images))  # the first picture needs an image
            self.knobs = Controls(settings, parameters_of(CompareSettings), self._knob_moved)
            each = zip(SIDES, self.links.sides(settings), strict=True)
            self.sides = tuple(self._side(title, one) for title, one in each)
            self._closing += [side.gallery.close for side in self.sides]
            self._pair = LatestWins(self.safely(self._compute_pair))
            self._opener = LatestWins(self._visit)
            self._choices: dict[str, str] = {}  # side → the network that a person wants to see
            self._closing += [self._pair.close, self._opener.close]
            self.third: DifferencePane | None = None  # made when it is first asked for
            self._row = w.HBox(layout=w.Layout(flex_flow="row wrap"))
            self._row.add_class("pfv-panes")
            self._link_galleries()
            self.tabs = LazyTabs(self, source.tabs, self._knobs_by_tab())
            self._closing.append(self.tabs.close)
            self._open(self._laid_out(), STYLE)
            self.add_class("pfv-compare")
            for side in self.sides:
                side.gallery.start()
            self._show_third(settings)
            if (on_growth := source.on_growth) is not None:
                on_growth(self._grown)
                self._closing.append(partial(on_growth, self._grown, remove=True))

    def _knobs_by_tab(self) -> dict[str, list[w.Widget]]:
        """Title of each tab → the controls that stand in it: of what can be changed."""
        return {
            title: [
                self.knobs[name]
                for name in parameters_of(CompareSettings, page=title)
                if name not in self.source.fixed
            ]
            for title in self.source.tabs
        }

    @property
    def images(self) -> ImageBatch:
        """The photos."""
        images: ImageBatch = self.networks.images
        return images

    @property
    def galleries(self) -> tuple[GalleryView, ...]:
        """The galleries, that of the first network first, and that of the difference last."""
        return tuple(pane.gallery for pane in self._panes)

    @property
    def _panes(self) -> tuple[SidePane | DifferencePane, ...]:
        third = () if self.third is None else (self.third,)
        return (*self.sides, *third)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two networks on show."""
        return self.links.names(self.settings)

    @property
    def layers(self) -> tuple[str, str]:
        """Names of the two layers on show."""
        return self.links.layers(self.settings)

    @property
    def pfv(self) -> PFV:
        """The first network with its photos."""
        return self.source.network(self.names[0])

    @property
    def frames(self) -> tuple[Frame, Frame]:
        """Both pictures at the size of the photos."""
        first, second = (
            side.gallery.viewport.pfv.render(each)
            for side, each in zip(self.sides, self.links.sides(self.settings), strict=True)
        )
        return first, second

    @property
    def agreement(self) -> float:
        """Share of variance that both have in common after alignment; NaN where undefined.

        Raises
        ------
        PFVError
            Where one of them has no picture.
        """
        first, second = (joined(*pair) for pair in zip(self.names, self.layers, strict=True))
        return self.source.agreement(second, first, self.settings)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is rendered; False where ``timeout`` seconds passed."""
        opened = self._opener.wait(timeout)
        return opened and all(gallery.wait(timeout) for gallery in self.galleries)

    def choose_network(self, side: str, name: str) -> None:
        """Put a network on a side; one that was never visited is opened in the background.

        Raises
        ------
        PFVValueError
            With the nearest names, where there is no such network.
        """
        self.networks.check(name)
        if self.networks.is_visited(name):
            self._choices.pop(side, None)
            self.edit(lambda old: self.links.with_network(old, side, name))
        else:
            owner = self.sides[SIDES.index(side)].owner
            owner.show_message(f"Opening {text.plain(name)} …", "busy")
            self._choices[side] = name
            self._opener.submit(None)

    def _visit(self, _: None) -> None:
        """Open the networks that are wanted, and show each unless another one is by then."""
        for side, name in tuple(self._choices.items()):
            self.networks.visit(name)  # the side says why one cannot be shown
            if self._choices.get(side) == name:
                del self._choices[side]
                if not self._is_closed and not self.edit(
                    partial(self.links.with_network, side=side, name=name)
                ):  # refused: what is on show says again what it is, instead of "Opening …"
                    index = SIDES.index(side)
                    self.sides[index].show_settings(self.links.sides(self.settings)[index])

    def on_frame(self, callback: OnFrame) -> None:
        """Call back with each frame that is on show, of either side, and its view state."""
        self._on_frame.append(callback)

    def wait_for_numbers(self, timeout: float | None = None) -> bool:
        """Wait until CKA and angles of the pair on show are known; False after ``timeout`` s."""
        return self.wait(timeout) and self._pair.wait(timeout)

    def refresh(self) -> None:
        """Compute the pictures anew, where a network was changed in a way that is not noticed."""
        self.networks.refresh()
        self.similarities.clear()
        for pane in self._panes:
            pane.owner.stop(False)  # it was of work that has ended meanwhile
            pane.gallery.render_loop.refresh(pane.gallery.view_state)

    def snippet(self) -> str:
        """Return lines of code that bring this view back."""
        changes = self.settings.changed()
        of_pictures = {field.name for field in fields(Settings)}
        knobs = [f"{name}={value!r}" for name, value in changes.items() if name in of_pictures]
        more = [f", {name}={value!r}" for name, value in changes.items() if name not in of_pictures]
        # not as keywords: the images' weights have the name of the photos
        settings = f"settings = pw.Settings({', '.join(knobs)})"
        explorer = f"explorer = {self.source.code.format(more=''.join(more))}"
        return f"{code_head(*self.source.given)}{settings}\n{explorer}\n"

    def save(self, path: str | Path) -> None:
        """Write both pictures as a figure, or their arrays as ``.npz``.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a file that cannot be written.
        """
        self.wait()
        frames, titles = self.frames, self._titles()
        agreement = self._agreement_or_none()
        write_figure_or_arrays(
            path,
            lambda: figure_of(frames, titles, agreement, aligned=self.settings.aligned),
            lambda: arrays_of(frames, titles, agreement),
        )

    def show_status(self, speaker: SideOwner) -> None:
        """Show what the sides say together: what goes on first, then what is wrong."""
        owners = [(name, side.owner) for name, side in zip(self.names, self.sides, strict=True)]
        if self.third is not None and self.settings.difference:
            owners.append(("Difference", self.third.owner))
        kind = max((owner.kind for _, owner in owners), key=_KINDS.index)
        owners = [(name, owner) for name, owner in owners if owner.kind == kind]
        if any(side.owner.kind == "error" for side in self.sides):
            self.tabs["Compare"].show_agreement(None)
        if kind == "ok":
            self.status_line.show(speaker.message)
            return
        done = min((one.done for _, one in owners if one.done is not None), default=None)
        parts = [f"{name}: {owner.message.removeprefix(f'{name}: ')}" for name, owner in owners]
        self.status_line.show(" · ".join(parts), kind, done, stoppable=done is not None)

    def _check(self, settings: CompareSettings) -> None:
        number = len(self.images)
        for name, value in self.source.fixed.items():
            if getattr(settings, name) != value:
                raise PFVValueError(
                    f"{name}={getattr(settings, name)!r:.80}: it was {value!r:.80} when the "
                    "snapshots were made, and stays so. Give it to pw.track."
                )
        self.links.layers(settings)
        settings.pinned(number)
        if settings.images != (0.0,) * number:  # from none one may take images in
            settings.weights(number)

    def _compute(self, settings: CompareSettings) -> None:
        for side, each in zip(self.sides, self.links.sides(settings), strict=True):
            # a side that stays the same costs a moving slider nothing
            if each != side.gallery.view_state.settings or side.owner.kind != "ok":
                side.show_settings(each)
        self._show_third(settings)

    def _stopped(self) -> None:
        for pane in self._panes:
            if pane.owner.kind == "busy":  # one that rests would stop its next picture
                pane.owner.stop(True)

    def _show_controls(self) -> None:
        settings = self.settings
        self.tabs.show(settings)
        self.knobs.show(settings)
        pair = self.similarities.pair(settings)
        self.sides[1].gallery.captions.notes = notes_of(pair)
        if (order := self.galleries[0].order) and self.similarities.on_demand:
            order.more = (DIFFERENCE,) if pair is not None else ()
        for side, each in zip(self.sides, self.links.sides(settings), strict=True):
            side.show(each)
        if self.third is not None:
            self.third.gallery.show()

    def _still_picture(self) -> bytes | None:
        if any(side.gallery.render_loop.state is None for side in self.sides):
            return None
        with suppress(PFVError):  # a side has no picture
            return still_of(self.frames, self._titles(), self._agreement_or_none())
        return None

    def _repaint(self) -> None:
        for gallery in self.galleries:
            gallery.render_loop.page_ready(gallery.view_state)

    def _knob_moved(self, name: str, value: Any) -> None:
        if name == "linked":
            self.edit(lambda old: self.links.with_link(old, value))
        else:
            self.edit(lambda old: with_knob(old, name, value))

    def _side(self, title: str, settings: SideSettings) -> SidePane:
        links = self.links
        return SidePane(
            title,
            self.source.networks,
            self.source.renderer(),
            self,
            settings,
            knobs=self.knobs.by_name,
            choose_network=lambda name: self.choose_network(title, name),
            choose_layer=lambda layer: self.edit(lambda old: links.with_layer(old, title, layer)),
            on_frame=self._follow,
            on_point=self._pointed,
            measure=self._measured if title == "first" else None,
            slides=title == "second"
            and (len(self.networks.names) > 2 or self.source.on_growth is not None),
        )

    def _grown(self) -> None:
        """Offer a new name; whoever looks at the newest sees the new one."""
        with self.lock:
            names, settings = self.networks.names, self.settings
            if not self._is_closed and len(names) > 1 and settings.second in names[-2:]:
                newest = replace(settings, second=names[-1])
                self.safely(self._set)(newest, self.history.amend)
            self.show_state()

    def _follow(self, state: ViewState, frame: Frame) -> None:
        """Follow a picture that is on the page."""
        self.status_line.repeat()
        self.tabs["Compare"].show_agreement(self._agreement_or_none())
        for callback in self._on_frame:
            callback(state, frame)
        if self.similarities.on_demand:
            self._pair.submit(self.settings)
        self._still.renew()

    def _pointed(self, state: ViewState, frame: Frame) -> None:  # noqa: ARG002 - of one side
        """Show the measures of the photo that is looked at."""
        spot = state.hover
        self.tabs["Compare"].pair.show_photo(state.cursor if spot is None else spot.image)

    def _compute_pair(self, settings: CompareSettings) -> None:
        """Compare the two layers on show once the pictures rest."""
        if self.similarities.pair(settings) is None:
            if self._pair.newer(_REST):
                return
            with suppress(PFVError):  # the side that has no picture says why
                self.similarities.compute_pair(settings)
        with self.lock:
            self.show_state()

    def _measured(self, key: str) -> Any:
        """Return a number for each photo to sort by, of the first network."""
        if key == DIFFERENCE:
            pair = self.similarities.pair(self.settings)
            if pair is None:  # it would be long work here, where a control has moved
                raise PFVValueError(
                    "CKA of these two layers is not known yet: sort once the tab Compare shows it."
                )
            return -pair.cka_by_photo[0, 0]
        first = self.links.sides(self.settings)[0]
        viewport = self.sides[0].gallery.viewport
        return measured(viewport.pfv, first, key, viewport.map_size)

    def _agreement_or_none(self) -> float | None:
        try:
            return self.agreement
        except PFVError:  # the side that has no picture says why
            return None

    def _titles(self) -> tuple[str, str]:
        first, second = (
            f"{name} · {layer}" for name, layer in zip(self.names, self.layers, strict=True)
        )
        return first, second

    def _show_third(self, settings: CompareSettings) -> None:
        """Show the difference where it is asked for; hidden, it costs nothing."""
        if settings.difference:
            first, second = self.links.sides(settings)
            each = replace(second, reference=first.layer)
            if self.third is None:
                renderer = self.source.difference()
                self.third = DifferencePane(renderer, self, each, self.knobs.by_name)
                self._closing.append(self.third.gallery.close)
                self._link_galleries()
                self.third.gallery.viewport.follow(self.galleries[0].viewport)
                self.third.gallery.start()
            else:
                self.third.show_settings(each)
        if self.third is not None:
            self.third.show(settings.difference, noted=any(self.networks.notes.values()))

    def _link_galleries(self) -> None:
        viewports = [gallery.viewport for gallery in self.galleries]
        for viewport in viewports:
            viewport.linked = [other for other in viewports if other is not viewport]
        self._row.children = [pane.widget for pane in self._panes]

    def _laid_out(self) -> w.Box:
        above, below = self.galleries[0].bars  # of buttons and of pins, one row for all
        pictures = w.VBox([*above, self._row, *below], layout=w.Layout(overflow="visible"))
        return body(pictures, controls([], self.tabs.widget))
