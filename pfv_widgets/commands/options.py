"""What commands share: options, and messages that name the option, not the library's argument."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from pfv_widgets.errors import PFVWarning

if TYPE_CHECKING:
    from torch import nn

    from pfv_widgets.engine.data.batch import ImageBatch

_PHOTOS = ("photos", "source", "data", "images", "images_or_dataset", "labels")
_LITERAL = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\([^)]*\)|[\w+-]+(?:\.\d+)?"""
_PHRASES = {
    r"that PrincipalBasis\.save wrote": "that `pfv-widgets fit` wrote",
    r"fit_basis\(\.\.\., components=\.\.\.\)": "`pfv-widgets fit --components`",
    r"(\*\.jpg'), a path, an open file, .*, or a list of them": r"\1, or a path",
    r"leave weights out": "leave --weights out",
    r"^layers: (?=layer=)": "",
    r": load_images\(\.\.\., size=\.\.\.\)": ", with --size",
    r"or None for the": "or leave it out for the",
    r"\(height, width\) in pixels, whole numbers (.*), or one for a square": (
        r"a whole number of pixels \1"
    ),
    r"(is of another network: layer)=": r"\1 ",
    r"with resume=False": "without --resume",
}
"""What the library says to who writes Python → the same to who types a command."""


def add_inputs(
    parser: argparse.ArgumentParser, photos: str = "files, folders, globs such as 'photos/**/*.jpg'"
) -> None:
    """Add the photos, the network and where it runs."""
    parser.add_argument("photos", nargs="+", help=photos)
    network = (
        "a name of torchvision, file.py:factory, demo-photos (EfficientNet-Lite0 with weights of "
        "ImageNet, of the extra 'photos'), or demo, a small one that was trained on drawn scenes "
        "(default: %(default)s)"
    )
    parser.add_argument("--model", default="demo", help=network)
    parser.add_argument("--weights", help="default, random, or the path of a state dict")
    side = "side of the photos in pixels (default: %(default)s)"
    parser.add_argument("--size", type=int, default=224, help=side)
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)"
    )


def add_output(parser: argparse.ArgumentParser, file: str, about: str) -> None:
    """Add where the result goes, by default to ``file``, and what is said meanwhile."""
    about += "; default: %(default)s"
    parser.add_argument("--out", type=Path, default=Path(file), metavar="FILE", help=about)
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves out what is said meanwhile."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def load_photos(
    options: argparse.Namespace, model: nn.Module, labels: Sequence[str] | None = None
) -> ImageBatch:
    """Load the photos in the network's own normalisation, or ImageNet's where it declares none.

    What cannot be read is said at the end, by :func:`say`.
    """
    from pfv_widgets.engine.data.load_images import load_images
    from pfv_widgets.engine.network.named_models import declared_normalisation, in_normalisation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PFVWarning)
        images = load_images(options.photos, size=options.size, labels=labels)
    return in_normalisation(images, declared_normalisation(model) or images.normalisation)


def progress_bar(options: argparse.Namespace, total: int | None = None) -> Any:
    """Return a bar of tqdm, which shows nothing where stderr is no terminal."""
    return tqdm(total=total, disable=options.quiet or None, file=sys.stderr, leave=False)


def say(
    options: argparse.Namespace,
    result: str,
    images: ImageBatch | None = None,
    doubts: Iterable[str] = (),
) -> None:
    """Say what was left out or cut, and what is doubtful; unless it is to be quiet the result."""
    if images is not None:
        left_out = [f"left out {entry}" for entry in images.skipped]
        doubts = [*left_out, *filter(None, [images.notice]), *doubts]
    for text in doubts:
        warn(text)
    if not options.quiet:
        sys.stdout.write(f"{printable(result)}\n")


def warn(text: str) -> None:
    """Write a warning to stderr."""
    sys.stderr.write(f"pfv-widgets: warning: {printable(text)}\n")


def printable(text: str) -> str:
    r"""Return ``text`` as one line that cannot steer a terminal.

    >>> print(printable("a\x1b]0;b\n犬"))
    a\x1b]0;b 犬
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text.replace("\n", " ")
    )


def option_names(options: argparse.Namespace) -> dict[str, str]:
    """Return the option of a command for each argument of the library that it is given to."""
    own = {name: f"--{name.replace('_', '-')}" for name in vars(options)}
    return own | {"name": "--model"} | dict.fromkeys(_PHOTOS, "PHOTOS")


def in_options(message: str, options: Mapping[str, str]) -> str:
    """Name options, as they are typed, where a message names arguments of the library.

    >>> names = {"name": "--model", "basis_of": "--basis-of"}
    >>> in_options("name='resnett': …, or basis_of='this batch'.", names)
    "--model resnett: …, or --basis-of 'this batch'."
    """
    for phrase, words in _PHRASES.items():
        message = re.sub(phrase, words, message)
    flags = [name for name, option in options.items() if option.startswith("--")]
    for begin, names in (("^", list(options)), (r"(?<![\w'\"/.-])", flags)):
        message = re.sub(
            rf"{begin}({'|'.join(names)})=({_LITERAL})",
            lambda found: _typed(options[found[1]], found[2]),
            message,
        )
    begun = re.match(r"(\w+)(?=[=:\[]| is | has )", message)
    if begun is None or begun[1] not in options:
        return message
    return options[begun[1]] + message[begun.end() :]


def _typed(option: str, literal: str) -> str:
    """Write an option as in a shell, with a value that a message gives in Python."""
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):  # a name, or cut short
        return f"{option} {literal}"
    if value is None or value is True:
        return option
    values = value if isinstance(value, (list, tuple)) else [value]
    return " ".join([option, *(shlex.quote(str(one)) for one in values)])
