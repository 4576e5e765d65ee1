"""Whether a network has changed, at a small cost: its numbers and its modules.

PyTorch counts what is written to a tensor in place, but not what is written through ``.data``, as
many optimisers, averages of weights and pruning tools do. So a sample of the values is looked at
as well: up to 512 of each tensor, spread evenly over it. What it cannot see is a change through
``.data`` of a few single numbers in a larger tensor that miss the sample: that is what
``refresh()`` is for. Of modules, those of PyTorch are compared by their options too (stride,
padding, eps); others may count their calls in an attribute, which changes nothing. Hooks are not
compared, as most only look on.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from pfv_widgets.engine.device_transfer import read
from pfv_widgets.engine.network.capture import without_compile

_SAMPLE = 512  # values of each tensor
_OPTIONS = (bool, int, float, str, tuple)

State = tuple[object, ...]


class Fingerprint:
    """Tells the states of a network's parameters, buffers and modules apart."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._addresses: list[int] = []
        self._samples: list[list[Tensor]] = []  # those of one dtype and device together
        self._modules: list[nn.Module] = []
        self._attributes: list[tuple[nn.Module, dict[str, object]]] = []  # as they were last
        self._structures = 0

    def state(self) -> State:
        """Return what is equal as long as nothing has changed."""
        structure = self.structure()
        values = _values(self._modules)
        addresses = [value.data_ptr() for value in values]
        if addresses != self._addresses:  # else the samples look at the same memory
            self._addresses, self._samples = addresses, _grouped(map(_sample, values))
        versions = tuple([-1 if value.is_inference() else value._version for value in values])
        return (structure, tuple(addresses), versions, self._sampled())

    def structure(self) -> State:
        """Return what is equal as long as modules and their options are the same."""
        modules = modules_of(self._model)
        if not _same(modules, self._modules):
            # held, so that no other module gets the id of one that is gone
            self._modules, self._structures = modules, self._structures + 1
            self._attributes = [(one, dict(vars(one))) for one in modules if _is_pytorch(one)]
        for index, (module, before) in enumerate(self._attributes):
            if not _same(vars(module).values(), before.values()):
                now = dict(vars(module))
                self._attributes[index] = module, now
                self._structures += _options(now) != _options(before)
        return (self._structures,)

    def _sampled(self) -> tuple[bytes, ...]:
        """Return the bytes of the samples: to compare them takes less time than a digest does."""
        joined = (torch.cat(samples).view(torch.uint8) for samples in self._samples)
        return tuple([one.cpu().numpy().tobytes() for one in joined])


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Return every module, each once: ``model.modules()`` takes five times as long."""
    modules, seen = [model], {id(model)}
    for module in modules:  # which grows meanwhile
        for part in module._modules.values():
            if part is not None and id(part) not in seen:
                seen.add(id(part))
                modules.append(part)
    return modules


def network_fingerprint(model: nn.Module) -> str:
    """Return 32 hexadecimal digits that tell networks apart, the same in every process.

    Of the names, shapes and a sample of the values of parameters and buffers: up to 512 of each,
    spread evenly. Neither the device nor the number of passes in training has a part in it.
    """
    digest = hashlib.blake2b(digest_size=16)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = {without_compile(name): named[name].detach() for name in sorted(named)}
    values = {key: one for key, one in plain.items() if not key.endswith("num_batches_tracked")}
    samples = _read_samples(values)
    for name, value in values.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(samples.get(name, b""))
    return digest.hexdigest()


def _read_samples(values: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Return the bytes of up to 512 numbers of each tensor, in one copy from each device."""
    samples: dict[torch.device, dict[str, Tensor]] = {}
    for name, value in values.items():
        if value.layout == torch.strided and not value.is_quantized and not value.is_meta:
            flat = value.reshape(-1)
            step = 1 if len(flat) <= _SAMPLE else len(flat) // _SAMPLE | 1
            of_device = samples.setdefault(value.device, {})
            of_device[name] = flat[::step].contiguous().view(torch.uint8)
    return {
        name: part.tobytes()
        for of_device in samples.values()
        for name, part in zip(of_device, read(*of_device.values()), strict=True)
    }


def _values(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return parameters and buffers, each once."""
    found: dict[int, Tensor] = {}
    for module in modules:
        for values in (module._parameters, module._buffers):
            for value in values.values():
                if value is not None:
                    found[id(value)] = value
    return list(found.values())


def _same(first: Collection[object], second: Collection[object]) -> bool:
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _grouped(samples: Iterable[Tensor | None]) -> list[list[Tensor]]:
    """Return samples by dtype and device, in the order of their names."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for one in samples:
        if one is not None:
            groups.setdefault((one.dtype, one.device), []).append(one)
    return [groups[kind] for kind in sorted(groups, key=str)]


def _is_pytorch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.modules.")


def _options(attributes: Mapping[str, object]) -> State:
    return tuple(
        (name, value)
        for name, value in attributes.items()
        if name[:1] != "_" and name != "training" and isinstance(value, _OPTIONS)
    )


def _sample(value: Tensor) -> Tensor | None:
    """Return a view of numbers spread evenly over a tensor's memory; None where it has no such.

    The step is odd, so that it does not fall on the same channel again and again.
    """
    if value.layout != torch.strided or value.is_quantized or value.numel() == 0:
        return None
    span = value.numel()
    if not value.is_contiguous():
        strides = zip(value.shape, value.stride(), strict=True)
        span = 1 + sum((length - 1) * stride for length, stride in strides)
    step = 1 if span <= _SAMPLE else span // _SAMPLE | 1
    return value.detach().as_strided(((span + step - 1) // step,), (step,), value.storage_offset())
