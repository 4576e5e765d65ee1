from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pfv_widgets
from pfv_widgets.cli import COMMANDS, main
from pfv_widgets.commands import doctor
from pfv_widgets.commands.outputs import Outputs
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import Normalisation
from pfv_widgets.engine.network.load_model import load_model
from pfv_widgets.engine.network.named_models import in_normalisation
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline import fit_basis as pipeline
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import parameters_of


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "<img src=x>"):
        pixels = rng.integers(0, 256, (64, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_module_runs_and_starts_without_torch() -> None:
    code = "import sys; sys.argv = ['pfv-widgets', '--version']\ntry:\n    import runpy\n"
    code += "    runpy.run_module('pfv_widgets', run_name='__main__')\n"
    code += "finally:\n    print('torch' in sys.modules, 'ipywidgets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"pfv-widgets {pfv_widgets.__version__}", "False False"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["demo", "--port", "70000"],
        ["heatmaps"],
        ["heatmaps", "a.png", "--out", ""],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as excinfo:
        main(arguments)
    assert excinfo.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as excinfo:
        main([command, "--help"])
    assert excinfo.value.code == 0
    assert COMMANDS[command] in " ".join(capsys.readouterr().out.split())


def test_every_knob_but_that_of_pins_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["heatmaps", "--help"])
    out = capsys.readouterr().out
    missing = [n for n in parameters_of(Settings) if f"--{n.replace('_', '-')}" not in out]
    assert missing == ["similarity"]


def test_heatmaps_writes_pictures_overview_and_record(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_bytes(b"text")
    Image.new("RGB", (90, 9)).save(photos / "long.png")
    out = tmp_path / "deep" / "out"
    knobs = ["--components", "4", "--colour-map", "hues", "--size", "48", "--no-stable-colours"]
    assert main(["heatmaps", str(photos), "--out", str(out), "--device", "cpu", *knobs]) == 0
    record = json.loads((out / "heatmaps.json").read_text("utf-8"))
    files = {entry["photo"]: entry["heatmap"] for entry in record["files"]}
    assert files == {"<img src=x>.png": "img_src_x.png", "a.png": "a.png", "b.png": "b.png"} | {
        "long.png": "long.png"
    }
    assert {p.name for p in out.iterdir()} == {*files.values(), "overview.png", "heatmaps.json"}
    with Image.open(out / "a.png") as picture:
        assert picture.size == (48, 48)
    assert record["settings"]["components"] == len(record["explained_variance_ratio"]) == 4
    assert (record["settings"]["colour_map"], record["settings"]["stable_colours"]) == (
        "hues",
        False,
    )
    assert record["layer"]["name"]
    assert record["seconds"] > 0
    assert [entry.split(":")[0] for entry in record["skipped"]] == ["broken.jpg"]
    streams = capsys.readouterr()
    assert "warning: left out broken.jpg" in streams.err
    assert "1 long, narrow photo is cut to its middle, less than half of it: long" in streams.err
    assert record["cropped"] == ["long.png"]
    assert streams.out == f"Wrote 4 pictures and heatmaps.json to {out}\n"


def test_pictures_are_what_the_library_paints(photos: Path, tmp_path: Path) -> None:
    arguments = ["--view", "heatmap", "--size", "64", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["heatmaps", str(photos / "[ab].png"), *arguments]) == 0
    images = pfv_widgets.load_images(str(photos / "[ab].png"), size=64)
    frame = pfv_widgets.PFV(pfv_widgets.demo_model(), images, device="cpu").render(view="heatmap")
    with Image.open(tmp_path / "b.png") as picture:
        difference = np.asarray(picture).astype(int) - frame.composite()[1]
    assert np.abs(difference).max() <= 1


def test_former_results_are_replaced_only_by_force(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["heatmaps", "--out", str(out), "--size", "32", "--quiet", "--device", "cpu"]
    assert main([*run, str(photos / "a.png"), str(photos / "b.png")]) == 0
    (out / "mine.png").write_bytes(b"mine")
    assert main([*run, str(photos / "a.png")]) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*run, "--force", str(photos / "a.png")]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"a.png", "mine.png", "overview.png", "heatmaps.json"}
    assert (out / "mine.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "step",
    [(Image.Image, "save"), (Frame, "save"), (Outputs, "write_record")],
    ids=["pictures", "overview", "record"],
)
def test_what_an_interrupted_run_has_written_is_replaced_by_force(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: tuple[type, str],
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    run = ["heatmaps", "--out", str(out), "--size", "32", "--quiet", "--device", "cpu"]
    work = getattr(*step)

    def interrupted(*arguments: object) -> None:
        if (out / "a-2.png").exists() or step[0] is not Image.Image:
            raise KeyboardInterrupt
        work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*step, interrupted)
        assert main([*run, str(photos / "a.png"), str(photos / "b.png")]) == 130
    assert main([*run, str(photos / "b.png")]) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*run, "--force", str(photos / "b.png")]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"a.png", "b.png", "overview.png", "heatmaps.json"}
    assert (out / "a.png").read_bytes() == b"mine"
    assert "unfinished" not in json.loads((out / "heatmaps.json").read_text("utf-8"))


