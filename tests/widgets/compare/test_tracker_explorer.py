"""The explorer of a training: it slides through the snapshots, and follows those to come."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from pfv_widgets.widgets.toolkit.geometry import Spot
from tests.networks import blobs, tiny
from tests.widgets.compare.conftest import change
from tests.widgets.explorer_contents import run_code
from tests.widgets.fake_page import FakePage, happen


def nudge(model: torch.nn.Module) -> None:
    """Change the weights as an optimiser's step does."""
    with torch.no_grad():
        for values in model.parameters():
            values.add_(0.1 * values.std(correction=0) * torch.randn_like(values))


@pytest.fixture
def training(fake_page: FakePage) -> tuple[torch.nn.Module, pw.Tracker]:
    """A network, and a tracker with three snapshots of it."""
    torch.manual_seed(0)
    model = tiny()
    tracker = pw.track(model, blobs(4), ["8", "4"], device="cpu", components=4)
    for epoch in range(3):
        tracker.snapshot(f"epoch {epoch}", accuracy=0.2 * epoch)
        nudge(model)
    return model, tracker


@pytest.fixture
def explorer(training: tuple[torch.nn.Module, pw.Tracker]) -> Iterator[CompareExplorer]:
    explorer = training[1].explore()
    assert explorer.wait(60)
    yield explorer
    explorer.close()


def test_training_is_slid_through_in_the_pictures_that_the_tracker_holds(
    training: tuple[torch.nn.Module, pw.Tracker], explorer: CompareExplorer
) -> None:
    _, tracker = training
    assert explorer.names == ("epoch 0", "epoch 2")
    assert explorer.status.kind == "ok"
    explorer.sides[1].network.value = "epoch 1"
    assert explorer.wait(60)
    second = explorer.frames[1]
    torch.testing.assert_close(second.heatmaps, tracker.frame("epoch 1").heatmaps)
    # the picture of the network itself at the start, from factors that are held in float16
    own = pw.PFV(tiny(), blobs(4), "cpu")
    for changes in ({}, {"sigma": 2.0, "colour_map": "hues"}, {"sharing": "inclusive"}):
        settings = pw.Settings(layer="8", components=4, **changes)
        expected = own.render(settings).heatmaps
        shown = tracker.frame("epoch 0", settings=settings).heatmaps
        assert float((shown - expected).abs().mean()) < 0.01
    # layers are those that are followed, and the curve is there at once
    explorer.sides[0].layer.value = "4"
    assert explorer.layers == ("4", "4")
    line = explorer.tabs["Compare"].curve.line.value
    assert "accuracy 0.20" in line
    assert "CKA to the snapshot before" in line
    assert explorer.agreement == pytest.approx(tracker.curve("4").agreement[1], abs=1e-5)
    x = explorer.tabs["Compare"].curve.x_of(2)
    happen(explorer.tabs["Compare"].curve.canvas.displayed, "mouse_down", x=x, y=100)
    assert explorer.names == ("epoch 0", "epoch 2")
    change(explorer, second="epoch 0", difference=True)
    assert explorer.third is not None
    assert float(explorer.third.gallery.render_loop.frame.scores.abs().max()) < 1e-3


def test_training_that_goes_on_is_followed_by_who_looks_at_the_newest(
    training: tuple[torch.nn.Module, pw.Tracker], explorer: CompareExplorer
) -> None:
    model, tracker = training
    tracker.snapshot("epoch 3")
    assert explorer.names == ("epoch 0", "epoch 3")
    assert [name for _, name in explorer.sides[1].network.options] == list(tracker.names)
    change(explorer, second="epoch 1")
    steps = explorer.can_undo
    nudge(model)
    tracker.snapshot("epoch 4")
    assert explorer.names == ("epoch 0", "epoch 1")
    assert explorer.sides[1].network.value == "epoch 1"
    assert len(explorer.sides[1].network.options) == 5
    assert explorer.can_undo == steps
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    tracker.snapshot("broken")
    change(explorer, second="broken")
    assert "NaN" in explorer.sides[1].line.value
    assert explorer.sides[0].gallery.render_loop.frame is not None
    explorer.close()
    model[0].reset_parameters()
    tracker.snapshot("after")  # nobody follows any more


def test_pins_compare_scores_and_what_is_fixed_is_named(explorer: CompareExplorer) -> None:
    explorer.galleries[1].interaction.pin(Spot(1, 0.5, 0.5))
    assert explorer.wait(60)
    frame = explorer.frames[1]
    assert "scores that are held" in frame.warnings[-1]
    assert np.ptp(frame.heatmaps.numpy()) > 0.1
    before = explorer.settings
    for changes in ({"components": 2}, {"weighting": "none"}, {"images": (1.0, 0.0, 1.0, 1.0)}):
        change(explorer, **changes)
        assert explorer.settings == before
        assert "pw.track" in explorer.status.message
    with pytest.raises(PFVError, match="holds scores of a network"):
        _ = explorer.pfv
    scope = {"tracker": explorer.networks.tracker}
    run_code(explorer.snippet(), scope)
    assert scope["explorer"].settings == before
    scope["explorer"].close()


def test_tracker_without_a_snapshot_or_with_photos_is_named() -> None:
    tracker = pw.track(tiny(), blobs(2), device="cpu")
    with pytest.raises(PFVError, match="no snapshot yet"):
        tracker.explore()
    tracker.snapshot("one")
    with pytest.raises(PFVError, match="has its own"):
        pw.compare(tracker, blobs(2))
    with pytest.raises(PFVError, match="'two'"):
        tracker.explore(second="two")
