"""A picture as numbers that gradient descent can move: pixels, or waves in decorrelated colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Normalisation

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
    mean, deviation
        ``(3, 1, 1)``: what the network takes is ``(picture − mean) / deviation``.
    """

    parametrisation: str
    size: tuple[int, int]
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(
        cls,
        parametrisation: str,
        size: tuple[int, int],
        by: Normalisation | None,
        device: torch.device,
    ) -> Canvas:
        """Return a canvas on a device; ``by`` None: ImageNet's mean and deviation."""
        if by is None:
            by = (_column(IMAGENET_MEAN), _column(IMAGENET_STD))
        return cls(parametrisation, size, by[0].to(device), by[1].to(device))

    def start(self, seeds: Sequence[int], contrast: float = 1.0) -> Tensor:
        """Return noise to start from, a picture a seed: the same one on any device."""
        height, width = self.size
        shape = (3, height, width)
        if self.parametrisation == "fourier":
            shape = (3, height, width // 2 + 1, 2)  # type: ignore[assignment]
        noises = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        noise = torch.stack(noises).to(self.mean.device)
        if self.parametrisation == "fourier":
            return contrast * _CONTRAST / math.log(max(self.size) + 1) * noise
        return self.mean + contrast * _GRAIN * noise

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
        return (pictures - self.mean) / self.deviation

    def levels(self, pictures: Tensor) -> Tensor:
        """Return pictures in grey levels about the network's mean colour, as FeatureVis does."""
        return 255 * (pictures - self.mean)

    @property
    def _colours(self) -> Tensor:
        return torch.tensor(_COLOURS, device=self.mean.device) / _LARGEST

    @property
    def _amplitudes(self) -> Tensor:
        """Return the amplitude ``(H, W // 2 + 1)`` of each wave: one over its cycles."""
        height, width = self.size
        longest = max(height, width)
        down = longest * torch.fft.fftfreq(height, device=self.mean.device)
        across = longest * torch.fft.rfftfreq(width, device=self.mean.device)
        return 1 / torch.hypot(down[:, None], across[None]).clamp(min=1)


def normalisation_behind(pixels: Tensor, tensor: Tensor) -> Normalisation | None:
    """Find the mean and deviation by which pictures were normalised, channel by channel.

    Parameters
    ----------
    pixels
        uint8 ``(N, H, W, 3)`` as shown.
    tensor
        ``(N, 3, H, W)`` as run.

    Returns
    -------
    tuple
        ``(3, 1, 1)`` each; None where the two are not related by such a normalisation.
    """
    given = tensor.double().transpose(0, 1).flatten(1)
    seen = pixels.permute(3, 0, 1, 2).flatten(1).double() / 255
    inside = (seen > 0) & (seen < 1)  # those that may not have been clipped
    found = []
    for values, shown, used in zip(given, seen, inside, strict=True):
        x, y = values[used], shown[used]
        spread = x.var(correction=0) if len(x) > 1 else torch.zeros(())
        if not float(spread) > 1e-6:
            return None
        slope = ((x - x.mean()) * (y - y.mean())).mean() / spread
        shift = y.mean() - slope * x.mean()
        if float((slope * x + shift - y).abs().max()) > 2 * _EDGE + 1e-6:  # more than rounding
            return None
        found.append((float(shift), float(slope)))
    return _column([shift for shift, _ in found]), _column([slope for _, slope in found])


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).reshape(3, 1, 1)
