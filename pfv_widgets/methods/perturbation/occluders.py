"""What a box is filled with, in the values that the network is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import Normalisation, Triple
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.method import Method
from pfv_widgets.methods.perturbation.sliding_windows import Place
from pfv_widgets.validation import three_numbers

Fill = Callable[[Place], Tensor]  # values (N, 3, h, w) of a box
Colour = Triple

SHOWN = {"black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5), "white": (1.0, 1.0, 1.0)}
FILLS = ("own mean", "zero", *SHOWN, "colour", "random", "blurred", "in-painted")
_BLUR = 0.08  # deviation of the blur, as a share of the image's shorter side


def adapted(method: Method, images: ImageBatch) -> Method:
    """Return the method, with what it has to know of the images."""
    wants = getattr(method, "for_images", None)
    return method if wants is None else wants(images)


def checked_colour(value: object) -> Colour:
    """Return red, green and blue from 0 to 1.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the value and what is legal.
    """
    legal = "red, green and blue, three numbers from 0 to 1, such as (0.5, 0.5, 0.5)"
    return three_numbers("colour", value, 0, 1, legal)


def filling(
    batch: Tensor, fill: str, colour: Colour | None, by: Normalisation | None, seed: int
) -> Fill:
    """Return the values ``(N, 3, h, w)`` that take the place of a box.

    Parameters
    ----------
    batch
        The images as the network takes them, ``(N, 3, H, W)``.
    fill
        One of ``FILLS``: the image's own mean colour; 0 after normalisation, the mean colour of
        the training photos; a fixed colour; each pixel at random within the range of the image's
        own colours; the blurred image; a harmonic surface from the border of the box.
    colour
        Of ``"colour"``, as shown.
    by
        The normalisation of the images, which takes a shown colour to the network's numbers.
    seed
        Of the random pixels.

    Raises
    ------
    PFVValueError
        For a shown colour where it is not known what the network takes for it.
    """
    size = batch.shape[2:]
    if fill == "in-painted":
        return partial(inpainted, batch)
    if fill == "blurred":
        picture = blurred(batch)
    elif fill == "random":
        source = torch.Generator().manual_seed(seed)  # on the CPU: the same on any device
        noise = torch.rand((3, *size), generator=source).to(batch)
        low, high = batch.amin((2, 3), keepdim=True), batch.amax((2, 3), keepdim=True)
        picture = low + noise * (high - low)
    elif fill == "own mean":
        picture = batch.mean((2, 3), keepdim=True).expand_as(batch)
    elif fill == "zero":
        picture = torch.zeros_like(batch)
    else:
        values = _of_shown(fill, colour, by)
        picture = batch.new_tensor(values)[None, :, None, None].expand_as(batch)

    def of(box: Place) -> Tensor:
        top, bottom, left, right = box
        return picture[:, :, top:bottom, left:right]

    return of


def _of_shown(fill: str, colour: Colour | None, by: Normalisation | None) -> list[float]:
    shown = SHOWN.get(fill, colour)
    if shown is None:
        raise PFVValueError("colour=None: fill='colour' needs one, such as colour=(1, 0, 0).")
    if by is None:
        raise PFVValueError(
            f"fill={fill!r}: the normalisation of the images is not known, nor what the network "
            "takes for that colour. Give Occlusion(..., by=images.normalisation), or choose "
            "fill='zero' or 'own mean'."
        )
    values = by.apply(torch.tensor(shown, dtype=torch.float64).reshape(3, 1, 1))
    return [float(value) for value in values.flatten()]


def blurred(batch: Tensor) -> Tensor:
    """Blur images ``(N, 3, H, W)`` with a Gaussian of 8 % of the shorter side."""
    deviation = max(_BLUR * min(batch.shape[2:]), 1e-3)
    for axis in (2, 3):
        reach = min(round(3 * deviation), batch.shape[axis] - 1)
        distance = torch.arange(-reach, reach + 1, dtype=batch.dtype, device=batch.device)
        kernel = torch.exp(-0.5 * (distance / deviation) ** 2)
        shape = (3, 1, -1, 1) if axis == 2 else (3, 1, 1, -1)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        weight = (kernel / kernel.sum()).view(1, 1, *shape[2:]).expand(3, -1, -1, -1)
        mirrored = nn.functional.pad(batch, pad, mode="reflect")
        batch = nn.functional.conv2d(mirrored, weight, groups=3)
    return batch


def inpainted(batch: Tensor, box: Place) -> Tensor:
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
