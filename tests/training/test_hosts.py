"""Several processes of two devices each, on loopback: the numbers of one, and what happens when one of them is gone."""

import ctypes
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import fsjax
from fsjax import data
from fsjax.errors import UserError
from fsjax.training import hosts, run, same_data, workdir
from fsjax.training import state as states
from fsjax.training.checkpoints import steps_in
from fsjax.training.connect import connect
from fsjax.training.reporting import Reporter

METHODS = ("softmax", "opl", "prototypical", "divided")
OVERRIDES = {
    "model.cnn.stages": "((8,),(16,))", "model.cnn.dim": "16", "train.epochs": "0", "train.steps": "60",
    "train.batch_size": "32", "train.log_every": "10", "train.eval_every": "10", "train.checkpoint_every": "10",
    "train.progress": "False", "data.backend": "device",  # starts in half the time: without TensorFlow
}  # fmt: skip


def train(workdir, **overrides):
    values = OVERRIDES | {name.replace("__", "."): value for name, value in overrides.items()}
    return ["train.py", f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.fixture(scope="module")
def start(root, given_flags):
    """Start a command in two processes of two devices, the address and the numbers given as flags or arguments."""
    started = []

    def two(command, *, flags=True, each=lambda index: []):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {
            **os.environ, "PYTHONPATH": str(root),
            "XLA_FLAGS": f"{given_flags} --xla_force_host_platform_device_count=2",
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
    return [json.loads(text.splitlines()[-1]) for text in (one.stdout, *(out for _, out, _ in both))]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_find_what_one_device_does(by_one_and_by_two, method):
    one, first, second = (process["found"][method] for process in by_one_and_by_two)
    assert one["machine"]["devices"].startswith("1 x") and one["machine"]["processes"] == 1
    assert first["machine"]["devices"].startswith("4 x") and first["machine"]["processes"] == 2
    assert len(set(one["losses"])) == 20
    np.testing.assert_allclose(first["losses"], one["losses"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(first["validation"], one["validation"], rtol=0, atol=1e-12)
    assert first["test"]["accuracy"] == one["test"]["accuracy"]
    # The second process computed these by itself, and its parameters are the same to the bit.
    *validation, test = (heard["figures"]["accuracy"] for heard in second["heard"])
    assert (validation, test) == (first["validation"], first["test"]["accuracy"])
    assert len({heard["bits"] for heard in second["heard"][:-1]}) == 2
    assert first == second


@pytest.mark.slow
def test_sigterm_ends_a_process_that_has_met_the_others(by_one_and_by_two):
    """Until the run saves and stops on it: JAX alone would have it go on."""
    assert [process["sigterm"] for process in by_one_and_by_two] == [None] * 3


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("hosts") / "whole"
    both = ends(start(train(workdir)))
    assert [status for status, *_ in both] == [0, 0], both
    assert (workdir / "result.json").exists() and bits(workdir)[0] == 60
    return workdir


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_folders_of_checkpoints_are_written_at_once(start, root, tmp_path):
    """Twenty saves, ten times: the processes meet for each by names, and two writers must not use the same."""
    script = str(root / "tests" / "training" / "save_on_hosts.py")
    both = ends(start([script, str(tmp_path), "10"], flags=False))
    assert [(status, out.splitlines()[-1:]) for status, out, _ in both] == [(0, ["saved"])] * 2, both


@pytest.mark.slow
def test_another_config_in_one_process_ends_both_in_words(start, tmp_path):
    both = ends(start(train(tmp_path / "run"), each=lambda index: [f"--config.seed={index}"]), timeout=120)
    for status, _, errors in both:
        assert status == 2
        assert "process 1 of 2 (host" in errors and "has seed=1, and process 0 of 2" in errors
        assert "--num_processes=1" in errors
        assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_processes": 2}, r"--coordinator and --process_id missing: .* need all of --coordinator=HOST:PORT"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "--process_id=2 must be 0 to 1"),
        ({"coordinator": "node", "num_processes": 2, "process_id": 0}, "--coordinator=node must be HOST:PORT"),
        ({"coordinator": "a:1", "num_processes": 0, "process_id": 0}, "--num_processes=0 must be at least 1"),
        ({"num_processes": 0}, "--coordinator and --process_id missing"),
    ],
)
def test_flags_that_cannot_be_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        connect(**given)


def test_one_process_does_not_connect(monkeypatch):
    connect()
    connect(coordinator="a:1", num_processes=1, process_id=0)
    connect(num_processes=1)
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


@pytest.mark.slow
def test_a_tpu_machine_runs_alone_only_if_nothing_is_known_of_others(python):
    """JAX's own words where it finds nothing; beside it a coordinator that nobody is at."""
    code = (
        "import importlib.util, logging\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: 'here' if name == 'libtpu' else found(name)\n"
        "from fsjax.errors import UserError\n"
        "from fsjax.training.connect import connect\n"
        "import jax\n"
        "logging.basicConfig(level=logging.INFO, force=True)\n"
        "connect()\n"
        "for given in ({'coordinator': 'localhost:1'}, {'num_processes': 2, 'process_id': 0}):\n"
        "    try:\n"
        "        connect(**given)\n"
        "    except UserError as error:\n"
        "        print(error)\n"
        "assert not jax.distributed.is_initialized()\n"
    )
    done = python("-c", code)
    assert done.stderr.count("this one runs alone") == 1
    coordinator, numbers = done.stdout.splitlines()
    assert coordinator.startswith("cannot meet the coordinator localhost:1: ") and "--num_processes=1" in coordinator
    assert numbers.startswith("cannot meet the processes that TPU started: ")


def test_a_failed_meeting_is_never_taken_for_one_process_where_flags_are_given(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("DEADLINE_EXCEEDED: nobody came\nlong details")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setattr("fsjax.training.connect._launcher", lambda: ("TPU", None))
    for given in ({"coordinator": "a:1", "num_processes": 2, "process_id": 0}, {}):
        with pytest.raises(UserError, match=r"cannot meet .*: DEADLINE_EXCEEDED: nobody came; give --coordinator"):
            connect(**given)


def test_kubernetes_without_its_package_is_told_which(monkeypatch):
    for name in ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"):
        monkeypatch.setenv(name, "1")

    def fail(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UserError, match=r"pip install 'jax\[k8s\]'.* or give --coordinator=.*give --num_processes=1"):
        connect()


@pytest.mark.parametrize(
    ("coordinator", "bound"),
    [("127.0.0.1:12", "127.0.0.1:12"), ("localhost:12", "localhost:12"), ("[::1]:12", "[::1]:12"), ("node1:12", None)],
)
def test_what_is_for_this_machine_alone_listens_on_it_alone(monkeypatch, coordinator, bound):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **options: given.update(options))
    connect(coordinator=coordinator, num_processes=2, process_id=0)
    assert given["coordinator_bind_address"] == bound


@pytest.mark.skipif(sys.platform == "win32", reason="asks the C library")
def test_meeting_leaves_sigterm_as_it_was(monkeypatch):
    """The fake does to the system's table, unknown to Python, what JAX does: another answer to SIGTERM."""
    libc, before = ctypes.CDLL(None), []
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    ignore = 1
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *_, **__: before.append(libc.signal(signal.SIGTERM, ignore))
    )
    connect(coordinator="a:1", num_processes=2, process_id=0)
    assert before[0] != ignore
    assert libc.signal(signal.SIGTERM, before[0]) == before[0]


class Store:
    """The store as the second of two processes sees it, where the first has left one thing under every key."""

    def __init__(self, of_first, gone=False):
        self.values, self.of_first, self.gone = {}, json.dumps(of_first), gone

    def key_value_set(self, key, value):
        self.values[key] = value

    def blocking_key_value_get(self, *_):
        return self.of_first

    def wait_at_barrier(self, *_):
        if self.gone:
            raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")

    def key_value_dir_get(self, prefix):
        own = {key: value for key, value in self.values.items() if key.startswith(f"{prefix}/")}
        return list((own if self.gone else {f"{prefix}/0": self.of_first, **own}).items())


@pytest.fixture
def second(monkeypatch):
    """Make this the second of two processes, the first of which has left a value, or is gone."""

    def be(of_first, **options):
        store = Store(of_first, **options)
        monkeypatch.setattr(hosts, "_store", lambda: store)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: 1)

    return be


