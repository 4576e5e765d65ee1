"""Networks that are made when they are visited, and stay for a while."""

from __future__ import annotations

import threading

import pytest
from torch import nn

from pfv_widgets.engine.network.lazy_networks import LazyNetworks


def test_visiting_one_network_often_keeps_the_others() -> None:
    calls: list[str] = []

    def make(name: str) -> nn.Module:
        calls.append(name)
        return nn.Identity()

    networks = LazyNetworks(("a", "b", "c"), make, most=2)
    for name in "abbbab":
        assert networks[name] is networks[name]
    assert calls == ["a", "b"]
    assert networks["c"] is not networks["b"]  # "a" was not seen for longest
    assert networks["a"] is not None
    assert calls == ["a", "b", "c", "a"]


def test_a_network_is_visited_while_another_one_is_made() -> None:
    begun, visited, waited = threading.Event(), threading.Event(), []

    def make(name: str) -> nn.Module:
        if name == "a":
            begun.set()
            waited.append(visited.wait(5))
        return nn.Identity()

    networks = LazyNetworks(("a", "b"), make)
    thread = threading.Thread(target=networks.__getitem__, args="a")
    thread.start()
    begun.wait(5)
    assert networks["b"] is networks["b"]
    visited.set()
    thread.join()
    assert waited == [True]
    with pytest.raises(KeyError):
        networks["c"]
