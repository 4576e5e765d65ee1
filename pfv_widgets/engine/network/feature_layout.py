"""How a module's output becomes ``(N, C, h, w)``: convolutions, channels last, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

_MOST_EXTRA_TOKENS = 16


@dataclass(frozen=True)
class Layout:
    """Where channels and places stand in an output.

    Attributes
    ----------
    kind
        ``"maps"`` for ``(N, C, h, w)``, ``"channels_last"`` for ``(N, h, w, C)``, ``"tokens"``
        for ``(N, T, C)``, ``"steps_first"`` for the ``(T, N, C)`` of a recurrent layer.
    grid
        Height and width of the grid of tokens.
    extra_tokens
        Number of class and register tokens, which stand before the grid and belong to no place.
    """

    kind: Literal["maps", "channels_last", "tokens", "steps_first"] = "maps"
    grid: tuple[int, int] | None = None
    extra_tokens: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """Return the output as ``(N, C, h, w)``, extra tokens left out."""
        if self.kind == "channels_last":
            return output.permute(0, 3, 1, 2)
        if self.kind == "steps_first":
            return output.permute(1, 2, 0)[:, :, None]
        if self.kind == "tokens":
            assert self.grid is not None
            places = output[:, self.extra_tokens :].transpose(1, 2)
            return places.reshape(*places.shape[:2], *self.grid)
        return output


def find_layout(
    output: object,
    module: nn.Module,
    example: Tensor,
    grids: Sequence[tuple[int, int]],
    *,
    moved: bool = False,
) -> tuple[Layout, tuple[int, int, int]] | str:
    """Return the layout and ``(C, h, w)`` of an output, or why it has no places.

    Parameters
    ----------
    output
        What the module returned.
    module
        The module: the type settles where channels stand for the usual leaves.
    example
        The images that ran, ``(N, 3, H, W)``.
    grids
        Height and width of the maps seen before: the grid of the tokens is among them.
    moved
        Whether the output may be a rearrangement of the input; then a new grid is a
        partition into windows and no grid of places.
    """
    if not isinstance(output, Tensor):
        return f"gives a {type(output).__name__}, not one tensor. Choose a layer inside it."
    shape = tuple(output.shape)
    if not output.is_floating_point() or output.is_quantized:
        return f"gives values of type {output.dtype}. Choose a layer with real numbers."
    layout = None
    if output.ndim in (3, 4) and shape[0] == example.shape[0] and 0 not in shape:
        of = _of_tokens if output.ndim == 3 else _of_maps
        layout = of(shape, module, example, grids)
    if layout is None:
        return f"gives a non-spatial output of shape {shape}. Choose one of pfv.layers."
    channels, height, width = (int(length) for length in layout.maps(output).shape[1:])
    windows = moved and (height, width) not in grids and not isinstance(module, nn.PixelShuffle)
    if height * width == 1 or windows:
        reason = "windows, no grid of places" if windows else "one value a channel, no places"
        return f"gives {reason} to colour (shape {shape}). Choose one of pfv.layers."
    return layout, (channels, height, width)


def _of_maps(
    shape: tuple[int, ...],
    module: nn.Module,
    example: Tensor,
    grids: Sequence[tuple[int, int]],
) -> Layout | None:
    if type(module).__module__.rpartition(".")[2] in ("conv", "pooling", "batchnorm"):
        return Layout()
    last, first = shape[1:3], shape[2:4]
    nearer = first in grids or _misfit(first, example) <= _misfit(last, example)
    if nearer and type(module) not in (nn.LayerNorm, nn.Linear):
        return Layout() if first in grids or _fits(first, example) else None
    return Layout("channels_last") if last in grids or _fits(last, example) else None


def _of_tokens(
    shape: tuple[int, ...],
    _: nn.Module,
    example: Tensor,
    grids: Sequence[tuple[int, int]],
) -> Layout | None:
    tokens = shape[1]
    for grid in reversed(grids):
        extra = tokens - grid[0] * grid[1]
        if grid[0] * grid[1] > 1 and 0 <= extra <= _MOST_EXTRA_TOKENS:
            return Layout("tokens", grid, extra)
    for extra in range(min(_MOST_EXTRA_TOKENS, tokens - 2) + 1):
        places = tokens - extra
        for height in range(1, places + 1):
            if places % height == 0 and _misfit((height, places // height), example) < 1e-6:
                return Layout("tokens", (height, places // height), extra)
    return None


def _fits(grid: tuple[int, ...], example: Tensor) -> bool:
    """Whether a grid may be the image's, up to the rounding of strides."""
    expected = grid[1] * example.shape[2] / example.shape[3]
    return abs(grid[0] - expected) <= 2 or _misfit(grid, example) < 0.1


def _misfit(grid: tuple[int, ...], example: Tensor) -> float:
    """How far a grid's aspect ratio is from the image's, as a factor minus one."""
    ratio = (grid[0] / grid[1]) / (example.shape[2] / example.shape[3])
    return max(ratio, 1 / ratio) - 1
