"""Meta-Baseline: a classifier's encoder, trained further on episodes with a learned scale (Chen et al. 2021)."""

from ml_collections import ConfigDict

from fsjax.methods.base import DataFacts
from fsjax.methods.prototypical import Prototypical, build_episodic
from fsjax.options import read
from fsjax.options.methods import MetaBaselineOptions


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> Prototypical:
    """The second stage; `config.start_from` names the run of the first, a classifier on the base classes.

    The similarity is the cosine, and its scale is learned from `config.method.meta_baseline.tau`. The rest is as in
    `fsjax.methods.prototypical.build`.
    """
    chosen = read(MetaBaselineOptions, config.method.meta_baseline, "config.method.meta_baseline")
    return build_episodic(
        config, info, axis_name=axis_name, similarity="cosine", tau=chosen.tau, learn_tau=True, needs_start=True
    )
