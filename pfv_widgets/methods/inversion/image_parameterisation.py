"""A picture as numbers that gradient descent can move: pixels, or waves in decorrelated colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.data.normalisation import Normalisation

PARAMETRISATIONS = ("fourier", "pixels")

# Rows red, green, blue: how far each moves along the three colour axes of photos. Eigenvectors,
# times deviation, of the logits of all pixels of 52 ImageNet photos at 128×128; brightness varies
# 2.7 times as much as yellow–blue and 5.3 times as much as green–purple.
_COLOURS = ((1.382, 0.631, 0.211), (1.354, 0.095, -0.386), (1.550, -0.646, 0.149))
_LARGEST = 2.479  # the deviation along the first
_CONTRAST = 0.35  # of the waves of a start, before the sigmoid
_GRAIN = 0.04  # deviation of the pixels of a start, of the way from black to white
_EDGE = 1 / 510  # half a grey level: nothing is blacker or whiter, where the logit ends


@dataclass(frozen=True, eq=False)
class Canvas:
    """Pictures of one size, and how the network takes them.

    Attributes
    ----------
    parametrisation
        ``"fourier"``: the amplitudes of waves, in decorrelated colours, through a sigmoid
        (Olah et al. 2017). A wave of k cycles moves by 1/k of what one of a single cycle does,
        as in photos. ``"pixels"``: the pixels themselves, not bounded, as in FeatureVis.
    size
        Height and width.
    by
        The normalisation that takes pictures to what the network takes.
    device
        Where the numbers lie.
    """

    parametrisation: str
    size: tuple[int, int]
    by: Normalisation
    device: torch.device

    def start(self, seeds: Sequence[int], contrast: float = 1.0) -> Tensor:
        """Return noise to start from, a picture a seed: the same one on any device."""
        height, width = self.size
        shape = (3, height, width)
        if self.parametrisation == "fourier":
            shape = (3, height, width // 2 + 1, 2)  # type: ignore[assignment]
        noises = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        noise = torch.stack(noises).to(self.device)
        if self.parametrisation == "fourier":
            return contrast * _CONTRAST / math.log(max(self.size) + 1) * noise
        mean, _ = self.by.columns(noise)
        return mean + contrast * _GRAIN * noise

    def numbers_of(self, pictures: Tensor) -> Tensor:
        """Return the numbers that give pictures ``(B, 3, H, W)`` in [0, 1]."""
        if self.parametrisation == "pixels":
            return pictures.clone()
        logits = torch.logit(pictures, eps=_EDGE)
        plain = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self._colours), logits)
        waves: Tensor = torch.fft.rfft2(plain, norm="forward")
        return torch.view_as_real(waves / self._amplitudes)

    def paint(self, numbers: Tensor) -> Tensor:
        """Return the pictures ``(B, 3, H, W)``, 0 black and 1 white; can be differentiated."""
        if self.parametrisation == "pixels":
            return numbers
        waves = torch.view_as_complex(numbers) * self._amplitudes
        plain = torch.fft.irfft2(waves, s=self.size, norm="forward")
        return torch.einsum("ij,bjhw->bihw", self._colours, plain).sigmoid()

    def taken(self, pictures: Tensor) -> Tensor:
        """Return pictures as the network takes them."""
        return self.by.apply(pictures)

    def levels(self, pictures: Tensor) -> Tensor:
        """Return pictures in grey levels about the network's mean colour, as FeatureVis does."""
        mean, _ = self.by.columns(pictures)
        return 255 * (pictures - mean)

    @property
    def _colours(self) -> Tensor:
        return torch.tensor(_COLOURS, device=self.device) / _LARGEST

    @property
    def _amplitudes(self) -> Tensor:
        """Return the amplitude ``(H, W // 2 + 1)`` of each wave: one over its cycles."""
        height, width = self.size
        longest = max(height, width)
        down = longest * torch.fft.fftfreq(height, device=self.device)
        across = longest * torch.fft.rfftfreq(width, device=self.device)
        return 1 / torch.hypot(down[:, None], across[None]).clamp(min=1)
