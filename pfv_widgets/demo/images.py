"""The demo images: drawn scenes and where objects are in them, or photos; and their network."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from torch import nn

from pfv_widgets.demo import imagenet_network
from pfv_widgets.demo.drawing import RandomStream
from pfv_widgets.demo.network import load_weights
from pfv_widgets.demo.object_registry import CLASSES
from pfv_widgets.demo.photos import FIRST, PHOTOS, cut, views
from pfv_widgets.demo.scenes import SIZE, Scene, draw_scene
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.load_images import ImageBatch, load_images
from pfv_widgets.engine.data.sources import pictures_of
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, warn
from pfv_widgets.validation import path_of, truth_value, whole_number

Photos = bool | str | os.PathLike[str]

_MOST_IMAGES = 1000
_HIGHEST_SEED = 999_999
# a batch's seeds begin here: chosen by eye, so that the first gallery that anyone sees is lovely
_FIRST = 200
_SCENES = 16
_MOST_FILES = 200  # of a folder: more would take minutes to open


def demo_model(photos: Photos = False) -> nn.Module:
    """Return the network of the demo, in eval mode; ``classes`` are the names of its outputs.

    Without ``photos`` the small one that was trained on the drawn scenes: its logits (N, 10) are
    above 0 for each of the classes that it sees. With ``photos``, EfficientNet-Lite0 with its
    weights of ImageNet, logits (N, 1000), or a ``PFVWarning`` and the small one where the
    packages of the extra ``photos`` are not there.
    """
    return imagenet_network.load_network() if has_photos(photos) else load_weights()


@own_modes()
def demo_images(count: int | None = None, seed: int = 0, photos: Photos = False) -> ImageBatch:
    """Return the images of the demo.

    Drawn scenes are 128×128 pixels, labelled with their largest object: every ten in a row have
    one of each class. Photos are 256×256 pixels, normalised for their network, labelled with
    their kind; they are crops of seven photos whose licences ``photo_credits()`` of
    ``pfv_widgets.demo`` names. A longer batch of the same seed begins with the shorter one.

    Parameters
    ----------
    count
        1…1000; None: 16 scenes, 12 photos, or at most 200 photos of a folder.
    seed
        0…999 999; every seed gives other scenes, none of which the network was trained on, or
        other crops.
    photos
        True: real photos; a folder: the photos in it. Where the packages of the extra ``photos``
        are not installed: a ``PFVWarning``, and scenes.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    number = None if count is None else whole_number("count", count, 1, _MOST_IMAGES)
    seed = whole_number("seed", seed, 0, _HIGHEST_SEED)
    if not has_photos(photos):
        return _scene_batch(number or _SCENES, seed)
    if isinstance(photos, bool):
        return _shipped(number or len(FIRST), seed)
    with _named_photos():
        return _own(photos, number)


def _own(folder: str | os.PathLike[str], number: int | None) -> ImageBatch:
    """Return the first photos of a folder."""
    pictures = pictures_of(folder)
    most = number or _MOST_FILES
    if len(pictures) > most and number is None:
        line = f"photos={str(folder)!r}: the first {most} of {len(pictures)} photos are shown."
        warn(line)
    files = [picture.content for picture in pictures[:most]]
    labels = [picture.label for picture in pictures[:most]]
    known = None if None in labels else labels
    return load_images(files, transform=imagenet_network.transform(), labels=known)


@contextmanager
def _named_photos() -> Iterator[None]:
    """Name ``photos`` in errors of ``load_images``, which calls the argument ``source``."""
    try:
        yield
    except PFVError as error:
        kind = PFVTypeError if isinstance(error, TypeError) else PFVValueError
        raise kind(re.sub(r"^source\b", "photos", str(error))) from error


def has_photos(photos: Photos) -> bool:
    """Whether photos are wanted and there; where they are not there, a ``PFVWarning`` says why.

    Raises
    ------
    PFVValueError, PFVTypeError
        Where ``photos`` is neither True, False nor a folder with photos.
    """
    if isinstance(photos, str | os.PathLike):
        with _named_photos():
            pictures_of(path_of("photos", photos))
    elif not truth_value("photos", photos):
        return False
    why = imagenet_network.problem()
    if why:
        warn(f"Drawn scenes are shown instead of photos: {why}")
    return why is None


def _shipped(count: int, seed: int) -> ImageBatch:
    squares = views(count, seed)
    labels = [PHOTOS[view.photo].kind for view in squares]
    batch = load_images(cut(squares), transform=imagenet_network.transform(), labels=labels)
    return dataclasses.replace(batch, names=tuple(view.name for view in squares))


def _scene_batch(count: int, seed: int) -> ImageBatch:
    scenes = _scenes(count, seed)
    labels = [scene.objects[0] for scene in scenes]
    batch = load_images([scene.pixels for scene in scenes], size=SIZE, labels=labels)
    names = (f"scene {i:02d}: {', '.join(scene.objects)}" for i, scene in enumerate(scenes))
    return dataclasses.replace(batch, names=tuple(names))


def demo_masks(count: int = 16, seed: int = 0) -> dict[str, npt.NDArray[np.bool_]]:
    """Return, for each class, where it is visible (count, 128, 128) in the same scenes."""
    first = whole_number("seed", seed, 0, _HIGHEST_SEED)
    scenes = _scenes(whole_number("count", count, 1, _MOST_IMAGES), first)
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
