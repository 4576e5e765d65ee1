"""The FeatureVis taxonomy: input modification, deconvolutional methods, input reconstruction."""

from __future__ import annotations

from pfv_widgets.methods.backprop import Saliency
from pfv_widgets.methods.method import Method

METHODS: dict[str, type[Method]] = {
    "saliency": Saliency,
}

__all__ = ["METHODS"]
