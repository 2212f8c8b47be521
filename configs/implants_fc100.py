"""Dense classification and implants on FC100 (Lifchitz et al. 2019, Sec. 3.2).

    python train.py --config=configs/implants_fc100.py --workdir=runs/implants_fc100
    fsjax evaluate runs/dc_fc100 --implants --tasks 5000 --shots 5 10     # the same, beside a run of dc_fc100

Table 5, 5-way accuracy on novel classes in %, 10,000 tasks (5,000 with implants), 30 queries per class:
                          1-shot         5-shot         10-shot
  GAP      (:gap)         41.02 ± 0.17   56.63 ± 0.16   61.65 ± 0.15
  DC                      42.04 ± 0.17   57.05 ± 0.16   61.91 ± 0.16
  DC + IMP (implants_)    -              57.63 ± 0.23   62.91 ± 0.22
  PN / TADAM (reported)   37.80 / 40.10  53.30 / 56.10  58.70 / 61.60
Table 3, miniImageNet, 5-shot; stage-2 support/query, then test queries by GAP, GMP, DC:
  GMP/GMP 79.03 78.92 79.04   GMP/DC 79.06 79.37 79.15   GAP/GAP 79.62 74.57 79.77   GAP/DC 79.56 74.58 79.52

Training is that of dc_fc100.py. At the test, 16 filters beside each 3x3 convolution of the last block are trained for
each task: 50 steps of AdamW, scale 10 [paper]; rate 1e-3, decay 5e-4, one step an epoch, batch norm on the support
[ours].
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import implants


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    return implants("implants_fc100", "fc100", arg)
