"""Sweeps over a setting: what is painted, what stays as it was, and the files."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from pfv_widgets.engine.export.animation import Animation
from pfv_widgets.engine.export.sweep import (
    SavedSweep,
    SweepFrame,
    arrangement_like,
    save_sweep,
    sweep,
)
from pfv_widgets.engine.export.sweep_plan import SWEEPS
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests.networks import blobs, counted, seeded, tiny

LABELS = ("cat", "dog", "cat", "$x$\n<b>")


@pytest.fixture
def pfv() -> PFV:
    """Three resolutions of a small network, on four labelled pictures."""
    return PFV(tiny(), replace(blobs(4), labels=LABELS), "cpu")


def frames(result: list[SweepFrame]) -> list[Frame]:
    return [one.frame for one in result if one.frame is not None]


def test_components_are_added_one_by_one(pfv: PFV) -> None:
    result = list(sweep(pfv, Settings(components=4, channels=(3,))))
    numbers = [f"{n} components" for n in range(2, 7)]
    assert [one.caption for one in result] == ["1 component", *numbers]
    assert [one.scores.shape[1] for one in frames(result)] == [1, 2, 3, 4, 5, 6]
    for few, more in zip(frames(result)[:-1], frames(result)[1:], strict=True):
        number = len(few.basis.components)
        assert torch.allclose(few.basis.components, more.basis.components[:number], atol=1e-4)
    fixed = PFV(tiny(), pfv.images, "cpu", basis=frames(result)[3].basis)
    assert len(list(sweep(fixed))) == 4  # that basis has no more


def test_layers_come_in_forward_order_without_doubles(pfv: PFV) -> None:
    with counted(next(pfv.model.children())) as calls:
        result = list(sweep(pfv, over="layer"))
    names = [layer.name for layer in pfv.layers if layer.same_as is None]
    assert [one.caption for one in result] == [f"layer {name}" for name in names]
    assert [one.layer for one in frames(result)] == names
    forgetful = PFV(tiny(), pfv.images, "cpu", memory=0)
    with counted(next(forgetful.model.children())) as often:
        others = frames(list(sweep(forgetful, over="layer")))
    assert len(calls) <= 3 < len(names) < len(often)  # the layer on show, later and earlier ones
    for one, other in zip(frames(result), others, strict=True):
        torch.testing.assert_close(one.heatmaps, other.heatmaps)


def test_weight_of_a_class_is_varied_and_others_keep_theirs(pfv: PFV) -> None:
    start = Settings(images=(0.0, 0.5, 1.0, 1.0))
    result = list(sweep(pfv, start, "class weight", label="cat"))
    assert result[0].caption == "weight of cat = 0"
    assert result[5].caption == "weight of cat = 0.5"
    assert result[-1].caption == "weight of cat = 2"
    assert frames(result)[5].weights == (0.0, 0.5, 0.5, 1.0)  # what was taken out stays out


def test_sigma_runs_from_most_to_least_contrast(pfv: PFV) -> None:
    result = frames(list(sweep(pfv, over="sigma")))
    sigmas = [one.settings.sigma for one in result]
    assert sigmas == sorted(sigmas)
    assert (sigmas[0], sigmas[-1]) == (0.25, 4.0)
    spread = [float(one.heatmaps.std()) for one in result]
    assert spread[0] > 1.5 * spread[-1]


def test_class_that_leaves_the_basis_empty_is_skipped_with_its_reason(pfv: PFV) -> None:
    start = Settings(images=(1.0, 0.0, 1.0, 0.0))
    result = list(sweep(pfv, start, "class weight", [0, 1], label="cat"))
    assert result[0].frame is None
    assert "every weight is 0" in result[0].problem
    assert result[1].frame is not None


@pytest.mark.parametrize("over", SWEEPS)
def test_sweep_leaves_what_is_shown_as_it_was(pfv: PFV, over: str) -> None:
    twin = PFV(tiny(), replace(blobs(4), labels=LABELS), "cpu")
    start = Settings(images=(1.0, 0.3, 0.0, 1.0))
    after = Settings(images=(0.2, 1.0, 1.0, 0.0), components=4)
    calls: list[tuple[int, int]] = []
    pfv.progress = lambda done, of: calls.append((done, of))
    for one in (pfv, twin):
        one.render(start)
    calls.clear()
    list(sweep(pfv, start, over, label="cat" if over == "class weight" else None))
    assert calls == []
    for settings in (after, start, replace(after, layer="4")):
        assert torch.equal(pfv.render(settings).heatmaps, twin.render(settings).heatmaps)
    assert pfv.progress is not None


def test_sweep_starts_from_the_colours_that_are_shown(pfv: PFV) -> None:
    frame = pfv.render(images=(1.0, 0.0, 0.0, 0.0))
    rotated = frame.basis.arranged((-2, 3, -1))
    pfv.colours = pfv.colours.with_basis(frame.layer, rotated)
    one = frames(list(sweep(pfv, Settings(images=(1.0, 0.0, 0.0, 0.0)), "sigma", [1.0])))[0]
    assert torch.allclose(one.basis.components, rotated.components, atol=1e-4)


def test_components_follow_what_they_show_from_layer_to_layer(pfv: PFV) -> None:
    """Signs and order by the correlation of maps, checked against numpy."""
    result = frames(list(sweep(pfv, over="layer")))
    for before, after in pairwise(result):
        if before.scores.shape == after.scores.shape:
            rows = [one.scores.transpose(0, 1).flatten(1).numpy() for one in (before, after)]
            alike = np.corrcoef(*rows)[:3, 3:]
            for place in range(3):
                strongest = np.abs(alike[:, place]).argmax()
                if (
                    np.abs(alike[strongest]).argmax() == place
                    and alike[strongest, place] ** 2 > 0.2
                ):
                    assert strongest == place
                    assert alike[place, place] > 0


@pytest.mark.parametrize("layer", ["0", "4", "8", "10"])
def test_layers_begin_with_the_colours_on_the_screen(pfv: PFV, layer: str) -> None:
    for one in ("0", "8", layer):
        shown = pfv.render(layer=one)
        pfv.colours = pfv.colours.with_basis(shown.layer, shown.basis.arranged((-2, 3, -1)))
    shown = pfv.render(layer=layer)
    result = frames(list(sweep(pfv, Settings(layer=layer), "layer")))
    (same,) = [one for one in result if one.layer == shown.layer]
    torch.testing.assert_close(same.heatmaps, shown.heatmaps)
    assert torch.equal(pfv.render(layer=layer).heatmaps, shown.heatmaps)


def test_arrangement_finds_swapped_and_turned_components() -> None:
    first = torch.randn(3, 4, 14, 14, generator=seeded())
    second = torch.stack([-first[:, 2], first[:, 3], first[:, 0], -first[:, 1]], dim=1)
    assert arrangement_like(second, first) == (3, -4, -1, 2)
    assert arrangement_like(first[:, :2], -first[:, :3]) == (-1, -2)
    assert arrangement_like(second, -second, keep_order=True) == (-1, -2, -3, -4)


def test_cancelling_ends_a_forward_pass_half_way(pfv: PFV) -> None:
    pfv.store.capture.chunk_size = 1
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    with counted(pfv.model) as calls:
        assert list(sweep(pfv, over="layer", cancelled=cancelled)) == []
    assert 0 < len(calls) < 4
    assert len(frames(list(sweep(pfv, over="layer")))) > 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"over": "layers"}, PFVValueError, "Did you mean 'layer'"),
        ({"over": None}, PFVValueError, "over=None is unknown"),
        ({"over": "class weight"}, PFVValueError, "label: name the class.*'cat', 'dog'"),
        ({"over": "class weight", "label": "cats"}, PFVValueError, "Did you mean 'cat'"),
        (
            {"over": "class weight", "label": "cat", "values": ["x"]},
            PFVTypeError,
            r"values\[0\]='x': expected a finite number",
        ),
        ({"over": "class weight", "label": "cat", "values": [-1]}, PFVValueError, "images"),
        ({"over": "sigma", "values": [9]}, PFVValueError, "sigma=9"),
        ({"over": "layer", "values": ["0", "nose"]}, PFVValueError, "nose"),
        ({"over": "layer", "values": [3]}, PFVTypeError, "no name of a layer"),
        ({"over": "layer", "values": "0"}, PFVTypeError, "expected a list"),
        ({"values": []}, PFVValueError, "values is empty"),
        ({"values": [99]}, PFVValueError, "components=99"),
        ({"settings": Settings(images=(1.0,))}, PFVValueError, "images has 1 weights"),
    ],
)
def test_what_cannot_be_swept_is_refused_at_once(
    pfv: PFV, arguments: dict[str, object], error: type[PFVError], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep(pfv, **arguments)  # type: ignore[arg-type]


def test_images_without_labels_have_no_class_to_weigh() -> None:
    with pytest.raises(PFVValueError, match="no labels"):
        sweep(PFV(tiny(), blobs(2), "cpu"), over="class weight", label="cat")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_holds_a_picture_for_each_value(pfv: PFV, tmp_path: Path, suffix: str) -> None:
    calls: list[tuple[int, int]] = []
    saved = save_sweep(
        pfv, tmp_path / f"a{suffix}", "sigma", values=[0.25, 1, 4],
        progress=lambda done, of: calls.append((done, of)),
    )  # fmt: skip
    assert saved == SavedSweep(tmp_path / f"a{suffix}", 3, ())
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with Image.open(saved.path) as file:
        assert file.info["loop"] == 0
        pictures = [
            np.asarray(one.convert("RGB")).astype(int) for one in ImageSequence.Iterator(file)
        ]
    animation = Animation(3)
    for position, one in enumerate(sweep(pfv, None, "sigma", [0.25, 1, 4]), start=1):
        assert one.frame is not None
        animation.add(one.frame.composite(), one.caption, position)
    for actual, expected in zip(pictures, animation.pictures, strict=True):
        assert np.abs(actual - expected).mean() < 6
    assert [one.name for one in tmp_path.iterdir()] == [f"a{suffix}"]


def test_sweep_over_layers_says_how_far_it_is_before_its_first_picture(
    pfv: PFV, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    before: list[int] = []
    add = Animation.add
    monkeypatch.setattr(Animation, "add", lambda *one: (before.append(len(calls)), add(*one)))
    save_sweep(pfv, tmp_path / "a.gif", "layer", progress=lambda done, of: calls.append((done, of)))
    number = sum(layer.same_as is None for layer in pfv.layers)
    assert before[0] == number - 1  # each other layer, whose colours follow those on show
    shares = [done / of for done, of in calls]
    assert shares == sorted(set(shares))
    assert shares[before[0] - 1] > 0.5
    assert shares[-1] == 1


def test_values_without_a_picture_are_left_out_and_told(pfv: PFV, tmp_path: Path) -> None:
    start = Settings(images=(1.0, 0.0, 1.0, 0.0))
    saved = save_sweep(
        pfv, str(tmp_path / "a.gif"), "class weight", start, values=[0, 1, 2], label="cat"
    )
    assert saved is not None
    assert saved.pictures == 2
    assert saved.skipped[0].startswith("weight of cat = 0: images: every weight is 0")
    with pytest.raises(PFVValueError, match="no value gives a picture"):
        save_sweep(pfv, tmp_path / "b.gif", "class weight", start, values=[0], label="cat")


@pytest.mark.parametrize("after", [1, 3, 5])
def test_cancelled_sweep_leaves_no_file_and_what_was_there(
    pfv: PFV, tmp_path: Path, after: int
) -> None:
    (tmp_path / "a.gif").write_bytes(b"old")
    calls: list[bool] = []

    def cancelled() -> bool:
        calls.append(True)
        return len(calls) > after

    saved = save_sweep(pfv, tmp_path / "a.gif", "sigma", values=[1, 2], cancelled=cancelled)
    assert saved is None
    assert (tmp_path / "a.gif").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.png", "ends in .gif, .webp or .mp4"),
        ("absent/a.gif", "there is no folder"),
        ("", "it is a folder|ends in"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_anything_is_painted(
    pfv: PFV, tmp_path: Path, name: str, message: str
) -> None:
    with counted(pfv.model) as calls, pytest.raises(PFVValueError, match=message):
        save_sweep(pfv, tmp_path / name)
    assert calls == []


def test_folder_of_others_is_refused_before_anything_is_rendered(
    pfv: PFV, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the owner of a machine may write everywhere, whatever a folder's mode says
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != tmp_path)
    with (
        counted(pfv.model) as calls,
        pytest.raises(PFVValueError, match=r"Permission denied"),
    ):
        save_sweep(pfv, tmp_path / "a.gif")
    assert calls == []


@pytest.mark.parametrize("name", ["progress", "cancelled"])
def test_callback_that_cannot_be_called_is_refused(pfv: PFV, tmp_path: Path, name: str) -> None:
    with pytest.raises(PFVTypeError, match=f"{name}=3: expected a function"):
        save_sweep(pfv, tmp_path / "a.gif", **{name: 3})


@pytest.mark.parametrize(
    ("duration", "error"), [(0, PFVValueError), (True, PFVTypeError), ("1", PFVTypeError)]
)
def test_duration_out_of_range_is_refused(
    pfv: PFV, tmp_path: Path, duration: object, error: type[PFVError]
) -> None:
    with pytest.raises(error, match="expected milliseconds"):
        save_sweep(pfv, tmp_path / "a.gif", duration=duration)  # type: ignore[arg-type]


def test_video_needs_ffmpeg_and_says_what_else_there_is(
    pfv: PFV, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PFVValueError, match=r"ffmpeg.*\.gif"):
        save_sweep(pfv, tmp_path / "a.mp4")


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for ffmpeg is a script")
@pytest.mark.parametrize("fails", [False, True])
def test_video_is_fed_to_ffmpeg_picture_by_picture(
    pfv: PFV, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    end = "sys.exit('disk full')" if fails else "open(sys.argv[-1], 'wb').write(data)"
    program.write_text(f"#!{sys.executable}\nimport sys\ndata = sys.stdin.buffer.read()\n{end}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    path = tmp_path / "a.mp4"
    if fails:
        with pytest.raises(PFVValueError, match="ffmpeg could not write the video: disk full"):
            save_sweep(pfv, path, "sigma", values=[1, 2], duration=1000)
        assert not path.exists()
        return
    save_sweep(pfv, path, "sigma", values=[1, 2], duration=1000)
    animation = Animation(2)
    for position, one in enumerate(sweep(pfv, None, "sigma", [1, 2]), start=1):
        assert one.frame is not None
        animation.add(one.frame.composite(), one.caption, position)
    first, last = (picture.tobytes() for picture in animation.pictures)
    assert path.read_bytes() == 20 * first + 40 * last
