"""A run without training: its features are the pixels themselves, so that NumPy can say what is right."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from fsjax.data import DataInfo
from fsjax.labelling import Network
from fsjax.methods.rules import Rule, features_of
from fsjax.models import Encoded


class PixelMethod:
    """Feature maps are 2x2 blocks of the normalised image, all their pixels as channels: `[n, h/2, w/2, 4 c]`."""

    encoder = types.SimpleNamespace(goes_on=False, pool="gap")
    implants = None
    locates = False

    def __init__(self, rule):
        self._rule = rule

    def rule(self, params):
        return self._rule

    def encode(self, params, collections, images):
        n, h, w, c = images.shape
        blocks = images.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, -1)
        return Encoded(embedding=jnp.mean(blocks, axis=(1, 2)), maps={"blocks": blocks})

    def features(self, params, collections, images, names):
        return features_of(self.encode(params, collections, images), names)


@pytest.fixture(scope="session")
def pixel_run():
    """A function that makes such a run of 8x8 colour pictures, with a rule."""

    def make(rule=None):
        info = DataInfo("x", ("a", "b"), (8, 8, 3), {"train": 2}, (1, 1), (0.5,) * 3, (0.25,) * 3)
        method = PixelMethod(rule or Rule("cosine", "gap", "gap", 10.0))
        config = ConfigDict({"data": {"name": "fake"}})
        return types.SimpleNamespace(
            method=method,
            params={},
            collections={},
            info=info,
            config=config,
            workdir="w",
            preferred_head="prototypes",
        )

    return make


@pytest.fixture(scope="session")
def pixel_network(pixel_run):
    """A function from a rule to the network of such a run."""

    def make(rule):
        run = pixel_run(rule)
        return Network(run.method, run.params, run.collections, run.info, batch_size=4)

    return make


COLOURS = {"blau": (30, 60, 200), "grün": (40, 180, 60), "rot": (210, 50, 40)}


@pytest.fixture(scope="session")
def paint():
    """A function that gives a picture in the colour of a class, `[h, w, 3]`, with some noise."""
    rng = np.random.default_rng(0)

    def make(name, height=20, width=30, noise=12):
        picture = np.asarray(COLOURS[name]) + rng.normal(0, noise, (height, width, 3))
        return np.clip(picture, 0, 255).astype(np.uint8)

    return make


@pytest.fixture
def folders(tmp_path, paint):
    """Class folders of 2 to 4 pictures of all sizes, and 6 pictures to label, whose names begin with their class."""
    support, query = tmp_path / "few", tmp_path / "many"
    for number, name in enumerate(COLOURS):
        (support / name).mkdir(parents=True)
        for i in range(2 + number):
            Image.fromarray(paint(name, 8 + 7 * i, 30 - 3 * i)).save(support / name / f"{i} ü.png")
    query.mkdir()
    for name in COLOURS:
        for i in range(2):
            Image.fromarray(paint(name, 40, 12 + 30 * i)).save(query / f"{name} {i}.png")
    return support, query
