"""The blocks of a network in the order in which they run: the steps of a cascade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import nn

from pfv_widgets.engine.network.capture import accepts_hooks, hooked, modules_by_name
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded, run
from pfv_widgets.errors import PFVError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_SIDES = (224, 299, 64, 32, 28)  # pixels of images that are tried to see the order


@dataclass(frozen=True)
class Block:
    """Modules that belong together.

    Attributes
    ----------
    name
        Of the module, or of the first one that holds weights of more than one dimension.
    modules
        Names of all modules that belong to it as a whole.
    parents
        Names of modules around it whose own parameters belong to it: what a transformer has
        beside its parts, such as the embedding of positions.
    """

    name: str
    modules: tuple[str, ...]
    parents: tuple[str, ...] = ()

    def joined(self, other: Block, name: str | None = None) -> Block:
        """Return both as one block."""
        return Block(
            self.name if name is None else name,
            self.modules + other.modules,
            self.parents + other.parents,
        )


def find_blocks(model: nn.Module, size: tuple[int, int] | None = None) -> tuple[Block, ...]:
    """Return the blocks of a network in forward order.

    Containers, and modules whose class occurs once, are looked into. A module whose class occurs
    twice or more is a block, and so is one with parameters whose parts have none. Normalisation and
    whatever else has parameters of one dimension belongs to the block before it; what does not run,
    as the auxiliary heads of a network in training, to the last one. Without a forward pass that
    succeeds (it is tried on black images, of ``size`` first) the order is that of registration.
    """
    modules = modules_by_name(model)
    counts = Counter(type(module) for module in modules.values())
    order = _forward_order(model, size)
    last = len(order)

    def position(block: Block) -> int:
        return min((order.get(name, last) for name in block.modules), default=last)

    found, parents = _split(modules, counts)
    ordered = sorted(found, key=position) if order else found
    _add_parents(ordered, parents)
    silent = [one for one in ordered if order and position(one) == last]
    running = [one for one in ordered if one not in silent] or [silent.pop()]
    for one in silent:
        running[-1] = running[-1].joined(one)
    return tuple(_with_minor_joined(running, modules))


def _add_parents(blocks: list[Block], parents: Sequence[str]) -> None:
    """Let the parameters of what is looked into belong to the first block inside it."""
    for parent in parents:
        first = next((one for one in blocks if _is_inside(one.name, parent)), blocks[0])
        blocks[blocks.index(first)] = first.joined(Block(parent, (), (parent,)))


def _split(
    modules: Mapping[str, nn.Module], counts: Mapping[type[nn.Module], int]
) -> tuple[list[Block], list[str]]:
    """Return the blocks, and the modules around some of them that have parameters themselves."""
    blocks: list[Block] = []
    parents: list[str] = []
    names = {id(module): name for name, module in modules.items()}

    def visit(module: nn.Module) -> None:
        module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
        name, kind = names.pop(id(module), None), type(module)
        if name is None:  # it was seen elsewhere
            return
        if any(module.children()) and (kind in _CONTAINERS or counts[kind] == 1):
            found = len(blocks)
            for child in module.children():
                visit(child)
            if any(True for _ in module.parameters(recurse=False)):
                if len(blocks) > found:
                    parents.append(name)
                else:
                    blocks.append(Block(name, (name,)))
        elif any(True for _ in module.parameters()):
            inside = [names.pop(id(one), None) for one in module.modules() if one is not module]
            blocks.append(Block(name, (name, *(one for one in inside if one is not None))))

    visit(modules[""])
    return blocks, parents


def _is_inside(name: str, parent: str) -> bool:
    return parent in ("", name) or name.startswith(f"{parent}.")


def _with_minor_joined(blocks: list[Block], modules: Mapping[str, nn.Module]) -> list[Block]:
    """Let what only scales and shifts belong to the block before it, or after the first."""
    joined: list[Block] = []
    pending: Block | None = None
    for block in blocks:
        if _is_minor(block, modules) and joined:
            joined[-1] = joined[-1].joined(block)
        elif _is_minor(block, modules):
            pending = block if pending is None else pending.joined(block)
        else:
            joined.append(block if pending is None else pending.joined(block, block.name))
            pending = None
    return joined if pending is None else [pending]


def _is_minor(block: Block, modules: Mapping[str, nn.Module]) -> bool:
    held = chain.from_iterable(modules[name].parameters(recurse=False) for name in block.parents)
    own = [
        one
        for name in block.modules
        if "Norm" not in type(modules[name]).__name__
        for one in modules[name].parameters(recurse=False)
    ]
    return all(one.ndim <= 1 for one in (*held, *own))


def _forward_order(model: nn.Module, size: tuple[int, int] | None) -> dict[str, int]:
    """Return module name → when it first ended in a forward pass; empty where none succeeds."""
    for height, width in (*([size] if size else []), *((side, side) for side in _SIDES)):
        order: dict[str, int] = {}
        with guarded(model) as network, suppress(PFVError):
            modules = {k: one for k, one in modules_by_name(network).items() if accepts_hooks(one)}
            device = next((one.device for one in network.parameters()), torch.device("cpu"))
            images = torch.zeros(1, 3, height, width, dtype=floating_dtype(network), device=device)
            with hooked(modules, partial(_note, order)):
                run(network, images)
            return order
    return {}


def _note(order: dict[str, int], _: nn.Module, name: str, *__: object) -> None:
    order.setdefault(name, len(order))
