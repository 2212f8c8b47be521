"""Several losses of an episode: their mean, what each is of, padding, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.losses.icnn import icnn_score
from fsjax.losses.proto_triplet import proto_triplet_loss
from fsjax.options import choices
from fsjax.options.methods import PrototypicalOptions

ICNN_ON = choices(PrototypicalOptions, "icnn_on")

WAY, SHOT, QUERY = 3, 2, 2
ROWS = 2 * WAY * (SHOT + QUERY)
IMAGES = np.random.default_rng(0).normal(size=(ROWS, 8, 8, 1)).astype(np.float32)
WHOLE = np.ones(ROWS, np.float32)


@pytest.fixture(scope="module")
def make(make_method):
    def build(**options):
        return make_method("prototypical", **{f"method__prototypical__{k}": v for k, v in options.items()})

    return build


def by_hand(features, on, margin=0.5):
    """The mean of a loss over the episodes, by slices of the rows."""
    features = features.reshape(2, WAY, SHOT + QUERY, -1)
    of_support, of_queries = np.repeat(np.arange(WAY), SHOT), np.repeat(np.arange(WAY), QUERY)
    found = []
    for episode in features:
        support, queries = episode[:, :SHOT], episode[:, SHOT:].reshape(WAY * QUERY, -1)
        classes, support = support.mean(1), support.reshape(WAY * SHOT, -1)
        if on == "proto_triplet":
            found.append(np.mean(proto_triplet_loss(queries, classes, of_queries, margin=margin)))
        elif on == "support":
            found.append(icnn_score(support, of_support)["loss"])
        elif on == "query_to_support":
            found.append(icnn_score(queries, of_queries, support, of_support)["loss"])
        elif on == "query_to_prototypes":
            found.append(icnn_score(queries, of_queries, classes, np.arange(WAY))["loss"])
        else:
            points, labels = np.concatenate([support, queries]), np.concatenate([of_support, of_queries])
            found.append(icnn_score(points, labels, ipc=SHOT + QUERY)["loss"])
    return np.mean(found)


def test_the_total_is_the_mean_of_all_losses(make, objective, in_training):
    alone, params, collections = make()
    cross_entropy, *_, metrics = objective(alone, params, collections, image=IMAGES, weight=WHOLE)
    assert set(metrics) == {"loss", "accuracy", "feature_max", "tau"}
    method, _, _ = make(
        losses=("cross_entropy", "proto_triplet", "icnn"),
        triplet_margin=1.5,
        icnn_on=ICNN_ON,
        tau=1.0,
    )
    total, gradients, _, metrics = objective(method, params, collections, image=IMAGES, weight=WHOLE)
    features, _ = in_training(method, params, collections, IMAGES)
    expected = {f"icnn_{on}": by_hand(features, on) for on in ICNN_ON}
    expected |= {"cross_entropy": cross_entropy, "proto_triplet": by_hand(features, "proto_triplet", 1.5)}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(total, np.mean(list(expected.values())), rtol=1e-4)
    assert set(metrics) == {"loss", "accuracy", "feature_max", "tau", *expected}
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_any_one_loss_trains_alone(make, objective):
    for name, part in (("proto_triplet", "proto_triplet"), ("icnn", "icnn_support")):
        method, params, collections = make(losses=(name,))
        total, gradients, _, metrics = objective(method, params, collections, image=IMAGES, weight=WHOLE)
        np.testing.assert_array_equal(total, metrics[part])
        assert any(np.any(x != 0) for x in jax.tree.leaves(gradients["encoder"]))
        assert "cross_entropy" not in metrics and "accuracy" in metrics


@pytest.mark.parametrize("padding", [0.0, 1e4])
def test_proto_triplet_of_ragged_episodes(make, jit, padding):
    """A class, a shot and some queries fewer: as the smaller episode, whatever the padding holds."""
    method, _, _ = make(losses=("proto_triplet",), triplet_margin=3.0)
    features = np.random.default_rng(1).normal(size=(2, WAY, SHOT + QUERY, 4)).astype(np.float32)
    real = np.ones(features.shape[:3], bool)
    real[1, 2], real[1, 1, 1], real[1, 0, 3] = False, False, False
    features[~real] = padding

    def total(features):
        return method.terms.combined(jnp.float32(0), features, real.ravel(), method.shape)[0]

    value, gradient = jit(jax.value_and_grad(total))(features.reshape(ROWS, 4))
    assert not gradient[~real.ravel()].any()
    whole = proto_triplet_loss(
        features[0, :, SHOT:].reshape(-1, 4), features[0, :, :SHOT].mean(1), np.repeat(np.arange(3), 2), margin=3.0
    )
    classes = np.stack([features[1, 0, :SHOT].mean(0), features[1, 1, 0]])
    fewer = proto_triplet_loss(features[1, [0, 1, 1], [2, 2, 3]], classes, np.array([0, 1, 1]), margin=3.0)
    np.testing.assert_allclose(value, np.concatenate([whole, fewer]).mean(), rtol=1e-5)


def test_a_run_from_before_there_were_losses_is_the_cross_entropy(few_shot_config):
    from fsjax.data import DataInfo
    from fsjax.methods import build_method

    config = few_shot_config(method__name="prototypical")
    info = DataInfo("random", ("a", "b", "c"), (8, 8, 1), {"train": 30}, (20, 7, 3), (0.5,), (0.5,))
    assert build_method(config, info).terms.names == ("cross_entropy",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"losses": ("triplet",)},
            "losses=.'triplet',.: each must be one of",
        ),
        ({"losses": ()}, "losses=.. must be a tuple of 1 to 3 texts"),
        ({"losses": ("icnn", "icnn")}, "must name at least one, and none twice"),
        (
            {"losses": ("icnn",), "icnn_on": ("queries",)},
            "icnn_on=.'queries',.: each must be one of",
        ),
        ({"losses": ("icnn",), "icnn_ipc": 6}, "icnn_on='support': icnn_ipc=6: with 6 targets"),
        ({"losses": ("icnn",), "icnn_k": 0}, "icnn_k=0"),
        ({"triplet_margin": -0.1}, "triplet_margin=-0.1 must be at least 0"),
    ],
)
def test_options_that_cannot_be(make, overrides, message):
    with pytest.raises(UserError, match=message):
        make(**overrides)


@pytest.mark.parametrize(("name", "value"), [("way", (2, 3)), ("shot", (1, 2)), ("query", (1, 2))])
def test_icnn_of_ragged_episodes_is_refused(make_method, name, value):
    overrides = {"method__prototypical__losses": ("icnn",), f"episodes__{name}": value}
    with pytest.raises(UserError, match=f"config.episodes.{name}=.*the loss 'icnn' counts neighbours"):
        make_method("prototypical", **overrides)


def test_two_ways_of_prototypes_are_too_few(make_method):
    overrides = {"losses": ("icnn",), "icnn_on": ("query_to_prototypes",)}
    overrides = {f"method__prototypical__{k}": v for k, v in overrides.items()}
    with pytest.raises(UserError, match="icnn_on='query_to_prototypes': .*at least 3 targets, and here are 2"):
        make_method("prototypical", **overrides, episodes__way=(2,))
