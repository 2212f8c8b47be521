"""End-to-end localization on planted digits: a test with an exact answer, and a demonstration without a download.

    python train.py --config=configs/localize_planted.py --workdir=runs/planted
    fsjax localize runs/planted --out boxes.png

Scikit-learn's digits at 48x48 among fragments of others; no paper's recipe. A small ResNet-18 of three stages (maps of
12x12), Adam at 0.002, 1,500 steps of 64. The threshold is 0.5, not the paper's 0.3: half of a blurred object's height
is where its edge is, and fragments stay below. Measured in 10 minutes on one busy core: accuracy 93.8 %, median IoU of
the predicted box with the exact one 0.641; see the README's results.
"""

from configs.common import base, choose, shrink
from configs.common_localize import ROWS, localize, row_of


def get_config(arg: str = ""):
    """The config; variants: baseline, no_local, no_end_to_end, no_att_gradient; and smoke, a few steps."""
    parts = choose(arg, (*ROWS, "smoke"))
    config = base()
    config.name = "_".join(["localize_planted", *(part for part in parts if part != "smoke")])
    localize(config, row_of(parts, arg))
    config.loss.name = "softmax"
    config.method.localization.update(tau=0.5, att_width=16, att_blocks=1, aff_hidden=64)
    config.model.name = "resnet18_cifar"
    config.model.resnet18_cifar.update(width=16, blocks=(1, 1, 1))

    config.data.name = "planted"
    config.data.planted.update(size=48, smallest=22, largest=38, clutter=6, train=4000, test=1000)

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
