from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
import torch

from pfv_widgets.engine.pipeline.cache import ByteBoundedCache, nbytes, stage


def kilobyte(count: int = 1) -> torch.Tensor:
    return torch.zeros(256 * count)


def test_result_is_made_once_and_kept() -> None:
    cache, calls = ByteBoundedCache(10_000), []
    for _ in range(3):
        kept = cache.get("key", lambda: calls.append(1) or kilobyte())
    assert calls == [1]
    assert cache.get("key", kilobyte) is kept


def test_least_recently_used_results_are_dropped_at_the_bound() -> None:
    cache = ByteBoundedCache(3 * 1024)
    for key in "abc":
        cache.get(key, kilobyte)
    cache.get("a", kilobyte)
    cache.get("d", kilobyte)
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]
    assert cache.nbytes == 3 * 1024


def test_newest_result_stays_where_it_is_larger_than_the_bound() -> None:
    cache = ByteBoundedCache(1024)
    cache.get("small", kilobyte)
    large = cache.get("large", lambda: kilobyte(9))
    assert len(cache) == 1
    assert cache.get("large", kilobyte) is large


def test_failure_is_not_kept() -> None:
    cache = ByteBoundedCache(1024)

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        cache.get("key", fail)
    assert "key" not in cache
    assert cache.get("key", lambda: 3) == 3


def test_clearing_frees_everything() -> None:
    cache = ByteBoundedCache(10_000)
    cache.get("key", kilobyte)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_none_is_a_result_too() -> None:
    cache, calls = ByteBoundedCache(10), []
    for _ in range(2):
        assert cache.get("key", lambda: calls.append(1)) is None
    assert calls == [1]


def test_stage_is_kept_by_its_name_and_arguments() -> None:
    class Works:
        def __init__(self) -> None:
            self.cache, self.lock = ByteBoundedCache(1000), threading.RLock()
            self.calls: list[tuple[str, int, int]] = []

        @stage
        def first(self, x: int, y: int = 0) -> int:
            """Add."""
            self.calls.append(("first", x, y))
            return x + y

        @stage
        def second(self, x: int) -> int:
            self.calls.append(("second", x, 0))
            return self.first(x, y=1)

    works = Works()
    assert [works.first(1), works.first(2), works.first(1), works.second(1)] == [1, 2, 1, 2]
    assert works.second(1) == 2
    assert works.first.__doc__ == "Add."
    assert works.calls == [("first", 1, 0), ("first", 2, 0), ("second", 1, 0), ("first", 1, 1)]


def test_bytes_are_counted_inside_containers_and_dataclasses() -> None:
    @dataclass(frozen=True)
    class Pair:
        left: torch.Tensor
        right: object = "text"

    assert nbytes(kilobyte()) == 1024
    assert nbytes(kilobyte().half()) == 512
    assert nbytes([kilobyte(), (kilobyte(), {"a": Pair(kilobyte())})]) == 3 * 1024
    assert nbytes(Pair(kilobyte(), kilobyte(2))) == 3 * 1024
    assert nbytes(3) == nbytes(None) == 0
