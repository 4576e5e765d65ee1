"""Which component has which colour and sign, remembered from picture to picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import select, send
from pfv_widgets.engine.pca.basis import ComponentRotation, PrincipalBasis

OrderAndSigns = tuple[int, ...]  # signed numbers from 1, as PrincipalBasis.arranged takes them
Arrangement = OrderAndSigns | ComponentRotation


@dataclass(frozen=True, eq=False)
class ColourMemory:
    """The bases that colours refer to; a value: what is shown gives a new one.

    Attributes
    ----------
    anchors
        Layer → the basis that its colours refer to first of all.
    previous
        Layer → the basis shown last.
    seen
        Layer → basis, number and stability that were arranged last, and how.
    """

    anchors: Mapping[str, PrincipalBasis] = field(default_factory=dict)
    previous: Mapping[str, PrincipalBasis] = field(default_factory=dict)
    seen: Mapping[str, tuple[PrincipalBasis, tuple[int, bool], OrderAndSigns]] = field(
        default_factory=dict
    )

    def references(self, layer: str) -> tuple[Tensor, ...]:
        """Return the components ``(m, C)`` that the next ones of a layer are compared with."""
        bases = (self.anchors.get(layer), self.previous.get(layer))
        return tuple(one.components for one in bases if one is not None)

    def arranged(
        self, layer: str, basis: PrincipalBasis, number: int, *, stable: bool = True
    ) -> tuple[OrderAndSigns, ColourMemory]:
        """Return order and signs in which the colours of a layer hold still, and the new memory.

        ``number`` components of the basis, by falling variance, are shown. Unless it is ``stable``
        they keep that order, and the memory starts again with them.
        """
        seen = self.seen.get(layer)
        if seen is not None and seen[0] is basis and seen[1] == (number, stable):
            return seen[2], self  # nothing has to be compared again
        last = self.previous.get(layer) if stable else None
        anchor = self.anchors.get(layer) if stable else None
        arrangement = basis.matching(last, number, anchor)
        new = basis.arranged(arrangement)
        memory = replace(
            self,
            previous={**self.previous, layer: new if last is None else new.followed_by(last)},
            anchors={**self.anchors, layer: new if anchor is None else anchor.followed_by(new)},
            seen={**self.seen, layer: (basis, (number, stable), arrangement)},
        )
        return arrangement, memory

    def anchored(self, layer: str, basis: PrincipalBasis) -> ColourMemory:
        """Return a memory in which the colours of a layer refer to ``basis``."""
        seen = {name: one for name, one in self.seen.items() if name != layer}
        return replace(self, anchors={**self.anchors, layer: basis}, seen=seen)

    def with_basis(self, layer: str, basis: PrincipalBasis) -> ColourMemory:
        """Return a memory as if ``basis`` alone had been shown of a layer."""
        return replace(self.anchored(layer, basis), previous={**self.previous, layer: basis})


def arranged_scores(scores: Tensor, basis: PrincipalBasis, arrangement: Arrangement) -> Tensor:
    """Arrange scores ``(N, k, h, w)`` on the components of ``basis`` as the components are.

    They stay zero along components that are rounding alone, also where a rotation gives these.
    """
    if isinstance(arrangement, ComponentRotation):
        matrix = send(arrangement.matrix.to(scores.dtype), scores.device)
        rotated = (matrix.T @ scores.flatten(2)).view_as(scores)
        resolved = basis.arranged(arrangement).is_resolved
        return rotated.masked_fill_(~resolved.view(1, -1, 1, 1), 0.0)
    if arrangement == tuple(range(1, scores.shape[1] + 1)):
        return scores
    signs = torch.tensor([1.0 if number > 0 else -1.0 for number in arrangement])
    signs = send(signs.to(scores.dtype), scores.device)
    arranged = select(scores, [abs(number) - 1 for number in arrangement], dim=1)
    return arranged.mul_(signs.view(1, -1, 1, 1))
