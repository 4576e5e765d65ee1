"""Adam and momentum of torch.optim, for a batch of images that do not depend on each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

OPTIMISERS = ("adam", "momentum")
_MOMENTUM = 0.9
_BETAS = (0.9, 0.99)
# length of a step at rate 1: of waves and of pixels (shares of the way from black to white)
_RATES = {
    ("adam", "fourier"): 0.025, ("adam", "pixels"): 0.02,
    ("momentum", "fourier"): 0.01, ("momentum", "pixels"): 0.004,
}  # fmt: skip
_LAST = 0.1  # share of the rate that is left at the end
_SMALLEST = 1e-18  # instead of a division by zero; its square is still a float32


class Optimiser:
    """The state of Adam (Kingma, Ba 2015), or of gradient descent with momentum 0.9.

    torch.optim's functional form: its classes import torch's compiler at their first use, which
    takes seconds.

    Parameters
    ----------
    name
        One of ``OPTIMISERS``.
    parameters
        ``(B, …)``; changed in place by each step, every row by its own gradient alone.
    """

    def __init__(self, name: str, parameters: Tensor) -> None:
        self.parameters, self._is_adam = parameters, name == "adam"
        self._mean, self._square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._count = torch.tensor(0.0)
        self._velocity: list[Tensor | None] = [None]

    def step(self, gradient: Tensor, rate: float) -> None:
        """Make one step; ``rate`` is its length, with momentum the root mean square of a first one.

        With momentum each row's gradient is brought to one length: networks differ in the size
        of their activations by a factor of thousands, and so do their gradients, so that no rate
        would fit two of them.
        """
        with torch.no_grad():
            if self._is_adam:
                adam(
                    [self.parameters], [gradient], [self._mean], [self._square], [], [self._count],
                    foreach=False, amsgrad=False, beta1=_BETAS[0], beta2=_BETAS[1], lr=rate,
                    weight_decay=0.0, eps=_SMALLEST, maximize=False,
                )  # fmt: skip
                return
            length = gradient.flatten(1).square().mean(1).sqrt().clamp(min=_SMALLEST)
            # the rate is part of the velocity, as in FeatureVis: a falling one ends smoothly
            gradient = rate * gradient / length.reshape(-1, *[1] * (gradient.ndim - 1))
            sgd(
                [self.parameters], [gradient], self._velocity, foreach=False, weight_decay=0.0,
                momentum=_MOMENTUM, lr=1.0, dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip


def rate_at(step: int, steps: int, optimiser: str, parametrisation: str) -> float:
    """Return the length of a step: it falls to a tenth over the last half, to let noise settle."""
    over = max(0.0, 2 * (step + 1) / steps - 1)
    fall = _LAST + (1 - _LAST) * (1 + math.cos(math.pi * over)) / 2
    return _RATES[optimiser, parametrisation] * fall
