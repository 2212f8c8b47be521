"""Heads of a frozen network's features against NumPy and scikit-learn when asked directly, and the verdict on them."""

import types

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid

from fsjax.errors import UserError
from fsjax.labelling import classifier, fit_classifier, heads, label, predictions_page
from fsjax.labelling.held_out import class_scores
from fsjax.labelling.verdict import Verdict, verdict_of
from fsjax.methods.rules import Rule

RULE = Rule("cosine", "gap", "gap", 10.0)


@pytest.fixture(scope="module")
def features():
    """Of 3 classes of 5, 3 and 4 pictures, the second picture twice."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [5, 3, 4])
    x = rng.normal(size=(3, 7))[labels] + rng.normal(size=(12, 7))
    x[3] = x[1]
    copies = np.arange(12)
    copies[3] = 1
    return x, labels, copies


def test_ridge_is_that_of_scikit_learn_fitted_anew_without_each(features):
    """Its weights of samples are those of the loss; its penalty is of the weights, the intercept free."""
    x, labels, copies = features
    unit, targets = x / np.linalg.norm(x, axis=1, keepdims=True), np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    weights = 12 / 3 / np.bincount(labels)[labels]

    def reference(rest):
        return Ridge(alpha=0.1, solver="cholesky").fit(unit[rest], targets[rest], sample_weight=weights[rest])

    scores = heads.fit("ridge", x, labels, 3).scores(x)
    np.testing.assert_allclose(scores, reference(np.ones(12, bool)).predict(unit), atol=1e-9)
    found = heads.left_out("ridge", x, labels, 3, copies)
    for number in range(12):
        expected = reference(copies != copies[number]).predict(unit[[number]])[0]
        np.testing.assert_allclose(found[number], expected, atol=1e-9)


@pytest.mark.parametrize("head", heads.LINEAR)
def test_left_out_is_a_fit_without_the_picture_and_its_copies(features, head):
    x, labels, copies = features
    found = heads.left_out(head, x, labels, 3, copies)
    for number in (0, 1, 3, 5, 11):
        rest = copies != copies[number]
        expected = heads.fit(head, x[rest], labels[rest], 3).scores(x[[number]])[0]
        if head == "ridge":  # weights are by how many each class has, with the picture
            assert expected.argmax() == found[number].argmax()
        else:
            np.testing.assert_allclose(found[number], expected, atol=2e-2 if head == "logistic" else 1e-6)


@pytest.mark.parametrize("head", heads.LINEAR)
def test_a_class_keeps_its_only_picture(features, head):
    """Also where the others of the class are its copies; nothing that is scored is infinite."""
    x, labels, copies = (np.append(array, more, axis=0) for array, more in zip(
        features, (np.full((2, 7), 2.0), [3, 3], [12, 12]), strict=True))  # fmt: skip
    found = heads.left_out(head, x, labels, 4, copies)
    assert np.isfinite(found[:12]).all() and np.isnan(found[12:]).all()


def test_naive_bayes_is_scikit_learns(features, monkeypatch):
    """With all of the shrinkage it is the nearest mean; without, GaussianNB's, its variances those of all classes."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 5)
    x = rng.normal(size=(3, 7))[labels] + rng.normal(size=(15, 7))
    unit, queries = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, rng.normal(size=(9, 7))))
    monkeypatch.setattr(heads, "_SHRINKAGE", 1.0)
    found = heads.fit("naive_bayes", x, labels, 3).scores(queries).argmax(1)
    assert found.tolist() == NearestCentroid().fit(unit, labels).predict(queries).tolist()
    monkeypatch.setattr(heads, "_SHRINKAGE", 0.0)
    model = GaussianNB(priors=[1 / 3] * 3, var_smoothing=0).fit(unit, labels)
    model.var_[:] = model.var_.mean(axis=0)  # classes are of one size
    scores, expected = heads.fit("naive_bayes", x, labels, 3).scores(queries), model.predict_joint_log_proba(queries)
    np.testing.assert_allclose(scores - scores[:, :1], expected - expected[:, :1], rtol=1e-6, atol=1e-9)


def test_naive_bayes_of_one_picture_a_class_is_the_nearest(features):
    x = features[0][[0, 5, 8]]
    head = heads.fit("naive_bayes", x, np.arange(3), 3)
    unit, queries = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, features[0]))
    distances = ((queries[:, None] - unit) ** 2).sum(-1)
    np.testing.assert_allclose(log_softmax(head.scores(queries), 1), log_softmax(-distances / 2, 1), atol=1e-9)


def test_logistic_regression_is_that_of_all_dimensions(features):
    x, labels, copies = features
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)

    def reference(rest):
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=5000, tol=1e-8)
        return model.fit(unit[rest], labels[rest])

    everyone = np.ones(12, bool)
    np.testing.assert_allclose(
        heads.fit("logistic", x, labels, 3).scores(x), reference(everyone).decision_function(unit), atol=5e-3
    )
    found = heads.left_out("logistic", x, labels, 3, copies)
    for number in (0, 1, 3, 11):
        rest = copies != copies[number]
        np.testing.assert_allclose(found[number], reference(rest).decision_function(unit[[number]])[0], atol=5e-3)


