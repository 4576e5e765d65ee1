"""What all tests share: options, reasons for skipping, seeded randomness, the real photos."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib: no test opens a window

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Browser tests come last: the quick ones fail first, and Playwright's event loop,
    which stays in this thread while a browser is open, is in nobody's way.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="takes minutes: run with --slow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not has_gpu():
        pytest.skip("needs a CUDA or MPS device; this machine has none")
    if item.get_closest_marker("assets"):
        assets_or_skip()


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


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
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20200823)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same state of torch's generator."""
    import torch

    torch.manual_seed(20200823)
