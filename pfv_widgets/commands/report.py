"""``pfv-widgets report``: photos in folders named by class, one page that says where to cut."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pfv_widgets.commands.options import add_inputs, add_output, in_options
from pfv_widgets.commands.terminal import printable
from pfv_widgets.errors import PFVError, PFVWarning

OPTIONS = {
    "name": "--model", "source": "PHOTOS", "images_or_dataset": "PHOTOS", "labels": "PHOTOS",
    "weights": "--weights", "layers": "--layers", "layer": "--layers", "path": "--out",
    "size": "--size", "device": "--device",
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    add_inputs(parser, "folders whose sub-folders are the classes")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="default: eight, spread")
    add_output(
        parser,
        "report.html",
        "a page (.html), the numbers (.json) or the figure (.png, .pdf, .svg)",
    )


def run(options: argparse.Namespace) -> int:
    """Load, probe, write; the advice goes to stdout."""
    try:
        return _run(options)
    except PFVError as error:
        raise type(error)(in_options(str(error), OPTIONS)) from error


def _run(options: argparse.Namespace) -> int:
    from pfv_widgets.analysis.transfer_page import checked_report_path
    from pfv_widgets.analysis.transfer_report import transfer_report
    from pfv_widgets.engine.data.load_images import load_images
    from pfv_widgets.engine.network.load_model import load_model

    checked_report_path(options.out, replace=options.force)  # before anything is computed
    model = load_model(options.model, options.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PFVWarning)  # what is skipped is reported at the end
        images = load_images(options.photos, size=options.size, labels=_labels(options.photos))
    # None: tqdm shows nothing where stderr is no terminal
    with tqdm(disable=True if options.quiet else None, file=sys.stderr, leave=False) as bar:
        report = transfer_report(
            model, images, layers=options.layers, device=options.device,
            progress=lambda *step: _show(bar, *step),
        )  # fmt: skip
    report.save(options.out)
    for text in (*(f"left out {entry}" for entry in images.skipped), *report.warnings):
        sys.stderr.write(f"pfv-widgets: warning: {printable(text)}\n")
    if not options.quiet:
        sys.stdout.write(printable(f"{report.advice}\nWrote {options.out}") + "\n")
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
