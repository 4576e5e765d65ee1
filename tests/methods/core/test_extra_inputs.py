"""Other inputs of a network: their names, their rows, and what is said where they do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError, PFVValueError
from tests.networks import blobs, tiny, unchanged

FEW: dict[str, Any] = {"size": 16, "steps": 3, "jitter": 0, "scale": 0.0, "rotation": 0.0}


class WithMeta(nn.Module):
    """Takes three numbers beside each image, and joins them to its features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(7, 5)

    def forward(self, images: Tensor, meta: Tensor, power: float = 1.0) -> Tensor:
        features = self.conv(images).relu().mean((2, 3)) ** power
        return self.head(torch.cat([features, meta], 1))


class Scaled(nn.Module):
    """Takes a mask for all images, and the weights of a reading."""

    def forward(self, images: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        return (images * mask).mean((2, 3)) @ weights


class Broad(nn.Module):
    """Adds a number of rows to the features, which may not be that of the images."""

    def forward(self, images: Tensor, meta: Tensor, **others: float) -> Tensor:
        del others
        return images.mean((2, 3)) + meta


class ByName(nn.Module):
    def forward(self, *, photos: Tensor, meta: Tensor) -> Tensor:
        return photos.mean((2, 3)) + meta


META = torch.eye(3)


@pytest.mark.parametrize(
    ("model", "options", "match"),
    [
        (tiny(), {"argument": "nope"}, r"argument='nope': Sequential has no such input. .*'input'"),
        (tiny(), {"inputs": {"meta": 1}}, r"inputs has 'meta', which Sequential .*images alone"),
        (WithMeta(), {"argument": "image"}, r"argument='image': .*mean 'images'"),
        (WithMeta(), {"inputs": {"metaa": META}}, r"inputs has 'metaa'.*mean 'meta'.*'power'"),
        (WithMeta(), {}, r"inputs lacks 'meta': WithMeta takes 'images', 'meta', 'power'"),
        (
            WithMeta(),
            {"inputs": {"power": 1.0}},
            r"Pass inputs=\{'power': \.\.\., 'meta': \.\.\.\}",
        ),
        (WithMeta(), {"inputs": {"images": 1}}, r"inputs has 'images'.*argument='meta'"),
        (Broad(), {}, r"inputs lacks 'meta'"),
        (ByName(), {}, r"argument=None: ByName takes its inputs by name"),
    ],
)
def test_names_that_do_not_fit_are_told_with_those_that_do(
    model: nn.Module, options: dict[str, Any], match: str
) -> None:
    for call in (
        lambda: pw.attribute(model, blobs(2, 16), "saliency", **options),
        lambda: pw.reconstruct(model, unit=1, size=16, steps=1, **options),
        lambda: pw.figure_methods(model, blobs(2, 16), ["saliency"], **options),
    ):
        with pytest.raises(PFVValueError, match=match) as one:
            call()
        assert one.value.__cause__ is None


def test_any_name_is_given_to_a_network_that_takes_any() -> None:
    inputs = {"meta": META[:2], "other": 1.0}
    result = pw.attribute(Broad(), blobs(2, 16), "saliency", inputs=inputs, unit=1)
    right = blobs(2, 16).tensor.mean((2, 3))[:, 1] + META[:2, 1]
    torch.testing.assert_close(result.scores, right)
    named = pw.attribute(
        ByName(), blobs(1, 16), unit=0, argument="photos", inputs={"meta": META[0]}
    )
    assert len(named) == 1


def test_a_single_row_may_stand_beside_what_is_given_as_it_is() -> None:
    class Read(WithMeta):
        def forward(self, images: Tensor, meta: Tensor, weights: Tensor) -> Tensor:
            return super().forward(images, meta) @ weights

    model, images, weights = Read().eval(), blobs(2, 16), torch.eye(5)[:, :4]
    inputs = {"meta": META[:1], "weights": weights}
    result = pw.attribute(model, images, "occlusion", unit=3, inputs=inputs)
    right = model(images.tensor, META[:1].expand(2, -1), weights)[:, 3]
    torch.testing.assert_close(result.scores, right.detach())


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion"])
def test_a_single_row_is_given_to_every_image(method: str) -> None:
    model, images = WithMeta().eval(), blobs(2, 16)
    one, each = (
        pw.attribute(model, images, method, unit=1, inputs={"meta": meta})
        for meta in (META[:1], META[:1].repeat(2, 1))
    )
    torch.testing.assert_close(one.signed, each.signed)
    torch.testing.assert_close(one.scores, each.scores)


def test_tensors_without_rows_are_given_as_they_are() -> None:
    mask, weights = torch.ones(1, 16, 16), torch.arange(15.0).reshape(3, 5)
    mask[:, :8] = 0
    inputs = {"mask": mask, "weights": weights}
    images = blobs(2, 16)
    result = pw.attribute(Scaled(), images, "integrated_gradients", unit=4, inputs=inputs)
    right = ((images.tensor * mask).mean((2, 3)) @ weights)[:, 4]
    torch.testing.assert_close(result.scores, right)
    assert not result.maps[:, :8].any()


@pytest.mark.parametrize("model", [WithMeta(), Broad()])
@pytest.mark.parametrize("rows", [0, 3, 5])
def test_rows_that_do_not_fit_are_named(model: nn.Module, rows: int) -> None:
    meta = torch.zeros(rows, 3)
    with unchanged(model):
        for method in ("saliency", "integrated_gradients"):
            with pytest.raises(
                PFVValueError,
                match=rf"inputs\['meta'\] has {rows} rows.*one row for all, or 2, one for each",
            ):
                pw.attribute(model, blobs(2, 16), method, inputs={"meta": meta})
    with pytest.raises(PFVValueError, match=rf"inputs\['meta'\] has {rows} rows.*one row for all"):
        pw.figure_methods(model, blobs(2, 16), ["saliency"], inputs={"meta": meta})


def test_a_failure_with_other_inputs_tells_the_shapes_of_all() -> None:
    with pytest.raises(
        PFVValueError, match=r"images, inputs: .*\(1, 3, 16, 16\), meta: \(1, 4\).*RuntimeError"
    ):
        pw.attribute(WithMeta(), blobs(2, 16), "saliency", inputs={"meta": torch.zeros(2, 4)})


@pytest.mark.parametrize("runs", [1, 2])
def test_pictures_have_a_row_for_all_or_one_for_each_target(runs: int) -> None:
    model, meta = WithMeta().eval(), 5 * META[:2]
    result = pw.reconstruct(model, unit=[1, 2], inputs={"meta": meta}, runs=runs, **FEW)
    rows = meta.repeat_interleave(runs, 0)
    units = torch.tensor([1, 2]).repeat_interleave(runs)[:, None]
    right = model(result.tensor, rows).gather(1, units)[:, 0].detach()
    torch.testing.assert_close(result.scores, right, rtol=1e-4, atol=1e-5)
    one = pw.reconstruct(model, unit=[1, 2], inputs={"meta": meta[:1]}, runs=runs, **FEW)
    right = model(one.tensor, meta[:1].expand(2 * runs, -1)).gather(1, units)[:, 0].detach()
    torch.testing.assert_close(one.scores, right, rtol=1e-4, atol=1e-5)
    with pytest.raises(PFVValueError, match=r"inputs\['meta'\] has 3 rows.*or 2, one for each"):
        pw.reconstruct(model, unit=[1, 2], inputs={"meta": META}, **FEW)
    with pytest.raises(PFVValueError, match=r"inputs\['meta'\] has 3 rows.*one row for all\."):
        pw.reconstruct(model, unit=1, inputs={"meta": META}, **FEW)


def test_photos_that_are_matched_have_their_own_rows() -> None:
    model, images, meta = WithMeta().eval(), blobs(2, 16), 5 * META[:2]
    result = pw.reconstruct(model, images, inputs={"meta": meta}, start=images, steps=1)
    expected, own = (model(one, meta).detach() for one in (images.tensor, result.tensor))
    right = (own - expected).norm(dim=1) / expected.norm(dim=1)
    torch.testing.assert_close(result.scores, right, rtol=1e-3, atol=1e-4)
    assert np.abs(result.pixels.astype(int) - images.pixels).mean() < 10


@pytest.mark.parametrize("shape", [(1, 3), (2, 3)])
def test_rows_are_given_in_comparisons(shape: tuple[int, int]) -> None:
    figure = pw.figure_methods(
        WithMeta().eval(), blobs(2, 16), ["saliency"], inputs={"meta": torch.ones(shape)}
    )
    assert figure.axes


def test_errors_of_this_package_inside_a_network_stay_as_they_are() -> None:
    class Refusing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            del images
            raise PFVValueError("gauge=3: expected 4.")

    for call in (
        lambda: pw.attribute(Refusing(), blobs(1, 16), "saliency"),
        lambda: pw.attribute(Refusing(), blobs(1, 16), "saliency", argument="images"),
        lambda: pw.PFV(Refusing(), blobs(1, 16)),
    ):
        with pytest.raises(PFVError, match=r"^gauge=3: expected 4\.$"):
            call()
