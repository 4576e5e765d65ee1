"""A replica of a network: modules of its own, weights that are the network's.

Hooks and the evaluation mode are set on the replica, so that the user's network can be trained or
run in another thread meanwhile. Nothing is computed or copied but the structure.
"""

from __future__ import annotations

import copy
import types
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

_ORIGINAL = "_pfv_original"  # attribute of a replica's root
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # parameters, buffers, modules, hooks, flags
_LONGEST = 1000  # entries of a container that is searched for modules
_DEEPEST = 8  # objects from a module to one that refers to another module
_MOST = 20_000  # objects that are searched
_PLAIN = frozenset(
    (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, range, slice)
)


class CannotReplicateError(Exception):
    """A module of the network cannot be replicated; its class and the reason."""


def is_replica(model: nn.Module) -> bool:
    """Whether a network is a replica of another one."""
    return _ORIGINAL in vars(model)


def replicate(model: nn.Module) -> nn.Module:
    """Return a replica of a network in evaluation mode; of a replica itself.

    - Modules are new objects of the same classes, made without calling anything of theirs. What a
      forward pass sets on a module, the user's module does not get.
    - Parameters share their memory with the network's: a later change of its numbers is seen. They
      count their own changes, so that an optimiser that steps between a forward and a backward
      pass is no error, and have a gradient of their own. A forward pass that writes to its
      parameters writes to the network's.
    - Buffers are copied, since a forward pass may write to them, as that of a ``BatchNorm`` does
      which it puts into training mode.
    - Whatever refers to a module of the network (in lists, bound methods, closures, user's hooks)
      refers to its replica; all else is shared. Compiled parts run eagerly, so that hooks see them.

    Raises
    ------
    CannotReplicateError
        Where a module is made in a way that forbids it.
    """
    if is_replica(model):
        return model
    replica = sharing_copy(model)
    vars(replica)[_ORIGINAL] = weakref.ref(model)
    return replica


