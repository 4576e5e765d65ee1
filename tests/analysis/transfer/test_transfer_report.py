"""The transfer report: the right layer, honest words, one page, and bad input named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

import pfv_widgets as pw
from pfv_widgets.analysis.transfer.page import page_of
from pfv_widgets.analysis.transfer.probes import linear_probe
from pfv_widgets.cli import main
from tests.figure_layout import texts
from tests.networks import Function, blobs, seeded, tiny

HOSTILE = '<img src=x onerror="alert(1)">'


def striped(count: int = 36, side: int = 24) -> tuple[torch.Tensor, list[str]]:
    """Stripes upright or across, of any phase: a linear probe on colours cannot tell them."""
    phases = 6.3 * torch.rand(count, generator=seeded(1))
    along = torch.arange(side) * 1.6
    images = torch.empty(count, 3, side, side)
    for index in range(count):
        wave = torch.sin(along + phases[index]).expand(side, side)
        images[index] = wave if index % 2 else wave.T
    noise = 0.3 * torch.randn(images.shape, generator=seeded(2))
    return images + noise, ["upright" if i % 2 else HOSTILE for i in range(count)]


def network() -> nn.Sequential:
    """A first layer that blurs, so that stripes are gone, and a detector of them at the end."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(4 * 144, 2),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.fill_(1 / 3)
        edges = torch.tensor([[-1.0, 0, 1]] * 3)
        model[1].weight.zero_()
        model[1].weight[0, 0], model[1].weight[1, 0] = edges, edges.T
        model[1].bias.zero_()
    return model


@pytest.fixture(scope="module")
def report() -> pw.TransferReport:
    images, labels = striped()
    return pw.transfer_report(network(), images, labels, device="cpu")


def test_layer_that_tells_the_classes_apart_is_advised(report: pw.TransferReport) -> None:
    images, labels = striped()
    rows = {row["layer"]: row for row in report.table}
    assert list(rows) == ["0", "1", "2", "3"]
    assert report.layer == "2"
    with torch.no_grad():
        pooled = network()[:3](images).mean((2, 3)).double().numpy()
    assert rows["2"]["linear"] == linear_probe(pooled, labels).accuracy.value > 0.95
    assert rows["0"]["linear"] < 0.7
    assert report.majority == 0.5
    assert "Cut at 2:" in report.advice
    assert "36 photos" in report.advice
    assert report.advice.count("How sure: it comes first of 4 layers") == 1
    assert report.equals == ("3",)  # the mean of a mean: the same features
    tied = [one for one in report.components if one.component == 0]
    assert {one.auc > one.chance for one in tied} == {True}


def test_components_point_at_photos_of_their_class(report: pw.TransferReport) -> None:
    _, labels = striped()
    assert {one.label for one in report.components} == set(labels)
    for one in report.components:
        assert {labels[photo] for photo in one.photos} == {one.label}
        assert all(p.shape == (24, 24, 3) and p.dtype == np.uint8 for p in one.pictures)


def test_names_of_classes_that_begin_alike_differ_in_the_figure(report: pw.TransferReport) -> None:
    alike = "a long name that the classes have in common"
    result = [
        replace(one, label=f"{alike} {number}") for number, one in enumerate(report.components)
    ]
    words = [one.get_text() for one in texts(replace(report, components=tuple(result)).figure())]
    names = [text.splitlines()[0] for text in words if text.startswith("a long")]
    assert [name[-1] for name in names] == [str(number) for number in range(len(result))]


def test_random_labels_are_not_advised(rng: np.random.Generator) -> None:
    images, _ = striped(24)
    labels = [str(label) for label in rng.permutation(24) % 2]
    result = pw.transfer_report(network(), images, labels, layers=["1"], device="cpu")
    assert result.advice.startswith("Do not transfer yet")
    assert "No other layer was probed." in result.advice
    assert not any(pair.is_distinguishable for pair in result.confused)
    assert "will be its own errors" in page_of(result)


