"""Gradient descent from noise to images: the best so far, previews, and what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import floating_dtype, guarded
from pfv_widgets.errors import PFVValueError, named
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs
from pfv_widgets.methods.core.method import Cancelled, Progress
from pfv_widgets.methods.core.target import differentiated
from pfv_widgets.methods.inversion.activations import Activations, activations_of
from pfv_widgets.methods.inversion.augmentation import Augmentation
from pfv_widgets.methods.inversion.image_optimisers import Optimiser, rate_at
from pfv_widgets.methods.inversion.image_parametrisation import ImageParametrisation
from pfv_widgets.methods.inversion.objective import Objective, priors
from pfv_widgets.methods.inversion.options import Reconstruct

# (step, all, images uint8 (B, H, W, 3), loss of each)
Preview = Callable[[int, int, np.ndarray, tuple[float, ...]], None]

_CHECK = 8  # steps between two losses of the images as they are, where they are augmented
_ATTEMPTS = 8  # other noises, where a unit is silent on the first
_EARLIER = "choose a layer before that part"
_SEED_STRIDE = 1_000_003  # between two runs, beyond the seeds that a person chooses from


@dataclass
class Callbacks:
    """What is called during the optimisation."""

    progress: Progress | None = None
    preview: Preview | None = None
    cancelled: Cancelled | None = None
    every: float = 0.2  # seconds between two previews at least
    preview_error: str | None = None  # what a preview raised, in words; it is not called again

    def show(self, step: int, total: int, images: Tensor, losses: Tensor) -> None:
        """Call the preview; an error in it does not cost the images."""
        if self.preview is None or self.preview_error is not None:
            return
        try:
            self.preview(step, total, to_pixels(images), tuple(losses.tolist()))
        except Exception as error:
            self.preview_error = named(error)


@dataclass(eq=False)
class BestSoFar:
    """The best images so far, and how they came about.

    Attributes
    ----------
    parameters, images
        Of the parametrisation; the images are ``(B, 3, H, W)``, 0 black and 1 white.
    losses
        ``(B,)`` of the images as they are, not augmented.
    scores
        ``(B,)`` of the objective, of the images.
    diverged
        Where a loss or a gradient was not finite, bool ``(B,)``.
    silent
        Where the gradient at the start was zero, bool ``(B,)``.
    start_losses
        ``(B,)``.
    history
        Losses ``(B,)`` of each step, of the augmented images.
    last
        The parameters after the last step, which need not be the best.
    stopped
        Whether it was stopped before the last step.
    """

    parameters: Tensor
    losses: Tensor
    scores: Tensor
    diverged: Tensor
    silent: Tensor
    start_losses: Tensor
    last: Tensor
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    history: list[Tensor] = field(default_factory=list)
    stopped: bool = False

    def update(self, parameters: Tensor, losses: Tensor) -> None:
        """Take over where the loss, not augmented, is the smallest so far; never NaN."""
        better = losses.isfinite() & ~((losses >= self.losses) & self.losses.isfinite())
        better &= parameters.flatten(1).isfinite().all(1)
        self.losses = torch.where(better, losses, self.losses)
        self.parameters = torch.where(_like(better, parameters), parameters, self.parameters)


@dataclass(frozen=True, eq=False)
class Optimisation:
    """A network, an objective, and how its images are made."""

    network: nn.Module
    objective: Objective
    parametrisation: ImageParametrisation
    options: Reconstruct
    rows: Tensor  # ``(B,)``: which row of the objective each image is made for
    activations: Activations

    @classmethod
    def of(
        cls,
        network: nn.Module,
        objective: Objective,
        parametrisation: ImageParametrisation,
        options: Reconstruct,
    ) -> Optimisation:
        """Return the optimisation of ``options.runs`` images for each row of an objective."""
        device = parametrisation.device
        rows = torch.arange(len(objective.names), device=device).repeat_interleave(options.runs)
        with guarded(network):
            dtype = floating_dtype(network)
            grey = torch.zeros(1, 3, *parametrisation.size, device=device, dtype=dtype)
            activations = activations_of(network, objective.at, grey)
            objective.check(activations(grey))
            if isinstance(network, NetworkWithInputs):
                network.rows = tuple(rows.tolist())
        return cls(network, objective, parametrisation, options, rows, activations)

    @property
    def seeds(self) -> list[int]:
        """A seed for each image: runs differ, targets start alike."""
        runs = self.options.runs
        return [
            self.options.seed + _SEED_STRIDE * (index % runs) for index in range(len(self.rows))
        ]

    def run(self, start: Tensor | None, callbacks: Callbacks) -> BestSoFar:
        """Optimise images, from noise or from the images ``start``.

        Raises
        ------
        PFVValueError
            If no gradient reaches the pixels, or no start has a finite loss.
        """
        with torch.inference_mode(False), torch.no_grad():
            parameters, silent = self._start(start)
            with guarded(self.network):
                values = self._values(self.parametrisation.images(parameters))
            scale = self.objective.scale(values)
            losses, scores = self._evaluate(parameters, scale)
            if not bool(losses.isfinite().any()):
                raise PFVValueError(
                    "model: its activations are NaN or infinite for every start, so there is "
                    "nothing to follow. Look at its weights, run it in float32, or choose an "
                    "earlier layer."
                )
            best = BestSoFar(
                parameters.clone(), losses, scores, ~losses.isfinite(), silent, losses, parameters
            )
            try:
                self._descend(parameters, scale, best, callbacks)
            except KeyboardInterrupt:  # the stop button of a notebook keeps the best so far
                best.stopped = True
            best.update(best.last, self._evaluate(best.last, scale)[0])
            best.scores = self._evaluate(best.parameters, scale)[1]
            best.images = self.parametrisation.images(best.parameters).clamp(0, 1)
            callbacks.show(len(best.history), self.options.steps, best.images, best.losses)
        return best

    def _descend(
        self, parameters: Tensor, scale: Tensor, best: BestSoFar, callbacks: Callbacks
    ) -> None:
        options, total = self.options, self.options.steps
        best.last = parameters = parameters.clone()
        optimiser, last_report = Optimiser(options.optimiser, parameters), -callbacks.every
        generators = [torch.Generator().manual_seed(seed + 1) for seed in self.seeds]
        augmentation = options.augmentation
        for step in range(total):
            if callbacks.cancelled is not None and callbacks.cancelled():
                best.stopped = True
                return
            losses, gradient = self._gradient(parameters, scale, augmentation, generators)
            best.history.append(losses)
            if not augmentation:
                best.update(parameters, losses)
            elif step and step % _CHECK == 0:
                best.update(parameters, self._evaluate(parameters, scale)[0])
            if time.monotonic() - last_report >= callbacks.every:
                last_report = time.monotonic()
                callbacks.show(step, total, self.parametrisation.images(parameters), losses)
            best.diverged |= ~(losses.isfinite() & gradient.flatten(1).isfinite().all(1))
            if bool(best.diverged.all()):
                return
            fine = _like(~best.diverged, gradient)
            rate = rate_at(step, total, options.optimiser, options.parametrisation)
            optimiser.step(torch.where(fine, gradient, 0.0), options.rate * rate)
            parameters.copy_(torch.where(fine, parameters, best.parameters))
            if callbacks.progress is not None:
                callbacks.progress(step + 1, total)

    def _gradient(
        self,
        parameters: Tensor,
        scale: Tensor,
        augmentation: Augmentation,
        generators: list[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Return the losses ``(B,)`` with the priors, and their gradient by the parameters."""
        with torch.enable_grad():
            leaf = parameters.detach().clone().requires_grad_()
            images = self.parametrisation.images(leaf)
            inputs = self.parametrisation.normalised(augmentation(images, generators))
            losses, signal = self._input_gradient(inputs, scale)
            prior = self._prior(images)
            outputs, signals = [inputs], [signal]
            if prior.requires_grad:
                outputs, signals = [inputs, prior], [signal, torch.ones_like(prior)]
            (gradient,) = torch.autograd.grad(outputs, leaf, signals)
        return (losses + prior).detach(), gradient

    def _input_gradient(
        self, inputs: Tensor, scale: Tensor, *, check: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the objective's losses and their gradient by the network's inputs."""
        leaf = inputs.detach().requires_grad_()
        with guarded(self.network), torch.enable_grad():
            losses = self.objective.loss(self.activations(self._cast(leaf)), self.rows, scale)
            return losses, differentiated(losses, leaf, _EARLIER, check=check)

    def _evaluate(self, parameters: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and scores ``(B,)`` of the images as they are."""
        with guarded(self.network):
            images = self.parametrisation.images(parameters)
            values = self._values(images)
            losses = self.objective.loss(values, self.rows, scale) + self._prior(images)
            return losses, self.objective.score(values, self.rows)

    def _start(self, images: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the first parameters, of other noise where a unit is silent on the first."""
        ones = torch.ones(len(self.rows), device=self.rows.device)
        how = self.parametrisation
        parameters = how.noise(self.seeds) if images is None else how.parameters(images)
        for attempt in range(1, _ATTEMPTS + 1):
            inputs = how.normalised(how.images(parameters))
            _, signal = self._input_gradient(inputs, ones, check=attempt == 1)
            silent = signal.flatten(1).abs().amax(1) == 0
            if images is not None or attempt == _ATTEMPTS or not bool(silent.any()):
                break
            other = how.noise([seed + 7919 * attempt for seed in self.seeds], 1 + attempt)
            parameters = torch.where(_like(silent, parameters), other, parameters)
        return parameters, silent

    def _values(self, images: Tensor) -> Tensor:
        return self.activations(self._cast(self.parametrisation.normalised(images)))

    def _cast(self, batch: Tensor) -> Tensor:
        return batch.to(floating_dtype(self.network))

    def _prior(self, images: Tensor) -> Tensor:
        levels = self.parametrisation.grey_levels(images)
        return priors(levels, self.options.p_norm, self.options.total_variation)


def to_pixels(images: Tensor) -> np.ndarray:
    """Return images ``(B, 3, H, W)``, 0 black and 1 white, as uint8 ``(B, H, W, 3)``."""
    levels = (255 * images.float().nan_to_num(0.5).clamp(0, 1)).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().contiguous().numpy()


def _like(chosen: Tensor, values: Tensor) -> Tensor:
    """Return ``(B,)`` in a shape that broadcasts with ``values`` ``(B, …)``."""
    return chosen.reshape(-1, *[1] * (values.ndim - 1))