def test_a_process_that_never_begins_is_named(second):
    second(None, gone=True)
    with pytest.raises(UserError, match="all of which connected, these did not begin within 5 minutes: process 0;"), \
            hosts.together(dict):  # fmt: skip
        pass


@pytest.fixture
def as_process(monkeypatch):
    """`as_process(0)`, then `as_process(1)`: one after the other, both of two processes that have one store."""
    values = {}
    store = SimpleNamespace(
        key_value_set=values.__setitem__, blocking_key_value_get=lambda key, timeout_ms: values[key]
    )
    monkeypatch.setattr(hosts, "_store", lambda: store)
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def be(index):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(hosts, "_numbers", itertools.count())  # each process counts its meetings

    return be


def test_the_first_process_answers_for_both(as_process):
    asked = []
    for index in (0, 1):
        as_process(index)
        assert hosts.by_first(lambda index=index: asked.append(index) or {"answer": 42}) == {"answer": 42}
    assert asked == [0]


def test_what_the_first_process_refuses_both_refuse(as_process):
    def refuse():
        raise UserError("the disk is full")

    for index in (0, 1):
        as_process(index)
        with pytest.raises(UserError, match="the disk is full"):
            hosts.by_first(refuse)


def test_in_turn_each_process_does_it_the_first_one_first(as_process):
    done = []
    for index in (0, 1):
        as_process(index)
        assert hosts.in_turn(lambda index=index: done.append(index) or index) == index
    assert done == [0, 1]