class Aside(nn.Module):
    """What it returns depends on blurred stripes alone; edges are found beside that."""

    def __init__(self) -> None:
        super().__init__()
        self.blur, self.edges = network()[0], network()[1:3]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        maps = self.blur(images)
        self.edges(maps)
        return maps.mean((2, 3)), {"maps": maps}


def test_layers_that_the_output_does_not_depend_on_are_not_advised() -> None:
    images, labels = striped(14)
    result = pw.transfer_report(Aside(), images, labels, device="cpu")
    assert [row["layer"] for row in result.table] == ["blur"]
    assert "does not depend on it: 'edges.1', 'edges.2'" in result.warnings[0]
    result = pw.transfer_report(Aside(), images, labels, layers=["blur", "edges.2"], device="cpu")
    assert [row["used"] for row in result.table] == [True, False]
    assert result.table[1]["linear"] > result.table[0]["linear"]
    assert result.layer == "blur"
    assert "No other layer that the output depends on was" in result.advice
    assert "does not depend on 'edges.2'" in result.warnings[0]
    assert page_of(result).count("the output does not depend on it") == 1
    alone = pw.transfer_report(Aside(), images, labels, layers=["edges.2"], device="cpu")
    assert "The network's output does not depend on edges.2" in alone.advice


def test_saved_files_say_the_same_and_nothing_foreign_comes_alive(
    report: pw.TransferReport, tmp_path: Path
) -> None:
    for suffix in (".html", ".json", ".png"):
        report.save(tmp_path / f"report{suffix}")
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert content["advice"] == report.advice
    assert [row["layer"] for row in content["layers"]] == ["0", "1", "2", "3"]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page == page_of(report)
    assert HOSTILE not in page
    assert "will be its own errors" not in page
    assert not re.search(r"<script|https?://|url\(|@@", page)
    assert "sandbox" in report._repr_html_()
    assert HOSTILE not in report._repr_html_()
    assert Image.open(tmp_path / "report.png").size[0] > 600
    with pytest.raises(pw.PFVValueError, match=r"report.txt.*\.html"):
        report.save(tmp_path / "report.txt")


def test_data_sets_and_loaders_give_the_same_as_tensors(report: pw.TransferReport) -> None:
    images, labels = striped()
    numbers = torch.tensor([int(label == "upright") for label in labels])
    data = TensorDataset(images, numbers)
    data.classes = [HOSTILE, "upright"]
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for source in (data, DataLoader(data, batch_size=7)):
        result = pw.transfer_report(model, source, layers=["2"], device="cpu")
        assert result.table[0]["linear"] == report.table[2]["linear"]
        assert result.table[0]["untrained"] == report.table[2]["untrained"]
        assert result.classes == report.classes
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_components_are_fitted_on_the_device_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # where device="auto" would run
    result = pw.transfer_report(network(), *striped(), layers=["2"], device="cpu")
    assert result.warnings == ()
    assert result.components


def test_bad_input_is_named() -> None:
    images, labels = striped(8)
    model = network()

    def fails(words: str, *arguments: object, **more: object) -> None:
        with pytest.raises(pw.PFVError, match=words):
            pw.transfer_report(model, *arguments, **more)

    fails("labels=None", images)
    fails("all photos are of the class 'a'", images, ["a"] * 8)
    fails("labels has 3 entries", images, ["a"] * 3)
    fails("one photo", images[:2], ["a", "b"])
    fails("layer='5'", images, labels, layers=["5"])
    fails("layers is empty", images, labels, layers=[])
    fails(r"layers=\['0', '0'\]: a layer is given twice", images, labels, layers=["0", "0"])
    fails("labels", TensorDataset(images, torch.zeros(8)), ["a"] * 8)
    fails("label", TensorDataset(images, torch.zeros(8)))
    whole = TensorDataset(images.repeat(4, 1, 1, 1), torch.arange(32) % 2)
    fails(
        "photo 33 has 16 ×", ConcatDataset([whole, TensorDataset(images[:, :, :16], whole[:8][1])])
    )
    with pytest.raises(pw.PFVTypeError, match="scripted"):
        pw.transfer_report(torch.jit.script(nn.Conv2d(3, 4, 1)), images, labels)


