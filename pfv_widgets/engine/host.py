"""Numbers that Python needs of tensors: each read waits for an accelerator, so they are few."""

from __future__ import annotations

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


def _like(tensor: Tensor) -> np.dtype[Any]:
    """Return the type of an array for the numbers of a tensor."""
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype
