"""PyTorch's modes that a caller may have chosen, and those that this package computes in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch

# devices that have a switch of their own
_AUTOCAST = tuple(filter(torch.amp.is_autocast_available, ("cpu", "cuda", "mps")))


class _Devices(threading.local):
    """Where networks that run in this thread make tensors; None: on the processor."""

    caller: torch.device | None = None  # the default device that the caller has chosen
    network: torch.device | None = None  # of a copy, whose owner has it on the processor


_DEVICES = _Devices()


@contextmanager
def own_modes() -> Iterator[None]:
    """Compute without gradients, in the types that tensors have, and where they are.

    What a caller has chosen for computations of its own would change these: inference mode makes
    results that nobody may write to, ``torch.autocast`` computes in 16 bits, and
    ``torch.set_default_device`` makes tensors elsewhere. Can be used as a decorator.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in _AUTOCAST:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        default = torch.get_default_device()
        if default.type != "cpu":
            stack.enter_context(_on_processor(default))
        yield


@contextmanager
def networks_device(device: torch.device | None) -> Iterator[None]:
    """Let the network that runs next make its tensors on this device; None: as its caller does."""
    before, _DEVICES.network = _DEVICES.network, device
    try:
        yield
    finally:
        _DEVICES.network = before


@contextmanager
def callers_device() -> Iterator[None]:
    """Run a network as its owner does: what it makes without naming a device is made there.

    A copy on another device makes it on that: its owner's network makes it where its weights are.
    """
    device = _DEVICES.network or _DEVICES.caller
    with nullcontext() if device is None else torch.device(device):
        yield


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Compute with PyTorch's own kernels, in all threads: it has one switch for the process."""
    before, torch.backends.cudnn.enabled = torch.backends.cudnn.enabled, False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


@contextmanager
def _on_processor(default: torch.device) -> Iterator[None]:
    before, _DEVICES.caller = _DEVICES.caller, default
    try:
        with torch.device("cpu"):
            yield
    finally:
        _DEVICES.caller = before
