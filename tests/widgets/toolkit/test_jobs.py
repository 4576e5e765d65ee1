"""Long work runs one after another in the background, and ends when it is told.

What jobs share with other workers is tested in ``test_latest_wins.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pfv_widgets.widgets.toolkit.jobs import Jobs


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close(10)


def ignore(_: Exception) -> None:
    raise AssertionError("no job of this test fails")


def test_jobs_run_in_order_in_one_daemon_thread_which_the_first_starts(jobs: Jobs) -> None:
    assert jobs.thread is None
    calls: list[tuple[int, threading.Thread]] = []
    for number in range(5):
        jobs.run(lambda _, n=number: calls.append((n, threading.current_thread())), ignore)
    jobs.wait()
    assert [number for number, _ in calls] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in calls} == {jobs.thread}
    assert jobs.thread is not None
    assert jobs.thread.daemon


def test_error_of_a_job_is_told_and_the_next_job_runs(jobs: Jobs) -> None:
    errors: list[Exception] = []
    done: list[int] = []
    jobs.run(lambda _: 1 / 0, errors.append)
    jobs.run(lambda _: done.append(1), ignore)
    jobs.wait()
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert done == [1]


def test_close_tells_the_job_that_runs_and_forgets_the_others(jobs: Jobs) -> None:
    begun = threading.Event()
    ended: list[str] = []

    def long(cancelled: Callable[[], bool]) -> None:
        begun.set()
        while not cancelled():
            threading.Event().wait(0.005)
        ended.append("told to stop")

    jobs.run(long, ignore)
    jobs.run(lambda _: ended.append("never"), ignore)
    assert begun.wait(10)
    jobs.close(10)
    assert ended == ["told to stop"]
    assert jobs.thread is not None
    assert not jobs.thread.is_alive()
    jobs.wait()  # nothing is left to wait for


def test_closed_jobs_run_nothing_more(jobs: Jobs) -> None:
    calls: list[int] = []
    jobs.close()
    jobs.run(lambda _: calls.append(1), ignore)
    jobs.wait()
    jobs.close()
    assert calls == []
    assert jobs.thread is None


def test_close_waits_no_longer_than_it_is_told(jobs: Jobs) -> None:
    begun, go = threading.Event(), threading.Event()
    jobs.run(lambda _: (begun.set(), go.wait(10)), ignore)
    assert begun.wait(10)
    jobs.close(0.02)
    assert jobs.thread is not None
    assert jobs.thread.is_alive()
    go.set()
    jobs.thread.join(10)
    assert not jobs.thread.is_alive()


def test_job_may_close_the_jobs_itself(jobs: Jobs) -> None:
    jobs.run(lambda _: jobs.close(10), ignore)
    assert jobs.thread is not None
    jobs.thread.join(5)
    assert not jobs.thread.is_alive()
