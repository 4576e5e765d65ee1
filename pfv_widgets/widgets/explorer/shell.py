"""What every explorer is: settings with a history, a status line, code, files, a still picture."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import ipywidgets as w
from IPython.display import display
from traitlets import Instance, validate

from pfv_widgets.engine.progress import Cancelled, OnProgress, Progress
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, named
from pfv_widgets.widgets.browser.page_script import PageScript
from pfv_widgets.widgets.browser.page_state import Values, send_states
from pfv_widgets.widgets.explorer.lazy_tabs import LazyTabs
from pfv_widgets.widgets.explorer.notebook_fallback import StillPicture, runs_unattended
from pfv_widgets.widgets.explorer.status_line import Say, Status, StatusLine
from pfv_widgets.widgets.explorer.user_callbacks import observer_of
from pfv_widgets.widgets.export.bookmarks import Bookmarks
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.history import History
from pfv_widgets.widgets.toolkit.jobs import Jobs

S = TypeVar("S")
_SELDOM = 0.1  # seconds between two reports of progress
CLOSING_TIMEOUT = 10.0  # seconds that closing waits for the work that runs


class SettingsTrait(Instance[S]):
    """A trait that holds settings of one kind, and says what it expects instead of others."""

    def error(self, obj: Any, value: Any, error: Any = None, info: Any = None) -> NoReturn:
        """Raise a PFVTypeError."""
        del obj, error, info
        raise PFVTypeError(
            f"settings={value!r:.60}: expected {getattr(self.klass, '__name__', self.klass)}, such "
            "as dataclasses.replace(explorer.settings, layer=...) returns."
        )


class Shell(w.VBox, Generic[S]):
    """The widget around the parts of an explorer.

    An explorer declares its ``settings`` trait, builds its parts inside :meth:`_opening`, shows
    them by :meth:`_open`, and implements the methods below that raise ``NotImplementedError``; it
    overrides no other.

    Parameters
    ----------
    settings
        What to show first.
    """

    settings: Any
    file_kinds: Mapping[str, str]
    file_stem: str
    tabs: LazyTabs
    _is_closed = True  # of one that was refused before it was made

    def __init__(self, settings: S) -> None:
        self.lock = threading.RLock()
        self.jobs = Jobs()
        self._is_open = self._is_closed = False
        self._history_allowed = True
        self.history = History(settings)
        self._step: Callable[[S], None] = self._record  # what a change is to the history
        self._first = settings
        refresh = getattr(self, "refresh", None)  # an explorer of what may change has one
        self.status_line = StatusLine(
            self.safely(self.stop),
            self.safely(self.undo),
            self.safely(self.redo),
            self.safely(self.reset),
            None if refresh is None else self.safely(refresh),
        )
        self._stopping = threading.Event()
        self._stops = 0
        self._progress_shown = 0.0
        self._closing: list[Callable[[], object]] = []  # what ends and closes the parts, last first
        self._still = StillPicture(self._still_picture)
        super().__init__(layout=w.Layout(width="100%"), settings=settings)
        self.add_class("pfv-explorer")

    # What an explorer has of its own

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is shown; False where ``timeout`` seconds passed."""
        raise NotImplementedError

    def snippet(self) -> str:
        """Return lines of code that bring this view back."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write what is shown; the suffix decides the kind of file."""
        raise NotImplementedError

    def _check(self, settings: S) -> None:
        """Raise a PFVError for settings that cannot be shown, as far as that is seen at once."""
        raise NotImplementedError

    def _compute(self, settings: S) -> None:
        """Begin to compute what these settings ask for, in the background."""
        raise NotImplementedError

    def _stopped(self) -> None:
        """Follow a stop, beyond what :meth:`report_progress` does."""
        raise NotImplementedError

    def _show_controls(self) -> None:
        """Set all controls to what is asked for, without calling back."""
        raise NotImplementedError

    def _still_picture(self) -> bytes | None:
        """Draw what is shown as a PNG file; None where there is nothing yet."""
        raise NotImplementedError

    def _repaint(self) -> None:
        """Send all pictures anew that a page may not have."""
        raise NotImplementedError

    # What all explorers have

    def __repr__(self) -> str:
        """Return the settings that are not the default, and what the status line says."""
        changed = ", ".join(
            f"{name}={text.plain(repr(one))}" for name, one in self.settings.changed().items()
        )
        return f"<{type(self).__name__}: {changed or 'default settings'}; {self.status.message}>"

    def stop(self) -> None:
        """Stop what is being computed; what is shown stays."""
        self._stops += 1
        self._stopping.set()
        self._stopped()

    @property
    def status(self) -> Status:
        """What the status line says: ``message``, ``kind`` and how much is ``done``."""
        return self.status_line.status

    @property
    def bookmarks(self) -> Bookmarks:
        """Named settings: ``add``, ``get``, ``rename``, ``delete``, ``to_json``."""
        bookmarks: Bookmarks = self.tabs["Export"].bookmarks
        return bookmarks

    @property
    def can_undo(self) -> bool:
        """Whether there is a change of the settings to take back."""
        return self.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return self.history.can_redo

    def undo(self) -> None:
        """Take the last change of the settings back."""
        self._travel(self.history.undo)

    def redo(self) -> None:
        """Make the change again that was taken back."""
        self._travel(self.history.redo)

    def reset(self) -> None:
        """Go back to the settings that were shown first: one step, which can be undone."""
        self.gesture(False)
        self.edit(lambda _: self._first)

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser of whoever looks: its folders are not those of the kernel."""
        self._script.download(name, content)

    def gesture(self, begins: bool) -> None:
        """Make one step to undo of all changes until it ends."""
        with self.lock:
            (self.history.begin if begins else self.history.end)()

    def edit(self, change: Callable[[S], S]) -> bool:
        """Apply a person's change; False, with a message, where it is refused."""
        self._require_open()
        with self.lock:  # sliders and clicks may come in different threads
            before = self.settings
            try:
                new = change(before)
                self.settings = new
            except Exception as error:
                observer = observer_of(error)
                if observer:  # the change is made, and who watches it has failed
                    self.status_line.fail(
                        f"{observer}, which observes this explorer, raised "
                        f"{named(error).rstrip('.')}. The explorer itself goes on."
                    )
                    return True
                self.fail(error)
                self.show_state()
                return False
            return self.settings == new

    def reject(self, settings: S, error: Exception, shown: S | None) -> None:
        """Say why ``settings`` cannot be shown, and go back to those that are ``shown``."""
        with self.lock:
            if shown is not None and self.settings == settings != shown:
                self._set(shown, self.history.amend)
            if isinstance(error, Cancelled):
                left = "the last picture stays" if shown is not None else "change a setting"
                self.status_line.fail(f"Stopped: {left}.", "warning")
            else:
                stays = " – the last picture stays." if shown is not None else ""
                self.status_line.fail(named(error) + stays * (not isinstance(error, PFVError)))

    def report_progress(self, progress: Progress) -> None:
        """Say how far work is; raise ``Cancelled`` where it is to stop."""
        if self._stopping.is_set():
            self._stopping.clear()
            raise Cancelled
        show = self.status_line.show
        self._show_progress(progress, lambda line, done: show(line, "busy", done, stoppable=True))

    def reporter(self, message: str) -> AbstractContextManager[OnProgress]:
        """Return a context for work beside the picture, which yields what reports its progress.

        The status line shows ``message``, then the progress, until the work ends. A report raises
        ``Cancelled`` once somebody has pressed Stop after this call.
        """
        return self._reporting(message, self._stops)

    @contextmanager
    def _reporting(self, message: str, stops: int) -> Iterator[OnProgress]:
        goes_on = True
        with self.status_line.background(message, stoppable=True) as say:

            def report(progress: Progress) -> None:
                if not goes_on:  # what was made may report whenever it is used
                    return
                if self._stops != stops:
                    raise Cancelled
                self._show_progress(progress, say)

            try:
                yield report
            finally:
                goes_on = False
                if self._stops != stops:  # what was to stop has ended, and no later picture
                    self._stopping.clear()

    def _show_progress(self, progress: Progress, say: Say) -> None:
        now = time.monotonic()
        if now - self._progress_shown > _SELDOM:
            self._progress_shown = now
            say(f"{progress}.", progress.done / max(progress.total, 1))

    def fail(self, error: Exception) -> None:
        """Say in the status line what went wrong."""
        self.status_line.fail(error)

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action report its errors in the status line: nothing else would."""

        @wraps(action)
        def guarded(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.fail(error)

        return guarded

    def show_message(self, message: str, kind: str = "ok", tip: str = "") -> None:
        """Show a message: ``"ok"``, ``"busy"``, ``"warning"`` or ``"error"``."""
        self.status_line.show(message, kind, tip=tip)

    def outdate_error(self) -> None:
        """Let the next message take the place of an error: something else was asked for."""
        self.status_line.outdate()

    def show_state(self) -> None:
        """Set all controls to what is asked for."""
        self.safely(self._show_controls)()
        self.allow_history(self._history_allowed)

    def allow_history(self, allowed: bool) -> None:
        """Offer Undo and Redo where there is a step, or for a while neither."""
        self._history_allowed = allowed
        undo, redo = allowed and self.can_undo, allowed and self.can_redo
        self.status_line.allow(undo=undo, redo=redo, reset=undo and self.settings != self._first)

    def close(self) -> None:
        """Remove the widget from every page, stop its work, and free what no other one uses."""
        if self._is_closed:
            return
        self._is_closed = True
        self._still.close()
        for end in reversed(self._closing):
            end()
        self.jobs.close(CLOSING_TIMEOUT)
        for child in (*self.children, self.status_line.widget):
            close_all(child)
        if self.comm is not None:
            self.layout.close()
        super().close()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Close what is there already where a part cannot be made."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _open(self, body: w.Widget, styles: str = "") -> None:
        """Show the parts, and follow the settings from here on."""
        style = w.HTML(text.STYLE + styles, layout=w.Layout(margin="0"))
        self._script = PageScript(
            self.show_message,
            self,
            self.safely(partial(send_states, self)),
            self.safely(self._page_back),
        )
        self.children = [style, self.status_line.widget, body, self._script]
        self._is_open = True
        self.observe(lambda _: self._changed(), "settings")
        self.show_state()

    def _page_back(self, page: Values) -> None:
        """Send everything: the connection was lost, and with it some of what was on its way."""
        send_states(self, page)
        self._repaint()

    def _changed(self) -> None:
        """Follow the settings; an error is shown, and raised at nobody who has set them."""
        with self.lock:
            self.outdate_error()
            self.safely(self._step)(self.settings)
            self._stopping.clear()
            self.safely(self._compute)(self.settings)
            self.show_state()

    def _record(self, settings: S) -> None:
        self.history.record(settings)

    def _travel(self, step: Callable[[], S]) -> None:
        with self.lock:
            self._set(step(), lambda _: None)

    def _set(self, settings: S, step: Callable[[S], None]) -> None:
        """Change the settings; ``step`` is what that means to the history."""
        before, self._step = self._step, step
        try:
            self.settings = settings
        finally:
            self._step = before

    def _require_open(self) -> None:
        if self._is_closed:
            kind = type(self).__name__
            raise PFVValueError(f"This {kind} is closed: open another one to change settings.")

    @validate("settings")
    def _validated(self, proposal: Any) -> S:
        """Leave everything as it was where settings cannot be shown."""
        self._require_open()
        new: S = proposal["value"]
        if self._is_open:
            try:
                self._check(new)
            except PFVError as error:
                self.fail(error)
                self.safely(self._show_controls)()  # a control may have been moved there
                return self.settings
        return new

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the widget, and below it the picture for where no widget lives any more."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle:
            display(bundle, raw=True)
            self._still.show()
            if runs_unattended():
                self.wait()
                self._still.wait()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Add a picture for places where no widget can run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle and self.wait() and (picture := self._still_picture()) is not None:
            bundle["image/png"] = base64.b64encode(picture).decode()
        return bundle


def code_head(*arguments: str) -> str:
    """Return the first lines of code to copy: what it imports, and the names that it needs.

    >>> print(code_head("model", "images", "classes"))
    import pfv_widgets as pw
    <BLANKLINE>
    # model, images and classes: those that the explorer was opened with
    <BLANKLINE>
    """
    names = " and ".join(filter(None, [", ".join(arguments[:-1]), arguments[-1]]))
    return f"import pfv_widgets as pw\n\n# {names}: those that the explorer was opened with\n"
