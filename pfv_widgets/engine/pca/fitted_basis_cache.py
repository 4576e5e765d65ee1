"""Bases fitted to a batch, of which the longest of each layer serves any smaller number."""

from __future__ import annotations

from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import FittedBasis, LayerSample
from pfv_widgets.engine.pca.batch_basis import Weights

_ALL = 12  # components that the slider has


class FittedBasisCache:
    """The longest basis of each layer for the weights of its images that came last.

    Where the number of components alone has changed, all that a slider can ask for are fitted at
    once: its next steps cost nothing.
    """

    def __init__(self) -> None:
        self._longest: dict[str, tuple[Weights, PrincipalBasis]] = {}

    def basis(
        self, source: FittedBasis, sample: LayerSample, weights: Weights, number: int
    ) -> PrincipalBasis:
        """Return ``number`` components, fitted by ``source`` where that is needed."""
        of, known = self._longest.get(sample.layer, (None, None))
        if known is not None and of == weights:
            if len(known.components) >= number:
                return known.first(number)
            _, channels, height, width = sample.features.maps.shape
            positions = sum(weight > 0 for weight in weights) * height * width
            longest = max(number, min(_ALL, channels, positions - 1))
        else:
            longest = number
        basis = source.basis(sample, weights, longest)
        self._longest[sample.layer] = weights, basis
        return basis.first(number)

    def clear(self) -> None:
        """Forget them."""
        self._longest.clear()
