"""How long work says what it is doing and how far it is, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RUNNING, MOMENTS, FITTING, COLOURING = (
    "Running the network", "Collecting moments", "Fitting components", "Colouring",
)  # fmt: skip

Report = Callable[[int, int], None]
"""Called as ``report(done, total)`` by a function that does one kind of work."""


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


class Cancelled(Exception):  # noqa: N818 - nothing failed: somebody asked for it
    """Raised by an ``on_progress`` callback to stop the work; what is cached stays valid."""


def silent(_done: int, _total: int) -> None:
    """Report to nobody."""
