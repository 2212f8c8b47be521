import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fsjax.evaluation.analysis.plots import feature_scatter


def blobs(count, classes=10):
    labels = np.arange(count) % classes
    return 5.0 * labels[:, None] * [1, -1] + np.random.default_rng(0).normal(size=(count, 2)), labels


@pytest.mark.parametrize(("titles", "size"), [(("test",), (880, 680)), (("train", "test"), (1520, 680))])
def test_scatter_is_a_png_with_every_class_in_its_colour(tmp_path, titles, size):
    path = tmp_path / "features.png"
    means = np.stack([blobs(1000)[0][blobs(1000)[1] == k].mean(0) for k in range(10)])
    feature_scatter(dict.fromkeys(titles, blobs(1000)), path, means=means)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", size)
        colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    # White background and, in the legend at least, the ten full colours.
    assert len(np.unique(colors, axis=0)) > 10
    tab10 = [
        "1f77b4",
        "ff7f0e",
        "2ca02c",
        "d62728",
        "9467bd",
        "8c564b",
        "e377c2",
        "7f7f7f",
        "bcbd22",
        "17becf",
    ]
    seen = {bytes(color).hex() for color in np.unique(colors, axis=0)}
    assert set(tab10) <= seen
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_every_example_is_drawn_and_named(tmp_path, monkeypatch):
    figures = []
    original = Figure.legend
    monkeypatch.setattr(Figure, "legend", lambda self, **k: (figures.append(self), original(self, **k))[1])
    names = [f"kind {label}" for label in range(3)]
    features, labels = blobs(300, classes=3)
    feature_scatter({"test": (features, labels)}, tmp_path / "features.png", class_names=names)
    drawn = figures[0].axes[0].collections[0].get_offsets()
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, features))
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == names


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((4, 3)), np.arange(4), r"panel 'test': .*not shape \(4, 3\); take a network with a 2-D"),
        (
            np.zeros((4, 2)),
            np.arange(3),
            r"4 features need as many integer labels, not int64 of shape \(3,\)",
        ),
        (np.zeros((4, 2)), np.zeros(4), "not float64 of shape"),
        (np.zeros((0, 2)), np.zeros(0, int), "panel 'test' has no examples"),
        (np.full((4, 2), np.nan), np.arange(4), "has 4 features that are not finite"),
        (np.zeros((11, 2)), np.arange(11), "labels run from 0 to 10: .*at most 10 classes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, features, labels, message):
    with pytest.raises(ValueError, match=message):
        feature_scatter({"test": (features, labels)}, tmp_path / "features.png")
    assert not list(tmp_path.iterdir())


def test_arguments_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "features.png"
    with pytest.raises(ValueError, match="at least one panel"):
        feature_scatter({}, path)
    with pytest.raises(ValueError, match="label 9 has no name among the 2 class_names"):
        feature_scatter({"test": blobs(20)}, path, class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"means must be \[classes, 2\], not of shape \(10, 3\)"):
        feature_scatter({"test": blobs(20)}, path, means=np.zeros((10, 3)))
