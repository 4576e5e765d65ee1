"""Only the latest wish counts, and nothing stops the thread but closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pfv_widgets.widgets.toolkit.latest_wins import LatestWins


class Slow:
    """Work that goes on only when it is told to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, request: int) -> None:
        self.begun.append(request)
        self.started.release()
        assert self.go.acquire(timeout=10)
        self.done.append(request)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def worker(slow: Slow) -> Iterator[LatestWins[int]]:
    worker = LatestWins(slow)
    yield worker
    worker.close()
    slow.go.release(100)
    assert worker.wait(10)


def test_only_the_newest_of_the_wishes_that_wait_is_worked_on(
    worker: LatestWins[int], slow: Slow
) -> None:
    worker.submit(0)
    assert slow.started.acquire(timeout=10)
    for request in range(1, 300):
        worker.submit(request)
    slow.go.release(2)
    assert worker.wait(10)
    assert slow.done == [0, 299]


def test_submit_returns_while_work_goes_on(worker: LatestWins[int], slow: Slow) -> None:
    worker.submit(1)
    assert slow.started.acquire(timeout=10)
    worker.submit(2)
    assert slow.done == []


def test_wait_tells_whether_all_is_done(worker: LatestWins[int], slow: Slow) -> None:
    assert worker.wait(0)  # nothing was wished
    worker.submit(1)
    assert not worker.wait(0.05)
    slow.go.release()
    assert worker.wait(10)
    assert slow.done == [1]


def test_work_that_waits_for_itself_does_not_hang() -> None:
    answers: list[bool] = []
    worker: LatestWins[int] = LatestWins(lambda _: answers.append(worker.wait()))
    worker.submit(1)
    assert worker.wait(10)
    assert answers == [True]
    worker.close()


def test_error_in_the_work_is_reported_and_the_next_wish_is_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    results: list[float] = []
    worker: LatestWins[int] = LatestWins(lambda request: results.append(1 / request))
    for request in (0, 2):
        worker.submit(request)
        assert worker.wait(10)
    assert results == [0.5]
    assert [one.exc_type for one in reported] == [ZeroDivisionError]
    worker.close()


def test_close_forgets_what_waits_and_ends_the_thread(worker: LatestWins[int], slow: Slow) -> None:
    worker.submit(1)
    assert slow.started.acquire(timeout=10)
    worker.submit(2)
    worker.close()
    worker.submit(3)
    slow.go.release(3)
    thread = worker.thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert slow.done == [1]


def test_thread_is_a_daemon_that_the_first_wish_starts(worker: LatestWins[int], slow: Slow) -> None:
    assert worker.thread is None
    worker.submit(1)
    assert worker.thread is not None
    assert worker.thread.daemon


def test_wishes_of_many_threads_end_in_one_of_the_last(slow: Slow) -> None:
    seen: list[int] = []
    worker: LatestWins[int] = LatestWins(
        lambda request: (time.sleep(0.001), seen.append(request))[1]
    )

    def request(start: int) -> None:
        for number in range(start, start + 100):
            worker.submit(number)

    threads = [threading.Thread(target=request, args=(1000 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worker.wait(10)
    assert seen[-1] % 1000 == 99
    assert len(seen) < 800
    worker.close()


def test_last_action_comes_at_once_at_rest_and_else_after_all_work(
    worker: LatestWins[int], slow: Slow
) -> None:
    worker.at_rest(lambda: slow.done.append(-1))
    assert slow.done == [-1]
    worker.submit(0)
    assert slow.started.acquire(timeout=10)
    worker.at_rest(lambda: slow.done.append(-2))
    worker.submit(1)
    assert slow.done == [-1]
    slow.go.release(2)
    assert worker.wait(10)
    assert slow.done == [-1, 0, 1, -2]


def test_time_to_spare_begins_after_the_last_request_and_nobody_waits_for_it() -> None:
    begun = threading.Semaphore(0)
    done: list[int] = []

    def spare() -> None:
        begun.release()
        assert worker.newer(30)

    worker = LatestWins(done.append, spare)
    for wish in range(3):
        worker.submit(wish)
        assert begun.acquire(timeout=10)
        assert done[-1] == wish
        assert worker.wait(0)
    worker.close(10)
    assert worker.ended(0)
