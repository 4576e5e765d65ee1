"""Numbers that Python needs of tensors: each read waits for an accelerator, so they are few."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def read(*tensors: Tensor) -> list[npt.NDArray[Any]]:
    """Return tensors of one dtype and device as arrays, in one copy."""
    if tensors[0].device.type == "cpu":
        return [one.detach().numpy() for one in tensors]
    flat = torch.cat([one.detach().flatten() for one in tensors]).cpu().numpy()
    ends = np.cumsum([one.numel() for one in tensors])[:-1]
    parts = np.split(flat, ends)
    return [part.reshape(one.shape) for part, one in zip(parts, tensors, strict=True)]
