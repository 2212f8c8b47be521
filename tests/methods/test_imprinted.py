"""Imprinted weights: the mean direction of a class, in which every support image counts alike."""

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.methods.rules import class_scores, prototypes

IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 3


def test_weights_of_new_classes_are_means_of_directions(make_method):
    """Qi et al. 2018, Sec. 3.2, one class after the other: the longest image of a class does not outweigh the rest."""
    method, params, _ = make_method("imprinted")
    rule = method.rule(params)
    assert rule.unit_support and rule.similarity == "cosine"
    rng = np.random.default_rng(1)
    support, queries = rng.normal(size=(3, 4, 6)), rng.normal(size=(5, 6))
    support[:, 0] *= 100
    classes = prototypes(support.astype(np.float32), unit_support=rule.unit_support)
    scores = class_scores(queries.astype(np.float32), classes, similarity=rule.similarity, tau=rule.tau)
    for n, c in np.ndindex(5, 3):
        weight = np.mean([x / np.linalg.norm(x) for x in support[c]], axis=0)
        weight, query = weight / np.linalg.norm(weight), queries[n] / np.linalg.norm(queries[n])
        np.testing.assert_allclose(scores[n, c], rule.tau * weight @ query, atol=1e-4)
    plain = prototypes(support.astype(np.float32))
    assert np.abs(np.asarray(plain)).max() > 10 * np.abs(np.asarray(classes)).max()


def test_training_is_that_of_the_cosine_classifier(make_method, objective):
    imprinted, params, collections = make_method("imprinted")
    classifier, _, _ = make_method("classification")
    losses = [objective(m, params, collections, image=IMAGES, label=LABELS)[0] for m in (imprinted, classifier)]
    assert float(losses[0]) == float(losses[1])
    rules = [m.rule(params) for m in (imprinted, classifier)]
    assert rules[0] != rules[1] and not rules[1].unit_support


def test_base_classes_keep_their_weights(make_method):
    method, params, _ = make_method("imprinted")
    name, weights = method.class_weights(params)
    assert name == "gap" and weights is params["loss"]["weights"]


@pytest.mark.parametrize("loss", ["softmax", "icu", "mixup"])
def test_losses_without_directions_are_refused(make_method, loss):
    with pytest.raises(UserError, match=f"config.loss.name='{loss}'.*directions.*--config.loss.name=cosine"):
        make_method("imprinted", loss__name=loss)
