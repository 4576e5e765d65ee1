"""Worked cases with known truth: marks on one class, and animals on backgrounds of two kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation

Pixels = np.ndarray  # uint8 (N, H, W, 3)
RATE = 0.95  # of one class carries the mark in training


@dataclass(frozen=True)
class Mark:
    """A mark that is put on a photo.

    Attributes
    ----------
    kind
        ``"sticker"``, ``"text"``, ``"border"`` or ``"tint"``.
    fixed
        Whether it is always in the same place.
    colour
        RGB.
    variant
        Which shape, or which words.
    scale
        Of a sticker's side or of 2.2 letters' height, over the photo's side; a fifth of it is the
        width of a border, and it is the opacity of a tint.
    """

    kind: str
    fixed: bool
    colour: tuple[int, int, int]
    variant: int = 0
    scale: float = 0.2

    @property
    def name(self) -> str:
        place = "" if self.kind in ("border", "tint") else ", fixed" if self.fixed else ", random"
        return f"{self.kind} {self.variant}{place}"

    def put(self, pixels: Pixels, seed: int = 0) -> tuple[Pixels, np.ndarray]:
        """Return photos with the mark, and where it is: bool ``(N, H, W)``."""
        random = np.random.default_rng(seed)
        corner = random.random(2)
        marked, where = [], []
        for photo in pixels:
            place = corner if self.fixed else random.random(2)
            one, mask = _DRAW[self.kind](self, photo, place)
            marked.append(one)
            where.append(mask)
        return np.stack(marked), np.stack(where)


def _sticker(mark: Mark, photo: Pixels, place: np.ndarray) -> tuple[Pixels, np.ndarray]:
    side = round(mark.scale * len(photo))
    shape = Image.new("L", (side, side))
    draw = ImageDraw.Draw(shape)
    box, middle = (0, 0, side - 1, side - 1), side / 2
    if mark.variant % 3 == 0:
        draw.ellipse(box, fill=255)
    elif mark.variant % 3 == 1:
        draw.rectangle(box, fill=255)
    else:
        draw.polygon([(middle, 0), (side, middle), (middle, side), (0, middle)], fill=255)
    inner = np.zeros((side, side), bool)
    inner[side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = mark.variant > 2
    colour = np.where(inner[..., None], 255 - np.array(mark.colour), mark.colour)
    return _pasted(photo, place, np.asarray(shape) > 127, colour, 1.0)


def _text(mark: Mark, photo: Pixels, place: np.ndarray) -> tuple[Pixels, np.ndarray]:
    words = ("STOCK PHOTO", "© archive.net", "SAMPLE 0815")[mark.variant % 3]
    font = ImageFont.load_default(size=round(0.45 * mark.scale * len(photo)))
    left, top, right, bottom = font.getbbox(words)
    shape = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2))
    ImageDraw.Draw(shape).text((1 - left, 1 - top), words, fill=255, font=font)
    strength = np.asarray(shape) / 255
    photo, mask = _pasted(photo, place, strength, np.array(mark.colour), 0.75)
    rows, columns = np.nonzero(mask)
    mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return photo, mask


def _border(mark: Mark, photo: Pixels, place: np.ndarray) -> tuple[Pixels, np.ndarray]:
    width = round(0.2 * mark.scale * len(photo)) + 2 * (mark.variant % 2)
    mask = np.ones(photo.shape[:2], bool)
    mask[width:-width, width:-width] = False
    return np.where(mask[..., None], np.array(mark.colour, np.uint8), photo), mask


def _tint(mark: Mark, photo: Pixels, place: np.ndarray) -> tuple[Pixels, np.ndarray]:
    mixed = (1 - mark.scale) * photo + mark.scale * np.array(mark.colour)
    return np.rint(mixed).astype(np.uint8), np.ones(photo.shape[:2], bool)


def _pasted(
    photo: Pixels, place: np.ndarray, shape: np.ndarray, colour: np.ndarray, opacity: float
) -> tuple[Pixels, np.ndarray]:
    room = np.array(photo.shape[:2]) - shape.shape
    top, left = np.rint(place * room).astype(int)
    part = np.s_[top : top + shape.shape[0], left : left + shape.shape[1]]
    strength = opacity * shape[..., None].astype(float)
    new, mask = photo.copy(), np.zeros(photo.shape[:2], bool)
    new[part] = np.rint((1 - strength) * photo[part] + strength * colour)
    mask[part] = shape > 0.2
    return new, mask


_DRAW: dict[str, Callable[[Mark, Pixels, np.ndarray], tuple[Pixels, np.ndarray]]] = {
    "sticker": _sticker,
    "text": _text,
    "border": _border,
    "tint": _tint,
}

KINDS = (
    ("sticker", False), ("sticker", True), ("text", False), ("text", True), ("border", True),
    ("tint", True),
)  # fmt: skip


def drawn_marks(seed: int) -> list[Mark]:
    """Return a mark of each kind, drawn at random."""
    random = np.random.default_rng(seed)
    marks = []
    for kind, fixed in KINDS:
        colour = random.integers(0, 256, 3)
        if np.ptp(colour) < 60:
            colour = np.array([250, 40, 90])
        variant, scale = int(random.integers(6)), float(random.uniform(0.16, 0.28))
        marks.append(Mark(kind, fixed, tuple(int(one) for one in colour), variant, scale))
    return marks


class Pooled(nn.Module):
    """Feature maps of a network, their mean over the positions, and a linear read-out."""

    def __init__(self, features: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.features(images)
        scores: Tensor = self.head(maps.mean((2, 3)))
        return scores


def squeezenet_features(assets: Path) -> nn.Module:
    """The real SqueezeNet up to ``features.12``."""
    model = torchvision.models.squeezenet1_0()
    model.load_state_dict(torch.load(assets / "models" / "squeezenet1_0_imagenet.pth"))
    return model.eval().features


def pooled_features(features: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([features(part).mean((2, 3)) for part in images.split(16)])


def read_out(pooled: Tensor, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Weight ``(K, C)`` and bias of a logistic regression on standardised features."""
    mean, spread = pooled.mean(0), pooled.std(0).clamp_min(1e-6)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(((pooled - mean) / spread).numpy(), labels)
    weight, bias = torch.tensor(model.coef_), torch.tensor(model.intercept_)
    if len(weight) == 1:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    weight = (weight / spread).float()
    return weight, (bias - weight @ mean).float()


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos with labels: those of training, and those of a test."""

    classes: tuple[str, ...]
    train: Pixels
    train_labels: np.ndarray
    test: Pixels
    test_labels: np.ndarray


def ants_and_bees(assets: Path, size: int = 224) -> Photos:
    parts = []
    for split in ("train", "val"):
        batch = load_images(assets / "ants_bees" / split, size=size)
        labels = np.array([("ants", "bees").index(one) for one in batch.labels or ()])
        parts += [batch.pixels, labels]
    return Photos(("ants", "bees"), *parts)


def breeds(assets: Path, size: int = 224) -> Photos:
    """Photos of three breeds of pets; there is no test."""
    names = ("Abyssinian", "Bengal", "american_bulldog")
    paths = [sorted((assets / "pets" / "images").glob(f"{one}_*.jpg")) for one in names]
    pixels = load_images([path for some in paths for path in some], size=size).pixels
    labels = np.repeat(np.arange(len(names)), [len(some) for some in paths])
    return Photos(names, pixels, labels, pixels[:0], labels[:0])


def batch_of(
    pixels: Pixels, labels: np.ndarray, classes: tuple[str, ...], norm: Normalisation = IMAGENET
) -> ImageBatch:
    tensor = norm.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
    names = tuple(f"photo {index}" for index in range(len(pixels)))
    texts = tuple(classes[label] for label in labels)
    return ImageBatch(pixels, tensor, names, texts, mean=norm.mean, std=norm.std)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Animals on backgrounds: pixels, class, kind of background, and where the animal is."""

    pixels: Pixels
    labels: np.ndarray
    kinds: np.ndarray
    masks: np.ndarray