def test_broken_photos_and_single_classes_are_left_out_in_words() -> None:
    images, labels = striped(20)
    images[3] = 30.0
    labels[5] = "alone"
    model = nn.Sequential(Function(_broken_if_bright), nn.Conv2d(3, 4, 3), nn.ReLU())
    result = pw.transfer_report(model, images, labels, layers=["1"], device="cpu")
    assert len(result.names) == 18
    assert ["image 4" in result.warnings[0], "alone" in result.warnings[1]] == [True, True]
    with pytest.raises(pw.PFVValueError, match="every photo"):
        pw.transfer_report(model, 0 * images + 30, labels, layers=["1"], device="cpu")


def _broken_if_bright(images: torch.Tensor) -> torch.Tensor:
    return torch.where(images.mean((1, 2, 3), keepdim=True) > 9, torch.nan, images)


def test_command_writes_the_page_and_refuses_to_replace_it(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, bright in (("dark", 40), ("light", 200)):
        (tmp_path / label).mkdir()
        for index in range(4):
            pixels = rng.integers(bright - 30, bright + 30, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{index}.png")
    out = tmp_path / "report.html"
    common = ["--size", "32", "--device", "cpu", "--layers", "stage2.3", "--out", str(out)]
    assert main(["report", str(tmp_path), *common]) == 0
    advice, written = capsys.readouterr().out.splitlines()
    assert "Cut at stage2.3" in advice
    assert written == f"Wrote {out}"
    assert "dark: 4, light: 4" in out.read_text("utf-8")
    each = [str(tmp_path / "dark"), str(tmp_path / "light")]
    assert main(["report", *each, *common]) == 1
    assert re.search(r"--out .*report\.html'? is there", capsys.readouterr().err)
    assert main(["report", *each, *common, "--force", "--quiet"]) == 0
    assert main(["report", str(tmp_path / "dark"), *common, "--force"]) == 1
    assert "PHOTOS: the photos have no labels" in capsys.readouterr().err
    run = ["report", *each, *common, "--force", "--layers"]
    assert main([*run, "nowhere"]) == 1
    assert "error: --layers nowhere is not in this network" in capsys.readouterr().err
    assert main([*run, "stage2", "stage2"]) == 1
    assert "error: --layers stage2 stage2: a layer is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("returned", ["nothing", "text", "flat", "dataclass"])
def test_what_a_network_returns_does_not_matter(returned: str) -> None:
    @dataclass
    class Output:
        scores: torch.Tensor

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny()

        def forward(self, images: torch.Tensor) -> object:
            scores = self.network(images)
            others = {"nothing": None, "text": "done", "flat": scores.flatten()}
            return others.get(returned, Output(scores))

    images = blobs(12)
    report = pw.transfer_report(Network().eval(), images, labels=["a", "b"] * 6)
    plain = pw.transfer_report(tiny(), images, labels=["a", "b"] * 6)
    assert report.layers[-1].name == f"network.{plain.layers[-1].name}"


@pytest.mark.parametrize("layers", [[3], [None], [["10"]]])
def test_layers_that_are_no_names_are_refused(layers: Any) -> None:
    with pytest.raises(pw.PFVTypeError, match=r"layers=.*a list of names"):
        pw.transfer_report(tiny(), blobs(12), labels=["a", "b"] * 6, layers=layers)


def test_what_is_imported_leaves_the_generator_of_python_alone() -> None:
    code = (
        "import random\n"
        "state = random.getstate()\n"
        "import pfv_widgets\n"
        "pfv_widgets.transfer_report, pfv_widgets.repair\n"
        "assert random.getstate() == state\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
