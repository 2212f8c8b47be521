"""TEEN's calibration against its vector, and sessions against a loop over sessions, classes and images."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import fsjax
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.statistics import student_interval
from fsjax.evaluation.papers.incremental import (
    SessionSpec,
    calibrated,
    draw_shots,
    evaluate_sessions,
    session_accuracies,
)
from fsjax.evaluation.papers.sessions import METRICS, PLAIN, Sessions, pooled, table


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_calibration_vector(vector, x64):
    given = vector("teen_calibration")
    new, base = given.inputs["new_prototypes"], given.inputs["base_prototypes"]
    found = calibrated(new, base, alpha=given.params["alpha"], tau=given.params["tau"])
    np.testing.assert_allclose(found, given.expected["calibrated"], rtol=1e-9)


def test_calibration_in_its_limits(x64):
    rng = np.random.default_rng(0)
    new, base = rng.normal(size=(3, 6)), rng.normal(size=(5, 6))
    np.testing.assert_allclose(calibrated(new, base, alpha=0.0, tau=16.0), unit(new), rtol=1e-9)
    nearest = np.argmax(unit(new) @ unit(base).T, axis=1)
    np.testing.assert_allclose(calibrated(new, base, alpha=1.0, tau=1e4), unit(base)[nearest], rtol=1e-9)
    alike = calibrated(new, base, alpha=1.0, tau=1e-12)
    np.testing.assert_allclose(alike, np.tile(unit(unit(base).mean(0)), (3, 1)), rtol=1e-9)
    # Lengths say nothing, and neither does the order of the base classes.
    scaled = calibrated(7 * new, base[::-1] * np.array([[1], [2], [3], [4], [5]]), alpha=0.4, tau=16.0)
    np.testing.assert_allclose(scaled, calibrated(new, base, alpha=0.4, tau=16.0), rtol=1e-9)
    zeros = calibrated(np.zeros((1, 6)), np.zeros((2, 6)), alpha=0.5, tau=16.0)
    np.testing.assert_array_equal(zeros, 0)


def looped(scores, labels, num_base, way):
    """The accuracies of each session, one image after the other."""
    rows = []
    for session in range((scores.shape[1] - num_base) // way + 1):
        seen = num_base + session * way
        hits = {c: [] for c in range(seen)}
        for row, label in zip(scores, labels, strict=True):
            if label < seen:
                hits[label].append(max(range(seen), key=lambda c, row=row: row[c]) == label)
        shares = [np.mean(hits[c]) for c in range(seen)]
        base, new = np.mean(shares[:num_base]), np.mean(shares[num_base:]) if session else np.nan
        harmonic = (2 * base * new / (base + new) if base + new else 0) if session else np.nan
        rows.append((base, new, harmonic, np.mean(shares)))
    return dict(zip(METRICS, np.array(rows).T, strict=True))


@pytest.mark.parametrize("novel", [6, 7])  # the seventh class fills no session
def test_accuracies_by_a_loop(novel):
    rng = np.random.default_rng(novel)
    labels = np.concatenate([np.arange(5 + novel), rng.integers(5 + novel, size=150)])
    scores = rng.normal(size=(len(labels), 5 + novel)) + 1.5 * np.eye(5 + novel)[labels]
    found, expected = session_accuracies(scores, labels, num_base=5, way=3), looped(scores, labels, 5, 3)
    for name in METRICS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)
    assert found["all"].shape == (3,) and np.isnan(found["new"][0])


def test_nothing_right_is_0():
    scores, labels = -np.eye(4)[[0, 1, 2, 3]], np.arange(4)
    found = session_accuracies(scores, labels, num_base=2, way=2)
    assert (found["base"][1], found["new"][1], found["harmonic"][1], found["all"][1]) == (0, 0, 0, 0)


def test_shots_are_of_their_classes_and_the_seeds(make_bank):
    bank, labels = make_bank()
    drawn = draw_shots(bank, 4, seed=3)
    assert drawn.shape == (6, 4)
    for label, positions in enumerate(drawn):
        assert (labels[positions] == label).all() and len(set(positions.tolist())) == 4
    np.testing.assert_array_equal(drawn, draw_shots(bank, 4, seed=3))
    # More shots begin with the fewer, and another seed draws others.
    np.testing.assert_array_equal(drawn[:, :2], draw_shots(bank, 2, seed=3))
    assert not np.array_equal(drawn, draw_shots(bank, 4, seed=4))
    each = np.concatenate([draw_shots(bank, 1, seed=seed)[1] for seed in range(300)])
    counts = np.bincount(each, minlength=len(labels))[labels == 1]
    assert counts.min() > 15 and counts.sum() == 300  # 9 images, 33 each


def by_hand(evaluator, spec, seed):
    """Sessions of one draw where the shots are novel images, for plain prototypes and TEEN's first alpha."""
    train, base, novel = (
        np.asarray(evaluator.bank(part, ("gap",)).features["gap"], np.float64) for part in ("train", "base", "novel")
    )
    of_train, of_base, of_novel = (np.asarray(evaluator.labels(part)) for part in ("train", "base", "novel"))
    k = len(set(of_train.tolist()))
    base_prototypes = np.stack([train[of_train == c].mean(0) for c in range(k)])
    shots = draw_shots(evaluator.bank("novel", ()), spec.shot, seed=seed)
    new = np.stack([novel[row].mean(0) for row in shots])
    weights = np.exp(spec.tau * unit(new) @ unit(base_prototypes).T)
    mixture = unit(weights / weights.sum(1, keepdims=True) @ unit(base_prototypes))
    teen = (1 - spec.alphas[0]) * unit(new) + spec.alphas[0] * mixture
    kept = np.setdiff1d(np.arange(len(novel)), shots)
    images = unit(np.concatenate([base, novel[kept]]))
    labels = np.concatenate([of_base, of_novel[kept] + k])
    return [
        looped(images @ unit(np.concatenate([base_prototypes, found])).T, labels, k, spec.way) for found in (new, teen)
    ]


