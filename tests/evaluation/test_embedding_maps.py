import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fsjax.errors import UserError
from fsjax.evaluation.analysis.embedding_maps import Drawing, Panel, choose, draw_embeddings, project
from fsjax.evaluation.analysis.scatter import scatter

DRAWING = Drawing(classes=3, per_class=6, perplexity=5.0)


def blobs(classes=5, per_class=8, dim=4):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), per_class))
    return 20.0 * np.eye(classes, dim)[labels] + np.random.default_rng(1).normal(size=(len(labels), dim)), labels


def panel(part="novel", names=("n01742172_boa_constrictor", "b", "c", "d", "e")):
    x, labels = blobs()
    shown, positions = choose(labels, DRAWING)
    kinds = np.searchsorted(shown, labels[positions])
    return Panel(part, scatter(x, labels), tuple(names), shown, x[positions, :2], kinds)


def test_some_images_of_some_classes_are_chosen_by_seed():
    _, labels = blobs()
    shown, positions = choose(labels, DRAWING)
    assert len(set(shown)) == 3 and sorted(shown) == list(shown)
    assert len(set(positions)) == 18
    assert np.array_equal(np.sort(labels[positions]), np.repeat(shown, 6))
    again = choose(labels, DRAWING)
    assert np.array_equal(shown, again[0]) and np.array_equal(positions, again[1])
    others = [choose(labels, dataclasses.replace(DRAWING, seed=seed)) for seed in range(1, 5)]
    assert any(not np.array_equal(shown, other[0]) for other in others)
    everything = choose(labels, Drawing(classes=8, per_class=60))
    assert np.array_equal(everything[0], np.arange(5)) and len(everything[1]) == 40


def test_images_of_a_class_come_together():
    """Classes far apart: of each image, the nearest in the plane is of its class."""
    x, labels = blobs(classes=4)
    plane = project(x, DRAWING)
    assert plane.shape == (32, 2)
    distances = ((plane[:, None] - plane) ** 2).sum(-1) + 1e9 * np.eye(32)
    assert np.array_equal(labels[distances.argmin(1)], labels)
    assert np.array_equal(plane, project(x * 7, DRAWING))  # at length 1, whatever the length was


def test_every_point_is_drawn_with_the_numbers_in_the_title(tmp_path, monkeypatch):
    figures = []
    original = Figure.supxlabel
    monkeypatch.setattr(Figure, "supxlabel", lambda self, *a, **k: (figures.append(self), original(self, *a, **k))[1])
    path, row = tmp_path / "figure.png", [panel("base"), panel()]
    draw_embeddings(["gap", "proto"], [row, row], DRAWING, path)
    with Image.open(path) as image:
        assert image.format == "PNG" and image.size[0] == 2 * 840
    (figure,) = figures
    axes = figure.axes[0]
    drawn = np.concatenate([c.get_offsets() for c in axes.collections])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, row[0].points))
    found, title = row[0].scatter, axes.get_title()
    low, high = found.interval
    assert title.startswith("base: ") and title.endswith(f"bias {found.unbiased:.2f} [{low:.2f}, {high:.2f}]")
    assert [figure.axes[number].get_ylabel() for number in (0, 2)] == ["gap", "proto"]
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend == [("boa constrictor", "b", "c", "d", "e")[label] for label in row[0].shown]
    assert "perplexity 5, seed 0" in figure.get_supxlabel().replace("\n", " ")


def test_runs_of_other_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match="different data or class splits"):
        rows = [[panel()], [panel(names="abcde")]]
        draw_embeddings(["gap", "proto"], rows, DRAWING, tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 9}, "9 classes cannot be drawn: colours tell 1 to 8 apart"),
        ({"per_class": 0}, "0 images per class"),
        ({"perplexity": 0.0}, "perplexity=0.0 must be above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Drawing(**options)


def test_perplexity_must_be_below_the_images():
    with pytest.raises(UserError, match="t-SNE of 18 images needs a perplexity below that, not 30"):
        project(np.zeros((18, 4)), Drawing())
