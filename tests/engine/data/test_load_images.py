from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pfv_widgets.engine.data.load_images import ImageBatch, load_images
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from tests.networks import tiny

MEAN = np.array((0.485, 0.456, 0.406))
STD = np.array((0.229, 0.224, 0.225))


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    for i, name in enumerate(["a", "b", "c"]):
        Image.fromarray(noise(rng, 20 + i, 30, 3)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_folder_becomes_pixels_and_normalised_tensor(photos: Path) -> None:
    batch = load_images(photos, size=16)
    assert (batch.pixels.shape, batch.pixels.dtype) == ((3, 16, 16, 3), np.uint8)
    assert (batch.tensor.shape, batch.tensor.dtype) == ((3, 3, 16, 16), torch.float32)
    expected = ((batch.pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(batch.tensor.numpy(), expected, atol=1e-5)
    assert (batch.names, batch.labels, batch.skipped) == (("a.png", "b.png", "c.png"), None, ())


def test_unreadable_file_is_skipped_and_labels_follow(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"text")
    with pytest.warns(PFVWarning, match=r"1 of 3 files left out: b\.png"):
        batch = load_images(photos, size=8, labels=["x", 5, np.int64(7)])
    assert (batch.names, batch.labels) == (("a.png", "c.png"), ("x", "7"))
    assert [entry.split(":")[0] for entry in batch.skipped] == ["b.png"]


def test_only_unreadable_files_are_an_error_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(PFVValueError, match=r"a\.jpg: the file is empty.*b\.jpg: its content"):
        load_images(tmp_path)


def test_link_that_leads_nowhere_is_skipped_with_the_reason(photos: Path) -> None:
    (photos / "gone.png").symlink_to(photos / "no file")
    with pytest.warns(PFVWarning, match="left out"):
        batch = load_images(photos, size=32)
    assert batch.skipped == ("gone.png: it is a link that leads to no file",)


def test_unreadable_file_is_skipped_with_a_transform_too(photos: Path) -> None:
    (photos / "a.png").write_bytes(b"")
    steps = transforms.Compose([transforms.CenterCrop(8), transforms.ToTensor()])
    with pytest.warns(PFVWarning) as warned:
        assert load_images(photos, transform=steps).names == ("b.png", "c.png")
    with pytest.warns(PFVWarning) as within:
        PFV(tiny(), photos, "cpu")
    assert {one.filename for one in (*warned, *within)} == {__file__}  # the user's line


def test_order_is_kept_over_many_files(tmp_path: Path) -> None:
    for i in range(40):
        Image.new("L", (500 if i % 2 else 5, 500), i).save(tmp_path / f"{i}.png")
    assert load_images(tmp_path, size=4).pixels[:, 0, 0, 0].tolist() == list(range(40))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_tiny_and_elongated_pictures_work(width: int, height: int) -> None:
    batch = load_images(Image.new("RGB", (width, height), (10, 20, 30)))
    assert batch.pixels.shape == (1, 224, 224, 3)
    assert (batch.pixels == (10, 20, 30)).all()
    assert bool(batch.cropped) == (5000 in (width, height))
    assert batch.subset([0]).cropped == batch.cropped
    assert load_images(batch, size=(224, 50)).cropped == batch.names
    for steps, cut in ([transforms.Resize((8, 8))], False), ([transforms.CenterCrop(8)], True):
        whole = transforms.Compose([*steps, transforms.ToTensor()])
        image = Image.new("RGB", (width, height))
        assert bool(load_images(image, transform=whole).cropped) == (cut and bool(batch.cropped))


def test_square_is_the_centre() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255
    assert (load_images(wide, size=40).pixels == 255).all()
    assert load_images(wide, size=20).pixels[0, 10, 10].tolist() == [255] * 3


def test_size_may_be_a_rectangle(rng: np.random.Generator) -> None:
    array = noise(rng, 30, 60, 3)
    assert (load_images(array, size=(30, 60)).pixels[0] == array).all()
    assert load_images(array, size=(10, 40)).size == (10, 40)


def test_reduction_is_antialiased() -> None:
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(load_images(board, size=32).pixels[0, 4:-4, 4:-4].astype(int) - 127).max() < 8


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3), (12, 12, 4), (2, 12, 12, 3)])
def test_arrays_are_loaded_and_not_changed(rng: np.random.Generator, shape: tuple) -> None:
    array = noise(rng, *shape)
    before = array.copy()
    batch = load_images(array, size=12)
    assert len(batch) == (2 if len(shape) == 4 else 1)
    batch.pixels[:] = 0
    batch.tensor[:] = 0
    np.testing.assert_array_equal(array, before)


def test_pictures_of_different_sizes_share_a_batch(rng: np.random.Generator) -> None:
    mixed = [noise(rng, 9, 30), Image.new("RGBA", (50, 7)), noise(rng, 8, 8, 3) / 255]
    batch = load_images(mixed, size=8)
    assert (len(batch), batch.names) == (3, ("image 1", "image 2", "image 3"))


