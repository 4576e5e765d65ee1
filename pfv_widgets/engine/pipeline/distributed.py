"""The processes of one fit: alone, or those that ``torchrun`` has started."""

from __future__ import annotations

import datetime
import io
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
import torch.distributed as dist

from pfv_widgets.engine.pipeline.fit_state import DataSetFit
from pfv_widgets.errors import PFVError, PFVValueError

_TIMEOUT = datetime.timedelta(minutes=10)  # for a process that is slow; one that dies is noticed


_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class SingleProcess:
    """One process, as :class:`ProcessGroup` with a ``rank`` of 0 and a ``number`` of 1."""

    rank, number = 0, 1

    def check_same(self, values: dict[str, str]) -> None:
        """There is no other process."""

    def of_first(self, text: str) -> str:
        """Return the text."""
        return text

    def merged(self, fit: DataSetFit) -> DataSetFit:
        """Return it as it is."""
        return fit

    def naming_itself(self) -> AbstractContextManager[None]:
        """Leave errors as they are."""
        return nullcontext()


class ProcessGroup:
    """The processes of ``torch.distributed`` that share one fit, once it is initialised.

    Attributes
    ----------
    rank, number
        Number of this process, from 0, and of all.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.number = dist.get_rank(), dist.get_world_size()
        self._on = device if dist.get_backend() == "nccl" else torch.device("cpu")

    def check_same(self, values: dict[str, str]) -> None:
        """Raise where another process was given something else.

        Before anything else is exchanged: tensors of unlike shapes abort a process.
        """
        contents = self._gathered("arguments", json.dumps(values).encode())
        everyone = [json.loads(content) for content in contents]
        first = everyone[0]
        for rank, other in enumerate(everyone):
            if unlike := [name for name in first if other[name] != first[name]]:
                pairs = (f"{name} {other[name]} instead of {first[name]}" for name in unlike)
                raise PFVValueError(
                    f"{', '.join(unlike)}: process {rank} was given other values than "
                    f"process 0 ({'; '.join(pairs):.300}). Start all with the same arguments, "
                    "photos and weights."
                )

    def of_first(self, text: str) -> str:
        """Return what process 0 says."""
        return self._gathered("decision", text.encode())[0].decode()

    def merged(self, fit: DataSetFit) -> DataSetFit:
        """Return what all have gathered, merged in their order: all get the same numbers."""
        file = io.BytesIO()
        np.savez(file, **fit.arrays())  # type: ignore[arg-type] # the names are its keywords
        device = next((one.moments.mean.device for one in fit.layers.values()), self._on)
        whole: DataSetFit | None = None
        for content in self._gathered("result", file.getvalue()):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                part = DataSetFit.of_arrays(dict(arrays), device)
            if whole is None:
                whole = part
            else:
                whole.add_fit(part)
        assert whole is not None  # at least this process is there
        return whole

    @contextmanager
    def naming_itself(self) -> Iterator[None]:
        """Name this process in an error: the others only see that it has ended."""
        try:
            yield
        except PFVError as error:
            which = f"process {self.rank} of {self.number} (counted from 0)"
            raise type(error)(f"{which}: {error}") from error

    def _gathered(self, kind: str, content: bytes) -> list[bytes]:
        """Return the bytes of every process, in order; raise where others are elsewhere."""
        named = bytearray(kind.encode() + b"\n" + content)
        own = torch.tensor(named, dtype=torch.uint8, device=self._on)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self._on) for _ in range(self.number)]
        with _lost_processes_named():
            dist.all_gather(sizes, torch.tensor([len(own)], device=self._on))
            longest = max(1, *(int(size) for size in sizes))
            padded = own.new_zeros(longest)
            padded[: len(own)] = own
            parts = [torch.zeros_like(padded) for _ in range(self.number)]
            dist.all_gather(parts, padded)
        everyone = [
            part[: int(size)].cpu().numpy().tobytes().partition(b"\n")
            for part, size in zip(parts, sizes, strict=True)
        ]
        for rank, (other, _, _) in enumerate(everyone):
            if other != kind.encode():
                raise PFVError(
                    f"data: process {rank} exchanges its {other.decode()} where process "
                    f"{self.rank} exchanges its {kind}: one of them got fewer batches. Give all "
                    "the same photos, and go on with --resume."
                )
        return [content for _, _, content in everyone]


Ranks = SingleProcess | ProcessGroup
"""The processes that share one fit."""


@contextmanager
def _lost_processes_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise PFVError(
            f"A process of this fit has ended, or cannot be reached ({reason:.200}). "
            "Look at its own error, and go on with --resume; the number of processes may differ."
        ) from error


@contextmanager
def ranks_of(device: torch.device, *, distributed: bool) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` has started, or those that are joined already."""
    if not distributed:
        yield SingleProcess()
    elif dist.is_initialized():
        yield ProcessGroup(device)
    else:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if missing := [name for name in _SET_BY_TORCHRUN if name not in os.environ]:
            raise PFVValueError(
                f"distributed=True, but the environment has no {', '.join(missing)}, which "
                "torchrun sets. Start the program with torchrun --nproc-per-node N, initialise "
                "torch.distributed yourself, or leave distributed out."
            )
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        try:
            yield ProcessGroup(device)
        finally:
            dist.destroy_process_group()
