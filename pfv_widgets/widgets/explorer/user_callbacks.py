"""Tell an error of the user's own observer from one of ours."""

from __future__ import annotations

import traceback

_OURS = ("pfv_widgets", "traitlets", "ipywidgets")


def observer_of(error: Exception) -> str:
    """Return who raised an error that came out of setting a trait; empty where it was no observer.

    Our own reactions raise nothing, so the first call that leaves traitlets for other code is
    that of an observer.
    """
    notifies = False
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        notifies = notifies or frame.f_code.co_name == "notify_change"
        if notifies and module.partition(".")[0] not in _OURS:
            return f"{frame.f_code.co_qualname} (line {line})"
    return ""
