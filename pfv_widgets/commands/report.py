"""``pfv-widgets report``: photos in folders named by class, one page that says where to cut."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pfv_widgets.commands.options import add_inputs, add_output, load_photos, progress_bar, say

OPTIONS = {"path": "--out", "layer": "--layers"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    from pfv_widgets.engine.export.output_paths import FIGURE_FORMATS

    add_inputs(parser, "folders whose sub-folders are the classes")
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="layers to compare (default: up to eight)"
    )
    formats = " ".join(FIGURE_FORMATS)
    about = f"a page (.html), the numbers (.json) or the figure ({formats})"
    add_output(parser, "report.html", about)


def run(options: argparse.Namespace) -> int:
    """Load, probe, write; the advice goes to stdout."""
    from pfv_widgets.analysis.transfer.page import checked_report_path
    from pfv_widgets.analysis.transfer.transfer_report import transfer_report
    from pfv_widgets.engine.network.load_model import load_model

    checked_report_path(options.out, replace=options.force)  # before anything is computed
    model = load_model(options.model, options.weights)
    images = load_photos(options, model, _labels(options.photos))
    with progress_bar(options) as bar:
        report = transfer_report(
            model, images, layers=options.layers, device=options.device,
            progress=lambda *step: _show(bar, *step),
        )  # fmt: skip
    report.save(options.out)
    say(options, report.advice, images, report.warnings)
    say(options, f"Wrote {options.out}")
    return 0


def _labels(photos: list[str]) -> list[str] | None:
    """Return a label for each photo where each argument is the folder of a class, else None."""
    from pfv_widgets.engine.data.sources import pictures_of

    folders = [Path(one).expanduser() for one in photos]
    if len(folders) < 2 or not all(folder.is_dir() for folder in folders):
        return None
    return [
        picture.label or folder.absolute().name
        for folder in folders
        for picture in pictures_of(folder)
    ]


def _show(bar: Any, what: str, done: int, total: int) -> None:
    bar.set_description(what, refresh=False)
    bar.total, bar.n = total or None, done
    bar.refresh()
