"""Gates read from networks that sow them, and the study of a run's."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fsjax import data
from fsjax.data import ArrayExamples, DataInfo, ReconstructedOptions, Splits
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.evaluator import Evaluator
from fsjax.evaluation.papers.gate_plot import draw_gates
from fsjax.evaluation.papers.gates import gates_of, study_gates

SHAPE = (4, 4, 3)


class Gate(nn.Module):
    """Sows each image's mean colour, times a number, as its gate."""

    factor: float

    @nn.compact
    def __call__(self, x):
        self.sow("intermediates", "gate", self.factor * x.mean((1, 2)))
        return x


class Backbone(nn.Module):
    gated: bool

    @nn.compact
    def __call__(self, x, *, train):
        if self.gated:
            Gate(2.0, name="gate_local4")(x)
            Gate(1.0, name="gate_global3")(x)
        self.sow("intermediates", "other", x)
        return {"stage1": nn.Conv(2, (1, 1))(x)}


class Network(nn.Module):
    gated: bool = True

    def setup(self):
        self.backbone = Backbone(self.gated)

    def __call__(self, images, *, train):
        return self.backbone(images, train=train)


def variables_of(network):
    return network.init(jax.random.key(0), jnp.zeros((1, *SHAPE)), train=False)["params"]


@pytest.fixture(scope="module")
def splits():
    """Pictures of one colour: 6 base classes are brighter than 6 novel ones by 51, a fifth of white."""
    rng = np.random.default_rng(0)

    def examples(classes, per_class, brightness):
        labels = rng.permutation(np.repeat(np.arange(classes), per_class)).astype(np.int32)
        colors = rng.integers(80, 120, size=(len(labels), 1, 1, 3)) + brightness
        return ArrayExamples(np.broadcast_to(colors, (len(labels), *SHAPE)).astype(np.uint8), labels)

    parts = {"train": examples(6, 4, 51), "base": examples(6, 9, 51), "test": examples(6, 12, 0)}
    names = [tuple(f"{kind} {i}" for i in range(6)) for kind in ("base", "novel")]
    info = DataInfo(
        name="colours",
        class_names=names[0],
        test_classes=names[1],
        image_shape=SHAPE,
        counts={name: len(part) for name, part in parts.items()},
        class_counts=(4,) * 6,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    return Splits(validation=None, info=info, **parts)


@pytest.fixture
def evaluator(splits):
    """The evaluator of a network over these pictures."""

    def make(network):
        method = SimpleNamespace(encoder=network)
        return Evaluator(method, {"encoder": variables_of(network)}, {}, splits, extract=None, batch_size=16)

    return make


def test_gates_are_found_by_name_wherever_they_are_sown():
    images = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
    params = {"encoder": variables_of(Network())}
    found = gates_of(SimpleNamespace(encoder=Network()), params, {}, SHAPE)(params, {}, images)
    assert list(found) == ["gate_global3", "gate_local4"]
    for image, of_global, of_local in zip(images, *found.values(), strict=True):
        mean = sum(image.reshape(-1, 3)) / 16
        assert np.asarray(of_global) == pytest.approx(mean, abs=1e-6)
        assert np.asarray(of_local) == pytest.approx(2 * mean, abs=1e-6)


def test_a_network_without_gates_is_refused(evaluator):
    with pytest.raises(UserError, match="this network has no gates: those of method 'aflm'"):
        study_gates(evaluator(Network(gated=False)), spec=data.parse_spec(way=3, shot=2, query=2), tasks=9, seed=0)


def test_the_gates_of_a_run_follow_what_its_images_do(evaluator, splits):
    """The mean colour of base classes is 51 / 255 = 0.2 above that of novel ones: the slope, and twice that."""
    spec = data.parse_spec(way=4, shot=2, query=3)
    study = study_gates(evaluator(Network()), spec=spec, tasks=300, seed=5)
    of_global, of_local = study.gates
    assert (of_global.name, of_local.name) == ("gate_global3", "gate_local4")
    images = np.concatenate([splits.test.images, splits.base.images]) / 255
    expected = images.mean((1, 2))
    assert of_global.numbers["mean"] == pytest.approx(expected.mean(), rel=1e-5)
    assert of_local.numbers["std_images"] == pytest.approx(2 * expected.std(0).mean(), rel=1e-4)
    assert of_global.numbers["slope"]["value"] == pytest.approx(0.2, abs=0.01)
    assert of_local.numbers["slope"]["value"] == pytest.approx(0.4, abs=0.02)
    assert of_local.numbers["slope"]["p_value"] < 0.05
    rows = of_global.numbers["by_base_classes"]
    assert [row["base_classes"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[4]["gate"] - rows[0]["gate"] == pytest.approx(0.2, abs=0.02)


def test_the_tasks_are_those_of_the_evaluation(evaluator, splits):
    spec, config = data.parse_spec(way=3, shot=2, query=3), ReconstructedOptions(test_base=4, images=7, seed=1)
    study = study_gates(evaluator(Network()), spec=spec, tasks=20, seed=5, reconstructed=config)
    part = data.reconstruct(splits, "test", config)
    table = data.class_table(part.labels, 10)
    drawn = data.draw_episodes(table, spec, seed=5, start=0, count=20)
    assert study.facts["episodes"] == drawn.hash
    assert study.facts["num_classes"] == {"novel": 6, "base": 4} and study.facts["images"] == 70
    images = part.examples.images[drawn.support.reshape(20, 6)] / 255
    base = part.is_base[drawn.classes].sum(1)
    for row in study.gates[0].numbers["by_base_classes"]:
        assert row["gate"] == pytest.approx(images[base == row["base_classes"]].mean(), rel=1e-5)


def test_histograms_tell_base_from_novel_images(evaluator):
    gate = study_gates(evaluator(Network()), spec=data.parse_spec(way=3, shot=2, query=3), tasks=20, seed=0).gates[0]
    middles, width = (gate.edges[1:] + gate.edges[:-1]) / 2, np.diff(gate.edges)
    means = []
    for density in (gate.base, gate.novel):
        assert np.sum(density * width) == pytest.approx(1.0)
        means.append(np.sum(middles * density * width))
    assert means[0] - means[1] == pytest.approx(0.2, abs=0.02)


def test_picture_has_a_column_a_gate(evaluator, tmp_path):
    study = study_gates(evaluator(Network()), spec=data.parse_spec(way=3, shot=2, query=3), tasks=20, seed=0)
    draw_gates(study.gates, "of colours", tmp_path / "gates.png", way=3)
    with Image.open(tmp_path / "gates.png") as image:
        assert image.size == (2 * 600, 1040)
        colors = {bytes(color).hex() for color in np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)}
    assert {"0072b2", "e69f00"} <= colors
