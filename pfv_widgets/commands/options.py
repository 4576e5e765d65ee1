"""What commands share: options, and messages that name the option, not the library's argument."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path


def add_inputs(
    parser: argparse.ArgumentParser, photos: str = "files, folders, globs such as 'photos/**/*.jpg'"
) -> None:
    """Add the photos, the network and where it runs."""
    parser.add_argument("photos", nargs="+", help=photos)
    parser.add_argument("--model", default="demo", help="torchvision's name, file.py:factory, demo")
    parser.add_argument("--weights", help="default, random, or the path of a state dict")
    parser.add_argument("--size", type=int, default=224, help="side of the photos in pixels")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def add_output(parser: argparse.ArgumentParser, file: str, about: str) -> None:
    """Add where the result goes, by default to ``file``, and what is said meanwhile."""
    parser.add_argument("--out", type=Path, default=Path(file), metavar="FILE", help=about)
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves out what is said meanwhile."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def in_options(message: str, options: Mapping[str, str]) -> str:
    """Begin a message with the option rather than with the argument of the library.

    >>> in_options("name='resnett': …", {"name": "--model"})
    "--model='resnett': …"
    """
    message = message.replace("give weights='random'", "give --weights random")
    begun = re.match(r"(\w+)(?=[=:\[])", message)
    if begun is None or begun[1] not in options:
        return message
    return options[begun[1]] + message[begun.end() :]
