from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pfv_widgets.engine.data import decoding
from pfv_widgets.engine.data.decoding import UnreadableError, as_rgb, image_from_array, read_photo
from pfv_widgets.errors import PFVTypeError, PFVValueError

RED = (200, 30, 40)


def pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    assert image.mode == "RGB"
    value = image.getpixel(at)
    assert isinstance(value, tuple)
    return value


def save_and_read(image: Image.Image, path: Path, **options: object) -> Image.Image:
    image.save(path, **options)
    return read_photo(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga", "webp", "gif", "ico"])
def test_lossless_formats_keep_their_colour(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    assert (
        pixel(save_and_read(Image.new("RGB", (16, 16), RED), tmp_path / f"a.{suffix}", **options))
        == RED
    )


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_colour_spaces_are_converted(mode: str) -> None:
    colour = pixel(as_rgb(Image.new("RGB", (4, 4), RED).convert(mode)))
    assert np.allclose(colour, RED, atol=3)


def test_lab_is_converted() -> None:
    assert np.allclose(pixel(as_rgb(Image.new("LAB", (4, 4), (128, 128, 128)))), 119, atol=3)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("1", 1, 255), ("L", 77, 77), ("LA", (77, 255), 77), ("LA", (0, 0), 255), ("La", (0, 0), 255)],
)
def test_grey_becomes_three_equal_channels(mode: str, colour: object, expected: int) -> None:
    assert pixel(as_rgb(Image.new(mode, (3, 3), colour))) == (expected,) * 3


def test_transparency_is_laid_over_white() -> None:
    half = as_rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
    assert np.allclose(pixel(half), 127, atol=1)


def test_palette_with_a_transparent_entry_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    with Image.open(tmp_path / "p.png") as stored:
        assert stored.mode == "P"
    pixels = read_photo(tmp_path / "p.png")
    assert (pixel(pixels), pixel(pixels, (1, 0))) == ((255, 255, 255), (200, 100, 50))


def test_cmyk_jpeg_of_adobe_is_not_inverted(tmp_path: Path) -> None:
    paper = save_and_read(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), tmp_path / "a.jpg", quality=95)
    ink = save_and_read(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), tmp_path / "b.jpg", quality=95)
    assert min(pixel(paper)) > 250
    assert max(pixel(ink)) < 5


