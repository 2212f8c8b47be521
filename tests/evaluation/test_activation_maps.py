import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.analysis.activation_maps import Row, class_activation_maps, draw_activation_maps


def test_maps_are_inner_products_with_the_unit_class_vector():
    rng = np.random.default_rng(0)
    maps, classes = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 5))
    found = np.asarray(class_activation_maps(jnp.asarray(maps), jnp.asarray(classes)))
    for n in range(2):
        for i in range(3):
            for j in range(4):
                expected = maps[n, i, j] @ classes[n] / np.linalg.norm(classes[n])
                assert found[n, i, j] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_hottest_position_is_red(tmp_path):
    """A white picture whose heat is at the upper left: red there, blue at the other corner."""
    from PIL import Image

    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    row = Row(np.full((32, 32, 1), 255, np.uint8), heat, "novel: a", True)
    draw_activation_maps({"run": [row]}, tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as image:
        right = np.asarray(image.convert("RGB"))[:, image.width // 2 :].astype(int)
    red, blue = right[..., 0] - right[..., 2], right[..., 2] - right[..., 0]
    (top, left), (bottom, away) = (np.argwhere(x > 60).mean(0) for x in (red, blue))
    assert top < bottom and left < away


def test_different_pictures_are_refused(tmp_path):
    rows = [[Row(np.full((8, 8, 3), value, np.uint8), np.ones((2, 2)), "x", True)] for value in (0, 1)]
    with pytest.raises(UserError, match="different data or class splits"):
        draw_activation_maps({"a": rows[0], "b": rows[1]}, tmp_path / "maps.png")