def test_generator_of_paths_is_a_source(photos: Path) -> None:
    assert load_images(sorted(photos.iterdir()), size=8).names == ("a.png", "b.png", "c.png")
    assert len(load_images(photos.glob("*.png"), size=8)) == 3


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint16), np.full((4, 4), np.nan)])
def test_unusable_array_in_a_list_is_named(bad: np.ndarray) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match="source, image 2: "):
        load_images([np.zeros((4, 4), np.uint8), bad])


def test_truncated_image_that_was_opened_by_the_user_is_named(photos: Path) -> None:
    content = (photos / "a.png").read_bytes()
    (photos / "a.png").write_bytes(content[: len(content) // 2])
    with Image.open(photos / "a.png") as image, pytest.raises(PFVValueError, match=r"a\.png"):
        load_images(image)


@pytest.mark.parametrize(
    "size", [0, -1, 4097, True, 2.5, "224", None, (224,), (1, 2, 3), (0, 5), (2.0, 2)]
)
def test_unusable_size_names_the_range(size: object) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=r"size=.* 1 to 4096"):
        load_images(np.zeros((4, 4), np.uint8), size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "labels",
    [
        ["a"], ["a"] * 4, "abc", 3, [1.5, 2, 3], [True, 1, 2], [None] * 3,
        {"a", "b", "c"}, {0: "a", 1: "b", 2: "c"},
    ],
)  # fmt: skip
def test_unusable_labels_are_a_named_error(photos: Path, labels: object) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=r"labels.* 3 "):
        load_images(photos, labels=labels)  # type: ignore[arg-type]


def test_classes_are_in_order_of_appearance(photos: Path) -> None:
    batch = load_images(photos, size=8, labels=torch.tensor([4, 2, 4]))
    assert (batch.labels, batch.classes) == (("4", "2", "4"), ("4", "2"))
    assert load_images(photos, size=8).classes == ()


def test_sub_folders_give_labels_through_the_loading(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / kind / "1.png")
    batch = load_images(tmp_path, size=4)
    assert (batch.names, batch.labels) == (("cat/1.png", "dog/1.png"), ("cat", "dog"))


def test_batch_is_returned_or_resized(photos: Path) -> None:
    batch = load_images(photos, size=16, labels=["a", "b", "c"])
    same = load_images(batch, size=16)
    assert same.pixels is batch.pixels
    smaller = load_images(batch, size=(4, 8))
    assert (smaller.size, smaller.names, smaller.labels) == ((4, 8), batch.names, batch.labels)
    expected = ((smaller.pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(smaller.tensor.numpy(), expected, atol=0.02)


def test_batch_with_a_transform_is_run_through_it(photos: Path) -> None:
    batch = load_images(photos, size=16, labels=[1, 2, 3])
    plain = load_images(batch, transform=transforms.Compose([transforms.ToTensor()]))
    np.testing.assert_array_equal(plain.pixels, batch.pixels)
    assert (plain.names, plain.labels, plain.tensor.max() <= 1) == (
        batch.names,
        batch.labels,
        torch.tensor(True),
    )


def test_subset_takes_everything_along(photos: Path) -> None:
    batch = load_images(photos, size=8, labels=[1, 2, 3])
    part = batch.subset([2, 0])
    assert (part.names, part.labels, len(part)) == (("c.png", "a.png"), ("3", "1"), 2)
    assert torch.equal(part.tensor[0], batch.tensor[2])
    assert (part.pixels[0] == batch.pixels[2]).all()


@pytest.mark.parametrize("indices", [[], [3], [-4]])
def test_subset_outside_of_the_batch_is_a_named_error(photos: Path, indices: list[int]) -> None:
    with pytest.raises(PFVValueError, match=r"indices.*0 … 2"):
        load_images(photos, size=8).subset(indices)


def test_batch_is_described_in_one_line(photos: Path) -> None:
    assert repr(load_images(photos, size=8)) == "ImageBatch(3 images of 8 by 8 pixels)"
    assert repr(load_images(photos, size=8).subset([0])) == "ImageBatch(1 image of 8 by 8 pixels)"


def test_batch_of_parts_that_do_not_fit_is_a_named_error() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(PFVValueError, match="tensor of shape"):
        ImageBatch(pixels, torch.zeros(2, 3, 5, 4), ("a", "b"))
    with pytest.raises(PFVValueError, match="names: 1 entries for 2 images"):
        ImageBatch(pixels, torch.zeros(2, 3, 4, 4), ("a",))
    with pytest.raises(PFVTypeError, match=r"pixels: uint8 \(2, 4, 4, 1\): expected a uint8 array"):
        ImageBatch(pixels[..., :1], torch.zeros(2, 3, 4, 4), ("a", "b"))
    texts = np.array(["a", "b"]), np.array(["cat", "dog"])
    batch = ImageBatch(pixels, torch.zeros(2, 3, 4, 4), *texts)
    assert (batch.names, batch.classes) == (("a", "b"), ("cat", "dog"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": [1, 2]}, r"names=\[1, 2\]: expected texts"),
        ({"skipped": 3}, "skipped=3: expected texts"),
        ({"cropped": "ab"}, "cropped='ab': expected texts"),
        ({"labels": ["a"]}, "labels has 1 entries"),
        ({"tensor": torch.zeros(2, 3, 4, 4).to_sparse()}, r"tensor: .*to_dense\(\)"),
        ({"tensor": torch.zeros(0, 3, 4, 4), "names": [], "pixels": None}, "pixels has no picture"),
    ],
)
def test_batch_of_unusable_parts_is_a_named_error(change: dict[str, Any], words: str) -> None:
    parts: dict[str, Any] = {"tensor": torch.zeros(2, 3, 4, 4), "names": ("a", "b")} | change
    pixels = np.zeros((len(parts["tensor"]), 4, 4, 3), np.uint8)
    with pytest.raises((PFVValueError, PFVTypeError), match=words):
        ImageBatch(**parts | {"pixels": pixels})


def test_batch_has_float32_on_the_processor_and_texts_as_labels() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    values = torch.ones(2, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    batch = ImageBatch(pixels, values, ("a", "b"), [0, 1])
    assert (batch.tensor.dtype, batch.tensor.requires_grad) == (torch.float32, False)
    assert batch.labels == ("0", "1")


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 0, 8)])
def test_transform_of_an_unusable_shape_is_a_named_error(shape: tuple[int, ...]) -> None:
    for source in (torch.zeros(2, 3, 8, 8), [Image.new("RGB", (8, 8))]):
        with pytest.raises(PFVValueError, match=rf"transform gave .*{re.escape(str(shape))}"):
            load_images(source, transform=lambda _: torch.zeros(shape))


