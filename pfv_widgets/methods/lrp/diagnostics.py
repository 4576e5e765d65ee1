"""What should be known beside a map of relevance: operations without a rule, and its sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from torch import Tensor

from pfv_widgets.engine.network.backward_graph import kind_of, nodes_between

_TOLERATED = 0.01  # of the score
_CANCELLING = 10.0  # times the score: faithful composites reach 1 to 2, plain ε 30 to 500

# what autograd calls the operations that pass relevance as they pass a gradient: they are linear,
# or choose among their inputs
_KNOWN: list[str] = """
    Add Sub Neg Mul Div Rsub Cat Stack View Reshape ReshapeAlias UnsafeView Unsqueeze Squeeze
    Expand Repeat Permute Transpose T Slice Select Split SplitWithSizes SafeSplit Unbind
    Im2Col Col2Im Clone Copy CopySlices ToCopy AsStrided Alias Flip Roll Index IndexSelect Gather
    Mean Sum Mm Bmm Addmm Mv Dot Baddbmm Cumsum
    MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D AvgPool3D MkldnnMaxPool2D
    AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D MkldnnAdaptiveAvgPool2D
    Relu Threshold Abs Amax Max Maximum Min Minimum MaskedFill Where
    UpsampleNearest1D UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D
    UpsampleBicubic2D GridSampler2D ConstantPadNd ReflectionPad2D ReplicationPad2D
    PixelShuffle PixelUnshuffle ChannelShuffle NativeDropout AccumulateGrad _Linear _Passed _Halved
""".split()  # noqa: SIM905 - a list of 80 literals is no clearer
# of these, the ones that are linear in one of two operands
_TWO = ("Div", "Mm", "Bmm", "Addmm", "Mv", "Dot", "Baddbmm")
_LAYERS = ("Convolution", "MkldnnConvolution", "CudnnConvolution", "NativeBatchNorm",
           "CudnnBatchNorm")  # fmt: skip
_PLAIN_NAMES = {
    "NativeLayerNorm": "LayerNorm", "NativeGroupNorm": "GroupNorm", "Softmax": "softmax",
    "LogSoftmax": "log-softmax", "Div of two": "division by an activation",
    "Mm of two": "product of matrices", "Bmm of two": "product of matrices",
    "Baddbmm of two": "product of matrices", "Addmm of two": "product of matrices",
    "ScaledDotProductFlashAttentionForCpu": "attention",
    "ScaledDotProductFlashAttention": "attention",
    "ScaledDotProductEfficientAttention": "attention",
    "Gelu": "GELU", "Silu": "SiLU", "Clamp": "clamp", "Hardtanh": "Hardtanh",
    "LinalgVectorNorm": "norm", "Norm": "norm",
}  # fmt: skip


_HOW = {
    "gate": ", and a gate counts as a constant",
    "product": ", and the two factors of a product get half each",
    "LayerNorm": ", and the statistics of LayerNorm count as constants",
    "GroupNorm": ", and the statistics of GroupNorm count as constants",
}


def operations(foreign: Mapping[str, int], scores: Tensor, pixels: Tensor) -> tuple[str, ...]:
    """Say which operations behind ``scores`` have no rule, in words.

    The scores ``(N,)`` were computed under :class:`RelevanceMode` from the leaf ``pixels``;
    ``foreign`` are those that were passed whole all the same, and how often.
    """
    names = Counter(_names_behind(scores, pixels))
    inside = sum(names[name] for name in _LAYERS)
    unknown: Counter[str] = Counter()
    for name, count in names.items():
        if name not in _KNOWN and name not in _LAYERS:
            unknown[_PLAIN_NAMES.get(name, name)] += count
    how = "".join(text for name, text in _HOW.items() if name in foreign)
    messages = {
        f"Not every operation is one of a network of ReLUs ({_listed(foreign)}): relevance passes "
        f"those whole{how}. Its rules were not made for them: read the map with care.": foreign,
        f"{inside} layers lie inside traced, scripted or fused parts, which pass the gradient "
        "instead of relevance. Use the eager modules.": inside,
        f"There is no rule for {_listed(unknown)}: the map is gradient × input there, and need "
        "not add up to the score. Prefer integrated gradients.": unknown,
    }
    return tuple(text for text, there in messages.items() if there)


def conserved(relevance: Tensor, scores: Tensor, bias: str) -> tuple[str, ...]:
    """Say where relevance ``(N, …)`` does not add up to the scores ``(N,)`` within 1 %."""
    share = (relevance.flatten(1).sum(1) / scores)[scores != 0]
    share = share[share.isfinite()]
    off = (share - 1).abs() > _TOLERATED
    if not off.any():  # there is another warning for NaN
        return ()
    low, high = float(share[off].min()), float(share[off].max())
    span = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
    why = (
        "biases and ε absorbed the rest, which bias='redistributed' gives to the inputs"
        if bias == "absorbed"
        else "an operation has no rule, some had no inputs to go to, or rounding took it"
    )
    share_of = f"The map adds up to {span} of the score, where 1 is right, in {int(off.sum())} of "
    return (f"{share_of}{len(relevance)} images: {why}.",)


def cancelling(relevance: Tensor, scores: Tensor, fix: str) -> tuple[str, ...]:
    """Say where the parts of a map ``(N, 3, H, W)`` are far larger than the scores ``(N,)``.

    ``fix`` is a sentence on what to do then.
    """
    ratio = relevance.sum(1).abs().flatten(1).sum(1) / scores.abs()
    ratio = ratio[(scores != 0) & ratio.isfinite()]
    large = ratio > _CANCELLING
    if not large.any():
        return ()
    text = (
        f"Most of the relevance cancels: in {int(large.sum())} of {len(relevance)} images the "
        f"pixels' absolute values add up to more than {_CANCELLING:.0f} times the score (up to "
        f"{float(ratio.max()):.0f} times), so the sum is right and single pixels say little. {fix}"
    )
    return (text,)


def _names_behind(scores: Tensor, pixels: Tensor) -> Iterator[str]:
    """Name each operation between ``pixels``, a leaf, and ``scores``.

    One that is linear in one of two operands is named as such if both depend on the pixels.
    """
    between = nodes_between(scores, lambda leaf: leaf is pixels)
    for node in between:
        name = kind_of(node).partition("Backward")[0]
        operands = sum(one in between for one, _ in node.next_functions)
        yield f"{name} of two" if name in _TWO and operands > 1 else name


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in sorted(counts.items()))
