"""What a picture says while it is made, and what is left when it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.progress import Cancelled, Progress, run_reporting
from pfv_widgets.errors import PFVTypeError
from tests.networks import blobs, counted, tiny


@pytest.fixture
def pfv() -> PFV:
    return PFV(tiny(), blobs(5), device="cpu", chunk_size=1)


def test_every_module_of_the_forward_pass_is_reported(pfv: PFV) -> None:
    calls: list[Progress] = []
    pfv.on_progress = calls.append
    pfv.render(layer="4")
    passes = [one for one in calls if one.stage == "Running the network"]
    assert [one.done for one in passes] == sorted([0, 1, 2, 3, 4] * 5 + [1, 2, 3, 4, 5])
    assert {(one.total, one.unit) for one in passes} == {(5, "images")}
    assert str(passes[-1]) == "Running the network: 5 of 5 images"


def test_every_slow_stage_is_reported() -> None:
    calls: list[Progress] = []
    pfv = PFV(tiny(channels=300), blobs(5), device="cpu")
    pfv.render(layer="4", on_progress=calls.append)
    assert list(dict.fromkeys(one.stage for one in calls)) == [
        "Running the network", "Collecting moments", "Fitting components", "Colouring",
    ]  # fmt: skip
    assert all(0 <= one.done <= one.total for one in calls)


def test_work_that_cannot_report_is_reported_while_it_runs() -> None:
    calls: list[Progress] = []
    step = Progress("Fitting components", 1, 2, "steps")
    assert run_reporting(lambda: time.sleep(0.45) or 7, step, calls.append) == 7
    assert len(calls) >= 3
    assert set(calls) == {step}


def test_work_that_cannot_report_is_left_behind_where_it_is_stopped() -> None:
    _, stop = stopping(0)
    began = time.perf_counter()
    with pytest.raises(Cancelled):
        run_reporting(lambda: time.sleep(2), Progress("Fitting components", 1, 2), stop)
    assert time.perf_counter() - began < 1.5


def stopping(after: int) -> tuple[list[Progress], Callable[[Progress], None]]:
    calls: list[Progress] = []

    def stop(progress: Progress) -> None:
        calls.append(progress)
        if len(calls) > after:
            raise Cancelled

    return calls, stop


@pytest.mark.parametrize("wide", [False, True])
def test_picture_can_be_stopped_at_each_report_and_made_afterwards(wide: bool) -> None:
    network, images = tiny(channels=1030 if wide else 8), blobs(3, 16)
    expected = PFV(network, images, device="cpu").render(layer="4")
    calls: list[Progress] = []
    PFV(network, images, device="cpu", chunk_size=1).render(layer="4", on_progress=calls.append)
    for after in range(0, len(calls), 27 if wide else 1):
        pfv = PFV(network, images, device="cpu", chunk_size=1)
        before = pfv.colours
        with pytest.raises(Cancelled):
            pfv.render(layer="4", on_progress=stopping(after)[1])
        assert pfv.colours is before
        actual = pfv.render(layer="4").heatmaps
        torch.testing.assert_close(actual, expected.heatmaps, rtol=0, atol=1e-4)


def test_stopped_picture_goes_on_from_the_stages_that_are_finished() -> None:
    network = tiny(channels=1030)  # too many for moments that are kept
    pfv = PFV(network, blobs(3, 24), device="cpu", chunk_size=1)

    def stop(progress: Progress) -> None:
        if progress.stage != "Running the network":
            raise Cancelled

    with pytest.raises(Cancelled):
        pfv.render(layer="1", on_progress=stop)
    with counted(network) as calls:
        pfv.render(layer="1")
    assert calls == []


def test_network_comes_back_as_it_was_after_a_stop(pfv: PFV) -> None:
    network: nn.Module = pfv.model
    network.train()
    hooks = [len(module._forward_hooks) for module in network.modules()]
    with pytest.raises(Cancelled):
        pfv.render(layer="4", on_progress=stopping(2)[1])
    assert all(module.training for module in network.modules())
    assert [len(module._forward_hooks) for module in network.modules()] == hooks


def test_callback_of_one_picture_takes_the_place_of_the_others(pfv: PFV) -> None:
    ever: list[Progress] = []
    images: list[tuple[int, int]] = []
    once: list[Progress] = []
    pfv.on_progress = ever.append
    pfv.progress = lambda done, total: images.append((done, total))
    pfv.render(layer="4", on_progress=once.append)
    assert (ever, images) == ([], [])
    assert once
    pfv.render(layer="8")
    assert ever
    assert images[-1] == (5, 5)
    with pytest.raises(PFVTypeError, match="on_progress=5: expected a function"):
        pfv.render(layer="8", on_progress=5)  # type: ignore[arg-type]
