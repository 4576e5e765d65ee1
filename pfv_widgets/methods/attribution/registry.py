"""The registry of methods: one line each."""

from __future__ import annotations

from pfv_widgets.methods.core.method import Method
from pfv_widgets.methods.gradient.backprop import (
    Deconvnet,
    GradientTimesInput,
    GuidedBackprop,
    Saliency,
)
from pfv_widgets.methods.gradient.gradcam import GradCAM
from pfv_widgets.methods.gradient.path_and_noise import IntegratedGradients, SmoothGrad
from pfv_widgets.methods.lrp.relevance import Relevance
from pfv_widgets.methods.perturbation.occlusion import Occlusion
from pfv_widgets.methods.perturbation.rise import RISE

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
