"""The numbers of a page on arrays made by hand."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.stats import binomtest

from fsjax.evaluation.analysis.scatter import scatter
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.evaluation.few_shot.statistics import wilson_interval
from fsjax.report.classes import class_accuracy, classes, confused_pairs, shot_groups
from fsjax.report.classified import Classified, Mistake, most_confident, sureness
from fsjax.report.comparison import comparison, couples
from fsjax.report.embeddings import chosen
from fsjax.report.page import _kept, _Seen
from fsjax.report.wording import duration, value

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 0, 2, 2, 2, 0])


def made(name="run", *, names=("a", "b", "c"), predicted=PREDICTED, mistakes=(), training=(500, 50, 5), images="x"):
    sure = np.full(len(LABELS), 0.9)
    embeddings = np.zeros((len(LABELS), 4), np.float32)
    return Classified(
        name, 10, names, np.array(training), LABELS, predicted, sure, 1 - sure, embeddings, tuple(mistakes), "", images
    )


def test_sureness_is_the_softmax():
    logits = np.array([[1.0, 2.0, 3.0], [5.0, 1.0, 1.0], [1e4, 0.0, 0.0], [np.nan] * 3, [np.nan, 0.0, 1.0]])
    labels = np.array([0, 1, 0, 2, 2])
    predicted, confidence, own = sureness(logits, labels)
    assert predicted.tolist() == [2, 0, 0, 0, 2]
    shares = np.exp(logits[:2]) / np.exp(logits[:2]).sum(1, keepdims=True)
    np.testing.assert_allclose(confidence[:2], shares.max(1))
    np.testing.assert_allclose(own[:2], shares[[0, 1], labels[:2]])
    assert confidence[2] == 1 and confidence[3] == 0 and own[4] == confidence[4]


def test_the_most_confident_mistakes_come_first():
    confidence = np.array([0.9, 0.1, 0.5, 0.8, 0.9, 0.8, 0.9, 0.9, 0.9, 0.2])
    assert most_confident(PREDICTED, LABELS, confidence, 3).tolist() == [3, 5, 2]
    assert most_confident(LABELS, LABELS, confidence, 3).tolist() == []


def test_confusions_and_accuracy_by_class():
    run = made()
    assert run.confusion.tolist() == [[2, 2, 0], [1, 1, 0], [1, 0, 3]]
    assert class_accuracy(run).tolist() == [0.5, 0.5, 0.75]
    assert confused_pairs(run.confusion) == [(0, 1), (1, 0), (2, 0)]
    assert confused_pairs(np.diag([3, 4])) == []
    assert list(shot_groups(run).values()) == [0.5, 0.5, 0.75]
    assert len(shot_groups(made(training=(500, 500, 500)))) == 1


def test_intervals_of_shares():
    for hits, count in ((0, 5), (360, 360), (7, 9), (500, 1000)):
        expected = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_pairs_by_image():
    other = made("other", predicted=LABELS)
    page = comparison([made(), other], [])
    right = (PREDICTED == LABELS).astype(float)
    difference = right - 1
    half_width = 1.96 * difference.std(ddof=1) / len(right) ** 0.5
    assert f"{100 * difference.mean():+.2f} ± {100 * half_width:.2f}" in page
    assert "run − other" in page and ">0</td>" in page and ">4</td>" in page
    assert "it needs two runs" in comparison([other], [])
    assert "no two of the runs were evaluated on the same images" in comparison([made(), made("b", images="y")], [])


def test_couples():
    assert couples(list("abc")) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert couples(list("abcdef")) == [("a", x) for x in "bcdef"]


def test_what_is_drawn_of_embeddings():
    labels = np.repeat(np.arange(30), 200)
    positions = chosen(labels, classes=10, images=500)
    shown, counts = np.unique(labels[positions], return_counts=True)
    assert len(shown) == 10 and set(counts) == {50} and len(set(positions)) == 500
    assert np.array_equal(positions, chosen(labels, classes=10, images=500))
    assert np.array_equal(chosen(LABELS), np.arange(len(LABELS)))


def test_names_of_classes_are_text():
    evil = "<script>alert(1)</script>"
    mistake = Mistake(3, np.zeros((8, 8, 3), np.uint8), None, 0, 1, 0.9, 0.1)
    run = made("<b>run</b>", names=(evil, '"quoted"', "c"), mistakes=[mistake])
    page = classes([run, dataclasses.replace(run, name="x'><img src=x onerror=alert(1)>")], "test")
    assert evil not in page and "<b>run" not in page and "<img src=x" not in page
    assert "&lt;script&gt;" in page and "&lt;b&gt;run" in page


def test_no_level_of_headings_is_left_out():
    """The section's heading is h2; of one run alone there is none of the run."""
    run = made(mistakes=[Mistake(3, np.zeros((8, 8, 3), np.uint8), None, 0, 1, 0.9, 0.1)])
    other = dataclasses.replace(run, name="other")
    levels = [re.findall(r"<h(\d)", classes(found, "test")) for found in ([run], [run, other])]
    assert levels == [["2", "3"], ["2", "3", "4", "3", "4"]]


def test_what_is_not_shown_of_embeddings_is_not_kept():
    embedded = np.random.default_rng(0).normal(size=(len(LABELS), 4)).astype(np.float32)
    seen, run = _Seen(), dataclasses.replace(made(), embeddings=embedded)
    kept = _kept(run, seen)
    assert kept.embeddings.shape == (0, 4) and kept.embeddings.base is None and kept.labels is run.labels
    (drawn,) = seen.embedded
    assert drawn.embeddings.base is None and drawn.scatter.within == scatter(embedded, LABELS).within
    np.testing.assert_array_equal(drawn.embeddings, embedded)


def test_words():
    assert (duration(12.34), duration(3725), duration(None)) == ("12.3 s", "1:02:05", "–")
    assert (value([1, [2, 3]]), value(None), value(""), value(0.1)) == ("(1, (2, 3))", "none", "''", "0.1")


def test_names_for_people_stay_apart():
    names = ["n02012849_crane", "n03126707_crane", "n01443537_king_penguin", "a_b", "a b", "n01443537_king_penguin"]
    expected = ["n02012849_crane", "n03126707_crane", "king penguin", "a_b", "a b", "king penguin"]
    assert readable_names(names) == expected
    assert readable_names(names[:1]) == ["crane"]
