"""The localization configs: the paper's recipe, the rows of its Table 2, and their smoke variants."""

import importlib

import numpy as np
import pytest

from fsjax.config import check
from fsjax.training import run

FINE_GRAINED = {"cub": "caltech_birds2011", "cars": "cars", "aircraft": "aircraft"}
# beta_att, beta_aff, lambda_att, lambda_aff: Table 2 and Sec. 3.2 of the paper, written out.
ROWS = {
    "": (1, 1, 16, 16), "baseline": (0, 0, 0, 0), "no_local": (1, 1, 0, 0), "no_end_to_end": (0, 0, 16, 16),
    "no_att_gradient": (0, 1, 16, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FINE_GRAINED, "tiny", "planted"])
def test_rows_are_the_papers_table_2(name):
    module = importlib.import_module(f"fsjax.configs.localize_{name}")
    for row, (beta_att, beta_aff, lambda_att, lambda_aff) in ROWS.items():
        config = module.get_config(row)
        check(config)
        assert config.name == f"localize_{name}" + (f"_{row}" if row else "")
        own = config.method.localization
        assert config.method.name == "localization"
        assert (own.beta_att, own.beta_aff) == (beta_att, beta_aff)
        assert (own.lambda_att, own.lambda_aff) == (lambda_att, lambda_aff)
        tau = 0.5 if name == "planted" else 0.3
        assert (own.tau, own.m_source, own.binarize, own.align_corners) == (tau, "full_image", "rescaled", False)
    with pytest.raises(ValueError, match="exclude each other"):
        module.get_config("baseline,no_local")
    with pytest.raises(ValueError, match="no variant 'nothing'"):
        module.get_config("nothing")


@pytest.mark.parametrize(("name", "data"), FINE_GRAINED.items())
def test_recipe_is_the_papers(name, data):
    """docs/readings.md, "Recipe of localization"; what the paper leaves out is ELoPE's."""
    module = importlib.import_module(f"fsjax.configs.localize_{name}")
    for setting, stem, dim in (("", "plain", 512), ("setting2", "C", 1024)):
        config = module.get_config(setting)
        own = config.method.localization
        assert (own.crop_size, own.emb_dim, own.att_width, own.att_blocks, own.aff_hidden) == (0, dim, 64, 3, 128)
        assert (config.model.name, config.model.resnet101.stem, config.model.resnet101.pool) == (
            "resnet101", stem, "kmax4",
        )  # fmt: skip
        assert config.model.resnet101.blocks == (3, 4, 23, 3)
        assert (config.loss.name, config.loss.elope.lam, config.loss.elope.gamma) == ("elope", 2.0, 16.0)
        assert (config.data.name, config.data.image_size, config.data.fit) == (data, 448, "stretch")
        assert config.data.normalization == "imagenet"
        augment = config.data.augment
        assert (augment.crop, augment.flip, augment.rotate, augment.lighting) == ("none", True, 20.0, 0.1)
        assert augment.brightness == augment.contrast == augment.saturation == 0.4
        optimizer = config.optimizer
        assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.003, 0.9)
        assert (optimizer.weight_decay, optimizer.nesterov, optimizer.decay_on) == (1e-3, False, "all")
        assert (config.schedule.name, config.schedule.unit, config.schedule.factor) == ("step", "epochs", 0.1)
        assert config.schedule.boundaries == (30, 60) and config.schedule.warmup == 0
        assert (config.train.epochs, config.train.batch_size, config.train.steps) == (90, 14, 0)
        assert config.pretrained.network.startswith("timm/resnet101" + ("c." if stem == "C" else "."))
        assert config.pretrained.attnet.startswith("timm/resnet50.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cub:setting2", "cars", "aircraft", "planted"])
def test_smoke_variants_resolve(smoke_config, resolve, name):
    assert resolve(smoke_config(f"localize_{name}")).params["encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cub", "tiny"])
def test_smoke_variants_run(smoke_config, tmp_path, name):
    result = run(smoke_config(f"localize_{name}"), tmp_path / "run")
    assert result["training"]["steps"] == 4
    assert np.isfinite([result["training"]["last"][name] for name in ("loss", "att", "aff", "iou_target")]).all()
    assert result["test"]["num_examples"] > 0
