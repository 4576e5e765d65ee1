"""The registry of methods: one line each, and the default."""

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

# Of the methods that pass the randomisation check and are faithful, the one whose maps have the
# resolution of the pixels and add up to the score, for any layer and any network of ReLUs, in the
# time of a few passes. Grad-CAM is as coarse as its layer, which has to have maps; occlusion takes
# 50 passes; guided backpropagation fails the check. Figures: ``Method.evidence``.
DEFAULT = "relevance"

METHODS: dict[str, type[Method]] = {
    "saliency": Saliency,
    "deconvnet": Deconvnet,
    "guided_backprop": GuidedBackprop,
    "gradient_times_input": GradientTimesInput,
    "relevance": Relevance,
    "integrated_gradients": IntegratedGradients,
    "smoothgrad": SmoothGrad,
    "grad_cam": GradCAM,
    "occlusion": Occlusion,
    "rise": RISE,
}
