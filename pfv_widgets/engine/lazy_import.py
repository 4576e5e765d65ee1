"""Lazy imports: results can draw and save themselves, with code of a package above theirs."""

from __future__ import annotations

import importlib
from typing import Any


def lazy_import(module: str, name: str) -> Any:
    """Return an attribute of a module below ``pfv_widgets`` that is imported when it is needed.

    For methods such as ``Frame.figure`` alone: the result class knows no drawing code, which
    imports it, and matplotlib is not loaded before something is drawn.
    """
    return getattr(importlib.import_module(f"pfv_widgets.{module}"), name)
