"""Bases of wide layers that follow the weights, against a float64 PCA from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring.heatmaps import Colouring, render_heatmaps
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.pca import eigensolvers, running_scatter, wide_fit
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.batch_basis import fit_batch_basis
from pfv_widgets.engine.pca.features import Features, features_of
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.engine.pipeline import feature_store
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.progress import MOMENTS, Cancelled, Progress
from tests.networks import blobs, seeded, tiny

Weights = Sequence[float]

SHAPES = [(24, 300, 5, 5), (12, 300, 3, 4), (40, 280, 2, 9), (6, 1100, 7, 7), (30, 270, 4, 4)]


def features(number: int, channels: int, height: int, width: int, seed: int = 0) -> Features:
    """Activations as of a ReLU: some directions common to all images, the rest of each position."""
    generator = seeded(seed)
    directions = (
        torch.randn(20, channels, generator=generator) * torch.linspace(2, 0.2, 20)[:, None]
    )
    shape = (number, height * width, 20)
    vectors = torch.randn(shape, generator=generator) @ directions
    vectors += 0.3 * torch.randn(number, 1, channels, generator=generator) + 2
    vectors += 0.5 * torch.randn(vectors.shape, generator=generator)
    return features_of(vectors.relu().transpose(1, 2).reshape(number, channels, height, width))


def from_scratch(of: Features, weights: Weights, number: int) -> PrincipalBasis:
    """Decompose the weighted covariance in float64, without anything of the engine's."""
    used = [index for index, weight in enumerate(weights) if weight > 0]
    maps = (of.maps[used].double() + of.offset.double()[:, None, None]).numpy()
    vectors = np.concatenate([one.reshape(len(one), -1).T for one in maps])
    shares = np.repeat([weights[index] for index in used], maps[0, 0].size).astype(float)
    shares /= shares.sum()
    mean = shares @ vectors
    rows = (vectors - mean) * np.sqrt(shares)[:, None]
    values, right = np.linalg.svd(rows, full_matrices=False)[1:]
    return PrincipalBasis(
        torch.from_numpy(mean), torch.from_numpy(right[:number]),
        torch.from_numpy(values[:number] ** 2), float((values**2).sum()), 1.0,
    )  # fmt: skip


def check(
    of: Features, fit: WideFit, weights: Weights, number: int = 3, factors: Sequence[Tensor] = ()
) -> PrincipalBasis:
    """Compare eigenvalues and colours with those of :func:`from_scratch`."""
    basis = fit_batch_basis(of, fit, tuple(weights), number)
    true = from_scratch(of, weights, number)
    np.testing.assert_allclose(basis.variances, true.variances, rtol=1e-4)
    assert basis.total_variance == pytest.approx(true.total_variance, rel=1e-5)
    torch.testing.assert_close(basis.mean.double(), true.mean, rtol=1e-5, atol=1e-5)
    assert basis.count == pytest.approx(sum(weights) * of.maps[0, 0].numel())
    signs = (basis.components.double() * true.components).sum(1).sign()
    colouring = Colouring(channels=(0, 1, 2)[:number])
    heatmaps = [
        render_heatmaps(scores, factors, weights, colouring, (20, 20))
        for scores in (of.scores(basis), scores_by_hand(of, true, signs))
    ]  # fmt: skip
    assert float((heatmaps[0] - heatmaps[1]).abs().max()) < 1e-3
    return basis


def scores_by_hand(of: Features, basis: PrincipalBasis, signs: Tensor) -> Tensor:
    vectors = of.maps.double() + (of.offset - basis.mean)[:, None, None]
    scores = torch.einsum("kc,nchw->nkhw", basis.components * signs[:, None], vectors)
    return scores.nan_to_num(0.0).float()


