"""The search itself: descent from noise, the best so far, previews, and what goes wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import floating_dtype, guest
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.extra_inputs import Fed
from pfv_widgets.methods.core.target import WITHOUT_GRADIENT, without_gradient
from pfv_widgets.methods.inversion.activations import Tap, tapping
from pfv_widgets.methods.inversion.augmentation import Moves
from pfv_widgets.methods.inversion.best_so_far import Found, Preview, Watch, as_shown, like
from pfv_widgets.methods.inversion.image_parameterisation import Canvas
from pfv_widgets.methods.inversion.objective import Goal, priors
from pfv_widgets.methods.inversion.optimiser import descent_of, rate_at
from pfv_widgets.methods.inversion.options import Reconstruct

_CHECK = 8  # steps between two looks at the pictures as they are, where they are moved about
_TRIES = 8  # other noises, where a unit is silent on the first
_FAR = 1_000_003  # between the seeds of two runs, beyond those that a person chooses from


@dataclass(frozen=True, eq=False)
class Search:
    """A network, a goal, and how pictures are looked for; ``rows`` ``(B,)``: whose each is."""

    network: nn.Module
    goal: Goal
    canvas: Canvas
    options: Reconstruct
    rows: Tensor
    tap: Tap

    def run(self, start: Tensor | None, watch: Watch) -> Found:
        """Look for the pictures, from noise or from the pictures ``start``; the best are kept.

        Raises
        ------
        PFVValueError
            If nothing of a gradient reaches the pixels, or no start has a finite loss.
        """
        with torch.inference_mode(False), torch.no_grad():
            numbers, silent = self._lively(start)
            with guest(self.network):
                values = self._values(self.canvas.paint(numbers))
            scale = self.goal.scale(values)
            best, scores = self._judged(numbers, scale)
            if not bool(best.isfinite().any()):
                raise PFVValueError(
                    "model: its activations are NaN or infinite for every start, so there is "
                    "nothing to follow. Look at its weights, run it in float32, or choose an "
                    "earlier layer."
                )
            found = Found(numbers.clone(), best, scores, ~best.isfinite(), silent, best, numbers)
            try:
                self._descend(numbers, scale, found, watch)
            except KeyboardInterrupt:  # the stop button of a notebook keeps the best so far
                found.stopped = True
            found.keep(found.last, self._judged(found.last, scale)[0])
            found.scores = self._judged(found.numbers, scale)[1]
            found.pictures = self.canvas.paint(found.numbers).clamp(0, 1)
            if watch.preview is not None:
                self._show(watch.preview, len(found.losses), found.numbers, found.best)
        return found

    def _descend(self, numbers: Tensor, scale: Tensor, found: Found, watch: Watch) -> None:
        options, total = self.options, self.options.steps
        descent, shown = descent_of(options.optimiser), -watch.every
        chances = [torch.Generator().manual_seed(seed + 1) for seed in self.seeds]
        moves = options.moves
        for step in range(total):
            if watch.cancelled is not None and watch.cancelled():
                found.stopped = True
                return
            losses, gradient = self.look(numbers, scale, moves, chances)
            found.losses.append(losses)
            if not moves:
                found.keep(numbers, losses)
            elif step and step % _CHECK == 0:
                found.keep(numbers, self._judged(numbers, scale)[0])
            if watch.preview is not None and time.monotonic() - shown >= watch.every:
                shown = time.monotonic()
                self._show(watch.preview, step, numbers, losses)
            found.broken |= ~(losses.isfinite() & gradient.flatten(1).isfinite().all(1))
            if bool(found.broken.all()):
                return
            fine = like(~found.broken, gradient)
            rate = options.rate * rate_at(step, total, options.optimiser, options.parametrisation)
            moved = descent.step(numbers, torch.where(fine, gradient, 0.0), rate)
            found.last = numbers = torch.where(fine, moved, found.numbers)
            if watch.progress is not None:
                watch.progress(step + 1, total)

    @property
    def seeds(self) -> list[int]:
        """A seed for each picture: runs differ, targets start alike."""
        runs = self.options.runs
        return [self.options.seed + _FAR * (index % runs) for index in range(len(self.rows))]

    def look(
        self, numbers: Tensor, scale: Tensor, moves: Moves, chances: list[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Return the losses ``(B,)`` and their gradient by the numbers.

        Raises
        ------
        PFVValueError
            If the network cannot be differentiated.
        """
        with torch.enable_grad():
            free = numbers.detach().clone().requires_grad_()
            pictures = self.canvas.paint(free)
            taken = self.canvas.taken(moves(pictures, chances))
            losses, signal = self._signal(taken, scale)
            prior = self._prior(pictures)
            outputs, signals = [taken], [signal]
            if prior.requires_grad:
                outputs, signals = [taken, prior], [signal, torch.ones_like(prior)]
            (gradient,) = torch.autograd.grad(outputs, free, signals)
        return (losses + prior).detach(), gradient

    def _signal(self, taken: Tensor, scale: Tensor, *, look: bool = False) -> tuple[Tensor, Tensor]:
        """Return the goal's losses and their gradient by what the network takes."""
        leaf = taken.detach().requires_grad_()
        with guest(self.network), torch.enable_grad():
            losses = self.goal.loss(self.tap(self._cast(leaf)), self.rows, scale)
            return losses, _gradient(losses, leaf, look=look)

    def _judged(self, numbers: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and scores ``(B,)`` of the pictures as they are."""
        with guest(self.network):
            pictures = self.canvas.paint(numbers)
            values = self._values(pictures)
            losses = self.goal.loss(values, self.rows, scale) + self._prior(pictures)
            return losses, self.goal.score(values, self.rows)

    def _lively(self, start: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return numbers to start from, other noise where a unit is silent on the first."""
        ones = torch.ones(len(self.rows), device=self.rows.device)
        numbers = self.canvas.start(self.seeds) if start is None else self.canvas.numbers_of(start)
        for attempt in range(1, _TRIES + 1):
            taken = self.canvas.taken(self.canvas.paint(numbers))
            _, signal = self._signal(taken, ones, look=attempt == 1)
            silent = signal.flatten(1).abs().amax(1) == 0
            if start is not None or attempt == _TRIES or not bool(silent.any()):
                break
            other = self.canvas.start([seed + 7919 * attempt for seed in self.seeds], 1 + attempt)
            numbers = torch.where(like(silent, numbers), other, numbers)
        return numbers, silent

    def _values(self, pictures: Tensor) -> Tensor:
        return self.tap(self._cast(self.canvas.taken(pictures)))

    def _cast(self, batch: Tensor) -> Tensor:
        return batch.to(floating_dtype(self.network))

    def _prior(self, pictures: Tensor) -> Tensor:
        levels = self.canvas.levels(pictures)
        return priors(levels, self.options.p_norm, self.options.total_variation)

    def _show(self, preview: Preview, step: int, numbers: Tensor, losses: Tensor) -> None:
        with torch.no_grad():
            shown = as_shown(self.canvas.paint(numbers))
        preview(step, self.options.steps, shown, tuple(losses.tolist()))


def searching(
    network: nn.Module, goal: Goal, canvas: Canvas, options: Reconstruct, number: int
) -> Search:
    """Return the search for ``options.runs`` pictures for each of ``number`` rows of a goal.

    Raises
    ------
    PFVValueError
        If the goal does not fit the layer.
    """
    device = canvas.device
    rows = torch.arange(number, device=device).repeat_interleave(options.runs)
    with guest(network):
        grey = torch.zeros(1, 3, *canvas.size, device=device, dtype=floating_dtype(network))
        tap = tapping(network, goal.where, grey)
        goal.check(tap(grey))
        if isinstance(network, Fed):
            network.rows = tuple(rows.tolist())
    return Search(network, goal, canvas, options, rows, tap)


def _gradient(losses: Tensor, leaf: Tensor, *, look: bool) -> Tensor:
    """Return the derivative of each picture's loss by what the network takes.

    ``look``: whether to look at each operation for one without a gradient.
    """
    reason = "its values do not depend on the picture in a way that can be differentiated"
    if look and without_gradient(losses):
        reason = WITHOUT_GRADIENT
    elif losses.requires_grad:
        try:
            (found,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True)
        except RuntimeError as error:
            found, reason = None, (str(error).splitlines() or [""])[0]
        if found is not None:
            return found
    raise PFVValueError(
        f"model: no gradient reaches the picture ({reason}). A network under inference_mode, "
        "quantised, with detach() or rounding inside cannot be followed back: pass the float "
        "network, or choose a layer before that part."
    )
