"""What several explorers use is freed with the last of them."""

from __future__ import annotations

import gc

from pfv_widgets.widgets.toolkit import shared_resources


class Resource:
    closed = 0

    def close(self) -> None:
        self.closed += 1


class User:
    pass


def test_resource_is_closed_with_its_last_user() -> None:
    resource, one, other = Resource(), User(), User()
    for user in (one, other, one):
        shared_resources.use(resource, user)
    shared_resources.release(resource, one)
    assert resource.closed == 0
    shared_resources.release(resource, other)
    assert resource.closed == 1


def test_user_that_is_forgotten_holds_nothing() -> None:
    resource, one, other = Resource(), User(), User()
    shared_resources.use(resource, one)
    shared_resources.use(resource, other)
    del other
    gc.collect()
    shared_resources.release(resource, one)
    assert resource.closed == 1


def test_resource_that_nobody_announced_is_closed() -> None:
    resource = Resource()
    shared_resources.release(resource, User())
    assert resource.closed == 1
