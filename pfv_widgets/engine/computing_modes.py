"""PyTorch's modes that a caller may have chosen, and those that this package computes in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch

# devices that have a switch of their own
_AUTOCAST = tuple(filter(torch.amp.is_autocast_available, ("cpu", "cuda", "mps")))


class _CallersDevice(threading.local):
    """The default device that the caller of this thread has chosen; None: the processor."""

    device: torch.device | None = None


_CALLER = _CallersDevice()


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
def callers_device() -> Iterator[None]:
    """Run a network as its owner does: what it makes without naming a device is made there."""
    device = _CALLER.device
    with nullcontext() if device is None else torch.device(device):
        yield


@contextmanager
def _on_processor(default: torch.device) -> Iterator[None]:
    before, _CALLER.device = _CALLER.device, default
    try:
        with torch.device("cpu"):
            yield
    finally:
        _CALLER.device = before