@pytest.fixture(scope="module")
def evaluator(few_shot_runs):
    """Of a run on noise, with made features in the place of the network's: overlapping classes, and no near ties."""
    found, rng = fsjax.restore(few_shot_runs["gap"]).evaluator(), np.random.default_rng(0)
    centres = rng.normal(size=(15, 6))
    for part, first in (("train", 0), ("base", 0), ("novel", 10)):
        labels = found.labels(part)
        x = centres[first + labels] + 1.2 * rng.normal(size=(len(labels), 6)) + 0.5
        found._banks[found.part(part)] = {"gap": x.astype(np.float32)}
    return found


def test_sessions_of_a_run_by_hand(evaluator):
    spec = SessionSpec(way=2, shot=3, seeds=2, alphas=(0.3,))
    found = evaluate_sessions(evaluator, spec)
    assert found.methods == (PLAIN, "TEEN 0.3") and found.facts["sessions"] == 2
    for seed in range(2):
        for method, expected in zip(found.methods, by_hand(evaluator, spec, seed), strict=True):
            for name in METRICS:
                np.testing.assert_allclose(found.values[method][name][seed], expected[name], rtol=1e-9)
    assert found.facts["shots_from"].startswith("the novel images")
    # Session 0 has no new classes, and no draws.
    np.testing.assert_array_equal(found.values[PLAIN]["base"][:, 0], found.values["TEEN 0.3"]["all"][:, 0])


def test_alpha_0_is_plain_prototypes(evaluator):
    found = evaluate_sessions(evaluator, SessionSpec(way=5, shot=1, seeds=3, alphas=(0.0,)))
    difference = found.difference("TEEN 0", "new")
    assert (difference.mean, difference.half_width) == (0, 0)


def test_shots_of_training_images_leave_all_novel_images_to_the_test(evaluator):
    """The novel images stand for both: the shots are then tested as well."""
    splits = dataclasses.replace(evaluator.splits, support=evaluator.splits.test)
    other = dataclasses.replace(evaluator, splits=splits, _parts={}, _banks={})
    for part, same in (("train", "train"), ("base", "base"), ("novel", "novel"), ("support", "novel")):
        other._banks[other.part(part)] = evaluator._banks[evaluator.part(same)]
    spec = SessionSpec(way=5, shot=2, seeds=1)
    found = evaluate_sessions(other, spec)
    assert found.facts["shots_from"] == "training images of the data set"
    names = ("gap",)
    bank = other.bank("novel", names)
    shots = draw_shots(bank, 2, seed=0)
    base = jnp.stack(
        [other.bank("train", names).features["gap"][other.labels("train") == c].mean(0) for c in range(10)]
    )
    classes = unit(np.concatenate([base, np.asarray(bank.features["gap"])[shots].mean(1)]))
    images = unit(np.concatenate([other.bank("base", names).features["gap"], bank.features["gap"]]))
    labels = np.concatenate([other.labels("base"), other.labels("novel") + 10])
    expected = looped(images @ classes.T, labels, 10, 5)
    for name in METRICS:
        np.testing.assert_allclose(found.values[PLAIN][name][0], expected[name], rtol=1e-9)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"way": 6}, "sessions of 6 new classes cannot be made of 5 novel classes"),
        ({"shot": 24}, "of the novel classes has 24 images; sessions of 24 shots need 25"),
        ({"way": 0}, "way=0 of class-incremental sessions must be at least 1"),
        ({"alphas": (0.5, 1.5)}, "TEEN's alpha=1.5 is the share of the base classes"),
        ({"tau": 0.0}, "TEEN's tau=0 must be above 0"),
    ],
)
def test_what_cannot_be(evaluator, spec, message):
    with pytest.raises(UserError, match=message):
        evaluate_sessions(evaluator, SessionSpec(**spec))


