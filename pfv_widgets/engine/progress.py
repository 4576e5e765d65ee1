"""How work that takes long reports its progress, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_PERIOD = 0.1  # seconds

RUNNING, MOMENTS, FITTING, COLOURING = (
    "Running the network", "Collecting moments", "Fitting components", "Colouring",
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """What is being done and how far it is.

    Attributes
    ----------
    stage
        In words that a person reads, such as ``"Running the network"``.
    done, total
        How much of it is finished, of how much.
    unit
        What is counted, in the plural.
    """

    stage: str
    done: int
    total: int
    unit: str = "images"

    def __str__(self) -> str:
        return f"{self.stage}: {self.done} of {self.total} {self.unit}"


OnProgress = Callable[[Progress], None]


class Cancelled(Exception):  # noqa: N818 - no error: somebody cancelled
    """Raised by an ``on_progress`` callback to stop the work; what is cached stays valid."""


def silent(_: Progress) -> None:
    """Report nothing."""


def images_run(progress: Callable[[int, int], None] | None) -> OnProgress | None:
    """Return a listener that calls ``progress(done, all)`` when more images have run, or None."""
    if progress is None:
        return None
    reported = 0

    def report(one: Progress) -> None:
        nonlocal reported
        if one.stage == RUNNING and one.done > reported:
            reported = one.done
            progress(one.done, one.total)

    return report


def run_reporting(work: Callable[[], T], progress: Progress, report: OnProgress) -> T:
    """Return ``work()``, which cannot report by itself, and report ten times a second meanwhile.

    Where the report raises, the work runs to its end in the background; its result is lost.
    """
    if report is silent:
        return work()
    pool = ThreadPoolExecutor(1)
    try:
        future = pool.submit(work)
        while not wait([future], _PERIOD).done:
            report(progress)
        return future.result()
    finally:
        pool.shutdown(wait=False)
