"""Boxes of maps against the vectors and a loop, and the conversions between their descriptions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.models.boxes import by_edges, corners_of_theta, min_max, target_theta, theta_iou, theta_of_corners
from fsjax.models.crop import affine_crop

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("align_corners", "name"), [(False, "theta_edges"), (True, "theta_corners")])
def test_target_theta_is_the_vector(x64, vector, align_corners, name):
    v = vector("affnet_target_theta")
    theta = target_theta(v.inputs["M"], tau=v.params["tau"], align_corners=align_corners)
    np.testing.assert_allclose(theta, v.expected[name], atol=1e-12)


def test_target_theta_is_a_loop_over_positions(x64):
    """Of maps that are no squares, with several components, against corners from a list of positions."""
    maps = RNG.normal(size=(20, 5, 8)) ** 3
    for tau in (0.0, 0.3, 0.8):
        theta = target_theta(maps, tau=tau)
        for one, found in zip(maps, theta, strict=True):
            level = one.min() + tau * (one.max() - one.min())
            places = np.argwhere(one > level)
            (top, left), (bottom, right) = places.min(0), places.max(0) + 1
            np.testing.assert_allclose(corners_of_theta(found), [top / 5, left / 8, bottom / 5, right / 8], atol=1e-12)


def test_a_constant_map_is_the_whole_image():
    for value, size in ((0.0, (4, 6)), (-3.0, (4, 6)), (7.0, (1, 1)), (7.0, (1, 5))):
        for align_corners in (False, True):
            theta = target_theta(jnp.full((2, *size), value), tau=0.3, align_corners=align_corners)
            np.testing.assert_array_equal(theta, [[1, 1, 0, 0]] * 2)
    np.testing.assert_array_equal(min_max(jnp.full((1, 3, 3), 7.0)), 0)


def test_targets_have_no_gradient():
    gradient = jax.grad(lambda m: jnp.sum(target_theta(m, tau=0.3)))(jnp.asarray(RNG.normal(size=(2, 4, 4))))
    np.testing.assert_array_equal(gradient, 0)


def test_iou_is_the_vector(x64, vector):
    v = vector("box_iou_theta")
    np.testing.assert_allclose(theta_iou(v.inputs["theta_a"], v.inputs["theta_b"]), v.expected["iou"], atol=1e-12)


def test_iou_counts_cells_of_a_fine_grid(x64):
    """Boxes on a grid of 40x40: how many cells both cover, and either."""
    for _ in range(20):
        boxes = np.sort(RNG.integers(0, 41, (2, 2, 2)), axis=1) / 40
        a, b = (theta_of_corners(jnp.asarray([y0, x0, y1, x1])) for ((y0, x0), (y1, x1)) in boxes)
        middle = (np.arange(40) + 0.5) / 40
        inside = [
            ((middle > y0) & (middle < y1))[:, None] & ((middle > x0) & (middle < x1))[None]
            for ((y0, x0), (y1, x1)) in boxes
        ]
        union = (inside[0] | inside[1]).sum()
        np.testing.assert_allclose(theta_iou(a, b), (inside[0] & inside[1]).sum() / max(union, 1), atol=1e-12)


def test_iou_of_mirrored_empty_and_distant_boxes():
    a = jnp.array([[-0.5, 0.5, 0.1, 0.0], [0.0, 0.0, 0.2, 0.2], [0.1, 0.1, -0.5, 0.0], [0.0, 0.5, 0.0, 0.0]])
    b = jnp.array([[0.5, 0.5, 0.1, 0.0], [0.0, 0.0, 0.2, 0.2], [0.1, 0.1, 0.5, 0.0], [0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_allclose(theta_iou(a, b), [1, 0, 0, 0], atol=1e-6)
    assert np.isfinite(jax.grad(lambda a: jnp.sum(theta_iou(a, b)))(a)).all()


def test_corners_and_theta_are_inverse():
    corners = np.sort(RNG.uniform(size=(10, 2, 2)), axis=1).reshape(10, 4)
    np.testing.assert_allclose(corners_of_theta(theta_of_corners(corners)), corners, atol=1e-6)
    np.testing.assert_allclose(theta_of_corners(np.array([0, 0, 1, 1.0])), [1, 1, 0, 0], atol=1e-7)


@pytest.mark.parametrize("crop_size", [(4, 3), (9, 11)])
def test_a_theta_of_corners_reads_the_same_places_by_edges(x64, crop_size):
    images = RNG.normal(size=(3, 7, 9, 2))
    theta = RNG.uniform(-0.9, 0.9, (3, 4))
    aligned = affine_crop(images, theta, size=crop_size, align_corners=True)
    edges = affine_crop(images, by_edges(jnp.asarray(theta), (7, 9), crop_size), size=crop_size)
    np.testing.assert_allclose(edges, aligned, atol=1e-12)
    whole = by_edges(jnp.array([1.0, 1.0, 0, 0]), (7, 9), (7, 9))
    np.testing.assert_allclose(whole, [1, 1, 0, 0], atol=1e-12)
