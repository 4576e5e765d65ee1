"""The interpreter ends cleanly while something is computed in the background."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from pfv_widgets.widgets.toolkit.jobs import Jobs
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins
from pfv_widgets.widgets.toolkit.shutdown import end

# an explorer of each kind, in work when the script ends
SCRIPT = """
import time
import torch, torchvision, pfv_widgets as pw
model = torchvision.models.resnet18(weights=None).eval()
made = pw.explore_reconstruction(pw.demo_model(), pw.demo_images(2), device="cpu")
made.start_button.click()
while "Step" not in made.status.message:
    time.sleep(0.05)
grid = pw.explore_methods(model, pw.load_images(torch.randn(4, 3, 64, 64)), device="cpu")
explorer = pw.demo(4, device="cpu")
"""


@pytest.mark.all
def test_script_ends_cleanly_while_widgets_compute() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert "Error" not in ended.stderr


def test_work_is_told_to_end_and_waited_for() -> None:
    started, begun, results = threading.Event(), threading.Event(), []
    jobs, worker = Jobs(), LatestWins(lambda _: begun.wait(10))

    def job(cancelled: object) -> None:
        started.set()
        begun.wait(10)
        results.append(cancelled())  # type: ignore[operator]

    jobs.run(job, results.append)
    worker.submit(0)
    assert started.wait(10)
    threading.Timer(0.3, begun.set).start()
    end([jobs, worker])
    assert results == [True]
    assert worker.wait(0)
    worker.submit(1)
    assert worker.wait(0), "what was ended begins nothing more"
