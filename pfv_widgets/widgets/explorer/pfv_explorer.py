"""The explorer: a batch seen through one layer of a network, live."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as w
import numpy as np

from pfv_widgets.engine.export.formats import FILE_KINDS
from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.export.sweep import SavedSweep, save_sweep
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.methods.core.class_names import class_names
from pfv_widgets.parameters import parameters_of
from pfv_widgets.validation import number, whole_number
from pfv_widgets.widgets.classes.classes_tab import cut_code
from pfv_widgets.widgets.explorer.control_panel import Panel
from pfv_widgets.widgets.explorer.live_training import LiveTraining
from pfv_widgets.widgets.explorer.responsive_layout import STYLE, body
from pfv_widgets.widgets.explorer.shell import SettingsTrait, Shell, code_head
from pfv_widgets.widgets.explorer.tabs import TABS, OnFrame
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.image_choices import indices_of
from pfv_widgets.widgets.gallery.order_lists import measured
from pfv_widgets.widgets.gallery.view_state import ViewState
from pfv_widgets.widgets.toolkit import shared_resources
from pfv_widgets.widgets.toolkit.controls import Controls, close_all

S = TypeVar("S", bound=Settings)


class PFVExplorer(Shell[Settings]):
    """Heatmaps of a batch with controls that update them live.

    Set ``settings`` from code, or move a control: both take the same road. A problem is shown
    in the status line; the last good picture stays, with its settings.

    Parameters
    ----------
    pfv
        Network and images.
    settings
        What to show first.
    classes
        Names of the units of the network's output, see :func:`class_names`; None: as
        :func:`component_classes` says.
    output
        Which of several outputs has the class scores, by name or position.

    Raises
    ------
    PFVError
        For settings that cannot be shown.
    """

    settings = SettingsTrait(Settings)
    file_kinds = FILE_KINDS
    file_stem = "pfv"

    def __init__(
        self,
        pfv: PFV,
        settings: Settings | None = None,
        *,
        classes: object = None,
        output: str | int | None = None,
    ) -> None:
        settings = settings or Settings()
        settings = replace(settings, layer=pfv.layer(settings.layer).name)
        class_names(classes)  # an error now rather than in the tab
        self.pfv, self.classes, self.output = pfv, classes, output
        self._on_frame: list[OnFrame] = []
        self._on_point: list[OnFrame] = []
        super().__init__(settings)
        with self._opening():
            shared_resources.use(pfv, self)
            self._closing.append(lambda: shared_resources.release(pfv, self))
            self._check(settings)
            settings.weights(len(pfv.images))  # the first picture needs an image
            self.knobs = Controls(settings, parameters_of(Settings), self._knob_moved)
            self.gallery = GalleryView(
                pfv, self, settings, self.knobs.by_name,
                on_frame=self._follow, on_point=self._pointed, measure=self._measured,
                on_wide=lambda wide: (self.add_class if wide else self.remove_class)("pfv-wide"),
            )  # fmt: skip
            self._closing.append(self.gallery.close)
            self.panel = Panel(self, TABS)
            self.panel.untrained.on_click(lambda _: self.safely(self.compare_untrained)())
            self.tabs = self.panel.tabs
            self.tabs.on_open(self._show_again)
            self._closing.append(self.tabs.close)
            self.comparison: Any = None  # a CompareExplorer below, once it is asked for
            self._below = w.VBox(layout=w.Layout(width="100%"))
            self._open(body(self.gallery.widget, self.panel.widget), STYLE)
            self.children = [*self.children, self._below]
            self.gallery.start()

    @property
    def frame(self) -> Frame:
        """The picture on show, at the size of the images, once what is asked for is rendered."""
        self.wait()
        state = self.gallery.render_loop.state or self.gallery.view_state
        return self.pfv.render(state.settings)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is rendered; False where ``timeout`` seconds passed."""
        return self.gallery.wait(timeout)

    def refresh(self) -> None:
        """Compute the picture anew, where the network was changed in a way that is not noticed."""
        self._stopping.clear()  # of work that has ended meanwhile
        self.pfv.refresh()
        self.gallery.render_loop.refresh(self.gallery.view_state)

    def live(self, every: int = 20, at_most: float = 0.1) -> LiveTraining:
        """Follow the network while it is trained.

        ``with explorer.live(every=20) as step:`` around the loop, and ``step()`` after each step.

        Parameters
        ----------
        every
            Steps from one picture to the next, at least.
        at_most
            Share of the training's own time that pictures may take, above 0 to 1.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another value. The training itself gets no error of a picture.

        Examples
        --------
        A loop of one's own::

            with explorer.live(every=50, at_most=0.05) as step:
                for images, labels in loader:
                    train_on(images, labels)
                    step()

        Lightning and the Trainer of Hugging Face call ``step`` from a callback of theirs, on the
        process that shows the explorer::

            class Follow(lightning.Callback):
                def on_train_batch_end(self, trainer, *_):
                    if trainer.is_global_zero:
                        step()

            class Follow(transformers.TrainerCallback):
                def on_step_end(self, args, state, control, **_):
                    if state.is_world_process_zero:
                        step()

            with explorer.live() as step:
                lightning.Trainer(callbacks=[Follow()]).fit(module, loader)
                # or transformers.Trainer(model, args, train_dataset=data, callbacks=[Follow()])
        """
        every = whole_number("every", every, 1)
        at_most = number("at_most", at_most, 1e-6, 1, "a share, above 0 to 1")
        return LiveTraining(self, every, at_most)

    def snippet(self) -> str:
        """Return lines of code that bring this view back.

        A component that is recognisable in the basis of all images has its colour again;
        another one may differ in sign or order, which follow what was shown before. A basis of
        elsewhere is read from the file ``basis.npz``, which ``frame.basis.save`` writes.
        """
        changes = self.settings.changed()
        fields = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        settings = f"settings = pw.Settings({fields})"
        fitted = self.pfv.store.external_source is None
        basis = "" if fitted else ", basis=basis"
        write = "# the basis shown: explorer.frame.basis.save('basis.npz') writes it\n"
        load = "" if fitted else f"{write}basis = pw.PrincipalBasis.load('basis.npz')\n"
        arguments, classes = ["model", "images"], self.classes
        if isinstance(classes, str):
            names = f", classes={classes!r}"
        else:
            names = "" if classes is None else ", classes=classes"
            arguments += ["classes"] * (classes is not None)
        names += "" if self.output is None else f", output={self.output!r}"
        explorer = f"explorer = pw.explore(model, images, settings=settings{basis}{names})"
        lines = f"{code_head(*arguments)}{load}{settings}\n{explorer}\n"
        return lines + cut_code(self.settings, names)

    def save(self, path: str | Path, images: str | Iterable[int] = "all") -> None:
        """Write the picture on show: see :meth:`Frame.save`.

        Parameters
        ----------
        path
            Where to write; the suffix decides the kind of file.
        images
            ``"all"``; ``"page"``: those on the page; ``"used"``: those that the colours come
            from; ``"selection"``: those with selected positions; or indices.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, a file that cannot be written, or
            images that are not there.
        """
        self.wait()
        state = self.gallery.render_loop.state or self.gallery.view_state
        only: Iterable[int] | None = None
        if isinstance(images, str):
            only = indices_of(images, state, self.gallery.tiles.indices(state.page))
        else:
            only = images
        self.pfv.render(state.settings, only=only).save(path)

    def save_sweep(
        self,
        path: str | Path,
        over: str = "components",
        *,
        label: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SavedSweep | None:
        """Write an animation of this view in which one setting runs through its values.

        See :func:`pfv_widgets.engine.export.sweep.save_sweep`.
        """
        return save_sweep(
            self.pfv, path, over, self.settings, label=label, progress=progress,
            cancelled=cancelled,
        )  # fmt: skip

    def compare_untrained(self) -> None:
        """Open a comparison with an untrained copy of the network below, in the background.

        The copy is the last network of ``pw.randomised``. :attr:`comparison` is the explorer.
        """
        self.panel.untrained.disabled = True
        message = "Making an untrained copy of the network …"
        self.show_message(self.jobs.beginning(message), "busy")

        def job(_: Callable[[], bool]) -> None:
            compare = lazy_import("widgets.compare.compare", "compare_untrained")
            with self.status_line.background(message):
                comparison = compare(self.pfv, self.settings)
            if self._is_closed:
                comparison.close()
            else:
                self.show_comparison(comparison)

        def failed(error: Exception) -> None:
            self.panel.untrained.disabled = False
            self.fail(error)

        self.jobs.run(job, failed)

    def show_comparison(self, comparison: Shell[Any]) -> None:
        """Show another explorer below, in place of an earlier one, with a button that closes it."""
        self.close_comparison()
        close = w.Button(
            description="Close the comparison", layout=w.Layout(width="auto", margin="8px 0")
        )
        close.on_click(lambda _: self.safely(self.close_comparison)())
        self._closing.append(comparison.close)
        self.comparison = comparison
        self._below.children = (close, comparison)
        self.show_message("The comparison is below.")

    def close_comparison(self) -> None:
        """Close the explorer below, if there is one."""
        if self.comparison is not None:
            button, _ = self._below.children
            self._below.children = ()
            self._closing.remove(self.comparison.close)
            self.comparison.close()
            close_all(button)
            self.comparison = None
        self.panel.untrained.disabled = False

    def on_frame(self, callback: OnFrame) -> None:
        """Call back with each frame that is on show, and its view state."""
        self._on_frame.append(callback)

    def on_point(self, callback: OnFrame) -> None:
        """Call back with the frame and the view state where something else is pointed at."""
        self._on_point.append(callback)

    def _check(self, settings: Settings) -> None:
        number = len(self.pfv.images)
        self.pfv.layer(settings.layer)
        settings.pinned(number)
        if settings.images != (0.0,) * number:  # from none one may take images in
            settings.weights(number)

    def _compute(self, settings: Settings) -> None:
        self.gallery.show_settings(settings)

    def _stopped(self) -> None:
        """Wait for the next report of progress, which ends the work."""

    def _show_controls(self) -> None:
        settings = self.settings
        self.tabs.show(settings)
        self.knobs.show(settings)
        self.panel.show(settings)
        self.gallery.show()

    def _still_picture(self) -> bytes | None:
        state = self.gallery.render_loop.state
        return None if state is None else still(self.pfv.render(state.settings))

    def _repaint(self) -> None:
        self.gallery.render_loop.page_ready(self.gallery.view_state)

    def _measured(self, key: str) -> np.ndarray:
        """Return a number for each image to sort by: a mean score, or the best similarity."""
        return measured(self.pfv, self.settings, key, self.gallery.map_size)

    def _knob_moved(self, name: str, value: Any) -> None:
        self.edit(lambda old: with_knob(old, name, value))

    def _follow(self, state: ViewState, frame: Frame) -> None:
        """Read the numbers of a picture that is on the page."""
        notice = self.pfv.images.notice
        if notice and not (self.can_undo or frame.warnings):  # at first
            self.show_message(f"Up to date. {notice}", "warning")
        self.status_line.repeat()
        self.panel.show_frame(frame)
        for callback in self._on_frame:
            callback(state, frame)
        self._still.renew()

    def _show_again(self) -> None:
        """Let a tab that has just been opened read the frame on show."""
        loop = self.gallery.render_loop
        if loop.state is not None and loop.frame is not None:
            for callback in self._on_frame:
                callback(loop.state, loop.frame)

    def _pointed(self, state: ViewState, frame: Frame) -> None:
        for callback in self._on_point:
            callback(state, frame)


def with_knob(settings: S, name: str, value: Any) -> S:
    """Change one knob; fewer components leave out the channels that are gone."""
    changes = {name: value}
    if name == "components" and settings.channels is not None:
        left = tuple(channel for channel in settings.channels if channel < value)
        changes["channels"] = left or None
    if name == "components":
        changes["cut"] = tuple(component for component in settings.cut if component < value)
    return replace(settings, **changes)
