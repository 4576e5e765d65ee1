from __future__ import annotations

import sys
import urllib.error
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from pfv_widgets.engine.network.load_model import load_model
from pfv_widgets.errors import PFVTypeError, PFVValueError

FACTORY = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

def broken():
    raise OSError("no luck")

def nothing():
    return 3

number = 3
ready = nn.Flatten()
"""


@pytest.fixture
def factory(tmp_path: Path) -> str:
    (tmp_path / "my_net.py").write_text(FACTORY)
    return f"{tmp_path / 'my_net.py'}"


@pytest.fixture
def state(factory: str) -> dict[str, torch.Tensor]:
    return {k: torch.full_like(v, 7) for k, v in load_model(f"{factory}:net").state_dict().items()}


def test_factory_of_a_file_gives_a_seeded_network_in_eval_mode(factory: str) -> None:
    before = torch.get_rng_state()
    model = load_model(f"{factory}:net")
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert torch.equal(model[0].weight, load_model(f"{factory}:net", "random")[0].weight)


def test_network_of_a_file_is_taken_as_it_is(factory: str) -> None:
    assert isinstance(load_model(f"{factory}:ready"), nn.Flatten)


def test_factory_of_a_module_is_imported() -> None:
    assert isinstance(load_model("torch.nn:Flatten"), nn.Flatten)


def test_demo_is_the_embedded_network() -> None:
    from pfv_widgets.demo.images import demo_model

    model = load_model("demo")
    assert type(model) is type(demo_model())
    assert not model.training


def test_network_of_the_photos_is_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from pfv_widgets.demo import imagenet_network

    assert len(load_model("demo-photos").classes) == 1000  # type: ignore[arg-type] # a tuple
    monkeypatch.setattr(imagenet_network, "find_spec", lambda name: name != "timm" or None)
    with pytest.raises(PFVValueError, match=r"^timm is not installed. Run: pip install"):
        load_model("demo-photos")


def test_random_torchvision_network_is_seeded() -> None:
    first = load_model("squeezenet1_1", "random").state_dict()
    torch.rand(3)
    second = load_model("squeezenet1_1", weights="random").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_demo_network_is_not_said_to_be_random() -> None:
    with pytest.raises(PFVValueError, match=r"weights='random': the network 'demo' comes with its"):
        load_model("demo", "random")


def test_random_segmentation_network_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("net"))
    assert isinstance(load_model("lraspp_mobilenet_v3_large", "random"), nn.Module)


def test_networks_with_their_own_weights_name_their_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, **_: build(name, weights=None))
    model = load_model("squeezenet1_1")
    assert (len(model.classes), model.classes[281]) == (1000, "tabby")
    assert not hasattr(load_model("squeezenet1_1", "random"), "classes")


@pytest.mark.parametrize("weights", [None, "default"])
def test_failed_download_says_what_to_give_instead(
    monkeypatch: pytest.MonkeyPatch, weights: str | None
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(PFVValueError, match=r"'resnet18'.*no route.*weights='random'.*path"):
        load_model("resnet18", weights)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnett18", r"Did you mean 'resnet18'.*file\.py:factory"),
        ("no/such_file.py:net", "there is no file"),
        ("no_such_module:net", "cannot be imported"),
        ("{}:nett", "Did you mean 'net'"),
        ("{}:broken", r"broken\(\) failed with OSError: no luck"),
        ("{}:nothing", "gave a int"),
        ("{}:number", "is a int"),
    ],
)
def test_unusable_name_is_a_named_error(factory: str, spec: str, message: str) -> None:
    with pytest.raises((PFVValueError, PFVTypeError), match=rf"name=.*{message}"):
        load_model(spec.format(factory), "random")


def test_file_that_fails_on_import_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(PFVValueError, match=r"bad\.py.*ZeroDivisionError"):
        load_model(f"{tmp_path / 'bad.py'}:net")
    assert "_pfv_model_bad" not in sys.modules


@pytest.mark.parametrize(("name", "weights"), [(3, None), (None, None), ("resnet18", 3)])
def test_argument_of_another_type_is_a_named_error(name: object, weights: object) -> None:
    with pytest.raises(PFVTypeError, match="expected"):
        load_model(name, weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module.model."])
def test_checkpoint_is_unwrapped(
    tmp_path: Path, factory: str, state: dict, wrapper: str | None, prefix: str
) -> None:
    content: dict = {prefix + key: value for key, value in state.items()}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "w.pt")
    model = load_model(f"{factory}:net", tmp_path / "w.pt")
    assert all((value == 7).all() for value in model.state_dict().values())


def test_old_checkpoint_without_batch_counts_is_loaded(
    tmp_path: Path, factory: str, state: dict
) -> None:
    del state["1.num_batches_tracked"]
    torch.save(state, tmp_path / "w.pt")
    assert (load_model(f"{factory}:net", str(tmp_path / "w.pt"))[1].bias == 7).all()


def test_network_whose_own_names_begin_like_a_prefix_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "from torch import nn\ndef net():\n    return nn.ModuleDict({'model': nn.Linear(1, 1)})\n"
    )
    spec = f"{tmp_path / 'f.py'}:net"
    state = {k: torch.full_like(v, 7) for k, v in load_model(spec).state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    assert (load_model(spec, tmp_path / "w.pt")["model"].bias == 7).all()


def test_misfit_tells_numbers_and_first_names(tmp_path: Path, factory: str, state: dict) -> None:
    state["0.weight"] = torch.zeros(4, 1, 3, 3)
    state["head.bias"] = torch.zeros(2)
    del state["1.weight"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(PFVValueError) as excinfo:
        load_model(f"{factory}:net", tmp_path / "w.pt")
    text = str(excinfo.value)
    assert "1 missing ('1.weight')" in text
    assert "1 unexpected ('head.bias')" in text
    assert "0.weight (4, 1, 3, 3) in place of (4, 3, 3, 3)" in text


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("this must never be run",)


def write_code(path: Path) -> None:
    torch.save({"0.weight": Evil()}, path)


def write_module(path: Path) -> None:
    torch.save(nn.Conv2d(3, 4, 3), path)


def write_script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/constants.pkl", b"")


def write_truncated(path: Path) -> None:
    torch.save({"0.weight": torch.zeros(4, 3, 30, 30)}, path)
    path.write_bytes(path.read_bytes()[:3000])


def write_truncated_pickle(path: Path) -> None:
    torch.save({"w": torch.zeros(40, 30)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:1500])


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"hello")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"  <!DOCTYPE html><html>", "web page"),
        (b"<html><body>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"just some text", "torch.save"),
        (write_code, "more than tensors.*state_dict"),
        (write_module, "more than tensors.*state_dict"),
        (write_script, "TorchScript.*state_dict"),
        (write_truncated, "cut off"),
        (write_truncated_pickle, "cut off|damaged"),
        (write_zip, "zip archive"),
        (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor"),
        (lambda path: torch.save({}, path), "holds a dict"),
        (lambda path: torch.save({"epoch": 3}, path), "'epoch' are no tensors"),
        (lambda path: path.mkdir(), "folder"),
        (lambda _: None, "no such file; give 'default', 'random' or the path"),
    ],
)
def test_unusable_checkpoint_names_file_and_cause(
    tmp_path: Path, factory: str, capsys: pytest.CaptureFixture, content: object, message: str
) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)  # type: ignore[operator]
    with pytest.raises(PFVValueError, match=rf"weights='.*weights\.pth'.*{message}") as excinfo:
        load_model(f"{factory}:net", path)
    assert "weights_only" not in str(excinfo.value)
    assert capsys.readouterr().out == ""


def test_safetensors_are_loaded_or_their_package_is_named(
    tmp_path: Path, factory: str, state: dict
) -> None:
    path = tmp_path / "w.safetensors"
    try:
        from safetensors.torch import save_file
    except ImportError:
        path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
        with pytest.raises(PFVValueError, match="pip install safetensors"):
            load_model(f"{factory}:net", path)
        return
    save_file(state, path)
    assert (load_model(f"{factory}:net", path)[1].bias == 7).all()


@pytest.mark.assets
def test_real_squeezenet_is_loaded(assets: Path) -> None:
    path = assets / "models" / "squeezenet1_0_imagenet.pth"
    model = load_model("squeezenet1_0", path)
    stored = torch.load(path, weights_only=True)
    assert torch.equal(model.state_dict()["classifier.1.weight"], stored["classifier.1.weight"])
    with pytest.raises(PFVValueError, match=r"do not fit SqueezeNet.*of another shape"):
        load_model("squeezenet1_1", path)
    with pytest.raises(PFVValueError, match=r"do not fit ResNet.*missing.*unexpected"):
        load_model("resnet18", path)


def test_weights_of_modules_that_ask_for_their_version_are_read(tmp_path: Path) -> None:
    weights = models.mnasnet0_5().state_dict()
    torch.save({f"module.{name}": value for name, value in weights.items()}, tmp_path / "w.pt")
    read = load_model("mnasnet0_5", str(tmp_path / "w.pt")).state_dict()
    assert all(torch.equal(read[name], value) for name, value in weights.items())
