"""The demo images: a balanced, reproducible batch of scenes, and where objects are in it."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from torch import nn

from pfv_widgets.demo.drawing import RandomStream
from pfv_widgets.demo.network import load_weights
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.demo.scenes import SIZE, Scene, draw_scene
from pfv_widgets.engine.data.load_images import ImageBatch, load_images
from pfv_widgets.validation import whole_number

_MOST_IMAGES = 1000
_HIGHEST_SEED = 999_999
# a batch's seeds begin here: chosen by eye, so that the first gallery that anyone sees is lovely
_FIRST = 200


def demo_model() -> nn.Module:
    """Return the small network trained on the demo scenes, in eval mode.

    Its logits (N, 10) are above 0 for each of ``CLASSES`` that it sees.
    """
    return load_weights()


def demo_images(count: int = 16, seed: int = 0) -> ImageBatch:
    """Return `count` scenes of 128×128 pixels, labelled with their largest object.

    The labels are balanced: each ten images in a row have one of every class. A longer batch of
    the same seed begins with the shorter one.

    Parameters
    ----------
    count
        1…1000.
    seed
        0…999 999; every seed gives other scenes, none of which the network was trained on.
    """
    scenes = _scenes(whole_number("count", count, 1, _MOST_IMAGES), _seed(seed))
    labels = [scene.objects[0] for scene in scenes]
    batch = load_images([scene.pixels for scene in scenes], size=SIZE, labels=labels)
    names = (f"scene {i:02d}: {', '.join(scene.objects)}" for i, scene in enumerate(scenes))
    return dataclasses.replace(batch, names=tuple(names))


def demo_masks(count: int = 16, seed: int = 0) -> dict[str, npt.NDArray[np.bool_]]:
    """Return, for each class, where it is visible (count, 128, 128) in the same scenes."""
    scenes = _scenes(whole_number("count", count, 1, _MOST_IMAGES), _seed(seed))
    masks = {name: np.zeros((len(scenes), SIZE, SIZE), dtype=bool) for name in CLASSES}
    for index, scene in enumerate(scenes):
        for name, mask in zip(scene.objects, scene.masks, strict=True):
            masks[name][index] = mask
    return masks


def _scenes(count: int, seed: int) -> list[Scene]:
    """Return the scenes, their main objects in a new random order every ten images."""
    first = _FIRST + seed * _MOST_IMAGES
    stream = RandomStream(first)
    order = [
        CLASSES[k] for _ in range(0, count, len(CLASSES)) for k in stream.shuffle(len(CLASSES))
    ]
    return [draw_scene(first + index, order[index]) for index in range(count)]


def _seed(value: int) -> int:
    return whole_number("seed", value, 0, _HIGHEST_SEED)
