"""How a module's output becomes ``(N, C, h, w)``: convolutions, channels last, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import Tensor, nn

Grid = tuple[int, int]

_MOST_EXTRA_TOKENS = 16
_MOST_LAYOUTS = 4
_POSITION_MODULES = {
    f"torch.nn.modules.{name}"
    for name in ("conv", "pooling", "batchnorm", "instancenorm", "upsampling", "pixelshuffle")
}


@dataclass(frozen=True)
class Layout:
    """Where channels and positions are in an output.

    Attributes
    ----------
    kind
        ``"maps"`` for ``(N, C, h, w)``, ``"channels_last"`` for ``(N, h, w, C)``, ``"tokens"``
        for ``(N, T, C)``, ``"steps_first"`` for the ``(T, N, C)`` of a recurrent layer.
    grid
        Height and width of the grid of tokens.
    extra_tokens
        Number of class and register tokens, which come before the grid and have no position.
    """

    kind: Literal["maps", "channels_last", "tokens", "steps_first"] = "maps"
    grid: Grid | None = None
    extra_tokens: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """Return the output as ``(N, C, h, w)``, extra tokens left out."""
        if self.kind == "channels_last":
            return output.permute(0, 3, 1, 2)
        if self.kind == "steps_first":
            return output.permute(1, 2, 0)[:, :, None]
        if self.kind == "tokens":
            assert self.grid is not None
            positions = output[:, self.extra_tokens :].transpose(1, 2)
            return positions.reshape(*positions.shape[:2], *self.grid)
        return output


def keeps_positions(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's that turn maps ``(N, C, h, w)`` into such maps."""
    return any(base.__module__ in _POSITION_MODULES for base in type(module).__mro__)


def is_elementwise(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's activations or dropouts, or does nothing."""
    names = ("torch.nn.modules.activation", "torch.nn.modules.dropout")
    own = type(module).__module__ in names and not isinstance(module, nn.MultiheadAttention)
    return own or isinstance(module, nn.Identity)


def refusal(output: object, count: int) -> str | None:
    """Return why an output is no map of ``count`` images whatever its layout, else None."""
    if not isinstance(output, Tensor):
        return f"gives a {type(output).__name__}, not one tensor. Choose a layer inside it."
    if output.is_quantized or not output.is_floating_point():
        return f"gives values of type {output.dtype}. Choose a layer with real numbers."
    shape = tuple(output.shape)
    if output.ndim not in (3, 4) or shape[0] != count or 0 in shape:
        return non_spatial(shape)
    if output.ndim == 4 and shape[2:] == (1, 1):
        return (
            f"gives one value a channel, no positions to colour (shape {shape}). "
            "Choose one of pfv.layers."
        )
    return None


def non_spatial(shape: Sequence[int]) -> str:
    """Say that an output has no positions."""
    return f"gives a non-spatial output of shape {tuple(shape)}. Choose one of pfv.layers."


def possible_layouts(
    shape: Sequence[int], module: nn.Module, image: Grid, grids: Iterable[Grid]
) -> list[Layout]:
    """Return the layouts that an output may have, the most plausible one first.

    Parameters
    ----------
    shape
        Of the output: ``(N, a, b, c)`` or ``(N, a, b)``.
    module
        The module: the type settles where channels are for the usual leaves.
    image
        Height and width of the images.
    grids
        Height and width of the maps seen before: the grid of tokens is among them.
    """
    recent = list(dict.fromkeys(reversed(list(grids))))
    if len(shape) == 3:
        return list(islice(dict.fromkeys(_of_tokens(shape[1], image, recent)), _MOST_LAYOUTS))
    if keeps_positions(module):
        return [Layout()]
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    plausible = {
        layout: grid != (1, 1) and (grid in recent or _fits(grid, image))
        for layout, grid in ((Layout(), first), (Layout("channels_last"), last))
    }
    nearer = first in recent or _misfit(first, image) <= _misfit(last, image)
    order = list(plausible)
    if not nearer or type(module) in (nn.LayerNorm, nn.Linear):
        order.reverse()
    return [layout for layout in order if plausible[layout]]


def guess_layout(
    output: object, module: nn.Module, example: Tensor, grids: Iterable[Grid]
) -> Layout | str:
    """Return the most plausible layout of an output by its shape alone, or why it is no map.

    ``example`` are the images that ran, ``(N, 3, H, W)``.
    """
    reason = refusal(output, len(example))
    if reason is not None:
        return reason
    assert isinstance(output, Tensor)
    shape, image = tuple(output.shape), (example.shape[2], example.shape[3])
    layouts = possible_layouts(shape, module, image, grids)
    return layouts[0] if layouts else non_spatial(shape)


def _of_tokens(tokens: int, image: Grid, grids: list[Grid]) -> Iterator[Layout]:
    for grid in grids:
        extra = tokens - grid[0] * grid[1]
        if grid[0] * grid[1] > 1 and 0 <= extra <= _MOST_EXTRA_TOKENS:
            yield Layout("tokens", grid, extra)
    for extra in range(min(_MOST_EXTRA_TOKENS, tokens - 2) + 1):
        positions = tokens - extra
        for height in range(1, positions + 1):
            if positions % height == 0 and _misfit((height, positions // height), image) < 1e-6:
                yield Layout("tokens", (height, positions // height), extra)


def _fits(grid: Grid, image: Grid) -> bool:
    """Whether a grid may be the image's, up to the rounding of strides."""
    expected = grid[1] * image[0] / image[1]
    return abs(grid[0] - expected) <= 2 or _misfit(grid, image) < 0.1


def _misfit(grid: Grid, image: Grid) -> float:
    """How far a grid's aspect ratio is from the image's, as a factor minus one."""
    ratio = (grid[0] / grid[1]) / (image[0] / image[1])
    return max(ratio, 1 / ratio) - 1
