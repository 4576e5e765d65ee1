from __future__ import annotations

import numpy as np
import pytest
import torch

from pfv_widgets.demo import demo_model
from pfv_widgets.demo.evaluation import evaluate, scores
from pfv_widgets.demo.network import WEIGHTS, DemoNet, load_weights, measured, normalise
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.demo.train import FRESH_SEEDS, augment, cell_targets, draw_scenes, main

SEEDS = FRESH_SEEDS + 500_000  # none on which the shipped figures were measured, none of training


@pytest.fixture(scope="module")
def fresh():
    return draw_scenes(50, SEEDS)


@pytest.mark.all
def test_shipped_network_names_the_things_in_fresh_scenes_as_its_figures_say():
    figures = measured()
    assert set(figures) == {"accuracy", "exact", "mean_average_precision"}
    accuracy = evaluate(demo_model(), draw_scenes(160, SEEDS))["accuracy"]
    assert accuracy >= 0.90
    assert accuracy == pytest.approx(figures["accuracy"], abs=0.03)


def test_shipped_network_names_things_and_an_untrained_one_does_not(fresh):
    assert evaluate(demo_model(), fresh)["accuracy"] >= 0.85
    torch.manual_seed(0)
    assert evaluate(DemoNet(), fresh)["accuracy"] < 0.65


def test_weights_are_small_and_need_no_pickle():
    assert WEIGHTS.stat().st_size < 1_500_000
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        kinds = {arrays[name].dtype for name in arrays.files}
    assert kinds == {np.dtype(np.float16), np.dtype(np.float64)}


def test_demo_model_is_in_eval_mode_and_new_each_time():
    first, second = demo_model(), demo_model()
    assert not any(module.training for module in first.modules())
    assert first is not second
    image = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(first(image), second(image))


def test_stages_halve_the_map_down_to_sixteen_cells():
    model, sizes = DemoNet(), []
    image = torch.zeros(1, 3, 128, 128)
    for stage in (model.stage1, model.stage2, model.stage3, model.stage4):
        image = stage(image)
        sizes.append(tuple(image.shape[1:]))
    assert [size[1] for size in sizes] == [128, 64, 32, 16]
    assert sizes[-1] == (96, 16, 16)


def test_logits_are_one_per_class_at_any_image_size():
    assert DemoNet()(torch.zeros(3, 3, 96, 160)).shape == (3, len(CLASSES))


def test_normalise_applies_the_statistics_of_imagenet():
    white = normalise(np.full((1, 4, 4, 3), 255, np.uint8))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert white[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_scores_of_known_answers():
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    perfect = scores(truth * 2 - 1, truth)
    assert perfect == {"accuracy": 1.0, "exact": 1.0, "mean_average_precision": 1.0}
    always = scores(torch.ones_like(truth), truth)
    assert always["accuracy"] == 0.5
    assert always["exact"] == 0.25
    one_miss = scores(torch.tensor([[3.0, -1.0], [-2.0, 1.0], [-1.0, 2.0], [-3.0, -2.0]]), truth)
    assert one_miss["accuracy"] == pytest.approx((0.75 + 1.0) / 2)
    ranked = scores(torch.tensor([[3.0], [1.0], [2.0], [0.0]]), truth[:, :1])
    assert ranked["mean_average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_cell_targets_are_the_covered_shares():
    scenes = draw_scenes(3, 0)
    cells = cell_targets(scenes)
    for row, scene in zip(cells, scenes, strict=True):
        for name, mask in zip(scene.objects, scene.masks, strict=True):
            cell = row[CLASSES.index(name)]
            assert float(cell[5, 9]) == pytest.approx(mask[40:48, 72:80].mean())
            assert float(cell.mean()) == pytest.approx(mask.mean(), rel=1e-5)
        assert int((row.sum((1, 2)) > 0).sum()) == len(scene.objects)


def test_augmented_cells_stay_with_their_pixels():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(1, 3, 128, 128)
    images[..., :64] = 100.0
    cells = images[:, :1, ::8, ::8]
    mirrored = 0
    for _ in range(20):
        tinted, moved = augment(images, cells, generator)
        torch.testing.assert_close((tinted[:, :1, ::8, ::8] > 50).float() * 100, moved)
        mirrored += int(moved[0, 0, 0, 0] == 0)
    assert 0 < mirrored < 20


def test_last_map_stands_out_on_things_more_than_in_an_untrained_network(fresh):
    scenes = fresh[:40]
    torch.manual_seed(0)
    assert _contrast(demo_model(), scenes) > 2.2
    assert _contrast(DemoNet().eval(), scenes) < 1.8


def _contrast(model, scenes):
    """Return how much stronger the centred last map is in cells of objects than elsewhere."""
    with torch.no_grad():
        maps = model.maps(normalise(np.stack([scene.pixels for scene in scenes])))
    inside = (cell_targets(scenes).sum(1) > 0.5).flatten()
    strength = (maps - maps.mean((0, 2, 3), keepdim=True)).norm(dim=1).flatten()
    return float(strength[inside].mean() / strength[~inside].mean())


def test_evaluate_leaves_the_training_flag():
    model = DemoNet().train()
    evaluate(model, draw_scenes(2, 0))
    assert model.training


def test_training_runs_from_scenes_to_a_file(tmp_path):
    out = tmp_path / "weights.npz"
    options = ["--scenes", "8", "--fresh", "4", "--epochs", "2", "--workers", "1"]
    main([*options, "--out", str(out)])
    first = load_weights(out).state_dict()
    main([*options, "--out", str(out)])
    second = load_weights(out).state_dict()
    torch.testing.assert_close(first, second)
    assert 0 <= measured(out)["accuracy"] <= 1
    torch.manual_seed(0)
    start = DemoNet().stage4[1].weight
    assert not torch.allclose(first["stage4.1.weight"], start.detach(), atol=1e-3)
