from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.pca.basis import PrincipalBasis, canonical_signs, fit_maps, fit_moments
from pfv_widgets.engine.pca.batch_basis import fit_batch_basis
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.errors import PFVValueError
from tests.networks import seeded
from tests.slow_oracles import principal_components, project


@pytest.fixture
def maps() -> Tensor:
    scale = torch.linspace(3, 0.2, 12)[:, None, None]
    return torch.randn(6, 12, 5, 4, generator=seeded()) * scale + 2


def basis_of(maps: Tensor, number: int = 3, weights: Tensor | None = None) -> PrincipalBasis:
    return fit_moments(Moments.of_maps(maps).pooled(weights), number, layer="some.layer")


def orthonormal(rows: list[list[float]], variances: list[float]) -> PrincipalBasis:
    components = torch.tensor(rows)
    components = components / components.norm(dim=1, keepdim=True)
    return PrincipalBasis(torch.zeros(components.shape[1]), components, torch.tensor(variances),
                          sum(variances), 1.0)  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 300, 8, 8), (4, 300, 4, 4)])
def test_components_without_variance_are_orthogonal_to_all_others(
    shape: tuple[int, int, int, int],
) -> None:
    number, channels, height, width = shape
    directions = torch.linalg.qr(torch.randn(channels, 3, generator=seeded())).Q
    scores = torch.randn(number, height * width, 3, generator=seeded(1))
    scores *= torch.tensor([1, 0.2, 1e-4])
    maps = (scores @ directions.T).transpose(1, 2).reshape(shape)
    features = features_of(maps)
    basis = fit_batch_basis(features, WideFit(features.maps), [1.0] * number, 8)
    assert basis.is_resolved.tolist()[:2] == [True, True]
    assert not basis.is_resolved[3:].any()
    products = basis.components @ basis.components.T
    torch.testing.assert_close(products, torch.eye(8), atol=1e-5, rtol=0)


