"""What a protocol refuses, in words, the rules it makes, and what a figure says of itself."""

import numpy as np
import pytest

from fsjax.data import EpisodeSpec, ReconstructedOptions
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.protocol import Protocol, in_words, make_figure
from fsjax.methods.rules import Rule
from fsjax.options.few_shot import CLASSES
from tests.evaluation.counted import counted

OWN = Rule("cosine", "gap", "dense", 7.5, unit_support=True)
FACTS = {
    "classes": "novel",
    "way": 5,
    "shot": 1,
    "query": 15,
    "seed": 3,
    "support_pool": "gap",
    "query_pool": "dense",
}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"classes": ("novel", "bsae")},
            "config.few_shot.classes=.*: each must be one of 'novel', .*Did you mean 'base'",
        ),
        ({"classes": ()}, "config.few_shot.(classes|shots)=.* must be a tuple of 1 to 100"),
        ({"shots": ()}, "config.few_shot.(classes|shots)=.* must be a tuple of 1 to 100"),
        ({"tasks": 0}, "few_shot.tasks=0 must be at least 1"),
        ({"implant_tasks": -1}, "few_shot.implant_tasks=-1 must be at least 1"),
        ({"inference_tau": -1.0}, "config.few_shot.inference_tau=-1.0 must be 0, or at least 1e-06"),
        ({"way": (1,)}, r"config.few_shot.way=\(1,\): each must be at least 2"),
        ({"shots": (5, 0)}, r"config.few_shot.shots=\(5, 0\): each must be at least 1"),
        ({"query": (15, 5)}, r"config.few_shot.query=\(15, 5\) is a pair \(least, most\): write \(5, 15\)"),
        ({"task": 100}, "unknown key in config.few_shot: 'task'; known: .*Did you mean 'tasks'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_errors_in_words(section, words):
    with pytest.raises(UserError, match=words):
        Protocol.of(section)


@pytest.mark.parametrize(
    ("pooling", "words"),
    [
        ("gap", "few_shot.poolings: 'gap' must be SUPPORT/QUERY, such as gap/dense"),
        ("gap/gap/gap", "few_shot.poolings: 'gap/gap/gap' must be SUPPORT/QUERY"),
        ("gap/gpm", "few_shot.poolings: 'gap/gpm' must be SUPPORT/QUERY"),
        ("dense/dense", "few_shot.poolings: 'dense/dense' must be SUPPORT/QUERY"),
        ("flatten/gap", "'flatten' makes longer vectors: use it for support and queries, or neither"),
    ],
)
def test_poolings_that_cannot_be(pooling, words):
    with pytest.raises(UserError, match=words):
        Protocol.of({"poolings": (pooling,)}).rules(OWN, embedding="gap")


def test_every_field_of_a_section_is_taken():
    section = {
        "way": (5, 10),
        "shots": (1, (2, 5)),
        "query": (30,),
        "tasks": 11,
        "implant_tasks": 12,
        "classes": CLASSES,
        "seed": 13,
        "poolings": ("gap/gmp",),
        "inference_tau": 2.0,
        "reconstructed": ReconstructedOptions(test_base=3, validation_base=4, images=5, seed=6),
        "validation": {"tasks": 5},  # the trainer's own
    }
    protocol = Protocol.of(section)
    assert {name: getattr(protocol, name) for name in section if name != "validation"} == {
        name: value for name, value in section.items() if name != "validation"
    }
    assert protocol.specs() == [EpisodeSpec((5, 10), 1, 30), EpisodeSpec((5, 10), (2, 5), 30)]


def test_sections_of_reconstructed_tasks():
    assert Protocol.of({"reconstructed": {"images": 300}}).reconstructed == ReconstructedOptions(images=300)
    with pytest.raises(UserError, match="unknown key in config.few_shot.reconstructed: 'image'.*Did you mean 'images'"):
        Protocol.of({"reconstructed": {"image": 300}})


def test_sections_of_json():
    protocol = Protocol.of({"way": [5], "shots": [5], "classes": ["base"], "query": [15], "poolings": ["gap/gap"]})
    assert protocol == Protocol(way=(5,), shots=(5,), classes=("base",), query=(15,), poolings=("gap/gap",))
    assert protocol.specs() == [EpisodeSpec(5, 5, 15)]
    assert Protocol.of({"shots": [1, 5], "classes": ["novel"]}).shots == (1, 5)


def test_rules_are_the_methods_own_or_one_a_pooling():
    assert Protocol().rules(OWN, embedding="gap") == [OWN]
    found = Protocol(poolings=("gap/gap", "gmp/dense", "flatten/flatten")).rules(OWN, embedding="gap")
    assert [(rule.support_pool, rule.query_pool) for rule in found] == [
        ("gap", "gap"),
        ("gmp", "dense"),
        ("flatten", "flatten"),
    ]
    # All else is the method's.
    assert {(rule.similarity, rule.tau, rule.unit_support) for rule in found} == {("cosine", 7.5, True)}


@pytest.mark.parametrize("poolings", [(), ("gap/dense", "gmp/dense")])
def test_inference_tau_takes_the_place_of_the_learned_scale(poolings):
    assert {rule.tau for rule in Protocol(poolings=poolings).rules(OWN, embedding="gap")} == {7.5}
    assert {rule.tau for rule in Protocol(poolings=poolings, inference_tau=30.0).rules(OWN, embedding="gap")} == {30.0}


def test_figures_hold_the_mean_its_interval_and_each_classs_share():
    # Ants and cats in the first two tasks, ants alone in the third; -1 is padding.
    tasks = counted([[0, 2], [2, 0], [0, -1]], [[1, 1], [2, 2], [3, 0]], [[2, 2], [2, 2], [6, 0]], 3)
    found = make_figure(tasks, ("ant", "bee", "cat"), FACTS)
    values = [0.5, 1.0, 0.5]
    deviation = np.std(values, ddof=1)
    facts = dict(found.facts)
    assert facts.pop("per_class") == pytest.approx({"ant": 6 / 10, "cat": 3 / 4}, abs=1e-6)  # no query was of "bee"
    of_tasks = {"accuracy": np.mean(values), "interval": 1.96 * deviation / 3**0.5, "deviation": deviation}
    assert facts.pop("interval_new_images") >= of_tasks["interval"]
    assert facts.pop("interval_new_classes") is None
    assert facts.pop("not_known") == {"new_classes": "there are 3 classes only"}
    assert facts == pytest.approx({**FACTS, **of_tasks, "tasks": 3, "episodes": "0123456789abcdef"})
    np.testing.assert_array_equal(found.accuracy, values)


def test_words_carry_all_that_the_number_depends_on():
    found = make_figure(counted([[0]] * 10_000, [[3], [4]] * 5000, [[4]] * 10_000, 1), ("ant",), FACTS)
    line = str(found)
    assert line == in_words(found.facts)
    for words in (
        "novel",
        "5-way 1-shot",
        "87.50 ± 0.25 tasks, ± ",
        "gap/dense",
        "15 queries per class",
        "10000 tasks",
        "seed 3",
    ):
        assert words in line
    assert "episodes 0123456789abcdef" in line
    assert "implants" not in line and "harmonic" not in line


def test_words_of_ranges_implants_and_joint_figures():
    more = {"way": (5, 10), "shot": [1, 5], "implants": {"steps": 50}}
    joint = {"classes": "both", "novel": 0.5, "base": 0.75, "harmonic_mean": 0.6}
    line = str(make_figure(counted([[0], [0]], [[3], [4]], [[4], [4]], 1), ("ant",), {**FACTS, **more, **joint}))
    assert "5-10-way 1-5-shot" in line
    assert "gap/dense + implants" in line
    assert line.endswith("novel queries 50.00, base queries 75.00, harmonic mean 60.00")


def test_base_classes_stand_for_no_others():
    tasks = [[0, 1], [2, 3], [4, 5], [1, 4]], [[1, 2], [2, 0], [1, 0], [2, 2]], [[2, 2]] * 4, 6
    novel, base = (make_figure(counted(*tasks), tuple("abcdef"), {**FACTS, "classes": x}) for x in ("novel", "base"))
    assert novel.facts["interval_new_classes"] > novel.facts["interval"] and "not_known" not in novel.facts
    assert base.facts["interval_new_classes"] is None
    assert "new classes not known (the network was trained on these classes)" in str(base)
