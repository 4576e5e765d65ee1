"""What fine-tuning changed: pretrained, head trained, fine-tuned, on drawn scenes and on bees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import pfv_widgets as pw
from pfv_widgets.analysis.compare.common_grid import on_grid
from pfv_widgets.analysis.transfer.probes import Probe, linear_probe
from pfv_widgets.engine.network.capture import capture
from pfv_widgets.engine.network.feature_layout import Layout


def train(
    part: Callable[[Tensor], Tensor],
    parameters: Sequence[nn.Parameter],
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int,
    rate: float,
) -> None:
    """Train some parameters of what follows the inputs; everything stays in eval mode."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(parameters, rate)
    for _ in range(steps):
        indices = torch.randperm(len(inputs), generator=generator)[:32]
        loss = cross_entropy(part(inputs[indices]), targets[indices])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def probed(model: nn.Module, images: Tensor, targets: Tensor, layers: list[str]) -> list[Probe]:
    """Cross-validated linear probes on the mean feature vector of each layer."""
    expected = {layer: (Layout(), lambda maps: on_grid(maps, 1)) for layer in layers}
    with torch.no_grad(), capture(model, expected, stop=False) as activations:
        model(images)
    labels = [str(int(target)) for target in targets]
    features = [activations[layer].flatten(1).double().numpy() for layer in layers]
    return [linear_probe(one, labels) for one in features]


def same_predictions(before: list[Probe], after: list[Probe]) -> list[bool]:
    return [
        bool((one.predictions == other.predictions).all())
        for one, other in zip(before, after, strict=True)
    ]


def test_drawn_scenes_part_where_fine_tuning_began_and_a_probe_confirms_it() -> None:
    """Which way up is a scene? The network for objects has to learn it in its last stage."""
    scenes = pw.load_images(list(pw.demo_images(48, seed=5).pixels), size=64).tensor
    images, targets = torch.cat([scenes, scenes.flip(2)]), torch.arange(96) // 48
    held_out = torch.arange(96) % 48 >= 24
    head = pw.demo_model()
    torch.manual_seed(0)
    head.head = nn.Linear(96, 2)
    with torch.no_grad():
        features = head.maps(images).mean((2, 3))[~held_out]
    train(head.head, [*head.head.parameters()], features, targets[~held_out], steps=100, rate=0.01)
    tuned = copy.deepcopy(head)
    with torch.no_grad():
        early = tuned.stage3(tuned.stage2(tuned.stage1(images)))[~held_out]
    own = [*tuned.stage4.parameters(), *tuned.head.parameters()]
    train(
        lambda maps: tuned.classify(tuned.stage4(maps)), own, early, targets[~held_out],
        steps=60, rate=0.003,
    )  # fmt: skip

    layers = ["stage1.2", "stage2.3", "stage3.6", "stage4.1", "stage4.3"]
    photos = pw.load_images(images[held_out][::3])
    pretrained = pw.demo_model()
    of_head = pw.similarity([pretrained, head], photos, layers, shuffles=4)
    of_tuned = pw.similarity([pretrained, tuned], photos, layers, shuffles=4)
    np.testing.assert_allclose(np.diag(of_head.cka), 1, atol=1e-5)
    assert of_tuned.parting_layer(0.999) == "stage4.1"
    before, after = (
        probed(model, images[held_out], targets[held_out], layers) for model in (pretrained, tuned)
    )
    assert same_predictions(before, after) == [True, True, True, False, False]
    assert after[4].accuracy.value > before[4].accuracy.value


@pytest.mark.assets
@pytest.mark.all
def test_bees_part_where_fine_tuning_began_and_a_probe_confirms_it(
    assets: Path, squeezenet: nn.Module
) -> None:
    folder = assets / "ants_bees"
    paths = [
        path for part in ("train", "val") for kind in ("ants", "bees")
        for path in sorted((folder / part / kind).iterdir())[:12]
    ]  # fmt: skip
    photos = pw.load_images(paths, size=80, labels=[path.parent.name for path in paths])
    targets = torch.tensor([label == "bees" for label in photos.labels]).long()
    held_out = torch.arange(48) >= 24
    tuned = copy.deepcopy(squeezenet)
    torch.manual_seed(0)
    tuned.classifier[1] = nn.Conv2d(512, 2, 1)
    with torch.no_grad():
        early = torch.cat(
            [tuned.features[:10](part) for part in photos.tensor[~held_out].split(16)]
        )
    last = nn.Sequential(tuned.features[10:], tuned.classifier, nn.Flatten())
    train(last, [*last.parameters()], early, targets[~held_out], steps=20, rate=0.0005)

    layers = ["features.7", "features.9", "features.10", "features.12"]
    compared = photos.subset(range(24, 48, 2))
    result = pw.similarity([squeezenet, tuned], compared, layers, shuffles=4)
    assert result.parting_layer(0.999) == "features.10"
    before, after = (
        probed(model, photos.tensor[held_out], targets[held_out], layers)
        for model in (squeezenet, tuned)
    )
    assert same_predictions(before, after) == [True, True, False, False]


@pytest.mark.assets
def test_the_picture_of_random_weights_is_another_one(assets: Path, squeezenet: nn.Module) -> None:
    paths = sorted((assets / "ants_bees" / "val").glob("*/*.jpg"))[::20]
    networks = pw.randomised(squeezenet)
    ends = {name: networks[name] for name in ("trained", [*networks][-1])}
    curve = pw.similarity_curve(
        ends, pw.load_images(paths, size=128), layer="features.12", weighting="none"
    )
    assert curve.rank_correlation[0] == pytest.approx(1, abs=1e-4)
    assert curve.rank_correlation[1] < 0.2
    assert curve.plain_rank_correlation[1] > 0.3  # borders, which any two networks share
    assert curve.cka[1] < 0.3
