"""The command line: ``pfv-widgets COMMAND``, each a module of :mod:`pfv_widgets.commands`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from pfv_widgets import __version__
from pfv_widgets.commands.options import in_options, option_names, printable
from pfv_widgets.errors import PFVError, PFVValueError, is_out_of_memory

COMMANDS = {
    "demo": "open the demo notebook in JupyterLab, or as a web page",
    "heatmaps": "write what a network sees in your photos as PNG files",
    "methods": "show what attribution methods say of your photos, as one figure",
    "fit": "find the principal components of all your photos and store them in a file",
    "report": "show which layer of a network transfers to your labelled photos, as one page",
    "doctor": "list versions and devices, and check whether widgets can be shown",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 fine, 1 an error that the message on stderr explains, 2 wrong usage, 130 Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser(words).parse_args(words)
        return _run(importlib.import_module(_module(options.command)), options)
    except (PFVError, OSError) as error:
        # OSError: a file of the user's that cannot be read or written; its text names it
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _failed("not enough memory: give fewer photos, or a smaller --size.")


def _failed(why: str) -> int:
    print(f"pfv-widgets: error: {printable(why)}", file=sys.stderr)
    return 1


def _run(command: ModuleType, options: argparse.Namespace) -> int:
    """Run a command; an error names the option of the command where the library's argument was."""
    try:
        return int(command.run(options))
    except PFVError as error:
        names = option_names(options) | getattr(command, "OPTIONS", {})
        raise PFVValueError(in_options(str(error), names)) from error


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pfv-widgets", description="See what a convolutional network has learned."
    )
    parser.add_argument("--version", action="version", version=f"pfv-widgets {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    name = next((word for word in words if not word.startswith("-")), None)
    for command, purpose in COMMANDS.items():
        sub = subparsers.add_parser(command, help=purpose, description=purpose)
        if command == name:  # the options of `heatmaps` come from Settings, which needs torch
            importlib.import_module(_module(command)).add_options(sub)
    return parser


def _module(command: str) -> str:
    return f"pfv_widgets.commands.{command}"
