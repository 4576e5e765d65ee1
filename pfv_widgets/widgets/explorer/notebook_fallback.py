"""What a saved notebook shows where no widget can run: the last picture that was on show."""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

_MOST = 4  # outputs that follow; those of older cells stay as they are
_REST = 1.0  # seconds without a newer view after which the picture is drawn anew


class StillPicture:
    """An output below the widget, hidden while the widget lives, that follows what it shows.

    ``draw`` returns that as a PNG file; None where there is nothing yet.
    """

    def __init__(self, draw: Callable[[], bytes | None]) -> None:
        self._draw = draw
        self._outputs: deque[Any] = deque(maxlen=_MOST)
        self._loop: LatestWins[float] = LatestWins(self._renew)

    def show(self) -> None:
        """Put the output where the cell is that runs; its picture comes with :meth:`renew`."""
        display({"text/html": text.SAVED}, raw=True)
        output = display({"text/plain": ""}, raw=True, display_id=True)
        if output is not None:  # a terminal has no outputs that can change
            self._outputs.append(output)
            self._loop.submit(0.0)

    def renew(self) -> None:
        """Draw the picture anew once the view rests."""
        if self._outputs:
            self._loop.submit(_REST)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the picture is drawn; False where ``timeout`` seconds passed."""
        return self._loop.wait(timeout)

    def close(self) -> None:
        """Draw no more; the last picture stays."""
        self._loop.close()

    def _renew(self, rest: float) -> None:
        if rest and self._loop.newer(rest):
            return
        picture = self._draw()
        if picture is not None:
            bundle = {"image/png": base64.b64encode(picture).decode()}
            for output in tuple(self._outputs):
                output.update(bundle, raw=True)


def runs_unattended() -> bool:
    """Whether a program such as nbconvert runs the cells, and saves what they show at their end."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or "voila" in os.environ.get("SERVER_SOFTWARE", ""):
        return False
    request = kernel.get_parent("shell").get("content", {})
    return not request.get("allow_stdin", True)  # nobody is there who could be asked
