"""Masks that say where the object of each photo is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import plain


def checked_masks(masks: Any, batch: ImageBatch) -> Tensor | None:
    """Return where the object is, float ``(N, H, W)`` of 0 and 1; None without masks."""
    if masks is None:
        return None
    try:
        values = torch.as_tensor(np.asarray(plain(masks), dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise PFVTypeError(
            f"masks: expected an array (N, H, W) of numbers, got {type(masks).__name__} "
            f"({error!s:.60})."
        ) from error
    expected = (len(batch), *batch.size)
    if tuple(values.shape) != expected:
        raise PFVValueError(
            f"masks of shape {tuple(values.shape)}: expected {expected}, one mask of the size of "
            "the images for each."
        )
    if not bool(torch.isfinite(values).all()):
        raise PFVValueError("masks: they hold NaN or infinite values. Give 0 and 1.")
    return (values > 0.5).float()
