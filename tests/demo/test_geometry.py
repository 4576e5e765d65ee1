from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from pfv_widgets.demo import geometry as geo

AXIS = np.linspace(-1.5, 1.5, 121)
U, V = np.meshgrid(AXIS, AXIS)


def _distance_to(points):
    """Slow oracle: the distance of every grid point to the nearest of many edge points."""
    return KDTree(points).query(np.stack(np.broadcast_arrays(U, V), axis=-1))[0]


def _edges(corners, per_edge=400):
    ends = np.roll(corners, -1, axis=0)
    steps = np.linspace(0, 1, per_edge)[:, None, None]
    return (corners + (ends - corners) * steps).reshape(-1, 2)


def test_polygon_is_the_signed_distance_to_its_edges():
    corners = np.array([(-0.8, -0.5), (0.9, -0.2), (0.1, 0.1), (0.4, 0.9)])
    ours = geo.polygon(U, V, [tuple(corner) for corner in corners.tolist()])
    np.testing.assert_allclose(np.abs(ours), _distance_to(_edges(corners)), atol=0.005)
    assert ours[AXIS.searchsorted(-0.2), AXIS.searchsorted(0.1)] < 0
    assert ours[0, 0] > 0


def test_box_is_a_polygon_with_four_corners():
    corners = [(-0.3, -0.6), (0.7, -0.6), (0.7, 0.4), (-0.3, 0.4)]
    ours = geo.box(U, V, (0.2, -0.1), (0.5, 0.5))
    np.testing.assert_allclose(ours, geo.polygon(U, V, corners), atol=1e-12)


def test_ellipse_is_zero_on_its_edge_and_has_unit_slope_there():
    angle = np.linspace(0, 2 * np.pi, 50)
    for scale, expected in ((1.0, 0.0), (1.01, None)):
        u, v = 0.1 + 0.9 * scale * np.cos(angle), 0.4 * scale * np.sin(angle)
        ours = geo.ellipse(u, v, (0.1, 0.0), (0.9, 0.4))
        if expected is not None:
            np.testing.assert_allclose(ours, expected, atol=1e-12)
        else:
            assert (ours > 0.002).all()


def test_ellipse_is_negative_in_its_centre():
    assert geo.ellipse(np.zeros(1), np.zeros(1), (0.0, 0.0), (0.5, 0.3)) < -0.2


def test_segment_is_the_distance_to_a_line():
    line = np.linspace((-0.5, 0.2), (0.6, -0.7), 2000)
    ours = geo.segment(U, V, (-0.5, 0.2), (0.6, -0.7), 0.0)
    np.testing.assert_allclose(ours, _distance_to(line), atol=1e-3)


@pytest.mark.parametrize("count", geo.ROOTS)
def test_directions_are_evenly_spaced_unit_vectors(count):
    angle = 2 * np.pi * np.arange(count) / count
    expected = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(geo.directions(count), expected, atol=1e-12)


def test_spiral_line_is_unbroken_where_its_half_circles_meet():
    u = np.linspace(-0.9, 0.9, 181)
    above, below = geo.spiral(u, np.full_like(u, -1e-9), 0.3), geo.spiral(u, 0 * u + 1e-9, 0.3)
    np.testing.assert_allclose(above, below, atol=1e-6)


def test_value_noise_meets_its_lattice_and_stays_between():
    lattice = np.random.RandomState(0).random_sample((5, 6))
    rows, columns = np.mgrid[0:4, 0:5].astype(float)
    np.testing.assert_array_equal(geo.value_noise(columns, rows, lattice), lattice[:4, :5])
    between = geo.value_noise(columns + 0.37, rows + 0.61, lattice)
    assert lattice.min() <= between.min() <= between.max() <= lattice.max()


def test_union_lies_at_or_below_both_shapes():
    first, second = geo.circle(U, V, -0.3, 0.0, 0.5), geo.circle(U, V, 0.4, 0.0, 0.4)
    assert (geo.union(first, second, 0.2) <= np.minimum(first, second)).all()


@pytest.mark.parametrize("x", [-2.25, -0.25, 0.25, 3.75])
def test_triangle_wave_is_half_way_at_quarters(x):
    assert geo.triangle_wave(np.array([x])) == pytest.approx(0.5)
