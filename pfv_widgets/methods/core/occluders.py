"""What hides a box of an image, or all of it, in the values that the network takes.

A new occluder is one function and one line in ``OCCLUDERS``, and so is a new baseline of integrated
gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.normalisation import Normalisation, Triple
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import three_numbers

Colour = Triple
PixelBox = tuple[int, int, int, int]  # top, bottom, left, right in pixels; the ends are outside
Fill = Callable[[PixelBox], Tensor]  # values (N, 3, h, w) of a box

_BLUR = 0.08  # deviation of the blur, as a share of the image's shorter side


@dataclass(frozen=True)
class OccluderOptions:
    """What an occluder may need besides the images.

    Attributes
    ----------
    colour
        Red, green and blue from 0 to 1, as shown.
    normalisation
        Of the images: it says what the network takes for a shown colour.
    seed
        Of random numbers.
    """

    colour: Colour | None = None
    normalisation: Normalisation | None = None
    seed: int = 0


@dataclass(frozen=True)
class Occluder:
    """One entry of :data:`OCCLUDERS`.

    Attributes
    ----------
    make
        Returns what hides each box of the images, from ``(N, 3, H, W)`` as the network takes them.
    help
        What it is.
    baseline
        Returns the images ``(N, 3, H, W)`` that mean "nothing there", where a path of gradients
        may begin; None: the occluder is no baseline.
    """

    make: Callable[[Tensor, OccluderOptions], Fill]
    help: str
    baseline: Callable[[Tensor], Tensor] | None = None


def own_mean(batch: Tensor, _: OccluderOptions) -> Fill:
    """Hide with the image's own mean colour."""
    return _part_of(mean_colour(batch))


def zero(batch: Tensor, _: OccluderOptions) -> Fill:
    """Hide with 0 after normalisation, the mean colour of the training photos."""
    return _part_of(torch.zeros_like(batch))


def shown_colour(batch: Tensor, options: OccluderOptions, colour: Colour | None = None) -> Fill:
    """Hide with a colour as shown, by default that of the options."""
    colour = colour or options.colour
    if colour is None:
        raise PFVValueError("colour=None: fill='colour' needs one, such as colour=(1, 0, 0).")
    if options.normalisation is None:
        raise PFVValueError(
            f"fill: the normalisation of the images is not known, so it is not known what the "
            f"network takes for the colour {colour}. Give "
            "Occlusion(..., normalisation=images.normalisation), or choose fill='zero' or "
            "'own mean'."
        )
    values = options.normalisation.apply(torch.tensor(colour, dtype=torch.float64).view(3, 1, 1))
    return _part_of(values.to(batch).expand_as(batch))


def random_pixels(batch: Tensor, options: OccluderOptions) -> Fill:
    """Hide with pixels drawn evenly from the range of the image's own colours."""
    source = torch.Generator().manual_seed(options.seed)  # on the CPU: the same on any device
    noise = torch.rand(batch.shape[1:], generator=source).to(batch)
    low, high = batch.amin((2, 3), keepdim=True), batch.amax((2, 3), keepdim=True)
    return _part_of(low + noise * (high - low))


def blurred(batch: Tensor, _: OccluderOptions) -> Fill:
    """Hide with the image blurred by a Gaussian of 8 % of its shorter side."""
    from torchvision.transforms.functional import gaussian_blur  # takes seconds to import

    deviation = max(_BLUR * min(batch.shape[2:]), 1e-3)
    reach = [min(round(3 * deviation), side - 1) for side in (batch.shape[3], batch.shape[2])]
    return _part_of(gaussian_blur(batch, [2 * one + 1 for one in reach], [deviation] * 2))


def inpainted(batch: Tensor, _: OccluderOptions) -> Fill:
    """Hide with a smooth surface from the pixels around the box."""
    return partial(harmonic_surface, batch)


