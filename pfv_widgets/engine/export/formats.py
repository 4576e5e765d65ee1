"""The files that a frame can be saved as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pfv_widgets.engine.export.html_page import write_page
from pfv_widgets.engine.export.output_paths import (
    ARRAYS,
    FIGURE_FORMATS,
    checked_path,
    write_arrays,
    write_figure,
)
from pfv_widgets.engine.pipeline.frame import Frame


@dataclass(frozen=True)
class Format:
    """One entry of :data:`FORMATS`."""

    write: Callable[[Frame, Path], None]  # writes a frame to a path with this suffix
    label: str = ""  # what a menu calls it; empty: it can be typed, and no menu lists it


FORMATS: dict[str, Format] = {
    **{
        suffix: Format(lambda frame, path: write_figure(path, frame.figure), label)
        for suffix, label in FIGURE_FORMATS.items()
    },
    ".html": Format(write_page, "HTML page with values"),
    ".htm": Format(write_page),
    **{
        suffix: Format(lambda frame, path: write_arrays(path, frame.arrays), label)
        for suffix, label in ARRAYS.items()
    },
}
FILE_KINDS = {suffix: one.label for suffix, one in FORMATS.items()}
"""Suffix → label of each format."""


def save_frame(frame: Frame, path: str | Path) -> None:
    """Write a frame as the suffix of ``path`` says: see ``Frame.save``."""
    target = checked_path(path, FORMATS, "for a figure, a page or the arrays")
    FORMATS[target.suffix.lower()].write(frame, target)
