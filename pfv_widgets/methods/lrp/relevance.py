"""Relevance propagation: the score is divided, layer by layer, among what it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor, nn

from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.target import Target, UnitScores, gradient, score_function
from pfv_widgets.methods.lrp.diagnostics import cancelling, conserved, operations
from pfv_widgets.methods.lrp.propagation import RelevanceMode, Step
from pfv_widgets.methods.lrp.rules import (
    Passed,
    alpha_beta_rule,
    box_rule,
    epsilon_rule,
    flat_rule,
    gamma_rule,
    redistributed,
    scaling_rule,
)
from pfv_widgets.parameters import choice, in_words, slider

# name → the rules of the lower, the middle and the upper third of the convolutions, and of dense
# layers; a dense layer without its own takes that of its third
RULES: dict[str, tuple[str, str, str, str | None]] = {
    "epsilon-plus by depth": ("z-plus", "z-plus", "epsilon", "epsilon"),
    "epsilon": ("epsilon", "epsilon", "epsilon", None),
    "gamma": ("gamma", "gamma", "gamma", None),
    "alpha-beta": ("alpha-beta", "alpha-beta", "alpha-beta", None),
    "z-plus": ("z-plus", "z-plus", "z-plus", None),
    "epsilon-plus": ("z-plus", "z-plus", "z-plus", "epsilon"),
    "epsilon-gamma": ("gamma", "gamma", "gamma", "epsilon"),
    "by depth": ("gamma", "epsilon", "zero", None),
}
FIRST = ("same", "box", "flat")
RELU = ("backpropagation", "deconvnet", "guided")
BIAS = ("redistributed", "absorbed")
INSENSITIVE_RULES = frozenset({"gamma", "alpha-beta", "z-plus", "epsilon-plus"})
_INSENSITIVE = (
    "a rule whose maps hardly change where the classifier is re-initialised (Sixt et al. 2020)"
)
_OTHER_RULE = "Prefer rule='epsilon-plus by depth'."
_LARGER_SCORE = (
    "What speaks for the unit and against it is nearly the same: choose one with a larger score."
)


@dataclass(frozen=True)
class Relevance(Method):
    """Layer-wise relevance propagation (Bach et al. 2015), on any network of ReLUs.

    The relevance of a unit starts as its activation and is divided among what it was made of, in
    proportion to the contributions. BatchNorm counts with the convolution before it, sums split
    in proportion, and maxima take all. Other inputs than the images count as constants, as biases
    do. By default the map adds up to the score; a warning says where it is off by 1 %, and where
    most of it cancels. The default rule is a composite (Montavon et al. 2019): z⁺ below, so that
    the map is faithful, ε above, so that it depends on the class.
    ``Relevance(rule="epsilon", bias="absorbed")`` is the ε-rule of FeatureVis and of captum, where
    biases and ε keep their share and the map adds up to less.
    """

    rule: str = choice(
        "epsilon-plus by depth",
        RULES,
        label="Rule",
        help="How a layer divides relevance. epsilon-plus by depth: z-plus in the lower two thirds "
        "of the convolutions, epsilon above and in dense layers; faithful, and passes the "
        "randomisation check. epsilon: by all contributions, nearly gradient × input, whose values "
        "mostly cancel. gamma: contributions of the output's sign count more. alpha-beta: for and "
        "against apart. z-plus: only those for. epsilon-plus and epsilon-gamma: z-plus or gamma in "
        "convolutions, epsilon in dense layers. by depth: gamma below, epsilon in the middle, "
        "plain above. gamma, alpha-beta, z-plus and epsilon-plus hardly change where the "
        "classifier is re-initialised.",
    )
    epsilon: float = slider(
        0.001,
        0.0,
        10.0,
        0.001,
        label="ε",
        help="Damps relevance from small activations.",
    )
    gamma: float = slider(
        0.25,
        0.0,
        10.0,
        0.05,
        label="γ",
        help="Extra weight of contributions of the output's sign.",
    )
    alpha: float = slider(
        2.0,
        1.0,
        5.0,
        0.5,
        label="α",
        help="Weight of contributions for the unit; those against have β = α − 1.",
    )
    first: str = choice(
        "same",
        FIRST,
        label="First layer",
        help="How relevance reaches the pixels. same: as in the other layers; box: by the range "
        "of the pixels, so that dark ones count too; flat: evenly over each patch.",
    )
    relu: str = choice(
        "backpropagation",
        RELU,
        label="ReLU",
        help="What a ReLU passes on. backpropagation: all relevance; deconvnet and guided: only "
        "what is positive, so that the map does not add up to the score. The two are the same "
        "here, since an inactive ReLU has no relevance.",
    )
    bias: str = choice(
        "redistributed",
        BIAS,
        label="Biases",
        help="Where the share of biases and ε goes. redistributed: to the inputs of the same "
        "position, so that the map adds up to the score; absorbed: nowhere, as in FeatureVis and "
        "captum.",
    )

    label = "Relevance propagation"
    family = "deconvolutional"
    zero_reason = "the score that is shared out is zero"
    evidence = measured_evidence("passes", 0.16, 0.70, 0.07)
    usual = True

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - of every method
        """Return the options that have an effect; see :class:`Method`."""
        rules = RULES[self.rule]
        names = ["rule"]
        names += [name for name in ("epsilon", "gamma") if name in rules]
        names += ["alpha"] * ("alpha-beta" in rules)
        changed = [self.first != Relevance.first, self.relu != Relevance.relu]
        names += compress(("first", "relu"), changed)
        about = in_words(self, (*names, "bias"))
        return (*about, _INSENSITIVE) if self.rule in INSENSITIVE_RULES else about

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the relevance ``(N, 3, H, W)``; see :class:`Method`."""
        step(0, 1)
        zeros = torch.zeros_like(batch)
        with torch.enable_grad(), _frozen(network):
            both = torch.stack((batch.detach(), zeros)).requires_grad_()
            pixels, direct = both
            with RelevanceMode(self._divide, direct, self.relu != "backpropagation") as mode:
                measured = score_function(network, target)(pixels)
                words = operations(mode.foreign, measured.scores, both)
                signal, straight = gradient(measured, both)
        relevance, scores = signal * batch + straight, measured.scores.detach()
        if self.first != "same" and not mode.firsts:
            words += (_no_first_layer(self.first),)
        if self.relu == "backpropagation":
            words += conserved(relevance, scores, self.bias)
            faithful = self.rule == Relevance.rule
            words += cancelling(relevance, scores, _LARGER_SCORE if faithful else _OTHER_RULE)
        step(1, 1)
        return relevance, UnitScores(scores, measured.units), words

    def _divide(
        self, one: Step, depth: float, values: Tensor, signal: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        linear = one.linear
        if one.first and self.first != "same":
            rule = box_rule if self.first == "box" else flat_rule
            return None, rule(linear, values, signal)
        if one.kind == "scaling":
            passed, relevance, rest = scaling_rule(linear, values, signal)
        else:
            passed, relevance, rest = self._by_rule(one, depth, values, signal)
        if self.bias == "redistributed" and bool(rest.any()):
            passed = passed + redistributed(linear, values, relevance, rest)
        return passed, None

    def _by_rule(self, one: Step, depth: float, values: Tensor, signal: Tensor) -> Passed:
        *thirds, dense = RULES[self.rule]
        name = dense if dense and one.kind == "dense" else thirds[min(int(3 * depth), 2)]
        match name:
            case "gamma":
                return gamma_rule(one.linear, values, signal, self.gamma)
            case "alpha-beta":
                return alpha_beta_rule(one.linear, values, signal, self.alpha)
            case "z-plus":
                return alpha_beta_rule(one.linear, values, signal, 1.0)
        epsilon = self.epsilon if name == "epsilon" else 0.0
        return epsilon_rule(one.linear, values, signal, epsilon)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Let nothing but the pixels have a gradient: it tells activations from constants."""
    learning = [one for one in network.parameters() if one.requires_grad]
    try:
        for one in learning:
            one.requires_grad = False
        yield
    finally:
        for one in learning:
            one.requires_grad = True


def _no_first_layer(rule: str) -> str:
    return (
        f"first={rule!r} found no layer that reads the pixels as they are, and has no effect. "
        "Choose first='same'."
    )