def steps(number: int) -> list[list[float]]:
    """Weights as a person changes them: images out and in, a slider, extremes, one image left."""
    ones = [1.0] * number
    some = [0.0 if index in (1, 4) else 1.0 for index in range(number)]
    slider = [[1 - level if index % 3 == 0 else 1.0 for index in range(number)]
              for level in (0.05, 0.1, 0.2, 0.75)]  # fmt: skip
    apart = [1e3 if index % 2 else 1e-3 for index in range(number)]
    last = [float(index == number - 1) for index in range(number)]
    light = [0.0 if index % 2 else 1e-3 for index in range(number)]
    return [ones, some, ones, some, *slider, apart, light, last, ones, [7 * one for one in some]]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_change_of_weights_gives_the_basis_from_scratch(
    shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if shape[0] % 4 == 0:  # with the search that is for larger matrices
        monkeypatch.setattr(eigensolvers, "_EXPENSIVE", 100)
    of = features(*shape)
    fit = WideFit(of.maps)
    for weights in steps(shape[0]):
        check(of, fit, weights)


@pytest.mark.parametrize("channels", [200, 1200])
def test_number_of_components_may_change_between_fits(channels: int) -> None:
    of = features(20, channels, 4, 4)
    fit = WideFit(of.maps)
    for number in (3, 12, 1, 7):
        check(of, fit, [1.0] * 20, number)


def test_long_way_of_changes_does_not_drift() -> None:
    of = features(20, 200, 4, 4)
    fit, generator = WideFit(of.maps), np.random.default_rng(0)
    weights = np.ones(20)
    for _ in range(120):
        weights[generator.integers(20)] = generator.choice([0.0, 0.01, 0.5, 1.0])
        fit_batch_basis(of, fit, tuple(weights), 3)
    check(of, fit, weights.tolist())


@pytest.mark.parametrize("channels", [200, 1200])
def test_image_that_is_not_finite_takes_no_part(channels: int) -> None:
    of = features(12, channels, 5, 5)
    maps = of.maps.clone()
    maps[3, 0, 0, 0], maps[7, 5] = float("nan"), float("inf")
    spoilt = Features(maps, of.offset, (3, 7))
    fit = WideFit(maps)
    for left_out in ((3, 7), (3, 7, 0), (3, 7)):
        weights = [float(index not in left_out) for index in range(12)]
        result = fit_batch_basis(spoilt, fit, tuple(weights), 3)
        true = from_scratch(of, weights, 3)
        np.testing.assert_allclose(result.variances, true.variances, rtol=1e-4)


def test_second_step_of_a_slider_multiplies_no_feature_maps() -> None:
    of = features(24, 300, 5, 5)
    fit = WideFit(of.maps)
    summed = []

    def note(progress: Progress) -> None:
        if progress.stage == MOMENTS and progress.done == 0:
            summed.append(progress.total)

    for level in (0.0, 0.1, 0.2, 0.3, 0.0):
        fit.fit(of.maps, [1 - level] * 10 + [1.0] * 14, 3, note)
        summed.append(0)
    assert summed == [24, 0, 10, 0, 0, 0, 0]


def test_mean_that_outweighs_the_spread_is_left_to_the_slow_way() -> None:
    of = features(8, 300, 6, 6)
    maps = of.maps.clone()
    maps[0] += 3000.0  # about the common offset this image is its mean and little else
    far = Features(maps, of.offset, ())
    fit = WideFit(maps)
    weights = [float(index == 0) for index in range(8)]
    assert fit.fit(maps, weights, 3) is None
    result = fit_batch_basis(far, fit, tuple(weights), 3)
    np.testing.assert_allclose(result.variances, from_scratch(far, weights, 3).variances, rtol=1e-4)
    check(far, fit, [float(index != 0) for index in range(8)])


@pytest.mark.parametrize(("number", "height"), [(6, 5), (24, 5)])
def test_images_far_from_one_that_alone_counts_have_the_colours_from_scratch(
    number: int, height: int
) -> None:
    of = features(number, 300, height, height)
    maps = of.maps.clone()
    mean = maps[1].mean((1, 2), keepdim=True)
    maps[1] = mean + 0.02 * (maps[1] - mean)
    near = features_of(maps)
    fit = WideFit(near.maps)
    factor = torch.full((number, 1, 20, 20), 0.02)  # brings the others into the range
    factor[1] = 1.0
    for weights in (
        [1.0] * number, [float(index != 4) for index in range(number)],
        [1e3 if index == 1 else 1e-3 for index in range(number)],
    ):  # fmt: skip
        check(near, fit, weights, factors=[factor])


def test_search_that_does_not_converge_is_left_to_the_slow_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = features(24, 300, 5, 5)
    fit = WideFit(of.maps)
    monkeypatch.setattr(wide_fit, "iterated", lambda *_, **__: None)
    check(of, fit, [1.0] * 24)
    monkeypatch.undo()
    check(of, fit, [0.5] * 12 + [1.0] * 12)


def test_components_with_nearly_the_same_variance_span_the_space_from_scratch() -> None:
    """Alone they may rotate within it."""
    generator = seeded(3)
    base = torch.linalg.qr(torch.randn(300, 3, generator=generator)).Q.T
    spread = torch.tensor([1.0, 1.0 - 1e-6, 0.5])
    vectors = torch.linalg.qr(torch.randn(24 * 25, 3, generator=generator)).Q * spread @ base
    vectors += 1e-3 * torch.randn(600, 300, generator=generator)
    of = features_of(vectors.view(24, 25, 300).transpose(1, 2).reshape(24, 300, 5, 5))
    fit = WideFit(of.maps)
    for weights in ([1.0] * 24, [0.0] + [1.0] * 23):
        result = fit_batch_basis(of, fit, tuple(weights), 2)
        true = from_scratch(of, weights, 2)
        overlap = torch.linalg.svdvals(result.components.double() @ true.components.T)
        assert float(overlap.min()) > 1 - 1e-6
        np.testing.assert_allclose(result.variances, true.variances, rtol=1e-4)


def test_work_that_is_cancelled_leaves_nothing_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_scatter, "_AT_ONCE", 1)  # one image at a time
    of = features(24, 300, 5, 5)
    fit = WideFit(of.maps)
    check(of, fit, [1.0] * 24)

    def cancel(progress: Progress) -> None:
        if progress.done == 3:
            raise Cancelled

    for weights in ([0.5] * 10 + [1.0] * 14, [1.0] * 5 + [0.0] * 19):
        with pytest.raises(Cancelled):
            fit.fit(of.maps, weights, 3, cancel)
        check(of, fit, [1.0] * 20 + [0.3] * 4)
        check(of, fit, weights)