def test_16_bit_png_is_scaled_by_its_true_range(tmp_path: Path) -> None:
    values = np.array([[0, 257, 33000, 65535]], dtype=np.uint16)
    pixels = save_and_read(Image.fromarray(values), tmp_path / "deep.png")
    assert np.asarray(pixels)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.float32([[0, 0.2, 1]]), [0, 51, 255], id="float in 0…1"),
        pytest.param(np.float32([[-10, 0, 10]]), [0, 128, 255], id="float beyond"),
        pytest.param(np.float32([[7, 7, 7]]), [0, 0, 0], id="constant float beyond"),
        pytest.param(np.int32([[0, 25700, 65535]]), [0, 100, 255], id="32 bits within 16"),
        pytest.param(np.int32([[-100000, 0, 100000]]), [0, 128, 255], id="32 bits beyond"),
    ],
)
def test_deep_tiff_is_scaled(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    pixels = save_and_read(Image.fromarray(values), tmp_path / "deep.tif")
    assert np.asarray(pixels)[0, :, 1].tolist() == expected


def test_float_image_with_nan_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.float32([[0, np.nan]])).save(tmp_path / "nan.tif")
    with pytest.raises(UnreadableError, match="NaN"):
        read_photo(tmp_path / "nan.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_puts_the_marked_corner_at_the_top_left(
    tmp_path: Path, orientation: int
) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 255
    stored = np.ascontiguousarray(stored_for(orientation, upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = save_and_read(Image.fromarray(stored), tmp_path / "turned.jpg", exif=exif, quality=95)
    assert pixels.size == (48, 32)
    assert np.abs(np.asarray(pixels).astype(int) - upright).max() < 30


def stored_for(orientation: int, upright: np.ndarray) -> np.ndarray:
    """What a camera stores, from the EXIF table of where row 0 and column 0 are."""
    transposed = upright.swapaxes(0, 1)
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: transposed,
        6: transposed[::-1],
        7: transposed[::-1, ::-1],
        8: transposed[:, ::-1],
    }[orientation]


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_photo(tmp_path / "a.jpg").size == (8, 8)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"moving.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert pixel(read_photo(path)) == (255, 0, 0)


def test_profile_is_applied_and_alpha_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    monkeypatch.setattr(ImageCms, "getProfileDescription", lambda _: "another")
    seen: list[str] = []

    def convert(image: Image.Image, *args: object, **kwargs: object) -> Image.Image:
        seen.append(image.mode)
        return Image.new("RGB", image.size, (0, 0, 255))

    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    image.putpixel((1, 1), (255, 0, 0, 255))
    image.info["icc_profile"] = lab_like.tobytes()
    shown = as_rgb(image)
    assert (seen, pixel(shown), pixel(shown, (1, 1))) == (["RGB"], (255, 255, 255), (0, 0, 255))


@pytest.mark.parametrize("profile", [b"rubbish", b"\0" * 200])
def test_broken_profile_is_ignored(profile: bytes) -> None:
    image = Image.new("RGB", (2, 2), RED)
    image.info["icc_profile"] = profile
    assert pixel(as_rgb(image)) == RED


def jpeg_bytes() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is a text", "not a readable image"),
        (b"<!DOCTYPE html><html>", "not a readable image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
        (jpeg_bytes()[:1500], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "."),
    ],
)
def test_damaged_file_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        read_photo(path)


def test_heic_says_which_package_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "phone.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 30)
    with pytest.raises(UnreadableError, match="pillow-heif"):
        read_photo(path)


def test_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (9000, 9500)).save(path)
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 80)
    monkeypatch.setattr(decoding, "as_rgb", lambda _: pytest.fail("decoded"))
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableError, match=r"9000 by 9500 pixels.*limit of 80"):
        read_photo(path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_bomb_beyond_the_limit_of_pillow_is_refused(tmp_path: Path) -> None:
    header = b"P5 60000 60000 255\n"
    (tmp_path / "bomb.pgm").write_bytes(header)
    with pytest.raises(UnreadableError, match="100 megapixels"):
        read_photo(tmp_path / "bomb.pgm")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((4, 5), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 5, 1), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 5, 3), RED, np.uint8), RED),
        (np.full((4, 5, 4), 0, np.uint8), (255, 255, 255)),
        (np.full((4, 5), 0.2, np.float64), (51, 51, 51)),
        (np.ones((4, 5), bool), (255, 255, 255)),
        (np.full((5, 4, 3), RED, np.uint8).swapaxes(0, 1), RED),
    ],
)
def test_array_becomes_rgb(array: np.ndarray, expected: tuple[int, ...]) -> None:
    image = image_from_array(array)
    assert (pixel(image), image.size) == (expected, (5, 4))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), "moveaxis"),
        (np.zeros((8, 8, 2), np.uint8), r"\(8, 8, 2\)"),
        (np.zeros((0, 8), np.uint8), r"\(0, 8\)"),
        (np.zeros(8, np.uint8), r"\(8,\)"),
        (np.full((4, 4), 200.0), "divide"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), -1.0), "expected"),
    ],
)
def test_unusable_array_names_the_fix(array: np.ndarray, message: str) -> None:
    with pytest.raises(PFVValueError, match=message):
        image_from_array(array)


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.complex64])
def test_array_of_another_dtype_is_refused(dtype: type) -> None:
    with pytest.raises(PFVTypeError, match=np.dtype(dtype).name):
        image_from_array(np.zeros((4, 4), dtype))


def test_image_without_pixels_is_refused() -> None:
    with pytest.raises(PFVValueError, match="no pixels"):
        as_rgb(Image.new("RGB", (0, 5)))
