from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.engine.pipeline.test_without_a_gpu import KNOBS
from tests.networks import blobs, tiny

pytestmark = pytest.mark.gpu


@pytest.fixture
def device(accelerator: torch.device) -> torch.device:
    return accelerator


def waits(work: Callable[[], object]) -> list[str]:
    """Return where CUDA says that Python waited for it."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{one.filename}:{one.lineno}" for one in record if "synchroniz" in str(one.message)]


def signs_between(one: torch.Tensor, other: torch.Tensor) -> tuple[int, ...]:
    """Signed numbers, as `PrincipalBasis.arranged` takes them, that turn `one` to `other`."""
    signs = (one * other).sum(dim=(0, 2, 3)).sign()
    return tuple(int(sign) * (index + 1) for index, sign in enumerate(signs))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_accelerator_paints_what_the_processor_paints(
    weighting: str, device: torch.device
) -> None:
    images, network = blobs(6), tiny()
    expected = PFV(network, images, "cpu").render(weighting=weighting)
    frame = PFV(network, images, device).render(weighting=weighting)
    assert frame.heatmaps.device.type == device.type
    torch.testing.assert_close(frame.scores.cpu(), expected.scores, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(frame.heatmaps.cpu(), expected.heatmaps, atol=2e-3, rtol=0)
    assert signs_between(frame.scores.cpu(), expected.scores) == (1, 2, 3)


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
def test_every_colour_map_paints_on_an_accelerator(colour_map: str, device: torch.device) -> None:
    pfv = PFV(tiny(), blobs(4), device)
    for components in (1, 2, 5):
        heatmaps = pfv.render(colour_map=colour_map, components=components).heatmaps
        assert bool(torch.isfinite(heatmaps).all())


@pytest.mark.parametrize(
    "changes",
    [
        {"pins": [(0, 0.2, 0.3), (3, 0.9, 0.9)]},
        {"sharing": "inclusive"},
        {"sharing": "exclusive"},
        {"size": (90, 100), "only": [2, 0]},
    ],
)
def test_every_look_is_that_of_the_processor(changes: dict[str, Any], device: torch.device) -> None:
    images, network = blobs(5), tiny()
    expected = PFV(network, images, "cpu").render(**changes)
    frame = PFV(network, images, device).render(**changes)
    off = (frame.heatmaps.cpu() - expected.heatmaps).abs()
    assert float(off.mean()) < 2e-3  # a few pixels may fall into the next colour
    assert frame.at(2, 0.5, 0.5).device.type == "cpu"
    np.testing.assert_allclose(frame.composite().mean(), expected.composite().mean(), atol=1)


def test_similar_positions_are_those_of_the_processor(device: torch.device) -> None:
    actual, expected = (PFV(tiny(), blobs(5), one).nearest(1, 0.4, 0.6) for one in (device, "cpu"))
    assert [place.image for place in actual] == [place.image for place in expected]
    for one, other in zip(actual, expected, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=1e-3)


def test_auto_takes_the_accelerator_and_leaves_the_users_model_where_it_is(
    device: torch.device,
) -> None:
    network = tiny()
    pfv = PFV(network, blobs(3))
    assert pfv.device.type == device.type
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_have_sums_in_float32(
    dtype: torch.dtype, device: torch.device
) -> None:
    frame = PFV(tiny().to(device, dtype), blobs(4), device).render()
    assert frame.scores.dtype == torch.float32
    assert bool(torch.isfinite(frame.heatmaps).all())


def test_a_basis_is_fitted_on_an_accelerator(device: torch.device) -> None:
    batches = [blobs(4, seed=seed).tensor for seed in range(3)]
    basis = fit_basis(tiny(), batches, "9", device=device, progress=False)
    expected = fit_basis(tiny(), batches, "9", device="cpu", progress=False)
    torch.testing.assert_close(
        basis.explained_variance_ratio.cpu(), expected.explained_variance_ratio, atol=1e-4, rtol=0
    )


cuda = pytest.mark.skipif(torch.backends.mps.is_built(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize(("channels", "composition"), [(8, 2), (320, 4)])
def test_warm_picture_waits_at_most_once_before_it_is_copied(
    channels: int, composition: int, device: torch.device
) -> None:
    pfv = PFV(tiny(channels=channels), blobs(6), device)
    for weighting in ("flat", "none", "hierarchical"):
        pfv.render(weighting=weighting)
        pfv.render(weighting=weighting, images=(1, 0, 1, 1, 1, 1))
    pfv.render()
    for changes in KNOBS:
        where = waits(lambda changes=changes: pfv.render(**changes))
        assert len(where) <= 1, (changes, where)
    # the library's eigensolver looks at its own error flag in each step, besides our one read
    where = waits(lambda: pfv.render(images=(0, 1, 1, 1, 1, 1)))
    assert len(where) <= composition, where


@cuda
def test_out_of_memory_halves_the_chunk_and_paints_the_same(device: torch.device) -> None:
    """Images of 512 pixels: all at once take ten times what is left."""
    images, network = blobs(32, 512), tiny(channels=32)
    expected = PFV(network, images, device, chunk_size=2).render(size=(64, 64))
    torch.cuda.empty_cache()
    device = torch.device("cuda", torch.cuda.current_device())  # a share is that of one card
    card = torch.cuda.get_device_properties(device).total_memory
    room = torch.cuda.memory_reserved(device) + 1.2e9  # all 32 take 1.1 GB for each map of 512
    torch.cuda.set_per_process_memory_fraction(room / card, device)
    try:
        pfv = PFV(network, images, device, chunk_size=32)
        frame = pfv.render(size=(64, 64))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert pfv.store.capture.chunk_size < 32
    assert any("Memory ran out" in one for one in frame.warnings)
    torch.testing.assert_close(frame.heatmaps, expected.heatmaps, atol=2e-3, rtol=0)


@cuda
def test_bfloat16_and_channels_last_paint_about_the_same(device: torch.device) -> None:
    images, network = blobs(4), tiny()
    expected = PFV(network, images, device).render()
    options = {"basis": expected.basis, "autocast": True, "channels_last": True}
    frame = PFV(network, images, device, **options).render()
    assert frame.scores.dtype == torch.float32
    assert float((frame.heatmaps - expected.heatmaps).abs().mean()) < 0.02
