"""Cascading re-initialisation: from the trained network to a random one, block by block."""

from __future__ import annotations

import inspect
import random
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

from pfv_widgets.engine.network.block_order import Block, find_blocks
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.devices import copied
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.network.named_models import declared_size
from pfv_widgets.engine.network.replica import CannotReplicateError, sharing_copy
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import whole_number

TRAINED = "trained"
_POWER_STEPS = 15  # as many as a spectral norm as a parametrisation takes when it is made
_METHODS = ("reset_parameters", "_reset_parameters", "_init_weights", "init_weights")
_WEIGHTS = ("weight", "bias")
_Tensors = dict[tuple[str, str], Tensor]  # (module, tensor) → numbers


def randomised(model: nn.Module, seed: int = 0) -> LazyNetworks:
    """Return the networks of a cascading re-initialisation, from the output down.

    The check of Adebayo et al. (2018): an explanation of the trained network should change as more
    and more of its blocks, from the output down, have weights that learned nothing.

    Parameters
    ----------
    model
        It never changes, and is the first network, under ``"trained"``.
    seed
        Of the new weights; the state of the global generators stays what it is.

    Returns
    -------
    LazyNetworks
        A mapping in order: ``"trained"``, then ``"down to BLOCK"`` for one more block each, in
        eval mode; in the last one everything is random. Each is made when it is first visited.
        Parameters that are not drawn anew share their memory with the model's, and networks share
        the new ones: all together take the memory of two networks.

    Raises
    ------
    PFVTypeError, PFVValueError
        For no network, one without parameters, one with traced or scripted parts that have some,
        or one that cannot be copied.

    Notes
    -----
    Blocks are found as :func:`pfv_widgets.engine.network.block_order.find_blocks` says, and weights
    are drawn as the modules' own ``reset_parameters`` (or ``_reset_parameters``, ``_init_weights``)
    draws them, with the running statistics of BatchNorm reset. Parameters that no such method
    touches are shuffled; one of a single number is multiplied by a draw of the normal distribution.
    A spectral norm is that of the new weights.

    Examples
    --------
    >>> import pfv_widgets as pw
    >>> list(pw.randomised(pw.demo_model()))[:2]
    ['trained', 'down to head']
    """
    network = unwrap(model)
    cascade = _Cascade(network, whole_number("seed", seed, 0, 2**31 - 1))
    depths = {f"down to {block.name}": depth for depth, block in enumerate(cascade.blocks, 1)}
    names = (TRAINED, *depths)
    return LazyNetworks(names, lambda name: cascade.network(depths.get(name, 0)))


class _Cascade:
    """The blocks of one network from the output down, and new weights for each."""

    def __init__(self, model: nn.Module, seed: int) -> None:
        self._model, self._seed = model, seed
        self._draws: dict[Block, _Tensors] = {}
        self._lock = threading.Lock()
        _refuse(model)
        self.blocks = find_blocks(model, declared_size(model))[::-1]
        _copy(model)  # what cannot be copied is an error at once

    def network(self, depth: int) -> nn.Module:
        """Return the network with that many blocks drawn anew; the model itself for none."""
        if depth == 0:
            return self._model
        new = _copy(self._model)
        modules = modules_by_name(new)
        for block in self.blocks[:depth]:
            for (module, name), values in self._weights(block).items():
                _set(modules[module], name, values)
        return new

    def _weights(self, block: Block) -> _Tensors:
        with self._lock:
            if block not in self._draws:
                self._draws[block] = self._draw(block)
            return self._draws[block]

    def _draw(self, block: Block) -> _Tensors:
        modules = modules_by_name(_copy(self._model))
        names = (*block.modules, *block.parents)
        trained: _Tensors = {}
        for module in dict.fromkeys(names):
            for name, values in _tensors(modules[module]).items():
                trained[module, name] = values.detach()
                _set(modules[module], name, values.detach().cpu().clone())
        with torch.no_grad(), _seeded(self._seed, block.name):
            for module in reversed(block.modules):  # parts first: a whole may draw theirs its way
                _initialise(modules[module])
            for (module, name), values in trained.items():
                _shuffle_unless_drawn(modules[module], name, values)
            for module in block.modules:
                _measure_norms(modules[module])
        return {
            (module, name): _tensors(modules[module])[name].detach().to(values.device)
            for (module, name), values in trained.items()
        }


def _refuse(model: nn.Module) -> None:
    if not any(True for _ in model.parameters()):
        raise PFVValueError(
            f"model={type(model).__name__}: it has no parameters, so there is nothing to draw anew."
        )
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and any(True for _ in module.parameters()):
            raise PFVValueError(
                f"model: its part {name!r} is traced or scripted and cannot be drawn anew. Use the "
                "eager module that it was made from."
            )


def _copy(model: nn.Module) -> nn.Module:
    """Return a network of its own that shares the model's memory."""
    try:
        return sharing_copy(model)
    except CannotReplicateError:
        new = copied(model).eval()
    for own, values in zip(new.parameters(), model.parameters(), strict=True):
        own.data = values.data
    return new


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all that is a tensor of a module itself, also where it is no parameter or buffer."""
    plain = {name: one for name, one in vars(module).items() if isinstance(one, Tensor)}
    named = (*module.named_buffers(recurse=False), *module.named_parameters(recurse=False))
    return {**plain, **dict(named)}


def _set(module: nn.Module, name: str, values: Tensor) -> None:
    """Give a tensor of a module other numbers; lists and modules that hold it see them too."""
    if name in vars(module):
        vars(module)[name] = values
    else:
        _tensors(module)[name].data = values


@contextmanager
def _seeded(seed: int, name: str) -> Iterator[None]:
    """Seed the generators of the CPU, by the name as well, and restore them."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - what initialisers use
    number = zlib.crc32(name.encode()) ^ seed
    try:
        torch.default_generator.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        random.seed(number)
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def _initialise(module: nn.Module) -> None:
    """Let a module draw its weights by a method of its own, where it has one."""
    for name in _METHODS:
        method = getattr(module, name, None)
        if callable(method) and _takes_nothing(method):
            with suppress(Exception):  # the user's code; what it did not draw is shuffled
                method()
                return


def _measure_norms(module: nn.Module) -> None:
    """Let a spectral norm find the largest singular value of new weights."""
    if isinstance(module, ParametrizationList) and any(
        isinstance(one, _SpectralNorm) for one in module
    ):
        module.train()
        for _ in range(_POWER_STEPS):
            module()
        module.eval()
    old: list[Any] = [
        one for one in module._forward_pre_hooks.values() if isinstance(one, SpectralNorm)
    ]
    for hook in old:
        for _ in range(_POWER_STEPS):
            hook.compute_weight(module, do_power_iteration=True)


def _takes_nothing(method: object) -> bool:
    try:
        inspect.signature(method).bind()  # type: ignore[arg-type] # it is callable
    except (TypeError, ValueError):
        return False
    return True


def _shuffle_unless_drawn(module: nn.Module, name: str, trained: Tensor) -> None:
    """Give others to a parameter that kept its numbers; reset running statistics that did."""
    values = _tensors(module)[name]
    if not torch.equal(values, trained.to(values.device)):
        return
    if name == "running_mean":
        values.zero_()
    elif name == "running_var":
        values.fill_(1)
    elif name not in dict(module.named_parameters(recurse=False)) and name not in _WEIGHTS:
        return
    elif values.numel() == 1 and values.is_floating_point():
        values.mul_(torch.randn(()))
    else:
        values.copy_(values.flatten()[torch.randperm(values.numel())].reshape(values.shape))
