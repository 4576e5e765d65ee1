"""Pictures with a caption bar: sizes, letters, palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pfv_widgets.engine.export.animation import Animation

BAR = 38


def tiles(count: int, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth pictures, another in each tile."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((width, height), 3)) for one in coarse])


def first_picture(
    caption: str, shape: tuple[int, int, int] = (4, 64, 64), of: int = 3
) -> np.ndarray:
    animation = Animation(of)
    animation.add(tiles(*shape), caption, 1)
    return animation.pictures[0]


@pytest.mark.parametrize(
    "shape",
    [(1, 8, 8), (1, 64, 64), (2, 224, 224), (16, 128, 128), (200, 224, 224), (3, 90, 400),
     (3, 400, 90), (16, 224, 448)],
)  # fmt: skip
def test_pictures_fit_a_notebook_and_have_even_sides(shape: tuple[int, int, int]) -> None:
    height, width, _ = first_picture("x", shape).shape
    assert 240 <= width <= 902
    assert height <= 900 + BAR + 2
    assert width % 2 == height % 2 == 0
    if shape[1] * shape[2] * shape[0] > 400_000:
        assert max(height, width) > 600


def test_very_many_pictures_are_smaller() -> None:
    assert first_picture("x", (16, 128, 128), of=2000).shape[1] < 300


def test_every_tile_is_shown() -> None:
    shape = (5, 100, 100)
    page = first_picture("x", shape)
    animation = Animation(3)
    animation.add(tiles(*shape), "x", 1)
    assert animation.layout is not None
    for tile, (left, top) in zip(tiles(*shape), animation.layout.corners(), strict=True):
        wide, high = animation.layout.tile
        result = Image.fromarray(page[top : top + high, left : left + wide]).resize((100, 100))
        assert np.abs(np.asarray(result).astype(int) - tile).mean() < 3


def test_caption_is_written_and_a_long_one_is_cut_in_the_middle() -> None:
    empty, short = first_picture(""), first_picture("4 components")
    bar = np.s_[: BAR - 4, :250]
    assert (short[bar] < 100).any()
    assert (empty[bar] == 255).all()
    long = first_picture("layer " + "very.long.name." * 60)
    counted = np.s_[: BAR - 4, -45:]  # the number of the picture begins 37 from the edge
    assert np.array_equal(long[counted], short[counted])
    assert np.array_equal(first_picture("a\n\0b"), first_picture("a b"))
    assert not np.array_equal(
        first_picture("σ"), first_picture("\u0b9c")
    )  # a letter, and the box for none


def gif(animation: Animation, path: Path, stay: int = 100) -> list[np.ndarray]:
    assert animation.write(path, stay, lambda: False)
    with Image.open(path) as file:
        return [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(file)]


def test_colours_of_what_stands_still_do_not_flicker(tmp_path: Path) -> None:
    animation = Animation(3)
    for position in (1, 2, 3):
        moving = tiles(4)
        moving[3] = tiles(1, seed=position)[0]
        animation.add(moving, "x", position)
    pictures = gif(animation, tmp_path / "a.gif")
    assert animation.layout is not None
    left, top = list(animation.layout.corners())[1]
    wide, high = animation.layout.tile
    still = [one[top : top + high, left : left + wide] for one in pictures]
    assert all(np.array_equal(still[0], one) for one in still[1:])
    assert (
        np.abs(
            still[0].astype(int) - animation.pictures[0][top : top + high, left : left + wide]
        ).mean()
        < 8
    )


def test_bar_keeps_its_colours_in_a_gif(tmp_path: Path) -> None:
    animation = Animation(2)
    for position in (1, 2):
        animation.add(tiles(4), "4 components", position)
    for actual, expected in zip(
        gif(animation, tmp_path / "a.gif"), animation.pictures, strict=True
    ):
        assert np.abs(actual[:BAR].astype(int) - expected[:BAR]).max() < 16
        assert (actual[:3] == 255).all()


def test_first_and_last_picture_stay_longer(tmp_path: Path) -> None:
    animation = Animation(4)
    for position in range(1, 5):
        animation.add(tiles(4, seed=position), "x", position)
    gif(animation, tmp_path / "a.gif", 200)
    with Image.open(tmp_path / "a.gif") as file:
        stays = [one.info["duration"] for one in ImageSequence.Iterator(file)]
    assert stays == [600, 200, 200, 1200]
