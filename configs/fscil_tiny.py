"""Few-shot class-incremental learning on tiny_imagenet_fs: 32 base classes, then 4 sessions of 5-way 5-shot (TEEN).

    python train.py --config=configs/fscil_tiny.py --workdir=runs/fscil_tiny
    fsjax sessions runs/fscil_tiny --alpha 0.5 0.1 --out sessions.md

No paper has figures for it. TEEN's recipe for miniImageNet (Wang et al. 2023, released code): SGD at 0.1, batches of
128, L2 5e-4, cosine classifier of scale 32, learned here from there; ours are the ResNet-12, 200 epochs with a cosine
schedule (theirs: 1,000), padded crops and flips. 500 training and 50 test images per class; tasks of the validation
classes choose the checkpoint.
The full recipe was not run here; a reduced one: see benchmarks/studies/fscil.py and docs/results.md.
"""

from fsjax.configs.common_fscil import finished, incremental


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    config = incremental("fscil_tiny", arg)
    config.data.name = "tiny_imagenet_fs"
    config.data.test_split = "validation"
    config.data.class_split.name = "tiny_imagenet_fs"
    config.data.augment.pad = 6
    config.model.name = "resnet12"
    config.model.resnet12.update(activation="leaky", pool_padding="valid")
    config.loss.cosine.tau_init = 32.0
    config.train.epochs = 200.0
    config.train.batch_size = 128
    return finished(config, arg, size=64)
