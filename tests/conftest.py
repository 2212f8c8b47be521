"""Fixtures for all tests; everything here runs on the CPU and needs no download."""

import gc
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "vectors"
# Compilation takes most of the time of nearly all that is compiled here: networks are small, and runs have few steps.
FAST_COMPILE = {"0.10": ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")}
FAST_COMPILE["0.12"] = FAST_COMPILE["0.10"][:1]  # an unknown flag aborts the process
# (pytest's workers inherit what is set here.)
GIVEN_FLAGS = os.environ.setdefault("FSJAX_TESTS_GIVEN_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
os.environ["XLA_FLAGS"] = " ".join((GIVEN_FLAGS, *FAST_COMPILE.get(".".join(version("jaxlib").split(".")[:2]), ())))
# Compiled programs are kept between runs of the tests, and between their subprocesses.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
# Nothing of the tests goes to the user's own folder.
os.environ.setdefault("FSJAX_CACHE", str(ROOT / ".cache" / "fsjax"))
os.environ["JAX_PLATFORMS"] = "cpu"

sys.path.insert(0, str(ROOT))  # for `configs` and `train`, which are not part of the package


# Where the files are that take longest: they begin first, so that no worker is left alone with one at the end.
LONGEST = ("training", "tests", "cli")
# Where most tests are of formulas of small arrays.
FORMULAS = ("losses", "models", "methods", "evaluation", "labelling")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.parent.name) if item.path.parent.name in LONGEST else 9)


def pytest_collection_finish():
    """What was imported stays, and is not looked through again for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """After each module of tests, drops what jax keeps of it: a worker ends at 2 GB, and not at 6."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def close(monkeypatch):
    """A function that has a folder refuse to be opened: that its mode does so tells nothing to root."""
    closed, scandir = set(), os.scandir

    def denying(path="."):
        if os.fspath(path) in closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denying)
    return lambda folder: closed.add(str(folder))


@pytest.fixture
def x64():
    """Runs the test in float64."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def vector():
    """Loads a vector by name: `.inputs` and `.expected` with lists as arrays, `.params` as it is."""

    def load(name):
        content = json.loads((VECTORS / f"{name}.json").read_text())

        def as_arrays(part):
            return {key: np.asarray(value) if isinstance(value, list) else value for key, value in part.items()}

        return SimpleNamespace(
            inputs=as_arrays(content["inputs"]),
            params=content["params"],
            expected=as_arrays(content["expected"]),
        )

    return load


@pytest.fixture
def optimized(monkeypatch):
    """Compiles as for users what the test compiles: programs that differ round nearly alike only then."""
    import jax

    options = {"xla_backend_optimization_level": 3}
    if "xla_cpu_use_fusion_emitters" in os.environ["XLA_FLAGS"]:
        options["xla_cpu_use_fusion_emitters"] = True
    monkeypatch.setattr(jax, "jit", partial(jax.jit, compiler_options=options))


@pytest.fixture(scope="session")
def jit():
    """`jax.jit` whose arithmetic is done by NumPy, without a compilation, where NumPy has all of it."""
    import jax

    from tests.numpy_arithmetic import numpy_jit

    def jit(function, **options):
        return numpy_jit(function, jax.jit(function, **options), **options)

    return jit


@pytest.fixture(autouse=True)
def formulas_by_numpy(request):
    """In the folders of formulas, operations outside of traced functions are computed by NumPy too.

    But for tests that are marked `xla`, and for those of whole runs: these are trained and evaluated as for users.
    """
    whole_runs = {"digits_run", "few_shot_runs"} & set(request.fixturenames)
    if request.path.parent.name not in FORMULAS or "xla" in request.keywords or whole_runs:
        yield
        return
    from tests.numpy_arithmetic import numpy_arithmetic

    with numpy_arithmetic():
        yield


@pytest.fixture
def finite_differences(jit):
    """Gradients of a scalar function of arrays, one for each of them, by central differences."""

    def partial_gradient(function, point, step=1e-6):
        point = np.asarray(point)
        result = np.zeros_like(point)
        for index in np.ndindex(point.shape):
            shift = np.zeros_like(point)
            shift[index] = step
            result[index] = (function(point + shift) - function(point - shift)) / (2 * step)
        return result

    def gradients(function, *points):
        function = jit(function)

        def along(i):
            return lambda point: function(*points[:i], point, *points[i + 1 :])

        return [partial_gradient(along(i), point) for i, point in enumerate(points)]

    return gradients


@pytest.fixture(scope="session")
def python():
    """Run a Python command in a process of its own, with a number of virtual devices.

    With several devices, or with `optimized=True`, it compiles as for users: slower, to what computes faster, and
    rounds nearly alike on any number of devices.
    """

    def call(
        *args: str, devices: int = 1, check: bool = True, optimized: bool = False, **env: str
    ) -> subprocess.CompletedProcess:
        given = GIVEN_FLAGS if optimized or devices > 1 else os.environ["XLA_FLAGS"]
        flags = f"{given} --xla_force_host_platform_device_count={devices}"
        result = subprocess.run(
            [sys.executable, *args],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": flags, **env},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        if check:
            assert result.returncode == 0, result.stderr[-4000:]
        return result

    return call


@pytest.fixture(scope="session")
def given_flags():
    """XLA's flags as they were outside of the tests."""
    return GIVEN_FLAGS


