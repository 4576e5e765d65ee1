"""A class's own components (class-wise neural PCA, Neuhaus et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import canonical_signs
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import whole_number


@dataclass(frozen=True, eq=False)
class ClassBasis:
    """Components of the pooled features times one class's weights.

    Each is an additive part of that class's score: ``score = score of the mean photo +
    contributions.sum()``, over all components.

    Attributes
    ----------
    unit
        The class.
    weights
        ``(C,)``: the class's row of the linear read-out.
    mean
        ``(C,)``: mean of the pooled features times ``weights``.
    components
        ``(k, C)``, unit vectors, by falling variance.
    variances
        ``(k,)``, in squared units of the score.
    contributions
        ``(N, k)``: what each component adds to the class's score of each photo.
    maps
        ``(N, k, h, w)``: the same by position; the mean over the positions is the contribution.
    """

    unit: int
    weights: Tensor
    mean: Tensor
    components: Tensor
    variances: Tensor
    contributions: Tensor
    maps: Tensor

    def __repr__(self) -> str:
        photos, number = self.contributions.shape
        return f"<ClassBasis of class {self.unit}: {number} components, {photos} photos>"


def class_basis(part: PartialForward, unit: int, components: int) -> ClassBasis:
    """Decompose the pooled features times the weights of class ``unit``.

    Raises
    ------
    PFVValueError
        Where no pooling and linear read-out follow the layer, or for more components than photos
        or channels allow.
    """
    weights = read_out_weights(part, unit)
    most = min(len(weights), len(part) - 1)
    number = whole_number("components", components, 1)
    if number > most:
        raise PFVValueError(
            f"components={number}: {len(part)} photos allow {max(most, 0)}. Give more photos, or "
            "ask for fewer."
        )
    by_position = part.features * weights[:, None, None]
    pooled = by_position.mean((2, 3)).double()
    mean = pooled.mean(0)
    _, singular, rows = torch.linalg.svd(pooled - mean, full_matrices=False)
    rows = rows[:number] * canonical_signs(rows[:number])[:, None]
    # <1, v> <z − mean, v>: the part of a sum over channels that lies along v
    scale = rows.sum(1)
    centred = by_position.double() - mean[:, None, None]
    maps = torch.einsum("kc,nchw->nkhw", rows, centred) * scale[:, None, None]
    variances = singular[:number].square() / len(part)
    return ClassBasis(
        unit, weights, mean, rows, variances, ((pooled - mean) @ rows.T) * scale, maps
    )


def read_out_weights(part: PartialForward, unit: int) -> Tensor:
    """Return the weights ``(C,)`` of a class in the linear read-out of the pooled features."""
    with torch.no_grad():
        constant = part.features.mean((2, 3), keepdim=True).expand_as(part.features)
        pooled = part.run(constant.contiguous())
        tolerance = 1e-4 * float(part.scores.abs().max())
        mirrored = part.run(-part.features) + part.scores - 2 * part.run(0 * part.features)
        if bool((pooled - part.scores).abs().max() > tolerance) or bool(
            mirrored.abs().max() > tolerance
        ):
            raise PFVValueError(
                "layer: a class has components of its own only where pooling and a linear "
                "read-out follow the layer. Choose the last layer before the pooling, of a network "
                "with such a read-out."
            )
    with torch.enable_grad():
        added = part.features.new_zeros(part.features.shape[1]).requires_grad_()
        score = part.run(part.features + added[:, None, None])[0, unit]
        (weights,) = torch.autograd.grad(score, added)
    return weights
