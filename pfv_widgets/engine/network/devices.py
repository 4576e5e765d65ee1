"""Where a network runs: the device that is chosen, and copies of networks, there and elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.network.capture import named_parameters
from pfv_widgets.engine.network.fingerprint import modules_of
from pfv_widgets.errors import PFVValueError, first_line
from pfv_widgets.parameters import listed

_COPIED_TO = "_pfv_copied_to"  # attribute of a copy's root: the name of its device


def choose_device(model: nn.Module, device: str | torch.device = "auto") -> torch.device:
    """Return where to run; ``"auto"``: on the model's own accelerator, else on the best device."""
    if str(device) == "auto":
        return _automatic_device(model)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        # of CUDA PyTorch says what is missing, of others which backends it was built with
        reason = f" ({first_line(error)})" if str(device).startswith("cuda") else ""
        raise PFVValueError(
            f"device={device!r} is not available on this machine{reason}: choose "
            f"{listed(available_devices(), ' or ')}."
        ) from error
    if chosen.type == "meta":
        raise PFVValueError("device='meta' holds no numbers. Choose 'cpu', 'cuda' or 'mps'.")
    return chosen


def available_devices() -> tuple[str, ...]:
    """Names that ``device`` takes on this machine, ``"auto"`` first."""
    available = ["auto", "cpu"]
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    return tuple(available)


@own_modes()
def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model on ``device``: itself where it is there already, else a copy.

    The user's own module never moves. A copy holds all tensors that are attributes of modules on
    its device, or in a list or dictionary that is one, also those that no module has registered.
    What its forward pass makes without naming a device is made there (see :func:`copied_to`): on
    the processor, where the owner runs the network, both are in the same place. What is to stay on
    the processor beside a GPU is not told from it.

    Raises
    ------
    PFVValueError
        Where it has parts that cannot be copied.
    """
    tensors = (one for _, one in named_parameters(model))
    here = {one.device for one in tensors} or {one.device for one in model.buffers()}
    if len(here) != 1 or _same_device(next(iter(here)), device):
        return model
    try:
        moved = copy.deepcopy(model, _moved_tensors(model, device))
        owned = set(map(id, modules_of(model)))
        if own := [one for one in modules_of(moved) if id(one) in owned]:
            raise TypeError(f"{type(own[0]).__name__} is itself when it is copied")
        moved.to(device)
    except Exception as error:  # parts may have ways of their own to be copied
        raise PFVValueError(
            f"model: it could not be copied to {device} ({first_line(error)}). "
            f"Move it there yourself with model.to({str(device)!r}), or pass device='cpu'."
        ) from error
    vars(moved)[_COPIED_TO] = str(device)
    return moved


def copied_to(model: nn.Module) -> torch.device | None:
    """Return the device that :func:`on_device` copied a model to, or a part of it; else None."""
    for module in modules_of(model):
        if _COPIED_TO in vars(module):
            device = torch.device(vars(module)[_COPIED_TO])
            tensors = chain(module.parameters(), module.buffers())
            here = next((one.device for one in tensors), device)
            return device if _same_device(here, device) else None  # it may have been moved since
    return None


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of the model, also where it keeps results such as pruned weights.

    Raises
    ------
    PFVValueError
        Where it has parts that cannot be copied.
    """
    tensors = chain.from_iterable(map(_tensors_of, modules_of(model)))
    results: dict[int, Any] = {}
    try:
        results |= {id(one): one.detach().clone() for one in tensors if not one.is_leaf}
        return copy.deepcopy(model, results)
    except Exception as error:  # the user's classes may raise anything
        raise PFVValueError(
            f"model={type(model).__name__}: it could not be copied ({first_line(error):.120}). "
            "Give a network all parts of which can be copied."
        ) from error


def _moved_tensors(model: nn.Module, device: torch.device) -> dict[int, Any]:
    """Return copies of the model's tensors by the ids of these, as ``copy.deepcopy`` takes them.

    So none is copied twice, nor are gradients. Other kinds of tensors are left to it.
    """
    copies: dict[int, Any] = {}
    held: list[Tensor] = []
    copies[id(copies)] = held  # as it does itself: an id is of one object as long as that lives
    for value in chain.from_iterable(map(_tensors_of, modules_of(model))):
        if id(value) in copies or value.is_meta:
            continue
        there = value.detach().to(device, copy=True)
        is_parameter = isinstance(value, nn.Parameter)
        copies[id(value)] = nn.Parameter(there, value.requires_grad) if is_parameter else there
        held.append(value)
    return copies


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Yield parameters, buffers, and tensors that are attributes or in a list or dictionary."""
    for value in list(vars(module).values()):
        values = value.values() if isinstance(value, dict) else value
        several = list(values) if isinstance(value, dict | list | tuple) else [value]
        yield from (one for one in several if type(one) in (Tensor, nn.Parameter))


def _automatic_device(model: nn.Module) -> torch.device:
    devices = [one.device for one in chain(model.parameters(), model.buffers())]
    elsewhere = next((one for one in devices if one.type != "cpu"), None)
    if elsewhere is not None:
        return elsewhere
    if not devices or any(map(_is_quantised, modules_of(model))):
        return torch.device("cpu")
    return torch.device(available_devices()[-1] if len(available_devices()) > 2 else "cpu")


def _is_quantised(module: nn.Module) -> bool:
    """Whether it computes in integers, which PyTorch does on a processor alone."""
    return ".quantized." in f"{type(module).__module__}."


def _same_device(here: torch.device, there: torch.device) -> bool:
    return here.type == there.type and there.index in (None, here.index)
