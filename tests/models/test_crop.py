"""The crop against the vectors (PyTorch's grid_sample), a loop, and finite differences; the scaled gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models.crop import affine_crop, scale_gradient

RNG = np.random.default_rng(0)
IDENTITY = np.array([[1.0, 1.0, 0.0, 0.0]])


@pytest.mark.parametrize("align_corners", [False, True])
def test_crop_is_the_vectors(x64, vector, align_corners):
    v = vector("affine_bilinear_crop")
    size, name = (v.params["out_h"], v.params["out_w"]), "true" if align_corners else "false"
    images, theta = v.inputs["image"], v.inputs["theta"]

    def crop(images, theta, padding):
        return affine_crop(images, theta, size=size, align_corners=align_corners, padding=padding)

    for padding in ("zeros", "border"):
        expected = v.expected[f"align_{name}_{padding}"]
        np.testing.assert_allclose(crop(images, theta, padding), expected, atol=1e-12)
    total = lambda images, theta: jnp.sum(crop(images, theta, "zeros") * v.expected["cotangent"])  # noqa: E731
    of_images, of_theta = jax.grad(total, argnums=(0, 1))(images, theta)
    np.testing.assert_allclose(of_images, v.expected[f"grad_img_align_{name}"], atol=1e-12)
    np.testing.assert_allclose(of_theta, v.expected[f"grad_theta_align_{name}"], atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (64, 64), (31, 448)])
def test_identity_is_the_image_to_the_bit(vector, align_corners, size):
    v = vector("affine_identity")
    images = [np.float32(v.inputs["image"])] if size == (5, 7) else [RNG.normal(size=(1, *size, 3)).astype(np.float32)]
    for image in images:
        theta = np.tile(np.float32(IDENTITY), (len(image), 1))
        crop = affine_crop(image, theta, size=size, align_corners=align_corners)
        np.testing.assert_array_equal(crop, image)
    if size == (5, 7):
        np.testing.assert_allclose(crop, v.expected["output"], atol=1e-7)


def by_pixel(image, theta, size, align_corners, padding):
    """docs/readings.md, "Crop", one pixel at a time."""
    (s_x, s_y, t_x, t_y), (height, width) = theta, image.shape[:2]
    out = np.zeros((*size, image.shape[2]))

    def source(number, count, length, scale, shift):
        if align_corners:
            place = -1 + 2 * number / (count - 1) if count > 1 else 0.0
            return (scale * place + shift + 1) * (length - 1) / 2
        return ((scale * ((2 * number + 1) / count - 1) + shift + 1) * length - 1) / 2

    def pixel(row, column):
        if padding == "border":
            return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
        return image[row, column] if 0 <= row < height and 0 <= column < width else 0.0

    for i, j in np.ndindex(*size):
        y, x = source(i, size[0], height, s_y, t_y), source(j, size[1], width, s_x, t_x)
        top, left = int(np.floor(y)), int(np.floor(x))
        for row in (top, top + 1):
            for column in (left, left + 1):
                out[i, j] += (1 - abs(y - row)) * (1 - abs(x - column)) * pixel(row, column)
    return out


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(4, 6), (1, 1), (9, 3)])
def test_crop_is_a_loop_over_pixels(x64, size, align_corners, padding):
    """Boxes inside, across the border, quite outside, mirrored, and of no size."""
    inside, across, outside = [0.5, 0.3, 0.2, -0.1], [0.7, 1.4, 0.8, -0.9], [0.2, 0.2, 3, 3]
    thetas = np.array([inside, across, outside, [-0.6, 0.5, 0, 0], [0, 0, 0.1, 0]])
    images = RNG.normal(size=(len(thetas), 6, 5, 2))
    crops = affine_crop(images, thetas, size=size, align_corners=align_corners, padding=padding)
    expected = [by_pixel(i, t, size, align_corners, padding) for i, t in zip(images, thetas, strict=True)]
    np.testing.assert_allclose(crops, expected, atol=1e-12)


def test_gradients_are_finite_differences(x64, finite_differences):
    images = RNG.normal(size=(2, 5, 6, 1))
    theta = np.array([[0.61, 0.52, 0.21, -0.33], [1.13, 0.84, -0.16, 0.27]])
    weights = RNG.normal(size=(2, 4, 3, 1))

    def total(images, theta):
        return jnp.sum(jnp.sin(affine_crop(images, theta, size=(4, 3))) * weights)

    found = jax.grad(total, argnums=(0, 1))(images, theta)
    for gradient, expected in zip(found, finite_differences(total, images, theta), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_images_in_bfloat16_are_weighted_in_float32():
    images = jnp.asarray(RNG.normal(size=(1, 200, 200, 1)), jnp.bfloat16)
    theta = np.float32([[0.37, 0.41, 0.53, -0.29]])
    crop = affine_crop(images, theta, size=(32, 32))
    assert crop.dtype == jnp.bfloat16
    # Rounded after each direction, and nowhere else: the rows first, then the columns of what they gave.
    rows = affine_crop(images.astype(jnp.float32), theta * [0, 1, 0, 1] + [[1, 0, 0, 0]], size=(32, 200))
    both = affine_crop(
        rows.astype(jnp.bfloat16).astype(jnp.float32), theta * [1, 0, 1, 0] + [[0, 1, 0, 0]], size=(32, 32)
    )
    np.testing.assert_array_equal(crop, both.astype(jnp.bfloat16))


def test_unknown_padding():
    with pytest.raises(UserError, match="unknown padding 'wrap'.*border, zeros"):
        affine_crop(np.zeros((1, 2, 2, 1)), IDENTITY, size=(2, 2), padding="wrap")


def test_scaled_gradient_is_the_vector(x64, vector):
    v = vector("gradient_scale")
    beta, a = v.params["beta"], v.inputs["a"]
    value, gradient = jax.value_and_grad(lambda a: jnp.sum(jnp.sin(scale_gradient(a, beta))) + jnp.sum(a**2))(a)
    np.testing.assert_allclose(value, v.expected["value"], rtol=1e-12)
    np.testing.assert_allclose(gradient, v.expected["grad"], rtol=1e-12)


def test_a_factor_of_0_cuts_what_is_not_finite_too():
    x = jnp.array([0.1, -2.5], jnp.float32)
    np.testing.assert_array_equal(scale_gradient(x, 0.3), x)
    gradient = jax.grad(lambda x: jnp.sum(jnp.sqrt(scale_gradient(x, 0.0) - x)))(jnp.float32([0.1, 2.5]))
    assert not np.isfinite(gradient).all()  # through the other path
    gradient = jax.grad(lambda x: jnp.sum(jnp.sqrt(scale_gradient(x, 0.0) * 0)))(x)
    np.testing.assert_array_equal(gradient, 0.0)
