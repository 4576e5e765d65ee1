"""How long work will still take, in words."""

from __future__ import annotations

from pfv_widgets.widgets.toolkit.time_left import TimeLeft


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def after(clock: Clock, left: TimeLeft, seconds: float, done: float) -> str:
    clock.now += seconds
    return left.words(done)


def test_time_follows_the_pace_and_begins_anew_with_other_work() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    assert after(clock, left, 0, 0.0) == ""
    assert after(clock, left, 1, 0.1) == ""  # too early
    assert after(clock, left, 3, 0.4) == "about 6 s left"  # 4 s for 40 %
    assert after(clock, left, 36, 0.5) == "about 40 s left"
    assert after(clock, left, 3560, 0.6) == "about 40 min left"
    assert after(clock, left, 1, 0.2) == ""  # less is done: other work
    assert after(clock, left, 4, 0.205) == ""  # too little is done to tell a pace
    assert after(clock, left, 6, 1.0) == ""
    left.stop()
    assert after(clock, left, 10, 1.0) == ""
