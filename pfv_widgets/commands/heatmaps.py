"""``pfv-widgets heatmaps``: photos in, one PNG each, an overview and a record of what was done."""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from pfv_widgets import __version__
from pfv_widgets.commands.options import (
    add_inputs,
    add_quiet,
    in_options,
    load_photos,
    progress_bar,
    say,
)
from pfv_widgets.commands.outputs import RECORD, Outputs
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.parameters import Choice, Slider, parameters_of

_KNOBS = {name: one for name, one in parameters_of(Settings).items() if name != "similarity"}
"""Those that do something without a pin."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``heatmaps``: its own, and one for each knob of ``Settings``."""
    add_inputs(parser)
    parser.add_argument("--layer", help="layer whose feature map is shown (default: the last)")
    parser.add_argument(
        "--basis",
        type=Path,
        metavar="FILE",
        help="that `pfv-widgets fit` wrote (default: fitted to the photos)",
    )
    folder = "folder of the results (default: %(default)s)"
    parser.add_argument("--out", type=_folder, default=Path("heatmaps"), metavar="DIR", help=folder)
    parser.add_argument("--force", action="store_true", help="replace the results of a former run")
    parser.add_argument("--json-only", action="store_true", help=f"write {RECORD} and no pictures")
    add_quiet(parser)
    knobs = parser.add_argument_group("knobs")
    for name, parameter in _KNOBS.items():
        flag, default = f"--{name.replace('_', '-')}", getattr(Settings, name)
        text = f"{parameter.help.replace('%', '%%')} (default: {default})"
        if isinstance(parameter, Slider):
            kind = int if isinstance(parameter.step, int) else float
            span = f"{parameter.minimum:g}…{parameter.maximum:g}"
            knobs.add_argument(flag, type=kind, default=default, metavar=span, help=text)
        elif isinstance(parameter, Choice):
            names = list(parameter.choices)
            knobs.add_argument(flag, choices=names, default=default, help=text)
        else:
            action = argparse.BooleanOptionalAction
            knobs.add_argument(flag, action=action, default=default, help=parameter.help)


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give the name of a folder")
    return Path(text)


def run(options: argparse.Namespace) -> int:
    """Load, compute, write; 0 where at least one photo could be rendered."""
    from pfv_widgets.engine.network.load_model import load_model

    start = time.perf_counter()
    knobs = {name: getattr(options, name) for name in _KNOBS}
    settings = Settings(layer=options.layer, **knobs)
    Outputs.planned(options.out, force=options.force)  # refuses before anything is loaded
    basis = None if options.basis is None else _basis_of(options.basis)
    with _Progress(options) as progress:
        progress.step("loading the network")
        model = load_model(options.model, options.weights)
        progress.step("loading photos")
        images = load_photos(options, model)
        with Outputs.locked(options.out, force=options.force) as outputs:
            progress.step("computing")
            pfv = PFV(model, images, device=options.device, basis=basis, progress=progress.part)
            frame = pfv.render(settings)
            progress.step("writing")
            files = [] if options.json_only else outputs.names_for(frame.names)
            outputs.write_plan(files)
            _write_pictures(frame, files, outputs, progress)
            record = _record(options, pfv, frame, files) | {
                "seconds": round(time.perf_counter() - start, 3)
            }
            outputs.write_record(record, files)
    pictures = f"{len(files)} picture{'s' * (len(files) != 1)}"
    what = f"{pictures} and {RECORD}" if files else RECORD
    say(options, f"Wrote {what} to {options.out}", images, frame.warnings)
    return 0


def _basis_of(file: Path) -> PrincipalBasis:
    """Read a basis; an error names its option: other paths are those of the results."""
    try:
        return PrincipalBasis.load(file)
    except PFVError as error:
        raise PFVValueError(in_options(str(error), {"path": "--basis"})) from error


def _write_pictures(frame: Frame, files: list[str], outputs: Outputs, progress: _Progress) -> None:
    """Write one PNG for each photo and the overview."""
    if not files:
        return
    with outputs.writing() as folder:
        for file, tile in zip(progress.over(files), frame.composite(), strict=True):
            Image.fromarray(tile).save(folder / file)
    frame.save(outputs.overview)


def _record(
    options: argparse.Namespace, pfv: PFV, frame: Frame, files: list[str]
) -> dict[str, Any]:
    """Everything that it takes to make the same pictures again."""
    layer = pfv.layer(frame.layer)
    knobs = {name: getattr(frame.settings, name) for name in _KNOBS}
    images = pfv.images
    written: list[str | None] = [*files] or [None] * len(images)
    return {
        "pfv_widgets": __version__,
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "model": options.model,
        "weights": options.weights or "default",
        "device": str(pfv.device),
        "basis": frame.basis_source,
        "layer": {"name": layer.name, "kind": layer.kind, "shape": list(layer.shape)},
        "settings": knobs,
        "size": list(images.size),
        "normalisation": {"mean": list(images.mean), "std": list(images.std)},
        "photos": [_plain(photo) for photo in options.photos],
        "explained_variance_ratio": frame.basis.explained_variance_ratio.tolist(),
        "files": [
            {"photo": name, "heatmap": file}
            for name, file in zip(images.names, written, strict=True)
        ],
        "skipped": list(images.skipped),
        "cropped": list(images.cropped),
        "warnings": list(frame.warnings),
    }


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


class _Progress:
    """A bar on stderr: the steps before the first picture, then one step for each picture."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._bar = progress_bar(options, total=4)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, what: str) -> None:
        self._bar.set_description(what)
        self._bar.update()

    def part(self, done: int, of: int) -> None:
        self._bar.set_description(f"computing {done}/{of} photos")

    def over(self, files: list[str]) -> Any:
        self._bar.total = 4 + len(files)
        for file in files:
            yield file
            self._bar.update()
