"""The last linear layer of a network, fitted anew (DFR, Kirichenko et al., ICLR 2023)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.utils import parametrize, skip_init

from pfv_widgets.engine.network.capture import for_this_thread, hooked, modules_by_name
from pfv_widgets.engine.network.devices import copied
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded, run
from pfv_widgets.engine.network.partial_forward import Read
from pfv_widgets.errors import PFVValueError

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
_Cell = tuple[Whole, int]  # photos of a group, and how many of them a subset has
STRENGTH = 0.03  # scikit-learn's C
STRENGTH_WITH_OFFSETS = 0.0025  # the same of all photos, none of which counts less
_UNSEEN = 0.5  # photos added to each count: of a class on a kind, none is not never
SUBSETS = 20  # balanced ones, at most, of which a refit takes the mean
FEW = 10  # photos of the smallest group: fewer are taken with all the others as well
# of those that nn.Module keeps: what runs after a layer, and may stay where it is replaced
_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
UNKNOWN = -1  # unit of photos that no read-out could be fitted without
NEVER = -1e3  # bias of classes without photos, which are never predicted
_MARGIN = 0.3  # power of a group's share that divides its margin
_INTERCEPT = 10.0  # value of the intercept's column: large, so that it is hardly regularised
_FOLDS = 5
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
    step = 1 + float(scores.abs().nan_to_num().max())
    handle = module.register_forward_hook(for_this_thread(lambda *values: values[2] + step))
    try:
        moved = read(run(network, photo), 1)
    finally:
        handle.remove()
    weight = next(module.parameters(), scores)  # half precision rounds what is added
    return _equal(moved, scores + step, 4 * torch.finfo(weight.dtype).eps)


def _equal(values: Tensor, scores: Tensor, tolerance: float = 0.0) -> bool:
    shaped, rtol = values.shape == scores.shape, max(tolerance, 1e-5)
    return shaped and torch.allclose(values.to(scores), scores, rtol, tolerance or 1e-8, True)


def refitted_weights(
    inputs: Numbers, labels: Whole, groups: Whole, units: int, kinds: Whole | None = None
) -> tuple[Numbers, Numbers]:
    """Weight ``(K, D)`` and bias ``(K,)`` of a read-out that is fitted to balanced groups.

    The mean of two fits, each scaled to scores of the same spread. One is DFR: the mean of logistic
    regressions to up to ``SUBSETS`` random subsets. Of each kind, such as a background, these have
    as many photos of each class as the class with the fewest has: a kind tells nothing of the class
    then. Kinds that a class lacks are left out. Without ``kinds`` subsets have as many photos of
    each group as the smallest has. Where a class has fewer than ``FEW`` photos of a kind, half of
    this is :func:`weights_with_margins`: subsets of few photos alone lose more where the network
    does well already.

    The other is :func:`weights_with_offsets`, to all photos. Without ``kinds`` there is none; and
    :func:`weights_with_margins` is all where all classes share no kind, or where it is not known
    and some classes have more groups than others.

    Parameters
    ----------
    inputs, labels, groups
        ``(N, D)``, ``(N,)`` and ``(N,)``: a group is a class on one kind.
    units
        K, of the output.
    kinds
        ``(N,)``; None: not known.
    """
    with_margins = weights_with_margins(inputs, labels, groups, units)
    cells = _by_group(labels, groups) if kinds is None else _by_kind(labels, kinds)
    if not cells:
        return with_margins
    fit, present = _weights_of_subsets(inputs, labels, groups, cells, units), np.unique(labels)
    if min(number for _, number in cells) < FEW:
        fit = _mean_of_scaled([with_margins, fit], inputs, present)
    if kinds is None:
        return fit
    return _mean_of_scaled(
        [fit, weights_with_offsets(inputs, labels, kinds, units)], inputs, present
    )


def _mean_of_scaled(
    fits: Sequence[tuple[Numbers, Numbers]], inputs: Numbers, present: Whole
) -> tuple[Numbers, Numbers]:
    """Return the mean of read-outs whose scores spread as much as those of the first."""
    scaled, spreads = [], []
    for weight, bias in fits:
        scores = (inputs @ weight.T + bias)[:, present]
        spreads.append(np.std(scores - scores.mean(1, keepdims=True)) + 1e-12)
        scaled.append((weight / spreads[-1], bias / spreads[-1]))
    weight, bias = _mean_of(scaled, present)
    return weight * spreads[0], np.where(bias == NEVER, NEVER, bias * spreads[0])


def shared_kinds(labels: Whole, kinds: Whole) -> Whole:
    """Return the kinds of which every class has photos."""
    number = len(np.unique(labels))
    several = np.unique(kinds)
    return several[[len(np.unique(labels[kinds == one])) == number for one in several]]


def _by_kind(labels: Whole, kinds: Whole) -> list[_Cell]:
    cells: list[_Cell] = []
    for kind in shared_kinds(labels, kinds):
        members = [np.flatnonzero((labels == one) & (kinds == kind)) for one in np.unique(labels)]
        cells += [(one, min(map(len, members))) for one in members]
    return cells


def _by_group(labels: Whole, groups: Whole) -> list[_Cell]:
    if len({len(np.unique(groups[labels == unit])) for unit in np.unique(labels)}) > 1:
        return []  # subsets would not be balanced by class
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    return [(one, min(map(len, members))) for one in members]


def _mean_of(several: Sequence[tuple[Numbers, Numbers]], present: Whole) -> tuple[Numbers, Numbers]:
    """Return the mean of read-outs; classes without photos are never predicted."""
    weight, bias = (np.mean(part, axis=0) for part in zip(*several, strict=True))
    bias[np.setdiff1d(np.arange(len(bias)), present)] = NEVER
    return weight, bias


def _weights_of_subsets(
    inputs: Numbers, labels: Whole, groups: Whole, cells: list[_Cell], units: int
) -> tuple[Numbers, Numbers]:
    standard = _Standard.of(inputs)
    random, several = np.random.default_rng(0), []
    most = max(len(members) / number for members, number in cells)
    # each photo of the largest group is taken about twice
    for _ in range(min(SUBSETS, math.ceil(2 * most)) if most > 1 else 1):
        some = np.concatenate([random.permutation(one)[:number] for one, number in cells])
        several.append(_regression(standard, some, labels, groups, units))
    return _mean_of(several, np.unique(labels))


def weights_with_margins(
    inputs: Numbers, labels: Whole, groups: Whole, units: int, *, strength: float = STRENGTH
) -> tuple[Numbers, Numbers]:
    """Weight ``(K, D)`` and bias ``(K,)`` of a logistic regression to all photos of the groups.

    Photos are weighted so that every group counts the same, weights are regularised (L2), and a
    group of few photos gets a larger margin: its scores count ``(n / n of the largest) ** 0.3``
    times (the group-sensitive VS loss, Kini et al., NeurIPS 2021), since a read-out that has no
    error left on the few photos fits them too closely, whatever they weigh. Inputs are
    standardised.
    """
    every = np.arange(len(labels))
    return _regression(_Standard.of(inputs), every, labels, groups, units, strength=strength)


def weights_with_offsets(
    inputs: Numbers, labels: Whole, kinds: Whole, units: int
) -> tuple[Numbers, Numbers]:
    """Weight ``(K, D)`` and bias ``(K,)`` of a logistic regression to which kinds tell nothing.

    To the scores of each photo it adds how often each class is on the photo's kind,
    ``log(n of class and kind)`` (logit adjustment, Menon et al., ICLR 2021, within kinds). What
    follows from the kind is explained by these, and left out when the read-out is used: it names
    classes as if each kind had as many photos of every class. Weights are regularised (L2), inputs
    standardised.
    """
    present, index = np.unique(labels, return_inverse=True)
    _, kind = np.unique(kinds, return_inverse=True)
    counts = np.full((kind.max() + 1, len(present)), _UNSEEN)
    np.add.at(counts, (kind, index), 1)
    offsets, right = np.log(counts)[kind], np.eye(len(present))[index]
    standard = _Standard.of(inputs)
    wide = standard.wide()

    def loss(flat: Numbers) -> tuple[float, Numbers]:
        logs = log_softmax(wide @ flat.reshape(len(present), -1).T + offsets, axis=1)
        slopes = STRENGTH_WITH_OFFSETS * ((np.exp(logs) - right).T @ wide).ravel() + flat
        return float(flat @ flat / 2 - STRENGTH_WITH_OFFSETS * (right * logs).sum()), slopes

    start = np.zeros(len(present) * wide.shape[1])
    rows = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(len(present), -1)
    return standard.back(rows, present, units)


@dataclass(frozen=True, eq=False)
class _Standard:
    """Inputs of mean 0 and spread 1, with what they were."""

    values: Numbers
    mean: Numbers
    spread: Numbers

    @classmethod
    def of(cls, inputs: Numbers) -> _Standard:
        mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
        return cls((inputs - mean) / spread, mean, spread)

    def wide(self, some: Whole | slice = slice(None)) -> Numbers:
        """Return some of the inputs and the intercept's column, ``(n, D + 1)``."""
        return np.pad(self.values[some], ((0, 0), (0, 1)), constant_values=_INTERCEPT)

    def back(self, rows: Numbers, present: Whole, units: int) -> tuple[Numbers, Numbers]:
        """Return weight and bias for inputs as they were, of rows ``(k, D + 1)``."""
        weight, bias = np.zeros((units, len(self.mean))), np.full(units, NEVER)
        weight[present] = rows[:, :-1] / self.spread
        bias[present] = rows[:, -1] * _INTERCEPT - weight[present] @ self.mean
        return weight, bias


