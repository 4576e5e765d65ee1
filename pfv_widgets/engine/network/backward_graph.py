"""The graph through which a gradient runs back, read without running it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

_LEAF = "AccumulateGrad"


def nodes_behind(values: Tensor, known: Iterable[Any] = ()) -> Iterator[Any]:
    """Yield each operation that the gradient of ``values`` passes, once, up to those ``known``."""
    waiting, seen = [values.grad_fn], set(known)
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [following for following, _ in node.next_functions]


def nodes_between(values: Tensor, is_leaf: Callable[[Tensor], bool]) -> set[Any]:
    """Return the operations behind ``values`` whose gradient runs on to a leaf that is meant."""
    users = defaultdict(list)
    waiting = []
    for node in nodes_behind(values):
        if kind_of(node) == _LEAF and is_leaf(node.variable):
            waiting.append(node)
        for following, _ in node.next_functions:
            users[following].append(node)
    reached: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += users[node]
    return reached


def nodes_to_images(scores: Tensor) -> set[Any]:
    """Return the operations behind ``scores`` whose gradient runs on to more than parameters."""
    return nodes_between(scores, lambda leaf: not isinstance(leaf, nn.Parameter))


def depends(values: Tensor, leaf: Tensor) -> bool:
    """Whether the gradient of ``values`` runs on to ``leaf``."""
    return any(kind_of(node) == _LEAF and node.variable is leaf for node in nodes_behind(values))


def kind_of(node: Any) -> str:
    """Return what autograd calls an operation, without its number, as ``ReluBackward``."""
    name: str = node.name()
    return name.rpartition("::")[2].rstrip("0123456789")
