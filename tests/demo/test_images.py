from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pfv_widgets.demo import CLASSES, demo_images, demo_masks
from pfv_widgets.demo.network import normalise
from pfv_widgets.demo.train import TRAINING_SEEDS
from pfv_widgets.errors import PFVTypeError, PFVValueError


@pytest.fixture(scope="module")
def images():
    return demo_images()


def test_default_batch_has_sixteen_scenes_with_every_class_as_main_thing(images):
    assert images.pixels.shape == (16, 128, 128, 3)
    assert images.pixels.dtype == np.uint8
    assert tuple(images.tensor.shape) == (16, 3, 128, 128)
    assert set(images.labels) == set(CLASSES)
    assert max(Counter(images.labels).values()) <= 2


def test_tensor_is_what_the_network_was_trained_on(images):
    np.testing.assert_allclose(images.tensor, normalise(images.pixels), atol=1e-5)


def test_names_list_the_things_main_thing_first(images):
    for index, (name, label) in enumerate(zip(images.names, images.labels, strict=True)):
        assert name.startswith(f"scene {index:02d}: {label}, ")


def test_same_seed_same_images_and_a_longer_batch_begins_with_the_shorter(images):
    short = demo_images(5)
    np.testing.assert_array_equal(short.pixels, images.pixels[:5])
    assert short.names == images.names[:5]


def test_another_seed_gives_other_images(images):
    assert not (demo_images(2, seed=1).pixels == images.pixels[:2]).all()


def test_masks_belong_to_the_things_that_are_named(images):
    masks = demo_masks(6)
    assert tuple(masks) == CLASSES
    for index, name in enumerate(images.names[:6]):
        there = {kind for kind, mask in masks.items() if mask[index].any()}
        assert there == set(name.split(": ")[1].split(", "))


def test_highest_seed_stays_below_the_training_scenes():
    assert TRAINING_SEEDS > 999_999 * 1000 + 1000
    assert len(demo_images(1, seed=999_999).names) == 1


@pytest.mark.parametrize("function", [demo_images, demo_masks])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"count": 0}, "count=0: .* 1 to 1000"),
        ({"count": 1001}, "count=1001: .* 1 to 1000"),
        ({"seed": -1}, "seed=-1: .* 0 to 999999"),
        ({"seed": 1_000_000}, "seed=1000000: .* 0 to 999999"),
    ],
)
def test_numbers_out_of_range_are_named_with_the_legal_range(function, arguments, named):
    with pytest.raises(PFVValueError, match=named):
        function(**arguments)


@pytest.mark.parametrize("arguments", [{"count": 2.5}, {"seed": "0"}, {"count": True}])
def test_numbers_of_another_type_are_named(arguments):
    with pytest.raises(PFVTypeError, match=next(iter(arguments))):
        demo_images(**arguments)
