"""Following a training: what a snapshot holds, aligned from one to the next."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pfv_widgets as pw
from pfv_widgets.analysis.compare.alignment import align
from pfv_widgets.analysis.compare.similarity_curve import LayerView, view_of
from pfv_widgets.analysis.training import tracker as tracker_module
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.figure_layout import assert_words_have_room, texts
from tests.networks import blobs, tiny, unchanged


def nudge(model: nn.Module, size: float = 0.1) -> None:
    """Change the weights as an optimiser's step does."""
    with torch.no_grad():
        for values in model.parameters():
            values.add_(size * values.std(correction=0) * torch.randn_like(values))


@pytest.fixture(scope="module")
def trained_tracker() -> pw.Tracker:
    torch.manual_seed(0)
    model = tiny()
    tracker = pw.track(model, blobs(6), ["8", "4"], device="cpu", weighting="none")
    for epoch in range(4):
        tracker.snapshot(f"epoch {epoch}", accuracy=0.2 * epoch, loss=3 - epoch)
        nudge(model)
    return tracker


def test_the_start_is_like_itself_and_later_epochs_less_so(trained_tracker: pw.Tracker) -> None:
    assert trained_tracker.names == ("epoch 0", "epoch 1", "epoch 2", "epoch 3")
    assert trained_tracker.layers == ("8", "4")
    curve = trained_tracker.curve()
    assert (curve.fixed, curve.layer) == ("epoch 0", "8")
    for values in (curve.cka, curve.agreement, curve.rank_correlation, curve.ssim):
        assert values[0] == pytest.approx(1, abs=1e-5)
        assert values[3] < values[1] < 1
    to_last = list(trained_tracker.cka_to_last("8").values())
    assert math.isnan(to_last[0])
    assert to_last[1] == pytest.approx(curve.cka[1])
    assert to_last[3] > curve.cka[3]
    assert trained_tracker.metrics["epoch 2"] == {"accuracy": pytest.approx(0.4), "loss": 1}


def test_scores_are_aligned_to_the_snapshot_before_and_the_basis_gives_them() -> None:
    torch.manual_seed(1)
    model, images = tiny(inplace=False), blobs(4)
    tracker = pw.track(model, images, "9", device="cpu")
    frames, captured = [], []
    model[9].register_forward_hook(lambda _, __, output: captured.append(output))
    for name in ("a", "b"):
        tracker.snapshot(name)
        frames.append(tracker.frame(name))
        captured.clear()
        with torch.no_grad():
            model(images.tensor)
        again = frames[-1].basis.project(captured[-1])
        torch.testing.assert_close(again, frames[-1].scores, atol=1e-4, rtol=1e-4)
        nudge(model)
    rotation = align(frames[1].scores, frames[0].scores).matrix
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-5)


def test_frames_are_those_of_the_images(trained_tracker: pw.Tracker) -> None:
    frames = trained_tracker.frames("4")
    assert list(frames) == list(trained_tracker.names)
    frame = frames["epoch 1"]
    assert frame.heatmaps.shape == (6, 32, 32, 3)
    assert frame.settings.layer == "4"
    assert frame.names == trained_tracker.images.names
    assert "aligned to the snapshots before" in frame.basis_source
    model = tiny()
    start = pw.track(model, trained_tracker.images, "4", device="cpu", weighting="none")
    start.snapshot("now")
    own = pw.PFV(model, trained_tracker.images, "cpu").render(layer="4", weighting="none")
    aligned = start.frame("now").heatmaps
    assert float((aligned - own.heatmaps).abs().max()) < 0.01


def test_a_snapshot_leaves_the_network_in_training_and_holds_no_weights() -> None:
    model = tiny().train()
    with unchanged(model):
        tracker = pw.track(model, blobs(3), device="cpu")
        tracker.snapshot("start", accuracy=torch.tensor(0.5))
    weight = weakref.ref(model[0].weight.data.untyped_storage())
    held = tracker.frame("start")
    del tracker, model
    gc.collect()
    assert weight() is None
    assert torch.isfinite(held.heatmaps).all()


def test_a_training_that_diverges_is_recorded_as_undefined_and_goes_on() -> None:
    model = tiny()
    tracker = pw.track(model, blobs(4), device="cpu")
    tracker.snapshot("fine")
    state = {name: one.clone() for name, one in model.state_dict().items()}
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    tracker.snapshot("broken", accuracy=float("nan"))
    model.load_state_dict(state)
    tracker.snapshot("again, from the weights that it had before it diverged")
    curve = tracker.curve()
    assert np.isnan(curve.cka[1])
    assert "NaN or infinite" in curve.notes["broken"]
    assert curve.cka[2] == pytest.approx(1, abs=1e-6)
    assert list(tracker.frames()) == ["fine", tracker.names[-1]]
    with pytest.raises(PFVValueError, match=r"broken: .* has no picture"):
        tracker.frame("broken")
    figure = tracker.figure()
    assert "undefined" in {one.get_text() for one in texts(figure)}
    assert_words_have_room(figure)


