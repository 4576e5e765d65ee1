"""Modules that run themselves where they cannot be replicated: eval mode, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress

import torch
from torch import Tensor, nn


class ModuleStates:
    """The modules in use and their states before; several threads may use the same ones."""

    def __init__(self) -> None:
        self._states: dict[int, _ModuleState] = {}
        self._eager = ExitStack()

    def guard(self, model: nn.Module) -> list[nn.Module]:
        """Put every module into eval mode; return them, for :meth:`restore`."""
        if not self._states:
            self._eager.enter_context(_eager())
        modules = list(model.modules())
        arrived: list[nn.Module] = []
        try:
            for module in modules:  # all flags are read before one changes: some are another's
                if id(module) not in self._states:
                    self._states[id(module)] = _ModuleState(module)
                self._states[id(module)].users += 1
                arrived.append(module)
            for module in modules:
                _set_mode(module, training=False)
        except BaseException:  # no memory for a copy of a buffer, say
            self.restore(arrived)
            raise
        return modules

    def restore(self, modules: list[nn.Module]) -> None:
        """Restore the modules that no other thread uses."""
        for module in modules:
            state = self._states[id(module)]
            state.users -= 1
            if state.users == 0:
                del self._states[id(module)]
                state.restore()
        if not self._states:
            self._eager.close()


class _ModuleState:
    """Training flag and buffers of one module."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.users, self.training = module, 0, getattr(module, "training", False)
        self._buffers = [
            (name, buffer, buffer.detach().clone())
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def restore(self) -> None:
        _set_mode(self.module, self.training)
        for name, buffer, before in self._buffers:
            self.module._buffers[name] = buffer
            with torch.inference_mode(buffer.is_inference()):
                if not _identical(buffer, before):
                    buffer.copy_(before)


def _set_mode(module: nn.Module, training: bool) -> None:
    with suppress(RuntimeError):  # a frozen scripted part has no mode
        module.training = training


def _identical(first: Tensor, second: Tensor) -> bool:
    return bool(torch.eq(first, second).logical_or(first.isnan() & second.isnan()).all())


def _eager() -> AbstractContextManager[object]:
    """Let compiled parts run eagerly, so that hooks see them."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    return set_stance("force_eager") if set_stance else nullcontext()
