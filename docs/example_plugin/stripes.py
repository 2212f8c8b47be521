"""A recipe that uses all of the example plug-in: `fsjax train stripes.py --workdir runs/stripes`."""

from fsjax.configs.common import base


def get_config():
    """The config; a few seconds on two cores."""
    config = base()
    config.name = "stripes"
    config.data.name = "stripes"
    config.data.validation = 0.2
    config.model.name = "patches"
    config.model.patches = {"width": 48}
    config.method.name = "nearest"
    config.loss.name = "poly1"
    config.optimizer.update(name="adam", learning_rate=1e-2, weight_decay=0.0)
    config.schedule.name = "cosine"
    config.train.update(steps=60, batch_size=32, log_every=20, eval_every=30, checkpoint_every=30, progress=False)
    config.eval.metrics = ("median_class_accuracy",)
    return config
