"""Gradient descent, written out: Adam and momentum, each row of numbers by itself."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

_MOMENTUM = 0.9
_BETAS = (0.9, 0.99)
# length of a step at rate 1: of waves and of pixels (shares of the way from black to white)
_RATES = {
    ("adam", "fourier"): 0.025, ("adam", "pixels"): 0.02,
    ("momentum", "fourier"): 0.01, ("momentum", "pixels"): 0.004,
}  # fmt: skip
_LAST = 0.1  # share of the rate that is left at the end
_SMALLEST = 1e-18  # instead of a division by zero; its square is still a float32


class Descent(Protocol):
    """How numbers ``(B, …)`` follow their gradient."""

    def step(self, numbers: Tensor, gradient: Tensor, rate: float) -> Tensor:
        """Return the numbers after one step."""


class Adam:
    """Steps of one length for each number, by its own history (Kingma, Ba 2015)."""

    def __init__(self) -> None:
        self._mean = self._square = torch.zeros(())
        self._count = 0

    def step(self, numbers: Tensor, gradient: Tensor, rate: float) -> Tensor:
        """Return the numbers after one step of the length ``rate``."""
        first, second = _BETAS
        self._count += 1
        self._mean = first * self._mean.to(gradient) + (1 - first) * gradient
        self._square = second * self._square.to(gradient) + (1 - second) * gradient.square()
        mean = self._mean / (1 - first**self._count)
        spread = (self._square / (1 - second**self._count)).sqrt()
        return numbers - rate * mean / spread.clamp(min=_SMALLEST)


class Momentum:
    """Gradient descent with momentum 0.9; each row's gradient is brought to one length.

    Networks differ in the size of their activations by a factor of thousands, and so do their
    gradients: without that no rate would fit two of them.
    """

    def __init__(self) -> None:
        self._velocity = torch.zeros(())

    def step(self, numbers: Tensor, gradient: Tensor, rate: float) -> Tensor:
        """Return the numbers after one step; ``rate`` is its root mean square without momentum."""
        length = gradient.flatten(1).square().mean(1).sqrt()
        length = length.reshape(-1, *[1] * (gradient.ndim - 1)).clamp(min=_SMALLEST)
        self._velocity = _MOMENTUM * self._velocity.to(gradient) - rate * gradient / length
        return numbers + self._velocity


def descent_of(optimiser: str) -> Descent:
    """Return a new descent by its name."""
    return Adam() if optimiser == "adam" else Momentum()


def rate_at(step: int, steps: int, optimiser: str, parametrisation: str) -> float:
    """Return the length of a step: it falls to a tenth over the last half, to let noise settle."""
    over = max(0.0, 2 * (step + 1) / steps - 1)
    fall = _LAST + (1 - _LAST) * (1 + math.cos(math.pi * over)) / 2
    return _RATES[optimiser, parametrisation] * fall
