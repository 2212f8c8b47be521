"""End-to-end localization on planted digits: a test with an exact answer, and a demonstration without a download.

    python train.py --config=configs/localize_planted.py --workdir=runs/planted
    fsjax localize runs/planted --out boxes.png

Scikit-learn's digits, 30 to 52 pixels high and wide, on pictures of 64x64 among fragments of others; no paper's recipe.
Crops of 32x32, a small ResNet-18 of two stages (maps of 16x16), Adam at 0.002, 1,500 steps of 64. The threshold is 0.5,
not the paper's 0.3: half of a blurred object's height is where its edge is, and fragments stay below. Measured in 8
minutes on one core, seeds 0 and 1: accuracy 95.3 and 95.5 % (`:baseline` 93.5 and 95.4 %), median IoU of the predicted
box with the exact one 0.713 and 0.739; see docs/results.md.
"""

from fsjax.configs.common import base, choose, shrink
from fsjax.configs.common_localize import ROWS, localize, row_of


def get_config(arg: str = ""):
    """The config; variants: baseline, no_local, no_end_to_end, no_att_gradient; and smoke, a few steps."""
    parts = choose(arg, (*ROWS, "smoke"))
    config = base()
    config.name = "_".join(["localize_planted", *(part for part in parts if part != "smoke")])
    localize(config, row_of(parts, arg))
    config.loss.name = "softmax"
    config.method.localization.update(crop_size=32, tau=0.5, att_width=16, att_blocks=1, aff_hidden=64)
    config.model.name = "resnet18_cifar"
    config.model.resnet18_cifar.update(width=16, blocks=(2, 2))

    config.data.name = "planted"
    config.data.planted.update(size=64, smallest=30, largest=52, stretch=True, clutter=6, train=16000, test=1000)

    config.optimizer.update(name="adam", learning_rate=2e-3, weight_decay=1e-4)
    config.schedule.update(name="cosine", unit="steps")
    config.train.update(steps=1500, batch_size=64, eval_every=0, checkpoint_every=500)
    config.eval.batch_size = 250
    if "smoke" in parts:
        config.model.resnet18_cifar.update(width=4)
        config.method.localization.update(att_width=4, aff_hidden=4)
        config.data.planted.update(train=40, test=15)
        shrink(config)
    return config
