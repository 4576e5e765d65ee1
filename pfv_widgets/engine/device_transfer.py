"""Transfers between Python and an accelerator: each read waits for it, so reads are few.

And memory for large results, which is allocated in another way on each device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = npt.NDArray[Any]


def read(*tensors: Tensor) -> list[Numbers]:
    """Return tensors of one device as arrays, in one copy."""
    if not tensors or tensors[0].device.type == "cpu":
        return [one.detach().numpy() for one in tensors]
    flat = [one.detach().contiguous().flatten().view(torch.uint8) for one in tensors]
    content = torch.cat(flat).cpu().numpy()
    parts = np.split(content, np.cumsum([len(one) for one in flat])[:-1])
    return [
        np.frombuffer(part.tobytes(), _like(one)).reshape(one.shape)
        for part, one in zip(parts, tensors, strict=True)
    ]


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the processor on a device, without waiting for what that computes.

    CUDA's driver has copied memory that is not pinned when it returns.
    """
    return values.to(device, non_blocking=device.type == "cuda")


class Sender:
    """Sends large tensors one after another, each while the device computes with those before.

    CUDA copies pageable memory only after all that was queued before. So a tensor is copied to
    pinned memory, and sent from there on a stream of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        there = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if there else None  # type: ignore[no-untyped-call] # PyTorch's

    def send(self, values: Tensor) -> Tensor:
        """Return a tensor of the processor on the device."""
        if self._stream is None or values.device.type != "cpu":
            return send(values, self._device)
        with torch.cuda.stream(self._stream):
            there = values.pin_memory().to(self._device, non_blocking=True)
        used_by = torch.cuda.current_stream(self._device)
        used_by.wait_stream(self._stream)
        there.record_stream(used_by)
        return there


class PendingRead:
    """A read of a tensor that has begun: it does not wait for what is computed after it."""

    def __init__(self, values: Tensor) -> None:
        there = values.device.type == "cuda"
        self._copy = values.detach().to("cpu", non_blocking=there)
        stream = torch.cuda.current_stream(values.device) if there else None
        self._copied = None if stream is None else stream.record_event()

    def result(self) -> Tensor:
        """Return the tensor on the processor."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copy


def large_empty(like: Tensor, *shape: int) -> Tensor:
    """Return memory of a shape that is written next, with the dtype and device of a tensor.

    On a processor it comes from numpy, which asks Linux for large pages: the first write to as
    many small ones takes three times as long.
    """
    if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
        return like.new_empty(*shape)
    return torch.from_numpy(np.empty(shape, _like(like)))


def select(values: Tensor, indices: Sequence[int], dim: int = 0) -> Tensor:
    """Return a copy of some entries along a dimension, without waiting for an accelerator."""
    return values.index_select(
        dim, send(torch.tensor(list(indices), dtype=torch.int64), values.device)
    )


def _like(tensor: Tensor) -> np.dtype[Any]:
    """Return the type of an array for the numbers of a tensor."""
    return torch.empty(0, dtype=tensor.dtype, device="cpu").numpy().dtype
