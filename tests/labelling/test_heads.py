"""Heads against other libraries and fits without the picture, and the verdict on what they say."""

import functools
import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid

from fsjax.errors import UserError
from fsjax.labelling import HEADS, PROTOTYPES, Network, fit_classifier, label
from fsjax.labelling.heads import fit_head
from fsjax.labelling.verdict import Verdict, verdict_of

WAY, DIM = 3, 40


def task(shots=(5, 4, 6), seed=0, spread=1.0):
    """Features of normals about three means far from the origin, and their labels."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(shots)), shots)
    x = 3 + rng.normal(size=(len(shots), DIM))[y] + spread * rng.normal(size=(len(y), DIM))
    return np.maximum(x, 0), y


def alone(n):
    return np.arange(n)


@pytest.mark.parametrize("head", HEADS)
def test_each_picture_is_scored_by_a_fit_without_it(head):
    x, y = task()
    found = fit_head(head, x, y, WAY, copies=alone(len(x)))
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        without = fit_head(head, x[others], y[others], WAY, copies=alone(len(x) - 1)).scores(x[i : i + 1])
        if head == "ridge":  # by the whole fit's penalty, which one picture may change
            assert without.argmax() == found.held_out[i].argmax()
        else:
            np.testing.assert_allclose(found.held_out[i], without[0], rtol=0, atol=2e-2 if head == "logistic" else 1e-9)


def test_ridge_is_scikit_learns_and_leaves_out_in_closed_form(monkeypatch):
    monkeypatch.setattr("fsjax.labelling.heads._PENALTIES", (0.3,))
    x, y = task()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    target, centred = np.eye(WAY)[y], unit - unit.mean(axis=0)
    alpha = 0.3 * np.sum(centred**2) / len(x)
    found = fit_head("ridge", x, y, WAY, copies=alone(len(x)))
    queries, _ = task(seed=1)
    of_queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(
        found.scores(queries), Ridge(alpha=alpha).fit(unit, target).predict(of_queries), atol=1e-9
    )
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        model = Ridge(alpha=alpha).fit(unit[others], target[others])
        np.testing.assert_allclose(found.held_out[i], model.predict(unit[i : i + 1])[0], atol=1e-9)


def test_logistic_regression_is_that_of_all_dimensions():
    """It is fitted in the span of the pictures; also of two classes."""
    for shots in ((5, 4, 6), (5, 7)):
        x, y = task(shots)
        queries, _ = task(shots, seed=1)
        unit, of_queries = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, queries))
        model = LogisticRegression(C=10.0, class_weight="balanced", tol=1e-8, max_iter=5000).fit(unit, y)
        scores = fit_head("logistic", x, y, len(shots), copies=alone(len(x))).scores(queries)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, model.predict_proba(of_queries), atol=5e-3)


def test_naive_bayes_is_scikit_learns_where_the_variance_is_one(monkeypatch):
    monkeypatch.setattr("fsjax.labelling.heads._SHRINKAGE", 1.0)
    x, y = task((5, 5, 5))
    queries, _ = task(seed=1)
    # With one variance for all dimensions it is the nearest mean.
    expected = NearestCentroid().fit(x, y).predict(queries)
    assert (
        fit_head("naive_bayes", x, y, WAY, copies=alone(len(x))).scores(queries).argmax(axis=1).tolist()
        == expected.tolist()
    )
    monkeypatch.setattr("fsjax.labelling.heads._SHRINKAGE", 0.0)
    model = GaussianNB(priors=[1 / 3] * 3, var_smoothing=0).fit(x, y)
    model.var_[:] = model.var_.mean(axis=0)  # one for all classes, which are of one size
    scores = fit_head("naive_bayes", x, y, WAY, copies=alone(len(x))).scores(queries)
    differences = scores - scores[:, :1]
    expected = model.predict_joint_log_proba(queries)
    np.testing.assert_allclose(differences, expected - expected[:, :1], rtol=1e-6)


def test_centred_prototypes_do_not_see_what_all_features_share():
    x, y = task()
    queries, _ = task(seed=1)
    found = fit_head("centred", x, y, WAY, copies=alone(len(x))).scores(queries)
    moved = fit_head("centred", x + 100, y, WAY, copies=alone(len(x))).scores(queries + 100)
    np.testing.assert_allclose(found, moved, atol=1e-9)
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("head", HEADS)
def test_copies_count_once_and_a_class_keeps_its_only_picture(head):
    x, y = task((4, 3, 1))
    twice, labels = np.concatenate([x, x[:2]]), np.concatenate([y, y[:2]])
    copies = np.concatenate([np.arange(len(x)), [0, 1]])
    found, plain = fit_head(head, twice, labels, WAY, copies=copies), fit_head(head, x, y, WAY, copies=alone(len(x)))
    np.testing.assert_allclose(found.held_out[: len(x) - 1], plain.held_out[:-1], atol=1e-9)
    np.testing.assert_allclose(found.scores(x), plain.scores(x), atol=1e-9)
    assert np.isfinite(found.held_out[: len(x) - 1]).all()


def test_many_pictures_are_left_out_in_parts(monkeypatch):
    monkeypatch.setattr("fsjax.labelling.heads._ONE_BY_ONE", dict.fromkeys(HEADS, 10))
    x, y = task((12, 11, 1))
    found = fit_head("centred", x, y, WAY, copies=alone(len(x))).held_out
    out = np.array([0, 10, 12, 22])  # the first and the eleventh of the first two classes
    others = np.setdiff1d(np.arange(len(x)), out)
    again = fit_head("centred", x[others], y[others], WAY, copies=alone(len(others))).scores(x[out])
    np.testing.assert_allclose(found[out], again, atol=1e-12)
    assert np.isfinite(found[:23]).all() and np.isnan(found[23]).all()


def test_no_other_head():
    with pytest.raises(UserError, match="unknown head 'svm'; known: centred, logistic, naive_bayes, ridge"):
        fit_head("svm", *task(), WAY, copies=alone(15))


@pytest.fixture
def pictures(pixel_run):
    """A network of pixels, and pictures of two classes that differ by little."""
    run = pixel_run()
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 8)
    shape = rng.normal(0, 12, (2, *run.info.image_shape))
    images = np.clip(120 + shape[labels] + rng.normal(0, 20, (16, *run.info.image_shape)), 0, 255).astype(np.uint8)
    return Network(run.method, run.params, run.collections, run.info), images, labels


def test_auto_takes_the_head_that_labels_the_most_left_out(pictures):
    network, images, labels = pictures
    fit = functools.partial(fit_classifier, network, images, labels, ("a", "b"))
    each = {head: fit(head=head) for head in (PROTOTYPES, *HEADS)}
    right = {head: found.held_out.right for head, found in each.items()}
    chosen = fit()
    name = PROTOTYPES if chosen.head is None else chosen.head.name
    assert right[name] == max(right.values()) == chosen.held_out.right
    assert chosen.chosen.startswith(f"{name}, the best of 5") and f"ridge {right['ridge']}" in chosen.chosen
    of_chosen, of_name = chosen.classify(images), each[name].classify(images)
    np.testing.assert_array_equal(of_chosen.probability, of_name.probability)
    assert not each["ridge"].chosen and each[PROTOTYPES].head is None
    scores = each["ridge"].head.scores(each["ridge"].support)
    shares = np.exp(scores / each["ridge"].temperature)
    np.testing.assert_allclose(
        each["ridge"].classify(images).probability, shares / shares.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_one_picture_a_class_compares_nothing(pixel_run, folders):
    support, query = folders
    labelled = label(pixel_run(), support, query, shots=1)
    assert labelled.classifier.head is None and labelled.classifier.verdict is None
    assert "head: prototypes: with one picture of each class heads cannot be compared" in labelled.summary()


def held_out(right, tested, num_classes, known=None):
    """Scores by which so many of so many are right, of classes in turn."""
    labels = np.arange(tested) % num_classes
    predicted = np.where(np.arange(tested) < right, labels, (labels + 1) % num_classes)
    return types.SimpleNamespace(
        labels=labels, tested=np.ones(tested, bool), right=right, scores=np.eye(num_classes)[predicted]
    )


def test_what_is_no_better_than_guessing_or_pixels_is_doubted():
    assert not Verdict(38, 40, 0.125, 0.25).doubt
    assert "22 % are labelled rightly, and guessing gives 12 %" in Verdict(9, 40, 0.125, 0.2).doubt
    assert "comparing raw pixels, without any network, 45 %" in Verdict(20, 40, 0.125, 0.45).doubt
    assert not Verdict(40, 40, 0.125, 1.0).doubt  # pixels are enough: nothing speaks against them
    assert "guessing gives 50 %" in Verdict(3, 4, 0.5, 0.5).doubt  # too few to tell
    assert not Verdict(6, 6, 0.5, 1.0).doubt


def test_the_verdict_counts_by_hand():
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    images = np.clip(40 + 60 * labels[:, None, None, None] + rng.normal(0, 5, (12, 20, 30, 3)), 0, 255).astype(np.uint8)
    found = verdict_of(held_out(9, 12, 3), images, 3, alone(12))
    assert (found.right, found.tested, found.guessing, found.pixels) == (9, 12, pytest.approx(1 / 3), 1.0)
    noise = rng.integers(0, 256, (12, 20, 30, 3), dtype=np.uint8)
    expected = 0
    small = noise[:, :20, :30].reshape(12, 10, 2, 15, 2, 3).mean((2, 4)).reshape(12, -1)
    for i in range(12):
        means = [small[(labels == c) & (np.arange(12) != i)].mean(0) for c in range(3)]
        expected += int(np.argmin([np.sum((small[i] - m) ** 2) for m in means]) == labels[i])
    assert verdict_of(held_out(9, 12, 3), noise, 3, alone(12)).pixels == pytest.approx(expected / 12)
    assert verdict_of(None, images, 3, alone(12)) is None


def test_doubt_comes_first_on_terminal_and_page(pixel_run, folders):
    from fsjax.labelling import predictions_page

    support, query = folders
    files = sorted(support.rglob("*.png"))
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, np.random.default_rng(5).permutation(len(files)), strict=True):
        file.write_bytes(contents[content])  # labels at random
    labelled = label(pixel_run(), support, query)
    assert labelled.classifier.verdict.doubt
    assert labelled.summary().startswith("warning: of 9 support pictures left out, ")
    assert "Warning: of 9 support pictures left out" in predictions_page(labelled)