@pytest.fixture(scope="session")
def digits_config():
    """A config of a few seconds on digits; a fresh copy a call, with overrides by dotted name."""
    from fsjax.configs.icu_digits import get_config

    def make(**overrides):
        config = get_config()
        config.model.cnn.update(stages=((8,), (16,)), dim=16)
        config.optimizer.learning_rate = 0.01
        config.train.epochs = 0.0
        config.train.steps = 60
        config.train.batch_size = 32
        config.train.log_every = 20
        config.train.eval_every = 20
        config.train.checkpoint_every = 20
        config.train.progress = False
        with config.unlocked():
            for name, value in overrides.items():
                node = config
                *parents, last = name.split("__")
                for parent in parents:
                    node = node[parent]
                node[last] = value
        return config

    return make


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)` is a folder that `make(folder)` fills, in the first of pytest's workers that asks."""

    def once(name, make):
        common = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:  # the parent is common to all workers
            common = common.parent
        folder = common / name
        with FileLock(common / f"{name}.lock"):
            if not (folder / ".made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / ".made").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def digits_run(digits_config, made_once):
    """A finished run on digits: its folder and its result."""

    def make(folder):
        from fsjax.training import run

        (folder / "result.pickle").write_bytes(pickle.dumps(run(digits_config(), folder / "run")))

    folder = made_once("digits", make)
    return folder / "run", pickle.loads((folder / "result.pickle").read_bytes())


@pytest.fixture(scope="session")
def with_config():
    """`with_config(run, change)` has a copied run say that it was trained by another config: `change(config)`."""

    def rewrite(run, change):
        for path in run.glob("checkpoints/*/*/_CHECKPOINT_METADATA"):
            content = json.loads(path.read_text())
            facts = content["custom_metadata"]["facts"]
            change(facts["config"])
            facts["data"]["division"] = {}  # of other data
            digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
            content["custom_metadata"]["sha256"] = digest
            path.write_text(json.dumps(content))
            for name in ("config", "data"):
                (run / f"{name}.json").write_text(json.dumps(facts[name]))

    return rewrite


FEW_SHOT_METHODS = {"implants": "implants", "gap": "classification"}


def _few_shot_config(name):
    from fsjax.configs.common import base

    config = base()
    config.name = name
    config.method.name = FEW_SHOT_METHODS[name]
    config.loss.name = "cosine"
    config.data.name = "fake"
    config.data.fake.update(height=16, width=16, num_classes=20, train=20 * 16, test=20 * 8)
    config.data.class_split.update(name="share", validation=0.25, test=0.25)
    config.data.base_holdout = 8
    config.model.name = "resnet12"
    config.model.resnet12.widths = (4, 4, 8)
    config.method.implants.update(steps=3, channels=4)
    config.train.update(steps=4, batch_size=16, log_every=2, eval_every=2, checkpoint_every=2, progress=False)
    config.eval.batch_size = 64
    config.few_shot.update(shots=(2, 1), query=(4,), tasks=20, implant_tasks=6, classes=("novel", "both"))
    config.few_shot.validation.update(shot=(2,), query=(4,), tasks=10)
    return config


@pytest.fixture(scope="session")
def few_shot_runs(made_once):
    """Folders of two finished runs on the same noise with divided classes: "implants" (of dense maps) and "gap".

    Each is trained when it is first asked for.
    """

    class Runs(Mapping):
        def __getitem__(self, name):
            def make(folder):
                from fsjax.training import run

                run(_few_shot_config(name), folder / name)

            return made_once(f"few_shot_{name}", make) / name

        def __iter__(self):
            return iter(FEW_SHOT_METHODS)

        def __len__(self):
            return len(FEW_SHOT_METHODS)

    return Runs()
