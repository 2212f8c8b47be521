"""A run killed at any moment and continued ends with the bits of one that was never stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import fsjax
from fsjax.training import run
from fsjax.training.checkpoints import steps_in

OVERRIDES = {
    "model.cnn.stages": "((8,),(16,))", "model.cnn.dim": "16", "train.epochs": "0", "train.steps": "400",
    "train.batch_size": "32", "train.log_every": "10", "train.eval_every": "20", "train.checkpoint_every": "20",
    "train.steps_per_dispatch": "5", "data.augment.mixup": "0.4", "data.augment.flip": "True",
    "data.backend": "device",  # starts in half the time: without TensorFlow
}  # fmt: skip


def command(workdir):
    overrides = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]
    return [sys.executable, "train.py", f"--workdir={workdir}", *overrides]


def figures(workdir):
    """metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "timing"} for line in lines]


def assert_same_run(one, other):
    a, b = (fsjax.restore(path, which="latest") for path in (one, other))
    assert a.step == b.step == 400
    for x, y in zip(
        jax.tree.leaves((a.params, a.collections)), jax.tree.leaves((b.params, b.collections)), strict=True
    ):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    assert figures(one) == figures(other)
    results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
    for key in ("test", "validation", "selected"):
        assert results[0][key] == results[1][key]


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("resume") / "whole"
    subprocess.run(command(workdir), cwd=root, check=True, capture_output=True, timeout=300)
    return workdir


@pytest.mark.slow
def test_killed_at_random_moments(root, tmp_path, uninterrupted):
    """SIGKILL, five times: early, around the writing of checkpoints, and while the finished run is scored."""
    rng = random.Random(20261121)
    workdir, kills, reached = tmp_path / "killed", 0, []
    latest = workdir / "checkpoints" / "latest"

    def wait_for(condition, process):
        deadline = time.time() + 200
        while process.poll() is None and not condition() and time.time() < deadline:
            time.sleep(0.001)

    def kill_early(process):
        time.sleep(rng.uniform(2.0, 6.0))

    def kill_near_a_checkpoint(process):
        before = steps_in(latest)
        wait_for(lambda: steps_in(latest) != before, process)
        time.sleep(rng.uniform(0.0, 0.15))

    def kill_at_the_end(process):
        wait_for(lambda: 400 in steps_in(latest), process)

    for moment in (kill_early, *[kill_near_a_checkpoint] * 3, kill_at_the_end):
        process = subprocess.Popen(command(workdir), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        moment(process)
        process.send_signal(signal.SIGKILL)
        kills += process.wait(timeout=60) == -signal.SIGKILL
        reached.append(steps_in(latest))
    assert kills >= 4, f"only {kills} kills; the checkpoints after each: {reached}"
    subprocess.run(command(workdir), cwd=root, check=True, capture_output=True, timeout=300)
    assert_same_run(uninterrupted, workdir)


@pytest.mark.slow
def test_sigterm_saves_where_it_stands_and_says_how_to_go_on(root, tmp_path, uninterrupted):
    workdir = tmp_path / "stopped"
    process = subprocess.Popen(command(workdir), cwd=root, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not steps_in(workdir / "checkpoints" / "latest"):
        time.sleep(0.01)
    process.terminate()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command continues the run" in said
    subprocess.run(command(workdir), cwd=root, check=True, capture_output=True, timeout=300)
    assert_same_run(uninterrupted, workdir)


def test_damaged_latest_checkpoint_costs_nothing_but_time(digits_config, digits_run, tmp_path, caplog):
    """The last checkpoint of a half-done run is truncated: the one before it is used, and the end is the same."""
    workdir = tmp_path / "damaged"
    config = digits_config()

    class Stop(Exception):
        pass

    def stop_at_40(*_):
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        from fsjax.training import loop

        ends = loop._dispatch_ends
        patch.setattr(loop, "_dispatch_ends", lambda *args: (e for e in ends(*args) if e <= 40))
        patch.setattr(loop, "finish", stop_at_40)
        with pytest.raises(Stop):
            run(config, workdir)
    latest = workdir / "checkpoints" / "latest"
    assert steps_in(latest) == [20, 40]
    file = max((p for p in (latest / "40").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)
    with caplog.at_level("INFO", "fsjax"):
        result = run(config, workdir)
    assert "40 is damaged" in caplog.text
    assert "continuing from step 20 of 60" in caplog.text
    whole, expected = digits_run
    assert figures(workdir) == figures(whole)
    assert result["test"] == expected["test"]
