"""The methods by name, each with its options: `--config.method.name=dense --config.method.dense.reduction=sum`.

To add one: a file in `fsjax/methods`, and here its options and its line in `METHODS`.
"""

import dataclasses
from typing import Any

from fsjax.errors import UserError
from fsjax.options.declare import option
from fsjax.options.section import NoOptions
from fsjax.options.table import Choice, Table

_SHARE: dict[str, Any] = {"at_least": 0, "below": 1}
_WEIGHT: dict[str, Any] = {"at_least": 0, "at_most": 1e6}
_SCALE: dict[str, Any] = {"at_least": 1e-6, "at_most": 1e6}  # of similarities
_SIZE: dict[str, Any] = {"at_least": 1, "at_most": 100_000}  # of a layer
# Table 3's ways to train implants: what the prototypes are made of, and what is classified.
POOL_PAIRS = (("gmp", "gmp"), ("gmp", "dense"), ("gap", "gap"), ("gap", "dense"))


def _reduction() -> Any:
    return option(
        "mean", "of the losses over images and positions; sum is as the papers print it", choices=("mean", "sum")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoTeachingOptions:
    """Of co-teaching: two networks, Han et al. 2018."""

    forget: float = option(
        0.2, "the share of each batch that is left out in the end: that of wrong labels, if known", **_SHARE
    )
    gradual_steps: int = option(0, "steps until then; 0: at once", at_least=0, at_most=10**9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """Of dense classification: Lifchitz et al. 2019."""

    reduction: str = _reduction()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImplantTrainingOptions:
    """Of implants and their training for a task.

    Lifchitz et al. 2019, Sec. 3.2 and Table 3; learning rate, decay and normalisation are our reading.
    """

    channels: int = option(16, "new filters at each of the three convolutions", **_SIZE)
    steps: int = option(50, "full-batch steps of AdamW", at_least=0, at_most=10**6)
    learning_rate: float = option(1e-3, "of AdamW", at_least=0, at_most=1e3)
    weight_decay: float = option(5e-4, "of AdamW, decoupled", at_least=0, at_most=10)
    b1: float = option(0.9, "AdamW's decay of the gradient's mean", **_SHARE)
    b2: float = option(0.999, "AdamW's decay of its square's", **_SHARE)
    eps: float = option(1e-8, "AdamW's, outside of the root", above=0, at_most=1)
    tau: float = option(10.0, "scale of the cosines while training", **_SCALE)
    norm: str = option("bn", "batch normalisation of the implants alone, or a bias instead", choices=("bn", "none"))
    shortcut: bool = option(False, "whether the block's 1x1 convolution has implants too")
    support_pool: str = option("gap", "what prototypes are means of while training", choices=("gap", "gmp"))
    query_pool: str = option(
        "gap", "what is classified while training; dense: every position", choices=("gap", "gmp", "dense")
    )
    statistics: str = option(
        "support",
        "batch normalisation at test: of the support images under the final implants, or averages over the steps",
        choices=("support", "running"),
    )

    def check_rules(self, at: str) -> None:
        """Raises UserError for poolings that do not go together."""
        pair = (self.support_pool, self.query_pool)
        if pair not in POOL_PAIRS:
            known = ", ".join("/".join(known) for known in POOL_PAIRS)
            raise UserError(
                f"{at}support_pool={self.support_pool!r} with {at}query_pool={self.query_pool!r}: implants train on "
                f"one of {known}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImplantsOptions(ImplantTrainingOptions):
    """Of dense classification, stage 1, with implants for each task at the test, stage 2."""

    reduction: str = _reduction()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrototypicalOptions:
    """Of prototypical networks: Snell et al. 2017, with the losses of SuSana Distancia."""

    similarity: str = option(
        "squared_euclid", "between a query and the prototypes", choices=("cosine", "squared_euclid", "euclid")
    )
    tau: float = option(1.0, "scale of the similarities, at first", **_SCALE)
    learn_tau: bool = option(False, "whether the scale is trained")
    losses: tuple[str, ...] = option(
        ("cross_entropy",),
        "the losses; the total is their mean",
        choices=("cross_entropy", "proto_triplet", "icnn"),
        entries=(1, 3),
    )
    triplet_margin: float = option(0.5, "of proto_triplet", **_WEIGHT)
    icnn_k: int = option(4, "neighbours of each image", at_least=1, at_most=10_000)
    icnn_ipc: int | None = option(
        None,
        "neighbours of its class that are looked for; None: k + 1, and with all its shots and queries together",
        **_SIZE,
    )
    icnn_on: tuple[str, ...] = option(
        ("support",),
        "whose neighbours icnn looks at, and among which images",
        choices=("support", "query_to_support", "query_to_prototypes", "all"),
        entries=(1, 4),
    )
    icnn_drop_nearest: bool = option(
        True, "whether the nearest is left out, as in the released code, where it is the image itself"
    )

    def check_rules(self, at: str) -> None:
        """Raises UserError for what is named twice."""
        for name in ("losses", "icnn_on"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise UserError(f"{at}{name}={given!r} must name at least one, and none twice")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaBaselineOptions:
    """Of Meta-Baseline: Chen et al. 2021."""

    tau: float = option(10.0, "scale of the cosines, at first", **_SCALE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MsenetOptions:
    """Of MSENet: prototypes of several depths of a network."""

    stages: str = option(
        "released",
        "of a network with residual blocks as in the released code, or at the ends of its stages",
        choices=("released", "ends"),
        shapes_network=True,
    )
    attention: bool = option(True, "whether there is self-attention at each depth", shapes_network=True)
    gamma: float = option(
        0.2,
        "its weight; that of the released models of 1 shot, which sweep it",
        at_least=-1e3,
        at_most=1e3,
        shapes_network=True,
    )
    learn_gamma: bool = option(False, "whether it is trained", shapes_network=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AflmOptions:
    """Of AFLM: two branches of config.model, gated by each other; config.loss is the Global one's."""

    attention: bool = option(True, "whether there are gates", shapes_network=True)
    fusion: str = option(
        "shared_concat",
        "what the last stage of a branch reads: both gated flows, its own with its own gated one, its own gated one",
        choices=("shared_concat", "own_concat", "none"),
        shapes_network=True,
    )
    gate_on: str = option(
        "source",
        "the flow that is multiplied; source: the one that the gate is not computed from",
        choices=("source", "target"),
        shapes_network=True,
    )
    gate_slope: float = option(0.1, "of the gates' leaky ReLU", at_least=0, at_most=1, shapes_network=True)
    gate_reduction: int = option(16, "channels over the width of the gates' hidden layer", **_SIZE, shapes_network=True)
    tau: float = option(10.0, "scale of the cosines, at first", **_SCALE)
    learn_tau: bool = option(True, "whether the scales are trained")
    reduction: str = _reduction()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizationOptions:
    """Of end-to-end localization: Hanselmann & Ney; a crop is learned with the classifier."""

    crop_size: int = option(
        0, "side of the crops in pixels; 0: the images' own", at_least=0, at_most=10_000, shapes_network=True
    )
    emb_dim: int = option(
        0, "width of an embedding layer over the pooled maps; 0: none", at_least=0, at_most=100_000, shapes_network=True
    )
    att_width: int = option(64, "channels of AttNet's stem", **_SIZE, shapes_network=True)
    att_blocks: int = option(3, "bottleneck blocks of AttNet", at_least=1, at_most=1_000, shapes_network=True)
    aff_hidden: int = option(128, "width of AffNet's hidden layers", **_SIZE, shapes_network=True)
    m_source: str = option(
        "full_image",
        "the target of the attention: the classifier's map of the whole image; of the crop, put back; or that as it is",
        choices=("full_image", "crop_remapped", "crop"),
    )
    tau: float = option(
        0.3, "threshold of the box, a share of the way from a map's least to its largest value", **_SHARE
    )
    binarize: str = option("rescaled", "the soft step at the threshold", choices=("rescaled", "literal", "sigmoid"))
    sharpness: float = option(50.0, "of that step", above=0, at_most=1e6)
    align_corners: bool = option(
        False, "whether a crop's ends are centres of pixels, not their edges", shapes_network=True
    )
    padding: str = option("zeros", "what is read outside of the image", choices=("zeros", "border"))
    clip_theta: bool = option(False, "whether the crop's scales are kept within 0.05 and 1.5")
    beta_att: float = option(1.0, "factor of the gradient that comes back to the attention map", **_WEIGHT)
    beta_aff: float = option(1.0, "factor of the gradient that comes back from the classifier to the box", **_WEIGHT)
    lambda_att: float = option(16.0, "weight of AttNet's loss", **_WEIGHT)
    lambda_aff: float = option(16.0, "weight of AffNet's loss", **_WEIGHT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureDropoutOptions:
    """Of the features that a classifier's loss sees in training."""

    name: str = option(
        "none",
        "several masks at once (Inoue 2019), or the first k features (Chen et al. 2022)",
        choices=("none", "multi_sample", "nested"),
    )
    rate: float = option(0.5, "of multi_sample: share of features that is dropped", above=0, below=1)
    samples: int = option(
        8, "of multi_sample: how many masks; Inoue finds no more than 8 needed", at_least=1, at_most=1_000
    )
    mu: float = option(0.0, "of nested: P(k) ~ exp(-((k-mu)/sigma)²)", at_least=-1e6, at_most=1e6)
    sigma: float = option(100.0, "of nested: see mu", at_least=1e-3, at_most=1e9)
    keep: int = option(0, "of nested: features that are read in evaluation; 0: all", at_least=0, at_most=10**6)


METHODS = Table(
    "methods",
    {
        "classification": Choice(NoOptions, "fsjax.methods.classification:build"),
        "co_teaching": Choice(CoTeachingOptions, "fsjax.methods.co_teaching:build"),
        "dense": Choice(DenseOptions, "fsjax.methods.dense:build"),
        "implants": Choice(ImplantsOptions, "fsjax.methods.dense_implants:build"),
        "imprinted": Choice(NoOptions, "fsjax.methods.imprinted:build"),
        "prototypical": Choice(PrototypicalOptions, "fsjax.methods.prototypical:build"),
        "msenet": Choice(MsenetOptions, "fsjax.methods.msenet:build"),
        "meta_baseline": Choice(MetaBaselineOptions, "fsjax.methods.meta_baseline:build"),
        "aflm": Choice(AflmOptions, "fsjax.methods.aflm:build"),
        "localization": Choice(LocalizationOptions, "fsjax.methods.localization:build"),
    },
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Which method."""

    name: str = option("classification", "the method; classification is an embedding and a loss", choices=METHODS)
