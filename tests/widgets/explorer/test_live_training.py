"""An explorer follows a training, at no more cost than it is told, and never raises into it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.explorer.live_training import LiveTraining
from tests.networks import blobs, tiny
from tests.widgets.explorer_contents import is_error, load_anew
from tests.widgets.fake_page import FakePage


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def following(clock: Clock, cost: float, error: Exception | None = None) -> SimpleNamespace:
    """An explorer whose pictures take ``cost`` seconds, or fail."""
    shown: list[float] = []

    def refresh() -> None:
        shown.append(clock.now)
        clock.now += cost
        if error is not None:
            raise error

    errors: list[Exception] = []
    pfv = SimpleNamespace(holds_colours=False)
    return SimpleNamespace(
        refresh=refresh,
        wait=lambda _: True,
        fail=errors.append,
        pfv=pfv,
        shown=shown,
        errors=errors,
    )


@pytest.mark.parametrize(("every", "at_most"), [(1, 0.1), (20, 0.1), (1, 1.0), (7, 0.02)])
def test_pictures_take_no_more_than_their_share_of_the_training(every: int, at_most: float) -> None:
    clock = Clock()
    explorer = following(clock, cost=0.5)
    with LiveTraining(explorer, every, at_most, clock) as step:
        for index in range(1000):
            clock.now += 0.1
            step(index, loss=1.0)  # as frameworks call back
        in_the_loop = len(explorer.shown)
    trained = 1000 * 0.1
    expected = min(1000 // every, 1 + int(trained * at_most / 0.5))
    assert 0 < in_the_loop <= expected
    assert in_the_loop > 0.6 * expected
    assert len(explorer.shown) == in_the_loop + 1  # and the trained network at the end


def test_error_of_a_picture_is_shown_and_not_raised() -> None:
    clock = Clock()
    explorer = following(clock, 0.1, RuntimeError("no room"))
    with LiveTraining(explorer, 1, 1.0, clock) as step:
        for _ in range(3):
            clock.now += 1
            step()
    assert [str(one) for one in explorer.errors] == ["no room"] * 4
    gone = following(clock, 0.1, RuntimeError("no room"))
    gone.fail = explorer.refresh  # the page is gone as well
    with LiveTraining(gone, 1, 1.0, clock) as step:
        step()


def test_error_of_the_training_itself_is_raised() -> None:
    explorer = following(Clock(), 0.0)
    with pytest.raises(ZeroDivisionError), LiveTraining(explorer, 1, 1.0) as step:
        step(1 / 0)
    assert not explorer.pfv.holds_colours


def test_colours_that_were_held_before_a_training_are_held_after_it() -> None:
    explorer = following(Clock(), 0.0)
    explorer.pfv.holds_colours = True
    with LiveTraining(explorer, 1, 1.0) as step:
        step()
    assert explorer.pfv.holds_colours


def trained(network: nn.Module, images: torch.Tensor, after: Callable[[], None]) -> None:
    """Train for some steps, and call ``after`` each."""
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), 0.02)
    for _ in range(4):
        optimiser.zero_grad()
        network(images).square().mean().backward()
        optimiser.step()
        after()


def test_pictures_follow_the_weights_with_the_same_colours(fake_page: FakePage) -> None:
    network, images = tiny(), blobs(4)
    alone = tiny()
    trained(alone, images.tensor, lambda: None)
    explorer = pw.explore(network, images, device="cpu")
    load_anew(explorer)
    first = explorer.frame
    bases = []
    with explorer.live(every=1, at_most=1) as step:

        def after() -> None:
            step()
            bases.append(explorer.frame.basis.components)

        trained(network, images.tensor, after)
    assert network.training
    for name, values in alone.state_dict().items():  # the training is what it is alone
        torch.testing.assert_close(network.state_dict()[name], values)
    network.eval()
    fresh = pw.PFV(network, images, device="cpu").render()
    overlap = explorer.frame.basis.components @ fresh.basis.components.T
    assert float(torch.linalg.svdvals(overlap).min()) > 0.999  # in an order of its own
    assert not torch.equal(bases[0], first.basis.components)
    for before, now in zip([first.basis.components, *bases], bases, strict=False):
        assert float((before * now).sum(dim=1).min()) > 0
    explorer.close()


def test_network_that_breaks_while_it_is_trained_is_told_in_the_status_line(
    fake_page: FakePage,
) -> None:
    network, images = tiny(), blobs(3)
    explorer = pw.explore(network, images, device="cpu")
    load_anew(explorer)
    assert explorer.wait(60)
    with explorer.live(every=1, at_most=1) as step:
        with torch.no_grad():
            network[0].weight.fill_(float("nan"))
        step()
    assert explorer.wait(60)
    assert is_error(explorer)
    explorer.close()


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"every": "often"}, {"at_most": 0}, {"at_most": 2}]
)
def test_wrong_argument_is_named(fake_page: FakePage, wrong: dict[str, object]) -> None:
    explorer = pw.explore(tiny(), blobs(1), device="cpu")
    with pytest.raises(PFVError, match=rf"^{next(iter(wrong))}="):
        explorer.live(**wrong)
    explorer.close()
