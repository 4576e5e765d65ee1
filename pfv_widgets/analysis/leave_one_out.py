"""Leave one out: the images that a basis depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import FittedBasis
from pfv_widgets.engine.pca.batch_basis import Weights, fit_batch_basis
from pfv_widgets.engine.pca.features import Features
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import silent
from pfv_widgets.errors import PFVValueError

Angles = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

# With more than this share of the scatter in one image, the rest of a subtraction has lost digits.
_TOO_MUCH = 0.5


@dataclass(frozen=True, eq=False)
class Influence:
    """How far a basis rotates without each of its images.

    Attributes
    ----------
    settings
        What it was computed for; it depends on their layer, images and components alone.
    angles
        Largest principal angle between the subspace of all images and the one without image i,
        in degrees from 0 to 90, ``(N,)``; NaN where there is none. At 90 a direction that was
        in the picture is gone.
    mean_angles
        Root mean square of the principal angles, in degrees, ``(N,)``.
    reasons
        Why an image has no angle.
    version
        That of the feature store: how often the network was seen to have changed before.
    """

    settings: Settings
    angles: Angles
    mean_angles: Angles
    reasons: Mapping[int, str]
    version: int = 0

    def most(self) -> tuple[int, ...]:
        """Return the images that have an angle, by falling influence."""
        order = np.argsort(-self.angles, kind="stable")
        return tuple(int(index) for index in order if np.isfinite(self.angles[index]))


@own_modes()
def leave_one_out(
    pfv: PFV,
    settings: Settings,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Influence:
    """Fit the basis without each image, and measure how far its subspace rotates.

    From the cached moments, so that a layer on show needs no forward pass. Colours and
    cached results of ``pfv`` stay as they are.

    Parameters
    ----------
    pfv
        Network and images.
    settings
        Layer, number of components, and weights of the images.
    progress
        Called as ``progress(done, all)`` with numbers of images.
    cancelled
        Asked before each image; once it returns True, the images that are left have no angle.

    Raises
    ------
    PFVValueError
        If there is no basis of all the images with a weight, or if the basis is not fitted to
        these images, so that none of them has an influence on it.
    """
    from scipy.linalg import subspace_angles  # takes long to load, and an explorer opens without it

    number = len(pfv.images)
    with pfv.store.lock:  # no other thread changes the network's state in between
        pfv.store.use(settings.basis_of)
        if not isinstance(pfv.store.source, FittedBasis):
            raise PFVValueError(
                f"pfv: its basis is {pfv.store.source.description}, so no image has an influence "
                "on it. Choose basis_of='this batch' to leave images out."
            )
        pfv.capture(settings.layer, on_progress=silent)  # anew where the network has changed
        sweep = _Sweep.of(pfv, settings)
        version = pfv.store.version
    angles, means = np.full((2, number), np.nan)
    reasons: dict[int, str] = {}
    for index in range(number):
        if cancelled is not None and cancelled():
            reasons |= dict.fromkeys(range(index, number), "cancelled before this image")
            break
        try:
            spans = (
                basis.components.T.cpu().double().numpy()
                for basis in (sweep.basis, sweep.without(index))
            )
            rotations = np.rad2deg(subspace_angles(*spans))
            angles[index], means[index] = rotations[0], np.sqrt((rotations**2).mean())
        except PFVValueError as error:
            reasons[index] = str(error)
        if progress is not None:
            progress(index + 1, number)
    return Influence(settings, angles, means, reasons, version)


@dataclass(frozen=True, eq=False)
class _Sweep:
    """The basis of all images, and what is needed to fit those without one of them."""

    features: Features
    moments: Moments | WideFit  # of each image, or what fits bases of many channels
    pooled: Moments | None  # of all that have a weight, where there are those of each
    weights: Weights
    basis: PrincipalBasis

    @classmethod
    def of(cls, pfv: PFV, settings: Settings) -> _Sweep:
        store, name = pfv.store, pfv.store.key_of(settings.layer)
        weights = settings.weights(len(pfv.images))
        basis = store.basis(name, weights, settings.components)
        features, moments = store.captured(name)[0], store.moments(name)
        if moments is None:  # one of its own: that of the store follows the pictures
            return cls(features, WideFit(features.maps), None, weights, basis)
        amounts = [weight / max(weights) for weight in weights]
        return cls(features, moments, moments.pooled(amounts), weights, basis)

    def without(self, index: int) -> PrincipalBasis:
        """Return the basis of the other images; PFVValueError where there is none."""
        if self.weights[index] == 0:
            raise PFVValueError("it is not used to find the colours")
        rest = (*self.weights[:index], 0.0, *self.weights[index + 1 :])
        if not any(rest):
            raise PFVValueError("it is the only image that is used")
        moments = self.moments
        if self.pooled is not None and isinstance(moments, Moments):
            weight, one = self.weights[index] / max(self.weights), slice(index, index + 1)
            own = Moments(moments.count[one], moments.mean[one], moments.scatter[one])
            # one group that is not weighted any more: `fit` takes it as it is
            moments = _without(self.pooled, own, weight) or moments
        return fit_batch_basis(
            self.features,
            moments,
            rest,
            len(self.basis.components),
            start=self.basis.components,
            layer=self.basis.layer,
        )


def _without(pooled: Moments, one: Moments, weight: float) -> Moments | None:
    """Take a group out of a sum: the reverse of the pairwise merge of Chan, Golub and LeVeque.

    None where so little is left that it would be rounding.
    """
    total, own = pooled.count[0], weight * one.count[0]
    rest = total - own
    apart = pooled.mean[0] - one.mean[0]
    removed = weight * one.scatter[0] + (own * total / rest) * torch.outer(apart, apart)
    if not removed.trace() <= _TOO_MUCH * pooled.scatter[0].trace() or rest < _TOO_MUCH * total:
        return None
    mean = pooled.mean[0] + (own / rest) * apart
    return Moments(rest[None], mean[None], (pooled.scatter[0] - removed)[None])
