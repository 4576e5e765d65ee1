"""The tab "Components": their variance, their images, and the scatter plot of all positions."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial

import ipywidgets as w
from torch import Tensor

from pfv_widgets.analysis.core.highlighted_photos import reach_of
from pfv_widgets.engine.pipeline.explained_variance import Explained
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.score_scatter import Mask, Position
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.text_overlay import plot_box
from pfv_widgets.widgets.components.component_images import ComponentPictures
from pfv_widgets.widgets.components.scatter_canvas import OnHover, OnSelect
from pfv_widgets.widgets.components.scatter_plot import ScatterPlot
from pfv_widgets.widgets.components.scree_plot import Scree
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Edit, close_all
from pfv_widgets.widgets.toolkit.foldable_section import Fold

_Part = Scree | ComponentPictures | ScatterPlot
_SCREE_HELP = "Bars: share of the variance of each; line: their sum. Click one to show or hide it."
_PICTURE_HELP = (
    "Scores as they are, one scale for all: blue below zero, pale at zero, orange above."
)


class ComponentsTab:
    """Everything about the components of a frame; draws nothing while it is not visible.

    What is brushed and pointed at in the scatter plot goes out as of :class:`ScatterCanvas`.
    """

    def __init__(self, edit: Edit, on_select: OnSelect, on_hover: OnHover) -> None:
        self._lock = threading.RLock()
        self._visible = False
        self._settings = Settings()
        self._frame: Frame | None = None
        self._explained: Explained | None = None
        self._index = 0
        self._reach: tuple[Tensor, float] | None = None
        self._selected: Mask | None = None
        self._marks: tuple[Position, ...] = ()
        self._blank: set[_Part] = set()  # a page has appeared that shows nothing of these yet
        self.scree = Scree(edit)
        self.pictures = ComponentPictures(edit)
        self.scatter = ScatterPlot(self._brushed, on_hover)
        self.on_select = on_select
        self.shares = w.HTML(text.hint(_SCREE_HELP), layout=_line_layout(40))
        self.title = w.HTML(text.heading("Each component"))
        self.widget = self._laid_out()
        for part in (self.scree, self.pictures, self.scatter):
            part.canvas.on_ready(partial(self._page_ready, part))

    @property
    def visible(self) -> bool:
        """Whether a person sees the tab; it is drawn at once when this becomes true."""
        return self._visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        with self._lock:
            opens, self._visible = visible and not self._visible, visible
            if opens:
                self._draw()
                self.scatter.select(self._selected)
                self.scatter.plot.mark(self._marks)
                for part in self._blank:
                    part.repaint()
                self._blank.clear()

    def show(self, settings: Settings) -> None:
        """Show which components are shown, and how, without calling back."""
        with self._lock:
            self._settings = settings
            if self._visible and self._frame is not None:
                self._show_shares(self._frame)

    def show_frame(
        self, frame: Frame, index: int | None = None, explained: Explained | None = None
    ) -> None:
        """Show a frame, and of the pictures those of image ``index`` (None: the last one).

        ``explained`` is how well the basis of a data set explains the images.
        """
        with self._lock:
            self._frame, self._settings = frame, frame.settings
            self._explained = explained
            if index is not None:
                self._index = index
            self._draw()

    def show_image(self, index: int) -> None:
        """Show the components of image ``index``."""
        with self._lock:
            if index != self._index:
                self._index = index
                if self._visible and self._frame is not None:
                    self._show_pictures(self._frame)

    def show_selection(self, selected: Mask | None) -> None:
        """Show which positions ``(N, h, w)`` are selected: the others fade; None: no selection.

        A selection of another shape than the frame's scores counts as none.
        """
        with self._lock:
            self._selected = selected
            if self._visible:
                self.scatter.select(selected)

    def mark(self, positions: Iterable[Position]) -> None:
        """Draw rings around positions (image, row, column) in the scatter plot."""
        with self._lock:
            self._marks = tuple(positions)
            if self._visible:
                self.scatter.plot.mark(self._marks)

    def close(self) -> None:
        """Remove it from every page."""
        with self._lock:
            self._visible, self._frame = False, None
            self.scree.close()
            close_all(self.widget)

    def _page_ready(self, part: _Part) -> None:
        with self._lock:
            if self._visible:
                part.repaint()
            else:
                self._blank.add(part)

    def _draw(self) -> None:
        frame = self._frame
        if self._visible and frame is not None:
            self._show_shares(frame)
            self._show_pictures(frame)
            self.scatter.show(frame.scores, frame.heatmaps)

    def _show_shares(self, frame: Frame) -> None:
        ratios = frame.basis.explained_variance_ratio.tolist()
        self.scree.show(self._settings, ratios)
        self.pictures.show(self._settings, ratios)
        components = [one for one in self._settings.shown if one < len(ratios)]
        share = 100 * sum(ratios[one] for one in components)
        line = f"{len(components)} of {len(ratios)} shown: {share:.1f} % of the variance"
        if self._explained is not None:
            external, own = self._explained
            line += (
                f" of the data set. Of these images' variance, all {len(ratios)} explain "
                f"{100 * external:.1f} % (their own basis: {100 * own:.1f} %)"
            )
        self.shares.value = text.hint(f"{line}. {_SCREE_HELP}")

    def _show_pictures(self, frame: Frame) -> None:
        index = min(self._index, len(frame) - 1)
        scores = frame.scores
        if self._reach is None or self._reach[0] is not scores:
            self._reach = scores, reach_of(scores)
        height, width = frame.heatmaps.shape[1:3]
        self.pictures.show_scores(scores[index], self._reach[1], (height, width))
        self.title.value = text.heading(f"Each component in image {index + 1}")

    def _brushed(self, selected: Mask | None) -> None:
        self._selected = selected
        self.on_select(selected)

    def _laid_out(self) -> w.VBox:
        help_ = w.HTML(text.hint(_PICTURE_HELP), layout=_line_layout(40))
        pictures = [self.title, self.pictures.widget, help_]
        self.fold = Fold("Each component", pictures)
        self.scree_fold = Fold("Explained variance", [self.scree.widget, self.shares])
        positions = Fold("All positions", [self.scatter.widget], unfolded=True)
        return plot_box(self.scree_fold.widget, self.fold.widget, positions.widget)


def _line_layout(height: int) -> w.Layout:
    """Room that stays the same whatever the words, so that nothing below moves."""
    return w.Layout(width="100%", min_height=f"{height}px", margin="0")