def sharing_copy(model: nn.Module) -> nn.Module:
    """Return what :func:`replicate` makes as a network of its own, which is a replica of none.

    Raises
    ------
    CannotReplicateError
        Where a module is made in a way that forbids it.
    """
    try:
        return _Replication(model).root
    except (TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise CannotReplicateError(f"{type(model).__name__}: {error}") from error


class _EagerPart(nn.Module):
    """Stands for what ``torch.compile`` made of a module, which runs here as it is."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self._orig_mod(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__["_modules"]
        return parts[name] if name in parts else getattr(parts["_orig_mod"], name)


class _Replication:
    """What each object of one network is for its replica."""

    def __init__(self, model: nn.Module) -> None:
        self._new: dict[int, Any] = {}
        self._held: list[object] = []  # an id is of one object as long as that lives
        self._busy: set[int] = set()
        modules = _modules(model)
        for module in modules:
            self._replace(module, _shell(module))
        own = [module for module in modules if not isinstance(module, torch.jit.ScriptModule)]
        for module in own:
            self._share_tensors(module)
        for module in own:
            self._fill(module, self._new[id(module)])
        self.root: nn.Module = self._new[id(model)]

    def _replace(self, old: object, new: object) -> None:
        self._held.append(old)
        self._new[id(old)] = new

    def _share_tensors(self, module: nn.Module) -> None:
        """Decide once what a tensor is, also where two modules or a list of weights have it."""
        for parameter in list(module._parameters.values()):
            if parameter is not None and id(parameter) not in self._new:
                self._replace(parameter, _alias(parameter))
        for buffer in list(module._buffers.values()):
            if buffer is not None and id(buffer) not in self._new:
                self._replace(buffer, buffer.detach().clone())

    def _fill(self, module: nn.Module, replica: nn.Module) -> None:
        eager = isinstance(replica, _EagerPart)
        new, own = vars(replica), dict(vars(module))
        if eager:
            own = {name: value for name, value in own.items() if name in _OF_EVERY_MODULE}
        new.update(own)
        for name, value in own.items():
            if type(value) in _PLAIN:
                continue
            if name in _OF_EVERY_MODULE and isinstance(value, dict):
                # hooks and parts are added to the replica alone
                pairs = [(key, self.of(one)) for key, one in list(value.items())] if value else ()
                new[name] = type(value)(pairs)
            elif name in _OF_EVERY_MODULE and isinstance(value, set):
                new[name] = set(value)
            else:
                new[name] = self.of(value)
        new.update(training=False, _compiled_call_impl=None)
        eager_forward = getattr(type(replica).forward, "_torchdynamo_orig_callable", None)
        if eager_forward is not None and "forward" not in new:
            new["forward"] = types.MethodType(eager_forward, replica)

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return what a value is for the replica: itself, unless it leads to a module."""
        if type(value) in _PLAIN:
            return value
        if id(value) in self._new:
            return self._new[id(value)]
        if type(value) is tuple and all(type(one) in _PLAIN for one in value):
            return value
        too_far = depth > _DEEPEST or len(self._held) > _MOST
        if isinstance(value, Tensor | type) or too_far or id(value) in self._busy:
            return value
        self._busy.add(id(value))
        new = self._searched(value, depth + 1)
        self._busy.discard(id(value))
        self._replace(value, new)
        return new

    def _all(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.of(value, depth) for value in values]

    def _searched(self, value: Any, depth: int) -> Any:
        kinds: dict[Any, Any] = {
            dict: self._dictionary,
            (list, tuple, set, frozenset, deque): self._sequence,
            types.MethodType: self._method,
            partial: self._partial,
            weakref.ref: self._reference,
            types.FunctionType: self._function,
        }
        rule = next((rule for kind, rule in kinds.items() if isinstance(value, kind)), self._object)
        return rule(value, depth)

    def _method(self, value: types.MethodType, depth: int) -> Any:
        owner = self.of(value.__self__, depth)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)

    def _partial(self, value: partial[Any], depth: int) -> Any:
        parts = [value.func, value.args, value.keywords]
        call, inputs, named = new = self._all(parts, depth)
        return value if _same(new, parts) else partial(call, *inputs, **named)

    def _reference(self, value: weakref.ref[Any], depth: int) -> Any:
        target = value()
        new = self.of(target, depth)
        return value if new is target else weakref.ref(new)

    def _dictionary(self, value: dict[Any, Any], depth: int) -> Any:
        if len(value) > _LONGEST:
            return value
        keys, entries = list(value), list(value.values())
        new_keys = [self._key(key, depth) for key in keys]
        new_entries = self._all(entries, depth)
        if _same(new_keys, keys) and _same(new_entries, entries):
            return value
        new = copy.copy(value)
        new.clear()
        new.update(zip(new_keys, new_entries, strict=True))
        return new

    def _key(self, key: Any, depth: int) -> Any:
        """Return the key of a dictionary, which may be a module or the ``id`` of one."""
        if type(key) is int and isinstance(self._new.get(key), nn.Module):
            return id(self._new[key])
        return self.of(key, depth)

    def _sequence(self, value: Any, depth: int) -> Any:
        entries = list(value)
        if len(entries) > _LONGEST:
            return value
        new_entries = self._all(entries, depth)
        if _same(new_entries, entries):
            return value
        if isinstance(value, list | deque):
            new = copy.copy(value)
            new.clear()
            new.extend(new_entries)
            return new
        return getattr(type(value), "_make", type(value))(new_entries)  # tuples may have names

    def _function(self, value: types.FunctionType, depth: int) -> Any:
        if hasattr(value, "_torchdynamo_orig_callable"):  # compiled: no hooks run inside
            return self.of(value._torchdynamo_orig_callable, depth)
        cells = list(value.__closure__ or ())
        contents = [_content(cell) for cell in cells]
        scope = self._globals(value, depth)
        new_contents = self._all(contents, depth)
        defaults = self.of(value.__defaults__, depth)
        same = scope is value.__globals__ and defaults is value.__defaults__
        if same and _same(new_contents, contents):
            return value
        closure = tuple(
            cell if new is old else types.CellType(new)
            for cell, new, old in zip(cells, new_contents, contents, strict=True)
        )
        new = types.FunctionType(value.__code__, scope, value.__name__, defaults, closure)
        new.__kwdefaults__ = value.__kwdefaults__
        vars(new).update(vars(value))
        return new

    def _globals(self, function: types.FunctionType, depth: int) -> dict[str, Any]:
        """Return the global names of a function: one of a notebook may name a module by them."""
        scope = function.__globals__
        if str(function.__module__).partition(".")[0] in ("torch", "torchvision"):
            return scope
        used = {name: scope[name] for name in function.__code__.co_names if name in scope}
        leading = {k: v for k, v in used.items() if isinstance(v, nn.Module | list | tuple | dict)}
        new = {name: self.of(one, depth) for name, one in leading.items()}
        return scope if _same(new.values(), leading.values()) else {**scope, **new}

    def _object(self, value: Any, depth: int) -> Any:
        try:
            state = dict(vars(value))
        except Exception:  # it has no attributes, or a way of its own to show them
            return value
        new_state = self._all(state.values(), depth)
        if len(state) > _LONGEST or _same(new_state, state.values()):
            return value
        new = object.__new__(type(value))
        vars(new).update(zip(state, new_state, strict=True))
        return new


