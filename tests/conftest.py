"""What all tests share: options, reasons for skipping, seeded randomness, the real photos."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib: no test opens a window
# before anything imports numpy or torch: idle threads of many cores count as work
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


LIMIT = 5.0  # seconds of processor time that a test may take without a marker
NOISE = 1.6  # how much another processor or a neighbour may add to that: it shall not decide
LOOP = 0.06  # seconds of the loop of `slowness` on the machine that the limit is meant for
LONG = ("browser", "all", "slow")
FOLDERS = pytest.StashKey[dict[Path, pytest.Dir]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run the tests marked `all`")
    parser.addoption("--rest", action="store_true", help="run only what --all adds")
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


@pytest.hookimpl(optionalhook=True)  # only where pytest-xdist is there
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    from tests.xdist_scheduling import FilesTogether

    return FilesTogether(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files unread in which `--rest` finds nothing: to collect all takes half a minute."""
    is_file = config.getoption("--rest") and collection_path.suffix == ".py"
    if not is_file or "browser" in collection_path.parts:  # there the mark has many ways to come
        return None
    return "pytest.mark.all" not in collection_path.read_text("utf-8") or None


class ReversedFolder(pytest.Dir):
    """A folder that is read from its end."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        return [*super().collect()][::-1]


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Dir:
    """Let every second worker begin with the last file, and read each folder once.

    Each worker rewrites the assertions of files that it is the first to read, which costs ten
    seconds of processor time in a fresh clone, and writes them down: so they share that work.

    A file among the arguments lets pytest read its folder anew, and the folders in it; from 9.1
    fixtures of a conftest belong to the first of these.
    """
    folders = parent.config.stash.setdefault(FOLDERS, {})
    if path not in folders:
        worker = getattr(parent.config, "workerinput", {}).get("workerid", "gw0")
        is_odd = int(worker.removeprefix("gw")) % 2 == 1
        kind = ReversedFolder if is_odd else pytest.Dir
        folders[path] = kind.from_parent(parent, path=path)
    return folders[path]


@pytest.hookimpl(trylast=True)  # the browser's own conftest marks its tests before
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose what runs, and in which order.

    In one process browser tests come last: the quick ones fail first. Several workers begin with
    them, since they take longest. Playwright's event loop is closed in between: see there.
    """
    rest, everything = config.getoption("--rest"), config.getoption("--all")
    unwanted = {item for item in items if not is_wanted(item, everything=everything, rest=rest)}
    if unwanted:
        config.hook.pytest_deselected(items=[item for item in items if item in unwanted])
        items[:] = [item for item in items if item not in unwanted]
    several_workers = hasattr(config, "workerinput")
    tests_of = Counter(item.path for item in items)
    if several_workers:  # large files first, so that all workers end at about the same time
        items.sort(key=lambda item: file_order(item, tests_of[item.path]))
    items.sort(key=lambda item: is_marked(item, "browser") is not several_workers)
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="takes minutes: run with --slow")
        for item in items:
            if is_marked(item, "slow"):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Hide a GPU, and let the garbage collector never look at what outlives all tests.

    Hardly anything that is made while tests are collected is garbage: to look for it took half of
    the processor time of that.
    """
    gc.disable()
    hide_gpu()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 10, 10)


def file_order(item: pytest.Item, tests: int) -> tuple[int, str]:
    """Place of a test's file; browser tests stay in their own order, in which they share a demo."""
    return (0, "") if is_marked(item, "browser") else (-tests, str(item.path))


def is_marked(item: pytest.Item, *names: str) -> bool:
    return any(item.get_closest_marker(name) for name in names)


def is_wanted(item: pytest.Item, *, everything: bool, rest: bool) -> bool:
    if rest:
        return is_marked(item, "all")
    return everything or not is_marked(item, "all")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that takes too long for all who run the suite, and has no marker that says so.

    Processor time, of this process and of those that it waited for. A busy machine or a slow one
    adds to it, so that a loop is timed beside it.
    """
    begin = processor_time()
    result = yield
    seconds = processor_time() - begin
    most = LIMIT * NOISE
    if seconds > most and not is_marked(item, *LONG) and (seconds := seconds / slowness()) > most:
        pytest.fail(
            f"took {seconds:.1f} s of processor time, of {LIMIT:.0f} s: make it smaller, or mark "
            f"it as one of {', '.join(LONG)}",
            pytrace=False,
        )
    return result


def processor_time() -> float:
    """Of this process alone: a browser that ended long ago may be counted at any later time."""
    return time.process_time()


def slowness() -> float:
    """How much longer than on a free machine processor time is now, at least 1."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        sum(number * number for number in range(1_000_000))
        times.append(time.process_time() - begin)
    return max(1.0, sorted(times)[2] / LOOP)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not has_gpu():
        pytest.skip("needs a CUDA or MPS device; this machine has none")
    if item.get_closest_marker("assets"):
        assets_or_skip()


@cache
def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def hide_gpu() -> None:
    """Let tests run on the processor also where there is a GPU; those that need it take it."""
    if has_gpu():
        import torch

        for kind in (torch.cuda, torch.backends.mps):
            vars(kind)["is_available"] = cache(lambda: False)  # one of them is cached


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The GPU, whose convolutions keep all 24 bits.

    TF32, PyTorch's default there, rounds to 10 bits, each algorithm in its own way.
    """
    import torch

    kind = torch.backends.mps if torch.backends.mps.is_built() else torch.cuda
    monkeypatch.setattr(kind, "is_available", lambda: True)  # see hide_gpu
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return torch.device("mps" if kind is torch.backends.mps else "cuda")


def assets_or_skip() -> Path:
    path = Path(os.environ.get("PFV_ASSETS") or ROOT.parent / "shared" / "assets")
    if not path.is_dir():
        pytest.skip(f"needs the real network and photos; {path} is no folder: set PFV_ASSETS")
    return path


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real data; tests that use it skip where it is absent."""
    return assets_or_skip()


@pytest.fixture
def squeezenet(assets: Path) -> nn.Module:
    """The real network, trained on ImageNet."""
    import torch
    import torchvision

    network = torchvision.models.squeezenet1_0()
    path = assets / "models" / "squeezenet1_0_imagenet.pth"
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    import numpy as np

    return np.random.default_rng(20200823)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same state of torch's generator.

    That of the processor alone: for those of GPUs torch writes down the stack each time.
    """
    import torch

    torch.default_generator.manual_seed(20200823)
