"""Every few-shot config is whole; each family trains on one data set, and all others are traced."""

import importlib
import itertools

import numpy as np
import pytest

import fsjax
from fsjax.config import check
from fsjax.config_file import load_config
from fsjax.configs.aflm import ROWS
from fsjax.configs.common_few_shot import DATASETS
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.training import run

VARIANTS = {
    "dc": ("gap", "gmp", "flatten", "linear", "imprinted", "wide", "gap,c128f"),
    "implants": (),
    "proto": ("cosine", "1shot", "susana"),
    "metabaseline": ("classifier",),
    "aflm": (*ROWS, "1shot", "reconstructed", "global,reconstructed,1shot"),
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("family", VARIANTS)
def test_variants_have_every_key(family, dataset):
    module = importlib.import_module(f"fsjax.configs.{family}")
    for variant in ("", "smoke", *VARIANTS[family]):
        check(module.get_config(f"{dataset},{variant}"))
    with pytest.raises(ValueError, match="there are: "):
        module.get_config(f"{dataset},nothing")
    for none in ("", "gap", "imagenet"):
        with pytest.raises(ValueError, match=f"name it first, as in {family}:fc100; there are: fc100, cifarfs, mini, "):
            module.get_config(none)
    if family == "dc":
        assert module.get_config(f"{dataset},wide").model.resnet12.widths == (64, 128, 256, 512 + 16)
    for variant in {"dc": ("gap,gmp", "wide,c128f"), "aflm": ("global,local",)}.get(family, ()):
        with pytest.raises(ValueError, match="exclude each other"):
            module.get_config(f"{dataset},{variant}")


# docs/readings.md, "Recipe of AFLM": the paper's values and, where it is silent, Meta-Baseline's; written out,
# not computed.
AFLM_METHODS = {
    "": ("aflm", {
        "attention": True, "fusion": "shared_concat", "gate_on": "source", "gate_slope": 0.1, "gate_reduction": 16,
        "tau": 10.0, "learn_tau": True, "reduction": "mean",
    }),
    "global": ("classification", {}),
    "local": ("prototypical", {"similarity": "cosine", "tau": 10.0, "learn_tau": True}),
    "meta_baseline": ("meta_baseline", {"tau": 10.0}),
    "no_attention": ("aflm", {
        "attention": False, "fusion": "shared_concat", "gate_on": "source", "gate_slope": 0.1, "gate_reduction": 16,
        "tau": 10.0, "learn_tau": True, "reduction": "mean",
    }),
}  # fmt: skip
AFLM_DATA = {  # the split, the side images are resized to, the crop with its padding; images held out of 600 or 550
    "fc100": ("fc100", 0, ("pad", 4), 300), "cifarfs": ("cifar_fs", 0, ("pad", 4), 300),
    "mini": ("mini_imagenet", 84, ("random_resized", 0), 300),
    "tiny": ("tiny_imagenet_fs", 64, ("random_resized", 0), 275),
}  # fmt: skip


def holds(config, **expected):
    """Asserts that these keys of a config have these values."""
    assert {name: config[name] for name in expected} == expected


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("row", ["", *ROWS])
def test_aflms_configs_are_the_papers(row, dataset):
    for shot, scenario in itertools.product((5, 1), ("", "reconstructed")):
        chosen = [dataset, row, "1shot" if shot == 1 else "", scenario]
        config = load_config(f"aflm:{','.join(part for part in chosen if part)}")
        _holds_the_recipe(config, row, shot)
        _holds_the_evaluation(config, dataset, shot, reconstructed=bool(scenario))


def _holds_the_recipe(config, row, shot):
    name, options = AFLM_METHODS[row]
    holds(config.method, name=name)
    holds(config.method[name], **options)
    holds(config.loss, name="softmax")
    holds(config.model, name="resnet12")
    holds(config.model.resnet12, activation="leaky", widths=(64, 128, 256, 512), pool="gap", pool_padding="valid")
    holds(config.episodes, way=(5,), shot=(shot,), query=(15,), per_step=4)
    images = 0 if row != "global" else {5: 400, 1: 320}[shot]  # 4 episodes of 5 ways of K + 15 images; 0: by episodes
    rate = 1e-3 if row == "meta_baseline" else 0.1
    holds(config.train, steps=4_000 if row == "meta_baseline" else 20_000, epochs=0, batch_size=images, accumulate=1)
    holds(config.optimizer, name="sgd", learning_rate=rate, momentum=0.9, nesterov=False, weight_decay=5e-4)
    holds(config.optimizer, decay_on="all", clip_norm=0.0)
    if row == "meta_baseline":
        holds(config.schedule, name="constant", warmup=0.0)
    else:  # 100 epochs of 200 steps, x0.1 after 60 and 90 of them
        holds(config.schedule, name="step", unit="steps", warmup=0.0, boundaries=(12_000, 18_000), factor=0.1)


def _holds_the_evaluation(config, dataset, shot, *, reconstructed):
    split, size, (crop, pad), half = AFLM_DATA[dataset]
    holds(config.data.class_split, name=split)
    holds(config.data, image_size=size, base_holdout=half if reconstructed else 0)
    holds(config.data.augment, crop=crop, pad=pad, flip=True, mixup=0.0)
    other = {5: 1, 1: 5}[shot]
    holds(config.few_shot, way=(5,), shots=(shot, other), query=(15,), tasks=8_000, poolings=())
    # The first decides the run's accuracy; the tasks that select the checkpoint are of the same kind.
    holds(config.few_shot, classes=("reconstructed", "novel") if reconstructed else ("novel",))
    selecting = "reconstructed_validation" if reconstructed else "validation"
    holds(config.few_shot.validation, classes=selecting, way=(5,), shot=(shot,), query=(15,))
    if reconstructed:  # as many base classes as novel ones, with as many images each as are held out
        holds(config.few_shot.reconstructed, images=half, test_base=0, validation_base=0)


# The data set on which the smoke variant of a family trains; each data set is there.
TRAINS_ON = {"dc": "mini", "implants": "fc100", "proto": "tiny", "metabaseline": "cifarfs", "aflm": "mini"}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", VARIANTS)
def test_smoke_variants_resolve(smoke_config, resolve, name, dataset):
    state = resolve(smoke_config(f"{name}_{dataset}"))
    assert state.params["encoder"] and state.step.shape == ()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dataset"), TRAINS_ON.items())
def test_every_family_runs_its_smoke_variant(smoke_config, tmp_path, name, dataset):
    config = smoke_config(f"{name}_{dataset}")
    if name == "metabaseline":
        first = smoke_config(f"{name}_{dataset}:classifier")
        run(first, tmp_path / "classifier")
        config.start_from = str(tmp_path / "classifier")
    result = run(config, tmp_path / "run")
    assert result["training"]["steps"] == 4
    assert np.isfinite(result["training"]["last"]["loss"])
    figures = result["test"]["figures"]
    assert {figure["classes"] for figure in figures} == set(config.few_shot.classes)
    assert any(figure.get("implants") for figure in figures) == (name == "implants")


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        "dc:gmp", "dc:flatten", "dc:linear", "dc:wide", "dc:gap,c128f", "proto:cosine", "proto:1shot", "aflm:local",
        "aflm:no_attention,1shot",
    ],
)  # fmt: skip
def test_variants_resolve(smoke_config, resolve, variant):
    family, _, arg = variant.partition(":")
    assert resolve(smoke_config(f"{family}_fc100:{arg}")).params["encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dc:imprinted", "proto:susana", "aflm:reconstructed"])
