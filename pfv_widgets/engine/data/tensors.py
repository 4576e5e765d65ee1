"""Tensors that come from the user: given as they are, or made by the user's transform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pfv_widgets.engine.data.normalisation import steps_of
from pfv_widgets.errors import GREY, PFVTypeError, PFVValueError
from pfv_widgets.validation import check_dense

Transform = Callable[..., Any]
"""From an RGB PIL image, or a (3,H,W) tensor in [0, 1], to a float tensor (3,H,W)."""


def stacked(source: object) -> Tensor | None:
    """Return a tensor, or a list of tensors of one shape, as one; None for anything else."""
    if isinstance(source, Tensor):
        return source
    if not isinstance(source, list | tuple):
        return None
    tensors = [entry for entry in source if isinstance(entry, Tensor)]
    for tensor in tensors:
        check_dense(tensor, "source")
    if not tensors or len(tensors) < len(source):
        return None
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise PFVValueError(f"source: tensors of shapes {shapes[:5]}; resize them to one shape.")
    return torch.stack(tensors)


def checked_tensor(tensor: Tensor) -> Tensor:
    """Return a float32 (N,3,H,W) copy on the CPU."""
    check_dense(tensor, "source")
    what = f"source: a tensor of shape {tuple(tensor.shape)} and {tensor.dtype}"
    if not tensor.is_floating_point():
        raise PFVTypeError(
            f"{what}: expected floats, normalised as the network wants them; divide by 255 and "
            "normalise, or give the pictures as a uint8 array (N, H, W, 3)."
        )
    batch = tensor.unsqueeze(0) if tensor.ndim == 3 else tensor
    if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
        last = batch.ndim == 4 and batch.shape[3] == 3
        one = batch.ndim == 4 and batch.shape[1] == 1
        fix = "; the channels come first here: tensor.permute(0, 3, 1, 2)" if last else ""
        three = "; make grey into three channels: tensor.expand(-1, 3, -1, -1)"
        fix = f"{three}; a network of one channel averages them again as {GREY}" if one else fix
        raise PFVValueError(f"{what}: expected (N, 3, H, W) or (3, H, W), none of them 0{fix}.")
    if not torch.isfinite(batch).all():
        raise PFVValueError(f"{what}: it holds NaN or infinite values; see torch.nan_to_num.")
    return batch.detach().to("cpu", torch.float32, copy=True).contiguous()


def crops(transform: Transform) -> bool:
    """Whether a transform cuts the middle out of pictures, as torchvision's networks need it."""
    steps = [transform, *(steps_of(transform) or ())]
    return any(type(one).__name__ == "CenterCrop" or hasattr(one, "crop_size") for one in steps)


def applied(transform: Transform, image: Image.Image | Tensor, name: str) -> Tensor:
    """Give one image to the user's transform: float32 (3,H,W) on the CPU."""
    try:
        result = transform(image)
    except Exception as error:  # the transform is the user's code and may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise PFVValueError(f"transform failed on {name!r}: {reason}.") from error
    legal = "expected a finite float tensor (3, H, W), as after ToTensor and Normalize"
    if not isinstance(result, Tensor):
        raise PFVTypeError(f"transform gave {type(result).__name__} for {name!r}: {legal}.")
    if result.is_nested or result.is_meta or result.layout is not torch.strided:
        raise PFVTypeError(f"transform gave a tensor without dense numbers for {name!r}: {legal}.")
    empty = 0 in result.shape
    if result.ndim != 3 or result.shape[0] != 3 or empty or not result.is_floating_point():
        shape = tuple(result.shape)
        raise PFVValueError(f"transform gave {result.dtype} {shape} for {name!r}: {legal}.")
    if not torch.isfinite(result).all():
        raise PFVValueError(f"transform gave NaN or infinite values for {name!r}: {legal}.")
    return result.detach().to("cpu", torch.float32)


def of_one_shape(tensors: Sequence[Tensor], names: Sequence[str]) -> Tensor:
    """Stack what a transform gave to (N,3,H,W)."""
    for tensor, name in zip(tensors, names, strict=True):
        if tensor.shape != tensors[0].shape:
            raise PFVValueError(
                f"transform gave {tuple(tensor.shape)} for {name!r} and "
                f"{tuple(tensors[0].shape)} for {names[0]!r}: make it end at one size, as "
                "Resize with CenterCrop does."
            )
    return torch.stack(list(tensors))
