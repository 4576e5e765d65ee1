"""Long work in the background: one job after another, which can be stopped."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

from pfv_widgets.widgets.toolkit.shutdown import end_at_exit

Job = Callable[[Callable[[], bool]], None]
Failed = Callable[[Exception], None]


class Jobs:
    """Runs jobs in one daemon thread, in order, apart from the painting of pictures."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Job, Failed] | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def run(self, job: Job, failed: Failed) -> None:
        """Run ``job(cancelled)`` soon; what it raises is given to ``failed``.

        ``cancelled()`` says whether the jobs were closed meanwhile.
        """
        with self._starting:
            if self._stopped.is_set():
                return
            self._queue.put((job, failed))
            if self._thread is None:
                end_at_exit(self)
                self._thread = threading.Thread(target=self._work, name="pfv-jobs", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every job has ended; False where ``timeout`` seconds passed."""
        ended = self._queue.all_tasks_done
        with ended:
            return ended.wait_for(lambda: not self._queue.unfinished_tasks, timeout)

    def close(self, timeout: float = 0.0) -> None:
        """Tell the job that runs to stop, forget the others, and wait at most ``timeout`` s."""
        with self._starting:
            if not self._stopped.is_set() and self._thread is not None:
                self._queue.put(None)  # to end the thread
            self._stopped.set()
        self.ended(timeout)

    def ended(self, timeout: float) -> bool:
        """Wait for the end of what runs; False where ``timeout`` seconds passed."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _work(self) -> None:
        while True:
            wanted = self._queue.get()
            try:
                if wanted is None:
                    return
                if not self._stopped.is_set():
                    self._run(*wanted)
            except Exception:
                threading.excepthook(
                    threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
                )
            finally:
                self._queue.task_done()

    def _run(self, job: Job, failed: Failed) -> None:
        try:
            job(self._stopped.is_set)
        except Exception as error:
            failed(error)
