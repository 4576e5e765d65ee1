"""Pictures on their way to a page: small ones in few bytes, or such that nothing is to wait for."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

_AT_ONCE = 32_000  # pixels that are worth sending uncompressed: 64 kB

_MASKS = (0xF800, 0x07E0, 0x001F)  # red, green, blue of a pixel of 16 bits
_BITFIELDS = 3  # the pixels are as the masks say
_HEADERS = 14 + 40 + 12  # of the file, of the picture, the masks


def encode(picture: np.ndarray, quality: int = 90, *, near: bool = False) -> bytes:
    """JPEG at full colour resolution: of what keeps 40 dB on heatmaps, the smallest and fastest.

    For a page that is ``near``, a small picture is left uncompressed: it is drawn at once.
    """
    if near and picture.shape[0] * picture.shape[1] <= _AT_ONCE:
        return bitmap(picture)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def bitmap(picture: np.ndarray) -> bytes:
    """Encode a picture, RGB, uint8 ``(H, W, 3)``, as BMP of 16 bits a pixel: all browsers read it.

    Decoding a JPEG or PNG is a task of its own for a browser, which waits its turn; a script
    unpacks this while it draws (:mod:`page_script`). Red and blue keep 5 bits, green 6: 41 dB.
    """
    height, width = picture.shape[:2]
    deep = picture.astype(np.uint16)
    red, green, blue = ((deep[..., k] * top + 127) // 255 for k, top in enumerate((31, 63, 31)))
    rows = np.zeros((height, width + width % 2), "<u2")  # rows end on whole words of 32 bits
    rows[:, :width] = red << 11 | green << 5 | blue
    size = _HEADERS + rows.nbytes
    header = struct.pack("<2sIHHI", b"BM", size, 0, 0, _HEADERS)
    # the height is negative: rows come from the top
    header += struct.pack(
        "<IiiHHIIiiII", 40, width, -height, 1, 16, _BITFIELDS, rows.nbytes, 2835, 2835, 0, 0
    )
    return header + struct.pack("<III", *_MASKS) + rows.tobytes()


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring photos, uint8 ``(N, H, W, 3)``, to a height and width."""
    if pixels.shape[1:3] == size:
        return pixels
    resized = [Image.fromarray(one).resize(size[::-1], Image.Resampling.LANCZOS) for one in pixels]
    return np.stack([np.asarray(one) for one in resized])
