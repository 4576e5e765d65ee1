"""How a module's output becomes ``(N, C, h, w)``: convolutions, channels last, tokens.

A new kind of output is one entry of ``LAYOUTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

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
        Key of :data:`LAYOUTS`.
    grid
        Height and width of the grid of tokens.
    extra_tokens
        Number of class and register tokens, which come before the grid and have no position.
    """

    kind: str = "maps"
    grid: Grid | None = None
    extra_tokens: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """Return the output as ``(N, C, h, w)``, extra tokens left out."""
        return LAYOUTS[self.kind].maps(output, self)


Guesses = Callable[[Sequence[int], Grid, list[Grid]], Iterable[Layout]]


@dataclass(frozen=True)
class LayoutKind:
    """One entry of :data:`LAYOUTS`.

    Attributes
    ----------
    maps
        Returns an output as ``(N, C, h, w)``, from it and its layout.
    grid
        Which axes of an output of four are height and width.
    usual
        Modules of PyTorch whose outputs of four axes are of this kind.
    guesses
        Returns the layouts of this kind that an output may have, the most plausible one first,
        from its shape, height and width of the images, and the grids seen before, the newest
        first.
    of_recurrent
        Returns the layout of what a recurrent layer gives for each step, from the layer and the
        shape; None: it is of another kind.
    """

    maps: Callable[[Tensor, Layout], Tensor]
    grid: tuple[int, int] | None = None
    usual: tuple[type[nn.Module], ...] = ()
    guesses: Guesses | None = None
    of_recurrent: Callable[[nn.RNNBase, Sequence[int]], Layout | None] | None = None


def _maps_of_tokens(output: Tensor, layout: Layout) -> Tensor:
    assert layout.grid is not None
    positions = output[:, layout.extra_tokens :].transpose(1, 2)
    return positions.reshape(*positions.shape[:2], *layout.grid)


def _guessed_tokens(shape: Sequence[int], image: Grid, grids: list[Grid]) -> Iterator[Layout]:
    if len(shape) != 3:
        return
    tokens = shape[1]
    for grid in grids:
        extra = tokens - grid[0] * grid[1]
        if grid[0] * grid[1] > 1 and 0 <= extra <= _MOST_EXTRA_TOKENS:
            yield Layout("tokens", grid, extra)
    for extra in range(min(_MOST_EXTRA_TOKENS, tokens - 2) + 1):
        positions = tokens - extra
        for height in range(1, positions + 1):
            if positions % height == 0 and _misfit((height, positions // height), image) < 1e-6:
                yield Layout("tokens", (height, positions // height), extra)


LAYOUTS: dict[str, LayoutKind] = {
    # channels before positions
    "maps": LayoutKind(lambda output, _: output, grid=(2, 3)),
    # channels behind positions
    "channels_last": LayoutKind(
        lambda output, _: output.permute(0, 3, 1, 2), grid=(1, 2), usual=(nn.LayerNorm, nn.Linear)
    ),
    # positions in one row, behind class and register tokens, then channels
    "tokens": LayoutKind(
        _maps_of_tokens,
        guesses=_guessed_tokens,
        of_recurrent=lambda layer, shape: (
            Layout("tokens", (1, shape[1])) if layer.batch_first else None
        ),
    ),
    # steps of a recurrent layer before the images, then channels
    "steps_first": LayoutKind(
        lambda output, _: output.permute(1, 2, 0)[:, :, None],
        of_recurrent=lambda layer, _: None if layer.batch_first else Layout("steps_first"),
    ),
}


def recurrent_layout(module: nn.Module, shape: Sequence[int]) -> Layout | None:
    """Return where the steps of a recurrent layer are in its output; None for another output."""
    if not isinstance(module, nn.RNNBase) or len(shape) != 3:
        return None
    layouts = (one.of_recurrent(module, shape) for one in LAYOUTS.values() if one.of_recurrent)
    return next((layout for layout in layouts if layout), None)


def keeps_positions(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's that turn maps ``(N, C, h, w)`` into such maps."""
    return _class_keeps_positions(type(module))  # type: ignore[arg-type] # a class has a hash


@lru_cache(maxsize=256)
def _class_keeps_positions(kind: type) -> bool:
    return any(base.__module__ in _POSITION_MODULES for base in kind.__mro__)


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
            f"gives one value per channel, no positions to colour (shape {shape}). "
            "Choose a layer with feature maps."
        )
    return None


def non_spatial(shape: Sequence[int]) -> str:
    """Say that an output has no positions."""
    return f"gives a non-spatial output of shape {tuple(shape)}. Choose a layer with feature maps."


def possible_layouts(
    shape: Sequence[int], module: nn.Module, image: Grid, grids: Iterable[Grid]
) -> list[Layout]:
    """Return the layouts that an output may have, the most plausible one first.

    An output is ``(N, a, b, c)`` or ``(N, a, b)``. For the usual leaves the module's type settles
    where channels are; the grid of tokens is among those of the maps seen before. Sizes are height
    and width.
    """
    recent = list(dict.fromkeys(reversed(list(grids))))
    if len(shape) == 4:
        return [Layout()] if keeps_positions(module) else _of_grids(shape, module, image, recent)
    guessed = (one.guesses(shape, image, recent) for one in LAYOUTS.values() if one.guesses)
    return list(islice(dict.fromkeys(chain.from_iterable(guessed)), _MOST_LAYOUTS))


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


def _of_grids(
    shape: Sequence[int], module: nn.Module, image: Grid, recent: list[Grid]
) -> list[Layout]:
    """Return the layouts of an output of four axes whose grid fits the images."""
    plain = next(iter(LAYOUTS))

    def rank(name: str) -> tuple[bool, float]:
        again = name == plain and grids[name] in recent
        return type(module) not in LAYOUTS[name].usual, 0 if again else _misfit(grids[name], image)

    grids = {
        name: (shape[one.grid[0]], shape[one.grid[1]]) for name, one in LAYOUTS.items() if one.grid
    }
    plausible = [
        name
        for name, grid in grids.items()
        if grid != (1, 1) and (grid in recent or _fits(grid, image))
    ]
    return [Layout(name) for name in sorted(plausible, key=rank)]


def _fits(grid: Grid, image: Grid) -> bool:
    """Whether a grid may be the image's, up to the rounding of strides."""
    expected = grid[1] * image[0] / image[1]
    return abs(grid[0] - expected) <= 2 or _misfit(grid, image) < 0.1


def _misfit(grid: Grid, image: Grid) -> float:
    """How far a grid's aspect ratio is from the image's, as a factor minus one."""
    ratio = (grid[0] / grid[1]) / (image[0] / image[1])
    return max(ratio, 1 / ratio) - 1
