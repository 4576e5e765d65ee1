"""Objects on the surroundings of other photos, and a read-out that is fitted to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pfv_widgets as pw
from pfv_widgets.analysis.repair.exchanged_surroundings import donors_of, exchanged

RED, BLUE, GREEN, GREY = (220, 40, 40), (40, 40, 220), (60, 200, 60), (90, 90, 90)


def photos(count: int, *, together: bool, seed: int) -> tuple[pw.ImageBatch, np.ndarray]:
    """Red or blue squares; on green and on grey, or on both alike."""
    random = np.random.default_rng(seed)
    pixels, masks = np.empty((count, 16, 16, 3), np.uint8), np.zeros((count, 16, 16))
    for number in range(count):
        label, row, column = number % 2, *random.integers(0, 12, 2)
        ground = label if together else number // 2 % 2
        pixels[number] = (GREEN, GREY)[ground]
        pixels[number, row : row + 4, column : column + 4] = (RED, BLUE)[label]
        masks[number, row : row + 4, column : column + 4] = 1
    noise = random.integers(-20, 20, pixels.shape)
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pw.load_images(list(pixels), size=16, labels=["red", "blue"] * (count // 2)), masks


def reads_green() -> nn.Sequential:
    """Takes what is green for "red", class 1 of the alphabetical order."""
    model = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3)[:, :, None, None])
        model[0].bias.zero_()
        model[3].weight.copy_(torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
        model[3].bias.zero_()
    return model.eval()


def right(model: nn.Module, images: pw.ImageBatch) -> float:
    units = torch.tensor([("blue", "red").index(one) for one in images.labels or ()])
    with torch.no_grad():
        return float((model(images.tensor).argmax(1) == units).float().mean())


def test_a_refit_with_masks_does_without_the_surroundings() -> None:
    model, (images, masks) = reads_green(), photos(40, together=True, seed=0)
    apart, _ = photos(40, together=False, seed=1)
    result = pw.repair(model, images, masks=masks)
    assert result.method == "refit"
    assert {name: one.count for name, one in result.before.items()} == {
        "blue, surroundings of red": 20, "red, surroundings of blue": 20,
        "red, surroundings of red": 40, "blue, surroundings of blue": 40,
    }  # fmt: skip
    assert result.worst_before == 0.0
    assert result.worst_after >= 0.9
    assert right(model, apart) == 0.5
    assert right(result.model, apart) >= 0.9
    named = pw.repair(model, images, masks=masks, groups=["meadow", "street"] * 20)
    assert "blue, meadow" in named.before


def test_objects_stay_and_surroundings_are_those_of_another_photo() -> None:
    random = torch.Generator().manual_seed(0)
    some, masks = torch.rand(4, 3, 20, 24, generator=random), torch.zeros(4, 20, 24)
    masks[:, 4:10, 4:10] = 1
    masks[3] = 1  # nothing is left around it
    units = np.array([0, 0, 1, 1])
    objects, donors = donors_of(masks, units)
    assert objects.tolist() == [0, 1, 2, 3] * 2
    assert (units[donors[:4]] != units).all()
    assert (units[donors[4:]] == units).all()
    assert 3 not in donors
    new = exchanged(some, masks, objects, donors)
    for photo, one, other in zip(new, objects, donors, strict=True):
        inside = masks[one] > 0
        assert torch.equal(photo[:, inside], some[one][:, inside])
        assert torch.allclose(photo[:, 14:][:, ~inside[14:]], some[other][:, 14:][:, ~inside[14:]])
    assert torch.isfinite(new).all()
    assert bool((new <= 1).all() & (new >= 0).all())
    with pytest.raises(pw.PFVValueError, match="masks: photos of fewer than two classes"):
        donors_of(torch.ones(4, 8, 8), units)
