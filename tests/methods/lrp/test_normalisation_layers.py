"""BatchNorm in relevance: folded into the map before it, a linear map of its own elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pfv_widgets.methods.attribution.attribute import attribute
from tests.methods.lrp.test_propagation import around
from tests.networks import blobs, tiny
from tests.slow_oracles import agreement


@pytest.mark.filterwarnings("ignore:The map adds up to")
@pytest.mark.parametrize("bias", ["redistributed", "absorbed"])
@pytest.mark.parametrize("rule", ["epsilon", "z-plus", "gamma", "alpha-beta"])
def test_batchnorm_counts_with_the_convolution_before_it(rule: str, bias: str) -> None:
    model, images = tiny(), blobs(2)
    with torch.no_grad():
        model[1].weight[::2].mul_(-1)  # a scale below zero turns the sign of its weights
    folded = [
        nn.utils.fuse_conv_bn_eval(one, model[i + 1]) if isinstance(one, nn.Conv2d) else one
        for i, one in enumerate(model)
        if not isinstance(one, nn.BatchNorm2d)
    ]
    result, right = (
        attribute(one, images, "relevance", rule=rule, bias=bias).signed
        for one in (model, nn.Sequential(*folded))
    )
    assert agreement(result, right) < 1e-4


def test_batchnorm_behind_a_dense_layer_is_folded_too() -> None:
    torch.manual_seed(2)
    dense, norm = nn.Linear(48, 6), nn.BatchNorm1d(6)
    norm.running_mean.normal_()
    norm.weight.data.uniform_(-1, 1)
    norm.bias.data.normal_()
    model = nn.Sequential(nn.Flatten(), dense, norm, nn.ReLU(), nn.Linear(6, 3)).eval()
    whole = nn.utils.fuse_linear_bn_eval(dense.eval(), norm)
    right = nn.Sequential(nn.Flatten(), whole, nn.ReLU(), model[4])
    images = blobs(2, 4)
    maps = [attribute(one, images, "relevance", rule="z-plus").signed for one in (model, right)]
    assert agreement(*maps) < 1e-4


def test_batchnorm_is_not_folded_where_something_was_written_between() -> None:
    norm = nn.BatchNorm2d(4).eval()
    norm.running_mean.fill_(0.5)
    written = around(lambda x: norm(x.mul_(2.0)))
    apart = around(lambda x: norm(x * 2.0))
    maps = [
        attribute(one, blobs(2, 12), "relevance", rule="z-plus").signed for one in (written, apart)
    ]
    assert agreement(*maps) < 1e-6
