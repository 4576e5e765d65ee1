"""A basis over a data set: exact, in constant memory, resumed after a kill, refused where wrong."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.network.fingerprint import network_fingerprint
from pfv_widgets.engine.pca import array_file
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.streamed_moments import StreamedMoments
from pfv_widgets.engine.pipeline import file_lock
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.fit_checkpoint import FitCheckpoint
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
from tests.networks import blobs, seeded, tiny

LAYER = "6"


def one_shot(network: nn.Sequential, images: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Mean and leading eigenvalues of the covariance, float64, all vectors at once."""
    with torch.no_grad():
        maps = network[:7](images).double()
    vectors = maps.permute(0, 2, 3, 1).flatten(0, 2)
    values = torch.linalg.eigvalsh(torch.cov(vectors.T, correction=0))
    return vectors.mean(dim=0), values.flip(0)[:number]


@pytest.mark.parametrize("split", [[20], [7, 13], [1] * 20, [3, 1, 9, 7]])
def test_any_split_and_order_gives_the_result_of_all_at_once(split: list[int]) -> None:
    network, images = tiny(), blobs(20, 48).tensor
    order = torch.randperm(20, generator=seeded(len(split)))
    batches = images[order].split(split)
    basis = fit_basis(network, batches, LAYER, components=5, device="cpu", progress=False)
    mean, values = one_shot(network, images, 5)
    np.testing.assert_allclose(basis.variances, values, rtol=1e-6)
    np.testing.assert_allclose(basis.mean, mean, rtol=1e-6, atol=1e-7)
    assert basis.count == 20 * 24 * 24
    assert basis.data is not None
    assert basis.data.images == 20
    assert basis.data.network == network_fingerprint(network)


def test_network_in_bfloat16_has_a_basis() -> None:
    images = blobs(6).tensor
    wanted = fit_basis(tiny(), [images], LAYER, device="cpu", progress=False)
    basis = fit_basis(tiny().bfloat16(), [images], LAYER, device="cpu", progress=False)
    torch.testing.assert_close(basis.variances, wanted.variances, rtol=0.05, atol=0)


def test_mean_far_from_zero_loses_no_digits() -> None:
    maps = 1000 + torch.randn(12, 300, 4, 4, generator=seeded())  # the scatter is made in parts
    parts = StreamedMoments.like(maps)
    for part in maps.split(5):
        parts.add(part)
    vectors = maps.double().permute(0, 2, 3, 1).flatten(0, 2)
    expected = torch.cov(vectors.T, correction=0)
    actual = parts.pooled().scatter[0] / parts.count
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    half, other = StreamedMoments.like(maps[:5] * 1e9), StreamedMoments.like(maps)
    half.add(maps[:5])
    other.add(maps[5:])
    half.add_moments(StreamedMoments.of_arrays(other.arrays(), maps.device))  # of another scale
    actual = half.pooled().scatter[0] * half.scale**2 / half.count
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def test_several_layers_in_one_pass_are_those_of_a_pass_each() -> None:
    network, images = tiny(), blobs(9).tensor
    loader = DataLoader(TensorDataset(images, torch.arange(9) % 3), batch_size=4)
    together = fit_basis(network, loader, ["2", LAYER], device="cpu", progress=False)
    assert list(together) == ["2", LAYER]
    for name, basis in together.items():
        alone = fit_basis(network, loader, name, device="cpu", progress=False)
        assert torch.equal(alone.components, basis.components)


def test_class_statistics_are_the_mean_scores_of_each_class() -> None:
    network, images = tiny(), blobs(10).tensor
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2, 0])
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    basis = fit_basis(network, loader, LAYER, device="cpu", progress=False)
    assert basis.data is not None
    assert basis.data.classes == ("0", "1", "2")
    assert basis.data.class_counts.tolist() == [3, 3, 4]
    with torch.no_grad():
        scores = basis.project(network[:7](images)).mean(dim=(2, 3))
    for index in range(3):
        expected = scores[labels == index].mean(dim=0).double()
        torch.testing.assert_close(basis.data.class_means[index], expected, rtol=1e-4, atol=1e-5)


