"""The parts of a reconstruction against slow definitions: priors, goals, waves, moves, descent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.engine.data.normalisation import IMAGENET
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.inversion.augmentation import Augmentation
from pfv_widgets.methods.inversion.image_optimisers import Optimiser, rate_at
from pfv_widgets.methods.inversion.image_parametrisation import ImageParametrisation
from pfv_widgets.methods.inversion.objective import (
    ActivationMatch,
    ComponentScore,
    UnitActivation,
    priors,
    softplus_loss,
)
from tests.networks import seeded

CPU = torch.device("cpu")


def parametrisation(kind: str, size: tuple[int, int] = (9, 14)) -> ImageParametrisation:
    return ImageParametrisation(kind, size, IMAGENET, CPU)


def test_priors_are_those_of_featurevis(rng: np.random.Generator) -> None:
    levels = rng.normal(0, 60, (2, 3, 5, 7))
    result = priors(torch.from_numpy(levels), 2.0, 0.5)
    for picture, value in zip(levels, result.tolist(), strict=True):
        norm = variation = 0.0
        for colour in picture:
            for row in range(5):
                for column in range(7):
                    here = colour[row, column]
                    norm += abs(here) ** 6 / (5 * 7 * 128**6)
                    if row < 4:
                        variation += (colour[row + 1, column] - here) ** 2
                    if column < 6:
                        variation += (colour[row, column + 1] - here) ** 2
        variation /= 5 * 7 * 128**2 * 0.01**2
        assert value == pytest.approx(2 * norm + 0.5 * variation, rel=1e-9)
    assert priors(torch.from_numpy(levels), 0, 0).tolist() == [0, 0]


def test_distance_is_that_of_the_definition(rng: np.random.Generator) -> None:
    expected, values = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(3, 4, 3, 5))
    goal = ActivationMatch(Target(), ("a", "b"), torch.from_numpy(expected))
    rows = torch.tensor([1, 0, 1])
    actual = goal.loss(torch.from_numpy(values), rows, torch.ones(3))
    for index, row in enumerate(rows.tolist()):
        right = ((values[index] - expected[row]) ** 2).sum() / (expected[row] ** 2).sum()
        assert float(actual[index]) == pytest.approx(right, rel=1e-9)


def test_scores_are_means_over_the_positions(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.normal(size=(2, 4, 3, 5)))
    units = UnitActivation(Target(), ("a", "b"), (3, 1))
    rows = torch.tensor([0, 1])
    right = [float(values[0, 3].mean()), float(values[1, 1].mean())]
    assert units.score(values, rows).tolist() == pytest.approx(right)
    scale = units.scale(values)
    assert float(scale[0]) == pytest.approx(
        0.1 * math.sqrt(np.mean(values[0].mean((1, 2)).numpy() ** 2))
    )
    right = [
        -math.log(math.log(1 + math.exp(s / float(t)))) for s, t in zip(right, scale, strict=True)
    ]
    assert units.loss(values, rows, scale).tolist() == pytest.approx(right)

    mean = torch.from_numpy(rng.normal(size=4))
    directions = torch.linalg.qr(torch.from_numpy(rng.normal(size=(4, 4))))[0][:2]
    deviations = torch.tensor([0.5, 2.0], dtype=torch.float64)
    goal = ComponentScore(Target(), ("c", "d"), mean, directions, deviations)
    right = 0.0
    for row in range(3):
        for column in range(5):
            right += float((values[1, :, row, column] - mean) @ directions[1]) / 2.0 / 15
    assert float(goal.score(values, rows)[1]) == pytest.approx(right)
    assert float(goal.loss(values, rows, goal.scale(values))[1]) == pytest.approx(
        -math.log(math.log1p(math.exp(10 * right)))
    )


def test_loss_of_a_score_falls_with_every_score_and_never_ends() -> None:
    scores = torch.tensor([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e5], requires_grad=True)
    losses = softplus_loss(scores)
    assert bool(losses.isfinite().all())
    assert bool((losses[2:].diff() < 0).all())
    assert float(
        softplus_loss(torch.tensor(100.0)) - softplus_loss(torch.tensor(200.0))
    ) == pytest.approx(math.log(2))
    (slope,) = torch.autograd.grad(losses.sum(), scores)
    assert bool((slope < 0).all())


def test_a_wave_of_more_cycles_has_less_amplitude() -> None:
    how = parametrisation("fourier", (16, 16))
    spans = []
    for cycles in (1, 2, 4):
        numbers = torch.zeros(1, 3, 16, 9, 2)
        numbers[0, 0, 0, cycles, 0] = 0.1
        picture = torch.logit(how.images(numbers))
        assert float(picture.std(dim=2).max()) < 1e-5  # it runs across
        spans.append(float(picture.max() - picture.min()))
    assert spans[0] / spans[1] == pytest.approx(2, rel=1e-3)
    assert spans[0] / spans[2] == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("kind", ["fourier", "pixels"])
@pytest.mark.parametrize("size", [(9, 14), (8, 8), (15, 7)])
def test_images_become_parameters_and_come_back(kind: str, size: tuple[int, int]) -> None:
    how = parametrisation(kind, size)
    pictures = torch.rand(2, 3, *size, generator=seeded()) * 0.9 + 0.05
    torch.testing.assert_close(how.images(how.parameters(pictures)), pictures, rtol=1e-4, atol=1e-5)
    start = how.images(how.noise([3, 4]))
    assert start.shape == (2, 3, *size)
    assert 0.01 < float(start.std()) < 0.3
    assert torch.equal(how.noise([4])[0], how.noise([3, 4])[1])


def test_colours_are_independent_parameters_but_not_independent_colours() -> None:
    how = parametrisation("fourier", (64, 64))
    pixels = how.images(how.noise(range(40))).transpose(0, 1).flatten(1)
    correlations = torch.corrcoef(pixels)
    assert float(correlations[correlations < 0.999].min()) > 0.5  # as in photos


def test_augmentation_shifts_rotates_and_scales_about_the_centre() -> None:
    pictures = torch.rand(1, 3, 12, 20, generator=seeded())
    still = Augmentation()
    assert not still
    assert still(pictures, [seeded()]) is pictures
    draws = 2 * torch.rand(4, generator=seeded(5)) - 1
    jitter = float(2 / draws[2])  # two pixels to the side
    moved = Augmentation(jitter=jitter)(pictures, [seeded(5)])
    down = jitter * float(draws[3])
    whole = math.floor(down)
    share = down - whole
    column, row = 8, 6
    right = (1 - share) * pictures[..., row + whole, column + 2]
    right = (
        right + share * pictures[..., row + whole + 1, column + 2]
        if 0 <= row + whole < 11
        else right
    )
    if 0 <= row + whole < 11:
        torch.testing.assert_close(moved[..., row, column], right, rtol=1e-3, atol=1e-4)
    ring = torch.zeros(1, 1, 33, 65)
    ys, xs = torch.meshgrid(torch.arange(33) - 16, torch.arange(65) - 32, indexing="ij")
    ring[0, 0] = ((torch.hypot(ys.float(), xs.float()) - 9).abs() < 1.5).float()
    rotated = Augmentation(rotation=45)(ring, [seeded(5)])
    assert float((rotated - ring).abs().mean()) < 0.02  # a circle stays a circle
    grown = Augmentation(scale=0.5)(ring, [seeded(5)])
    across = grown[0, 0, 16, 32:].argmax() / 9
    assert float(across) == pytest.approx(1 + 0.5 * float(draws[0]), abs=0.15)


@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_steps_are_those_of_torch_and_every_row_is_on_its_own(name: str) -> None:
    gradients = torch.randn(6, 2, 5, generator=seeded())
    parameters, expected = torch.ones(2, 5), torch.ones(2, 5, requires_grad=True)
    theirs: torch.optim.Optimizer = torch.optim.Adam(
        [expected], lr=0.1, betas=(0.9, 0.99), eps=1e-18
    )
    if name == "momentum":
        theirs = torch.optim.SGD([expected], lr=0.1, momentum=0.9)
    optimiser, alone, second = Optimiser(name, parameters), [], torch.ones(1, 5)
    own = Optimiser(name, second)
    for gradient in gradients:
        optimiser.step(1e6 * gradient, 0.1)
        own.step(1e6 * gradient[1:] * 3, 0.1)
        rows = gradient / gradient.square().mean(1, keepdim=True).sqrt()
        expected.grad = 1e6 * gradient if name == "adam" else rows
        theirs.step()
        alone.append(second.clone())
    torch.testing.assert_close(parameters, expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second[0], parameters[1], rtol=1e-4, atol=1e-5)
    assert not torch.equal(alone[0], alone[1])


def test_a_vanishing_gradient_moves_nothing_to_infinity() -> None:
    for name in ("adam", "momentum"):
        parameters = torch.ones(2, 5)
        Optimiser(name, parameters).step(torch.tensor([[0.0], [1e-30]]).expand(2, 5), 0.1)
        assert bool(parameters.isfinite().all())
        assert torch.equal(parameters[0], torch.ones(5))


def test_steps_get_shorter_over_the_last_half() -> None:
    rates = [rate_at(step, 100, "adam", "fourier") for step in range(100)]
    assert len(set(rates[:49])) == 1
    assert all(np.diff(rates[50:]) < 0)
    assert rates[-1] == pytest.approx(rates[0] / 10)


def test_options_of_featurevis_are_those_of_the_paper() -> None:
    options = pw.Reconstruct.featurevis(steps=7)
    assert (options.parametrisation, options.optimiser, options.steps) == ("pixels", "momentum", 7)
    assert (options.p_norm, options.total_variation) == (1, 1)
    assert not options.augmentation
    assert not pw.Reconstruct.matching().augmentation
    assert pw.Reconstruct().augmentation
