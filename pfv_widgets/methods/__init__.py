"""The FeatureVis taxonomy: input modification, deconvolutional methods, input reconstruction."""

from __future__ import annotations

from pfv_widgets.methods.averaged import IntegratedGradients, SmoothGrad
from pfv_widgets.methods.backprop import Deconvnet, GradientTimesInput, GuidedBackprop, Saliency
from pfv_widgets.methods.gradcam import GradCAM
from pfv_widgets.methods.method import Method
from pfv_widgets.methods.occlusion import Occlusion
from pfv_widgets.methods.relevance import Relevance
from pfv_widgets.methods.rise import RISE

METHODS: dict[str, type[Method]] = {
    "occlusion": Occlusion,
    "rise": RISE,
    "saliency": Saliency,
    "deconvnet": Deconvnet,
    "guided_backprop": GuidedBackprop,
    "gradient_times_input": GradientTimesInput,
    "relevance": Relevance,
    "integrated_gradients": IntegratedGradients,
    "smoothgrad": SmoothGrad,
    "grad_cam": GradCAM,
}

__all__ = ["METHODS"]
