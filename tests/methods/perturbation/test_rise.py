"""RISE against its definition, written slowly, and on a network that looks at one place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.perturbation.rise import mask
from tests.networks import Function, blobs, seeded, tiny


def slow_mask(height: int, width: int, cells: int, seen: float, source: torch.Generator) -> Tensor:
    """Enlarge a grid of cells pixel by pixel, then cut a part out."""
    grid = (torch.rand((1, 1, cells + 1, cells + 1), generator=source) < seen)[0, 0].tolist()
    tall, broad = math.ceil(height / cells), math.ceil(width / cells)
    top = int(torch.randint(tall, (), generator=source))
    left = int(torch.randint(broad, (), generator=source))
    result = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            y = min(max((row + top + 0.5) / tall - 0.5, 0), cells)
            x = min(max((column + left + 0.5) / broad - 0.5, 0), cells)
            i, j = int(y), int(x)
            below, right = min(i + 1, cells), min(j + 1, cells)
            upper = grid[i][j] * (1 - x + j) + grid[i][right] * (x - j)
            lower = grid[below][j] * (1 - x + j) + grid[below][right] * (x - j)
            result[row, column] = upper * (1 - y + i) + lower * (y - i)
    return result


@pytest.mark.parametrize("centred", [False, True])
def test_rise_is_the_expected_score_where_a_pixel_is_seen(centred: bool) -> None:
    model, images = tiny(), blobs(2, 18, 26)
    options = {"masks": 20, "cells": 4, "seen": 0.4, "seed": 3, "batch_size": 6}
    result = attribute(model, images, "rise", centred=centred, **options)
    source = seeded(3)
    masks = [slow_mask(18, 26, 4, 0.4, source) for _ in range(20)]
    for image in range(2):
        scores = [
            float(model(one * images.tensor[image : image + 1])[0, result.units[image]].detach())
            for one in masks
        ]
        away = sum(scores) / 20 if centred else 0.0
        right = sum((score - away) * one for score, one in zip(scores, masks, strict=True))
        assert isinstance(right, Tensor)
        torch.testing.assert_close(result.maps[image], right / (20 * 0.4), rtol=1e-4, atol=1e-5)


def test_masks_are_seen_with_their_probability_and_shifted() -> None:
    source = seeded()
    masks = torch.stack([mask((20, 30), 5, 0.3, source) for _ in range(400)])
    assert masks.shape == (400, 20, 30)
    assert 0 <= float(masks.min()) < float(masks.max()) <= 1
    assert float(masks.mean(0)[3:-3, 3:-3].sub(0.3).abs().max()) < 0.1
    assert len({tuple(one.flatten().tolist()) for one in masks}) == 400


def test_rise_finds_the_place_that_a_network_looks_at() -> None:
    def corner(images: Tensor) -> Tensor:
        score = images[:, :, 20:28, 4:12].mean((1, 2, 3))
        return torch.stack([score, -score], 1)

    images = load_images(torch.ones(2, 3, 32, 32))
    result = attribute(nn.Sequential(Function(corner)), images, "rise", unit=0, masks=400)
    for one in result.maps:
        row, column = divmod(int(one.argmax()), 32)
        assert 18 <= row < 30
        assert 2 <= column < 14
    against = attribute(nn.Sequential(Function(corner)), images, "rise", unit=1, masks=400)
    torch.testing.assert_close(against.maps, -result.maps, rtol=1e-3, atol=1e-5)


def test_more_masks_make_a_calmer_map_and_a_seed_another_one() -> None:
    model, images = tiny(), blobs(1)
    few = [attribute(model, images, "rise", masks=20, seed=seed).maps for seed in (0, 1)]
    many = [attribute(model, images, "rise", masks=400, seed=seed).maps for seed in (0, 1)]
    assert not torch.equal(few[0], few[1])
    assert float((many[0] - many[1]).std()) < 0.5 * float((few[0] - few[1]).std())


@pytest.mark.assets
@pytest.mark.all
def test_rise_of_the_real_squeezenet_lies_on_the_bird(assets: Path, squeezenet: nn.Module) -> None:
    (photo,) = sorted((assets / "photos" / "imagenet").glob("*indigo*bunting*"))
    result = attribute(squeezenet, load_images([photo]), "rise", unit=14, masks=64)
    row, column = divmod(int(result.maps[0].argmax()), 224)
    assert 40 <= row <= 190
    assert 40 <= column <= 190