def test_variants_run(smoke_config, tmp_path, variant):
    family, _, arg = variant.partition(":")
    result = run(smoke_config(f"{family}_fc100:{arg}"), tmp_path / "run")
    expected = {"novel", "reconstructed"} if family == "aflm" else {"novel", "base", "both"}
    assert {figure["classes"] for figure in result["test"]["figures"]} == expected


@pytest.mark.slow
def test_msenet_runs_and_is_restored(root, tmp_path):
    for variant in ("", "1shot", "ends,no_attention", "smoke"):
        check(load_config(f"{root}/configs/msenet_tiny.py:{variant}"))
    result = run(load_config(f"{root}/configs/msenet_tiny.py:smoke"), tmp_path / "run")
    figures = result["test"]["figures"]
    assert [f["classes"] for f in figures] == ["novel", "base", "both"]
    assert figures[0]["similarity"] == "euclid" and figures[0]["widths"] == [4, 8, 16, 32, 32]
    restored = fsjax.restore(tmp_path / "run")
    (figure,) = restored.evaluator().figures(Protocol.of({**restored.config.few_shot, "classes": ("novel",)}))
    assert figure.facts["accuracy"] == pytest.approx(figures[0]["accuracy"], abs=0.02)
    assert figure.facts["episodes"] == figures[0]["episodes"]
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    assert set(restored.few_shot(images[:4], ["a", "a", "b", "b"], images[:4])) <= {"a", "b"}
    another = load_config(f"{root}/configs/msenet_tiny.py:ends,smoke")
    another.start_from = str(tmp_path / "run")
    with pytest.raises(UserError, match="was trained with method.msenet.stages=.released., and this run has .ends."):
        run(another, tmp_path / "another")


@pytest.mark.slow
def test_meta_baseline_of_aflms_table_goes_on_from_its_global_row(root, tmp_path):
    first, second = (
        load_config(f"{root}/configs/aflm_cifarfs.py:{row},reconstructed,smoke") for row in ("global", "meta_baseline")
    )
    run(first, tmp_path / "global")
    second.start_from = str(tmp_path / "global")
    result = run(second, tmp_path / "meta_baseline")
    assert {figure["classes"] for figure in result["test"]["figures"]} == {"reconstructed", "novel"}
