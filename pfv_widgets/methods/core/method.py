"""What every method has in common: its options, its arguments and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import let_others_run
from pfv_widgets.errors import PFVError
from pfv_widgets.methods.core.target import Target, UnitScores
from pfv_widgets.parameters import in_words, parameters_of, validate

Progress = Callable[[int, int], None]  # (done, all)
Cancelled = Callable[[], bool]
Report = Progress  # raises CancelledError where the work is not wanted any more
Reduction = Literal["magnitude", "sum"]
Family = Literal["input modification", "deconvolutional", "input reconstruction"]
Result = tuple[Tensor, UnitScores, tuple[str, ...]]


class CancelledError(PFVError):
    """A method was cancelled before it was done."""


@dataclass(frozen=True)
class Method:
    """Base of every method: a frozen dataclass whose fields are its options (``parameters.py``).

    Attributes
    ----------
    label
        Name for people.
    family
        Its class in the taxonomy of FeatureVis (Grün et al. 2016).
    reduction
        How its values become one map: ``"magnitude"``, the largest absolute value of the colour
        channels, never negative; ``"sum"``, their sum with its sign.
    needs_gradient
        Whether the network has to be differentiable.
    zero_reason
        What it means if a map is zero everywhere, in words.
    caution
        What should be known before its maps are believed, in words with their source, or ``""``.
    evidence
        What it passes and fails, and how faithful it is, in words with their source.
    usual
        Whether the grid of methods shows it at first.
    """

    label: ClassVar[str]
    family: ClassVar[Family]
    reduction: ClassVar[Reduction] = "sum"
    needs_gradient: ClassVar[bool] = True
    zero_reason: ClassVar[str]
    caution: ClassVar[str] = ""
    evidence: ClassVar[str]
    usual: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate(self)

    def attribute(
        self,
        network: nn.Module,
        batch: Tensor,
        target: Target,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Result:
        """Attribute the scores of a batch to its pixels.

        Parameters
        ----------
        network
            In eval mode, on the device of the batch, inside ``guarded``: gradients are off.
        batch
            ``(N, 3, H, W)`` of the network's dtype; it is not changed.
        target
            What is explained.
        progress
            Called as ``progress(done, all)`` in steps of the method's own.
        cancelled
            Asked between steps; True: a :class:`CancelledError` ends the work.

        Returns
        -------
        tuple
            Values ``(N, 3, H, W)`` or ``(N, H, W)``; the :class:`UnitScores` of the images
            themselves, detached; warnings, in words.
        """

        def report(done: int, total: int) -> None:
            step(done, total, progress, cancelled if done < total else None)

        return self.explain(network, batch, target, report)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return what :meth:`attribute` does; ``step(done, all)`` ends what is not wanted.

        Gradients are off: ``differentiate`` in ``backprop.py`` switches them on for itself.
        """
        raise NotImplementedError

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - some need it
        """Return the options that maps of images ``(H, W)`` depend on, in words."""
        return in_words(self, [name for name in parameters_of(self) if name != "seed"])


def measured_evidence(
    verdict: Literal["passes", "fails"], correlation: float, insertion: float, deletion: float
) -> str:
    """Say what ``bench_faithfulness.py`` measured of a method's defaults (RISE: 60 masks).

    The verdict is that of the randomisation check of Adebayo et al. 2018; the correlation
    Spearman's, of the map with that of the network whose classifier was re-initialised; insertion
    and deletion the class's mean probability while pixels come back, or go, in the order of the
    map.
    """
    return (
        f"{verdict} the randomisation check (Adebayo et al. 2018): once the classifier is "
        f"re-initialised, the rank correlation with the former map is {correlation:.2f}, where low "
        f"is right; insertion {insertion:.2f} (high is right), deletion {deletion:.2f} (low is "
        "right), on 20 photos with SqueezeNet"
    )


def step(done: int, total: int, progress: Progress | None, cancelled: Cancelled | None) -> None:
    """Report that ``done`` of ``total`` steps are done, and let others use the network meanwhile.

    Raises
    ------
    CancelledError
        If the work is not wanted any more.
    """
    if cancelled is not None and cancelled():
        raise CancelledError(f"The method was stopped after {done} of {total} steps.")
    if progress is not None:
        progress(done, total)
    let_others_run()


def reduce_channels(signed: Tensor, reduction: Reduction) -> Tensor:
    """Return one map ``(N, H, W)`` of values ``(N, 3, H, W)`` or ``(N, H, W)``."""
    if reduction == "magnitude":
        return signed.abs().amax(1) if signed.ndim == 4 else signed.abs()
    return signed.sum(1) if signed.ndim == 4 else signed
