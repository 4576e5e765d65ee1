"""The last linear layer of a network, fitted anew (DFR, Kirichenko et al., ICLR 2023)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import hooked, modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.network.partial_forward import Read
from pfv_widgets.errors import PFVValueError

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
DRAWS = 10
FEW = 20  # photos of the smallest group


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


def linear_read_out(forward: Forward, read: Read, chunk_size: int = 16) -> LinearReadOut:
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
        seen: dict[str, tuple[Tensor, Tensor]] = {}

        def note(_: nn.Module, name: str, inputs: tuple[object, ...], output: object) -> None:
            if isinstance(inputs[0], Tensor) and isinstance(output, Tensor) and output.ndim == 2:
                seen[name] = inputs[0].detach().clone(), output.detach().clone()

        inputs, scores, name = [], [], ""
        for start in range(0, len(forward.images), chunk_size):
            batch = forward.batch(start, start + chunk_size)
            with hooked(linear, note):
                given = read(run(network, batch), len(batch))
            same = [one for one, (_, out) in seen.items() if out.shape == given.shape
                    and torch.allclose(out.to(given), given)]  # fmt: skip
            if not same:
                raise PFVValueError(
                    "model: no nn.Linear gives its scores, so there is no read-out to fit anew. "
                    "Use method='cut', or a network that ends in a linear layer."
                )
            name = same[-1]
            inputs.append(seen[name][0].double().cpu().numpy())
            scores.append(given.cpu())
    return LinearReadOut(name, np.concatenate(inputs), torch.cat(scores))


def fitted_weights(
    inputs: Numbers, labels: Whole, groups: Whole, units: int, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """Weight ``(K, D)`` and bias ``(K,)`` of a logistic regression to balanced groups.

    Averaged over draws with as many photos of every group as the smallest has. Where that leaves
    fewer than :data:`FEW` of each, all photos are used, with weights that balance the groups.
    Inputs are standardised.
    """
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    standard = (inputs - mean) / spread
    weight, bias = np.zeros((units, inputs.shape[1])), np.zeros(units)
    counts = np.bincount(groups)
    few = counts[counts > 0].min() < FEW
    balance = len(groups) / (counts[groups] * (counts > 0).sum())
    draws = 1 if few else draws
    parts = [np.arange(len(groups))] if few else _draws(groups, draws, seed)
    for chosen in parts:
        model = LogisticRegression(max_iter=1000).fit(
            standard[chosen], labels[chosen], sample_weight=balance[chosen] if few else None
        )
        rows, offsets = model.coef_, model.intercept_
        if len(rows) == 1:  # two classes share one row
            rows, offsets = (
                np.concatenate([-rows, rows]) / 2,
                np.concatenate([-offsets, offsets]) / 2,
            )
        weight[model.classes_] += rows / spread / draws
        bias[model.classes_] += (offsets - (rows / spread) @ mean) / draws
    absent = np.setdiff1d(np.arange(units), labels)
    bias[absent] = -1e3  # classes without photos are never predicted
    return weight, bias


def _draws(groups: Whole, draws: int, seed: int) -> Iterator[Whole]:
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    fewest = min(len(one) for one in members)
    for _ in range(draws):
        yield np.concatenate([random.permutation(one)[:fewest] for one in members])


def held_out_predictions(
    inputs: Numbers, labels: Whole, groups: Whole, units: int, *, folds: int = 5, seed: int = 0
) -> Whole:
    """Predict each photo by read-outs that were fitted without it, ``(N,)``."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=np.int64)
    for one in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == one))
        fold[members] = np.arange(len(members)) % folds
    predicted = np.full(len(labels), -1)
    for number in range(folds):
        out = fold == number
        if not out.any():
            continue
        weight, bias = fitted_weights(inputs[~out], labels[~out], groups[~out], units)
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
