"""Dense classification, and implants trained for each task at the test (Lifchitz et al. 2019, Sec. 3.2).

    python train.py --config=configs/implants.py:fc100 --workdir=runs/implants_fc100
    python train.py --config=configs/implants.py:mini --workdir=runs/implants_mini --config.data.path=~/mini_imagenet
    fsjax evaluate runs/dc_fc100 --implants --tasks 5000 --shots 5 10     # the same, beside a run of dc:fc100

Data sets, named first: fc100, cifarfs, mini, tiny. "implants_fc100" is "implants:fc100". Tables 4 and 5 stand in
dc.py. Table 3, miniImageNet, 5-shot; stage-2 support/query, then test queries by GAP, GMP, DC:
  GMP/GMP 79.03 78.92 79.04   GMP/DC 79.06 79.37 79.15   GAP/GAP 79.62 74.57 79.77   GAP/DC 79.56 74.58 79.52

Training is that of dc.py. At the test, 16 filters beside each 3x3 convolution of the last block are trained for each
task: 50 steps of AdamW, scale 10 [paper]; rate 1e-3, decay 5e-4, one step per epoch, batch norm on the support [ours].
The full recipes were not run here; reduced ones of fc100 and tiny were: see docs/results.md and
benchmarks/studies/few_shot.py. There is no copy of miniImageNet here: its layouts are tested on small trees.
"""

from ml_collections import ConfigDict

from fsjax.configs import dc
from fsjax.configs.common_few_shot import DATASETS, choose_dataset

__all__ = ["DATASETS", "get_config"]


def get_config(arg: str = "") -> ConfigDict:
    """The config, by the data set's name; `:smoke` takes a few steps on noise."""
    dataset, parts = choose_dataset("implants", arg, ("smoke",))
    config = dc.get_config(arg)
    config.name = "_".join([f"implants_{dataset}", *parts])
    config.method.name = "implants"
    config.few_shot.classes = ("novel",)
    return config