def test_folder_is_streamed_and_unreadable_photos_are_named_and_counted(folder: Path) -> None:
    with pytest.warns(PFVWarning, match=r"2 of 13 images left out: 4\.png: .*; 7\.png: .*empty"):
        basis = fit_basis(tiny(), folder, size=32, batch_size=3, device="cpu", progress=False)
    data = basis.data
    assert data is not None
    assert (data.images, data.skipped, data.classes) == (13, 2, ("cats", "dogs"))
    assert data.class_counts.tolist() == [6, 5]
    assert [round(one, 3) for one in data.mean] == [0.485, 0.456, 0.406]


def test_colours_refer_to_photos_as_shown_whatever_they_are_normalised_by(folder: Path) -> None:
    half = transforms.Normalize((0.5,) * 3, (0.5,) * 3)
    steps = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor(), half])
    options = {"device": "cpu", "progress": False}
    with pytest.warns(PFVWarning, match="left out"):
        basis = fit_basis(tiny(), folder, transform=steps, **options)
    with pytest.warns(PFVWarning, match="left out"):
        batch = load_images(folder, transform=steps)
    # all of these photos are the sample that the colours are scaled by
    for one in (basis, fit_basis(tiny(), batch, **options)):
        assert one.data is not None
        assert tuple(one.data.mean) == (0.5,) * 3
        of_batch = replace(one, data=replace(one.data, spreads={}))
        shown, expected = (
            PFV(tiny(), batch, "cpu", basis=each).render(weighting="gradual").heatmaps
            for each in (one, of_batch)
        )
        torch.testing.assert_close(shown, expected, rtol=0, atol=2e-3)


def test_images_that_are_not_finite_are_left_out_and_named() -> None:
    images = blobs(6).tensor
    spoilt = images.clone()
    spoilt[2] = float("nan")
    with pytest.warns(PFVWarning, match=f"1 of 6 images left out: image 3: NaN .* at {LAYER}"):
        basis = fit_basis(tiny(), spoilt.split(4), LAYER, device="cpu", progress=False)
    good = images[[0, 1, 3, 4, 5]]
    expected = fit_basis(tiny(), [good], LAYER, device="cpu", progress=False)
    np.testing.assert_allclose(basis.variances, expected.variances, rtol=1e-6)
    with pytest.raises(PFVValueError, match=r"layer '6' is NaN or infinite in every image"):
        fit_basis(tiny(), [spoilt[2:3]], LAYER, device="cpu", progress=False)


def test_few_vectors_allow_few_components() -> None:
    one = blobs(1, 8).tensor  # 4 × 4 positions at this layer
    basis = fit_basis(tiny(channels=40), [one], LAYER, components=15, device="cpu", progress=False)
    assert len(basis.components) == 15
    with pytest.raises(PFVValueError, match=r"components=16: .* allow 1 to 15"):
        fit_basis(tiny(channels=40), [one], LAYER, components=16, device="cpu", progress=False)


def test_too_many_components_are_named_before_all_data_is_read() -> None:
    read: list[int] = []
    batches = (read.append(index) or blobs(2, seed=index).tensor for index in range(9))
    with pytest.raises(PFVValueError, match=r"components=9: layer '6' .* allow 1 to 8"):
        fit_basis(tiny(), batches, LAYER, components=9, device="cpu", progress=False)
    assert len(read) < 9


def test_without_a_number_there_are_twelve_components_or_as_many_as_the_layer_has() -> None:
    for channels, expected in ((8, 8), (40, 12)):
        basis = fit_basis(
            tiny(channels=channels), [blobs(3).tensor], LAYER,
            components=None, device="cpu", progress=False,
        )  # fmt: skip
        assert len(basis.components) == expected


@pytest.mark.parametrize("data", [[], iter(())])
def test_no_data_is_an_error(data: object) -> None:
    with pytest.raises(PFVValueError, match="data gave no batch"):
        fit_basis(tiny(), data, progress=False)


def batches(images: Tensor, size: int = 4, fail_at: int | None = None) -> Iterator[Tensor]:
    for index, batch in enumerate(images.split(size)):
        if index == fail_at:
            raise RuntimeError("the power is gone")
        yield batch


