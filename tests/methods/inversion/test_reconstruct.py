"""Pictures that a network makes: targets, the descent, what stops it, and what is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
from tests.methods.core.test_target import Two
from tests.networks import Tokens, blobs, tiny, unchanged

SMALL = {"size": 32, "steps": 40, "jitter": 2, "rate": 2.0}


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_a_photo_comes_back_from_an_early_layer() -> None:
    images = blobs(2)
    result = pw.reconstruct(tiny(), images, layer="2", steps=100, rate=2.0)
    assert result.pixels.shape == (2, 32, 32, 3)
    assert result.pixels.dtype == np.uint8
    assert result.tensor.shape == (2, 3, 32, 32)
    assert result.names == images.names
    for picture, photo in zip(result.pixels, images.pixels, strict=True):
        assert correlation(picture, photo) > 0.85
    assert bool((result.losses[:, -1] < 0.2 * result.losses[:, 0]).all())
    model = tiny()
    maps, own = (model[:3](one) for one in (images.tensor, result.tensor))
    right = (maps - own).flatten(1).norm(dim=1) / maps.flatten(1).norm(dim=1)
    torch.testing.assert_close(result.scores, right.detach())


def test_the_options_of_featurevis_lower_their_objective_and_bring_the_photo_back() -> None:
    images = blobs(1)
    options = pw.Reconstruct.featurevis(total_variation=0.001)
    result = pw.reconstruct(tiny(), images, layer="2", options=options)
    assert result.losses.shape == (1, 100)
    assert float(result.losses[0, -1]) < 0.3 * float(result.losses[0, 0])
    assert correlation(result.pixels, images.pixels) > 0.8
    assert result.options == options


@pytest.mark.parametrize("parametrisation", ["fourier", "pixels"])
@pytest.mark.parametrize("optimiser", ["adam", "momentum"])
def test_every_descent_raises_a_unit(parametrisation: str, optimiser: str) -> None:
    model = tiny()
    result = pw.reconstruct(
        model, unit=3, parametrisation=parametrisation, optimiser=optimiser, **SMALL
    )
    assert float(result.losses[0, -8:].mean()) < float(result.losses[0, 0])
    with torch.no_grad():
        right, photos = model(result.tensor)[:, 3], model(blobs(8).tensor)[:, 3]
    torch.testing.assert_close(result.scores, right, rtol=1e-3, atol=1e-4)
    assert float(right) > float(photos.mean())


def test_a_channel_is_raised_above_every_photo() -> None:
    model, photos = tiny(), blobs(8)
    result = pw.reconstruct(model, layer="6", unit=(3, 5), **{**SMALL, "steps": 80})
    assert result.names == ("channel 3 of 6", "channel 5 of 6")
    for row, unit in enumerate((3, 5)):
        seen = model[:7](photos.tensor)[:, unit].mean((1, 2)).detach()
        assert float(result.scores[row]) > float(seen.max())
    own = model[:7](result.tensor).mean((2, 3)).detach()
    torch.testing.assert_close(result.scores, own[[0, 1], [3, 5]])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_component_is_raised_or_lowered(sign: int) -> None:
    model, photos = tiny(), blobs(6)
    frame = pw.PFV(model, photos).render(layer="5", components=2)
    result = pw.reconstruct(model, frame, component=1, sign=sign, **SMALL)
    assert result.names == (f"component 2 {'+' if sign > 0 else '−'}",)
    assert result.layer == "5"
    assert result.figure().axes[0].get_xlabel().splitlines()[0] == result.names[0]
    scores = frame.basis.project(model[:6](result.tensor).detach())[:, 1].mean()
    deviation = frame.basis.variances[1].sqrt()
    torch.testing.assert_close(sign * scores / deviation, result.scores[0], rtol=1e-4, atol=1e-5)
    own = frame.scores[:, 1].mean((1, 2))
    assert bool((sign * scores > sign * own).all())
    assert result.pixels.shape[1:3] == photos.size


def test_a_basis_makes_a_picture_for_each_of_its_components() -> None:
    model = tiny()
    basis = pw.PFV(model, blobs(4)).render(layer="5").basis
    result = pw.reconstruct(model, basis, **{**SMALL, "steps": 4})
    assert result.names == ("component 1 +", "component 2 +", "component 3 +")
    with pytest.raises(PFVValueError, match=r"layer=None: this basis does not name its layer"):
        pw.reconstruct(model, dataclasses.replace(basis, layer=""), **SMALL)
    with pytest.raises(PFVValueError, match=r"basis of 8 channels, but layer '14' has 5"):
        pw.reconstruct(model, dataclasses.replace(basis, layer=""), layer="14", **SMALL)


@pytest.mark.assets
@pytest.mark.all
def test_the_real_network_knows_the_bird_that_it_made(assets: Path, squeezenet: nn.Module) -> None:
    result = pw.reconstruct(squeezenet, unit=14, size=128, steps=24, rate=2.0, jitter=8)
    with torch.no_grad():
        assert int(squeezenet(result.tensor).argmax()) == 14
        photos = pw.load_images(assets / "photos" / "imagenet", size=128)
        assert float(squeezenet(photos.tensor)[:, 14].max()) < float(result.scores)


def test_an_activation_itself_is_a_target() -> None:
    model, photo = tiny(), blobs(1)
    maps = model[:3](photo.tensor).detach()
    first, second, third = (
        pw.reconstruct(model, target, layer="2", size=32, steps=3)
        for target in (photo, maps, maps[0])
    )
    assert np.array_equal(second.pixels, third.pixels)
    torch.testing.assert_close(first.losses, second.losses, rtol=1e-3, atol=1e-4)
    features = model[:13](photo.tensor).detach()[0].flatten()
    result = pw.reconstruct(model, features, layer="12", size=32, steps=3)
    assert result.names == ("target 1",)
    logits = pw.reconstruct(model, model(photo.tensor).detach(), size=32, steps=3)
    assert logits.layer is None


def test_the_same_seed_gives_the_same_pictures_and_leaves_all_as_it_was() -> None:
    model, photo, few = tiny().train(), blobs(1), SMALL | {"steps": 12}
    model[4].weight.grad = torch.ones_like(model[4].weight)
    before = photo.tensor.clone()
    state = torch.random.get_rng_state()
    with unchanged(model):
        first = pw.reconstruct(model, layer="6", unit=1, runs=2, **few)
        with torch.inference_mode():
            second = pw.reconstruct(model, layer="6", unit=1, runs=2, **few)
        pw.reconstruct(model, photo, layer="2", steps=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(first.pixels, second.pixels)
    assert torch.equal(first.losses, second.losses)
    assert torch.equal(photo.tensor, before)
    other = pw.reconstruct(model, layer="6", unit=1, seed=1, **few)
    assert not np.array_equal(other.pixels[0], first.pixels[0])
    assert not np.array_equal(first.pixels[0], first.pixels[1])
    alone = pw.reconstruct(model, layer="6", unit=1, **few)
    assert correlation(alone.pixels[0], first.pixels[0]) > 0.999
    assert first.best == int(first.best_losses.argmin())


def test_preview_comes_at_the_start_and_with_the_best_at_the_end() -> None:
    seen: list[tuple[int, int, np.ndarray, tuple[float, ...]]] = []
    done: list[tuple[int, int]] = []
    result = pw.reconstruct(
        tiny(), unit=1, runs=2, every=3600.0, preview=lambda *state: seen.append(state),
        progress=lambda *state: done.append(state), **SMALL,
    )  # fmt: skip
    assert [state[:2] for state in seen] == [(0, 40), (40, 40)]
    assert seen[0][2].shape == (2, 32, 32, 3)
    assert np.array_equal(seen[-1][2], result.pixels)
    assert seen[-1][3] == tuple(result.best_losses.tolist())
    assert done == [(step, 40) for step in range(1, 41)]
    seen.clear()
    pw.reconstruct(tiny(), unit=1, every=0, preview=lambda *state: seen.append(state), **SMALL)
    assert [state[0] for state in seen] == list(range(41))


@pytest.mark.parametrize("how", ["cancelled", "interrupted"])
def test_stop_keeps_the_best_so_far(how: str) -> None:
    steps = 0

    def tell(done: int, _: int) -> None:
        nonlocal steps
        steps = done
        if how == "interrupted" and done == 13:
            raise KeyboardInterrupt

    model = tiny()
    result = pw.reconstruct(
        model, unit=2, progress=tell,
        cancelled=lambda: how == "cancelled" and steps == 13, **SMALL,
    )  # fmt: skip
    assert result.stopped
    assert result.losses.shape == (1, 13)
    assert "13 of 40 steps" in repr(result)
    start = pw.reconstruct(model, unit=2, cancelled=lambda: True, **SMALL)
    assert start.losses.shape == (1, 0)
    assert float(result.best_losses) < float(start.best_losses)
    assert float(result.scores) > float(start.scores)
    start.figure()


def test_an_error_of_the_preview_does_not_cost_the_images() -> None:
    calls: list[int] = []

    def preview(step: int, *_: object) -> None:
        calls.append(step)
        raise ZeroDivisionError("no luck")

    with pytest.warns(PFVWarning, match="preview raised an error and was not called again: .*luck"):
        result = pw.reconstruct(tiny(), unit=1, every=0, preview=preview, **SMALL)
    right = pw.reconstruct(tiny(), unit=1, **SMALL)
    assert np.array_equal(result.pixels, right.pixels)
    assert calls == [0]


def test_an_image_does_not_depend_on_the_others_of_the_batch() -> None:
    few = {**SMALL, "steps": 6}
    for optimiser in ("adam", "momentum"):
        both = pw.reconstruct(tiny(), unit=(1, 3), optimiser=optimiser, **few)
        for row, unit in enumerate((1, 3)):
            alone = pw.reconstruct(tiny(), unit=unit, optimiser=optimiser, **few)
            torch.testing.assert_close(both.tensor[row], alone.tensor[0], rtol=1e-2, atol=1e-2)
            torch.testing.assert_close(both.losses[row], alone.losses[0], rtol=1e-3, atol=1e-3)


def test_classes_have_their_names_and_units_are_found_by_them() -> None:
    names, few = ["a", "b", "indigo bunting", "d", "e"], {**SMALL, "steps": 2}
    result = pw.reconstruct(tiny(), unit=2, classes=names, **few)
    assert result.names == ("indigo bunting",)
    assert result.figure().get_suptitle() == "indigo bunting · output"
    same = pw.reconstruct(tiny(), unit="indigo bunting", classes=np.array(names), **few)
    assert np.array_equal(same.pixels, result.pixels)
    two = pw.reconstruct(tiny(), unit=["d", 0], classes={"a": 0, "d": 3}, **few)
    assert two.names == ("d", "a")
    channel = pw.reconstruct(tiny(), layer="2", unit=2, classes=names, **few)
    assert channel.names == ("channel 2 of 2",)
    with pytest.raises(PFVValueError, match="unit='bunting' is none of the classes"):
        pw.reconstruct(tiny(), unit="bunting", classes=names)
    with pytest.raises(PFVTypeError, match="classes=3"):
        pw.reconstruct(tiny(), unit=1, classes=3)


class Fragile(nn.Module):
    """Gives NaN for pictures that are not dark enough."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean((2, 3))
        return torch.where(means[:, :1] < self.limit, means, torch.nan)


