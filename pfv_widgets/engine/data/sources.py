"""Where pictures come from: folders, globs, paths, images, arrays → named ``Picture`` entries."""

from __future__ import annotations

import difflib
import glob
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pfv_widgets.engine.data.decoding import is_broken_link
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".tif", ".tiff", ".bmp",
    ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".jp2", ".j2k", ".jpx",
    ".avif", ".heic", ".heif", ".qoi",
))  # fmt: skip
"""File names that end otherwise are passed over in folders; a path given by name is tried."""

EXPECTED = (
    "a folder, a glob such as 'photos/*.jpg', a path, an open file, a PIL image, an array, a float "
    "tensor (N, 3, H, W), or a list of them"
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture before it is decoded: ``content`` is a file, its bytes, an image or an array."""

    content: Path | io.BytesIO | Image.Image | np.ndarray
    name: str
    label: str | None = None


def pictures_of(source: object) -> list[Picture]:
    """List the pictures of ``source`` in order, with unique names."""
    pictures = _expand(source)
    if not pictures:
        raise PFVValueError(f"source={source!r} holds no pictures: expected {EXPECTED}.")
    names = _unique_names(pictures)
    return [Picture(p.content, name, p.label) for p, name in zip(pictures, names, strict=True)]


def _unique_names(pictures: list[Picture]) -> list[str]:
    """Return names that can be encoded; the same name twice gets its folder, then a number."""
    names = [_encodable(p.name) for p in pictures]
    counts = Counter(names)
    for i, picture in enumerate(pictures):
        if counts[names[i]] > 1 and isinstance(picture.content, Path):
            names[i] = _encodable(f"{picture.content.absolute().parent.name}/{picture.name}")
    return _numbered(names)


def natural_key(text: str) -> list[tuple[int, str]]:
    """Return the sort key that puts ``'img2'`` before ``'img10'``.

    >>> sorted(["img10", "img2"], key=natural_key)
    ['img2', 'img10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [(int(part), part) if "0" <= part[0] <= "9" else (-1, part) for part in parts]


def _expand(source: object) -> list[Picture]:
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source))
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "image 1").name
        return [Picture(source, name)]
    if is_open_file(source):
        return [_from_open_file(source)]
    if isinstance(source, np.ndarray):
        entries = list(source) if source.ndim == 4 else [source]
        return [Picture(entry, f"image {i}") for i, entry in enumerate(entries, 1)]
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes | bytearray):
        return _from_entries(source)
    raise PFVTypeError(f"source of type {type(source).__name__}: expected {EXPECTED}.")


def _from_entries(source: Iterable[object]) -> list[Picture]:
    pictures: list[Picture] = []
    for entry in source:
        known = isinstance(entry, str | os.PathLike | Image.Image | np.ndarray)
        if not known and not is_open_file(entry):
            raise PFVTypeError(
                f"source[{len(pictures)}] of type {type(entry).__name__}: expected a path, an "
                "open file, a PIL image or an array; tensors cannot be mixed with them."
            )
        for picture in _expand(entry):
            unnamed = not isinstance(picture.content, Path) and picture.name.startswith("image ")
            name = f"image {len(pictures) + 1}" if unnamed else picture.name
            pictures.append(Picture(picture.content, name, picture.label))
    return pictures


def is_open_file(source: object) -> bool:
    """Whether a source is a file that is open, on a disk or in memory."""
    return callable(getattr(source, "read", None))


def _from_open_file(file: Any) -> Picture:
    """Read a file from its start; it stays open, at the position where it was."""
    name = getattr(file, "name", None)
    binary = getattr(file, "buffer", file)  # of a file that was opened as text
    try:
        position = binary.tell() if binary.seekable() else None
        if position is not None:
            binary.seek(0)
        content = binary.read()
        if position is not None:
            binary.seek(position)
    except (OSError, ValueError, AttributeError) as error:
        raise PFVValueError(f"source={file!r:.80} cannot be read: {error}.") from error
    if not isinstance(content, bytes):
        raise PFVTypeError(f"source={file!r:.80} is a file of text: open it with mode 'rb'.")
    return Picture(io.BytesIO(content), Path(name).name if isinstance(name, str) else "image 1")


def _from_path(text: str | bytes) -> list[Picture]:
    if not isinstance(text, str) or not text:
        raise PFVValueError(f"source={text!r}: expected {EXPECTED}.")
    path = Path(text).expanduser()
    if _holds(path.exists):
        if path.is_dir():
            return _from_folder(path)
        if path.is_file():
            return [Picture(path, path.name)]
        if path.is_fifo():  # it can be read only once
            return [Picture(io.BytesIO(_content(path)), path.name)]
        raise PFVValueError(
            f"source={text!r} is neither a file nor a folder: write the picture to a file and give "
            "its path."
        )
    if _holds(path.is_symlink):
        raise PFVValueError(f"source={text!r} is a link that leads to no file: {_target(path)}.")
    if glob.has_magic(text):
        return _from_glob(text)
    raise PFVValueError(f"source={text!r} does not exist. {_nearest(path)}")


