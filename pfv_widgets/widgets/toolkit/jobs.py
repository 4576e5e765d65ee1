"""Long work in the background: one job after another, which can be stopped."""

from __future__ import annotations

from collections.abc import Callable

from pfv_widgets.widgets.toolkit.latest_wins import Worker

Job = Callable[[Callable[[], bool]], None]
Failed = Callable[[Exception], None]
WAITING = "Waiting for other work in the background to end …"


class Jobs(Worker[tuple[Job, Failed]]):
    """Runs jobs in one thread, in order, apart from the painting of pictures."""

    def __init__(self) -> None:
        super().__init__(self._run_one, latest=False)

    def run(self, job: Job, failed: Failed) -> None:
        """Run ``job(cancelled)`` soon; what it raises is given to ``failed``.

        ``cancelled()`` says whether the jobs were closed meanwhile.
        """
        self.submit((job, failed))

    def beginning(self, message: str) -> str:
        """Return what to say of work that is about to be run: that it waits, or ``message``."""
        return message if self.wait(0) else WAITING

    def _run_one(self, request: tuple[Job, Failed]) -> None:
        job, failed = request
        try:
            job(lambda: self.is_closed)
        except Exception as error:
            failed(error)
