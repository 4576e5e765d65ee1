"""The rules of the house: what may lie in the repository. `run.py` runs the checkers."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import pfv_widgets

ROOT = Path(__file__).resolve().parents[1]
LARGEST_FILE = int(1.6 * 2**20)  # bytes; the embedded network is the largest
LONGEST_FILE = 450  # lines
MACHINE_PATH = re.compile(rb"(?<![\w.])/" + rb"(?:work|farm)/")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files that git tracks, as far as they are there."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not in a git checkout: there is no list of tracked files")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_public_names_are_there() -> None:  # ruff keeps them sorted
    public = pfv_widgets.__all__
    assert [name for name in public if not hasattr(pfv_widgets, name)] == []


def test_no_tracked_file_names_a_path_of_one_machine(tracked: list[Path]) -> None:
    contents = {path: path.read_bytes() for path in tracked}
    texts = {path: content for path, content in contents.items() if b"\0" not in content}
    assert names([path for path, text in texts.items() if MACHINE_PATH.search(text)]) == []


@pytest.mark.parametrize("text", ["see {}/shared", "'{}/x'", "PATH={}/bin", "(file://{}/a)"])
def test_machine_path_is_recognised(text: str) -> None:
    assert MACHINE_PATH.search(text.format("/" + "work").encode())
    assert not MACHINE_PATH.search(b"frame" + b"work/ or net" + b"/" + b"workers/ or a.b/work")


def test_no_tracked_file_is_too_large(tracked: list[Path]) -> None:
    assert names([path for path in tracked if path.stat().st_size > LARGEST_FILE]) == []


def test_files_are_short() -> None:
    files = [
        one for room in ("pfv_widgets", "tests") for one in sorted((ROOT / room).rglob("*.py"))
    ]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    assert files
    assert names([path for path, length in lengths.items() if length > LONGEST_FILE]) == []


def test_every_public_name_and_member_is_documented() -> None:
    """What the built reference shows: names, their methods and properties."""
    bare = []
    for name in pfv_widgets.__all__:
        value = getattr(pfv_widgets, name)
        if isinstance(value, dict):  # a registry: its entries are documented classes
            bare += [f"{name}[{key!r}]" for key, entry in value.items() if not entry.__doc__]
            continue
        members = vars(value) if inspect.isclass(value) else {}
        bare += [name] * (not inspect.getdoc(value))
        bare += [
            f"{name}.{member}"
            for member, own in members.items()
            if not member.startswith("_")
            and (callable(own) or isinstance(own, property | classmethod | staticmethod))
            and not inspect.getdoc(getattr(own, "__func__", own))
        ]
    assert bare == []
