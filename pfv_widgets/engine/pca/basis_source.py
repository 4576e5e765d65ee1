"""Where a basis comes from: fitted to the batch, fixed, or aligned to another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from pfv_widgets.engine.device_transfer import read, send
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.batch_basis import Weights, fit_batch_basis
from pfv_widgets.engine.pca.features import Features
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
        """Return ``number`` components for a layer, the images counting by their weights."""


@dataclass(frozen=True)
class FittedBasis:
    """The principal components of the batch itself, each image counted by its weight."""

    description: str = field(default="fitted to these images", init=False)
    layer: str | None = field(default=None, init=False)

    def basis(self, sample: LayerSample, weights: Weights, number: int) -> PrincipalBasis:
        """See :func:`fit_batch_basis`."""
        return fit_batch_basis(
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
            mean=send(self.principal.mean.to(like.dtype), like.device),
            components=send(self.principal.components[:number].to(like.dtype), like.device),
            variances=self.principal.variances[:number],
            layer=sample.layer,
        )


def source_of(basis: object) -> BasisSource:
    """Return the source for an argument ``basis``: None, a :class:`PrincipalBasis` or a source."""
    if basis is None:
        return FittedBasis()
    if isinstance(basis, PrincipalBasis):
        arrays = basis.mean, basis.components
        if not all(read(*(one.isfinite().all() for one in arrays))):
            raise PFVValueError("basis: it holds NaN or infinite values. Fit it anew.")
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
