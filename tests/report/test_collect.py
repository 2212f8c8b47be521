"""What is read from runs' folders, on folders made by hand."""

import json
import math

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.report.collect import ABSENT, collect, config_differences, curve, names, thinned


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
