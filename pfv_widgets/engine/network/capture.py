"""Capture feature maps by layer name while a network runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.feature_layout import Layout

Reduce = Callable[[Tensor], Tensor]
See = Callable[[nn.Module, str, tuple[object, ...], object], None]


@contextmanager
def capture(
    model: nn.Module,
    layouts: Mapping[str, tuple[Layout, Reduce | None]],
    *,
    stop: bool = True,
    modules: Mapping[str, nn.Module] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Capture feature maps while the model runs inside the ``with`` block.

    Parameters
    ----------
    model
        Any module; it is not changed.
    layouts
        Layer name → its layout, and a function applied to the map ``(N, C, h, w)`` at once
        (``None``: it is copied, since a later in-place operation may rewrite it).
    stop
        Whether to leave the forward pass once the map of every layer was seen.
    modules
        What :func:`modules_by_name` returned, where it is known.

    Yields
    ------
    dict
        Layer name → result, filled anew by each forward pass. Every hook is removed when the
        block is left, however it is left.
    """
    captured: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()
    modules = modules_by_name(model) if modules is None else modules
    bases = {name.partition("#")[0] for name in layouts}

    def store(_: nn.Module, base: str, __: tuple[object, ...], output: object) -> None:
        runs[base] += 1
        for name in (base, f"{base}#{runs[base]}"):
            if name in layouts:
                layout, reduce = layouts[name]
                assert isinstance(output, Tensor)  # list_layers saw one
                maps = layout.maps(output.detach())
                captured[name] = maps.clone() if reduce is None else reduce(maps)
        if stop and len(captured) == len(layouts):
            raise StopForward

    with emptied(model, captured, runs), hooked({base: modules[base] for base in bases}, store):
        yield captured


@contextmanager
def emptied(model: nn.Module, *stores: MutableMapping[str, Any]) -> Iterator[None]:
    """Empty what was stored when a forward pass of this thread begins inside the block."""

    def begin(*_: object) -> None:
        for store in stores:
            store.clear()

    handle = model.register_forward_pre_hook(for_this_thread(begin), prepend=True)
    try:
        yield
    finally:
        handle.remove()


class StopForward(BaseException):
    """Leaves a forward pass, since all that was asked for was seen or since something was raised.

    The cause is what was raised.
    """


def run_captured(run: Callable[[], object]) -> None:
    """Run a forward pass that :func:`capture` may end early."""
    try:
        run()
    except StopForward as stop:
        if stop.__cause__ is not None:
            raise


@contextmanager
def hooked(modules: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Call ``see(module, name, inputs, output)`` after each run of each module inside the block."""
    handles = []
    try:
        for name, module in modules.items():

            def hook(module: nn.Module, inputs: Any, output: object, name: str = name) -> None:
                see(module, name, inputs, output)

            handles.append(module.register_forward_hook(for_this_thread(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def before_each_leaf(
    model: nn.Module, call: Callable[[], None], *, within: Iterable[nn.Module] | None = None
) -> Iterator[None]:
    """Call a function before each module without children runs, in this thread, in the block.

    What it raises ends the forward pass and the block, whatever the network makes of it.
    ``within`` are the modules that can run (None: all).
    """
    raised: list[Exception] = []

    def begin(*_: object) -> None:
        try:
            call()
        except Exception as error:
            raised.append(error)
            raise StopForward from error  # which no network handles itself

    before = for_this_thread(begin)
    leaves = [
        module
        for module in (modules_by_name(model).values() if within is None else within)
        if not any(module.children()) and not isinstance(module, torch.jit.ScriptModule)
    ]
    handles = [leaf.register_forward_pre_hook(before) for leaf in leaves]
    try:
        yield
    except StopForward:
        if not raised:
            raise
    finally:
        for handle in handles:
            handle.remove()
    if raised:
        raise raised[0]


def for_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that does nothing in other threads, which may run or train the network."""
    thread = threading.get_ident()
    return lambda *values: hook(*values) if threading.get_ident() == thread else None


def without_compile(name: str) -> str:
    """Drop the parts that ``torch.compile`` adds to a name."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Dotted name → module, without the parts that ``torch.compile`` adds to names."""
    modules: dict[str, nn.Module] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:  # in the order of named_modules(), which takes five times as long
        name, module = waiting.pop()
        if type(module).named_modules is not nn.Module.named_modules:  # names of its own
            return {without_compile(name): module for name, module in model.named_modules()}
        if id(module) in seen:
            continue
        seen.add(id(module))
        modules[name] = module
        before = name and f"{name}."
        parts = [
            (name if key == "_orig_mod" else before + key, part)
            for key, part in module._modules.items()
            if part is not None
        ]
        waiting += parts[::-1]
    return modules


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield every parameter of every module: ``named_parameters()`` takes five times as long."""
    for module_name, module in modules_by_name(model).items():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{module_name}.{name}".strip("."), parameter


def accepts_hooks(module: nn.Module) -> bool:
    """Whether forward hooks can be set on a module; scripted ones refuse them."""
    try:
        module.register_forward_hook(lambda *_: None).remove()
    except RuntimeError:
        return False
    return True
