"""A file of weights → a state dict that fits a network, without running any code from it."""

from __future__ import annotations

import importlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import listed

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_CODE = re.compile(r"global|class|instantiate|build|call", re.IGNORECASE)
_EXPORT = (
    "only state dicts are loaded, as anything else may run code. Where you trust it, export it "
    "with torch.save(model.state_dict(), path), then give that file"
)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill ``model`` with the weights of a file, or raise and leave it as it is."""
    path = Path(path).expanduser()
    expected = model.state_dict()
    state = _stripped(_read(path), expected)
    faults = _faults(state, expected)
    if faults:
        raise _unusable(path, f"its weights do not fit {type(model).__name__}: {faults}")
    # names and shapes are those of this version of its modules, which some of them ask for
    fitting = OrderedDict(state)
    vars(fitting)["_metadata"] = getattr(expected, "_metadata", None)
    try:
        model.load_state_dict(fitting, strict=False)  # old files lack `num_batches_tracked`
    except (RuntimeError, ValueError) as error:
        raise _unusable(path, f"its weights do not fit {type(model).__name__}: {error}") from error


def _read(path: Path) -> State:
    _refuse_impostors(path)
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    else:
        content = _read_torch(path)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise _unusable(path, f"it holds a {type(content).__name__}; {_EXPORT}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise _unusable(path, f"its entries {listed(others, most=5)} are no tensors; {_EXPORT}")
    return {str(key): value for key, value in content.items()}


def _refuse_impostors(path: Path) -> None:
    """Recognise by its first bytes what people get where they expected weights."""
    if not path.is_file():
        problem = "it is a folder" if path.is_dir() else "there is no such file"
        raise _unusable(path, f"{problem}; give a state dict that torch.save wrote")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise _unusable(path, "the file is empty; download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _unusable(path, "it is a web page; use the address of the raw file to download it")
    if head.startswith(b"version https://git-lfs"):
        raise _unusable(path, "it is a pointer of Git LFS; run `git lfs pull` to get the file")
    if head.startswith(b"PK\x03\x04"):
        _refuse_archives(path)


def _refuse_archives(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).name for name in archive.namelist()]
    except zipfile.BadZipFile:
        raise _unusable(path, "the file is cut off or damaged; download it again") from None
    if "constants.pkl" in names:
        raise _unusable(path, f"it is a TorchScript archive, which holds code; {_EXPORT}")
    if "data.pkl" not in names and path.suffix != ".safetensors":
        raise _unusable(path, "it is a zip archive without weights; unpack it and look inside")


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch puts its reason last, after advice to load unsafely that is not passed on
        reason = str(error).rpartition("WeightsUnpickler error:")[2]
        if _CODE.search(reason):
            raise _unusable(path, f"it holds more than tensors; {_EXPORT}") from None
        raise _unusable(path, "it was not written by torch.save, or it is damaged") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        cause = "it was not written by torch.save, or it is cut off or damaged"
        raise _unusable(path, f"{cause} ({reason})") from None


def _read_safetensors(path: Path) -> Any:
    try:
        load_file = importlib.import_module("safetensors.torch").load_file
    except ImportError:
        raise _unusable(path, "reading it needs a package: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:  # its errors share no base that can be imported
        raise _unusable(path, f"the file is cut off or damaged ({error})") from None


def _stripped(state: State, expected: Collection[str]) -> State:
    """Take off what DataParallel, compile and Lightning put before each name."""
    while not set(state) <= set(expected):
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _faults(state: State, expected: State) -> str:
    """Say in words what does not fit; empty where all does."""
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    reshaped = [
        f"{key} {tuple(state[key].shape)} in place of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = {
        "missing": missing,
        "unexpected": [key for key in state if key not in expected],
        "of another shape": reshaped,
    }
    return "; ".join(
        f"{len(keys)} {kind} ({listed(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in faults.items()
        if keys
    )


def _unusable(path: Path, reason: str) -> PFVValueError:
    return PFVValueError(f"weights={str(path)!r}: {reason}.")