def test_logistic_regression_of_two_classes(features):
    x, labels, copies = features
    two = labels < 2
    head = heads.fit("logistic", x[two], labels[two], 2)
    scores = head.scores(x[two])
    assert (scores.argmax(1) == labels[two]).mean() > 0.8 and (scores[:, 0] == 0).all()
    assert np.isfinite(heads.left_out("logistic", x[two], labels[two], 2, copies[two])).all()


def test_naive_bayes_by_a_loop(features):
    """The log density of independent normals of one variance, halfway to the mean variance, and equal priors."""
    x, labels, copies = features
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)

    def log_density(rest, queries):
        means = np.stack([unit[rest & (labels == c)].mean(0) for c in range(3)])
        variance = np.mean([(unit[i] - means[labels[i]]) ** 2 for i in np.flatnonzero(rest)], axis=0)
        variance = 0.5 * variance + 0.5 * variance.mean()
        return np.array([[-0.5 * np.sum((q - m) ** 2 / variance) for m in means] for q in queries])

    def differences(scores):
        return scores - scores[..., :1]

    found = heads.fit("naive_bayes", x, labels, 3).scores(x)
    np.testing.assert_allclose(differences(found), differences(log_density(np.ones(12, bool), unit)), atol=1e-6)
    found = heads.left_out("naive_bayes", x, labels, 3, copies)
    for number in range(12):
        rest = copies != copies[number]
        expected = log_density(rest, unit[[number]])[0]
        np.testing.assert_allclose(differences(found[number]), differences(expected), atol=1e-6)


def test_of_many_pictures_a_tenth_of_each_class_is_left_out_at_a_time(features, monkeypatch):
    """The first and the eleventh picture of each class together, with their copies, and no class as a whole."""
    monkeypatch.setattr(heads, "_EACH", {"logistic": 10, "naive_bayes": 10})
    labels = np.repeat([0, 1, 2, 3], [12, 11, 1, 2])
    x = np.random.default_rng(1).normal(size=(26, 4)) + np.eye(4)[labels]
    x, labels, copies = np.vstack([x, x[10]]), np.append(labels, 0), np.append(np.arange(26), 10)
    out = np.isin(np.arange(27), [0, 10, 12, 22, 24, 26])
    for head in ("naive_bayes", "logistic"):
        found = heads.left_out(head, x, labels, 4, copies)
        expected = heads.fit(head, x[~out], labels[~out], 4).scores(x[out])
        np.testing.assert_allclose(found[out], expected, atol=2e-2 if head == "logistic" else 1e-8)
        assert np.isnan(found[23]).all() and np.isfinite(np.delete(found, 23, axis=0)).all()


def pictures(rng, colours, count, noise=30):
    """8x8 pictures about a colour each."""
    made = [c + rng.normal(0, noise, (count, 8, 8, 3)) for c in colours]
    return np.clip(np.concatenate(made), 0, 255).astype(np.uint8), np.repeat(np.arange(len(colours)), count)


COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


@pytest.mark.parametrize("head", heads.HEADS)
def test_a_classifier_by_each_head(pixel_network, head):
    images, labels = pictures(np.random.default_rng(0), COLOURS, 4)
    fitted = fit_classifier(pixel_network(RULE), images, labels, "abc", head=head)
    assert fitted.head == head and fitted.tried == {head: 12} and fitted.held_out.right == 12
    others, truth = pictures(np.random.default_rng(1), COLOURS, 5)
    found = fitted.classify(others)
    assert (found.probability.argmax(1) == truth).all()
    np.testing.assert_allclose(found.probability.sum(1), 1)


def test_centred_prototypes_by_hand(pixel_network):
    images, labels = pictures(np.random.default_rng(0), COLOURS, 3)
    network = pixel_network(RULE)
    fitted = fit_classifier(network, images, labels, "abc", head="centred")
    x = network.features(images, ("gap",))["gap"].astype(float)
    means = np.stack([x[labels == c].mean(0) for c in range(3)])
    centre = means.mean(0)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    scores = np.array([[10 * cosine(q - centre, m - centre) for m in means] for q in x]) / fitted.temperature
    found = fitted.classify(images)
    np.testing.assert_allclose(np.log(found.probability), log_softmax(scores, axis=1), atol=1e-3)
    # Similarity means the same whatever the head is.
    np.testing.assert_allclose(found.similarity, [max(cosine(q, m) for m in means) for q in x], atol=1e-5)
    # Left out, a picture has no part in its prototype, nor in the centre.
    means[0] = x[labels == 0][1:].mean(0)
    centre = means.mean(0)
    left_out = [10 * cosine(x[0] - centre, m - centre) for m in means]
    np.testing.assert_allclose(fitted.held_out.scores[0], left_out, atol=1e-4)


