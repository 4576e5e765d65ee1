"""Files beside a fit: what no fit has written stays, what a killed one has left goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError, PFVWarning
from tests.networks import blobs, tiny

LAYER = "6"


def cut_short(*parts: Tensor) -> Iterator[Tensor]:
    """Yield batches, then fail as a killed process does."""
    yield from parts
    raise RuntimeError


@pytest.mark.parametrize("content", ["notes", "basis"])
def test_a_file_that_is_no_checkpoint_is_kept(content: str, tmp_path: Path) -> None:
    images, file = blobs(4).tensor, tmp_path / "file"
    options = {"device": "cpu", "progress": False}
    file.write_text("my notes")
    if content == "basis":
        fit_basis(tiny(), [images], LAYER, **options).save(tmp_path / "basis.npz")
        file = tmp_path / "basis.npz"
    before = file.read_bytes()
    with pytest.raises(PFVValueError, match=rf"checkpoint='.*{file.name}' is there already"):
        fit_basis(tiny(), [images], LAYER, checkpoint=file, every=0.0, **options)
    assert file.read_bytes() == before


def test_what_an_earlier_fit_has_left_is_replaced_and_deleted(tmp_path: Path) -> None:
    images, file = blobs(12).tensor, tmp_path / "fit.npz"
    options = {"device": "cpu", "progress": False, "checkpoint": file, "every": 0.0}
    with pytest.raises(RuntimeError):
        fit_basis(tiny(), cut_short(*images.split(4)), LAYER, **options)
    cut_off = tmp_path / f".{file.name}.123.part"
    cut_off.write_bytes(file.read_bytes()[:100])
    other = tmp_path / ".other.npz.123.part"
    other.write_bytes(b"another run's")
    assert file.exists()
    assert fit_basis(tiny(), images.split(4), LAYER, **options).count == 12 * 16 * 16
    assert list(tmp_path.iterdir()) == [other]
    file.touch()  # as a name that was reserved
    fit_basis(tiny(), images.split(4), LAYER, **options)
    assert not file.exists()


def test_transform_is_called_once_a_photo_and_another_one_is_no_way_to_go_on(
    folder: Path, tmp_path: Path
) -> None:
    calls: list[int] = []

    def by(deviation: float, most: int = 99) -> Callable[[Image.Image], Tensor]:
        def transform(image: Image.Image) -> Tensor:
            calls.append(threading.get_ident())
            if len(calls) > most:
                raise KeyboardInterrupt
            pixels = transforms.functional.to_tensor(image.resize((32, 32)))
            return (pixels - 0.5) / deviation

        return transform

    options: dict[str, Any] = {"device": "cpu", "progress": False, "batch_size": 2, "every": 0}
    options["checkpoint"] = tmp_path / "fit.npz"
    with pytest.raises(KeyboardInterrupt):
        fit_basis(tiny(), folder, transform=by(0.5, most=9), **options)
    assert (tmp_path / "fit.npz").exists()
    with pytest.raises(PFVValueError, match=r"checkpoint.*other"):
        fit_basis(tiny(), folder, transform=by(0.02), resume=True, **options)
    calls.clear()
    with pytest.warns(PFVWarning, match="left out"):
        fit_basis(tiny(), folder, transform=by(0.5), **options)
    own = calls.count(threading.get_ident())
    assert own < 5  # to find the normalisation, before photos are decoded in another thread
    assert len(calls) - own == 11


def test_images_of_several_sizes_give_the_same_colours_in_any_order(tmp_path: Path) -> None:
    small, large = blobs(5, 32).tensor, blobs(4, 48, seed=1).tensor
    file, options = tmp_path / "fit.npz", {"device": "cpu", "progress": False}

    one = fit_basis(tiny(), [small, large], LAYER, **options)
    other = fit_basis(tiny(), [large, small], LAYER, **options)
    with pytest.raises(RuntimeError):
        fit_basis(tiny(), cut_short(large, small[:3]), LAYER, checkpoint=file, every=0.0, **options)
    parts = [large, small[:3], small[3:]]
    resumed = fit_basis(tiny(), parts, LAYER, checkpoint=file, resume=True, **options)
    pictures = [
        PFV(tiny(), small, device="cpu", basis=basis).render().heatmaps
        for basis in (one, other, resumed)
    ]
    torch.testing.assert_close(pictures[1], pictures[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(pictures[2], pictures[0], atol=1e-4, rtol=0)