def test_folder_that_another_run_writes_to_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with Outputs.locked(out, force=False):
        assert main(["heatmaps", str(photos), "--out", str(out), "--size", "32"]) == 1
    assert f"--out {out}: another run is writing to it; wait for it" in capsys.readouterr().err
    assert not out.exists()


def test_overview_of_something_else_is_never_replaced(photos: Path, tmp_path: Path) -> None:
    run = ["heatmaps", str(photos), "--out", str(tmp_path), "--size", "32", "--device", "cpu"]
    assert main([*run, "--json-only"]) == 0
    (tmp_path / "overview.png").write_bytes(b"mine")
    assert main([*run, "--force"]) == 1
    assert (tmp_path / "overview.png").read_bytes() == b"mine"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_photos_are_never_replaced(photos: Path, force: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    arguments = ["--out", str(photos), "--size", "32", "--quiet", "--device", "cpu", *force]
    assert main(["heatmaps", str(photos), *arguments]) == 0
    assert {name: (photos / name).read_bytes() for name in before} == before
    assert (photos / "a-2.png").is_file()


def test_json_only_writes_no_picture(photos: Path, tmp_path: Path) -> None:
    arguments = ["--json-only", "--out", str(tmp_path / "o"), "--size", "32", "--device", "cpu"]
    assert main(["heatmaps", str(photos), *arguments]) == 0
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["heatmaps.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/x.png"], "does not exist"),
        (["{photos}", "--model", "resnett18"], "Did you mean 'resnet18'"),
        (["{photos}", "--weights", "none.pth"], "no such file"),
        (["{photos}", "--layer", "no.layer"], "layer"),
        (["{photos}", "--components", "99"], "error: --components 99: "),
        (["{photos}", "--size", "0"], "error: --size 0: expected a whole number of pixels"),
        (["{photos}", "--model", "nosuchnet"], "error: --model nosuchnet is "),
        (["{photos}", "--layer", "no layer"], "error: --layer 'no layer' is not in this network."),
        (["{photos}", "--layer", "nowhere"], "; it has 22 in all."),
        (["nowhere/x.png"], "error: PHOTOS nowhere/x.png does not exist"),
        (["{photos}", "--device", "abacus"], "error: --device abacus is not available on this"),
        (["{photos}", "--weights", "random"], "of torchvision, or leave --weights out."),
        ([""], "PHOTOS '': expected a folder, a glob such as 'photos/*.jpg', or a path."),
        (["{photos}", "--out", "{photos}/a.png"], "it is a file"),
    ],
)
def test_error_is_one_line_without_a_traceback(
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(photos.parent)
    options = [argument.format(photos=photos) for argument in arguments]
    assert main(["heatmaps", "--quiet", *options]) == 1
    err = capsys.readouterr().err
    assert err.startswith("pfv-widgets: error: ")
    assert message in err
    assert "Traceback" not in err
    assert not (photos.parent / "heatmaps").exists()


def test_names_cannot_steer_the_terminal(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;pwn\x07\u202e.jpg"
    (photos / evil).write_bytes(b"text")
    run = ["heatmaps", "--size", "32", "--device", "cpu", "--out", str(tmp_path / "o\x1b")]
    assert main([*run, str(photos)]) == 0
    streams = capsys.readouterr()
    assert r"left out \x1b]0;pwn\x07\u202e.jpg" in streams.err
    assert main([*run, "--force", str(photos / f"{evil}.none")]) == 1
    with pytest.raises(SystemExit):
        main([*run, str(photos), "--\x1b]0;pwn"])
    for text in (*streams, *capsys.readouterr()):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_memory_that_ran_out_is_one_line_and_other_failures_are_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        def run(_: object) -> int:
            raise error

        monkeypatch.setattr(doctor, "run", run)

    fail(MemoryError())
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("pfv-widgets: error: not enough memory")
    fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    assert main(["doctor"]) == 130


def test_names_of_pictures_are_safe_and_unique(tmp_path: Path) -> None:
    (tmp_path / "taken.png").touch()
    hostile = [
        "../../etc/x.jpg",
        "A.jpg",
        "a.jpg",
        ".jpg",
        "$x$\n.png",
        "overview.jpg",
        "taken.gif",
    ]
    names = Outputs(tmp_path).names_for(hostile)
    assert names == [
        *("etc-x.png", "A.png", "a-2.png", "jpg.png", "x.png", "overview-2.png", "taken-2.png")
    ]


def test_former_record_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "mine.png").touch()
    entries = [{"heatmap": "../mine.png"}, {"heatmap": "notes.txt"}, {"heatmap": "a.png"}]
    (tmp_path / "out" / "heatmaps.json").write_text(json.dumps({"files": entries}))
    outputs = Outputs.planned(tmp_path / "out", force=True)
    assert outputs.former == {"a.png", "overview.png"}


def test_doctor_tells_versions_devices_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "ipycanvas", "jupyterlab", "voila"} <= set(report)
    assert "threads" in report["devices"]["cpu"]
    assert status == (0 if report["widgets"] else 1)


