"""Where pictures come from: folders, globs, paths, images, arrays → named ``Picture`` entries."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".ico",
        ".pcx",
        ".jp2",
        ".j2k",
        ".jpx",
        ".avif",
        ".heic",
        ".heif",
        ".qoi",
    ]
)
"""File names that end otherwise are passed over in folders; a path given by name is tried."""

EXPECTED = (
    "a folder, a glob such as 'photos/*.jpg', a path, a PIL image, an array, a float tensor "
    "(N, 3, H, W), or a list of them"
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture before it is decoded: ``content`` is a file, a PIL image or an array."""

    content: Path | Image.Image | np.ndarray
    name: str
    label: str | None = None


def pictures_of(source: object) -> list[Picture]:
    """List the pictures of ``source`` in order, with unique names.

    Raises
    ------
    PFVValueError
        Where a path does not exist, or a folder, a glob or a list holds no picture.
    PFVTypeError
        Where ``source``, or an entry of it, is nothing that pictures are read from.
    """
    pictures = _expand(source)
    if not pictures:
        raise PFVValueError(f"source={source!r} holds no pictures: expected {EXPECTED}.")
    names = unique_names(pictures)
    return [Picture(p.content, name, p.label) for p, name in zip(pictures, names, strict=True)]


def unique_names(pictures: Iterable[Picture]) -> list[str]:
    """Return names that can be encoded; the same name twice gets its folder, then a number."""
    listed_pictures = list(pictures)
    names = [_encodable(p.name) for p in listed_pictures]
    counts = Counter(names)
    for i, picture in enumerate(listed_pictures):
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
    if isinstance(source, np.ndarray):
        entries = list(source) if source.ndim == 4 else [source]
        return [Picture(entry, f"image {i}") for i, entry in enumerate(entries, 1)]
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes | bytearray):
        return _from_entries(source)
    raise PFVTypeError(f"source of type {type(source).__name__}: expected {EXPECTED}.")


def _from_entries(source: Iterable[object]) -> list[Picture]:
    pictures: list[Picture] = []
    for entry in source:
        if not isinstance(entry, str | os.PathLike | Image.Image | np.ndarray):
            raise PFVTypeError(
                f"source[{len(pictures)}] of type {type(entry).__name__}: expected a path, "
                "a PIL image or an array; tensors cannot be mixed with them."
            )
        for picture in _expand(entry):
            unnamed = not isinstance(picture.content, Path) and picture.name.startswith("image ")
            name = f"image {len(pictures) + 1}" if unnamed else picture.name
            pictures.append(Picture(picture.content, name, picture.label))
    return pictures


def _from_path(text: str | bytes) -> list[Picture]:
    if not isinstance(text, str) or not text:
        raise PFVValueError(f"source={text!r}: expected {EXPECTED}.")
    path = Path(text).expanduser()
    if _exists(path):
        if path.is_dir():
            return _from_folder(path)
        if path.is_file():
            return [Picture(path, path.name)]
        raise PFVValueError(f"source={text!r} is neither a file nor a folder.")
    if glob.has_magic(text):
        return _from_glob(text)
    raise PFVValueError(f"source={text!r} does not exist. {_nearest(path)}")


def _from_folder(folder: Path) -> list[Picture]:
    """Pictures of the folder itself; where it has none, those of its sub-folders, the classes."""
    own = [p for p in _sorted(folder.iterdir()) if _is_picture(p)]
    if own:
        return [Picture(path, path.name) for path in own]
    classes = [p for p in _sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    pictures = [Picture(path, path.name, _encodable(c.name)) for c in classes for path in _below(c)]
    if not pictures:
        raise PFVValueError(
            f"source={str(folder)!r}: the folder and its sub-folders hold no images "
            f"({', '.join(sorted(IMAGE_SUFFIXES)[:4])}, …)."
        )
    return pictures


def _below(folder: Path) -> list[Path]:
    """Every picture under ``folder``, without following links to folders (they may loop)."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in files]
    return [path for path in _sorted(found) if _is_picture(path)]


def _from_glob(pattern: str) -> list[Picture]:
    # Path.glob takes no absolute pattern
    matches = glob.glob(os.path.expanduser(pattern), recursive=True)  # noqa: PTH111, PTH207
    paths = _sorted(Path(match) for match in matches)
    files = [path for path in paths if path.is_file()]
    if files:
        chosen = [path for path in files if _is_picture(path)] or files
        return [Picture(path, path.name) for path in chosen]
    if not paths:
        folder = str(Path().absolute())
        raise PFVValueError(f"source={pattern!r} matches no file (looked from {folder!r}).")
    return [picture for path in paths for picture in _from_folder(path)]


def _is_picture(path: Path) -> bool:
    visible = not path.name.startswith(".")
    return visible and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (natural_key(str(path)), str(path)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _nearest(path: Path) -> str:
    if "://" in str(path) or str(path).startswith(("http:", "https:")):
        return "Addresses are not downloaded: save the picture and give its path."
    if not _exists(path.parent) or not path.parent.is_dir():
        return f"Nor does its folder {str(path.parent)!r}."
    siblings = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, siblings, n=3, cutoff=0.5)
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
