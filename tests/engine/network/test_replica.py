"""A replica: the network's weights, modules and modes of its own, whatever the network is like."""

from __future__ import annotations

import copy
import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import weight_norm as old_weight_norm

from pfv_widgets.engine.network.model_guard import guarded
from pfv_widgets.engine.network.replica import is_replica, replicate
from tests.networks import blobs, tiny

SEEN: list[str] = []


class Referring(nn.Module):
    """Runs its parts by references of many kinds, none of which is the registered name."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(9)])
        self.bn = nn.BatchNorm2d(3)
        self.listed = [self.parts[0], {"one": (self.parts[1],)}]
        self.bound = self.parts[2].forward
        self.partial = functools.partial(_call, self.parts[3], factor=2.0)
        self.weak = weakref.ref(self.parts[4])
        closed = self.parts[5]
        self.closure = lambda values: 1.5 * closed(values)
        self.helper = Helper(self.parts[6])
        self.names = {part: name for name, part in self.parts.named_children()}
        self.by_id = {id(part): name for name, part in self.parts.named_children()}
        self.weights = [self.parts[8].weight, self.parts[8].bias]
        object.__setattr__(self, "hidden", self.bn)

    def forward(self, values: Tensor) -> Tensor:
        values = self.listed[1]["one"][0](self.listed[0](values))
        values = self.weak()(self.partial(self.bound(values)))
        values = self.helper.part(self.closure(values))
        assert self.names[self.parts[7]] == self.by_id[id(self.parts[7])] == "7"
        values = nn.functional.conv2d(self.parts[7](values), *self.weights, padding=1)
        return self.hidden(values)


class Helper:
    def __init__(self, part: nn.Module) -> None:
        self.part = part


def _call(part: nn.Module, values: Tensor, factor: float) -> Tensor:
    return factor * part(values)


def network_with_replaced_forward() -> nn.Module:
    """A network whose forward was replaced from outside, as accelerate and users do."""
    network = tiny()
    old = network[4].forward

    def forward(part: nn.Module, values: Tensor) -> Tensor:
        return 2 * old(values) + part.bias.sum()

    network[4].forward = functools.partial(forward, network[4])
    return network


def pruned() -> nn.Module:
    network = tiny()
    prune.random_unstructured(network[4], "weight", 0.5)
    return network


class Slotted(nn.Module):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__()
        self.factor = 3.0

    def forward(self, values: Tensor) -> Tensor:
        return self.factor * values


class Stubborn(nn.Module):
    """Refuses to be copied or pickled, and to be made without arguments."""

    def __new__(cls, size: int) -> Stubborn:
        assert size
        return super().__new__(cls)

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv, self.lock = nn.Conv2d(3, size, 3), threading.Lock()

    def __deepcopy__(self, memo: object) -> Stubborn:
        raise TypeError("no copy of me")

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("no pickle of me")

    def forward(self, values: Tensor) -> Tensor:
        with self.lock:
            return self.conv(values)


def network_with_shared_parts() -> nn.Module:
    part = nn.Conv2d(3, 3, 3)
    tied = nn.Conv2d(3, 3, 3)
    tied.weight = part.weight
    return nn.Sequential(part, nn.ReLU(inplace=True), part, tied)


def lazy() -> nn.Module:
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU())
    network(torch.rand(2, 3, 8, 8))
    return network


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.rnn = nn.Conv2d(3, 4, 3), nn.LSTM(4, 5, batch_first=True)

    def forward(self, values: Tensor) -> Tensor:
        return self.rnn(self.stem(values).flatten(2).transpose(1, 2))[0]


def compiled_forward() -> nn.Module:
    class Compiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        @functools.partial(torch.compile, backend="eager")
        def forward(self, values: Tensor) -> Tensor:
            return self.conv(values)

    return nn.Sequential(Compiled(), nn.ReLU())


def scripted_part() -> nn.Module:
    network = tiny()
    network[4] = torch.jit.script(nn.Sequential(network[4], nn.Dropout(0.9)))
    return network


def frozen_part() -> nn.Module:
    network = tiny()
    network[4] = torch.jit.freeze(torch.jit.script(network[4].eval()))
    return network


def compiled_part() -> nn.Module:
    network = tiny()
    network[4] = torch.compile(network[4], backend="eager")
    network[5].compile(backend="eager")
    return network


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = tiny()
    norm(network[4])
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": tiny,
    "references": Referring,
    "patched forward": network_with_replaced_forward,
    "pruned": pruned,
    "slots": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Slotted()),
    "refuses copies": lambda: nn.Sequential(Stubborn(4), nn.ReLU()),
    "shared parts": network_with_shared_parts,
    "lazy": lazy,
    "recurrent": Recurrent,
    "compiled part": compiled_part,
    "compiled forward": compiled_forward,
    "scripted part": scripted_part,
    "frozen part": frozen_part,
    "weight norm": lambda: normed(parametrizations.weight_norm),
    "spectral norm": lambda: normed(parametrizations.spectral_norm),
    "old weight norm": lambda: normed(old_weight_norm),
    "graph module": lambda: torch.fx.symbolic_trace(tiny()),
}
SCRIPTED = pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*weight_norm")


@SCRIPTED
@pytest.mark.parametrize("name", NETWORKS)
def test_replica_gives_what_the_network_gives_in_evaluation(name: str) -> None:
    network, images = NETWORKS[name](), blobs(2).tensor
    network.eval()
    with torch.no_grad():
        right = network(images)
        network.train()
        flags = [module.training for module in network.modules()]
        states = [set(vars(module)) for module in network.modules()]
        values = copy.deepcopy({key: one.clone() for key, one in network.state_dict().items()})
        replica = replicate(network)
        torch.testing.assert_close(replica(images), right, rtol=0, atol=0)
    assert is_replica(replica)
    assert [module.training for module in network.modules()] == flags
    assert [set(vars(module)) for module in network.modules()] == states
    assert all(torch.equal(one, values[key]) for key, one in network.state_dict().items())


@SCRIPTED
@pytest.mark.parametrize("name", NETWORKS)
def test_no_module_of_the_network_runs_and_every_part_of_the_replica_is_seen(name: str) -> None:
    network, images = NETWORKS[name](), blobs(2).tensor
    calls: list[str] = []

    def note(where: str, number: int) -> Callable[..., None]:
        return lambda *_: calls.append(f"{where} {number}")

    with torch.no_grad():
        network.eval()(images)
        replica = replicate(network)
        mine, own = list(replica.modules()), list(network.modules())
        for where, modules in (("network", own), ("replica", mine)):
            for number, module in enumerate(modules):
                if not isinstance(module, torch.jit.ScriptModule):
                    module.register_forward_pre_hook(note(where, number))
        replica(images)
    assert not any(one.startswith("network") for one in calls)
    assert len(mine) == len(own)
    leaves = [one for one in mine if not any(one.children()) and isinstance(one, nn.Conv2d)]
    # one is scripted, one is run by its method, and the weights of one are used alone
    assert len(set(calls)) >= len(leaves) - 2


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_part_traced_in_training_mode_writes_to_buffers_of_its_own() -> None:
    part = torch.jit.trace(nn.BatchNorm2d(3).train(), blobs(2).tensor)
    network = nn.Sequential(part, nn.ReLU())
    before = {key: one.clone() for key, one in network.state_dict().items()}
    replicate(network)(blobs(2).tensor)
    assert all(torch.equal(one, before[key]) for key, one in network.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_gradients_of_a_scripted_part_are_switched_off_in_the_replica_alone() -> None:
    network = scripted_part()
    replica = replicate(network).requires_grad_(False)
    assert not any(one.requires_grad for one in replica.parameters())
    assert all(one.requires_grad for one in network.parameters())
    pairs = zip(network.parameters(), replica.parameters(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)


def test_changes_of_the_network_are_seen_at_the_next_look() -> None:
    network, images = tiny(), blobs(2).tensor

    def agree() -> None:
        with guarded(network) as replica:
            torch.testing.assert_close(replica(images), network(images), rtol=0, atol=0)

    held = replicate(network)
    with torch.no_grad():
        network[0].weight.mul_(1.3)
        torch.testing.assert_close(held(images), network(images), rtol=0, atol=0)
    network[0].weight.data.mul_(1.3)
    agree()
    network[4].weight = nn.Parameter(torch.randn_like(network[4].weight))
    agree()
    state = {key: value * 1.1 for key, value in tiny(3).state_dict().items()}
    network.load_state_dict(state, assign=True)
    agree()
    network[4].stride = (2, 2)
    agree()
    network.insert(3, nn.Conv2d(8, 8, 1))
    agree()
    del network[2]
    agree()
    network[1].register_forward_hook(lambda *values: 3 * values[2])
    agree()


def test_hooks_and_states_of_a_pass_stay_on_the_replica() -> None:
    class Noting(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            self.last = values
            self.register_buffer("seen", values.mean())
            return values

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Noting())
    replica = replicate(network)
    replica[0].register_forward_hook(lambda *_: None)
    replica(blobs(2).tensor)
    assert not hasattr(network[1], "last")
    assert not network[1]._buffers
    assert not network[0]._forward_hooks


def test_hooks_of_the_user_are_kept_and_find_their_modules() -> None:
    network, images = tiny(), blobs(2).tensor
    names = {module: name for name, module in network.named_modules()}
    seen: dict[str, Tensor] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> Tensor:
        seen[names[module]] = output
        return 2 * output

    network[4].register_forward_hook(note)
    with torch.no_grad():
        right = network(images)
        seen.clear()
        torch.testing.assert_close(replicate(network)(images), right, rtol=0, atol=0)
    assert list(seen) == ["4"]


def test_hooks_that_name_modules_by_global_names_find_them() -> None:
    scope: dict[str, Any] = {"network": tiny(), "seen": [], "__name__": "__main__"}
    exec(  # as a cell of a notebook
        "names = {module: name for name, module in network.named_modules()}\n"
        "def hook(module, inputs, output):\n"
        "    seen.append((names[module], module is network[4]))\n"
        "network[4].register_forward_hook(hook)",
        scope,
    )
    replicate(scope["network"])(blobs(1).tensor)
    assert scope["seen"] == [("4", True)]


def test_an_optimiser_may_step_between_the_passes_of_a_replica() -> None:
    network = tiny().train()
    images = blobs(2).tensor.requires_grad_()
    score = replicate(network)(images).sum()
    network[0].weight.grad = torch.ones_like(network[0].weight)
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    network(images.detach())  # writes the statistics of the batch norms
    (result,) = torch.autograd.grad(score, images)
    assert float(result.abs().max()) > 0
    assert all(one.grad is None for one in [*network.parameters()][1:])


def test_containers_keep_their_kind_and_what_leads_nowhere_is_shared() -> None:
    network = tiny()
    network.plain = {"numbers": [1, 2, 3]}
    network.ordered = OrderedDict(first=network[0])
    network.cycle = [network.plain]
    network.cycle.append(network.cycle)
    replica: Any = replicate(network)
    assert replica.plain is network.plain
    assert type(replica.ordered) is OrderedDict
    assert replica.ordered["first"] is replica[0] is not network[0]
    assert replica.cycle is network.cycle


def test_a_replica_costs_no_memory_for_its_weights() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Linear(7, 9))
    replica = replicate(network)
    own = {one.data_ptr() for one in network.parameters()}
    assert {one.data_ptr() for one in replica.parameters()} == own
