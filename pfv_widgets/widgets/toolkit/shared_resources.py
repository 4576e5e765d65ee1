"""What several explorers use is freed with the last of them."""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet


class Closable(Protocol):
    """A network with its images and caches, such as a ``PFV``."""

    def close(self) -> None:
        """Free everything that is cached."""


_users: WeakKeyDictionary[Closable, WeakSet[object]] = WeakKeyDictionary()
_lock = threading.Lock()


def use(resource: Closable, user: object) -> None:
    """Note that ``user`` needs what ``resource`` has cached."""
    with _lock:
        _users.setdefault(resource, WeakSet()).add(user)


def release(resource: Closable, user: object) -> None:
    """Close ``resource``, unless somebody else uses it."""
    with _lock:
        users = _users.get(resource, WeakSet())
        users.discard(user)
        free = not users
    if free:
        resource.close()
