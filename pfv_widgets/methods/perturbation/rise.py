"""RISE: the score that is expected where a pixel is seen, over random masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.target import Target, UnitScores, score_function
from pfv_widgets.parameters import slider, toggle


@dataclass(frozen=True)
class RISE(Method):
    """Randomised input sampling for explanation (Petsiuk et al. 2018).

    Each mask is a coarse grid of cells that are seen with a probability p, enlarged bilinearly
    and shifted at random by up to a cell; what is not seen fades to 0 after normalisation, the
    mean colour of the training photos. The map is ``Σ score·mask / (N·p)``, the expected score
    where a pixel is seen; or, with ``centred``, ``Σ (score − mean)·mask / (N·p)``: how far that
    lies from what is expected anywhere. All images see the same masks.
    """

    masks: int = slider(
        500, 10, 8000, 10, label="Masks", help="Masked copies of each image; more give less noise."
    )
    cells: int = slider(
        7, 2, 32, 1, label="Cells", help="Cells of a mask across and down; more find smaller parts."
    )
    seen: float = slider(
        0.5,
        0.05,
        0.95,
        0.05,
        label="Visible",
        help="Probability p that a cell of a mask shows the image.",
    )
    centred: bool = toggle(
        True, label="Centred",
        help="Subtract the mean score of all masks: less noise, and 0 where a pixel does not "
        "matter. Off: the expected score, as in the paper.",
    )  # fmt: skip
    seed: int = slider(0, 0, 9999, 1, label="Seed", help="The same seed gives the same masks.")
    batch_size: int = slider(
        32,
        1,
        1024,
        1,
        label="Batch size",
        help="Images in one pass; fewer need less memory.",
    )

    label = "RISE"
    family = "input modification"
    needs_gradient = False
    zero_reason = "the score does not depend on what is seen"
    evidence = measured_evidence("passes", 0.34, 0.79, 0.15)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the maps ``(N, H, W)``; see :class:`Method`."""
        step(0, self.masks)
        measure = score_function(network, target)
        own = measure(batch)
        size = (batch.shape[2], batch.shape[3])
        source = torch.Generator().manual_seed(self.seed)  # on the CPU: the same on any device
        # the mean score is taken away at the end: what is left may be small beside it
        exact = torch.float32 if batch.device.type == "mps" else torch.float64
        weighted = torch.zeros((len(batch), *size), dtype=exact, device=batch.device)
        plain, total = torch.zeros_like(weighted[0]), torch.zeros_like(weighted[:, 0, 0])
        together = max(1, self.batch_size // len(batch))
        for first in range(0, self.masks, together):
            count = min(together, self.masks - first)
            samples = [mask(size, self.cells, self.seen, source) for _ in range(count)]
            masks = torch.stack(samples).to(batch)
            seen = (masks[:, None, None] * batch).flatten(0, 1)
            # so that convolutions are twice as fast on a processor
            seen = seen.contiguous(memory_format=torch.channels_last)
            measured = measure(seen, own.units.repeat(count))
            scores = measured.scores.detach().to(exact).view(count, len(batch))
            weighted += torch.einsum("mn,mhw->nhw", scores, masks.to(exact))
            plain += masks.to(exact).sum(0)
            total += scores.sum(0)
            step(first + count, self.masks)
        if self.centred:
            weighted -= (total / self.masks)[:, None, None] * plain
        return weighted / (self.masks * self.seen), UnitScores(own.scores, own.units), ()


def mask(size: tuple[int, int], cells: int, seen: float, source: torch.Generator) -> Tensor:
    """Draw one mask ``(H, W)`` in [0, 1].

    Of ``cells`` across and down, and one more each for the shift; ``seen`` is the probability that
    one is 1.
    """
    cell = [math.ceil(one / cells) for one in size]
    coarse = (torch.rand((1, 1, cells + 1, cells + 1), generator=source) < seen).float()
    large = [(cells + 1) * one for one in cell]
    fine = nn.functional.interpolate(coarse, size=large, mode="bilinear", align_corners=False)
    top, left = (int(torch.randint(one, (), generator=source)) for one in cell)
    return fine[0, 0, top : top + size[0], left : left + size[1]]
