"""Long work in the background: one job after another, told when to stop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[Callable[[], bool]], None]
Failed = Callable[[Exception], None]


class Jobs:
    """Runs jobs in one daemon thread, in order, apart from the painting of pictures."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Job, Failed]] = queue.Queue()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def run(self, job: Job, failed: Failed) -> None:
        """Run ``job(cancelled)`` soon; what it raises is given to ``failed``.

        ``cancelled()`` says whether the jobs were closed meanwhile.
        """
        with self._starting:
            self._queue.put((job, failed))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pfv-jobs", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until every job has ended."""
        self._queue.join()

    def close(self) -> None:
        """Tell the job that runs to stop, and forget the others."""
        self._stopped.set()
        if self._thread is not None:
            self._queue.put((lambda _: None, lambda _: None))  # to wake the thread

    def _work(self) -> None:
        while True:
            job, failed = self._queue.get()
            try:
                if not self._stopped.is_set():
                    job(self._stopped.is_set)
            except Exception as error:
                failed(error)
            finally:
                self._queue.task_done()
            if self._stopped.is_set():
                return