def test_a_run_that_diverges_keeps_its_best_finite_picture_and_tells() -> None:
    model = Fragile(0.6)
    options = {**SMALL, "jitter": 0, "scale": 0.0, "rotation": 0.0}
    with pytest.warns(PFVWarning, match=r"diverged to NaN.* in 1 of 1 images \(class 1\)"):
        result = pw.reconstruct(model, unit=1, **options)
    assert bool(result.scores.isfinite().all())
    assert bool(result.tensor.isfinite().all())
    assert bool(model(result.tensor).isfinite().all())
    assert not bool(result.losses[0, -1].isfinite())
    assert float(result.best_losses) < float(result.losses[0, 0])
    assert any("diverged" in text for text in result.warnings)
    with pytest.raises(PFVValueError, match="NaN or infinite for every start"):
        pw.reconstruct(Fragile(-9.0), unit=1, **SMALL)


def test_a_unit_that_is_silent_is_told_and_one_that_sleeps_is_woken() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.fill_(0.3)
        model[0].bias.copy_(torch.tensor([-0.5, -50.0]))  # a few bright pixels, and never
    with pytest.warns(PFVWarning, match=r"silent on noise.*start="):
        result = pw.reconstruct(model, unit=1, **SMALL)
    assert float(result.scores) == 0
    assert not pw.reconstruct(model, unit=0, **SMALL).warnings
    bright = np.full((32, 32, 3), 250, np.uint8)
    from_photo = pw.reconstruct(model, unit=0, start=bright, **{**SMALL, "steps": 1})
    assert from_photo.pixels.mean() > 200