def test_a_store_that_is_gone_is_told_and_not_waited_for(as_process, monkeypatch):
    def gone(key, timeout_ms):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE")

    as_process(1)
    monkeypatch.setattr(hosts._store(), "blocking_key_value_get", gone)
    with pytest.raises(jax.errors.JaxRuntimeError, match="UNAVAILABLE"):
        hosts.by_first(dict)


def test_processes_that_were_not_connected_have_no_store():
    with pytest.raises(UserError, match=r"jax.distributed.initialize\(\) was not called"):
        hosts._store()


@pytest.mark.parametrize(("index", "said"), [(0, ["news", "care"]), (1, ["[process 1] care"])])
def test_one_process_speaks_and_the_other_warns(index, said, caplog):
    with caplog.at_level("INFO", "fsjax"), hosts._voice(index):
        hosts.logger.info("news")
        hosts.logger.warning("ca%s", "re")
    assert caplog.messages == said


def splits(*, labels=(0, 1, 2, 0), items=(3, 5, 8, 9), pixel=7, mean=(0.5,), names=("cat", "dog", "f" * 90)):
    images = np.random.default_rng(0).integers(256, size=(4, 3, 3, 1), dtype=np.uint8)
    images[2, 1, 1] = pixel
    train = data.ArrayExamples(images, np.asarray(labels, np.int32))
    info = data.DataInfo("noise", names, (3, 3, 1), {"train": 4}, (2, 1, 1), mean, (0.2,))
    return data.Splits(train, None, None, info, items=np.asarray(items, np.int64))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"pixel": 8}, "images of train"),
        ({"labels": (0, 2, 1, 0)}, "labels of train"),
        ({"items": (3, 5, 8, 10)}, "items of train"),
        ({"mean": (0.25,)}, r"mean=\[0.5\], and process 0 of 2 \(host there\) has \[0.25\]"),
        ({"names": ("cat", "dog", "g" * 90)}, "class_names"),
    ],
)
def test_other_data_in_one_process_are_named(second, other, what):
    second(["there", same_data.facts(splits(**other))])
    with pytest.raises(UserError, match=rf"process 1 of 2 \(host .*\) has data: {what}.* same --config.data.path"):
        hosts.check_same(lambda: same_data.facts(splits()), same_data.WAY_OUT)


def test_equal_data_pass(second):
    last_bit = np.nextafter(0.5, 1)  # another processor's sum
    second(["there", same_data.facts(splits(mean=(last_bit,)))])
    hosts.check_same(lambda: same_data.facts(splits()), same_data.WAY_OUT)


def test_a_run_compares_its_data_before_it_begins(digits_config, monkeypatch, tmp_path):
    compared = []

    def note(facts, way_out):
        compared.append(facts())
        raise UserError(way_out)

    monkeypatch.setattr(hosts, "check_same", note)
    with pytest.raises(UserError, match="same --config.data.path"):
        run(digits_config(), tmp_path / "run")
    expected = {f"data: {what} of {split}" for what in ("labels", "images") for split in ("train", "test")}
    assert expected <= set(*compared)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("own", "of_first", "improved"), [(0.5, 0.4, False), (0.4, 0.5, True)])
def test_the_first_process_says_which_step_is_best(second, own, of_first, improved):
    """Where two hosts round differently, both save the best checkpoint, or neither."""
    second({"value": {"accuracy": of_first}})
    same, told = (lambda x: x), []
    experiment = SimpleNamespace(
        scoring=SimpleNamespace(validation=lambda _: {"accuracy": own}),
        parallel=SimpleNamespace(single=same, replicate=same),
    )
    records = SimpleNamespace(add=lambda step, kind, figures, _: told.append(figures["accuracy"]))
    reporter = Reporter(experiment, records, SimpleNamespace(say=lambda _: None), None, start_step=0)
    state = states.create({"params": {}}, None, ()).replace(best=states.Best(np.float32(0.45), np.int32(1)))
    state, found = reporter.validate(state, 2)
    assert (found, told) == (improved, [of_first])
    assert float(state.best.accuracy) == np.float32(max(of_first, 0.45)) and int(state.best.step) == 1 + improved


def test_a_folder_that_others_do_not_see(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "_SHARED_WITHIN", 0.3)
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    (tmp_path / ".token").write_text("of another run")
    with pytest.raises(UserError, match="of process 0 is not seen here: .* shared file system"):
        workdir._check_shared(tmp_path, "token")
    (tmp_path / ".token").write_text("token")
    workdir._check_shared(tmp_path, "token")