def same(one: PrincipalBasis, other: PrincipalBasis) -> None:
    for name in ("mean", "components", "variances"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert one.data is not None
    assert other.data is not None
    assert one.data.arrays().keys() == other.data.arrays().keys()
    for name, values in one.data.arrays().items():
        np.testing.assert_array_equal(values, other.data.arrays()[name])


@pytest.mark.parametrize("fail_at", [1, 3, 4])
def test_fit_goes_on_from_its_checkpoint_to_the_same_result(fail_at: int, tmp_path: Path) -> None:
    network, images = tiny(), blobs(18).tensor
    options = {"device": "cpu", "progress": False, "layer": [LAYER, "2"]}
    whole = fit_basis(network, batches(images), **options)
    file = tmp_path / "fit.npz"
    keep = {"checkpoint": file, "every": 0.0} | options
    with pytest.raises(RuntimeError, match="power"):
        fit_basis(network, batches(images, fail_at=fail_at), **keep)
    assert list(tmp_path.iterdir()) == [file]  # the lock has gone with the run
    resumed = fit_basis(network, batches(images), resume=True, **keep)
    for name in whole:
        same(resumed[name], whole[name])
    assert list(tmp_path.iterdir()) == []  # nothing is left over


@pytest.mark.parametrize("change", ["network", "data", "order", "layer", "size"])
def test_checkpoint_of_something_else_is_refused(change: str, tmp_path: Path, folder: Path) -> None:
    images, file = blobs(12).tensor, tmp_path / "fit.npz"
    options = {"device": "cpu", "progress": False, "checkpoint": file, "every": 0.0}
    with pytest.raises(RuntimeError):
        fit_basis(tiny(), batches(images, fail_at=2), LAYER, **options)
    network, layer, data = tiny(), LAYER, batches(images)
    if change == "network":
        network, words = tiny(seed=1), "the checkpoint is of another network"
    elif change == "data":
        data, words = batches(images[:7]), "its first 8 images are not those"
    elif change == "order":
        data, words = batches(images.flip(0)), "its first 8 images are not those"
    elif change == "layer":
        layer, words = "2", r"the checkpoint is of \['6'\]"
    else:
        data, words = folder, "the checkpoint is of other photos"
    with pytest.raises(PFVValueError, match=words):
        fit_basis(network, data, layer, resume=True, **options)
    assert file.exists()


def test_checkpoint_that_is_damaged_or_foreign_is_refused_by_its_name(tmp_path: Path) -> None:
    images, file = blobs(12).tensor, tmp_path / "fit.npz"
    options = {"device": "cpu", "progress": False, "checkpoint": file, "every": 0.0}
    with pytest.raises(RuntimeError):
        fit_basis(tiny(), batches(images, fail_at=2), LAYER, **options)
    good = file.read_bytes()
    basis = fit_basis(tiny(), [images], LAYER, device="cpu", progress=False)
    basis.save(tmp_path / "basis.npz")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    contents = {
        "cut": good[: len(good) // 2],
        "flipped": bytes(flipped),
        "empty": b"",
        "page": b"<html>",
        "basis": (tmp_path / "basis.npz").read_bytes(),
    }
    for content in contents.values():
        file.write_bytes(content)
        with pytest.raises(PFVValueError, match=r"checkpoint='.*fit\.npz' cannot be resumed"):
            fit_basis(tiny(), batches(images), LAYER, resume=True, **options)
    file.write_bytes(good)
    with pytest.raises(PFVValueError, match="it is the checkpoint of a fit"):
        PrincipalBasis.load(file)


def test_few_vectors_are_a_warning_and_a_constant_layer_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 1), nn.ReLU()).eval()
    options = {"device": "cpu", "progress": False}
    with pytest.warns(PFVWarning, match="layer '0' gave 16 vectors of 40 channels"):
        fit_basis(network, [blobs(1, 4).tensor], "0", **options)
    with pytest.raises(PFVValueError, match="layer '0' has the same activations at every pos"):
        fit_basis(network, [torch.zeros(2, 3, 8, 8)], "0", **options)


def test_full_disk_leaves_the_last_checkpoint_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, file = blobs(16).tensor, tmp_path / "fit.npz"
    options = {"device": "cpu", "progress": False, "checkpoint": file, "every": 0.0}
    written, save = itertools.count(), np.savez

    def full_from_the_second(target: object, **arrays: object) -> None:
        if next(written) >= 1:
            target.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(target, **arrays)

    monkeypatch.setattr(array_file.np, "savez", full_from_the_second)
    with (
        pytest.warns(PFVWarning, match=r"fit\.npz' could not be written \(No space left") as record,
        pytest.raises(RuntimeError),
    ):
        fit_basis(tiny(), batches(images, fail_at=3), LAYER, **options)
    assert next(written) == 3  # two writes failed
    assert len(record) == 1
    monkeypatch.undo()
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []
    resumed = fit_basis(tiny(), batches(images), LAYER, resume=True, **options)
    same(resumed, fit_basis(tiny(), batches(images), LAYER, device="cpu", progress=False))


