"""Attention-based fusion of Global and Local features (AFLM, Tang et al.) on CIFAR-FS.

    python train.py --config=configs/aflm_cifarfs.py:reconstructed --workdir=runs/aflm_cifarfs
    python train.py --config=configs/aflm_cifarfs.py:no_attention,reconstructed,1shot --workdir=runs/no_gates_cifarfs
    python train.py --config=configs/aflm_cifarfs.py:global,reconstructed --workdir=runs/global_cifarfs
    python train.py --config=configs/aflm_cifarfs.py:meta_baseline,reconstructed \\
        --config.start_from=runs/global_cifarfs --workdir=runs/metabaseline_cifarfs

Table 1, miniImageNet, 5-way accuracy in %, 8,000 tasks:      novel classes only        base and novel classes
                                                          1-shot       5-shot       1-shot       5-shot
  Global        (:global)                              58.80 ± .22  77.87 ± .17  61.03 ± .24  80.36 ± .18
  Local         (:local)                               55.48 ± .23  73.62 ± .18  66.39 ± .28  81.93 ± .19
  Meta-Baseline (:meta_baseline)                       61.95 ± .23  78.50 ± .17  69.96 ± .27  83.62 ± .17
  w/o attention (:no_attention)                        60.94 ± .23  79.14 ± .17  70.09 ± .26  83.99 ± .17
  ours                                                 61.52 ± .23  79.20 ± .17  70.98 ± .27  84.10 ± .17

Two ResNet-12, leaky ReLU; 20,000 steps of 4 episodes, SGD with momentum 0.9 at 0.1, x0.1 at 60 and 90 %, L2 5e-4
[paper]. 5 ways, as many shots as in the test (`1shot`: 1, else 5), 15 queries, scales of the cosines learned from 10
(the paper names none), means in the place of Eq. 5's and 8's sums [ours]. Global: as many images per step;
Meta-Baseline: 4,000 steps at 1e-3 from a Global run.
`reconstructed`: 300 images of each base class train, 300 are for tasks of base and novel classes together.
32x32, 4-pixel padded crops and flips [ours]. The paper has no figures for it. The full recipe was not run here; a
reduced one was: see docs/results.md and benchmarks/studies/aflm.py.
"""

from fsjax.configs.common_aflm import aflm


def get_config(arg: str = ""):
    """The config; variants: global, local, meta_baseline, no_attention; 1shot, reconstructed; and smoke, on noise."""
    return aflm("aflm_cifarfs", "cifarfs", arg)
