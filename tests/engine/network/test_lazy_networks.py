"""Networks that are made when they are visited, and stay for a while."""

from __future__ import annotations

from torch import nn

from pfv_widgets.engine.network.lazy_networks import LazyNetworks


def test_visiting_one_network_often_keeps_the_others() -> None:
    made: list[str] = []

    def make(name: str) -> nn.Module:
        made.append(name)
        return nn.Identity()

    networks = LazyNetworks(("a", "b", "c"), make, most=2)
    for name in "abbbab":
        assert networks[name] is networks[name]
    assert made == ["a", "b"]
    assert networks["c"] is not networks["b"]  # "a" was not seen for longest
    assert networks["a"] is not None
    assert made == ["a", "b", "c", "a"]
