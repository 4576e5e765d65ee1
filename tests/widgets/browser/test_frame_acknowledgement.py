"""Waiting for a page: it answers, it is slow, or there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pfv_widgets.widgets.browser.frame_acknowledgement import Acknowledgement
from tests.widgets.fake_page import FakePage, move


@pytest.fixture
def acknowledgement(fake_page: FakePage) -> Iterator[Acknowledgement]:
    fake_page.answers = False
    one = Acknowledgement()
    yield one
    one.close()


def answering(acknowledgement: Acknowledgement, late: float = 0.0) -> threading.Thread:
    """Answer the next number that is sent, as the page of a browser does."""
    sent = threading.Event()
    acknowledgement.out.observe(lambda _: sent.set(), "value")

    def answer() -> None:
        assert sent.wait(10)
        time.sleep(late)
        move(acknowledgement.back, value=acknowledgement.out.value)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_wait_ends_when_the_page_answers(acknowledgement: Acknowledgement) -> None:
    page = answering(acknowledgement)
    begin = time.monotonic()
    assert acknowledgement.wait(10)
    assert time.monotonic() - begin < 5
    assert acknowledgement.answered
    page.join()


def test_wait_gives_up_where_no_page_answers(acknowledgement: Acknowledgement) -> None:
    acknowledgement.answered = True
    assert not acknowledgement.wait(0.05)
    assert not acknowledgement.answered


def test_answer_to_an_earlier_number_is_not_taken_for_this_one(
    acknowledgement: Acknowledgement,
) -> None:
    assert not acknowledgement.wait(0.01)
    acknowledgement.out.observe(lambda change: late(change["new"]), "value")

    def late(number: int) -> None:
        move(acknowledgement.back, value=number - 1)

    assert not acknowledgement.wait(0.05)


def test_page_that_answers_late_is_waited_for_again(acknowledgement: Acknowledgement) -> None:
    page = answering(acknowledgement, late=0.2)
    assert not acknowledgement.wait(0.02)
    page.join()
    assert acknowledgement.answered


def test_number_that_the_page_sends_is_not_sent_back_to_it(
    fake_page: FakePage, acknowledgement: Acknowledgement
) -> None:
    fake_page.messages.clear()
    move(acknowledgement.back, value=7)
    assert acknowledgement.back.value == 7
    assert [one for one in fake_page.messages if one[1] == acknowledgement.back.model_id] == []


def test_close_removes_its_hidden_widgets(fake_page: FakePage) -> None:
    acknowledgement = Acknowledgement()
    acknowledgement.close()
    assert not fake_page.open_comms
