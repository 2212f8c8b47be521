"""A classifier of pictures by a few labelled ones, for one task with as many pictures per class as there are."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax

from fsjax.errors import UserError
from fsjax.evaluation.analysis.activation_maps import class_activation_maps
from fsjax.labelling import heads
from fsjax.labelling.calibration import fit_temperature
from fsjax.labelling.held_out import (
    HeldOut,
    by_folds,
    class_prototypes,
    class_scores,
    first_copies,
    leave_one_out,
    similarities,
)
from fsjax.labelling.network import Features, Network, TrainedRun, Widened
from fsjax.labelling.support import Support
from fsjax.labelling.verdict import Verdict, verdict_of
from fsjax.methods.base import Method
from fsjax.methods.dense_implants import implant_options
from fsjax.methods.implants import ImplantOptions
from fsjax.methods.rules import Rule, check_features


@dataclasses.dataclass(frozen=True, eq=False)
class Classified:
    """What a classifier says of pictures.

    Attributes:
      probability: float64 `[n, classes]`, among the classes given: the rows' sums are 1, also for a picture of none.
      similarity: float64 `[n]`, the largest one to a prototype, by the rule's measure without its scale.
      nearest: int64 `[n, m]`, the support pictures nearest to it by the same measure, the nearest first.
    """

    probability: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """Fitted on the support pictures of one task; see `fit_classifier`.

    Attributes:
      frozen: the run's network as it is.
      network: the same, or widened by implants.
      rule: how similarities are measured, and how queries are classified where no other head does it.
      class_names: by label.
      labels: int `[n]`, of the support pictures.
      support: float32 `[n, dim]`, their features, of which prototypes are means.
      prototypes: float32 `[classes, dim]`.
      held_out: what they say of each other; None where no class can spare a picture.
      temperature: of the softmax of the rule's scores; 1 is the method's own.
      head: what is made of the features, one of `fsjax.labelling.heads.HEADS`.
      linear: of a linear head, its weights. Whatever the head is, similarities are the rule's, to the prototypes.
      tried: by the name of each head that was tried, how many of the pictures left out it labels rightly.
      verdict: how the support pictures left out do; None where none can be.
    """

    frozen: Network
    network: Features
    rule: Rule
    class_names: tuple[str, ...]
    labels: np.ndarray
    support: np.ndarray
    prototypes: np.ndarray
    held_out: HeldOut | None
    temperature: float
    head: str = heads.PROTOTYPES
    linear: heads.Linear | None = None
    tried: Mapping[str, int] = dataclasses.field(default_factory=dict)
    verdict: Verdict | None = None

    def classify(self, images: np.ndarray, *, nearest: int = 3) -> Classified:
        """Probabilities of the classes, and what they rest on.

        Args:
          images: uint8 `[n, *image_shape]`, n > 0, as `fsjax.runs.Run.embed` takes them.
          nearest: how many support pictures to name.
        """
        return self.classify_features(self.network.features(images, self.rule.features), nearest=nearest)

    def classify_features(self, features: Mapping[str, np.ndarray], *, nearest: int = 3) -> Classified:
        """As `classify`, of the features of images by name, those that the rule reads."""
        pooled = features[self.rule.support_pool]
        if self.linear is not None:
            scores = self.linear.scores(pooled)
        elif self.head == "centred":
            scores = class_scores(pooled, self.prototypes, self.rule, centred=True)
        else:
            scores = class_scores(features[self.rule.query_pool], self.prototypes, self.rule)
        to_support = similarities(pooled, self.support, self.rule)
        return Classified(
            softmax(scores / self.temperature, axis=-1),
            similarities(pooled, self.prototypes, self.rule).max(axis=-1),
            np.argsort(-to_support, axis=-1, kind="stable")[:, :nearest],
        )

    @property
    def has_maps(self) -> bool:
        """Whether positions of the last maps can be compared with the prototypes."""
        # What is behind the maps, a layer, an attention or several depths put together, has no positions.
        pooled = self.rule.support_pool not in ("flatten", "embedding") and not self.rule.widths
        return pooled and not self.frozen.method.encoder.goes_on

    def activation_maps(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Where in images the network sees a class: `[n, h, w]`, not normalised (Zhou et al. 2016).

        Args:
          images: as for `classify`.
          labels: ints `[n]`, the class for each.
        """
        positions = self.network.features(images, ("dense",))["dense"]
        maps = positions.reshape(len(images), *self.frozen.map_shape, -1)
        return np.asarray(class_activation_maps(jnp.asarray(maps), jnp.asarray(self.prototypes[labels])))