def _content(pipe: Path) -> bytes:
    try:
        return pipe.read_bytes()
    except OSError as error:
        raise PFVValueError(f"source={str(pipe)!r} cannot be read: {error.strerror}.") from error


def _from_folder(folder: Path) -> list[Picture]:
    """Pictures of the folder itself; where it has none, those of its sub-folders, the classes."""
    try:
        entries = _sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise PFVValueError(f"source={str(folder)!r} cannot be read: {reason}.") from error
    own = [path for path in entries if _is_picture(path)]
    if not any(path.is_file() for path in own):
        classes = [path for path in entries if _is_class(path)]
        pictures = [
            Picture(path, path.name, _encodable(c.name)) for c in classes for path in _below(c)
        ]
        if pictures:
            return pictures
    if not own:
        raise PFVValueError(
            f"source={str(folder)!r}: the folder and its sub-folders hold no images "
            "(.jpg, .png, .webp, .tif, …)."
        )
    return [Picture(path, path.name) for path in own]


def _is_class(folder: Path) -> bool:
    """Whether a folder's pictures are a class: not where it is a link to a folder around it."""
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return not folder.parent.resolve().is_relative_to(folder.resolve())


def _below(folder: Path) -> list[Path]:
    """Every picture under ``folder``, without following links to folders (they may loop)."""
    paths = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(root, name) for name in files]
    return [path for path in _sorted(paths) if _is_picture(path)]


def _from_glob(pattern: str) -> list[Picture]:
    paths = _sorted(Path(match) for match in _matches(str(Path(pattern).expanduser())))
    files = [path for path in paths if path.is_file()]
    if files:
        pictures = [path for path in paths if _is_picture(path)] or files
        return [Picture(path, path.name) for path in pictures]
    if not paths:
        folder = str(Path().absolute())
        raise PFVValueError(f"source={pattern!r} matches no file (looked from {folder!r}).")
    return [picture for path in paths for picture in _from_folder(path)]


def _matches(pattern: str) -> list[str]:
    """Return what a pattern matches; ``**`` descends into each folder once, by whatever link."""
    parts = pattern.replace(os.sep, "/").split("/")
    if "**" not in parts:
        return glob.glob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
    first = parts.index("**")
    rest = "/".join(part for part in parts[first:] if part != "**") or "*"
    start = "/".join(parts[:first])
    roots = _matches(start) if start else ["/" if pattern.startswith("/") else "."]
    seen: set[str] = set()
    folders = [folder for root in roots for folder in _folders_below(root, seen)]
    return [match for folder in folders for match in _matches(f"{glob.escape(folder)}/{rest}")]


def _folders_below(root: str, seen: set[str]) -> list[str]:
    """Return a folder and all below it that were not seen; links to folders are followed."""
    below = []
    for folder, names, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        below.append(folder)
        names[:] = sorted(name for name in names if not name.startswith("."))
    return below


def _is_picture(path: Path) -> bool:
    """Whether a file is taken by its name; so is a link that leads nowhere, to be named."""
    if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return path.is_file() or is_broken_link(path)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (natural_key(str(path)), str(path)))


def _holds(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # such as a name that is too long
        return False


def _target(path: Path) -> str:
    """Say where a link leads that leads to no file."""
    try:
        path.resolve(strict=True)
    except FileNotFoundError:
        return f"{str(path.readlink())!r} does not exist"
    except (OSError, RuntimeError):  # what it is depends on the version of Python
        return "it leads back to itself"
    return "it cannot be followed"


def _nearest(path: Path) -> str:
    if "://" in str(path) or str(path).startswith(("http:", "https:")):
        return "Addresses are not downloaded: save the picture and give its path."
    if not _holds(path.parent.is_dir):
        return f"Nor does its folder {str(path.parent)!r}."
    siblings: list[str] = []
    with suppress(OSError):  # the folder may be closed to this user
        siblings = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, siblings, n=3, cutoff=0.7)
    return f"Did you mean {listed(near, ' or ')}?" if near else "Check the name and the folder."


def _numbered(names: list[str]) -> list[str]:
    taken: set[str] = set(names)
    seen: set[str] = set()
    result = []
    for name in names:
        unique, number = name, 2
        while unique in seen or (unique != name and unique in taken):
            unique, number = f"{name} ({number})", number + 1
        seen.add(unique)
        result.append(unique)
    return result


def _encodable(name: str) -> str:
    """Replace what the file system gave as undecodable bytes: names end up in JSON and HTML."""
    return name.encode("utf-8", "replace").decode("utf-8")
