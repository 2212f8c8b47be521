"""Images on the device: runs where only jax, flax, optax, orbax, chex, ml-collections and NumPy are installed."""

import json

import pytest

from fsjax.config_file import load_config
from fsjax.data import load_splits


@pytest.mark.slow
@pytest.mark.parametrize("module", ["icu_digits", "proto_tiny"])
def test_a_run_on_data_that_were_decoded_elsewhere(python, root, tmp_path, module):
    """The cache is made here, with all packages, and used there."""
    cache = tmp_path / "cache"
    config = load_config(f"{module}:smoke")
    config.data.update(backend="device", cache=str(cache))
    load_splits(config.data, seed=config.seed)
    script = root / "tests" / "training" / "train_on_bare_machine.py"
    done = python(str(script), module, "smoke", str(tmp_path / "run"), str(cache), PYTHONPATH=str(root))
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["loaded"] == [] and 0 <= result["test"] <= 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert "train" in {line["kind"] for line in lines}
