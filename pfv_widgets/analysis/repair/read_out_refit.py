"""The last linear layer of a network, fitted anew (DFR, Kirichenko et al., ICLR 2023)."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import for_this_thread, hooked, modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.network.partial_forward import Read
from pfv_widgets.errors import PFVValueError

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
STRENGTHS = (0.03, 0.01, 0.1)
"""scikit-learn's ``C``: a refit takes the best; the first where a group has fewer than ``FEW``."""
FEW = 10
UNKNOWN = -1  # unit of photos that no read-out could be fitted without
NEVER = -1e3  # bias of classes without photos, which are never predicted
_MARGIN = 0.3  # power of a group's share that divides its margin
_INTERCEPT = 10.0  # value of the intercept's column: large, so that it is hardly regularised
_FOLDS, _INNER_FOLDS = 5, 3
_CHUNK = 16  # photos in one forward pass


@dataclass(frozen=True, eq=False)
class LinearReadOut:
    """The linear layer that gives a network's scores.

    Attributes
    ----------
    name
        Of the module.
    inputs
        What it takes, ``(N, D)``.
    scores
        What it gives, ``(N, K)``.
    """

    name: str
    inputs: Numbers
    scores: Tensor


def linear_read_out(forward: Forward, read: Read) -> LinearReadOut:
    """Run the images and return the last linear layer with its inputs.

    Raises
    ------
    PFVValueError
        Where no ``nn.Linear`` gives the scores.
    """
    with guarded(forward.model) as network:
        linear = {
            name: one for name, one in modules_by_name(network).items()
            if isinstance(one, nn.Linear)
        }  # fmt: skip
        inputs: dict[str, list[Numbers]] = defaultdict(list)
        calls: dict[str, tuple[Tensor, Tensor]] = {}

        def note(_: nn.Module, name: str, values: tuple[object, ...], output: object) -> None:
            if isinstance(values[0], Tensor) and isinstance(output, Tensor) and output.ndim == 2:
                calls[name] = values[0].detach().clone(), output.detach().clone()

        scores = []
        for start in range(0, len(forward.images), _CHUNK):
            batch = forward.batch(start, start + _CHUNK)
            calls.clear()
            with hooked(linear, note):
                scores.append(read(run(network, batch), len(batch)).cpu())
            for name, (values, output) in calls.items():
                if _equal(output.cpu(), scores[-1]):
                    inputs[name].append(values.double().cpu().numpy())
        whole = torch.cat(scores)
        defined = int(torch.isfinite(whole).all(1).long().argmax())  # the first, or 0
        for name in [one for one, parts in inputs.items() if len(parts) == len(scores)]:
            if _moves(linear[name], network, forward.batch(defined, defined + 1), read):
                return LinearReadOut(name, np.concatenate(inputs[name]), whole)
    raise PFVValueError(
        "model: no nn.Linear gives its scores, so there is no read-out to fit anew. "
        "Use method='cut', or a network that ends in a linear layer."
    )


def _moves(module: nn.Module, network: nn.Module, photo: Tensor, read: Read) -> bool:
    """Whether scores are moved by what is added to the output of a module.

    Another one may give the same numbers: a copy for training, or an average.
    """
    scores = read(run(network, photo), 1)
    handle = module.register_forward_hook(for_this_thread(lambda *values: values[2] + 1))
    try:
        moved = read(run(network, photo), 1)
    finally:
        handle.remove()
    return _equal(moved, scores + 1)


def _equal(values: Tensor, scores: Tensor) -> bool:
    shaped = values.shape == scores.shape
    return shaped and torch.allclose(values.to(scores), scores, equal_nan=True)