@pytest.mark.parametrize(
    ("result", "status", "verdict"), [("/somewhere", 0, "yes"), (None, 1, "no – run: pip install")]
)
def test_doctor_ends_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: str | None,
    status: int,
    verdict: str,
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda _: "1.0")
    monkeypatch.setattr(doctor, "_extension", lambda _: result)
    assert main(["doctor"]) == status
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"Widgets can be shown in JupyterLab: {verdict}")


def test_photos_come_in_the_normalisation_that_the_network_declares(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef net():\n"
        "    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())\n"
        "    vars(model)['pretrained_cfg'] = {'mean': (0.5, 0.4, 0.3), 'std': (0.5, 0.5, 0.25)}\n"
        "    return model\n"
    )
    common = [str(photos), "--size", "32", "--device", "cpu", "--model", f"{tmp_path}/own.py:net"]
    basis, out = tmp_path / "basis.npz", tmp_path / "out"
    assert main(["fit", *common, "--out", str(basis)]) == 0
    assert main(["heatmaps", *common, "--basis", str(basis), "--out", str(out)]) == 0
    record = json.loads((out / "heatmaps.json").read_text("utf-8"))
    assert record["normalisation"] == {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.25]}
    assert "normalised" not in capsys.readouterr().err
    by = Normalisation((0.5, 0.4, 0.3), (0.5, 0.5, 0.25))
    own = in_normalisation(load_images(photos, 32), by)
    expected = PFV(load_model(common[-1]), own, "cpu").render().basis.mean
    torch.testing.assert_close(PrincipalBasis.load(basis).mean.float(), expected.float())


