"""Dense classification and implants on tiny_imagenet_fs (Lifchitz et al. 2019, Sec. 3.2).

    python train.py --config=configs/implants_tiny.py --workdir=runs/implants_tiny
    fsjax evaluate runs/dc_tiny --implants --tasks 5000 --shots 5 10     # the same, beside a run of dc_tiny

No figures in the paper: 60 classes of Tiny ImageNet (32 base, 8 validation, 20 novel) at 64x64. The recipe is
miniImageNet's.

Training is that of dc_tiny.py. At the test, 16 filters beside each 3x3 convolution of the last block are trained for
each task: 50 steps of AdamW, scale 10 [paper]; rate 1e-3, decay 5e-4, one step an epoch, batch norm on the support
[ours].
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import implants


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    return implants("implants_tiny", "tiny", arg)
