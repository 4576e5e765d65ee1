"""Where a basis comes from: fitted to the batch, fixed, or aligned to another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from pfv_widgets.engine.pca.basis import ComponentRotation, PrincipalBasis
from pfv_widgets.engine.pca.features import Features
from pfv_widgets.engine.pca.fit_batch import Weights, fit_batch
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.engine.progress import OnProgress, silent
from pfv_widgets.errors import PFVTypeError, PFVValueError

BASES = ("data set", "this batch")
"""Which of two sources is used, where a basis is given: that one, or the images themselves."""


@dataclass(frozen=True, eq=False)
class LayerSample:
    """What a batch gives at one layer: all that a basis can be made of.

    Attributes
    ----------
    layer
        Its name.
    features
        Its feature maps.
    moments
        Returns the moments of each image or, where there are too many channels to keep them, what
        fits their bases; they are computed when this is called.
    start
        Vectors near the components, ``(m, C)``, where some are known; they save time.
    report
        Called with the progress of what takes long.
    others
        Components of the bases that the new one will be compared with.
    """

    layer: str
    features: Features
    moments: Callable[[], Moments | WideFit | None]
    start: Tensor | None = None
    report: OnProgress = silent
    others: Sequence[Tensor] = ()


class BasisSource(Protocol):
    """Gives the basis for a layer of a batch."""

    @property
    def description(self) -> str:
        """Where its bases come from, in words: what a figure says of it."""

    @property
    def layer(self) -> str | None:
        """The only layer that it has a basis for; None: any."""

    def basis(self, sample: LayerSample, weights: Weights, number: int) -> PrincipalBasis:
        """Return ``number`` components for a layer, the images counting by their weights.

        Raises
        ------
        PFVValueError
            If there are none, naming why.
        """


@dataclass(frozen=True)
class FittedBasis:
    """The principal components of the batch itself, each image counted by its weight."""

    description: str = field(default="fitted to these images", init=False)
    layer: str | None = field(default=None, init=False)

    def basis(self, sample: LayerSample, weights: Weights, number: int) -> PrincipalBasis:
        """See :func:`fit_batch`."""
        return fit_batch(
            sample.features,
            sample.moments(),
            weights,
            number,
            start=sample.start,
            others=sample.others,
            layer=sample.layer,
            report=sample.report,
        )


@dataclass(frozen=True, eq=False)
class FixedBasis:
    """A basis that was made elsewhere, of a data set for example: its mean and its components.

    Parameters
    ----------
    principal
        The weights of the images have no influence on it.
    """

    principal: PrincipalBasis

    @property
    def description(self) -> str:
        """Where it comes from, in words."""
        return f"fixed, made of {self.principal.count:.6g} feature vectors"

    @property
    def layer(self) -> str | None:
        """The layer that it was made of, where it says so."""
        return self.principal.layer or None

    def basis(self, sample: LayerSample, weights: Weights, number: int) -> PrincipalBasis:  # noqa: ARG002 - the protocol's
        """Return its first ``number`` components, on the device of the feature maps."""
        _check_channels(self.principal, sample.layer, sample.features.maps.shape[1])
        _check_number(self.principal, number)
        like = sample.features.maps
        return replace(
            self.principal,
            mean=self.principal.mean.to(like),
            components=self.principal.components[:number].to(like),
            variances=self.principal.variances[:number],
            layer=sample.layer,
        )


@dataclass(frozen=True, eq=False)
class AlignedBasis:
    """The basis of another source, turned within its own subspace to be near to a reference.

    The subspace, and so the variance in it, stays what it is. The rotation is the orthogonal
    Procrustes solution (Schönemann 1966); component i is what resembles the reference's i most,
    and is no principal component any more.

    Parameters
    ----------
    reference
        Of the same layer, with at least as many components as requested.
    source
        Whose basis is turned.
    """

    reference: PrincipalBasis
    source: BasisSource = FittedBasis()

    @property
    def description(self) -> str:
        """Where it comes from, in words."""
        return f"{self.source.description}, aligned to another basis"

    @property
    def layer(self) -> str | None:
        """The layer of the reference, where it says so."""
        return self.reference.layer or self.source.layer

    def basis(self, sample: LayerSample, weights: Weights, number: int) -> PrincipalBasis:
        """Return the source's basis, turned."""
        _check_channels(self.reference, sample.layer, sample.features.maps.shape[1])
        _check_number(self.reference, number)
        return rotated_to(self.source.basis(sample, weights, number), self.reference)


def source_of(basis: object) -> BasisSource:
    """Return the source for an argument ``basis``: None, a :class:`PrincipalBasis` or a source.

    Raises
    ------
    PFVTypeError
        For anything else.
    """
    if basis is None:
        return FittedBasis()
    if isinstance(basis, PrincipalBasis):
        return FixedBasis(basis)
    if all(hasattr(basis, name) for name in ("description", "layer", "basis")):
        return basis  # type: ignore[return-value] # it has what the protocol asks for
    raise PFVTypeError(
        f"basis={basis!r:.80}: expected a PrincipalBasis, such as fit_basis returns and "
        "PrincipalBasis.load reads, or None to fit one to the images."
    )


def _check_channels(basis: PrincipalBasis, layer: str, channels: int) -> None:
    if len(basis.mean) != channels:
        raise PFVValueError(
            f"basis has {len(basis.mean)} channels and layer {layer!r} has {channels}. Give a "
            "basis of this layer of this network."
        )


def _check_number(basis: PrincipalBasis, number: int) -> None:
    if number > len(basis.components):
        raise PFVValueError(
            f"components={number}: the basis given has {len(basis.components)}. Choose at most "
            "as many, or make a basis with more: fit_basis(..., components=...)."
        )


def rotated_to(basis: PrincipalBasis, reference: PrincipalBasis) -> PrincipalBasis:
    """Turn the components ``(k, C)`` of a basis within their subspace, nearest to a reference's.

    The variances are those along the turned components; they need not fall.
    """
    number = len(basis.components)
    wanted = reference.components[:number].to(basis.components)
    overlap = (wanted @ basis.components.T).cpu().double()
    left, _, right = torch.linalg.svd(overlap)
    return basis.arranged(ComponentRotation((left @ right).T))
