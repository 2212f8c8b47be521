"""Every few-shot config runs its `:smoke` variant, and every variant is a whole config."""

import importlib

import numpy as np
import pytest

from configs.common_aflm import ROWS
from configs.common_few_shot import DATASETS
from fsjax.training import run
from fsjax.training.flags import load_config
from fsjax.training.settings import check

VARIANTS = {
    "dc": ("gap", "gmp", "flatten", "linear", "imprinted", "wide", "gap,c128f"),
    "implants": (),
    "proto": ("cosine", "1shot"),
    "metabaseline": ("classifier",),
    "aflm": (*ROWS, "1shot", "reconstructed", "global,reconstructed,1shot"),
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("family", VARIANTS)
def test_variants_have_every_key(family, dataset):
    module = importlib.import_module(f"configs.{family}_{dataset}")
    for variant in ("", "smoke", *VARIANTS[family]):
        check(module.get_config(variant))
    with pytest.raises(ValueError, match="there are: "):
        module.get_config("nothing")
    if family == "dc":
        assert module.get_config("wide").model.resnet12.widths == (64, 128, 256, 512 + 16)
    for variant in {"dc": ("gap,gmp", "wide,c128f"), "aflm": ("global,local",)}.get(family, ()):
        with pytest.raises(ValueError, match="exclude each other"):
            module.get_config(variant)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_config_runs_its_smoke_variant(root, tmp_path, name, dataset):
    config = load_config(f"{root}/configs/{name}_{dataset}.py:smoke")
    if name == "metabaseline":
        first = load_config(f"{root}/configs/{name}_{dataset}.py:classifier,smoke")
        run(first, tmp_path / "classifier")
        config.start_from = str(tmp_path / "classifier")
    result = run(config, tmp_path / "run")
    assert result["training"]["steps"] == 4
    assert np.isfinite(result["training"]["last"]["loss"])
    figures = result["test"]["figures"]
    assert {figure["classes"] for figure in figures} == set(config.few_shot.classes)
    assert any(figure.get("implants") for figure in figures) == (name == "implants")


@pytest.mark.parametrize(
    "variant",
    [
        "dc:gmp", "dc:flatten", "dc:linear", "dc:imprinted", "dc:wide", "dc:gap,c128f", "proto:cosine", "proto:1shot",
        "aflm:local", "aflm:no_attention,1shot", "aflm:reconstructed",
    ],
)  # fmt: skip
def test_variants_run(root, tmp_path, variant):
    family, _, arg = variant.partition(":")
    config = load_config(f"{root}/configs/{family}_fc100.py:{arg},smoke")
    result = run(config, tmp_path / "run")
    expected = {"novel", "base", "both"}
    if family == "aflm":
        expected = {"novel", "reconstructed"} if "reconstructed" in arg else {"novel"}
    assert {figure["classes"] for figure in result["test"]["figures"]} == expected


def test_meta_baseline_of_aflms_table_goes_on_from_its_global_row(root, tmp_path):
    first, second = (
        load_config(f"{root}/configs/aflm_cifarfs.py:{row},reconstructed,smoke") for row in ("global", "meta_baseline")
    )
    run(first, tmp_path / "global")
    second.start_from = str(tmp_path / "global")
    result = run(second, tmp_path / "meta_baseline")
    assert {figure["classes"] for figure in result["test"]["figures"]} == {"reconstructed", "novel"}
