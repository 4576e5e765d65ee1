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
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
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


Act = Callable[[PFV], Any]


class Devices:
    """A processor, and an accelerator that is not there: does the same on both."""

    def __init__(self, patch: pytest.MonkeyPatch, channels: int, side: int, **options: Any) -> None:
        if channels > 8:
            patch.setattr(feature_store, "_MOST_CHANNELS_FOR_MOMENTS", 8)
        images, listings = blobs(4, side), []

        def listing(*arguments: Any) -> Any:
            if not listings:
                listings.append(replace(list_layers(*arguments), maps={}))
            return listings[0]

        patch.setattr(forward, "list_layers", listing)
        # the mode is that of one thread
        patch.setattr(eigensolvers, "run_reporting", lambda work, *_: work())
        self._reads = Reads(patch)
        self._here = PFV(tiny(channels=channels), images, "cpu", **options)
        patch.setattr(Fingerprint, "state", lambda _: ())  # of addresses, which fakes have not
        patch.setattr(Fingerprint, "structure", lambda _: ())
        with FakeTensorMode(allow_non_fake_inputs=True):
            with torch.device("cuda"):
                network = tiny(channels=channels)
            self._there = PFV(network, images, "cuda", **options)

    def act(self, work: Act) -> tuple[Any, list[str]]:
        """Do it on the processor, then on the device; also return how often that waited."""
        self._reads.noted.clear()
        work(self._here)
        self._reads.from_device = 0
        with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
            result = work(self._there)
        assert not self._reads.noted, "the processor has read more"
        return result, ["read"] * self._reads.from_device + copies.names

    def render(self, changes: dict[str, Any]) -> tuple[Frame, list[str]]:
        """Render on both."""
        sizes: list[torch.Size] = []

        def work(pfv: PFV) -> Frame:
            frame = pfv.render(**changes)
            sizes.append(frame.heatmaps.shape)
            return frame

        result = self.act(work)
        assert sizes[0] == sizes[1]
        return result


@pytest.fixture
def devices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Devices:
    """Return what renders on the processor, then on the device; counts how often that waited."""
    return Devices(monkeypatch, *request.param)


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param((8, 32), id="moments", marks=pytest.mark.all),
        pytest.param((40, 32), id="channels"),
        pytest.param((40, 8), id="positions", marks=pytest.mark.all),
    ],
    indirect=True,
)
def test_everything_stays_on_the_device_and_is_waited_for_once(devices: Devices) -> None:
    for changes in WARM:
        frame, _ = devices.render(changes)
        for one in (frame.heatmaps, frame.scores, frame.basis.mean, frame.basis.components):
            assert one.device.type == "cuda"
    devices.render({})
    for changes in KNOBS:
        assert devices.render(changes)[1] == [], changes
    for changes in OTHERS:
        frame, waits = devices.render(changes)
        assert frame.heatmaps.device.type == "cuda"
        assert len(waits) <= 1 or "layer" in changes, changes


PATHS: list[Act] = [
    lambda pfv: pfv.anchor(),
    lambda pfv: pfv.anchor("2"),
    lambda pfv: pfv.capture("4", before="8"),
    lambda pfv: pfv.capture_along(lambda: True),
    lambda pfv: [pfv.render(layer=name) for name in ("0", "4")],
    lambda pfv: [pfv.render(components=number) for number in (12, 2, 7)],
    lambda pfv: [pfv.render(weighting=one, size=(9, 9)) for one in ("gradual", "hierarchical")],
    lambda pfv: pfv.render(images=(1e3, 1e-3, 0, 1), normalisation="component", sigma=4.0),
    lambda pfv: pfv.render(images=(0, 0, 0, 1), components=2),
    lambda pfv: pfv.render(sharing="exclusive"),
    lambda pfv: pfv.similarity([(0, 0.2, 0.3)]),
    lambda pfv: pfv.detail(None, "flat"),
    lambda pfv: pfv.explained(),
]  # fmt: skip


@pytest.mark.all
@pytest.mark.parametrize(
    ("options", "channels"), [("none", 40), ("basis", 12), ("data", 40), ("last", 12)]
)
def test_every_other_path_stays_on_the_device(
    options: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"channels_last": True} if options == "last" else {}
    if options in {"basis", "data"}:
        network, batches = tiny(channels=channels), [blobs(4).tensor]
        basis = fit_basis(network, batches, "9", components=12, device="cpu", progress=False)
        given = {"basis": basis if options == "data" else replace(basis, data=None)}
    devices = Devices(monkeypatch, channels, 32, **given)
    for path in PATHS:
        devices.act(path)
    devices.render({})
    others = [{"images": (0, 1, 1, 1)}] if options in {"basis", "data"} else []
    for changes in (*KNOBS, {"components": 3}, *others):
        assert len(devices.render(changes)[1]) <= 1, changes