KILLED = textwrap.dedent("""
    import sys, time
    import torch
    from pfv_widgets.engine.pipeline.fit_basis import fit_basis
    from tests.networks import blobs, tiny
    def slow():
        for index, batch in enumerate(blobs(18).tensor.split(4)):
            if index == 3:
                print("ready", flush=True)
                time.sleep(60)
            yield batch
    torch.set_num_threads(1)
    fit_basis(tiny(), slow(), "6", device="cpu", progress=False, checkpoint=sys.argv[1], every=0.0)
""")


@pytest.mark.all
def test_killed_run_is_resumed_and_a_second_run_on_its_checkpoint_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "fit.npz"
    options = {"device": "cpu", "progress": False, "checkpoint": file, "every": 0.0}
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        with pytest.raises(PFVValueError, match=r"fit\.npz' is in use by another run"):
            fit_basis(tiny(), batches(blobs(18).tensor), LAYER, resume=True, **options)
    finally:
        run.kill()
        run.wait(30)
    resumed = fit_basis(tiny(), batches(blobs(18).tensor), LAYER, resume=True, **options)
    whole = fit_basis(tiny(), batches(blobs(18).tensor), LAYER, device="cpu", progress=False)
    torch.testing.assert_close(resumed.components, whole.components)


def test_run_that_begins_as_another_ends_holds_the_file_that_a_third_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, locked = tmp_path / "fit.npz", []
    lock = file_lock.lock

    def lock_late(opened: IO[bytes]) -> None:
        if not locked:  # between opening and locking, the run before deletes its lock file
            (tmp_path / ".fit.npz.lock").unlink()
        locked.append(opened)
        lock(opened)

    monkeypatch.setattr(file_lock, "lock", lock_late)
    with FitCheckpoint(file, 60).locked():
        assert len(locked) == 2
        with pytest.raises(PFVValueError, match="in use"), FitCheckpoint(file, 60).locked():
            pass
    assert list(tmp_path.iterdir()) == []


def test_half_of_a_batch_is_tried_where_memory_runs_out() -> None:
    class Small(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    network, images = tiny(), blobs(11).tensor
    small = Small(*network).eval()
    actual = fit_basis(small, [images], LAYER, device="cpu", progress=False)
    expected = fit_basis(network, [images], LAYER, device="cpu", progress=False)
    torch.testing.assert_close(actual.variances, expected.variances)


def test_basis_file_keeps_everything_and_refuses_a_changed_number(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(blobs(8).tensor, torch.arange(8) % 2), batch_size=4)
    basis = fit_basis(tiny(), loader, LAYER, device="cpu", progress=False)
    basis.save(tmp_path / "basis.npz")
    same(PrincipalBasis.load(tmp_path / "basis.npz"), basis)
    with np.load(tmp_path / "basis.npz") as file:
        arrays = dict(file)
    changes = {
        "digest": {"variances": arrays["variances"] * (1 - 1e-9)},
        "version 2": {"version": np.array(2.0)},
        "does not fit": {"class_means": arrays["class_means"][:1]},
    }
    for words, change in changes.items():
        changed = arrays | change
        if words == "does not fit":
            changed["digest"] = np.array(
                array_file.digest_of({k: v for k, v in changed.items() if k != "digest"})
            )
        np.savez(tmp_path / "bad.npz", **changed)
        with pytest.raises(PFVValueError, match=rf"bad\.npz' holds no basis: .*{words}"):
            PrincipalBasis.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"every": -1, "checkpoint": "x"}, {"layer": []}, {"resume": True},
     {"checkpoint": 3}, {"size": "big"}, {"checkpoint": "no/such/folder/fit.npz"},
     {"checkpoint": "."}, {"components": "3"}, {"components": 0}, {"layer": 3},
     {"progress": "yes"}, {"layer": ["6", "6"]}],
)  # fmt: skip
def test_wrong_argument_is_named_before_the_data_are_read(
    wrong: dict[str, object], folder: Path
) -> None:
    data = folder if "size" in wrong else iter(())  # tensors have a size already
    with pytest.raises(PFVError, match=rf"^{next(iter(wrong))}="):
        fit_basis(tiny(), data, **({"progress": False} | wrong))
    with pytest.raises(PFVTypeError, match="data=None"):
        fit_basis(tiny(), None)