def test_matrix_that_float32_does_not_solve_is_solved_in_float64(
    maps: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, solve = fit_maps(maps, [1.0] * 6, 3), torch.linalg.eigh

    def fails(matrix: Tensor) -> Any:
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("The algorithm failed to converge")
        return solve(matrix)

    monkeypatch.setattr("torch.linalg.eigh", fails)
    basis = fit_maps(maps, [1.0] * 6, 3)
    assert basis.components.dtype == torch.float32
    torch.testing.assert_close(basis.components, expected.components, atol=1e-4, rtol=0)
    torch.testing.assert_close(basis.variances, expected.variances)


@pytest.mark.parametrize("weights", [None, [1.0, 0, 2, 0.5, 0, 1]])
@pytest.mark.parametrize("fit", ["moments", "maps"])
def test_basis_is_that_of_the_tall_svd(maps: Tensor, fit: str, weights: list[float] | None) -> None:
    amounts = torch.ones(6) if weights is None else torch.tensor(weights)
    result = basis_of(maps, 4, amounts) if fit == "moments" else fit_maps(maps, amounts.tolist(), 4)
    mean, components, variances, total = principal_components(maps, 4, weights)
    np.testing.assert_allclose(result.mean, mean, atol=1e-5)
    np.testing.assert_allclose(result.variances, variances, rtol=1e-4)
    np.testing.assert_allclose(result.total_variance, total, rtol=1e-4)
    np.testing.assert_allclose(result.count, 20 * float(amounts.sum()))
    assert np.abs((result.components.numpy() * components).sum(axis=1)).min() > 0.9999


def test_a_basis_says_what_it_holds_in_one_line() -> None:
    basis = orthonormal([[1.0, 0, 0], [0, 1, 0]], [3.0, 1.0])
    assert repr(basis) == "<PrincipalBasis: 2 components of 3 channels, 100.0 % of the variance>"
    one = dataclasses.replace(basis.first(1), layer="4")
    assert repr(one).startswith("<PrincipalBasis: 1 component of 3 channels of layer '4', 75.0 %")


def test_both_ways_to_fit_agree_where_channels_outnumber_positions() -> None:
    maps = torch.randn(2, 300, 3, 3, generator=seeded())
    by_places = fit_maps(maps, [1.0, 1.0], 5)
    by_moments = basis_of(maps, 5)
    torch.testing.assert_close(by_places.variances, by_moments.variances, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(by_places.components, by_moments.components, rtol=0, atol=1e-3)
    assert by_places.total_variance == pytest.approx(by_moments.total_variance, rel=1e-4)


def test_explained_variance_falls_and_sums_to_one_over_all_channels(maps: Tensor) -> None:
    ratio = basis_of(maps, 12).explained_variance_ratio
    assert float(ratio.sum()) == pytest.approx(1, abs=1e-5)
    assert bool((ratio.diff() <= 0).all())
    assert bool(((ratio >= 0) & (ratio <= 1)).all())
    torch.testing.assert_close(basis_of(maps, 3).explained_variance_ratio, ratio[:3])


def test_scores_are_projections_whose_variance_is_that_of_the_basis(maps: Tensor) -> None:
    basis = basis_of(maps)
    scores = basis.project(maps)
    expected = project(maps, basis.mean.double().numpy(), basis.components.double().numpy())
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    torch.testing.assert_close(
        scores.movedim(1, 0).flatten(1).var(1, correction=0), basis.variances
    )


@pytest.mark.parametrize("shape", [(2, 11, 5, 4), (12, 5, 4), (2, 12, 20)])
def test_projection_of_other_maps_names_the_channels(maps: Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(PFVValueError, match=r"C=12 channels"):
        basis_of(maps).project(torch.zeros(shape))


def test_signs_make_the_largest_entry_of_each_component_positive(maps: Tensor) -> None:
    rows = torch.tensor([[0.1, -0.9, 0.4], [0.8, -0.2, 0.1], [0.0, 0.0, 0.0]])
    assert canonical_signs(rows).tolist() == [-1, 1, 1]
    components = basis_of(maps).components
    assert bool((components.amax(dim=1) == components.abs().amax(dim=1)).all())


def test_order_of_the_images_does_not_change_the_basis(maps: Tensor) -> None:
    order = [4, 2, 5, 0, 3, 1]
    torch.testing.assert_close(
        basis_of(maps[order]).components, basis_of(maps).components, rtol=0, atol=1e-4
    )


def test_arrangement_picks_and_flips(maps: Tensor) -> None:
    basis = basis_of(maps)
    arranged = basis.arranged((2, -1))
    assert torch.equal(
        arranged.components, torch.stack([basis.components[1], -basis.components[0]])
    )
    assert torch.equal(arranged.variances, basis.variances[[1, 0]])
    assert (arranged.layer, arranged.total_variance) == (basis.layer, basis.total_variance)


def test_without_a_previous_basis_components_stand_by_variance(maps: Tensor) -> None:
    assert basis_of(maps).matching(None, 3) == (1, 2, 3)
    assert basis_of(maps).matching(basis_of(maps[:, :11]), 3) == (1, 2, 3)


def test_matching_undoes_flipped_signs(maps: Tensor) -> None:
    basis = basis_of(maps)
    assert basis.matching(basis.arranged((-1, 2, -3)), 3) == (-1, 2, -3)


def test_matching_puts_swapped_components_back() -> None:
    before = orthonormal([[1.0, 0, 0, 0], [0, 1, 0.1, 0], [0, -0.1, 1, 0]], [5, 3.1, 3.0])
    after = orthonormal([[1.0, 0.1, 0, 0], [0, 0, -1, 0.2], [-0.1, 1, 0, 0]], [5, 3.1, 3.0])
    assert after.matching(before, 3) == (1, 3, -2)


def test_matching_leaves_unrecognised_components_in_order_of_variance() -> None:
    before = orthonormal([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], [3, 2, 1])
    after = orthonormal([[0.0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [-1, 0, 0, 0, 0]], [3, 2, 1])
    assert after.matching(before, 3) == (-3, 1, 2)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_matching_uses_each_component_once_whatever_the_number(maps: Tensor, number: int) -> None:
    previous = basis_of(maps.flip(1), 3)
    arrangement = basis_of(maps, 5).matching(previous, number)
    assert sorted(map(abs, arrangement)) == list(range(1, number + 1))


def test_basis_comes_back_from_a_file_as_it_was(maps: Tensor, tmp_path: Path) -> None:
    basis = basis_of(maps)
    with pytest.raises(PFVValueError, match="cannot be written"):
        basis.save(tmp_path / "nowhere" / "basis.npz")
    for path in (tmp_path / "basis.npz", str(tmp_path / "no_suffix")):
        basis.save(path)
        loaded = PrincipalBasis.load(path)
        for name in ("mean", "components", "variances"):
            assert torch.equal(getattr(loaded, name), getattr(basis, name))
        for name in ("total_variance", "count", "layer"):
            assert getattr(loaded, name) == getattr(basis, name)


def test_basis_of_fewer_directions_than_components_comes_back_from_a_file(tmp_path: Path) -> None:
    maps = torch.zeros(3, 4, 1, 1)
    maps[0, 0], maps[1, 0] = 1, -1
    basis = fit_maps(maps, [1.0] * 3, 2)
    assert basis.components[1].tolist() == [0] * 4
    basis.save(tmp_path / "basis.npz")
    assert torch.equal(PrincipalBasis.load(tmp_path / "basis.npz").components, basis.components)


def test_file_that_holds_no_basis_is_named(tmp_path: Path) -> None:
    paths = {
        name: tmp_path / name for name in ("absent", "empty", "text", "zip", "other", "pickle")
    }
    paths["empty"].write_bytes(b"")
    paths["text"].write_text("version https://git-lfs")
    paths["zip"].write_bytes(b"PK\x03\x04")
    with paths["other"].open("wb") as file:
        np.savez(file, mean=np.zeros(3))
    with paths["pickle"].open("wb") as file:
        np.savez(file, mean=np.array([{}], dtype=object))
    for name, path in [*paths.items(), ("folder", tmp_path)]:
        with pytest.raises(PFVValueError, match="holds no basis") as excinfo:
            PrincipalBasis.load(path)
        assert path.name in str(excinfo.value), name
        assert "pickle" not in str(excinfo.value).replace(path.name, "")


def test_file_with_arrays_of_wrong_shapes_or_types_is_refused(maps: Tensor, tmp_path: Path) -> None:
    basis_of(maps).save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        good = dict(file)
    bad = [
        {"components": good["components"][0]},
        {"components": good["components"][:, :5]},
        {"variances": good["variances"][:2]},
        {"mean": good["mean"].astype(int)},
        {"mean": good["mean"].astype("<U4")},
        {"components": np.full_like(good["components"], np.nan)},
    ]
    for index, change in enumerate(bad):
        path = tmp_path / f"bad{index}.npz"
        np.savez(path, **(good | change))
        with pytest.raises(PFVValueError, match="holds no basis"):
            PrincipalBasis.load(path)


@pytest.mark.parametrize(("offset", "content"), [(8, b"\x01"), (10, b"\x63"), (6, b"\x63")])
def test_file_whose_parts_cannot_be_unpacked_is_refused(
    maps: Tensor, tmp_path: Path, offset: int, content: bytes
) -> None:
    """Flags or the method of compression, in the directory of the archive."""
    path = tmp_path / "basis.npz"
    basis_of(maps).save(path)
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + offset : entry + offset + 1] = content
    path.write_bytes(whole)
    with pytest.raises(PFVValueError, match="holds no basis: it is damaged"):
        PrincipalBasis.load(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("total_variance", np.nan, "total_variance=nan"),
        ("total_variance", -1.0, r"total_variance=-1\.0"),
        ("total_variance", 0.0, r"total_variance=0\.0"),
        ("total_variance", 1e-9, "variances add up to more than total_variance"),
        ("count", -5.0, r"count=-5\.0"),
        ("count", np.inf, "count=inf"),
        ("count", np.ones(3), r"count=\[1\.0, 1\.0, 1\.0\]"),
        ("noise", -1.0, r"noise=-1\.0"),
        ("variances", -np.ones(3, np.float32), "variances holds a negative number"),
        ("variances", np.full(3, np.nan, np.float32), "variances holds numbers that are not fin"),
        ("components", np.zeros((3, 6), np.float32), "components are no unit vectors"),
        ("components", np.zeros((3, 5), np.float32), r"do not fit together: .*components \(3, 5\)"),
        ("mean", np.zeros(0, np.float32), r"do not fit together: mean \(0,\)"),
    ],
)
def test_file_with_a_wrong_number_is_refused_by_its_name(
    tmp_path: Path, field: str, value: Any, words: str
) -> None:
    maps = torch.randn(2, 6, 4, 4, generator=seeded())
    basis = fit_moments(Moments.of_maps(maps).pooled(), 3)
    basis.save(tmp_path / "right.npz")
    with np.load(tmp_path / "right.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "wrong.npz", **(arrays | {field: value}))
    with pytest.raises(PFVValueError, match=f"holds no basis: .*{words}"):
        PrincipalBasis.load(tmp_path / "wrong.npz")


def test_file_of_an_earlier_version_has_no_noise(tmp_path: Path) -> None:
    basis = fit_moments(Moments.of_maps(torch.randn(2, 6, 4, 4, generator=seeded())).pooled(), 3)
    basis.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        new = ("noise", "version", "digest")
        arrays = {name: file[name] for name in file.files if name not in new}
    np.savez(tmp_path / "old.npz", **arrays)
    assert PrincipalBasis.load(tmp_path / "old.npz").noise == 0.0
    assert PrincipalBasis.load(tmp_path / "new.npz").noise == basis.noise > 0
