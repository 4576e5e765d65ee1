"""Saved weights as a sequence of networks, loaded when they are visited."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import tiny


def save_weights(folder: Path, **models: object) -> Path:
    for name, model in models.items():
        state = model.state_dict() if isinstance(model, nn.Module) else model
        torch.save(state, folder / f"{name}.pt")
    return folder


def test_each_network_has_its_own_weights_and_is_loaded_when_it_is_visited(tmp_path: Path) -> None:
    model, trained = tiny(0), tiny(1)
    save_weights(tmp_path, epoch2=trained, epoch10=model, broken={"x": torch.ones(1)})
    state = {name: one.clone() for name, one in model.state_dict().items()}
    networks = pw.checkpoints(model, str(tmp_path / "epoch*.pt"))
    assert list(networks) == ["epoch2", "epoch10"]
    first = networks["epoch2"]
    assert torch.equal(first[0].weight, trained[0].weight)
    assert torch.equal(first[1].running_mean, trained[1].running_mean)
    assert not first.training
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(first(images), trained(images))
    folder = pw.checkpoints(model, tmp_path)
    assert list(folder) == ["broken", "epoch2", "epoch10"]
    with pytest.raises(PFVValueError, match=r"broken\.pt.*do not fit Sequential.*missing"):
        folder["broken"]
    assert torch.equal(folder["epoch10"][0].weight, model[0].weight)


def test_lightning_files_and_names_of_ones_own(tmp_path: Path) -> None:
    model = tiny(1)
    state = {f"model.{name}": one for name, one in model.state_dict().items()}
    save_weights(tmp_path, last={"state_dict": state, "epoch": 3})
    networks = pw.checkpoints(tiny(), {"at the end": tmp_path / "last.pt"})
    assert torch.equal(networks["at the end"][0].weight, model[0].weight)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_weights(tmp_path / folder, last=model)
    both = [tmp_path / folder / "last.pt" for folder in ("b", "a")]
    assert list(pw.checkpoints(tiny(), both)) == ["b/last", "a/last"]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    model = tiny()
    with pytest.raises(PFVValueError, match=r"there is no file '.*gone\.pt'"):
        pw.checkpoints(model, [tmp_path / "gone.pt"])
    with pytest.raises(PFVValueError, match="no file of weights"):
        pw.checkpoints(model, tmp_path)
    with pytest.raises(PFVTypeError, match="paths=3"):
        pw.checkpoints(model, 3)
    with pytest.raises(PFVTypeError, match="paths has 3"):
        pw.checkpoints(model, [3])
    save_weights(tmp_path, one=model)
    with pytest.raises(PFVValueError, match="'1' twice"):
        pw.checkpoints(model, {1: tmp_path / "one.pt", "1": tmp_path / "one.pt"})
    (tmp_path / "page.pt").write_text("<!doctype html><html></html>")
    networks = pw.checkpoints(model, [tmp_path / "page.pt", tmp_path / "one.pt"])
    with pytest.raises(PFVValueError, match="it is a web page"):
        networks["page"]
    assert networks["one"] is not model
