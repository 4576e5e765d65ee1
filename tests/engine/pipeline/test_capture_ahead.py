"""Layers captured in time to spare: the same pictures, in free memory, and others go first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest
import torch
from torch import nn

from pfv_widgets.engine.network import model_guard
from pfv_widgets.engine.network.fair_lock import FairLock
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, counted, tiny


def always() -> bool:
    return True


@pytest.fixture
def network() -> nn.Sequential:
    return tiny()


@pytest.fixture
def pfv(network: nn.Sequential) -> PFV:
    pfv = PFV(network, blobs(8), "cpu", chunk_size=2)
    pfv.render()
    return pfv


def ready(pfv: PFV) -> set[str]:
    return {layer.name for layer in pfv.layers if pfv.is_ready(layer.name)}


def wanted_for(times: int) -> Iterator[bool]:
    return (number < times for number in count())


def check_pictures(pfv: PFV, network: nn.Module) -> None:
    plain = PFV(network, blobs(8), "cpu", chunk_size=2)
    for name in sorted(ready(pfv))[::3]:
        frame, expected = pfv.render(layer=name), plain.render(layer=name)
        torch.testing.assert_close(frame.heatmaps, expected.heatmaps)


def test_one_pass_brings_all_layers_that_have_room_and_the_next_call_none(
    pfv: PFV, network: nn.Sequential
) -> None:
    before = ready(pfv)
    with counted(network) as passes:
        assert pfv.capture_along(always)
        assert pfv.capture_along(always)
        found = ready(pfv)
        check_pictures(pfv, tiny())
    assert len(passes) == 4  # of two images each
    assert found == {layer.name for layer in pfv.layers} > before


def test_little_room_is_for_layers_all_along_the_network(network: nn.Sequential) -> None:
    pfv = PFV(network, blobs(8), "cpu", memory=12 * 4 * 8 * 8 * 16**2)  # a quarter: 3 such
    assert pfv.capture_along(always)
    layers = [layer.name for layer in pfv.layers if layer.same_as is None]
    places = [layers.index(name) for name in layers if pfv.is_ready(name)]
    assert 0 < len(places) < len(layers)
    assert pfv.store.cache.nbytes <= pfv.store.cache.limit / 3  # with what weights them


def test_layers_ahead_take_few_bytes_for_each_image_however_much_memory_there_is() -> None:
    pfv = PFV(tiny(channels=40), blobs(1, 256), "cpu")
    sizes = {layer.name: layer.nbytes for layer in pfv.layers if layer.same_as is None}
    assert sum(sizes.values()) > 36 << 20
    pfv.capture("8", before="7")
    around = ready(pfv) & set(sizes)
    assert len(around) > 1
    assert sum(sizes[name] for name in around) <= 4 << 20
    assert pfv.capture_along(always)
    along = ready(pfv) & set(sizes) - around
    assert "0" in along
    assert sum(sizes[name] for name in along) <= 32 << 20


def test_nothing_gives_way_to_layers_that_nobody_asked_for(network: nn.Sequential) -> None:
    pfv = PFV(network, blobs(8), "cpu")
    pfv.render()
    pfv.store.cache.put("much else", torch.zeros(1 << 20))
    pfv.store.cache.limit = pfv.store.cache.nbytes
    before = ready(pfv)
    with counted(network) as passes:
        assert pfv.capture_along(always)
    assert passes == []
    assert ready(pfv) == before


def test_stopped_pass_goes_on_where_it_was_and_gives_the_same_pictures(
    pfv: PFV, network: nn.Sequential
) -> None:
    wanted, passes = wanted_for(20), []
    network.register_forward_pre_hook(lambda *_: passes.append(1))
    assert not pfv.capture_along(lambda: next(wanted))
    assert len(passes) == 2
    assert pfv.capture_along(always)
    assert len(passes) == 5  # the chunk that was stopped runs once more
    check_pictures(pfv, tiny())


def test_pass_that_was_stopped_is_forgotten_where_the_network_changes(
    pfv: PFV, network: nn.Sequential
) -> None:
    wanted = wanted_for(20)
    assert not pfv.capture_along(lambda: next(wanted))
    with torch.no_grad():
        next(network.parameters()).mul_(-1)
    before = ready(pfv)
    assert pfv.capture_along(always)  # nothing is computed beside what is outdated
    assert ready(pfv) == before
    pfv.render()
    assert pfv.capture_along(always)
    check_pictures(pfv, network)


def test_another_thread_that_needs_the_store_or_the_network_goes_first(pfv: PFV) -> None:
    for lock in (pfv.store.lock, model_guard.LOCK):
        threads: list[threading.Thread] = []

        def ask(lock: FairLock = lock, threads: list[threading.Thread] = threads) -> bool:
            if not threads:
                threads.append(threading.Thread(target=lambda: lock.__enter__().__exit__()))
                threads[0].start()
            while not lock.waiting:
                threads[0].join(0.001)
            return True

        assert not pfv.capture_along(ask)
        threads[0].join(30)
        assert not threads[0].is_alive()
    assert pfv.capture_along(always)


def test_nobody_waits_for_a_network_that_is_in_use(pfv: PFV) -> None:
    found: list[bool] = []
    with model_guard.LOCK:
        thread = threading.Thread(target=lambda: found.append(pfv.capture_along(always)))
        thread.start()
        thread.join(30)
    assert found == [False]


def test_network_that_runs_itself_is_left_alone(
    pfv: PFV, network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_guard, "isolated", lambda model: model)
    with counted(network) as passes:
        assert pfv.capture_along(always)
    assert passes == []
