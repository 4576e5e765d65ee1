"""Threads take turns with the networks, and leave them as they came once the last one is done."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress

import torch
from torch import Tensor, nn


class Turns:
    """A lock that is handed on in the order in which threads ask; one thread may hold it twice."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> Turns:
        me = threading.get_ident()
        with self._changed:
            if self._owner != me:
                self._queue_up()
                self._owner = me
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._owner = None
                self._changed.notify_all()

    def give_way(self) -> None:
        """Let those who wait go first, where this thread holds the lock once."""
        with self._changed:
            mine = self._owner == threading.get_ident() and self._depth == 1
            if not mine or not self._waiting:
                return
        self.__exit__()
        self.__enter__()

    def _queue_up(self) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            while self._owner is not None or self._waiting[0] is not ticket:
                self._changed.wait()
        finally:  # an interrupt leaves the queue, too
            self._waiting.remove(ticket)
            self._changed.notify_all()


class Guests:
    """The modules in use, and how each came: several threads may hold the same ones in turn."""

    def __init__(self) -> None:
        self._came: dict[int, _Came] = {}
        self._eager = ExitStack()

    def arrive(self, model: nn.Module) -> list[nn.Module]:
        """Put every module into eval mode; return them, for :meth:`leave`."""
        if not self._came:
            self._eager.enter_context(_eager())
        modules = list(model.modules())
        arrived: list[nn.Module] = []
        try:
            for module in modules:  # all flags are read before one changes: some are another's
                if id(module) not in self._came:
                    self._came[id(module)] = _Came(module)
                self._came[id(module)].guests += 1
                arrived.append(module)
            for module in modules:
                _set_mode(module, training=False)
        except BaseException:  # no memory for a copy of a buffer, say
            self.leave(arrived)
            raise
        return modules

    def leave(self, modules: list[nn.Module]) -> None:
        """Give back, as they came, the modules that nobody else holds."""
        for module in modules:
            came = self._came[id(module)]
            came.guests -= 1
            if came.guests == 0:
                del self._came[id(module)]
                came.restore()
        if not self._came:
            self._eager.close()


class _Came:
    """Training flag and buffers of one module."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.guests, self.training = module, 0, module.training
        self._buffers = [
            (name, buffer, buffer.detach().clone())
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def restore(self) -> None:
        _set_mode(self.module, self.training)
        for name, buffer, kept in self._buffers:
            self.module._buffers[name] = buffer
            with torch.inference_mode(buffer.is_inference()):
                if not _identical(buffer, kept):
                    buffer.copy_(kept)


def _set_mode(module: nn.Module, training: bool) -> None:
    with suppress(RuntimeError):  # a frozen scripted part has no mode
        module.training = training


def _identical(first: Tensor, second: Tensor) -> bool:
    return bool(torch.eq(first, second).logical_or(first.isnan() & second.isnan()).all())


def _eager() -> AbstractContextManager[object]:
    """Let compiled parts run eagerly, so that hooks see them."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    return set_stance("force_eager") if set_stance else nullcontext()
