"""A pretrained network as a finished run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fsjax.data import DataInfo
from fsjax.files import parse_json
from fsjax.methods import build_method
from fsjax.models.pretrained import efficientnet
from fsjax.models.pretrained.legacy import read_legacy
from fsjax.networks.table import NETWORKS, find
from fsjax.run_folder import STARTER
from fsjax.training.restored import Restored

_CLASSES = Path(__file__).parent / "imagenet.txt"


def class_names() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet (ILSVRC 2012) by label, as WordNet 3.0 names them: "grand piano, grand"."""
    return tuple(_CLASSES.read_text("utf-8").splitlines())


def read(name: str) -> Restored:
    """A network as a run that was trained on ImageNet: "classification" with a softmax, its own classifier.

    Raises:
      UserError: for a name that is not in `NETWORKS`, and where its weights are not here, or are damaged.
    """
    path = find(name)
    side = NETWORKS[name].image_size
    config, info = _config(name, side), _info(side)
    image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
    shapes = jax.eval_shape(build_method(config, info).init, jax.random.key(0), image)
    like = {"params": shapes["params"]["encoder"]["backbone"], "batch_stats": shapes["batch_stats"]["backbone"]}
    weights, source = read_legacy(path, sha256=NETWORKS[name].sha256), f"the file {path}"
    backbone = efficientnet.convert(weights, like, source=source)
    params: dict[str, Any] = {
        "encoder": {"backbone": backbone["params"]},
        "loss": efficientnet.classifier(weights, source=source),
    }
    params, statistics = jax.tree.map(jnp.asarray, (params, {"backbone": backbone["batch_stats"]}))
    return Restored(config, info, 0, params, {"batch_stats": statistics})


def _info(side: int) -> DataInfo:
    return DataInfo(
        name="imagenet2012",
        class_names=class_names(),
        image_shape=(side, side, 3),
        counts={},
        class_counts=(),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


def _config(name: str, side: int) -> ConfigDict:
    config = ConfigDict(parse_json((STARTER / "config.json").read_text("utf-8")))
    config.name = config.model.name = name
    config.method.name, config.loss.name = "classification", "softmax"
    config.train.update(steps=0, epochs=0.0)
    # As published: the centred square of 7/8 of the shorter side.
    config.data.update(name="imagenet2012", image_size=side, fit="crop", resize="bicubic", channels=3)
    config.data.augment.update(crop="random_resized", pad=0, contrast=0.0)
    config.data.class_split.name = ""
    return config
