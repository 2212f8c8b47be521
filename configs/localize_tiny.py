"""End-to-end localization (AttNet and AffNet, Hanselmann & Ney) on tiny_imagenet_fs, whose objects have true boxes.

    TFDS_DATA_DIR=... python train.py --config=configs/localize_tiny.py --workdir=runs/localize_tiny
    TFDS_DATA_DIR=... python train.py --config=configs/localize_tiny.py:reduced,baseline --workdir=runs/baseline
    fsjax localize runs/localize_tiny --out boxes.png

60 classes of Tiny ImageNet at 64x64 in a TFDS-prepared folder, 500 training images each, tested on 50 others; boxes are
read by `fsjax localize` only. No paper's: a ResNet-18 of three stages (maps of 16x16), 4-max pooling, an embedding
layer of 256 with ELoPE's loss, 60 epochs of batches of 128, SGD with momentum 0.9 at 0.05, cosine, L2 5e-4;
betas, lambdas and tau are the paper's. Rows of its Table 2: baseline, no_local, no_end_to_end, no_att_gradient.
`reduced`, for two cores: crops of 32x32 with maps of 8x8, a quarter of the width, one block a stage, 1,200 steps of
64 images with Adam at 0.002 (with SGD at 0.1, boxes without local supervision leave the image within 100 steps);
benchmarks/studies/localize.py trains its rows. What was measured is in docs/results.md; the full recipe was not run.
"""

from fsjax.configs.common import base, choose, shrink
from fsjax.configs.common_localize import ROWS, localize, row_of


def get_config(arg: str = ""):
    """The config; variants: baseline, no_local, no_end_to_end, no_att_gradient; reduced; and smoke, on noise."""
    parts = choose(arg, (*ROWS, "reduced", "smoke"))
    config = base()
    config.name = "_".join(["localize_tiny", *(part for part in parts if part != "smoke")])
    localize(config, row_of(parts, arg))
    config.method.localization.emb_dim = 256
    config.model.name = "resnet18_cifar"
    config.model.resnet18_cifar.update(width=64, blocks=(2, 2, 2), pool="kmax4")

    config.data.name = "tiny_imagenet_fs"
    config.data.test_split = "validation"
    config.data.augment.update(crop="pad", pad=6, flip=True)

    config.optimizer.update(name="sgd", learning_rate=0.05, momentum=0.9, nesterov=False, weight_decay=5e-4)
    config.schedule.update(name="cosine", unit="steps")
    config.train.update(epochs=60.0, batch_size=128, eval_every=0)
    if "reduced" in parts:
        config.model.resnet18_cifar.update(width=16, blocks=(1, 1, 1))
        config.method.localization.update(crop_size=32, emb_dim=64, att_width=16, att_blocks=1, aff_hidden=64)
        config.train.update(steps=1_200, epochs=0.0, batch_size=64)
        config.optimizer.update(name="adam", learning_rate=2e-3, weight_decay=1e-4)
    if "smoke" in parts:
        config.model.resnet18_cifar.update(width=4, blocks=(1, 1, 1))
        config.method.localization.update(crop_size=16, emb_dim=8, att_width=4, att_blocks=1, aff_hidden=4)
        shrink(config, image_shape=(32, 32, 3))
    return config
