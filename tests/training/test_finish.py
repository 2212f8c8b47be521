"""What is said at the end of a run."""

import numpy as np

import fsjax
from fsjax.training.finish import summary

SELECTED = {"selected": {"step": 60, "why": "best validation accuracy"}}


def test_where_classes_are_uneven_each_is_named_beside_what_the_largest_would_give():
    count = {"heron": 216, "stork": 27}
    test = {
        "accuracy": 224 / 243, "balanced_accuracy": (214 / 216 + 10 / 27) / 2, "num_examples": 243.0,
        "count": count, "per_class": {"heron": 214 / 216, "stork": 10 / 27},
    }  # fmt: skip
    first, second = summary({"test": test, **SELECTED}).splitlines()
    assert first == "test accuracy 0.9218 of 243 examples; best validation accuracy (step 60)"
    assert second == (
        "balanced accuracy 0.6806: the classes are uneven, and always 'heron' would be right in 0.8889; "
        "'stork' 0.3704 of 27, 'heron' 0.9907 of 216"
    )


def test_of_many_uneven_classes_the_lowest_are_named():
    count = {f"c{i}": 10 + i for i in range(20)}
    test = {
        "accuracy": 0.5, "balanced_accuracy": 0.5, "num_examples": 390.0, "count": count,
        "per_class": {name: 0.9 - 0.01 * i for i, name in enumerate(count)},
    }  # fmt: skip
    said = summary({"test": test, **SELECTED}).splitlines()[1]
    assert said.endswith("'c15' 0.7500 of 25, the lowest of 20 classes") and said.count(" of 2") == 6
    assert "'c19' 0.7100 of 29" in said and "'c14'" not in said


def test_even_classes_need_no_second_line():
    test = {"accuracy": 0.5, "num_examples": 20.0, "count": {"a": 10, "b": 12}, "per_class": {"a": 0.4, "b": 0.6}}
    assert len(summary({"test": test, **SELECTED}).splitlines()) == 1
    assert summary({"test": None, **SELECTED}).startswith("no test data; ")


def test_the_result_has_each_class(digits_run):
    run, result = digits_run
    examples = fsjax.restore(run).splits().test
    right = fsjax.restore(run).predict(examples.images) == examples.labels
    counts = np.bincount(examples.labels)
    assert list(result["test"]["count"].values()) == counts.tolist()
    assert list(result["test"]["per_class"].values()) == [
        np.mean(right[examples.labels == label]) for label in range(len(counts))
    ]
