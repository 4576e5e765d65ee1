"""Whatever is given where something else belongs: an error in words, never a raw one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pfv_widgets as pw

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
)  # fmt: skip
IMAGES = pw.load_images(torch.randn(3, 3, 16, 16))
PFV = pw.PFV(MODEL, IMAGES, device="cpu")
FRAME = PFV.render()
ATT = pw.attribute(MODEL, IMAGES, "saliency")
CLASSES = pw.component_classes(FRAME)

VALUES: list[Any] = [
    None, 3, -1, 2.5, True, "x", b"x", [], {}, (1, 2), object(), np.zeros(3), torch.zeros(2),
    torch.zeros(2, device="meta"), torch.tensor(3), float("nan"),
    len, np.array("a"), {"a": 1}, 10**30,
]  # fmt: skip

CALLS: dict[str, Callable[[Any], object]] = {
    "load_images": pw.load_images,
    "load size": lambda b: pw.load_images(IMAGES, size=b),
    "load transform": lambda b: pw.load_images(IMAGES, transform=b),
    "load labels": lambda b: pw.load_images(IMAGES, labels=b),
    "PFV model": lambda b: pw.PFV(b, IMAGES),
    "PFV images": lambda b: pw.PFV(MODEL, b),
    "PFV device": lambda b: pw.PFV(MODEL, IMAGES, device=b),
    "PFV basis": lambda b: pw.PFV(MODEL, IMAGES, device="cpu", basis=b),
    "PFV chunk": lambda b: pw.PFV(MODEL, IMAGES, device="cpu", chunk_size=b),
    "PFV memory": lambda b: pw.PFV(MODEL, IMAGES, device="cpu", memory=b),
    "PFV progress": lambda b: pw.PFV(MODEL, IMAGES, device="cpu", progress=b),
    "render layer": lambda b: PFV.render(layer=b),
    "render settings": PFV.render,
    "render size": lambda b: PFV.render(size=b),
    "render only": lambda b: PFV.render(only=b),
    "render foo": lambda b: PFV.render(foo=b),
    "Settings foo": lambda b: pw.Settings(foo=b),
    "Reconstruct foo": lambda b: pw.Reconstruct(foo=b),
    "json": pw.Settings.from_json,
    "hfa": pw.heatmaps_from_activations,
    "hfa2": lambda b: pw.heatmaps_from_activations([b]),
    "hfa settings": lambda b: pw.heatmaps_from_activations([torch.randn(2, 8, 4, 4)], b),
    "hfa size": lambda b: pw.heatmaps_from_activations([torch.randn(2, 8, 4, 4)], size=b),
    "fit model": lambda b: pw.fit_basis(b, [IMAGES.tensor], progress=False),
    "fit loader": lambda b: pw.fit_basis(MODEL, b, progress=False),
    "fit loader2": lambda b: pw.fit_basis(MODEL, [b], progress=False),
    "fit layer": lambda b: pw.fit_basis(MODEL, [IMAGES.tensor], layer=b, progress=False),
    "fit comps": lambda b: pw.fit_basis(MODEL, [IMAGES.tensor], components=b, progress=False),
    "fit device": lambda b: pw.fit_basis(MODEL, [IMAGES.tensor], device=b, progress=False),
    "fit progress": lambda b: pw.fit_basis(MODEL, [IMAGES.tensor], progress=b),
    "load basis": pw.PrincipalBasis.load,
    "save basis": FRAME.basis.save,
    "frame save": FRAME.save,
    "frame figure": lambda b: FRAME.figure(columns=b) if b is not None else None,
    "att model": lambda b: pw.attribute(b, IMAGES),
    "att images": lambda b: pw.attribute(MODEL, b),
    "att method": lambda b: pw.attribute(MODEL, IMAGES, b),
    "att layer": lambda b: pw.attribute(MODEL, IMAGES, "saliency", layer=b),
    "att unit": lambda b: pw.attribute(MODEL, IMAGES, "saliency", unit=b),
    "att output": lambda b: pw.attribute(MODEL, IMAGES, "saliency", output=b),
    "att inputs": lambda b: pw.attribute(MODEL, IMAGES, "saliency", inputs=b),
    "att argument": lambda b: pw.attribute(MODEL, IMAGES, "saliency", argument=b),
    "att chunk": lambda b: pw.attribute(MODEL, IMAGES, "saliency", chunk_size=b),
    "att progress": lambda b: (
        pw.attribute(MODEL, IMAGES, "saliency", progress=b) if not callable(b) else None
    ),
    "att cancelled": lambda b: (
        pw.attribute(MODEL, IMAGES, "saliency", cancelled=b) if not callable(b) else None
    ),
    "att save": ATT.save,
    "att figure": lambda b: ATT.figure(columns=b),
    "att by comp": ATT.by_component,
    "split a": lambda b: pw.split_by_component(b, FRAME),
    "split f": lambda b: pw.split_by_component(ATT, b),
    "rec target": lambda b: pw.reconstruct(MODEL, b, layer="2", steps=1),
    "rec unit": lambda b: pw.reconstruct(MODEL, unit=b, steps=1, size=16),
    "rec layer": lambda b: pw.reconstruct(MODEL, unit=0, layer=b, steps=1, size=16),
    "rec size": lambda b: pw.reconstruct(MODEL, unit=0, steps=1, size=b),
    "rec start": lambda b: pw.reconstruct(MODEL, unit=0, steps=1, size=16, start=b),
    "rec comp": lambda b: pw.reconstruct(MODEL, FRAME, component=b, steps=1, size=16),
    "rec sign": lambda b: pw.reconstruct(MODEL, FRAME, component=0, sign=b, steps=1, size=16),
    "rec transform": lambda b: pw.reconstruct(MODEL, unit=0, transform=b, steps=1, size=16),
    "rec progress": lambda b: (
        pw.reconstruct(MODEL, unit=0, progress=b, steps=1, size=16) if not callable(b) else None
    ),
    "rec every": lambda b: pw.reconstruct(MODEL, unit=0, every=b, steps=1, size=16),
    "rec options": lambda b: pw.reconstruct(MODEL, unit=0, options=b, steps=1, size=16),
    "figm models": lambda b: pw.figure_methods(b, IMAGES, ["saliency"]),
    "figm methods": lambda b: pw.figure_methods(MODEL, IMAGES, b),
    "figm progress": lambda b: (
        pw.figure_methods(MODEL, IMAGES, ["saliency"], progress=b) if not callable(b) else None
    ),
    "figm cancelled": lambda b: (
        pw.figure_methods(MODEL, IMAGES, ["saliency"], cancelled=b) if not callable(b) else None
    ),
    "fign": lambda b: pw.figure_networks(b, IMAGES),
    "fign m": lambda b: pw.figure_networks({"a": MODEL}, IMAGES, method=b),
    "subset": IMAGES.subset,
    "layer": PFV.layer,
    "demo count": lambda b: pw.demo_images(b) if not isinstance(b, int) or b > 9 else None,
    "demo seed": lambda b: pw.demo_images(1, b),
    "cc frame": lambda b: pw.component_classes(FRAME, layer=b, components=b),
    "cc output": lambda b: pw.component_classes(FRAME, output=b),
    "evidence sign": lambda b: CLASSES.evidence(0, sign=b),
    "ablate mode": lambda b: pw.ablate(MODEL, FRAME.layer, FRAME.basis, [0], mode=b),
    "ablate suspects": lambda b: pw.ablate(MODEL, FRAME.layer, FRAME.basis, [0], suspects=b),
    "repair method": lambda b: pw.repair(MODEL, IMAGES, "aab", method=b),
    "similarity layers": lambda b: pw.similarity([MODEL, MODEL], IMAGES, b, shuffles=1),
    "track layers": lambda b: pw.track(MODEL, IMAGES, layers=b, device="cpu"),
    "checkpoints": lambda b: pw.checkpoints(MODEL, b),
    "batch names": lambda b: pw.ImageBatch(IMAGES.pixels, IMAGES.tensor, b),
    "batch tensor": lambda b: pw.ImageBatch(IMAGES.pixels, b, IMAGES.names),
    "batch pixels": lambda b: pw.ImageBatch(b, IMAGES.tensor, IMAGES.names),
    "batch mean": lambda b: pw.ImageBatch(IMAGES.pixels, IMAGES.tensor, IMAGES.names, mean=b),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_value_ends_in_a_raw_error(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some values are the name of a file that can be written
    raw = {}
    for value in VALUES:
        try:
            CALLS[call](value)
        except pw.PFVError:
            continue
        except Exception as error:
            raw[repr(value)] = error
    assert raw == {}


def test_unknown_fields_are_told_with_the_nearest_ones() -> None:
    with pytest.raises(pw.PFVTypeError, match=r"sigme=2: Settings has no such.*mean 'sigma'"):
        pw.Settings(sigme=2)  # type: ignore[call-arg]
    with pytest.raises(pw.PFVTypeError, match=r"step=2: Reconstruct has no such.*mean 'steps'"):
        pw.Reconstruct(step=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "call",
    [
        lambda images: pw.PFV(MODEL, images),
        lambda images: pw.attribute(MODEL, images),
        lambda images: pw.compare([MODEL, MODEL], images),
        lambda images: pw.similarity([MODEL, MODEL], images),
        lambda images: pw.transfer_report(MODEL, images),
    ],
)
def test_photos_that_cannot_be_read_are_named_by_their_argument(call: Callable[[Any], Any]) -> None:
    with pytest.raises(pw.PFVValueError, match=r"^images\w*='/nowhere/x' does not exist"):
        call("/nowhere/x")
    with pytest.raises(pw.PFVTypeError, match=r"^images\w* of type int: expected a folder"):
        call(5)
