"""Saved weights of one network, each loaded when it is first visited."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from pfv_widgets.engine.data.sources import natural_key
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.network.replica import CannotReplicateError, sharing_copy
from pfv_widgets.engine.network.state_dict import load_weights
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import plain

_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def checkpoints(model: nn.Module, paths: Any) -> LazyNetworks:
    """Return networks of saved weights, as a sequence in which each is loaded when it is visited.

    Parameters
    ----------
    model
        Of the architecture; it never changes.
    paths
        Files of state dicts in order, ``{name: file}``, a pattern such as ``"runs/*.pt"``, or a
        folder. Files of a pattern or folder are in natural order: ``epoch2`` before ``epoch10``.
        Files of Lightning and of ``{"state_dict": …}`` are understood.

    Returns
    -------
    LazyNetworks
        A mapping: the name of the file without its suffix → the network, in eval mode.

    Raises
    ------
    PFVTypeError, PFVValueError
        At once for a file that is not there, a name that comes twice, or a network that cannot be
        copied; when it is visited for a file that holds no weights or others than the network's,
        named with what does not fit. No code of a file is run.

    Examples
    --------
    >>> import tempfile, pathlib, torch, pfv_widgets as pw
    >>> folder, model = pathlib.Path(tempfile.mkdtemp()), pw.demo_model()
    >>> torch.save(model.state_dict(), folder / "epoch 1.pt")
    >>> list(pw.checkpoints(model, folder))
    ['epoch 1']
    """
    network = unwrap(model)
    files = _named_files(paths)
    for name, path in files.items():
        if not path.is_file():
            raise PFVValueError(
                f"paths: there is no file {str(path)!r}, which {name!r} is to be read from."
            )
    _own_copy(network)  # one that cannot be copied is an error at once

    def load(name: str) -> nn.Module:
        new = _own_copy(network)
        load_weights(new, files[name])
        return new

    return LazyNetworks(tuple(files), load)


def _own_copy(model: nn.Module) -> nn.Module:
    """Return a network with weights of its own."""
    try:
        new = sharing_copy(model)
    except CannotReplicateError as error:
        raise PFVValueError(
            f"model={type(model).__name__}: it cannot be copied ({error})."
        ) from error
    for values in (*new.parameters(), *new.buffers()):
        values.data = values.data.clone()
    return new


def _named_files(paths: Any) -> dict[str, Path]:
    paths = plain(paths)
    if isinstance(paths, Mapping):
        named = [(str(name), _path(path)) for name, path in paths.items()]
    elif isinstance(paths, str | PathLike):
        named = [(path.stem, path) for path in _listed(_path(paths))]
    elif isinstance(paths, Iterable):
        named = _by_stem([_path(path) for path in paths])
    else:
        raise PFVTypeError(f"paths={paths!r:.80}: expected files, a pattern or a folder.")
    twice = [name for name, number in Counter(name for name, _ in named).items() if number > 1]
    if twice:
        raise PFVValueError(
            f"paths has {twice[0]!r} twice: give {{name: file}} with different names."
        )
    if not named:
        raise PFVValueError(f"paths={paths!r:.80}: there is no file of weights.")
    return dict(named)


def _by_stem(files: list[Path]) -> list[tuple[str, Path]]:
    """Name files by their stem, with their folder before it where stems come twice."""
    number = Counter(path.stem for path in files)
    return [
        (path.stem if number[path.stem] == 1 else f"{path.parent.name}/{path.stem}", path)
        for path in files
    ]


def _listed(path: Path) -> list[Path]:
    """Return the files of a folder or a pattern in natural order, or the one file."""
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [one for one in path.iterdir() if one.suffix in _SUFFIXES]
    else:
        pattern = str(path)
        files = [Path(one) for one in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - absolute ones too
    return sorted(files, key=lambda one: natural_key(str(one)))


def _path(value: Any) -> Path:
    if not isinstance(value, str | PathLike):
        raise PFVTypeError(f"paths has {value!r:.80}: expected the name of a file.")
    return Path(value).expanduser()
