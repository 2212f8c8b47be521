"""End-to-end localization (Hanselmann & Ney): the paper's recipe, its two settings, and the rows of its Table 2.

Ours, where the paper is silent: weight decay spares the threshold and the biases of theta, which it would draw to a
crop of no size, and AttNet's image is reduced with antialiasing.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose, shrink

# Table 2: beta_att, beta_aff, lambda_att, lambda_aff of each row; none of them is the whole model.
ROWS = {
    "baseline": (0.0, 0.0, 0.0, 0.0),  # the whole image
    "no_local": (1.0, 1.0, 0.0, 0.0),  # as a spatial transformer learns
    "no_end_to_end": (0.0, 0.0, 16.0, 16.0),
    "no_att_gradient": (0.0, 1.0, 16.0, 16.0),  # "no gradient from AffNet to AttNet"
}


def localize(config: ConfigDict, row: str | None) -> None:
    """Set method and loss in place: the model of the paper, or a row of `ROWS`."""
    config.method.name = "localization"
    betas_and_lambdas = ROWS[row] if row else (1.0, 1.0, 16.0, 16.0)
    names = ("beta_att", "beta_aff", "lambda_att", "lambda_aff")
    config.method.localization.update(dict(zip(names, betas_and_lambdas, strict=True)))
    config.loss.name = "elope"


def row_of(parts: list[str], arg: str) -> str | None:
    """The row of Table 2 that is among the parts of a config's argument, if any; raises a ValueError for two."""
    rows = [part for part in parts if part in ROWS]
    if len(rows) > 1:
        raise ValueError(f"the variants {arg!r} exclude each other: they are rows of one table")
    return rows[0] if rows else None


def fine_grained(name: str, data: str, arg: str) -> ConfigDict:
    """The paper's recipe at 448x448.

    Args:
      name: of the experiment.
      data: `config.data.name`.
      arg: "setting2": the ResNet-C stem and an embedding layer of 1,024 (none: the plain stem and 512); a row of
        `ROWS`; "smoke": a few steps of a small network on noise.
    """
    parts = choose(arg, ("setting2", *ROWS, "smoke"))
    row = row_of(parts, arg)
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
    localize(config, row)
    setting2 = "setting2" in parts
    config.method.localization.emb_dim = 1024 if setting2 else 512
    config.model.name = "resnet101"
    config.model.resnet101.update(stem="C" if setting2 else "plain", pool="kmax4")
    config.pretrained.network = f"timm/resnet101{'c.gluon' if setting2 else '.tv'}_in1k"
    config.pretrained.attnet = "timm/resnet50.tv_in1k"

    config.data.name = data
    config.data.image_size = 448
    config.data.fit = "stretch"
    config.data.normalization = "imagenet"
    config.data.augment.update(rotate=20.0, flip=True, brightness=0.4, contrast=0.4, saturation=0.4, lighting=0.1)

    config.optimizer.update(name="sgd", learning_rate=0.003, momentum=0.9, nesterov=False, weight_decay=1e-3)
    config.schedule.update(name="step", unit="epochs", boundaries=(30.0, 60.0))
    config.train.update(epochs=90.0, batch_size=14, eval_every=0)
    config.eval.batch_size = 32
    if "smoke" in parts:
        config.pretrained.update(network="", attnet="")
        config.model.resnet101.update(width=8, blocks=(1, 1, 1))
        config.method.localization.update(emb_dim=16, att_width=8, att_blocks=1, aff_hidden=8)
        config.data.image_size = 48
        shrink(config, image_shape=(60, 48, 3))
    return config
