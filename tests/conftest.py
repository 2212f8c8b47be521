"""Fixtures for all tests; everything here runs on the CPU and needs no download."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Compiled programs are kept between runs of the tests, and between their subprocesses.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ["JAX_PLATFORMS"] = "cpu"

sys.path.insert(0, str(ROOT))  # for `configs` and `train`, which are not part of the package


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def python():
    """Run a Python command in a process of its own, with a number of virtual devices."""

    def call(*args: str, devices: int = 1, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        flags = f"--xla_force_host_platform_device_count={devices}"
        result = subprocess.run(
            [sys.executable, *args],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": flags, **env},
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check:
            assert result.returncode == 0, result.stderr[-4000:]
        return result

    return call


@pytest.fixture(scope="session")
def digits_config():
    """A config of a few seconds on digits; a fresh copy a call, with overrides by dotted name."""
    from configs.icu_digits import get_config

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
def digits_run(digits_config, tmp_path_factory):
    """A finished run on digits: its folder and its result."""
    from fsjax.training import run

    workdir = tmp_path_factory.mktemp("digits") / "run"
    return workdir, run(digits_config(), workdir)
