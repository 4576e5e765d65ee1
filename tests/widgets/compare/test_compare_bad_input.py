"""What cannot be compared is named, or said to be undefined; the explorer lives on."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.networks import Networks
from tests.networks import blobs, tiny
from tests.widgets.compare.conftest import OpenComparison


def narrowing(seed: int) -> nn.Sequential:
    """The last layers have one position."""
    torch.manual_seed(seed)
    convs = [nn.Conv2d(3 if not index else 6, 6, 3, stride=4, padding=1) for index in range(3)]
    return nn.Sequential(*convs, nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)).eval()


def test_layers_of_one_position_are_named_and_others_live(open_comparison: OpenComparison) -> None:
    models = {"one": narrowing(0), "two": narrowing(1)}
    with pytest.raises(PFVError, match="one: layer='2' gives one value per channel, no positions"):
        open_comparison(models, images=blobs(4), layer="2")
    assert open_comparison(models, images=blobs(4)).layers == ("1", "1")
    alone = nn.Sequential(nn.Conv2d(3, 4, 32), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)).eval()
    explorer = open_comparison({"usual": tiny(0), "other": tiny(1), "one": alone})
    explorer.sides[1].network.value = "one"
    assert explorer.wait(60)
    assert explorer.status.kind == "error"
    assert "one: " in explorer.sides[1].line.value
    assert explorer.sides[0].gallery.render_loop.frame is not None
    assert "Agreement: –" in explorer.tabs["Compare"].agreement.value
    assert "a side has no picture" in explorer.tabs["Compare"].pair.whole.value


def test_one_image_is_compared_and_said_to_be_too_few(open_comparison: OpenComparison) -> None:
    explorer = open_comparison(images=blobs(1), layer="4", difference=True)
    assert explorer.wait_for_numbers(60)
    message = explorer.tabs["Compare"].pair.whole.value
    assert "too small to tell (1 photo)" in message
    assert "shuffled" not in message  # one photo cannot be shuffled
    assert explorer.status.kind == "ok"


def test_constant_photos_are_undefined_and_not_zero(open_comparison: OpenComparison) -> None:
    photos = pw.load_images(torch.zeros(3, 3, 32, 32))

    class Flat(nn.Module):
        """Each channel constant, whatever the padding did."""

        def forward(self, maps: Tensor) -> Tensor:
            return maps.mean((2, 3), keepdim=True).expand_as(maps)

    models = {}
    for name in ("one", "two"):
        network = tiny(len(models))
        network[0] = nn.Sequential(network[0], Flat())
        models[name] = network
    explorer = open_comparison(models, images=photos, layer="0")
    assert explorer.status.kind in ("warning", "error")
    assert explorer.wait_for_numbers(60)
    agreement = explorer.tabs["Compare"].agreement.value
    assert "undefined" in agreement or "–" in agreement
    pair = explorer.similarities.pair(explorer.settings)
    assert pair is None or np.isnan(pair.cka).all()


def test_checkpoints_that_do_not_fit_or_are_none_leave_the_explorer_alive(
    open_comparison: OpenComparison, tmp_path: Path
) -> None:
    torch.save(tiny(1).state_dict(), tmp_path / "1 good.pt")
    torch.save(tiny(1, channels=4).state_dict(), tmp_path / "2 other.pt")
    (tmp_path / "3 text.pt").write_text("no weights")
    torch.save(tiny(2).state_dict(), tmp_path / "4 last.pt")
    explorer = open_comparison(pw.checkpoints(tiny(), tmp_path), second="4 last", layer="4")
    first, second = explorer.sides
    for name, message in [("2 other", "0.weight"), ("3 text", "3 text")]:
        second.network.value = name
        assert explorer.wait(60)
        assert explorer.names == ("1 good", name)
        assert message in second.line.value
        assert explorer.status.kind == "error"
        assert first.gallery.render_loop.frame is not None
    second.network.value = "4 last"
    assert explorer.wait(60)
    assert explorer.status.kind == "ok"
    assert explorer.agreement < 0.99


def test_error_of_a_network_does_not_grow_with_each_visit() -> None:
    networks = Networks({"good": tiny(0), "bad": nn.Sequential(nn.Conv2d(7, 3, 3))}, blobs(2))
    first = networks.visit("bad")
    assert first is not None
    depths = set()
    for _ in range(9):
        error = networks.visit("bad")
        assert error is not None
        assert str(error) == str(first)
        depths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(depths) == 1


def test_networks_that_are_loaded_late_have_their_own_normalisation() -> None:
    def make(name: str) -> nn.Module:
        network = tiny(0)
        mean, std = {"half": (0.5, 0.25), "zero": (0.0, 1.0)}[name]
        network.pretrained_cfg = {"mean": (mean,) * 3, "std": (std,) * 3}
        return network

    photos, sequence = blobs(2), LazyNetworks(("half", "zero"), make)
    late, at_once = Networks(sequence, photos, "cpu"), Networks(dict(sequence), photos, "cpu")
    assert torch.equal(late.pfv("half").images.tensor, photos.tensor)  # nothing differs yet
    for name in ("zero", "half", "zero"):
        assert torch.equal(late.pfv(name).images.tensor, at_once.pfv(name).images.tensor)
        assert "its own normalisation" in late.notes[name]
    assert not torch.equal(late.pfv("half").images.tensor, late.pfv("zero").images.tensor)
    alike = Networks(LazyNetworks(("half", "zero"), lambda _: make("half")), photos, "cpu")
    assert all(torch.equal(alike.pfv(one).images.tensor, photos.tensor) for one in alike.names)
