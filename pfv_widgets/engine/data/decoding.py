"""One picture of any kind → an upright 8-bit sRGB ``PIL.Image`` without transparency."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pfv_widgets.errors import PFVTypeError, PFVValueError

MAX_MEGAPIXELS = 100
"""A photo whose header announces more is refused before a pixel of it is decoded."""

_FORMATS = (
    # only formats that Pillow decodes by itself: EPS, for one, would start Ghostscript
    *("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "TGA", "ICO", "PCX"),
    *("JPEG2000", "AVIF", "HEIF", "MPO", "QOI"),
)
_ADVICE = {
    ".heic": "HEIC needs the package pillow-heif; or save the photo as JPEG",
    ".heif": "HEIF needs the package pillow-heif; or save the photo as JPEG",
}


class UnreadableError(PFVValueError):
    """A file that holds no picture; its text is the reason, without the file's name."""


def read_photo(source: Path | io.BytesIO) -> Image.Image:
    """Decode one file, or its bytes, to RGB: the first frame, turned upright, in sRGB, over white.

    Raises
    ------
    UnreadableError
        With the reason: empty, not an image, truncated, above ``MAX_MEGAPIXELS``.
    """
    if isinstance(source, Path) and is_broken_link(source):
        raise UnreadableError("it is a link that leads to no file")
    try:
        size = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
        if size == 0:
            raise UnreadableError("the file is empty (0 bytes)")
        Image.init()
        with Image.open(source, formats=[f for f in _FORMATS if f in Image.OPEN]) as image:
            _refuse_bomb(image)
            return as_rgb(image)
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        suffix = source.suffix.lower() if isinstance(source, Path) else ""
        reason = _ADVICE.get(suffix, "its content is not a readable image format")
        raise UnreadableError(reason) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(f"more than {MAX_MEGAPIXELS} megapixels: shrink it first") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise UnreadableError(f"cannot be decoded ({error})") from error


def is_broken_link(path: Path) -> bool:
    """Whether a path is a link that leads to no file."""
    return path.is_symlink() and not path.exists()


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a new RGB image, as a viewer would show it; ``image`` stays as it is.

    EXIF orientation and colour profile are applied, transparency is laid over white. Grey of
    more than 8 bits is scaled by its true range: 16-bit integers by 257; 32-bit integers likewise
    where they fit in 16 bits, else from their minimum to their maximum; floats from [0, 1], else
    from their minimum to their maximum.
    """
    if 0 in image.size:
        raise PFVValueError(f"the image has no pixels (size {image.width} by {image.height})")
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_to_8_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "La":  # Pillow converts premultiplied grey to no other mode
        image = image.convert("LA")
    image = _in_srgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def image_from_array(array: np.ndarray) -> Image.Image:
    """Return an 8-bit (H,W), (H,W,1|3|4) array, or a float one in [0, 1], as an RGB image."""
    _check_shape(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = _floats_to_8_bits(array)
    elif array.dtype != np.uint8:
        raise PFVTypeError(
            f"an array of dtype {array.dtype}: expected uint8 in 0 … 255 or floats in [0, 1]; "
            "convert 0 … 255 with array.astype('uint8'), or divide by the largest possible value, "
            "such as array / 65535"
        )
    return as_rgb(Image.fromarray(np.ascontiguousarray(array)))


def _check_shape(array: np.ndarray) -> None:
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if fits and array.size:
        return
    fix = ""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        fix = "; the channels come last here: np.moveaxis(array, 0, -1)"
    elif array.ndim == 3:
        fix = "; give a stack of grey images as a list: list(array)"
    raise PFVValueError(
        f"an array of shape {array.shape}: expected (H, W), (H, W, 3) or (H, W, 4), "
        f"or a batch (N, H, W, 3){fix}"
    )


def _floats_to_8_bits(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise PFVValueError(
            "an array with NaN or infinite values: fill them, as np.nan_to_num does"
        )
    low, high = float(array.min()), float(array.max())
    if low < -1e-6 or high > 1 + 1e-6:
        raise PFVValueError(
            f"a float array from {low:g} to {high:g}: expected [0, 1]; "
            "divide by the largest possible value, such as array / 255"
        )
    return _to_bytes(array.astype(np.float64) * 255)


def _deep_to_8_bits(array: np.ndarray, mode: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise PFVValueError("the image holds NaN or infinite values")
    values = array.astype(np.float64)
    low, high = values.min(), values.max()
    if mode.startswith("I") and low >= 0 and high <= 65535:
        return _to_bytes(values / 257)
    if mode == "F" and low >= 0 and high <= 1:
        return _to_bytes(values * 255)
    return _to_bytes((values - low) * (255 / (high - low or 1)))


def _to_bytes(values: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.rint(values).clip(0, 255)
    return whole.astype(np.uint8)


def _refuse_bomb(image: Image.Image) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > MAX_MEGAPIXELS:
        raise UnreadableError(
            f"{image.width} by {image.height} pixels, {megapixels:.0f} megapixels, above the limit "
            f"of {MAX_MEGAPIXELS}: shrink it first"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError):
        # damaged EXIF of an intact picture; damaged pixels raise OSError and are reported
        return image


def _in_srgb(image: Image.Image) -> Image.Image:
    """Convert, say, Display P3 to sRGB; a profile that cannot be used is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode == "LAB":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image  # already there: a conversion would only add rounding
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        colours = image.convert("RGB") if alpha or image.mode == "P" else image
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if converted is None:
        return image
    if alpha:
        converted.putalpha(alpha)
    return converted