def test_a_picture_can_start_from_a_photo() -> None:
    photo = blobs(1)
    for parametrisation in ("fourier", "pixels"):
        result = pw.reconstruct(
            tiny(), unit=1, size=32, start=photo, parametrisation=parametrisation,
            cancelled=lambda: True,
        )  # fmt: skip
        assert np.abs(result.pixels.astype(int) - photo.pixels).max() <= 1
    with pytest.raises(PFVValueError, match=r"start: 2 photos\. Give one for all, or 3"):
        pw.reconstruct(tiny(), unit=(1, 2, 3), size=32, start=blobs(2))
    with pytest.raises(PFVValueError, match=r"start: 2 photos\. Give one for all\.$"):
        pw.reconstruct(tiny(), unit=1, size=32, start=blobs(2))


def test_pictures_are_normalised_as_the_photos_were() -> None:
    photos = blobs(2).pixels
    half = lambda image: (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - 0.5) / 0.25  # noqa: E731
    batch = pw.load_images(list(photos), transform=half)
    result = pw.reconstruct(tiny(), batch, layer="2", steps=2)
    assert (result.images.mean, result.images.std) == ((0.5,) * 3, (0.25,) * 3)
    shown = torch.from_numpy(result.pixels).permute(0, 3, 1, 2) / 255
    assert float((result.tensor * 0.25 + 0.5 - shown).abs().max()) < 0.01
    usual = pw.reconstruct(tiny(), unit=1, size=32, steps=1)
    mean, deviation = (
        torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    shown = torch.from_numpy(usual.pixels).permute(0, 3, 1, 2) / 255
    assert float((usual.tensor * deviation + mean - shown).abs().max()) < 0.01


def test_tokens_half_precision_and_further_inputs_work() -> None:
    result = pw.reconstruct(Tokens().eval(), layer="norm", unit=2, size=32, steps=3)
    assert result.names == ("channel 2 of norm",)
    half = pw.reconstruct(tiny().to(torch.bfloat16), unit=1, size=32, steps=3)
    assert half.tensor.dtype == torch.float32
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    two = pw.reconstruct(
        Two().eval(), unit=1, size=16, steps=20, inputs={"mask": mask}, argument="photo",
        parametrisation="pixels", p_norm=0, total_variation=0, jitter=0, scale=0, rotation=0,
    )  # fmt: skip
    grey = pw.reconstruct(
        Two().eval(), unit=1, size=16, inputs={"mask": mask}, argument="photo",
        parametrisation="pixels", cancelled=lambda: True,
    )  # fmt: skip
    moved = np.abs(two.pixels.astype(int) - grey.pixels).sum((0, 1, 3))
    assert moved[:8].sum() > 100 * max(moved[9:].sum(), 1)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, PFVTypeError, r"target=None: there is nothing to reconstruct. Give unit="),
        ({"target": 13}, PFVTypeError, r"target=13: a number alone is no target. Give unit="),
        ({"target": "blobs", "unit": 3}, PFVTypeError, r"unit=3 with target="),
        ({"target": "blobs", "component": 0}, PFVTypeError, r"component=0 .* Frame"),
        ({"unit": 5}, PFVValueError, r"unit=5: the output has 5 units. Choose one from 0 to 4"),
        ({"unit": 8, "layer": "2"}, PFVValueError, r"unit=8: layer '2' has 8 units"),
        ({"unit": -1}, PFVValueError, r"unit=-1: expected a whole number from 0"),
        ({"unit": ()}, PFVValueError, r"unit=\(\)"),
        ({"unit": 1.5}, PFVTypeError, r"unit=1.5"),
        ({"unit": True}, PFVTypeError, r"unit=True"),
        ({"unit": 1, "layer": "22"}, PFVValueError, r"layer='22' is not in this network"),
        ({"unit": 1, "layer": 2}, PFVTypeError, r"layer=2: expected a layer's name"),
        ({"unit": 1, "output": "logits"}, PFVValueError, r"output='logits'"),
        ({"unit": 1, "size": 4}, PFVValueError, r"size=4: expected .*from 8 to 4096"),
        ({"unit": 1, "size": "big"}, PFVTypeError, r"size='big'"),
        ({"unit": 1, "steps": 0}, PFVValueError, r"steps=0"),
        ({"unit": 1, "step": 3}, PFVTypeError, r"step=3: .* no such option. Did you mean 'steps'"),
        ({"unit": 1, "parametrisation": "wavelets"}, PFVValueError, r"'fourier', 'pixels'"),
        ({"unit": 1, "options": {"steps": 3}}, PFVTypeError, r"options=.*expected a Reconstruct"),
        ({"unit": 1, "preview": 3}, PFVTypeError, r"preview=3: expected a function"),
        ({"unit": 1, "start": {}}, PFVTypeError, r"start=\{\}: source of type dict"),
        ({"target": "none.png", "layer": "2"}, PFVValueError, r"target='none.png': .*exist"),
        ({"unit": 1, "start": "blobs"}, PFVValueError, r"start: its photos have \(24, 24\)"),
        ({"unit": 1, "transform": 3}, PFVTypeError, r"transform=3: expected .*callable"),
        ({"unit": 1, "every": -1}, PFVValueError, r"every=-1"),
        ({"unit": 1, "device": "abacus"}, PFVValueError, r"device='abacus'"),
        ({"target": "blobs", "size": 64}, PFVValueError, r"size=64: the photos have \(32, 32\)"),
        ({"target": torch.zeros(8, 5, 5), "layer": "2"}, PFVValueError,
         r"activations of shape \(8, 5, 5\), but layer '2' gives \(8, 32, 32\)"),
        ({"target": torch.zeros(8, 32, 32), "layer": "2"}, PFVValueError, r"zero everywhere"),
        ({"target": torch.full((8, 32, 32), torch.nan), "layer": "2"}, PFVValueError, r"NaN"),
        ({"target": torch.zeros(3, dtype=torch.long)}, PFVTypeError, r"torch.int64"),
        ({"target": torch.zeros(())}, PFVValueError, r"shape \(\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_a_named_error(
    arguments: dict[str, Any], error: type[PFVError], match: str
) -> None:
    options = {"size": 32} | arguments
    if options.get("target") == "blobs":
        options["target"] = blobs(1)
    if options.get("start") == "blobs":
        options["start"] = blobs(1, 24).tensor
    with pytest.raises(error, match=match):
        pw.reconstruct(tiny(), **options)


