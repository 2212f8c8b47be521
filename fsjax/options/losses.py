"""The losses by name, each with its options: `--config.loss.name=lgm --config.loss.lgm.alpha=0.3`.

To add one: a file in `fsjax/losses`, and here its options and its line in `LOSSES`. The classes are not frozen, as
those of networks and methods are, since linen modules inherit from them.
"""

import dataclasses
import math

from fsjax.errors import UserError
from fsjax.options.declare import option
from fsjax.options.section import NoOptions
from fsjax.options.table import Choice, Table

# Largest values that can be meant: of weights of a term, and of steps.
_WEIGHT, _STEPS = 1e6, 10**9
_MEAN_INIT_STD = "standard deviation of the means at the start; None: 1/sqrt(dim)"


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class IcuOptions:
    """Of ICU: the numbers of the paper, Sec. 4.1.

    The regulariser's mean over classes and dimensions stands for Eq. 14's sum, which at 100 classes and a weight of 0.1
    would drown the cross-entropy.
    """

    alpha: float = option(1e-4, "the margin between classes", at_least=0, at_most=_WEIGHT)
    gamma: float = option(1e-3, "the margin within a class", at_least=0, at_most=_WEIGHT)
    lambda_mu: float = option(0.1, "weight of the regulariser's term of the means", at_least=0, at_most=_WEIGHT)
    lambda_sigma: float = option(0.1, "weight of its term of the variances", at_least=0, at_most=_WEIGHT)
    margin_mode: str = option(
        "logdet_plus", "how the inter-class margin enters", choices=("logdet_plus", "scaled_logdet", "per_dim")
    )
    covariance: str = option("diag", "of a class's Gaussian", choices=("diag", "isotropic"))
    variance_param: str = option(
        "log_var", "what is stored and trained; the released code has inv_std", choices=("log_var", "inv_std")
    )
    reg_reduction: str = option(
        "mean", "of the regulariser over classes and dimensions; Eq. 14 has sum", choices=("mean", "sum")
    )
    mode: str = option(
        "paper",
        "official_code: the loss that the authors released, which is another",
        choices=("paper", "official_code"),
    )
    mean_init_std: float | None = option(None, _MEAN_INIT_STD, at_least=0, at_most=1e3)

    def check_rules(self, at: str) -> None:
        """Raises UserError for switches at odds."""
        if self.mode == "official_code" and self.covariance != "diag":
            raise UserError(
                f"{at}mode='official_code' has diagonal covariances: use {at}covariance='diag' instead of "
                f"{self.covariance!r}"
            )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class LgmOptions:
    """Of L-GM: Wan et al. 2018, their CIFAR-100 settings but for alpha's schedule (alpha doubles every 5,000 steps)."""

    alpha: float = option(0.1, "the margin at the start", at_least=0, at_most=_WEIGHT)
    alpha_max: float = option(
        0.3, "where its doubling ends; not applied to a constant alpha", at_least=0, at_most=_WEIGHT
    )
    alpha_double_every: int = option(0, "alpha doubles every so many steps; 0: never", at_least=0, at_most=_STEPS)
    lam: float = option(0.1, "weight of the likelihood term", at_least=0, at_most=_WEIGHT)
    ramp_steps: int = option(
        0, "alpha and lam grow from 0 in so many steps, in proportion; 0: at once", at_least=0, at_most=_STEPS
    )
    covariance: str = option("identity", "of a class's Gaussian: diag is trained", choices=("identity", "diag"))
    logdet_in_logits: bool = option(
        False, "whether logits hold ln|Λ|/2: the CVPR paper has it; its Caffe layer and ICU's Eq. 4 have not"
    )
    mean_init_std: float | None = option(None, _MEAN_INIT_STD, at_least=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class CosineOptions:
    """Of scaled cosines."""

    tau_init: float = option(
        10.0,
        "the scale at the start; Lifchitz et al. 2019: 10 on miniImageNet, 100 on FC100",
        at_least=1e-2,
        at_most=1e4,
    )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class CenterOptions:
    """Of the centre loss: Wen et al. 2016."""

    lam: float = option(0.003, "weight of the centre term", at_least=0, at_most=_WEIGHT)
    rate: float = option(0.5, "how far centres move in a step (the paper's alpha)", at_least=0, at_most=1)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ElopeOptions:
    """Of ELoPE: Hanselmann & Ney 2020, their released code."""

    lam: float = option(2.0, "weight of the embedding loss", at_least=0, at_most=_WEIGHT)
    gamma: float = option(16.0, "weight of its term between classes", at_least=0, at_most=_WEIGHT)
    margin: float = option(0.75, "squared distance of two centres at which that term ends", at_least=0, at_most=4)
    center_rate: float = option(0.5, "how far centres move in a step (their alpha)", at_least=0, at_most=1e3)
    center_step: str = option("mean1", "how centres move", choices=("mean1", "sum"))
    grad_through_centers: bool = option(True, "whether the gradient reaches features through the new centres too")
    max_pairs: int = option(256, "pairs that the term between classes is summed over", at_least=1, at_most=10**7)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class LSoftmaxOptions:
    """Of L-Softmax: Liu et al. 2016, the schedule of beta as in the authors' MNIST files."""

    m: int = option(4, "the margin, a factor on the angle; their layer has 1 to 4", at_least=1, at_most=20)
    beta: float = option(1000.0, "weight of the plain logit at step 0", at_least=0, at_most=1e9)
    beta_gamma: float = option(2.5e-5, "speed of its decay; 0: constant", at_least=0, at_most=1e3)
    beta_power: float = option(35.0, "exponent of its decay", at_least=0, at_most=1e3)
    beta_min: float = option(0.0, "where the decay ends; 5 or 10 for hard data", at_least=0, at_most=1e9)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class FocalOptions:
    """Of the focal loss: Lin et al. 2017."""

    gamma: float = option(2.0, "how fast well classified examples fade", at_least=0, at_most=100)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ClassBalancedOptions:
    """Of class-balanced losses: Cui et al. 2019."""

    beta: float = option(
        0.9999, "0: all weights are 1; towards 1 they become inverse to the counts", at_least=0, below=1
    )
    base: str = option("softmax", "what is weighted", choices=("softmax", "focal", "focal_sigmoid"))
    gamma: float = option(1.0, "of the focal losses; the paper has 0.5, 1 and 2", at_least=0, at_most=100)
    normalize_by: str = option(
        "count",
        "the sum of weighted losses is over the examples' count, or over their weight",
        choices=("count", "weight"),
    )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ZOptions:
    """Of the Z-loss: de Brébisson & Vincent 2016, the authors' example."""

    a: float = option(1.0, "slope of the softplus; the loss is divided by it", above=0, at_most=1e3)
    b: float = option(0.0, "offset of the softplus", at_least=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class SphericalOptions:
    """Of the spherical family: de Brébisson & Vincent 2016. They state no epsilon."""

    kind: str = option("spherical", "which probabilities", choices=("spherical", "taylor"))
    epsilon: float = option(
        1.0, "of the spherical softmax; the gradient grows as 1/sqrt(epsilon)", at_least=1e-12, at_most=1e6
    )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class HarmonicOptions:
    """Of the harmonic loss: Baek et al. 2025."""

    distance: str = option(
        "euclid",
        "between features and class vectors",
        choices=(
            "euclid", "squared_euclid", "manhattan", "chebyshev", "minkowski", "cosine", "mahalanobis", "bray_curtis",
            "canberra",
        ),
    )  # fmt: skip
    n: float | None = option(None, "the harmonic exponent; None: sqrt(dim), as they suggest", above=0, at_most=1e4)
    p: float = option(1.5, "of the Minkowski distance, from released code", at_least=1, at_most=100)
    precision: str = option("diag", "of the Mahalanobis distance", choices=("diag", "triangular"))
    bray_curtis: str = option("abs", "the denominator of the Bray–Curtis distance", choices=("abs", "literal"))


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class LdrOptions:
    """Of LDR-KL: Zhu et al. 2023, their script for CIFAR-100."""

    lam: float = option(10.0, "the temperature", above=0, at_most=_WEIGHT)
    c: float = option(0.1, "the margin", at_least=0, at_most=1e3)
    input: str = option("softplus", "what of the logits is compared", choices=("softplus", "mean_abs", "logits"))


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class AldrOptions:
    """Of ALDR-KL: Zhu et al. 2023, their script for CIFAR-100, but for the input, which there is "softplus"."""

    lam: float = option(10.0, "the temperature at the start, and the highest", above=0, at_most=_WEIGHT)
    alpha: float = option(
        2.0, "how little temperatures adapt; they stay above lam (1 - 1/alpha)", above=1, at_most=_WEIGHT
    )
    c: float = option(0.1, "the margin", at_least=0, at_most=1e3)
    input: str = option("mean_abs", "what of the logits is compared", choices=("softplus", "mean_abs", "logits"))


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class OplOptions:
    """Of OPL: Ranasinghe et al. 2021, weights as in the CIFAR script, the variant as in the paper."""

    lam: float = option(1.0, "weight of the projection loss", at_least=0, at_most=_WEIGHT)
    gamma: float = option(0.5, "weight of the pairs of different classes in it", at_least=0, at_most=_WEIGHT)
    variant: str = option(
        "abs_of_mean", "what of their cosines is taken", choices=("abs_of_mean", "mean_of_abs", "signed")
    )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class KdOptions:
    """Of distillation: Hinton et al. 2015, the temperature as in the code of ND; it learns from config.teacher.run."""

    alpha: float = option(1.0, "weight of the softened divergence", at_least=0, at_most=_WEIGHT)
    temperature: float = option(4.0, "its T", above=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class NdOptions(KdOptions):
    """Of ND: Wang et al. 2023, released code."""

    warmup: int = option(0, "steps in which alpha rises from 0", at_least=0, at_most=_STEPS)
    beta: float = option(2.0, "weight of the features' direction and norm", at_least=0, at_most=_WEIGHT)
    teacher_dim: int = option(0, "width of the teacher's features; 0: the student's", at_least=0, at_most=10**6)
    dropout: float = option(0.5, "rate before the linear layer to another width", at_least=0, below=1)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class DualHeadOptions(KdOptions):
    """Of the dual head: Yang et al. 2024, released code."""

    temperature: float = option(2.0, "its T", above=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class MarginOptions:
    """Of the losses with a margin at the label's cosine."""

    kind: str = option("arc", "the margin is of the angle, or of its cosine", choices=("arc", "cos"))
    margin: float | None = option(None, "None is the paper's: 0.5 (arc) or 0.35 (cos)", at_least=0, at_most=2)
    scale: float = option(
        64.0, "of the cosines; 64 is for thousands of classes, ten learn faster with 16", at_least=1e-3, at_most=1e4
    )
    beyond_pi: str = option(
        "linear", "the logit of an angle that the margin takes beyond pi", choices=("linear", "cosine")
    )

    def check_rules(self, at: str) -> None:
        """Raises UserError for a margin that no angle has."""
        if self.kind == "arc" and self.margin is not None and not self.margin < math.pi / 2:
            raise UserError(
                f"{at}margin={self.margin} with kind='arc' is an angle: it must be below pi/2, {math.pi / 2:.4f}"
            )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ElasticFaceOptions(MarginOptions):
    """Of ElasticFace: Boutros et al. 2022, but for beyond_pi.

    Their formula, "cosine", rewards angles that a margin takes beyond pi.
    """

    sigma: float | None = option(
        None, "deviation of the margins; None: 0.05, and with plus 0.0175 (arc) or 0.02 (cos)", at_least=0, at_most=2
    )
    plus: bool = option(False, "whether drawn margins are given to examples by their cosine")
    plus_assign: str = option("released", "how they are", choices=("released", "rank"))


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class UnpgOptions(MarginOptions):
    """Of UNPG: Jung et al. 2022, on ArcFace's margin."""

    whisker: float = option(1.5, "how far beyond the quartiles negative pairs are kept", at_least=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class BiasOptions:
    """Of the bias loss: Abrahamyan et al. 2021."""

    alpha: float = option(0.3, "of the weights, exp(alpha · variance) - beta", at_least=0, below=8)
    beta: float = option(0.3, "of the weights", at_least=0, below=1)
    extent: str = option(
        "batch", "whose smallest variance counts: the batch's, or all batches' so far", choices=("batch", "global")
    )


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class DatasetEquityOptions:
    """Of dataset equity: Shrivastava et al. 2023, the released formula; it reads config.data.clusters."""

    eta: float = option(1.0, "how fast weights fall with the share of the image's cluster", at_least=0, at_most=_WEIGHT)
    gamma: float = option(5.0, "exponent of the weights", at_least=0, at_most=1e3)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class MlcdOptions:
    """Of MLCD: An et al. 2024; the scale is ours."""

    kind: str = option("mlcd", "mlcd's two sums, or mlc's one", choices=("mlcd", "mlc"))
    scale: float = option(16.0, "of the cosines", at_least=1e-3, at_most=1e4)
    negatives: float = option(0.1, "share of the other classes that are negatives in a step", at_least=0, at_most=1)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class ContrastiveOptions:
    """Of InfoNCE beside the cross-entropy: Khosla et al. 2020; the weight is ours."""

    lam: float = option(1.0, "weight of the term", at_least=0, at_most=_WEIGHT)
    tau: float = option(0.1, "temperature", at_least=1e-3, at_most=1e3)
    hard: int = option(0, "an example's hardest negatives in its denominator; 0: all", at_least=0, at_most=10**6)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class MetrixOptions:
    """Of Metrix: Venkataramanan et al. 2022, their released code; the weight beside the cross-entropy is ours."""

    kind: str = option("contrastive", "the metric loss", choices=("contrastive", "multi_similarity"))
    lam: float = option(1.0, "weight of both terms", at_least=0, at_most=_WEIGHT)
    mix_weight: float = option(0.4, "of the mixed term beside the clean one; 0: no mixing", at_least=0, at_most=_WEIGHT)
    mix_alpha: float = option(2.0, "of the Beta distribution of the shares", at_least=1e-3, at_most=1e3)
    margin: float | None = option(None, "None: 0.5 (contrastive) or 0.77 (multi_similarity)", at_least=0, at_most=4)
    beta: float = option(18.0, "of the multi-similarity loss", at_least=1e-3, at_most=1e4)
    gamma: float = option(75.0, "of the multi-similarity loss", at_least=1e-3, at_most=1e4)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class MixupOptions:
    """Of mixup: Zhang et al. 2018."""

    mixup_alpha: float = option(1.0, "of Beta(alpha, alpha); 1 is uniform, the paper's for CIFAR", above=0, at_most=100)


LOSSES = Table(
    "losses",
    {
        "icu": Choice(IcuOptions, "fsjax.losses.icu:IcuLoss"),
        "lgm": Choice(LgmOptions, "fsjax.losses.lgm:LgmLoss"),
        "cosine": Choice(CosineOptions, "fsjax.losses.cosine:CosineLoss"),
        "center": Choice(CenterOptions, "fsjax.losses.center:CenterLoss"),
        "elope": Choice(ElopeOptions, "fsjax.losses.elope:ElopeLoss"),
        "lsoftmax": Choice(LSoftmaxOptions, "fsjax.losses.lsoftmax:LSoftmaxLoss"),
        "focal": Choice(FocalOptions, "fsjax.losses.focal:FocalLoss"),
        "class_balanced": Choice(ClassBalancedOptions, "fsjax.losses.class_balanced:ClassBalancedLoss"),
        "zloss": Choice(ZOptions, "fsjax.losses.zloss:ZLoss"),
        "spherical": Choice(SphericalOptions, "fsjax.losses.spherical:SphericalLoss"),
        "harmonic": Choice(HarmonicOptions, "fsjax.losses.harmonic:HarmonicLoss"),
        "ldr": Choice(LdrOptions, "fsjax.losses.ldr:LdrLoss"),
        "aldr": Choice(AldrOptions, "fsjax.losses.ldr:AldrLoss"),
        "opl": Choice(OplOptions, "fsjax.losses.opl:OplLoss"),
        "kd": Choice(KdOptions, "fsjax.losses.distillation:KdLoss"),
        "nd": Choice(NdOptions, "fsjax.losses.distillation:NdLoss"),
        "dual_head": Choice(DualHeadOptions, "fsjax.losses.distillation:DualHeadLoss"),
        "elasticface": Choice(ElasticFaceOptions, "fsjax.losses.elasticface:ElasticFaceLoss"),
        "unpg": Choice(UnpgOptions, "fsjax.losses.unpg:UnpgLoss"),
        "bias": Choice(BiasOptions, "fsjax.losses.bias:BiasLoss"),
        "dataset_equity": Choice(DatasetEquityOptions, "fsjax.losses.dataset_equity:DatasetEquityLoss"),
        "mlcd": Choice(MlcdOptions, "fsjax.losses.mlcd:MlcdLoss"),
        "contrastive": Choice(ContrastiveOptions, "fsjax.losses.contrastive:ContrastiveLoss"),
        "metrix": Choice(MetrixOptions, "fsjax.losses.metrix:MetrixLoss"),
        "mixup": Choice(MixupOptions, "fsjax.losses.mixup:MixupLoss"),
        "softmax": Choice(NoOptions, "fsjax.losses.softmax:SoftmaxLoss"),
    },
)


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class LossOptions:
    """Which loss."""

    name: str = option("icu", "the loss that a network is trained with", choices=LOSSES)