def test_normalisation_stands_in_the_batch_and_goes_where_it_goes(photos: Path) -> None:
    batch = load_images(photos, size=8)
    assert (batch.mean, batch.std) == (tuple(MEAN), tuple(STD))
    steps = [transforms.ToTensor(), transforms.Normalize((0.5, 0.4, 0.3), (0.25, 0.5, 1))]
    own = load_images(photos, transform=transforms.Compose([transforms.CenterCrop(8), *steps]))
    for some in (
        own,
        own.subset([1]),
        load_images(own, size=4),
        load_images(own, labels=[1, 2, 3]),
    ):
        assert (some.mean, some.std) == ((0.5, 0.4, 0.3), (0.25, 0.5, 1.0))
    assert load_images(own, transform=transforms.Compose(steps[:1])).std == (1, 1, 1)
    assert load_images(own.tensor).mean == tuple(MEAN)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"mean": 0.5}, r"mean=0.5: expected three"),
        (
            {"std": (1, 0, 1)},
            r"std=\(1.0, 0.0, 1.0\): expected three finite numbers, none of them 0",
        ),
        ({"std": (1, 1, float("nan"))}, "std=.*finite"),
        ({"mean": ("a", "b", "c")}, "mean=.*expected three"),
    ],
)
def test_normalisation_of_a_batch_is_three_numbers(wrong: dict[str, Any], error: str) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    with pytest.raises((PFVValueError, PFVTypeError), match=error):
        ImageBatch(pixels, torch.zeros(1, 3, 4, 4), ("a",), **wrong)


def test_open_files_are_read_from_their_start_and_stay_as_they_are(photos: Path) -> None:
    expected = load_images(photos, size=8)
    buffer = io.BytesIO()
    Image.open(photos / "a.png").save(buffer, "PNG")  # at its end now
    position = buffer.tell()
    with (photos / "b.png").open("rb") as file, (photos / "c.png").open() as text:
        actual = load_images([buffer, file, text, photos / "a.png"], size=8)
        assert (file.closed, file.tell(), buffer.tell()) == (False, 0, position)
        assert (load_images(file, size=8).pixels == expected.pixels[1]).all()
    assert actual.names == ("image 1", "b.png", "c.png", "a.png")
    assert (actual.pixels == expected.pixels[[0, 1, 2, 0]]).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (io.BytesIO(), "image 1: the file is empty"),
        (io.BytesIO(b"no picture"), "image 1: its content is not a readable image"),
        (io.StringIO("text"), "is a file of text: open it with mode 'rb'"),
    ],
)
def test_open_files_without_a_picture_are_named(source: object, message: str) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=f"source.*{message}"):
        load_images(source)


def test_closed_file_is_a_named_error(photos: Path) -> None:
    with (photos / "a.png").open("rb") as file:
        pass
    with pytest.raises(PFVValueError, match=r"source=.*cannot be read: .*closed"):
        load_images(file)


@pytest.mark.assets
def test_real_photos_load_without_a_warning(assets: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = load_images(assets / "ants_bees" / "train")
    assert (len(batch), batch.classes) == (120, ("ants", "bees"))
    assert abs(float(batch.tensor.mean())) < 0.5
