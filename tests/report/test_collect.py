"""What is read from runs' folders, on folders made by hand."""

import json
import math

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.report.collect import ABSENT, collect, config_differences, curve, names, thinned
from fsjax.report.page import Choices, write_report


def make_run(folder, *, config=None, data=None, result=None, metrics=()):
    folder.mkdir(parents=True)
    files = {"config.json": config or {}, "data.json": data or {"name": "made"}, "result.json": result}
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "metrics.jsonl").write_text(
        "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in metrics)
    )
    return folder


def line(step, kind="train", **figures):
    return {"step": step, "kind": kind, **figures, "timing": {"seconds": 1.0}}


def test_thinning_loses_no_extreme():
    values = np.random.default_rng(0).normal(size=5000)
    values[[777, 3333]] = 50, -50
    kept = thinned(values.tolist(), 100)
    assert kept == sorted(set(kept)) and len(kept) <= 102 and kept[0] == 0 and kept[-1] == 4999
    assert {777, 3333} <= set(kept)
    # Of every stretch of the curve the highest and the lowest are there.
    for number in range(33):
        stretch = np.arange(5000 * number // 33, 5000 * (number + 1) // 33)
        assert {stretch[values[stretch].argmin()], stretch[values[stretch].argmax()]} <= set(kept)


def test_thinning_keeps_a_gap_and_leaves_short_curves_alone():
    values = [1.0] * 300
    values[150] = math.nan
    assert 150 in thinned(values, 30)
    assert thinned(values[:20], 30) == list(range(20))
    assert thinned([math.nan] * 100, 9)[:1] == [0]


def test_curves_by_kind(tmp_path):
    metrics = [line(20, loss=0.5, accuracy=0.8), line(10, loss=math.nan), line(20, "validation", accuracy=0.7)]
    (run,) = collect([make_run(tmp_path / "a", config={"name": "x"}, metrics=metrics)])
    steps, losses = curve(run, "train", "loss")
    assert steps == [10, 20] and math.isnan(losses[0]) and losses[1] == 0.5
    assert curve(run, "validation", "accuracy") == ([20], [0.7])
    assert curve(run, "validation", "loss") == ([], [])
    assert not run.problems and not run.finished


def test_damaged_files_are_named(tmp_path):
    metrics = [line(10, loss=1.0), "not json\n", "[1, 2]\n", line(20, loss=0.5), '{"step": 30, "ki']
    folder = make_run(tmp_path / "a", config='{"name": ', data="[]", result="\x00", metrics=metrics)
    (run,) = collect([folder])
    words = "; ".join(run.problems)
    assert "config.json is damaged" in words and "data.json is damaged (it holds a list" in words
    assert "result.json is damaged" in words
    # The last line is what a killed process leaves: no word of it.
    assert "2 of 5 lines of metrics.jsonl are damaged" in words
    assert [entry["step"] for entry in run.metrics] == [10, 20] and run.config == {}


ODD = {
    "result.json": {
        "test": {"accuracy": "0.5", "num_examples": 20, "figures": None},
        "training": {"steps": 10**4000, "parameters": "many", "seconds": math.inf},
        "machine": "x",
        "selected": [1],
    },
    "data.json": {"name": {"a": 1}, "counts": [1, 2], "class_names": 5, "image_shape": 8, "test_classes": [1, 2]},
}


def test_entries_of_the_wrong_type_are_named_and_left_out(tmp_path):
    """The page is written all the same."""
    metrics = ["[" * 100_000 + "\n", '{"step": 1, "kind": "train", "loss": 1' + "0" * 400 + "}\n", line(2, loss=0.5)]
    figure = {"classes": ["novel"], "head": None, "per_class": {"a": None, "b": 0.5, "c": 0.25}, "accuracy": "0.5"}
    folders = [
        make_run(
            tmp_path / "a", config={"seed": "x"}, data=ODD["data.json"], result=ODD["result.json"], metrics=metrics
        ),
        make_run(
            tmp_path / "b", config='{"a": ' * 100_000, result={"test": {"accuracy": math.nan, "num_examples": 0.2}}
        ),
        make_run(tmp_path / "c", result={"test": {"accuracy": 5, "figures": [figure, "figure"]}}),
        make_run(tmp_path / "d", result={"test": [1]}),
    ]
    first, second, third, fourth = collect(folders)
    assert set(first.problems) == {
        "data.json: counts is [1, 2], not an object: left out",
        "data.json: class_names is 5, not a list of texts: left out",
        "data.json: image_shape is 8, not a list of whole numbers: left out",
        "data.json: test_classes is [1, 2], not a list of texts: left out",
        "result.json: test.accuracy is '0.5', not a number from 0 to 1: left out",
        "result.json: machine is 'x', not an object: left out",
        "result.json: selected is [1], not an object: left out",
        "1 of 3 lines of metrics.jsonl are damaged, and left out",
    }
    assert first.result["test"] == {"num_examples": 20} and set(first.data) == {"name"}
    assert "config.json is damaged (brackets within brackets, too many)" in second.problems
    assert {problem.split(": ")[1] for problem in second.problems if problem.startswith("result")} == {
        "test.accuracy is nan, not a number from 0 to 1",
        "test.num_examples is 0.2, not a number of images",
    }
    assert third.result["test"]["figures"] == [{key: figure[key] for key in ("per_class", "accuracy")}]
    assert "result.json: test.figures[1] is 'figure', not an object: left out" in third.problems
    assert fourth.result == {} and len(fourth.problems) == 1
    problems = write_report(folders, tmp_path / "page.html", Choices(use_data=False))
    text = (tmp_path / "page.html").read_text()
    assert len(problems) == sum(len(run.problems) for run in (first, second, third, fourth))
    assert "machine is &#x27;x&#x27;, not an object" in text and ">25.0</td>" in text


def test_the_network_that_comes_with_fsjax(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run,) = collect(["starter"])
    assert (run.folder / "weights.safetensors").exists() and run.name == "starter" and not run.problems
    assert not write_report(["starter"], tmp_path / "page.html", Choices(use_data=False))
    assert f"{100 * run.result['test']['accuracy']:.2f} ±" in (tmp_path / "page.html").read_text()
    make_run(tmp_path / "starter")
    assert collect(["starter"])[0].folder == tmp_path / "starter"


def test_missing_files_are_named(tmp_path):
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    (run,) = collect([tmp_path / "a"])
    assert [problem.split()[0] for problem in run.problems] == ["config.json", "data.json", "metrics.jsonl"]


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, words in (("empty", "is not the workdir of a run"), ("file", "is no folder"), ("gone", "is no folder")):
        with pytest.raises(UserError, match=words):
            collect([tmp_path / name])
    run = make_run(tmp_path / "a")
    with pytest.raises(UserError, match="given twice"):
        collect([run, tmp_path / "empty" / ".." / "a"])


def test_names_tell_runs_apart(tmp_path):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run"]
    assert names(paths) == ["x/run", "y/run"]
    assert names([tmp_path / "x", tmp_path / "y"]) == ["x", "y"]


def test_differences_of_configs(tmp_path):
    first = {
        "seed": 0,
        "train": {"steps": 100, "batch": 8},
        "loss": {"name": "icu", "icu": {"alpha": 0.1}, "focal": {"gamma": 2}},
        "old": 1,
    }
    second = {
        "seed": 1,
        "train": {"steps": 100, "batch": 16},
        "loss": {"name": "focal", "icu": {"alpha": 0.5}, "focal": {"gamma": 2}},
    }
    runs = collect([make_run(tmp_path / str(n), config=config) for n, config in enumerate((first, second))])
    differing, partly = config_differences(runs)
    # The options of the loss that a run has not chosen say nothing of it.
    assert differing == {
        "seed": [0, 1],
        "train.batch": [8, 16],
        "loss.name": ["icu", "focal"],
        "loss.icu.alpha": [0.1, ABSENT],
        "loss.focal.gamma": [ABSENT, 2],
    }
    assert partly == ["old"]
    assert config_differences(runs[:1]) == ({}, [])