def mean_colour(batch: Tensor) -> Tensor:
    """Return images of each one's mean colour."""
    return batch.mean((2, 3), keepdim=True).expand_as(batch)


def beyond_recognition(batch: Tensor) -> Tensor:
    """Return the images blurred to four by four patches."""
    patches = nn.functional.adaptive_avg_pool2d(batch, 4)
    return nn.functional.interpolate(patches, size=batch.shape[2:], mode="bilinear")


OCCLUDERS: dict[str, Occluder] = {
    "own mean": Occluder(own_mean, "the image's own mean colour", mean_colour),
    "zero": Occluder(
        zero, "0 after normalisation, the mean colour of the training photos", torch.zeros_like
    ),
    "black": Occluder(partial(shown_colour, colour=(0.0, 0.0, 0.0)), "black as shown"),
    "grey": Occluder(partial(shown_colour, colour=(0.5, 0.5, 0.5)), "grey as shown"),
    "white": Occluder(partial(shown_colour, colour=(1.0, 1.0, 1.0)), "white as shown"),
    "colour": Occluder(shown_colour, "the colour of the option colour="),
    "random": Occluder(random_pixels, "random pixels in the range of the image's colours"),
    "blurred": Occluder(blurred, "the blurred image", beyond_recognition),
    "in-painted": Occluder(inpainted, "a smooth surface from the border of the box"),
}
BASELINES = {name: one.baseline for name, one in OCCLUDERS.items() if one.baseline}
"""Name → what gives the baseline, of those occluders that are one."""


def checked_colour(value: object) -> Colour:
    """Return red, green and blue from 0 to 1."""
    legal = "red, green and blue, three numbers from 0 to 1, such as (0.5, 0.5, 0.5)"
    return three_numbers("colour", value, 0, 1, legal)


def harmonic_surface(batch: Tensor, box: PixelBox) -> Tensor:
    """Fill a box smoothly from the pixels around it: each is the mean of its four neighbours.

    The discrete Laplace equation, solved exactly in the eigenvectors of its rows and columns.
    Beyond the border of the image nothing flows; a box over the whole image gets its mean.
    """
    top, bottom, left, right = box
    height, width = batch.shape[2:]
    if (top, bottom, left, right) == (0, height, 0, width):
        return batch.mean((2, 3), keepdim=True).expand_as(batch)
    wide = batch.double() if batch.device.type != "mps" else batch.float()
    known = wide.new_zeros((len(batch), 3, bottom - top, right - left))
    if top > 0:
        known[:, :, 0] += wide[:, :, top - 1, left:right]
    if bottom < height:
        known[:, :, -1] += wide[:, :, bottom, left:right]
    if left > 0:
        known[:, :, :, 0] += wide[:, :, top:bottom, left - 1]
    if right < width:
        known[:, :, :, -1] += wide[:, :, top:bottom, right]
    down, rows = _laplacian(bottom - top, top > 0, bottom < height, wide)
    across, columns = _laplacian(right - left, left > 0, right < width, wide)
    solved = rows.T @ known @ columns / (down[:, None] + across)
    return (rows @ solved @ columns.T).to(batch.dtype)


def _part_of(picture: Tensor) -> Fill:
    def part(box: PixelBox) -> Tensor:
        top, bottom, left, right = box
        return picture[:, :, top:bottom, left:right]

    return part


def _laplacian(size: int, before: bool, after: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of the second difference, with or without pixels at its ends."""
    values, vectors = _eigen(size, before, after)
    return values.to(like), vectors.to(like)


@lru_cache(maxsize=64)
def _eigen(size: int, before: bool, after: bool) -> tuple[Tensor, Tensor]:
    beside = torch.ones(size - 1, dtype=torch.float64)
    matrix = 2 * torch.eye(size, dtype=torch.float64) - beside.diag(1) - beside.diag(-1)
    matrix[0, 0] -= 0 if before else 1
    matrix[-1, -1] -= 0 if after else 1
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors
