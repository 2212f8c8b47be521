"""Several processes of two devices each, on loopback: the numbers of one, and what happens when one of them is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import fsjax
from fsjax.errors import UserError
from fsjax.training import hosts, workdir
from fsjax.training.checkpoints import steps_in
from fsjax.training.connect import connect

METHODS = ("softmax", "opl", "prototypical", "divided")
OVERRIDES = {
    "model.cnn.stages": "((8,),(16,))", "model.cnn.dim": "16", "train.epochs": "0", "train.steps": "60",
    "train.batch_size": "32", "train.log_every": "10", "train.eval_every": "10", "train.checkpoint_every": "10",
    "train.progress": "False",
}  # fmt: skip


def train(workdir, **overrides):
    values = OVERRIDES | {name.replace("__", "."): value for name, value in overrides.items()}
    return ["train.py", f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.fixture(scope="module")
def start(root):
    """Start a command in two processes of two devices, the address and the numbers given as flags or arguments."""
    started = []

    def two(command, *, flags=True, each=lambda index: []):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {
            **os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": str(root)
        }  # fmt: skip
        for index in range(2):
            numbers = [address, "2", str(index)]
            if flags:
                names = ("--coordinator", "--num_processes", "--process_id")
                numbers = [f"{name}={value}" for name, value in zip(names, numbers, strict=True)]
            started.append(
                subprocess.Popen(
                    [sys.executable, *command, *numbers, *each(index)],
                    cwd=root,
                    env=environment,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        return started[-2:]

    yield two
    for process in started:
        if process.poll() is None:
            process.kill()


def ends(processes, timeout=300):
    """Exit status, output and errors of processes that end by themselves."""
    said = [process.communicate(timeout=timeout) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def wait_for_step(workdir, step, processes):
    deadline = time.monotonic() + 240
    while not any(found >= step for found in steps_in(workdir / "checkpoints" / "latest")):
        assert time.monotonic() < deadline and all(process.poll() is None for process in processes), ends(processes)
        time.sleep(0.02)


def figures(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "timing"} for line in lines]


def bits(workdir):
    run = fsjax.restore(workdir, which="latest")
    return run.step, [np.asarray(x).tobytes() for x in jax.tree.leaves((run.params, run.collections))]


@pytest.fixture(scope="module")
def by_one_and_by_two(root, python, start, tmp_path_factory):
    """What one device and what each of two processes of two devices found, by method."""
    folder = tmp_path_factory.mktemp("hosts")
    script, methods = str(root / "tests" / "training" / "train_on_hosts.py"), ",".join(METHODS)
    one = python(script, str(folder / "one"), "1", methods, devices=2, PYTHONPATH=str(root))
    both = ends(start([script, str(folder / "two"), "0", methods], flags=False))
    assert [status for status, *_ in both] == [0, 0], both
    return [json.loads(text.splitlines()[-1])["found"] for text in (one.stdout, *(out for _, out, _ in both))]


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_find_what_one_device_does(by_one_and_by_two, method):
    one, first, second = (found[method] for found in by_one_and_by_two)
    assert one["machine"]["devices"].startswith("1 x") and one["machine"]["processes"] == 1
    assert first["machine"]["devices"].startswith("4 x") and first["machine"]["processes"] == 2
    assert len(set(one["losses"])) == 20
    np.testing.assert_allclose(first["losses"], one["losses"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(first["validation"], one["validation"], rtol=0, atol=1e-12)
    assert first["test"]["accuracy"] == one["test"]["accuracy"]
    assert first == second


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("hosts") / "whole"
    both = ends(start(train(workdir)))
    assert [status for status, *_ in both] == [0, 0], both
    assert (workdir / "result.json").exists() and bits(workdir)[0] == 60
    return workdir


def test_killed_processes_are_named_and_the_run_goes_on(start, tmp_path, uninterrupted):
    """SIGKILL to the second process, then to the first; the third start ends with the bits of a run never stopped."""
    workdir, named = tmp_path / "killed", "process {} of 2 (host " + socket.gethostname() + ")"
    for victim, step in ((1, 10), (0, 30)):
        both = start(train(workdir))
        wait_for_step(workdir, step, both)
        both[victim].kill()
        begin = time.monotonic()
        said = ends(both, timeout=60)
        assert time.monotonic() - begin < 60
        status, _, errors = said[1 - victim]
        assert status not in (0, -signal.SIGKILL)
        assert f"error: {named.format(victim)} is gone" in errors.splitlines()[-1], errors
        assert "continue" in errors.splitlines()[-1]
        assert not (workdir / "result.json").exists()
    both = ends(start(train(workdir)))
    assert [status for status, *_ in both] == [0, 0], both
    assert bits(workdir) == bits(uninterrupted)
    assert figures(workdir) == figures(uninterrupted)


def test_sigterm_to_one_stops_both_and_four_devices_of_one_process_go_on(start, python, tmp_path, uninterrupted):
    workdir = tmp_path / "stopped"
    both = start(train(workdir, train__progress=True))
    wait_for_step(workdir, 10, both)
    both[1].terminate()
    said = ends(both)
    assert [status for status, *_ in said] == [128 + signal.SIGTERM] * 2, said
    stopped = max(steps_in(workdir / "checkpoints" / "latest"))
    assert f"stopped at step {stopped} of 60" in said[0][2]
    assert "stopped" not in said[1][2]
    assert fsjax.restore(workdir, which="latest").step == stopped
    done = python(*train(workdir, train__progress=True), devices=4)
    assert f"continuing from step {stopped} of 60" in done.stderr
    ours, whole = ([line["loss"] for line in figures(w) if line["kind"] == "train"] for w in (workdir, uninterrupted))
    np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-4)


def test_another_config_in_one_process_ends_both_in_words(start, tmp_path):
    both = ends(start(train(tmp_path / "run"), each=lambda index: [f"--config.seed={index}"]), timeout=120)
    for status, _, errors in both:
        assert status == 2
        assert "process 1 of 2 (host" in errors and "has seed=1, and process 0 of 2" in errors
        assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_processes": 2}, r"--coordinator and --process_id missing: .* need all of --coordinator=HOST:PORT"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "--process_id=2 must be 0 to 1"),
        ({"coordinator": "node", "num_processes": 2, "process_id": 0}, "--coordinator=node must be HOST:PORT"),
        ({"coordinator": "a:1", "num_processes": 0, "process_id": 0}, "--num_processes=0 must be at least 1"),
    ],
)
def test_flags_that_cannot_be_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        connect(**given)


def test_one_process_does_not_connect(monkeypatch):
    connect()
    connect(coordinator="a:1", num_processes=1, process_id=0)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for name, value in {**slurm, "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    connect()
    assert not jax.distributed.is_initialized()


def test_slurm_gives_a_process_alone_on_its_node_all_gpus(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **options: given.update(options, args=args))
    slurm = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_GPUS_ON_NODE": "4",
    }  # fmt: skip
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    connect()
    assert given["args"] == (None, None, None) and given["local_device_ids"] == [0, 1, 2, 3]
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2)")
    connect()
    assert given["local_device_ids"] is None


def test_a_folder_that_others_do_not_see(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "_SHARED_WITHIN", 0.3)
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    (tmp_path / ".lock").write_text("of another run")
    with pytest.raises(UserError, match="of process 0 is not seen here: .* shared file system"):
        workdir._check_shared(tmp_path, "token")
    (tmp_path / ".lock").write_text("token")
    workdir._check_shared(tmp_path, "token")