def _modules(model: nn.Module) -> list[nn.Module]:
    """Return every module that is registered somewhere below, each once."""
    seen, waiting = {id(model): model}, [model]
    while waiting:
        module = waiting.pop()
        if isinstance(module, torch.jit.ScriptModule):
            continue  # its parts are not of Python
        for part in list(module._modules.values()):
            if part is not None and id(part) not in seen:
                seen[id(part)] = part
                waiting.append(part)
    return list(seen.values())


def _shell(module: nn.Module) -> nn.Module:
    """Return an object of a module's class that has nothing yet."""
    if isinstance(module, torch.jit.ScriptModule):
        return _scripted(module)
    if "_orig_mod" in module._modules:
        return object.__new__(_EagerPart)
    replica: nn.Module = object.__new__(type(module))
    for name in _slots(type(module)):  # type: ignore[arg-type] # a class has a hash
        if hasattr(module, name):
            setattr(replica, name, getattr(module, name))
    return replica


@lru_cache(maxsize=256)
def _slots(kind: type) -> frozenset[str]:
    """Return the names that objects of a class have outside their ``__dict__``."""
    slots = (one.__dict__.get("__slots__", ()) for one in kind.__mro__)
    names = chain.from_iterable([one] if isinstance(one, str) else one for one in slots)
    return frozenset(names) - {"__dict__", "__weakref__"}


def _scripted(module: Any) -> nn.Module:
    """Return a scripted or traced module that shares its weights, with buffers of its own."""
    # its parts are still the module's; a traced module has no such method of its own
    replica: Any = torch.jit.RecursiveScriptModule.__copy__(module)  # type: ignore[attr-defined] # it is
    for name, part in list(replica._modules.items()):
        setattr(replica, name, _scripted(part))
    for name, weight in list(replica.named_parameters(recurse=False)):
        setattr(replica, name, weight.detach().requires_grad_(weight.requires_grad))
    for name, buffer in list(replica.named_buffers(recurse=False)):
        setattr(replica, name, buffer.detach().clone())
    with suppress(RuntimeError):  # a frozen part has no mode
        replica.training = False
    new: nn.Module = replica
    return new


def _alias(values: Tensor) -> Tensor:
    """Return the same memory as a tensor that counts its own changes."""
    if type(values) is nn.Parameter:
        return nn.Parameter(values.data, requires_grad=values.requires_grad)
    return values.data if type(values) is Tensor else values.detach()


def _same(first: Iterable[Any], second: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(first, second, strict=True))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None
