"""The demo: drawn scenes with masks and a small network, or real photos and a real network."""

from __future__ import annotations

import importlib
from typing import Any

# the command line imports this package and must start quickly
_MODULES = {
    "CLASSES": "object_registry",
    "DemoNet": "network",
    "Scene": "scenes",
    "demo_images": "images",
    "demo_masks": "images",
    "demo_model": "images",
    "draw_scene": "scenes",
    "photo_credits": "photos",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