def test_fit_writes_a_basis_that_heatmaps_takes(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    basis, out = tmp_path / "basis.npz", tmp_path / "out"
    common = [str(photos), "--size", "64", "--device", "cpu"]
    fit = ["fit", *common, "--components", "4", "--batch-size", "2", "--out", str(basis)]
    assert main([*fit, "--resume"]) == 0
    output = capsys.readouterr()
    assert "there is no checkpoint" in output.err
    assert "4 components of" in output.out
    assert "3 of 4 photos" in output.out
    assert "1 of 4 images left out: broken.png" in output.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["basis.npz", "photos"]
    assert main(["heatmaps", *common, "--basis", str(basis), "--out", str(out), "--quiet"]) == 0
    record = json.loads((out / "heatmaps.json").read_text("utf-8"))
    assert record["basis"].startswith("fixed, made of ")
    broken, other = str(photos / "broken.png"), str(tmp_path / "other")
    assert main(["heatmaps", *common, "--basis", broken, "--out", other]) == 1
    expected = (
        f"--basis {broken} holds no basis: it is no .npz file, or only a part of one. Give a file "
    )
    assert f"{expected}that `pfv-widgets fit` wrote." in capsys.readouterr().err
    assert main(["heatmaps", *common, "--basis", str(basis), "--layer", "stage2"]) == 1
    assert "or --basis-of 'this batch', which" in capsys.readouterr().err
    assert main(["heatmaps", *common, "--basis", str(basis), "--components", "5"]) == 1
    assert "make a basis with more: `pfv-widgets fit --components`." in capsys.readouterr().err
    assert main(fit) == 1
    assert "--out" in capsys.readouterr().err
    assert main(["fit", *common, "--force", "--out", str(basis), "--layer", "nowhere"]) == 1
    assert "--layer nowhere is not" in capsys.readouterr().err
    assert main(["fit", *common, "--out", str(other), "--layer", "a#2", "a_2"]) == 1
    assert "two would be written to one file" in capsys.readouterr().err
    fitted, taken = PrincipalBasis.load(basis), tmp_path / "taken.npz"

    def fit_meanwhile(*_: object, **__: object) -> dict[str, PrincipalBasis]:
        taken.mkdir()
        return {"": fitted}

    monkeypatch.setattr(pipeline, "fit_basis", fit_meanwhile)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    assert main(["fit", str(photos), "--out", str(taken)]) == 0
    output = capsys.readouterr()
    assert f"--out {taken} cannot be written" in output.err
    written = Path(output.out.split("Wrote ")[1].split(": ")[0])
    assert written.parent.parent == tmp_path / "elsewhere"
    assert PrincipalBasis.load(written).layer == fitted.layer


def test_methods_are_drawn_from_the_command_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "methods.png"
    command = ["methods", str(photos), "--size", "64", "--methods", "saliency", "grad_cam"]
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    with Image.open(out) as figure:
        assert min(figure.size) > 300
    before = out.read_bytes()
    assert main([*command, "--out", str(out)]) == 1
    assert "--out" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*command, "--layer", "nowhere", "--out", str(tmp_path / "other.png")]) == 1
    assert "--layer nowhere is not" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "methods", "report"])
def test_folder_in_the_place_of_a_result_is_refused_before_anything_is_computed(
    command: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos.parent / "folder.png"
    folder.mkdir()
    run = [command, str(photos), "--force", "--out", str(folder), "--model", "nosuchnet"]
    assert main(run) == 1
    assert capsys.readouterr().err == (
        f"pfv-widgets: error: --out {folder}: it is a folder; give the name of a file in it.\n"
    )


def test_checkpoint_that_was_not_named_is_told_by_the_option_that_was(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos.parent / "basis.npz"
    fit = ["fit", str(photos), "--size", "32", "--device", "cpu", "--out", str(out)]
    checkpoint = out.with_suffix(".checkpoint.npz")
    checkpoint.mkdir()
    assert main(fit) == 1
    assert f"error: --out {out}: its checkpoint {checkpoint} is a folder" in capsys.readouterr().err
    assert main([*fit, "--checkpoint", str(checkpoint)]) == 1
    assert f"error: --checkpoint {checkpoint} is a folder" in capsys.readouterr().err
