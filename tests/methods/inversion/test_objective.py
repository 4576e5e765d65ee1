"""The parts of a reconstruction against slow definitions: priors, goals, waves, moves, descent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.engine.data.normalisation import IMAGENET
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.inversion.augmentation import Moves
from pfv_widgets.methods.inversion.image_parameterisation import Canvas
from pfv_widgets.methods.inversion.objective import Components, Match, Units, priors, raised
from pfv_widgets.methods.inversion.optimiser import Adam, Momentum, descent_of, rate_at
from tests.networks import seeded

CPU = torch.device("cpu")


def canvas(kind: str, size: tuple[int, int] = (9, 14)) -> Canvas:
    return Canvas(kind, size, IMAGENET, CPU)


def test_priors_are_those_of_featurevis(rng: np.random.Generator) -> None:
    levels = rng.normal(0, 60, (2, 3, 5, 7))
    found = priors(torch.from_numpy(levels), 2.0, 0.5)
    for picture, value in zip(levels, found.tolist(), strict=True):
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
    wanted, values = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(3, 4, 3, 5))
    goal = Match(Target(), ("a", "b"), torch.from_numpy(wanted))
    rows = torch.tensor([1, 0, 1])
    found = goal.loss(torch.from_numpy(values), rows, torch.ones(3))
    for index, row in enumerate(rows.tolist()):
        right = ((values[index] - wanted[row]) ** 2).sum() / (wanted[row] ** 2).sum()
        assert float(found[index]) == pytest.approx(right, rel=1e-9)


def test_scores_are_means_over_the_places(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.normal(size=(2, 4, 3, 5)))
    units = Units(Target(), ("a", "b"), (3, 1))
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
    goal = Components(Target(), ("c", "d"), mean, directions, deviations)
    right = 0.0
    for row in range(3):
        for column in range(5):
            right += float((values[1, :, row, column] - mean) @ directions[1]) / 2.0 / 15
    assert float(goal.score(values, rows)[1]) == pytest.approx(right)
    assert float(goal.loss(values, rows, goal.scale(values))[1]) == pytest.approx(
        -math.log(math.log1p(math.exp(10 * right)))
    )


def test_raised_falls_with_every_score_and_never_ends() -> None:
    scores = torch.tensor([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e5], requires_grad=True)
    losses = raised(scores)
    assert bool(losses.isfinite().all())
    assert bool((losses[2:].diff() < 0).all())
    assert float(raised(torch.tensor(100.0)) - raised(torch.tensor(200.0))) == pytest.approx(
        math.log(2)
    )
    (slope,) = torch.autograd.grad(losses.sum(), scores)
    assert bool((slope < 0).all())


def test_a_wave_of_more_cycles_has_less_amplitude() -> None:
    board = canvas("fourier", (16, 16))
    spans = []
    for cycles in (1, 2, 4):
        numbers = torch.zeros(1, 3, 16, 9, 2)
        numbers[0, 0, 0, cycles, 0] = 0.1
        picture = torch.logit(board.paint(numbers))
        assert float(picture.std(dim=2).max()) < 1e-5  # it runs across
        spans.append(float(picture.max() - picture.min()))
    assert spans[0] / spans[1] == pytest.approx(2, rel=1e-3)
    assert spans[0] / spans[2] == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("kind", ["fourier", "pixels"])
@pytest.mark.parametrize("size", [(9, 14), (8, 8), (15, 7)])
def test_pictures_become_numbers_and_come_back(kind: str, size: tuple[int, int]) -> None:
    board = canvas(kind, size)
    pictures = torch.rand(2, 3, *size, generator=seeded()) * 0.9 + 0.05
    torch.testing.assert_close(
        board.paint(board.numbers_of(pictures)), pictures, rtol=1e-4, atol=1e-5
    )
    start = board.paint(board.start([3, 4]))
    assert start.shape == (2, 3, *size)
    assert 0.01 < float(start.std()) < 0.3
    assert torch.equal(board.start([4])[0], board.start([3, 4])[1])


def test_colours_are_independent_numbers_but_not_independent_colours() -> None:
    board = canvas("fourier", (64, 64))
    pixels = board.paint(board.start(range(40))).transpose(0, 1).flatten(1)
    correlations = torch.corrcoef(pixels)
    assert float(correlations[correlations < 0.999].min()) > 0.5  # as in photos


def test_moves_shift_turn_and_scale_about_the_centre() -> None:
    pictures = torch.rand(1, 3, 12, 20, generator=seeded())
    still = Moves()
    assert not still
    assert still(pictures, [seeded()]) is pictures
    draws = 2 * torch.rand(4, generator=seeded(5)) - 1
    jitter = float(2 / draws[2])  # two pixels to the side
    moved = Moves(jitter=jitter)(pictures, [seeded(5)])
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
    turned = Moves(rotation=45)(ring, [seeded(5)])
    assert float((turned - ring).abs().mean()) < 0.02  # a circle stays a circle
    grown = Moves(scale=0.5)(ring, [seeded(5)])
    across = grown[0, 0, 16, 32:].argmax() / 9
    assert float(across) == pytest.approx(1 + 0.5 * float(draws[0]), abs=0.15)


def test_adam_is_the_one_of_torch_and_momentum_the_definition() -> None:
    gradients = torch.randn(6, 2, 5, generator=seeded())
    ours, theirs = torch.ones(2, 5), torch.ones(2, 5, requires_grad=True)
    other = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99), eps=1e-18)
    adam = Adam()
    for gradient in gradients:
        ours = adam.step(ours, gradient, 0.1)
        theirs.grad = gradient.clone()
        other.step()
    torch.testing.assert_close(ours, theirs.detach())
    momentum, place = Momentum(), torch.zeros(2, 5)
    velocity, right = np.zeros((2, 5)), np.zeros((2, 5))
    for gradient in gradients:
        place = momentum.step(place, 1e6 * gradient, 0.1)
        rows = gradient.numpy()
        velocity = 0.9 * velocity - 0.1 * rows / np.sqrt((rows**2).mean(1, keepdims=True))
        right += velocity
    assert np.allclose(place.numpy(), right, atol=1e-5)
    assert isinstance(descent_of("momentum"), Momentum)


def test_steps_get_shorter_over_the_last_half() -> None:
    rates = [rate_at(step, 100, "adam", "fourier") for step in range(100)]
    assert len(set(rates[:49])) == 1
    assert all(np.diff(rates[50:]) < 0)
    assert rates[-1] == pytest.approx(rates[0] / 10)


def test_options_of_featurevis_are_those_of_the_paper() -> None:
    options = pw.Reconstruct.featurevis(steps=7)
    assert (options.parametrisation, options.optimiser, options.steps) == ("pixels", "momentum", 7)
    assert (options.p_norm, options.total_variation) == (1, 1)
    assert not options.moves
    assert not pw.Reconstruct.matching().moves
    assert pw.Reconstruct().moves
