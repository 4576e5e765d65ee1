"""An image as parameters of gradient descent: pixels, or waves in decorrelated colours."""

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
class ImageParametrisation:
    """Images of one size as parameters, and how the network takes them.

    Attributes
    ----------
    kind
        ``"fourier"``: the amplitudes of waves, in decorrelated colours, through a sigmoid
        (Olah et al. 2017). A wave of k cycles moves by 1/k of what one of a single cycle does,
        as in photos. ``"pixels"``: the pixels themselves, not bounded, as in FeatureVis.
    size
        Height and width.
    normalisation
        The one between images in [0, 1] and what the network takes.
    device
        Where the parameters lie.
    """

    kind: str
    size: tuple[int, int]
    normalisation: Normalisation
    device: torch.device

    def noise(self, seeds: Sequence[int], contrast: float = 1.0) -> Tensor:
        """Return parameters of noise to start from, an image a seed: the same on any device."""
        height, width = self.size
        shape = (3, height, width)
        if self.kind == "fourier":
            shape = (3, height, width // 2 + 1, 2)  # type: ignore[assignment]
        noises = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        noise = torch.stack(noises).to(self.device)
        if self.kind == "fourier":
            return contrast * _CONTRAST / math.log(max(self.size) + 1) * noise
        mean, _ = self.normalisation.columns(noise)
        return mean + contrast * _GRAIN * noise

    def parameters(self, images: Tensor) -> Tensor:
        """Return the parameters of images ``(B, 3, H, W)`` in [0, 1]."""
        if self.kind == "pixels":
            return images.clone()
        logits = torch.logit(images, eps=_EDGE)
        plain = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self._colours), logits)
        waves: Tensor = torch.fft.rfft2(plain, norm="forward")
        return torch.view_as_real(waves / self._amplitudes)

    def images(self, parameters: Tensor) -> Tensor:
        """Return the images ``(B, 3, H, W)``, 0 black and 1 white; can be differentiated."""
        if self.kind == "pixels":
            return parameters
        waves = torch.view_as_complex(parameters) * self._amplitudes
        plain = torch.fft.irfft2(waves, s=self.size, norm="forward")
        return torch.einsum("ij,bjhw->bihw", self._colours, plain).sigmoid()

    def normalised(self, images: Tensor) -> Tensor:
        """Return images as the network takes them."""
        return self.normalisation.apply(images)

    def grey_levels(self, images: Tensor) -> Tensor:
        """Return images in grey levels about the network's mean colour, as FeatureVis does."""
        mean, _ = self.normalisation.columns(images)
        return 255 * (images - mean)

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