def fit_classifier(
    frozen: Network,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    implants: ImplantOptions | None = None,
    seed: int = 0,
    head: str = heads.AUTO,
    preferred: str = heads.PROTOTYPES,
) -> Classifier:
    """A classifier by the method's own rule: prototypes, its pooling and similarity; or by another head.

    Its probabilities are a softmax of the scores over a temperature, fitted on the support pictures, each left
    out in turn, with its copies. They are of these classes alone: of a picture of none they say nothing.

    Args:
      frozen: a run's network.
      images: uint8 `[n, *image_shape]`, the support pictures.
      labels: ints `[n]`, 0, 1, ...; every class has at least one, two with implants.
      class_names: by label, at least two.
      implants: options of the implants that widen the network for this task; None for none.
      seed: of the implants.
      head: one of `fsjax.labelling.heads.HEADS`, or "auto": the one that labels the most pictures left out rightly; of
        several, the one that is surest of what is right.
      preferred: what "auto" takes where nothing can be left out, or all else is equal.

    Raises:
      UserError: for an unknown head, fewer than two classes, a class of too few pictures, and for implants in
        another network than a resnet12.
    """
    names, labels = tuple(class_names), np.asarray(labels)
    _check(names, labels, 1 if implants is None else 2)
    heads.check_head(head, implants=implants is not None)
    rule, held_out, copies = frozen.method.rule(frozen.params), None, first_copies(images, labels)
    network: Features = frozen
    if implants is not None:
        check_features(frozen.method.encoder, rule.features)
        # The widened network's scale is the implants' own, as in evaluation.
        rule = dataclasses.replace(rule, tau=implants.tau)
        network = widened = Widened(frozen, images, labels, implants, num_classes=len(names), seed=seed)
        held_out = by_folds(widened, labels, len(names), rule, copies=copies)
    features = network.features(images, rule.features)
    tried = dict[str, int]()
    if implants is not None:
        head = heads.PROTOTYPES
    elif np.bincount(labels[np.unique(copies)]).max() > 1:
        head, held_out, tried = _chosen(head, preferred, features, labels, len(names), rule, copies)
    elif head == heads.AUTO:
        head = preferred
    temperature = 1.0
    if held_out is not None:
        temperature = fit_temperature(held_out.scores[held_out.tested], labels[held_out.tested])
    support = features[rule.support_pool]
    means = class_prototypes(support, labels, len(names), rule)
    linear = heads.fit(head, support, labels, len(names)) if head in heads.LINEAR else None
    verdict = verdict_of(held_out, images, len(names), copies)
    return Classifier(
        frozen, network, rule, names, labels, support, means, held_out, temperature, head, linear, tried, verdict
    )  # fmt: skip


def _chosen(
    head: str,
    preferred: str,
    features: dict[str, np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    rule: Rule,
    copies: np.ndarray,
) -> tuple[str, HeldOut, dict[str, int]]:
    """The head asked for, or the best; the pictures left out as it scores them; and how many each labels rightly."""
    names = (preferred, *(name for name in heads.HEADS if name != preferred)) if head == heads.AUTO else (head,)
    by_rule = leave_one_out(features, labels, num_classes, rule, copies=copies)

    def left_out(name: str) -> HeldOut:
        if name == heads.PROTOTYPES:
            return by_rule
        if name == "centred":
            return leave_one_out(features, labels, num_classes, rule, copies=copies, centred=True)
        scores = heads.left_out(name, features[rule.support_pool], labels, num_classes, copies)
        return dataclasses.replace(by_rule, scores=np.where(by_rule.tested[:, None], scores, np.nan))

    found = {name: left_out(name) for name in names}
    # Of several as good the surest, and of several as sure the first.
    best = max(names, key=lambda name: (found[name].right, _certainty(found[name])))
    return best, found[best], {name: one.right for name, one in found.items()}


def _certainty(held_out: HeldOut) -> float:
    """Mean log-probability of the right class of pictures left out, by the best temperature."""
    scores, labels = held_out.scores[held_out.tested], held_out.labels[held_out.tested]
    logits = scores / fit_temperature(scores, labels)
    return float(np.mean(logits[np.arange(len(labels)), labels] - logsumexp(logits, axis=-1)))


def _check(names: tuple[str, ...], labels: np.ndarray, least: int) -> None:
    if len(names) < 2:
        raise UserError(f"{len(names)} class: there must be at least two to choose from")
    for name, count in zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True):
        if count < least:
            more = ": implants learn by leaving one out, so every class needs 2; or go without implants"
            raise UserError(
                f"class {name!r} has {count} support picture{'s' * (count != 1)}{more if least > 1 else ''}"
            )


def classifier_of(
    run: TrainedRun,
    known: Support,
    *,
    implants: ImplantOptions | None,
    seed: int,
    head: str,
    batch_size: int,
) -> Classifier:
    """`fit_classifier` of a run's network and labelled pictures.

    Args:
      run: a `fsjax.runs.Run`.
      known: the labelled pictures.
      implants, seed, head: see `fit_classifier`.
      batch_size: images through the network at once.

    Raises:
      UserError: see `fit_classifier`.
    """
    frozen = Network(run.method, run.params, run.collections, run.info, batch_size=batch_size)
    return fit_classifier(
        frozen, known.images, known.labels, known.class_names,
        implants=implants, seed=seed, head=head, preferred=run.preferred_head,
    )  # fmt: skip


def implants_of(method: Method) -> ImplantOptions:
    """The method's own options of implants, or the paper's.

    Raises:
      UserError: for another network than a resnet12.
    """
    return method.implants if method.implants is not None else implant_options(method.encoder)
