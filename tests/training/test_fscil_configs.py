"""The configs of class-incremental learning: their recipe, and that they run and give sessions."""

import importlib

import numpy as np
import pytest

import fsjax
from fsjax.config import check
from fsjax.training import run


@pytest.mark.parametrize("name", ["fscil_cifar100", "fscil_tiny"])
def test_variants_have_every_key(name):
    module = importlib.import_module(f"fsjax.configs.{name}")
    for variant in ("", "smoke"):
        config = module.get_config(variant)
        check(config)
        assert config.data.keep_test and config.loss.name == "cosine" and config.schedule.name == "cosine"
    with pytest.raises(ValueError, match="there are: smoke"):
        module.get_config("nothing")


@pytest.mark.slow
def test_smoke_variant_resolves(smoke_config, resolve):
    assert resolve(smoke_config("fscil_tiny")).params["encoder"]


@pytest.mark.slow
def test_smoke_variant_runs_and_has_sessions(smoke_config, tmp_path):
    result = run(smoke_config("fscil_cifar100"), tmp_path / "run")
    assert result["training"]["steps"] == 4 and np.isfinite(result["training"]["last"]["loss"])
    assert {figure["classes"] for figure in result["test"]["figures"]} == {"novel", "base"}
    found = fsjax.restore(tmp_path / "run").sessions(way=5, shot=5, seeds=2)
    assert found.facts["shots_from"] == "training images of the data set"
    assert (found.facts["sessions"], found.facts["test_images"]) == (2, {"base": 80, "novel": 80})
    assert found.values["TEEN 0.5"]["all"].shape == (2, 3)
