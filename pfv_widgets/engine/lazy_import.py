"""Lazy imports of what stands above: figures and explorers of a result, drawn when asked for."""

from __future__ import annotations

import importlib
from typing import Any


def lazy_import(module: str, name: str) -> Any:
    """Return an attribute of a module below ``pfv_widgets`` that is imported when it is needed.

    For methods such as ``Frame.figure`` and ``Tracker.explore`` alone: a result knows no drawing
    code, which imports it, and matplotlib and widgets are not loaded before something is shown.
    """
    return getattr(importlib.import_module(f"pfv_widgets.{module}"), name)
