"""The processes of one fit: alone, or those that ``torchrun`` has started."""

from __future__ import annotations

import datetime
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist

from pfv_widgets.engine.pipeline.fit_state import DataSetFit
from pfv_widgets.errors import PFVError, PFVValueError

_PATIENCE = datetime.timedelta(minutes=10)  # with a process that is slow; one that dies is noticed


class Ranks(Protocol):
    """Processes that share one fit."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def number(self) -> int:
        """Number of processes."""

    def check_same(self, values: dict[str, str]) -> None:
        """Raise where another process was given something else."""

    def of_first(self, text: str) -> str:
        """Return what process 0 says."""

    def merged(self, fit: DataSetFit) -> DataSetFit:
        """Return what all have gathered, in every process; their own stays as it is."""


class Alone:
    """One process."""

    rank, number = 0, 1

    def check_same(self, values: dict[str, str]) -> None:
        """Nobody else is there."""

    def of_first(self, text: str) -> str:
        """Return the text."""
        return text

    def merged(self, fit: DataSetFit) -> DataSetFit:
        """Return it as it is."""
        return fit


class Together:
    """The processes of ``torch.distributed``, once it is initialised."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.number = dist.get_rank(), dist.get_world_size()
        self._on = device if dist.get_backend() == "nccl" else torch.device("cpu")

    def check_same(self, values: dict[str, str]) -> None:
        """Compare before anything else is exchanged: tensors of unlike shapes abort a process."""
        everyone = self._gathered(repr(sorted(values.items())).encode())
        for rank, other in enumerate(everyone):
            if other != everyone[0]:
                raise PFVValueError(
                    f"process {rank} was given other things than process 0: {other.decode():.300} "
                    f"instead of {everyone[0].decode():.300}. Start all with the same arguments, "
                    "photos and weights."
                )

    def of_first(self, text: str) -> str:
        """Return what process 0 says."""
        return self._gathered(text.encode())[0].decode()

    def merged(self, fit: DataSetFit) -> DataSetFit:
        """Merge in the order of the processes, so that all get the same numbers."""
        file = io.BytesIO()
        np.savez(file, **fit.arrays())  # type: ignore[arg-type] # the names are its keywords
        device = next((one.moments.mean.device for one in fit.layers.values()), self._on)
        whole: DataSetFit | None = None
        for content in self._gathered(file.getvalue()):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                part = DataSetFit.of_arrays(dict(arrays), device)
            if whole is None:
                whole = part
            else:
                whole.add_fit(part)
        assert whole is not None  # at least this process is there
        return whole

    def _gathered(self, content: bytes) -> list[bytes]:
        """Return the bytes of every process, in order."""
        own = torch.tensor(bytearray(content), dtype=torch.uint8, device=self._on)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self._on) for _ in range(self.number)]
        with _watched():
            dist.all_gather(sizes, torch.tensor([len(own)], device=self._on))
            longest = max(1, *(int(size) for size in sizes))
            padded = own.new_zeros(longest)
            padded[: len(own)] = own
            parts = [torch.zeros_like(padded) for _ in range(self.number)]
            dist.all_gather(parts, padded)
        return [
            part[: int(size)].cpu().numpy().tobytes()
            for part, size in zip(parts, sizes, strict=True)
        ]


@contextmanager
def _watched() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PFVError(
            "A process of this fit has ended, or cannot be reached "
            f"({str(error).splitlines()[0]:.200}). Look at its own error, and go on with --resume; "
            "the number of processes may be another."
        ) from error


@contextmanager
def ranks_of(device: torch.device, *, distributed: bool) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` has started, or those that are joined already."""
    if not distributed:
        yield Alone()
    elif dist.is_initialized():
        yield Together(device)
    else:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        try:
            yield Together(device)
        finally:
            dist.destroy_process_group()