def test_pictures_of_a_wide_layer_follow_the_images_within_the_bound_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_store, "_MOST_CHANNELS_FOR_MOMENTS", 7)  # else a test takes long
    network, images = tiny(channels=300), blobs(12)
    bound = 4 << 20
    pfv = PFV(network, images, "cpu", memory=bound)
    for out in (None, 3, 5):
        weights = tuple(float(index != out) for index in range(12))
        frame = pfv.render(layer="10", images=weights, weighting="none")
        with torch.no_grad():
            of = features_of(network[:11](images.tensor))
        true = from_scratch(of, weights, 3)
        signs = (frame.basis.components.double() * true.components).sum(1).sign()
        torch.testing.assert_close(frame.scores, scores_by_hand(of, true, signs), rtol=0, atol=1e-4)
    fits = [one for one in pfv.store.cache.values() if isinstance(one, WideFit)]
    assert [one.nbytes > 2 * 300**2 * 4 for one in fits] == [True]
    assert pfv.store.cache.nbytes <= bound


@pytest.mark.assets
@pytest.mark.parametrize("layer", [pytest.param(10, marks=pytest.mark.all), 12])
def test_real_features_give_the_basis_from_scratch(
    assets: Path, squeezenet: nn.Module, layer: int
) -> None:
    photos = sorted((assets / "photos" / "imagenet").glob("*.jpg"))[:10]
    with torch.no_grad():
        maps = squeezenet.features[: layer + 1](load_images(photos, size=128).tensor)
    of = features_of(maps)
    fit = WideFit(of.maps)
    for weights in steps(len(photos))[::3]:
        check(of, fit, weights)