def test_centred_prototypes_do_not_see_what_all_features_share():
    labels = np.repeat([0, 1, 2], 3)
    x = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)

    def scores(away):
        means = np.stack([x[labels == c].mean(0) for c in range(3)]) + away
        return class_scores(x + away, means, RULE, centred=True)

    np.testing.assert_allclose(scores(0), scores(3), atol=1e-4)
    assert np.abs(scores(0)).max() <= RULE.tau + 1e-4


def hard(seed):
    """Pictures of three classes that differ by little."""
    rng = np.random.default_rng(seed)
    shape, labels = rng.normal(0, 12, (3, 8, 8, 3)), np.repeat([0, 1, 2], 6)
    return np.clip(120 + shape[labels] + rng.normal(0, 20, (18, 8, 8, 3)), 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_auto_takes_the_head_that_labels_the_most_left_out(pixel_network, seed):
    """Of several the one that is surest of what is right, at the temperature that is best for it."""
    images, labels = hard(seed)
    each = {head: fit_classifier(pixel_network(RULE), images, labels, "abc", head=head) for head in heads.HEADS}

    def key(head):
        found = each[head].held_out
        sure = log_softmax(found.scores / each[head].temperature, axis=1)
        return found.right, sure[np.arange(18), labels].mean()

    right = {head: found.held_out.right for head, found in each.items()}
    chosen = fit_classifier(pixel_network(RULE), images, labels, "abc")
    best = max(heads.HEADS, key=key)
    assert chosen.head == best and chosen.tried == right and chosen.held_out.right == max(right.values())
    np.testing.assert_array_equal(chosen.classify(images).probability, each[best].classify(images).probability)


def test_of_heads_that_are_alike_the_preferred_is_taken(pixel_network, monkeypatch):
    monkeypatch.setattr(classifier, "_certainty", lambda held_out: 0.0)
    images, labels = pictures(np.random.default_rng(0), COLOURS, 4)
    for preferred in ("ridge", "prototypes"):
        chosen = fit_classifier(pixel_network(RULE), images, labels, "abc", preferred=preferred)
        assert chosen.head == preferred and set(chosen.tried.values()) == {12}


def test_with_one_picture_a_class_nothing_is_compared(pixel_network):
    images, labels = pictures(np.random.default_rng(0), COLOURS, 1)
    chosen = fit_classifier(pixel_network(RULE), images, labels, "abc", head="auto", preferred="ridge")
    assert (chosen.head, chosen.tried, chosen.held_out) == ("ridge", {}, None)
    assert (chosen.classify(images).probability.argmax(1) == labels).all()
    # And so it is where the others are copies.
    chosen = fit_classifier(
        pixel_network(RULE), np.repeat(images, 2, axis=0), np.repeat(labels, 2), "abc", head="auto", preferred="ridge"
    )
    assert (chosen.head, chosen.held_out) == ("ridge", None)


def test_heads_that_cannot_be():
    with pytest.raises(UserError, match="unknown head 'svm'; known: auto, centred, logistic, naive_bayes, prot"):
        heads.check_head("svm", implants=False)
    with pytest.raises(UserError, match="the head 'ridge' with implants, which are trained for prototypes"):
        heads.check_head("ridge", implants=True)
    heads.check_head("auto", implants=True)


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
    found = verdict_of(held_out(9, 12, 3), images, 3, np.arange(12))
    assert (found.right, found.tested, found.guessing, found.pixels) == (9, 12, pytest.approx(1 / 3), 1.0)
    noise = rng.integers(0, 256, (12, 20, 30, 3), dtype=np.uint8)
    expected = 0
    small = noise[:, :20, :30].reshape(12, 10, 2, 15, 2, 3).mean((2, 4)).reshape(12, -1)
    for i in range(12):
        means = [small[(labels == c) & (np.arange(12) != i)].mean(0) for c in range(3)]
        expected += int(np.argmin([np.sum((small[i] - m) ** 2) for m in means]) == labels[i])
    assert verdict_of(held_out(9, 12, 3), noise, 3, np.arange(12)).pixels == pytest.approx(expected / 12)
    assert verdict_of(None, images, 3, np.arange(12)) is None


def test_one_picture_a_class_compares_nothing(pixel_run, folders):
    support, query = folders
    labelled = label(pixel_run(), support, query, shots=1)
    assert labelled.classifier.head == "prototypes" and labelled.classifier.verdict is None
    assert "head: prototypes; with one picture of each class heads cannot be compared" in labelled.summary()


def test_doubt_comes_first_on_terminal_and_page(pixel_run, folders):
    support, query = folders
    files = sorted(support.rglob("*.png"))
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, np.random.default_rng(5).permutation(len(files)), strict=True):
        file.write_bytes(contents[content])  # labels at random
    labelled = label(pixel_run(), support, query)
    assert labelled.classifier.verdict.doubt
    assert labelled.summary().startswith("warning: of 9 support pictures left out, ")
    page = predictions_page(labelled)
    assert page.index("Look at this first") < page.index("of 9 support pictures left out, ") < page.index("<dl")
    assert page.index("of 9 support pictures left out, ") < page.index("Pictures by label")
