"""The render path on a "cuda" device that is not there: what is left on the processor is an error.

``FakeTensorMode`` computes shapes, types and devices alone. What Python reads of tensors is taken
from the same pictures rendered on the processor, so that both take the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from pfv_widgets.engine import device_transfer
from pfv_widgets.engine.network import forward
from pfv_widgets.engine.network.fingerprint import Fingerprint
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.pca import eigensolvers
from pfv_widgets.engine.pipeline import feature_store
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny

WARM = [{}, {"images": (1, 0, 1, 1)}, {"weighting": "hierarchical"}, {"weighting": "none"}]
KNOBS = [
    {"sigma": 2.0}, {"weighting": "hierarchical"}, {"weighting": "none"}, {"opacity": 0.3},
    {"colour_map": "safe"}, {"channels": (2, 0, 1)}, {"normalisation": "component"},
]  # fmt: skip
OTHERS = [
    {"weighting": "gradual"}, {"sharing": "inclusive"}, {"pins": [(0, 0.2, 0.3), (3, 0.9, 0.9)]},
    {"size": (20, 24), "only": [2, 0]}, {"images": (0, 1, 1, 1)}, {"components": 5},
    {"components": 1}, {"colour_map": "hues", "components": 7}, {"layer": "2"},
]  # fmt: skip


class Copies(TorchDispatchMode):
    """Counts copies from the accelerator, and those to it, which wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        devices = [
            {one.device.type for one in torch.utils._pytree.tree_leaves(values) if of_array(one)}
            for values in (args, result)
        ]
        waits = not (kwargs or {}).get("non_blocking", False)
        if devices == [{"cuda"}, {"cpu"}] or (
            "cpu" in devices[0] and devices[1] == {"cuda"} and waits
        ):
            self.names.append(func.name())
        return result


def of_array(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


class Reads:
    """Stands in for ``device_transfer.read``: notes what is read, or gives what was noted."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.noted: list[list[np.ndarray]] = []
        self.from_device = 0
        self._plain = device_transfer.read
        engine = [one for name, one in sys.modules.items() if name.startswith("pfv_widgets.engine")]
        for module in engine:
            if getattr(module, "read", None) is self._plain:
                patch.setattr(module, "read", self)

    def __call__(self, *tensors: Tensor) -> list[np.ndarray]:
        if any(isinstance(one, torch._subclasses.FakeTensor) for one in tensors):
            assert len({one.device for one in tensors}) == 1
            numbers = self.noted.pop(0)
            assert [one.shape for one in numbers] == [tuple(one.shape) for one in tensors]
            self.from_device += tensors[0].device.type == "cuda"
            return numbers
        self.noted.append([np.array(one) for one in self._plain(*tensors)])
        return self.noted[-1]


Render = Callable[[dict[str, Any]], tuple[Frame, list[str]]]


@pytest.fixture
def render(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Return what renders on the processor, then on the device; counts how often that waited."""
    channels, side = request.param
    if channels > 8:
        monkeypatch.setattr(feature_store, "_MOST_CHANNELS_FOR_MOMENTS", 8)
    images, listings = blobs(4, side), []

    def listing(*arguments: Any) -> Any:
        if not listings:
            listings.append(replace(list_layers(*arguments), maps={}))
        return listings[0]

    monkeypatch.setattr(forward, "list_layers", listing)
    # the mode is that of one thread
    monkeypatch.setattr(eigensolvers, "run_reporting", lambda work, *_: work())
    reads = Reads(monkeypatch)
    here = PFV(tiny(channels=channels), images, "cpu")
    monkeypatch.setattr(Fingerprint, "state", lambda _: ())  # of addresses, which fakes have not
    monkeypatch.setattr(Fingerprint, "structure", lambda _: ())
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            network = tiny(channels=channels)
        there = PFV(network, images, "cuda")

    def both(changes: dict[str, Any]) -> tuple[Frame, list[str]]:
        reads.noted.clear()
        expected = here.render(**changes)
        reads.from_device = 0
        with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
            frame = there.render(**changes)
        assert not reads.noted, "the processor has read more"
        assert frame.heatmaps.shape == expected.heatmaps.shape
        return frame, ["read"] * reads.from_device + copies.names

    return both


@pytest.mark.parametrize(
    "render",
    [
        pytest.param((8, 32), id="moments", marks=pytest.mark.all),
        pytest.param((40, 32), id="channels"),
        pytest.param((40, 8), id="positions", marks=pytest.mark.all),
    ],
    indirect=True,
)
def test_everything_stays_on_the_device_and_is_waited_for_once(render: Render) -> None:
    for changes in WARM:
        frame, _ = render(changes)
        for one in (frame.heatmaps, frame.scores, frame.basis.mean, frame.basis.components):
            assert one.device.type == "cuda"
    render({})
    for changes in KNOBS:
        assert render(changes)[1] == [], changes
    for changes in OTHERS:
        frame, waits = render(changes)
        assert frame.heatmaps.device.type == "cuda"
        assert len(waits) <= 1 or "layer" in changes, changes
