"""How well a network names the objects in scenes that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.demo.network import normalise
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.demo.scenes import Scene


def targets(scenes: Sequence[Scene]) -> Tensor:
    """Return (N, classes) float32: 1 where the class is in the scene."""
    rows = [[float(name in scene.objects) for name in CLASSES] for scene in scenes]
    return torch.tensor(rows)


def evaluate(model: nn.Module, scenes: Sequence[Scene]) -> dict[str, float]:
    """Return metrics in 0…1 of the network on the scenes.

    ``accuracy`` is the mean over the classes of the balanced accuracy (mean of the rates of right
    answers among scenes with and without the object: 0.5 by chance); ``exact`` the share of scenes
    with every class right; ``mean_average_precision`` the mean area under precision and recall.
    """
    was_training = model.training
    model.eval()
    pixels = np.stack([scene.pixels for scene in scenes])
    with torch.no_grad():
        parts = [model(normalise(some)) for some in np.split(pixels, range(64, len(pixels), 64))]
    model.train(was_training)
    return scores(torch.cat(parts), targets(scenes))


def scores(logits: Tensor, truth: Tensor) -> dict[str, float]:
    """Return the metrics of :func:`evaluate` from logits and truth, both (N, classes)."""
    answers, true = logits > 0, truth > 0.5
    hits = (answers & true).sum(0) / true.sum(0).clamp(min=1)
    refusals = (~answers & ~true).sum(0) / (~true).sum(0).clamp(min=1)
    precision = [_average_precision(logits[:, k], true[:, k]) for k in range(truth.shape[1])]
    return {
        "accuracy": float(((hits + refusals) / 2).mean()),
        "exact": float((answers == true).all(1).float().mean()),
        "mean_average_precision": float(np.mean(precision)),
    }


def _average_precision(logits: Tensor, true: Tensor) -> float:
    """Return the mean, over the true scenes, of the precision down to each one's rank."""
    hits = true[logits.argsort(descending=True)].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum().clamp(min=1))