def _regression(
    standard: _Standard, some: Whole, labels: Whole, groups: Whole, units: int,
    *, strength: float = STRENGTH,
) -> tuple[Numbers, Numbers]:  # fmt: skip
    """Weight and bias for inputs as they were, of a regression with margins to some photos."""
    labels, groups = labels[some], groups[some]
    counts = np.bincount(groups)
    balance = len(groups) / (counts[groups] * (counts > 0).sum())
    margins = (counts / counts.max())[groups, None] ** _MARGIN
    model = LogisticRegression(C=strength, max_iter=1000, fit_intercept=False)
    model.fit(margins * standard.wide(some), labels, sample_weight=balance)
    rows = model.coef_
    if len(rows) == 1:  # two classes share it
        rows = np.concatenate([-rows, rows]) / 2
    return standard.back(rows, np.unique(labels), units)


def held_out_predictions(
    inputs: Numbers,
    labels: Whole,
    groups: Whole,
    units: int,
    *,
    photos: Whole | None = None,
    kinds: Whole | None = None,
) -> Whole:
    """Predict each photo by read-outs that were fitted without it, ``(N,)``.

    ``UNKNOWN`` where no photo of its class, or of any other, is left to fit one to. Rows of one of
    ``photos`` ``(N,)`` are left out together.
    """
    random = np.random.default_rng(0)
    fold, first = np.empty(len(labels), dtype=np.int64), 0
    for one in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == one))
        fold[members] = (first + np.arange(len(members))) % _FOLDS
        first += len(members)  # else small groups of a class would all be in one fold
    if photos is not None:
        _, firsts, index = np.unique(photos, return_index=True, return_inverse=True)
        fold = fold[firsts][index]
    predicted = np.full(len(labels), UNKNOWN)
    for number in range(_FOLDS):
        rest = fold != number
        left = np.unique(labels[rest])
        out = ~rest & np.isin(labels, left)
        if not out.any() or len(left) < 2:
            continue
        some = None if kinds is None else kinds[rest]
        weight, bias = refitted_weights(inputs[rest], labels[rest], groups[rest], units, some)
        predicted[out] = (inputs[out] @ weight.T + bias).argmax(1)
    return predicted


