"""Threads take lock with a network; it comes back as it was once the last one is done."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import capture, run_captured
from pfv_widgets.engine.network.fair_lock import FairLock
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.model_guard import LOCK
from pfv_widgets.engine.network.module_states import ModuleStates
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.inversion.reconstruct import reconstruct
from tests.networks import blobs, tiny


def start_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def queued(lock: FairLock, number: int) -> None:
    """Wait until so many threads stand in the queue."""
    for _ in range(2000):
        if lock.waiting == number:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"{lock.waiting} threads wait, not {number}")


def test_turns_are_taken_in_the_order_of_asking() -> None:
    lock, order, threads = FairLock(), [], []

    def ask(number: int) -> None:
        with lock, lock:
            order.append(number)

    with lock:
        for number in range(5):
            threads.append(start_thread(lambda number=number: ask(number)))  # type: ignore[misc]
            queued(lock, number + 1)
        assert order == []
    ended(*threads)
    assert order == list(range(5))


def test_who_gives_way_goes_on_after_those_who_wait() -> None:
    lock, order = FairLock(), []

    def ask() -> None:
        with lock:
            order.append("other")

    with lock:
        lock.let_others_run()  # nobody waits
        thread = start_thread(ask)
        queued(lock, 1)
        with lock:
            lock.let_others_run()  # held twice: the outer work is in the middle of something
        order.append("first")
        lock.let_others_run()
        order.append("again")
    ended(thread)
    assert order == ["first", "other", "again"]


def test_interrupt_while_waiting_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FairLock()
    failed = threading.Event()

    def interrupted() -> None:
        def wait(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(threading.Condition, "wait", wait)
        with pytest.raises(KeyboardInterrupt):
            lock.__enter__()
        monkeypatch.undo()
        failed.set()

    with lock:
        ended(start_thread(interrupted))
        assert failed.is_set()
    done = threading.Event()

    def ask() -> None:
        with lock:
            done.set()

    ended(start_thread(ask))
    assert done.is_set()


def test_other_threads_paint_while_a_long_method_works() -> None:
    model, images = tiny(), blobs(4)
    model.train()
    pfv = PFV(model, images, device="cpu")
    painted, states = threading.Event(), []

    def paint() -> None:
        pfv.render(layer=pfv.layers[0].name)
        states.append(model.training)
        painted.set()

    threads: list[threading.Thread] = []

    def progress(done: int, total: int) -> None:
        if done == 8:
            threads.append(start_thread(paint))
            queued(LOCK, 1)
        elif 8 < done < total:
            painted.wait(0.2)
        elif done == total:
            assert painted.is_set()

    alone = attribute(tiny(), images, "rise", masks=64, batch_size=8)
    result = attribute(model, images, "rise", masks=64, batch_size=8, progress=progress)
    ended(*threads)
    assert states == [True]  # the model itself is never switched
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(result.signed, alone.signed)


class Counting(nn.Module):
    """Writes a buffer in each pass, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros(1))

    def forward(self, values: Tensor) -> Tensor:
        self.runs += 1
        return values


@pytest.mark.parametrize("first_out", [0, 1])
def test_shared_parts_come_back_when_the_last_guest_leaves(first_out: int) -> None:
    part = Counting().train()
    whole = nn.Sequential(part, nn.Dropout()).train()
    guarded = ModuleStates()
    held = [guarded.guard(whole), guarded.guard(part)]
    part(torch.ones(1))
    assert not part.training
    guarded.restore(held[first_out])
    assert not part.training
    part(torch.ones(1))
    assert part.runs.item() == 2
    guarded.restore(held[1 - first_out])
    assert part.training
    assert whole.training
    assert whole[1].training
    assert part.runs.item() == 0


def test_flags_of_modules_that_answer_for_another_come_back() -> None:
    part = nn.Sequential(nn.Dropout()).train()
    model = nn.Sequential(torch.compile(part, backend="eager"), nn.Dropout())
    assert model[0].training
    guarded = ModuleStates()
    held = guarded.guard(model)
    assert not part.training
    guarded.restore(held)
    assert all(module.training for module in model.modules())


def train(model: nn.Module, images: Tensor, ended: threading.Event) -> list[str]:
    """Train a network step by step; return what was wrong in any step."""
    wrong: list[str] = []
    descent = torch.optim.SGD(model.parameters(), lr=1e-4)
    while not ended.is_set():
        if not all(module.training for module in model.modules()):
            wrong.append("a step began in evaluation mode")
        hooks = sum(len(module._forward_hooks) for module in model.modules())
        try:
            descent.zero_grad()
            loss = model(images).square().mean()
            loss.backward()
            descent.step()
        except BaseException as error:  # whatever escapes into the loop
            wrong.append(f"{type(error).__name__}: {error}")
        if hooks:
            wrong.append(f"{hooks} hooks")
    return wrong


def test_a_network_is_trained_in_another_thread_while_it_is_explained() -> None:
    model, images = tiny().train(), blobs(3)
    pfv = PFV(model, images, device="cpu")
    done, wrong = threading.Event(), []
    thread = start_thread(lambda: wrong.extend(train(model, images.tensor, done)))
    try:
        for _ in range(3):
            for layer in ("2", "6", "10"):
                assert float(pfv.render(layer=layer).heatmaps.std()) > 0
            for method in ("saliency", "guided_backprop", "grad_cam", "relevance", "occlusion"):
                attribute(model, images, method)
        fit_basis(model, [images.tensor], progress=False)
        reconstruct(model, unit=1, size=32, steps=8)
    finally:
        done.set()
        ended(thread)
    assert wrong == []
    assert int(model[1].num_batches_tracked) > 3  # it was trained, and nothing was taken back


def test_several_threads_explain_one_network_at_once() -> None:
    model, images = tiny().train(), blobs(2)
    right = {
        layer: PFV(tiny(), images, device="cpu").render(layer=layer).heatmaps for layer in "26"
    }
    problems: list[str] = []

    def work(layer: str) -> None:
        try:
            for _ in range(6):
                result = PFV(model, images, device="cpu").render(layer=layer)
                torch.testing.assert_close(result.heatmaps, right[layer])
                reconstruct(model, unit=1, size=32, steps=1)
                attribute(model, images, "grad_cam")
        except BaseException as error:
            problems.append(f"{type(error).__name__}: {error}")

    ended(*(start_thread(lambda layer=layer: work(layer)) for layer in "262"))  # type: ignore[misc]
    assert problems == []
    assert all(module.training for module in model.modules())


def test_hooks_on_a_network_that_runs_itself_answer_to_their_own_thread() -> None:
    network, images = tiny(), blobs(2).tensor
    with capture(network, {"4": (Layout(), None)}) as activations:
        escaped: list[BaseException] = []

        def other() -> None:
            try:
                network(images)
            except BaseException as error:
                escaped.append(error)

        ended(start_thread(other))
        assert escaped == []
        assert activations == {}
        run_captured(lambda: network(images))
        assert list(activations) == ["4"]
