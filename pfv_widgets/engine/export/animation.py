"""Pictures with a caption bar, put together as a GIF, a WebP or a video."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pfv_widgets.engine.export.output_paths import checked_path, replacing
from pfv_widgets.errors import PFVValueError

_WIDEST, _SMALLEST, _NARROWEST = 900, 240, 400  # pixels
_MOST_PIXELS = 60_000_000  # of all pictures: 180 MB in memory
_GIF_PIXELS = 24_000_000  # of all pictures: 10 MB as a GIF, which takes 0.42 bytes for each
_ENLARGED = 2.0  # times, at most: a small picture stays what it is
_GAP, _EDGE, _BAR, _LINE = 6, 8, 38, 3
_PAPER, _INK, _QUIET, _TRACK = (255, 255, 255), (29, 33, 38), (96, 104, 113), (213, 217, 222)
_COLOURS = 236  # of the pictures in a GIF's palette; the others are the bar's, one is free
_GREYS = 18
_SAMPLE = 50_000  # pixels from which the palette is found: half a second; more gain nothing
_RATE = 20  # pictures a second in a video

IsCancelled = Callable[[], bool]


def checked_animation(path: object) -> Path:
    """Return where to write an animation."""
    target = checked_path(path, ANIMATIONS, "for the animation")
    format_ = ANIMATIONS[target.suffix.lower()]
    if not format_.is_available:
        raise PFVValueError(
            f"path={str(path)!r}: a video needs the program {format_.program}, which is not on the "
            f"PATH. Install it, or choose a name that ends in {_needing_no_program()}."
        )
    return target


class Animation:
    """Pictures of one size, each with a bar that says what it shows.

    Parameters
    ----------
    number
        How many pictures are to come, for the size and for the line that shows how far it is.
    most
        Pixels that all of them may have.

    Attributes
    ----------
    pictures
        Those so far, uint8 ``(height, width, 3)``.
    layout
        Where their tiles are; None before the first.
    """

    def __init__(self, number: int, most: int = _MOST_PIXELS) -> None:
        self.pictures: list[np.ndarray] = []
        self._number, self._most = number, most
        self.layout: Layout | None = None

    def add(self, tiles: np.ndarray, caption: str, position: int) -> None:
        """Draw tiles, uint8 ``(N, H, W, 3)``, as picture ``position`` of all, from 1."""
        self.layout = self.layout or Layout(tiles.shape, self._number, self._most)
        self.pictures.append(self.layout.draw(tiles, caption, position, self._number))

    def write(self, path: Path, duration: int, cancelled: IsCancelled) -> bool:
        """Write the file; False, and no file, where it is cancelled meanwhile.

        A picture stays ``duration`` milliseconds, the first and the last ones longer.
        """
        stays = [duration] * len(self.pictures)
        stays[0] = max(duration, 600)
        stays[-1] = max(2 * duration, 1200)
        with replacing(path) as part:
            ANIMATIONS[path.suffix.lower()].write(self, part, stays, cancelled)
            stopped = cancelled()
            if stopped:
                part.unlink()
        return not stopped


class Layout:
    """Where the tiles of every picture are, in pixels."""

    def __init__(self, shape: tuple[int, ...], pictures: int, most: int) -> None:
        self._number, high, wide = shape[:3]
        room = max(_SMALLEST, min(_WIDEST, int(math.sqrt(most / pictures))))
        scales = {
            columns: min(self._scale(columns, wide, room), self._scale(rows, high, room))
            for columns in range(1, self._number + 1)
            for rows in [math.ceil(self._number / columns)]
        }
        self.columns = max(
            scales, key=lambda columns: (scales[columns], -abs(self._lopsided(columns, wide, high)))
        )
        scale = scales[self.columns]
        self.tile = max(1, int(wide * scale)), max(1, int(high * scale))
        rows = math.ceil(self._number / self.columns)
        across, down = (
            count * (side + _GAP) - _GAP + 2 * _EDGE
            for count, side in zip((self.columns, rows), self.tile, strict=True)
        )
        # even, as videos need it
        self.width = (max(across, min(_NARROWEST, room)) + 1) // 2 * 2
        self.height = (down + _BAR + 1) // 2 * 2
        self._left = (self.width - across) // 2 + _EDGE

    @staticmethod
    def _scale(count: int, side: int, room: int) -> float:
        return min(_ENLARGED, (room - 2 * _EDGE - _GAP * (count - 1)) / (count * side))

    def _lopsided(self, columns: int, wide: int, high: int) -> int:
        return columns * wide - math.ceil(self._number / columns) * high

    def corners(self) -> Iterator[tuple[int, int]]:
        """Left and top of each tile."""
        for index in range(self._number):
            row, column = divmod(index, self.columns)
            yield (
                self._left + column * (self.tile[0] + _GAP),
                _BAR + _EDGE + row * (self.tile[1] + _GAP),
            )

    def draw(self, tiles: np.ndarray, caption: str, position: int, of: int) -> np.ndarray:
        """Draw one picture: tiles below a bar with a caption and how far it is."""
        picture = Image.new("RGB", (self.width, self.height), _PAPER)
        for tile, corner in zip(tiles, self.corners(), strict=True):
            image = Image.fromarray(tile)
            picture.paste(image.resize(self.tile, Image.Resampling.BICUBIC), corner)
        draw, font = ImageDraw.Draw(picture), _font(18)
        right, middle = self.width - _EDGE, (_BAR - _LINE) / 2
        counted = f"{position} / {of}"
        draw.text((right, middle), counted, _QUIET, _font(13), anchor="rm")
        room = right - draw.textlength(counted, _font(13)) - 2 * _EDGE
        draw.text((_EDGE, middle), _fitting(caption, room, font), _INK, font, anchor="lm")
        line = _BAR - _LINE, _BAR - 1
        draw.rectangle((_EDGE, line[0], right - 1, line[1]), _TRACK)
        reached = max(_EDGE + 1, _EDGE + (right - _EDGE) * position / of)
        draw.rectangle((_EDGE, line[0], int(reached) - 1, line[1]), _INK)
        return np.asarray(picture)

    def noise(self) -> np.ndarray:
        """Return a pattern ``(height, width, 1)`` that hides a palette's steps, on tiles alone.

        The same in each picture, so that what does not move does not flicker.
        """
        pattern = _bayer(3)
        across = np.tile(pattern, (self.height // 8 + 1, self.width // 8 + 1))
        noise = np.zeros((self.height, self.width, 1), np.float32)
        for left, top in self.corners():
            tile = np.s_[top : top + self.tile[1], left : left + self.tile[0]]
            noise[tile] = across[tile][:, :, None]
        return noise


def _bayer(order: int) -> np.ndarray:
    """Thresholds of ordered dithering (Bayer 1973), ``2^order`` a side, in [−0.5, 0.5)."""
    matrix = np.zeros((1, 1))
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    scaled: np.ndarray = (matrix + 0.5) / matrix.size - 0.5
    return scaled.astype(np.float32)


def _write_gif(animation: Animation, part: Path, stays: list[int], cancelled: IsCancelled) -> None:
    assert animation.layout is not None  # there are pictures
    palette, noise = _palette(animation.pictures), animation.layout.noise()
    indexed = (_indexed(one, palette, noise) for one in animation.pictures if not cancelled())
    first = next(indexed, None)
    if first is not None:
        first.save(
            part, "GIF", save_all=True, append_images=indexed, duration=stays, loop=0,
            optimize=False,
        )  # fmt: skip


def _write_webp(animation: Animation, part: Path, stays: list[int], _: IsCancelled) -> None:
    first, *rest = (Image.fromarray(picture) for picture in animation.pictures)
    first.save(
        part, "WEBP", save_all=True, append_images=rest, duration=stays, loop=0, quality=84,
        method=3,
    )  # fmt: skip


def _write_mp4(animation: Animation, part: Path, stays: list[int], cancelled: IsCancelled) -> None:
    height, width, _ = animation.pictures[0].shape
    command = [
        shutil.which("ffmpeg") or "ffmpeg", "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(_RATE),
        "-i", "-", "-an", "-pix_fmt", "yuv420p", "-b:v", "8M", "-movflags", "+faststart",
        "-f", "mp4", str(part),
    ]  # fmt: skip
    chunks = (
        picture.tobytes()
        for picture, stay in zip(animation.pictures, stays, strict=True)
        for _ in range(max(1, round(stay * _RATE / 1000)))
    )
    _piped(command, chunks, cancelled)


_STRENGTH = 8  # of the pattern, in steps of 255


def _palette(pictures: list[np.ndarray]) -> Image.Image:
    """One palette for all pictures, with the greys of the bar in it."""
    step = max(1, math.ceil(math.sqrt(len(pictures) * pictures[0][:, :, 0].size / _SAMPLE)))
    sample = Image.fromarray(np.concatenate([one[_BAR::step, ::step] for one in pictures]))
    adaptive = sample.quantize(_COLOURS, Image.Quantize.MEDIANCUT, kmeans=1)
    colours = (adaptive.getpalette() or [])[: 3 * _COLOURS]
    for share in np.linspace(0, 1, _GREYS):
        colours += [round(a + share * (b - a)) for a, b in zip(_INK, _PAPER, strict=True)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return palette


def _indexed(picture: np.ndarray, palette: Image.Image, noise: np.ndarray) -> Image.Image:
    shaken = np.clip(np.rint(picture + _STRENGTH * noise), 0, 255).astype(np.uint8)
    return Image.fromarray(shaken).quantize(palette=palette, dither=Image.Dither.NONE)


def _piped(command: list[str], chunks: Iterator[bytes], cancelled: IsCancelled) -> None:
    """Feed a program; raise with what it says where it fails."""
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages
        ) as process:
            assert process.stdin is not None
            try:
                for chunk in chunks:
                    if cancelled():
                        process.kill()
                        return
                    process.stdin.write(chunk)
                process.stdin.close()
            except BrokenPipeError:  # it ended early: what it says is the reason
                pass
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            messages.seek(0)
            said = messages.read().decode("utf-8", "replace").strip().splitlines() or ["no reason"]
            raise PFVValueError(
                f"{Path(command[0]).stem} could not write the video: {said[-1]:.200}. Choose a "
                f"name that ends in {_needing_no_program()}."
            )


@dataclass(frozen=True)
class AnimationFormat:
    """One entry of :data:`ANIMATIONS`.

    Attributes
    ----------
    write
        Writes the pictures of an animation to a path, each of which stays so many milliseconds;
        ends early where it is cancelled.
    label
        What a menu calls it.
    program
        A program that has to be on the PATH; empty: none.
    most
        Pixels that all pictures may have together.
    """

    write: Callable[[Animation, Path, list[int], IsCancelled], None]
    label: str
    program: str = ""
    most: int = _MOST_PIXELS

    @property
    def is_available(self) -> bool:
        """Whether it can be written on this machine."""
        return not self.program or shutil.which(self.program) is not None


ANIMATIONS: dict[str, AnimationFormat] = {
    ".gif": AnimationFormat(_write_gif, "GIF, for everywhere", most=_GIF_PIXELS),
    ".webp": AnimationFormat(_write_webp, "WebP, much smaller"),
    ".mp4": AnimationFormat(_write_mp4, "MP4 video", program="ffmpeg"),
}
"""Suffix → format of the animations."""


def _needing_no_program() -> str:
    return " or ".join(suffix for suffix, one in ANIMATIONS.items() if not one.program)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own font: it has Greek letters, and is there on every machine."""
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _fitting(caption: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """One line, cut in the middle until it fits into ``room`` pixels."""
    line = " ".join("".join(c if c.isprintable() else " " for c in caption[:400]).split())
    length = len(line)
    cut = line
    while length and font.getlength(cut) > room:
        length -= 1
        cut = f"{line[: length // 2]}…{line[len(line) - (length - length // 2) :]}"
    return cut
