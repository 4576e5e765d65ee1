from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pfv_widgets.demo.backgrounds import BACKGROUNDS
from pfv_widgets.demo.drawing import RandomStream, hue
from pfv_widgets.demo.object_registry import CLASSES, DRAWINGS
from pfv_widgets.demo.scenes import SIZE, draw_scene

# a change here changes every scene: train the network again, and say so in the change log
HASHES = {
    0: "99d95e138b1b0cdf188c282e7ecff366353fe31b14d9fa50220632399a15dc7c",
    1: "b4ab8afa6face987c4ff3fe947c29523d2a83a1059353bdcb76b21a6ab1e2d4a",
    2: "3e8d4fe5e50e3a9a94e9c3d0459a81b6ceb0d18deeb42a6adb6d556065636a8b",
    3: "c7b70d5a7b76ce4cdc9ae7594b02a96d7a753210fe0d83d8c38de3a55981906f",
    5: "718e19d4c8bc0a3dd469f81b35ef58a95bb5bf676e7c7ed66e6ef36c4a3f9d1b",
    8: "022f40e6af5f5ca027cff739e35daa9ea7614ba7d927206d9de56a7cbbd0ef73",
    13: "1b0c2120d7e8ee912536a71694f75a0f8cae91ba64fede19d79c28b18f2a1f05",
    21: "58de7b46f83f0c4496e902ac2ecd94bc2909e7d0d5698604ff90e715d79d312d",
    34: "cfe7ca4c51da15a9a68d23662b601b981432298568c63235c3f0186f3cc55d49",
    4294967295: "0d8b01ff2cbf97a4c26b10e83f998d7fdd581920c2375a2e9f4887e41f0d08fc",
}


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in range(60)]


@pytest.mark.parametrize(("seed", "digest"), HASHES.items())
def test_same_seed_gives_the_same_bits_on_every_platform(seed, digest):
    scene = draw_scene(seed)
    drawn = scene.pixels.tobytes() + scene.masks.tobytes() + ",".join(scene.objects).encode()
    assert hashlib.sha256(drawn).hexdigest() == digest


def test_other_seeds_give_other_scenes(scenes):
    assert len({scene.pixels.tobytes() for scene in scenes}) == len(scenes)


def test_pixels_and_masks_have_their_shapes_and_types(scenes):
    for scene in scenes:
        assert scene.pixels.shape == (SIZE, SIZE, 3)
        assert scene.pixels.dtype == np.uint8
        assert scene.masks.shape == (len(scene.objects), SIZE, SIZE)
        assert scene.masks.dtype == np.bool_


def test_scenes_have_two_to_four_different_things(scenes):
    counts = [len(scene.objects) for scene in scenes]
    assert set(counts) == {2, 3, 4}
    assert all(len(set(scene.objects)) == len(scene.objects) for scene in scenes)


def test_every_class_occurs(scenes):
    assert {name for scene in scenes for name in scene.objects} == set(CLASSES)


def test_masks_are_disjoint_and_every_thing_is_seen(scenes):
    for scene in scenes:
        assert scene.masks.sum(axis=0).max() == 1
        assert scene.masks.sum(axis=(1, 2)).min() > 150


def test_pixels_differ_from_the_ground_where_a_mask_says_so():
    # the same seed with another main object has the same ground: pixels under neither differ little
    first, second = draw_scene(5, "cat"), draw_scene(5, "house")
    free = ~(first.masks.any(axis=0) | second.masks.any(axis=0))
    change = np.abs(first.pixels.astype(int) - second.pixels).max(axis=2)
    covered = first.masks[0] & second.masks[0]
    assert np.median(change[free]) < 8 < np.median(change[covered])


def test_main_thing_is_first_and_largest():
    for seed, name in enumerate(CLASSES):
        scene = draw_scene(seed, name)
        height, width = _extents(scene.masks)
        assert scene.objects[0] == name
        assert np.argmax(np.maximum(height, width)) == 0


def _extents(masks):
    return masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)


@pytest.mark.parametrize("name", CLASSES)
def test_same_thing_has_other_colours_in_other_scenes(name):
    means = []
    for seed in range(6):
        scene = draw_scene(seed, name)
        means.append(scene.pixels[scene.masks[0]].mean(axis=0))
    assert np.std(means, axis=0).max() > 8


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds_are_textured_within_range_and_muted(name):
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    picture = BACKGROUNDS[name](columns, rows, RandomStream(3))
    assert picture.shape == (3, SIZE, SIZE)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert 0.005 < picture.std(axis=(1, 2)).max() < 0.2


def test_classes_are_the_registry_in_order():
    assert tuple(DRAWINGS) == CLASSES
    assert len(CLASSES) >= 8


def test_dice_stay_within_their_bounds_and_repeat():
    stream, again = RandomStream(7), RandomStream(7)
    drawn = [stream.pick(5) for _ in range(200)]
    assert drawn == [again.pick(5) for _ in range(200)]
    assert set(drawn) == set(range(5))
    assert sorted(stream.shuffle(9)) == list(range(9))


def test_colour_wheel_has_period_one():
    np.testing.assert_allclose(hue(0.3), hue(1.3), atol=1e-12)
    np.testing.assert_allclose(hue(-0.2), hue(0.8), atol=1e-12)