def test_components_that_are_not_there_are_named() -> None:
    model = tiny()
    frame = pw.PFV(model, blobs(3)).render(layer="5", components=2)
    with pytest.raises(PFVValueError, match=r"component=2: this basis has 2"):
        pw.reconstruct(model, frame, component=2)
    for sign in (-1, "less"):
        with pytest.raises(PFVTypeError, match=f"sign={sign!r} without a component"):
            pw.reconstruct(model, unit=1, sign=sign)
    with pytest.raises(PFVValueError, match="1000 names, and the network's output"):
        pw.reconstruct(model, unit="tench", classes="imagenet", **SMALL)
    with pytest.raises(PFVValueError, match=r"sign=0: choose 1"):
        pw.reconstruct(model, frame, component=0, sign=0)
    for source, kind in ((frame, "frame"), (frame.basis, "basis")):
        with pytest.raises(PFVValueError, match=rf"layer='2': this {kind} is of layer '5'"):
            pw.reconstruct(model, source, component=0, layer="2")
    result = pw.reconstruct(model, frame, component=0, layer="5", **{**SMALL, "steps": 1})
    assert result.layer == "5"


@pytest.mark.filterwarnings("ignore:torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_without_a_gradient_are_named_errors() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(tiny(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(PFVValueError, match=r"no gradient reaches the images \(.*quantised one"):
        pw.reconstruct(quantised, unit=1, size=32)
    with pytest.raises(PFVTypeError, match="traced or scripted"):
        pw.reconstruct(torch.jit.script(tiny()), unit=1, size=32)
    with torch.inference_mode():
        born = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    with pytest.raises(PFVValueError, match="inference_mode"):
        pw.reconstruct(born, unit=1, size=32)


@pytest.mark.parametrize("suffix", ["png", "npz"])
def test_reconstruction_is_saved_and_is_a_batch(suffix: str, tmp_path: Path) -> None:
    images = dataclasses.replace(blobs(3, 24, 40), names=("a$b$", "x\n\x07y", "日本" * 40))
    result = pw.reconstruct(tiny(), images, layer="2", steps=2, runs=2)
    path = tmp_path / f"made.{suffix}"
    result.save(path)
    if suffix == "npz":
        assert np.array_equal(np.load(path)["pixels"], result.pixels)
    else:
        assert len(np.unique(np.asarray(Image.open(path).convert("L")))) > 50
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert isinstance(result.images, pw.ImageBatch)
    assert result.images.names[1] == "a$b$, run 2"
    assert len(pw.PFV(tiny(), result.images).render(layer="5").heatmaps) == 6
    figure = result.figure(columns=4)
    tiles = [axis.images[0].get_array() for axis in figure.axes[:6]]
    assert np.array_equal(tiles[1][:, :40], images.pixels[0])
    assert np.array_equal(tiles[1][:, 40:], result.pixels[1])
    lines = [line for axis in figure.axes for line in axis.get_xlabel().splitlines()]
    assert "a$b$, run 2" in lines
    assert f"distance {float(result.scores[1]):.4g}" in lines
    for columns in (0, 1.5):
        with pytest.raises(PFVError, match="columns="):
            result.figure(columns=columns)  # type: ignore[arg-type]