def fitted_weights(
    inputs: Numbers, labels: Whole, groups: Whole, units: int, *, strength: float | None = None
) -> tuple[Numbers, Numbers]:
    """Weight ``(K, D)`` and bias ``(K,)`` of a logistic regression to balanced groups.

    Photos are weighted so that every group counts the same, weights are regularised (L2), and a
    group of few photos gets a larger margin: its scores count ``(n / n of the largest) ** 0.3``
    times (the group-sensitive VS loss, Kini et al., NeurIPS 2021), since a read-out that has no
    error left on the few photos fits them too closely, whatever they weigh. Where groups are of
    one size that is DFR's plain regression. Inputs are standardised.

    Of 24 sets of pets on other backgrounds that the rule was not chosen on, 180 photos with 1 to 8
    in the smallest groups, that gained .64 in the worst group of what training on balanced groups
    gains (without margins .45), and lost in 1.

    Parameters
    ----------
    strength
        ``C`` of scikit-learn; None: that of :data:`STRENGTHS` with the best worst group in
        cross-validation.
    """
    if strength is None:
        strength = _best_strength(inputs, labels, groups, units)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    standard = (inputs - mean) / spread
    counts = np.bincount(groups)
    balance = len(groups) / (counts[groups] * (counts > 0).sum())
    margins = (counts / counts.max())[groups, None] ** _MARGIN
    columns = margins * np.pad(standard, ((0, 0), (0, 1)), constant_values=_INTERCEPT)
    weight, bias = np.zeros((units, inputs.shape[1])), np.full(units, NEVER)
    present = np.unique(labels)
    model = LogisticRegression(C=strength, max_iter=1000, fit_intercept=False)
    model.fit(columns, labels, sample_weight=balance)
    rows, offsets = model.coef_[:, :-1] / spread, model.coef_[:, -1] * _INTERCEPT
    if len(present) == 2:  # they share one row
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight[present], bias[present] = rows, offsets - rows @ mean
    return weight, bias


def _best_strength(inputs: Numbers, labels: Whole, groups: Whole, units: int) -> float:
    """Return the strength whose worst group is the best in cross-validation, the first of equals.

    That is the first strength of all where the smallest group is too small to tell.
    """
    best, result = -1.0, STRENGTHS[0]
    counts = np.bincount(groups)
    if counts[counts > 0].min() < FEW:
        return result
    for strength in STRENGTHS:
        predicted = held_out_predictions(
            inputs, labels, groups, units, strength=strength, folds=_INNER_FOLDS
        )
        worst = min(float((predicted == labels)[groups == one].mean()) for one in np.unique(groups))
        if worst > best:
            best, result = worst, strength
    return result


def held_out_predictions(
    inputs: Numbers,
    labels: Whole,
    groups: Whole,
    units: int,
    *,
    strength: float | None = None,
    folds: int = _FOLDS,
    photos: Whole | None = None,
) -> Whole:
    """Predict each photo by read-outs that were fitted without it, ``(N,)``.

    ``UNKNOWN`` where no photo of its class, or of any other, is left to fit one to. Rows of one of
    ``photos`` ``(N,)`` are left out together.
    """
    random = np.random.default_rng(0)
    fold, first = np.empty(len(labels), dtype=np.int64), 0
    for one in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == one))
        fold[members] = (first + np.arange(len(members))) % folds
        first += len(members)  # else small groups of a class would all be in one fold
    if photos is not None:
        _, firsts, index = np.unique(photos, return_index=True, return_inverse=True)
        fold = fold[firsts][index]
    predicted = np.full(len(labels), UNKNOWN)
    for number in range(folds):
        rest = fold != number
        left = np.unique(labels[rest])
        out = ~rest & np.isin(labels, left)
        if not out.any() or len(left) < 2:
            continue
        weight, bias = fitted_weights(
            inputs[rest], labels[rest], groups[rest], units, strength=strength
        )
        predicted[out] = (inputs[out] @ weight.T + bias).argmax(1)
    return predicted


def with_read_out(model: nn.Module, name: str, weight: Numbers, bias: Numbers) -> nn.Module:
    """Return a copy of a network whose linear layer has other weights."""
    new = copy.deepcopy(model)
    layer = modules_by_name(new)[name]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.from_numpy(bias).to(layer.weight))
        else:
            layer.bias.copy_(torch.from_numpy(bias))
    return new
