"""A mark as an overlay: its opacity and colours, or what it does to whole photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pfv_widgets.analysis.core.degradation import Degradation

Place = Literal["fixed", "anywhere", "everywhere"]
_LARGEST = 0.6  # of a photo's pixels that a mark covers: more is a shading


@dataclass(frozen=True, eq=False)
class Overlay:
    """A mark.

    Attributes
    ----------
    alpha
        Opacity in [0, 1], ``(h, w)``; of the whole photo, or of a patch that lies anywhere.
    colour
        ``(3, h, w)`` in [0, 1].
    place
        Where it lies: at a fixed place, anywhere, or all over the photo.
    mixing
        ``(3, 3)`` of a tint: the new colour is ``mixing · old + colour``.
    corners
        Of a patch: where it was seen, rows and columns of its corner at the top left in pixels,
        ``(m, 2)``. It is put there on other photos; None: anywhere.
    drawings
        Of a mark that is drawn anew in each photo: its α in several, ``(m, H, W)``. Each photo gets
        one of these; α is that of a typical one.
    degradation
        Of photos that are blurred, noisy or compressed; α and colours say nothing then.
    """

    alpha: Tensor
    colour: Tensor
    place: Place
    mixing: Tensor | None = None
    corners: Tensor | None = None
    degradation: Degradation | None = None
    drawings: Tensor | None = None

    @property
    def shades(self) -> bool:
        """Whether it changes most of a photo, as a vignette does."""
        return self.place == "fixed" and float((self.alpha > 0).float().mean()) > _LARGEST

    def put(self, photos: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return photos ``(N, 3, H, W)`` in [0, 1] with the mark, and its α ``(N, H, W)``."""
        height, width = photos.shape[2:]
        alpha, colour = self.alpha, self.colour
        if self.degradation is not None:
            return self.degradation(photos), alpha.expand(len(photos), height, width)
        if self.mixing is not None:
            new = torch.einsum("dc,nchw->ndhw", self.mixing, photos) + colour
            return new.clamp(0, 1), alpha.expand(len(photos), height, width)
        if self.place != "anywhere":
            new = (1 - alpha) * photos + alpha * colour
            return new, alpha.expand(len(photos), height, width)
        random = torch.Generator().manual_seed(seed)
        if self.drawings is not None:
            some = torch.randint(0, len(self.drawings), (len(photos),), generator=random)
            where = self.drawings[some]
            return torch.lerp(photos, colour.expand_as(photos), where[:, None]), where
        new, where = photos.clone(), photos.new_zeros(len(photos), height, width)
        for photo, mask in zip(new, where, strict=True):
            top, left = self._corner(height, width, random)
            part = (..., slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1]))
            photo[part] = (1 - alpha) * photo[part] + alpha * colour
            mask[part] = alpha
        return new, where

    def _corner(self, height: int, width: int, random: torch.Generator) -> tuple[int, int]:
        """Draw where a patch is put on a photo: row and column of its corner."""
        room = (height - self.alpha.shape[0], width - self.alpha.shape[1])
        if self.corners is None:
            top, left = (int(torch.randint(0, most + 1, (1,), generator=random)) for most in room)
            return top, left
        row, column = self.corners[torch.randint(0, len(self.corners), (1,), generator=random)[0]]
        return min(int(row), room[0]), min(int(column), room[1])