def test_a_run_without_held_out_images_is_told_both_ways_out(evaluator):
    splits = dataclasses.replace(evaluator.splits, base=None)
    other = dataclasses.replace(evaluator, splits=splits, _parts={}, _banks={})
    with pytest.raises(UserError, match="set config.data.base_holdout above 0"):
        evaluate_sessions(other, SessionSpec())


# --- Intervals and tables.


def made(seeds, shift=0.0):
    rng = np.random.default_rng(5)
    plain = {name: rng.uniform(0.2, 0.8, size=(seeds, 3)) for name in METRICS}
    teen = {name: x + 0.1 + shift * rng.normal(size=x.shape) for name, x in plain.items()}
    for found in (plain, teen):
        for name in ("new", "harmonic"):
            found[name][:, 0] = np.nan
    facts = {"sessions": 2, "base_classes": 4, "way": 3}
    return Sessions({PLAIN: plain, "TEEN 0.5": teen}, facts)


def test_intervals_are_students_and_differences_paired():
    found = made(4)
    x = found.values[PLAIN]["all"]
    interval = found.interval(PLAIN, "all", 1)
    # 3.1824 is the 97.5 % quantile of Student's t of 3 degrees of freedom.
    assert interval.half_width == pytest.approx(3.182446 * np.std(x[:, 1], ddof=1) / 2, rel=1e-6)
    assert found.interval(PLAIN, "all").mean == pytest.approx(x.mean())
    assert found.interval(PLAIN, "new").mean == pytest.approx(found.values[PLAIN]["new"][:, 1:].mean())
    paired = found.difference("TEEN 0.5", "all", 2)
    assert paired.mean == pytest.approx(0.1) and paired.half_width == pytest.approx(0, abs=1e-12)
    assert np.isnan(student_interval(np.array([0.5])).half_width)


def test_students_intervals_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 5))
    found = [student_interval(row) for row in draws]
    held = np.mean([abs(one.mean) <= one.half_width for one in found])
    assert held == pytest.approx(0.95, abs=0.012)


def test_table():
    found = made(4, shift=0.05)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(found).splitlines()]
    assert lines[0] == ["session", "classes", "method", "base", "new", "harmonic mean", "all"]
    assert [line[:3] for line in lines[2:8]] == [
        ["0", "4", PLAIN], ["", "", "TEEN 0.5"],
        ["1", "7", PLAIN], ["", "", "TEEN 0.5"], ["", "", "TEEN 0.5 − prototypes"], ["2", "10", PLAIN],
    ]  # fmt: skip
    # Session 0 has no new classes, and of one network no draws; of several networks it has an interval.
    assert lines[2][4] == "–" and "±" not in "".join(lines[2]) and lines[-3][0] == "mean"
    assert "±" in table(pooled([made(4), made(4, shift=0.1)])).splitlines()[3]
    interval = found.interval(PLAIN, "base", 1)
    assert lines[4][3] == f"{100 * interval.mean:.2f} ± {100 * interval.half_width:.2f}"
    assert lines[6][3].startswith("+")
    assert "±" not in table(made(1))


def test_runs_of_a_recipe_as_one():
    runs = [made(4), made(4, shift=0.1)]
    found = pooled(runs)
    expected = [run.values["TEEN 0.5"]["all"].mean(0) for run in runs]
    np.testing.assert_allclose(found.values["TEEN 0.5"]["all"], expected)
    assert found.facts["runs"] == 2


def test_json_has_null_for_session_0():
    found = json.loads(json.dumps(made(2).to_json()), parse_constant=pytest.fail)
    assert found["values"][PLAIN]["new"][0][0] is None and found["values"][PLAIN]["base"][0][0] > 0
