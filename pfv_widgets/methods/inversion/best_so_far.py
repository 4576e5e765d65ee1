"""What a search tells while it runs, and the best that it found so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.methods.core.method import Cancelled, Progress

# (step, all, pictures uint8 (B, H, W, 3), loss of each)
Preview = Callable[[int, int, np.ndarray, tuple[float, ...]], None]


@dataclass(frozen=True)
class Watch:
    """Who is told what while pictures are looked for."""

    progress: Progress | None = None
    preview: Preview | None = None
    cancelled: Cancelled | None = None
    every: float = 0.2  # seconds between two previews at least


@dataclass(eq=False)
class Found:
    """The best pictures so far.

    Attributes
    ----------
    numbers, pictures
        Of the canvas; the pictures are ``(B, 3, H, W)``, 0 black and 1 white.
    best
        Loss ``(B,)`` of the pictures as they are, not moved.
    losses
        ``(B,)`` for each step made, as it was followed.
    scores
        ``(B,)`` of the goal, of the pictures.
    broken
        Where a loss or a gradient was not finite, bool ``(B,)``.
    silent
        Where nothing of the gradient reached the start, bool ``(B,)``.
    first
        Loss ``(B,)`` of the start.
    last
        The numbers after the last step, which need not be the best.
    stopped
        Whether it was stopped before the last step.
    """

    numbers: Tensor
    best: Tensor
    scores: Tensor
    broken: Tensor
    silent: Tensor
    first: Tensor
    last: Tensor
    pictures: Tensor = field(default_factory=lambda: torch.empty(0))
    losses: list[Tensor] = field(default_factory=list)
    stopped: bool = False

    def keep(self, numbers: Tensor, losses: Tensor) -> None:
        """Take the pictures whose loss, not moved, is the smallest so far; never NaN."""
        better = losses.isfinite() & ~((losses >= self.best) & self.best.isfinite())
        better &= numbers.flatten(1).isfinite().all(1)
        self.best = torch.where(better, losses, self.best)
        self.numbers = torch.where(like(better, numbers), numbers, self.numbers)


def as_shown(pictures: Tensor) -> np.ndarray:
    """Return pictures ``(B, 3, H, W)``, 0 black and 1 white, as uint8 ``(B, H, W, 3)``."""
    levels = (255 * pictures.float().nan_to_num(0.5).clamp(0, 1)).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().contiguous().numpy()


def like(chosen: Tensor, values: Tensor) -> Tensor:
    """Return ``(B,)`` in a shape that broadcasts with ``values`` ``(B, …)``."""
    return chosen.reshape(-1, *[1] * (values.ndim - 1))
