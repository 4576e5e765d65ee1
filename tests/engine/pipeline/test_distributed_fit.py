"""Several processes fit one basis: every photo once, a dead process ends all, resume by others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pfv_widgets.cli import main
from pfv_widgets.engine.data.photo_stream import PhotoStream
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.distributed import ProcessGroup
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.fit_state import DataSetFit
from pfv_widgets.errors import PFVError, PFVValueError
from tests.networks import blobs, tiny


def photos(folder: Path, number: int) -> Path:
    rng = np.random.default_rng(1)
    folder.mkdir()
    for index in range(number):
        coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((60, 50)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("number", [1, 2, 7, 16, 23])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [0, 5])
def test_every_photo_is_in_the_share_of_one_process(
    number: int, ranks: int, start: int, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "photos", number)
    names, steps, done = [], set(), set()
    for rank in range(ranks):
        share = list(PhotoStream(folder, 16, None, 3).batches(start, rank, ranks))
        names += [name for batch in share for name in batch.names]
        steps.add(len(share))
        done.add(tuple(batch.done for batch in share))
    assert sorted(names) == sorted(f"{index}.png" for index in range(start, number))
    assert len(steps) == len(done) == 1  # all meet at the same steps


def torchrun(ranks: int, *arguments: str) -> list[str]:
    port = str(20_000 + os.getpid() % 20_000)
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks),
        "--master-port", port, "-m", "pfv_widgets", "fit", *arguments, "--size", "48",
        "--device", "cpu", "--batch-size", "2", "--components", "4",
    ]  # fmt: skip


@pytest.mark.all
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 11)
    (folder / "broken.png").write_bytes(b"no picture")
    alone = ["fit", str(folder), "--out", str(tmp_path / "one.npz"), "--size", "48"]
    assert main([*alone, "--device", "cpu", "--components", "4", "--quiet"]) == 0
    run = subprocess.run(
        torchrun(2, str(folder), "--out", str(tmp_path / "two.npz")),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("11 of 12 photos") == 1  # one process speaks
    one, two = (PrincipalBasis.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    np.testing.assert_allclose(two.variances, one.variances, rtol=1e-5)
    torch.testing.assert_close(two.components.abs(), one.components.abs(), rtol=0, atol=1e-3)
    assert one.count == two.count
    assert one.data is not None
    assert two.data is not None
    for weighting, spread in one.data.spreads.items():
        torch.testing.assert_close(two.data.spreads[weighting], spread, rtol=1e-3, atol=1e-3)


@pytest.mark.all
def test_killed_process_ends_the_run_and_another_number_goes_on(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 400)
    out, checkpoint = tmp_path / "two.npz", tmp_path / "two.checkpoint.npz"
    common = [str(folder), "--out", str(out)]
    run = subprocess.Popen(
        torchrun(2, *common, "--every", "0"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 200
    while not checkpoint.exists():
        assert run.poll() is None, run.stderr and run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    run.communicate(timeout=120)
    assert run.returncode != 0
    assert not out.exists()
    options = ["--size", "48", "--device", "cpu", "--components", "4", "--quiet"]
    assert main(["fit", *common, *options, "--resume"]) == 0
    basis = PrincipalBasis.load(out)
    assert main(["fit", str(folder), *options, "--out", str(tmp_path / "one.npz")]) == 0
    whole = PrincipalBasis.load(tmp_path / "one.npz")
    assert basis.count == whole.count  # every photo once, before and after
    np.testing.assert_allclose(basis.variances, whole.variances, rtol=1e-5)


FAILING = """
import os, sys
import torch
import pfv_widgets as pw

class Failing(torch.nn.Sequential):
    def forward(self, images):
        if os.environ["RANK"] == "1":
            raise RuntimeError("a sensor is broken")
        return super().forward(images)

torch.manual_seed(0)
network = Failing(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU()).eval()
pw.fit_basis(
    network, sys.argv[1], size=48, batch_size=2, device="cpu", progress=False, distributed=True
)
"""


@pytest.mark.all
def test_process_whose_network_fails_is_named_and_the_others_end(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 40)
    port = str(20_000 + (os.getpid() + 1) % 20_000)
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    runs = [  # not by torchrun, which would kill the others
        subprocess.Popen(
            [sys.executable, "-c", FAILING, str(folder)], env=common | {"RANK": str(rank)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert all(run.returncode for run in runs)
    assert "A process of this fit has ended" in errors[0]
    assert "process 1 of 2 (counted from 0): images: the model failed" in errors[1]
    assert "a sensor is broken" in errors[1]


def test_processes_that_differ_or_get_fewer_batches_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, board, meeting = threading.local(), {}, threading.Barrier(2)

    def all_gather(parts: list[Tensor], own: Tensor) -> None:
        board[here.rank] = own
        meeting.wait(60)
        for rank, part in enumerate(parts):
            part.copy_(board[rank])
        meeting.wait(60)

    def error_of(rank: int, work: Callable[[ProcessGroup], object]) -> str:
        here.rank = rank
        with pytest.raises(PFVError) as raised:
            work(ProcessGroup(torch.device("cpu")))
        return str(raised.value)

    known = {"get_rank": lambda: here.rank, "get_world_size": lambda: 2, "get_backend": str}
    for name, function in {**known, "all_gather": all_gather}.items():
        monkeypatch.setattr(torch.distributed, name, function)
    with ThreadPoolExecutor(2) as pool:
        values = [{"data": "a", "batch_size": size} for size in ("8", "16")]
        unlike = [lambda ranks, one=one: ranks.check_same(one) for one in values]
        for error in pool.map(error_of, (0, 1), unlike):
            assert error.startswith("batch_size: process 1 was given")
            assert "batch_size 16 instead of 8" in error
        apart = (
            lambda ranks: ranks.of_first("due"),
            lambda ranks: ranks.merged(DataSetFit({}, "", "")),
        )
        for error in pool.map(error_of, (0, 1), apart):
            assert "one of them got fewer batches" in error


def test_folders_with_files_of_equal_names_and_sizes_are_told_apart(tmp_path: Path) -> None:
    signatures = []
    for name, value in (("one", 0), ("other", 200), ("again", 0)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(3):
            Image.new("L", (8, 8), value + number).save(folder / f"{number}.bmp")
        signatures.append(PhotoStream(folder, 16, None, 3).signature)
    assert signatures[0] != signatures[1]
    assert signatures[0] == signatures[2]
    same = [lambda image: image for _ in range(2)]  # as two processes have it: at two addresses
    own = {PhotoStream(folder, 16, one, 3).signature for one in same}
    assert len(own) == 1
    assert not own & set(signatures)


def test_processes_that_torchrun_did_not_start_are_told_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(PFVValueError, match=r"distributed=True, but the environment has no RANK"):
        fit_basis(tiny(), [blobs(2).tensor], device="cpu", progress=False, distributed=True)
