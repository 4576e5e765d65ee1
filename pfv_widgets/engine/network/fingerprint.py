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
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pfv_widgets.engine.device_transfer import read

_SAMPLE = 512  # values of each tensor
_OPTIONS = (bool, int, float, str, tuple)

State = tuple[object, ...]


class Fingerprint:
    """Tells the states of a network's parameters, buffers and modules apart."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._addresses: list[int] = []
        self._samples: list[Tensor] = []
        self._modules: list[nn.Module] = []
        self._structures = 0

    def state(self) -> State:
        """Return what is equal as long as nothing has changed."""
        values = _values(self._model)
        addresses = [value.data_ptr() for value in values]
        if addresses != self._addresses:  # else the samples look at the same memory
            self._addresses = addresses
            self._samples = [sample for value in values if (sample := _sample(value)) is not None]
        versions = tuple(-1 if value.is_inference() else value._version for value in values)
        return (self.structure(), tuple(addresses), versions, self._digest())

    def structure(self) -> State:
        """Return what is equal as long as modules and their options are the same."""
        modules = list(self._model.modules())
        known = self._modules  # held, so that no other module gets the id of one that is gone
        if len(modules) != len(known) or any(map(operator.is_not, modules, known)):
            self._modules, self._structures = modules, self._structures + 1
        return (self._structures, *map(_settings, modules))

    def _digest(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        kinds = {(sample.dtype, sample.device) for sample in self._samples}
        for dtype, device in sorted(kinds, key=str):
            same = [one for one in self._samples if (one.dtype, one.device) == (dtype, device)]
            digest.update(torch.cat(same).view(torch.uint8).cpu().numpy().tobytes())
        return digest.digest()


def network_fingerprint(model: nn.Module) -> str:
    """Return 32 hexadecimal digits that tell networks apart, the same in every process.

    Of the names, shapes and a sample of the values of parameters and buffers: up to 512 of each,
    spread evenly. Neither the device nor the number of passes in training has a part in it.
    """
    digest = hashlib.blake2b(digest_size=16)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = {
        ".".join(part for part in name.split(".") if part != "_orig_mod"): named[name].detach()
        for name in sorted(named)
    }
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


def _values(model: nn.Module) -> list[Tensor]:
    """Return parameters and buffers, each once."""
    found: dict[int, Tensor] = {}
    for module in model.modules():
        for values in (module._parameters, module._buffers):
            found.update((id(one), one) for one in values.values() if one is not None)
    return list(found.values())


def _settings(module: nn.Module) -> State:
    if not type(module).__module__.startswith("torch.nn.modules."):
        return ()
    # a list, and names first: this runs for every module at every picture
    return tuple(
        [
            (name, value)
            for name, value in vars(module).items()
            if name[:1] != "_" and name != "training" and isinstance(value, _OPTIONS)
        ]
    )


def _sample(value: Tensor) -> Tensor | None:
    """Return a view of numbers spread evenly over a tensor's memory; None where it has no such.

    The step is odd, so that it does not fall on the same channel again and again.
    """
    if value.layout != torch.strided or value.is_quantized or value.numel() == 0:
        return None
    with torch.no_grad():
        strides = zip(value.shape, value.stride(), strict=True)
        span = 1 + sum((length - 1) * stride for length, stride in strides)
        step = 1 if span <= _SAMPLE else span // _SAMPLE | 1
        plain = value.detach()
        return plain.as_strided(((span + step - 1) // step,), (step,), plain.storage_offset())