def test_an_interrupted_snapshot_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    tracker = pw.track(model, blobs(4), ["8", "4"], device="cpu")
    tracker.snapshot("start")
    nudge(model)

    def interrupted(pfv: pw.PFV, settings: pw.Settings, **options: Any) -> LayerView:
        if settings.layer == "4":
            raise KeyboardInterrupt
        return view_of(pfv, settings, **options)

    monkeypatch.setattr(tracker_module, "view_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracker.snapshot("next")
    monkeypatch.undo()
    assert tracker.names == ("start",)
    tracker.snapshot("next")
    assert tracker.cka_to_last("8")["next"] == pytest.approx(tracker.curve("8").cka[1])


def test_the_figure_shows_snapshots_and_curves(trained_tracker: pw.Tracker) -> None:
    figure = trained_tracker.figure("4", photos=2)
    words = {t.get_text() for t in figure.findobj(lambda one: hasattr(one, "get_text"))}
    assert {"4 through the training", "CKA to epoch 0", "accuracy", "loss / 3"} <= words
    assert len(figure.axes) == 2 * 4 + 1


def test_a_figure_renders_what_it_shows_and_an_animation_one_snapshot_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracker = pw.track(tiny(), blobs(4), device="cpu")
    for epoch in range(12):
        tracker.snapshot(f"epoch {epoch}")
    frames: list[weakref.ref[pw.Frame]] = []
    photos, alive = [], []
    render = tracker.frame

    def counted(*arguments: Any, **options: Any) -> pw.Frame:
        alive.append(sum(one() is not None for one in frames))
        frame = render(*arguments, **options)
        frames.append(weakref.ref(frame))
        photos.append(len(frame.names))
        return frame

    monkeypatch.setattr(tracker, "frame", counted)
    tracker.figure(photos=2)
    assert photos == [2] * 8
    alive.clear()
    tracker.save(tmp_path / "training.gif", duration=50)
    assert alive == [0] * 12


def test_what_was_decided_when_a_snapshot_was_made_stays(trained_tracker: pw.Tracker) -> None:
    expected = trained_tracker.frame("epoch 1")
    other = pw.Settings(components=5, weighting="flat", images=(1, 0, 0, 0, 0, 0))
    for settings in (other, pw.Settings(components=1)):
        frame = trained_tracker.frame("epoch 1", settings=settings)
        assert frame.settings == expected.settings
        assert frame.weights == expected.weights
        assert torch.equal(frame.heatmaps, expected.heatmaps)
    assert trained_tracker.frame("epoch 1", settings=pw.Settings(sigma=2)).settings.sigma == 2


def test_a_training_is_saved_as_an_animation_or_a_figure(
    trained_tracker: pw.Tracker, tmp_path: Path
) -> None:
    trained_tracker.save(tmp_path / "training.webp", "4", duration=50)
    with Image.open(tmp_path / "training.webp") as film:
        assert film.n_frames == 4
    trained_tracker.save(tmp_path / "training.svg")
    assert "through the training" in (tmp_path / "training.svg").read_text()
    with pytest.raises(PFVValueError, match=r"ends in .*for an animation or a figure"):
        trained_tracker.save(tmp_path / "training.npz")
    with pytest.raises(PFVValueError, match="no snapshot of 10 has a picture"):
        pw.track(tiny(), blobs(2), device="cpu").save(tmp_path / "none.gif")


def test_printed_it_counts_what_it_holds(trained_tracker: pw.Tracker) -> None:
    number, photos = len(trained_tracker.names), len(trained_tracker.images)
    assert repr(trained_tracker).startswith(f"<Tracker: {number} snapshots of '")
    assert repr(trained_tracker).endswith(f", {photos} photos>")


def test_bad_input_is_named(trained_tracker: pw.Tracker) -> None:
    model, images = tiny(), blobs(2)
    with pytest.raises(PFVValueError, match="'stem' is not in this network"):
        pw.track(model, images, ["stem"])
    with pytest.raises(PFVTypeError, match="layers=3"):
        pw.track(model, images, 3)
    with pytest.raises(PFVTypeError, match="'sigmas' is no setting"):
        pw.track(model, images, sigmas=2)
    tracker = pw.track(model, images)
    with pytest.raises(PFVValueError, match="no snapshot yet"):
        tracker.curve()
    with pytest.raises(PFVValueError, match="name='epoch 1': this snapshot exists"):
        trained_tracker.snapshot("epoch 1")
    with pytest.raises(PFVTypeError, match="name=1"):
        trained_tracker.snapshot(1)
    with pytest.raises(PFVTypeError, match="accuracy='good'"):
        tracker.snapshot("one", accuracy="good")
    assert tracker.names == ()
    with pytest.raises(PFVValueError, match="layer='0' is not followed"):
        trained_tracker.frame("epoch 1", "0")
    for name in ("epoch 9", 3, []):
        with pytest.raises(PFVValueError, match=r"name=.*: no such snapshot\. .*'epoch 1'"):
            trained_tracker.frame(name)
    for draw in (trained_tracker.frames, trained_tracker.curve, trained_tracker.figure):
        with pytest.raises(
            PFVValueError, match=r"layer=3 is not followed\. Choose one of '8', '4'"
        ):
            draw(3)
    for settings in ("x", 0):
        with pytest.raises(PFVTypeError, match=r"settings=.*: expected a Settings"):
            trained_tracker.frame("epoch 1", settings=settings)
    for size, error in [((0, 0), PFVValueError), (-1, PFVTypeError)]:
        with pytest.raises(error, match=r"size=.* in pixels"):
            trained_tracker.frame("epoch 1", size=size)
    with pytest.raises(PFVTypeError, match="callback=3: expected a function"):
        tracker.on_snapshot(3)
