"""How often a picture waits for the device: what Python reads, and what PyTorch reads by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pfv_widgets.engine import device_transfer
from pfv_widgets.engine.pca import basis, eigensolvers
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.engine.pipeline.test_without_a_gpu import KNOBS
from tests.networks import blobs, tiny

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "::equal")


class Waits(TorchDispatchMode):
    """Counts operations that an accelerator would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = func.name()
        moved = name.startswith("aten::_to_copy") and (kwargs or {}).get("device") is not None
        moved = moved and args[0].device != torch.device(kwargs["device"])
        if moved or any(one in name for one in WAITS):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def count_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], list[int]]]:
    """Count operations that wait, and reads of tensors."""
    reads: list[int] = []

    def read(*tensors: Tensor) -> object:
        reads.append(len(tensors))
        return device_transfer.read(*tensors)

    with monkeypatch.context() as patch, Waits() as waits:
        for module in (basis, eigensolvers):
            patch.setattr(module, "read", read)
        yield waits.names, reads


@pytest.fixture
def pfv() -> PFV:
    """All caches are warm."""
    pfv = PFV(tiny(), blobs(4), device="cpu")
    for weighting in ("flat", "none", "hierarchical"):
        for images in (None, (1, 0, 1, 1)):
            pfv.render(weighting=weighting, images=images)
    pfv.render()
    return pfv


@pytest.mark.parametrize("changes", KNOBS)
def test_knob_waits_once_before_the_picture_is_copied(
    pfv: PFV, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with count_waits(monkeypatch) as (waits, reads):
        pfv.render(**changes)
    assert waits == []
    assert len(reads) <= 1


def test_composition_compares_components_in_one_read(
    pfv: PFV, monkeypatch: pytest.MonkeyPatch
) -> None:
    with count_waits(monkeypatch) as (waits, reads):
        pfv.render(images=(0, 1, 1, 1))
    assert waits == []
    assert len(reads) == 1  # eigenvalues, sizes and cosines with two bases, together


def test_read_of_several_tensors_is_what_they_hold() -> None:
    tensors = [torch.arange(6.0).view(2, 3), torch.ones(1, 1, 2), torch.zeros(0)]
    for one, array in zip(tensors, device_transfer.read(*tensors), strict=True):
        assert array.shape == one.shape
        assert array.tolist() == one.tolist()