def with_read_out(model: nn.Module, name: str, weight: Numbers, bias: Numbers) -> nn.Module:
    """Return a copy of a network whose linear layer has other weights.

    A layer whose weights are made of others before it runs, as by weight normalisation or pruning,
    is replaced by a plain one, with the hooks that run after it.

    Raises
    ------
    PFVValueError
        Where the network cannot be copied.
    """
    new = copied(model)
    layer = modules_by_name(new)[name]
    assert isinstance(layer, nn.Linear)
    if not {"weight", "bias"} <= layer._parameters.keys() or parametrize.is_parametrized(layer):
        like = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        plain: nn.Linear = skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, weight.shape[1], len(weight), **like
        ).train(layer.training)
        for kind in _HOOKS:
            getattr(plain, kind).update(getattr(layer, kind))
        for parent in list(new.modules()):
            for key, part in parent._modules.items():
                if part is layer:
                    parent._modules[key] = plain
        layer = plain
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.from_numpy(bias).to(layer.weight))
        else:
            layer.bias.copy_(torch.from_numpy(bias))
    return new


def check_read_out(
    forward: Forward, model: nn.Module, read: Read, given: LinearReadOut,
    fit: tuple[Numbers, Numbers],
) -> None:  # fmt: skip
    """Raise where a refitted network gives other scores than the fit says.

    Parameters
    ----------
    forward, read
        The images of the network that was given, and what reads its scores.
    model
        The refitted network, on the device of the images.
    given
        The read-out of the network that was given, for the first images alone.
    fit
        Weight ``(K, D)`` and bias ``(K,)`` of the refitted one.

    Raises
    ------
    PFVValueError
        Unless the network that was given gives other scores each time.
    """
    (weight, bias), inputs = fit, given.inputs
    used = bias != NEVER
    # of the terms of a sum, which may cancel: half precision rounds each
    size = float((np.abs(inputs) @ np.abs(weight).T + np.abs(bias))[:, used].max())
    tolerance = size * torch.finfo(floating_dtype(model)).eps ** 0.5

    def gives(network: nn.Module, expected: Numbers) -> bool:
        with guarded(network) as own:
            scores = read(run(own, forward.batch(0, len(expected))), len(expected))
        return np.allclose(scores.cpu().double().numpy()[:, used], expected[:, used], 0, tolerance)

    fitted = inputs @ weight.T + bias
    if not gives(model, fitted) and gives(forward.model, given.scores.double().numpy()):
        raise PFVValueError(
            "model: with other weights in its last nn.Linear its scores are not those of the fit: "
            "the weights are used elsewhere as well, or made anew in each pass. Use method='cut', "
            "or give the layer weights of its own."
        )
