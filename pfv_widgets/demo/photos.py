"""Real photos from packages of the extra ``photos``, with their licences, and crops of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps

from pfv_widgets.demo.drawing import RandomStream
from pfv_widgets.engine.data.decoding import read_photo


@dataclass(frozen=True)
class Photo:
    """A photo that a package ships."""

    kind: str
    """What is on it; photos of one kind share it as their label."""
    package: str
    """The package that ships it, as it is imported."""
    file: str
    """Where it is in that package: read as a file, which imports nothing and downloads nothing."""
    credit: str
    """Who took it, where it comes from, and its licence."""

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return in_package(self.package, self.file)


@dataclass(frozen=True)
class View:
    """A square of a photo: centre and side as fractions of width, height and shorter side."""

    photo: str
    x: float
    y: float
    side: float = 1.0
    mirrored: bool = False

    @property
    def name(self) -> str:
        """The photo, and what was done to it."""
        changes = ["detail"] * (self.side < 1) + ["mirrored"] * self.mirrored
        return ", ".join([self.photo, *changes])

    def cut(self, photo: Image.Image) -> Image.Image:
        """Return this square of the photo."""
        width, height = photo.size
        side = max(1, round(self.side * min(width, height)))
        left = round(min(max(self.x * width - side / 2, 0), width - side))
        top = round(min(max(self.y * height - side / 2, 0), height - side))
        square = photo.crop((left, top, left + side, top + side))
        return ImageOps.mirror(square) if self.mirrored else square


# scikit-image's motorcycle is left out: nothing says under which licence it is.
PHOTOS = {
    "cat": Photo("cat", "skimage", "data/chelsea.png", "Stéfan van der Walt (scikit-image), CC0"),
    "espresso": Photo(
        "espresso", "skimage", "data/coffee.png", "Rachel Michetti (scikit-image), CC0"
    ),
    "dahlia": Photo(
        "flower",
        "sklearn",
        "datasets/images/flower.jpg",
        "vultilion, flickr.com/photos/vultilion/6056698931 (scikit-learn), CC BY 2.0; cropped",
    ),
    "temple": Photo(
        "temple",
        "sklearn",
        "datasets/images/china.jpg",
        "danielbuechele, flickr.com/photos/danielbuechele/6061409035 (scikit-learn), CC BY 2.0; "
        "cropped",
    ),
    "Eileen Collins": Photo(
        "portrait", "skimage", "data/astronaut.png", "NASA (scikit-image), public domain"
    ),
    "Grace Hopper": Photo(
        "portrait",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "US Navy (matplotlib), public domain",
    ),
    "rocket": Photo(
        "rocket", "skimage", "data/rocket.jpg", "SpaceX (scikit-image), public domain (CC0)"
    ),
}

# chosen by looking: photos of one kind beside each other, each kind in a colour of its own
FIRST = (
    View("cat", 0.42, 0.5),
    View("cat", 0.5, 0.45, 0.7, mirrored=True),
    View("espresso", 0.45, 0.5),
    View("espresso", 0.45, 0.45, 0.72, mirrored=True),
    View("dahlia", 0.4, 0.5),
    View("dahlia", 0.42, 0.5, 0.7, mirrored=True),
    View("temple", 0.22, 0.5),
    View("temple", 0.3, 0.45, 0.6, mirrored=True),
    View("Eileen Collins", 0.5, 0.5),
    View("Grace Hopper", 0.5, 0.45),
    View("rocket", 0.5, 0.5),
    View("rocket", 0.5, 0.62, 0.75, mirrored=True),
)


def views(count: int, seed: int) -> list[View]:
    """Return ``count`` squares: with seed 0 first the chosen ones, then random ones in turn."""
    stream = RandomStream(seed)
    squares = list(FIRST[:count]) if seed == 0 else []
    keys = tuple(PHOTOS)
    while len(squares) < count:
        x, y, side = stream.uniform(0.3, 0.6), stream.uniform(0.35, 0.6), stream.uniform(0.6, 0.95)
        squares.append(View(keys[len(squares) % len(keys)], x, y, side, stream.chance(0.5)))
    return squares


def cut(squares: Sequence[View]) -> list[Image.Image]:
    """Return the squares as pictures, each photo read once."""
    keys = dict.fromkeys(view.photo for view in squares)
    read = {key: read_photo(PHOTOS[key].path) for key in keys}
    return [view.cut(read[view.photo]) for view in squares]


def in_package(package: str, file: str) -> Path:
    """Return where a file of a package is, or would be."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders or ["."]))) / file


def missing() -> list[str]:
    """Return the packages that lack a photo, as where a version no longer ships it."""
    return sorted({photo.package for photo in PHOTOS.values() if not photo.path.is_file()})


def photo_credits(keys: Sequence[str] = tuple(PHOTOS)) -> str:
    """Return who took the photos and under which licence each may be shown, a line for each."""
    return "\n".join(f"{key}: {PHOTOS[key].credit}" for key in keys)
