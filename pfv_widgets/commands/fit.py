"""``pfv-widgets fit``: photos in, one file with the basis of all of them.

Several processes share the photos: ``torchrun --nproc-per-node N -m pfv_widgets fit PHOTOS …``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pfv_widgets.commands.options import (
    add_inputs,
    add_output,
    in_options,
    option_names,
    say,
    warn,
)
from pfv_widgets.engine.export.output_paths import checked_path
from pfv_widgets.errors import PFVError, PFVValueError, PFVWarning

if TYPE_CHECKING:
    from torch import nn

    from pfv_widgets.engine.data.preprocessing import Preprocessing
    from pfv_widgets.engine.pca.basis import PrincipalBasis

OPTIONS = {"path": "--out"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fit``."""
    add_inputs(parser)
    parser.add_argument(
        "--layer", nargs="+", help="layers whose feature maps are decomposed (default: the last)"
    )
    parser.add_argument(
        "--components", type=int, help="their number (default: 12, or all that a layer has)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="photos at a time (default: %(default)s)"
    )
    add_output(
        parser,
        "basis.npz",
        "the basis; of several layers one file each, with the layer's name in it",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="what --resume goes on from (default: beside --out; deleted at the end)",
    )
    every = "seconds between two checkpoints (default: %(default)s)"
    parser.add_argument("--every", type=float, default=60, help=every)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")


def run(options: argparse.Namespace) -> int:
    """Load, stream, write; where the basis went goes to stdout."""
    from torch.distributed import is_torchelastic_launched

    from pfv_widgets.engine.network.load_model import load_model
    from pfv_widgets.engine.pipeline.fit_basis import fit_basis

    layers = options.layer or [None]
    files = [_file_of(options.out, layer, len(layers)) for layer in layers]
    if len(set(files)) < len(set(layers)):
        raise PFVValueError(f"layer={layers}: two would be written to one file; fit one at a time.")
    for file in files:
        _check(file, replace=options.force)  # before anything is computed
    model = load_model(options.model, options.weights)
    ranks, rank = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "RANK"))
    checkpoint = options.checkpoint or options.out.with_suffix(".checkpoint.npz")
    names = option_names(options) | OPTIONS
    if options.checkpoint is None:
        names["checkpoint"] = f"--out {options.out}: its checkpoint"
    if options.resume and rank == 0 and not checkpoint.exists():
        warn(f"--resume: there is no checkpoint {checkpoint}; the fit begins anew.")
    options.quiet = options.quiet or rank > 0  # of torchrun: one process speaks for all
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PFVWarning)
        try:
            bases = fit_basis(
                model, options.photos, layers, components=options.components,
                device=options.device, progress=not options.quiet and sys.stderr.isatty(),
                size=options.size, batch_size=options.batch_size, every=options.every,
                resume=options.resume, checkpoint=checkpoint,
                distributed=ranks > 1 or is_torchelastic_launched(),  # one of one joins as well
                transform=_transform(options.size, model),
            )  # fmt: skip
        except PFVError as error:
            raise PFVValueError(in_options(str(error), names)) from error
    if rank > 0:
        return 0
    for warning in caught:
        warn(in_options(str(warning.message), names))
    for file, basis in zip(files, bases.values(), strict=True):
        written = _saved(basis, file)
        data = basis.data
        used = f"{data.images - data.skipped} of {data.images}" if data is not None else ""
        share = 100 * float(basis.explained_variance_ratio.sum())
        say(
            options,
            f"Wrote {written}: {len(basis.components)} components of {basis.layer} over "
            f"{used} photos, {share:.0f} % of the variance",
        )
    return 0


def _transform(size: int, model: nn.Module) -> Preprocessing | None:
    """Return what brings photos into the normalisation that the network declares, if any."""
    from pfv_widgets.engine.data.preprocessing import Preprocessing
    from pfv_widgets.engine.network.named_models import declared_normalisation

    declared = declared_normalisation(model)
    return None if declared is None else Preprocessing(size, declared)


def _saved(basis: PrincipalBasis, file: Path) -> Path:
    """Write a basis, elsewhere where that fails now: a pass over many photos is not lost for it."""
    try:
        basis.save(file)
    except PFVError as error:
        other = Path(tempfile.mkdtemp(prefix="pfv-widgets-")) / file.name
        basis.save(other)
        warn(f"{in_options(str(error), OPTIONS)} It was written to {other}.")
        return other
    return file


def _file_of(out: Path, layer: str | None, number: int) -> Path:
    """Return where the basis of a layer goes."""
    if number == 1:
        return out
    return out.with_name(f"{out.stem}-{re.sub(r'[^A-Za-z0-9.]+', '_', str(layer))}{out.suffix}")


def _check(file: Path, *, replace: bool) -> None:
    checked_path(file, {file.suffix.lower()}, "of any name")
    if file.exists() and not replace:
        raise PFVValueError(f"--out {file}: it is there; give another file, or --force.")