def backgrounds(
    assets: Path,
    count: int,
    rate: float,
    *,
    test: bool = False,
    size: int = 224,
    seed: int = 0,
    scale: float = 0.5,
) -> Scenes:
    """Cut out cats and dogs and paste them on photos of ants or of bees.

    ``rate`` of the cats are on photos of ants, and of the dogs on photos of bees.
    """
    random = np.random.default_rng(seed)
    animals = [_cut_outs(assets, ("Abyssinian", "Bengal"), test=test, size=size),
               _cut_outs(assets, ("american_bulldog",), test=test, size=size)]  # fmt: skip
    split = "val" if test else "train"
    grounds = [
        load_images(assets / "ants_bees" / split / kind, size=size).pixels
        for kind in ("ants", "bees")
    ]
    pixels, masks, kinds = [], [], []
    labels = np.arange(count) % 2
    for label in labels:
        own = random.random() < rate
        kind = label if own else 1 - label
        photo, mask = animals[label][random.integers(len(animals[label]))]
        ground = grounds[kind][random.integers(len(grounds[kind]))]
        top, left = (random.integers(0, size - round(scale * size) + 1) for _ in range(2))
        small, shape = _resized(photo, mask, round(scale * size))
        whole, where = ground.copy(), np.zeros((size, size), bool)
        part = np.s_[top : top + len(small), left : left + len(small)]
        where[part] = shape
        whole[part][shape] = small[shape]
        pixels.append(whole)
        masks.append(where)
        kinds.append(kind)
    return Scenes(np.stack(pixels), labels, np.array(kinds), np.stack(masks))


def _cut_outs(
    assets: Path, breeds: tuple[str, ...], *, test: bool, size: int
) -> list[tuple[Pixels, np.ndarray]]:
    result = []
    for breed in breeds:
        paths = sorted((assets / "pets" / "images").glob(f"{breed}_*.jpg"))
        for path in paths[13:] if test else paths[:13]:
            photo = Image.open(path).convert("RGB").resize((size, size))
            trimap = Image.open(assets / "pets" / "trimaps" / f"{path.stem}.png")
            mask = np.asarray(trimap.resize((size, size), Image.Resampling.NEAREST)) != 2
            result.append((np.asarray(photo), mask))
    return result


def _resized(photo: Pixels, mask: np.ndarray, side: int) -> tuple[Pixels, np.ndarray]:
    small = Image.fromarray(photo).resize((side, side))
    shape = Image.fromarray(mask.astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(small), np.asarray(shape) > 0
