"""``pfv-widgets demo``: a copy of the demo notebook, served by a JupyterLab of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote

import pfv_widgets
from pfv_widgets.commands.options import in_options
from pfv_widgets.commands.server import Server
from pfv_widgets.errors import PFVError, PFVValueError

NOTEBOOK = "demo.ipynb"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.add_argument(
        "photos",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="a folder with photos of yours (default: photos that come along)",
    )
    parser.add_argument("--voila", action="store_true", help="serve it as a web page, with Voila")
    parser.add_argument(
        "--port",
        type=_port,
        default=8888,
        help="or a free one where it is taken (default: %(default)s)",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument(
        "--notebook-dir",
        type=Path,
        metavar="DIR",
        help="where the copy goes, and is used again if it is there (default: a fresh folder)",
    )
    parser.add_argument(
        "--allow-root",
        action="store_true",
        default=_is_root(),
        help="let the server run as root, as in a container (default where you are root)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C, SIGTERM or a shutdown from the page; 0 after the last."""
    _require("voila" if options.voila else "jupyterlab")
    content = shipped_notebook() if options.photos is None else notebook_on(options.photos)
    with notebook_folder(options.notebook_dir, content) as folder, _stopped_by_signals():
        own = (folder / NOTEBOOK).exists()
        notebook = copied_notebook(folder, content)
        server = Server(folder, options.port, voila=options.voila, allow_root=options.allow_root)
        _say(f"starting {'Voila' if options.voila else 'JupyterLab'} …")
        with server:
            if not (options.voila or own):
                _say("running the notebook, so that it opens with live pictures …")
                _make_live(server, notebook)
            page = "voila/render" if options.voila else "lab/tree"
            address = server.address(f"{page}/{quote(notebook.name)}")
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            if not options.no_browser:
                open_page(address, server.private)
            server.wait()
    return 0


def _say(what: str) -> None:
    """Tell who waits what is going on: the standard output has the address alone."""
    sys.stderr.write(f"pfv-widgets: {what}\n")
    sys.stderr.flush()


def _make_live(server: Server, notebook: Path) -> None:
    """Run the notebook; where that fails a person can still run its cells."""
    from pfv_widgets.commands.run_notebook import run_notebook

    try:
        run_notebook(server, notebook)
    except Exception as error:
        sys.stderr.write(
            f"pfv-widgets: the cells did not run by themselves ({type(error).__name__}: {error}); "
            "choose Run > Run All Cells\n"
        )


def notebook_on(photos: Path) -> bytes:
    """Return the demo notebook on the photos of a folder.

    Raises
    ------
    PFVValueError
        For a folder that is not there, or holds no photos, and a file that is none.
    """
    from pfv_widgets.engine.data.decoding import UnreadableError, read_photo
    from pfv_widgets.engine.data.sources import pictures_of

    folder = photos.expanduser().absolute()
    if folder.is_file():
        try:
            read_photo(folder)
        except UnreadableError as error:
            line = f"DIR {folder} is no photo ({error}): give a folder with photos."
            raise PFVValueError(line) from error
    try:
        pictures_of(folder)
    except PFVError as error:
        raise PFVValueError(in_options(str(error), {"source": "DIR"})) from error
    book = json.loads(shipped_notebook())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            call = f"photos={str(folder)!r}"
            cell["source"] = [line.replace("photos=True", call) for line in cell["source"]]
        # the words of a cell that names the photos of the demo, for those of the user
        cell["source"] = cell["metadata"].pop("own_photos", cell["source"])
    return json.dumps(book, indent=1).encode()


def copied_notebook(folder: Path, content: bytes | None = None) -> Path:
    """Write the notebook into ``folder``; one that is there is the user's and stays."""
    target = folder / NOTEBOOK
    if target.exists():
        sys.stderr.write(f"pfv-widgets: {target} is there already and is used as it is\n")
    else:
        target.write_bytes(content or shipped_notebook())
    return target


def shipped_notebook() -> bytes:
    """Return the notebook of the installed wheel, or of the checkout that this runs from."""
    packed = resources.files("pfv_widgets.demo") / NOTEBOOK
    if packed.is_file():
        return packed.read_bytes()
    checkout = Path(pfv_widgets.__file__).parents[1] / "notebooks" / NOTEBOOK
    if checkout.is_file():
        return checkout.read_bytes()
    raise PFVValueError(
        f"the demo notebook is neither in the package nor at {checkout}; "
        "install the package again: pip install --force-reinstall pfv-widgets"
    )


def _require(package: str) -> None:
    for name in (package, "ipykernel"):
        if find_spec(name) is None:
            raise PFVValueError(f"{name} is not installed; run: pip install 'pfv-widgets[lab]'")


@contextmanager
def notebook_folder(path: Path | None, notebook: bytes | None = None) -> Iterator[Path]:
    """Give the user's folder, or a fresh one that goes away unless the user saved into it."""
    if path is not None:
        folder = path.expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            line = f"--notebook-dir {path}: no folder can be made there ({error.strerror}); give "
            raise PFVValueError(f"{line}another.") from error
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="pfv-demo-"))
    try:
        yield folder
    finally:
        if _untouched(folder, notebook or shipped_notebook()):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stderr.write(f"pfv-widgets: your notebook stays in {folder}\n")


def _untouched(folder: Path, notebook: bytes) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    ours = folder / NOTEBOOK
    return all(".ipynb_checkpoints" in path.parts or path == ours for path in files) and (
        not ours.exists() or _sources(ours.read_bytes()) == _sources(notebook)
    )


def _sources(notebook: bytes) -> object:
    """Return what a person wrote: outputs come and go by themselves."""
    try:
        return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"]]
    except (ValueError, KeyError, TypeError):
        return notebook


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Turn SIGTERM and a closed terminal into an exit that takes the server along."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), leave) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def open_page(address: str, private: Path) -> None:
    """Open the browser on a file that leads on: the process list must not show the token."""
    path = private / "open.html"
    path.write_text(f'<meta http-equiv="refresh" content="0;url={escape(address)}">', "utf-8")
    webbrowser.open(path.as_uri())


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        legal = "a whole number from 0 (any free port) to 65535"
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected {legal}")
    return int(text)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
