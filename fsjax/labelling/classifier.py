"""A classifier of pictures by a few labelled ones, for one task with as many pictures a class as there are."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from fsjax.errors import UserError, unknown
from fsjax.evaluation.activation_maps import class_activation_maps
from fsjax.labelling.calibration import fit_temperature
from fsjax.labelling.heads import HEADS, Head, fit_head
from fsjax.labelling.held_out import (
    HeldOut,
    by_folds,
    class_prototypes,
    class_scores,
    first_copies,
    leave_one_out,
    similarities,
)
from fsjax.labelling.network import Features, Network, Widened
from fsjax.labelling.verdict import Verdict, verdict_of
from fsjax.methods.dense_implants import implant_options
from fsjax.methods.implants import ImplantOptions
from fsjax.methods.rules import Rule, check_features

AUTO, PROTOTYPES = "auto", "prototypes"


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
      rule: how similarities are measured, and how queries are classified where there is no head.
      head: what classifies them in its place; None for the rule's prototypes.
      class_names: by label.
      labels: int `[n]`, of the support pictures.
      support: float32 `[n, dim]`, their features, of which prototypes are means.
      prototypes: float32 `[classes, dim]`.
      held_out: what they say of each other; None where no class can spare a picture.
      temperature: of the softmax of the scores; 1 is the method's own.
      chosen: why the head was chosen, in words; "" where it was asked for.
      verdict: how the support pictures do; None where none can be left out.
    """

    frozen: Network
    network: Features
    rule: Rule
    head: Head | None
    class_names: tuple[str, ...]
    labels: np.ndarray
    support: np.ndarray
    prototypes: np.ndarray
    held_out: HeldOut | None
    temperature: float
    chosen: str
    verdict: Verdict | None

    def classify(self, images: np.ndarray, *, nearest: int = 3) -> Classified:
        """Probabilities of the classes, and what they rest on.

        Args:
          images: uint8 `[n, *image_shape]`, n > 0, as `fsjax.runs.Run.embed` takes them.
          nearest: how many support pictures to name.
        """
        features = self.network.features(images, self.rule.features)
        pooled = features[self.rule.support_pool]
        if self.head is None:
            scores = class_scores(features[self.rule.query_pool], self.prototypes, self.rule)
        else:
            scores = self.head.scores(np.asarray(pooled, np.float64))
        logits = scores / self.temperature
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        to_support = similarities(pooled, self.support, self.rule)
        return Classified(
            shares / shares.sum(axis=-1, keepdims=True),
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
    head: str = AUTO,
    implants: ImplantOptions | None = None,
    seed: int = 0,
) -> Classifier:
    """A classifier by prototypes of the method's own rule, or by a head on the same features.

    Its probabilities are a softmax of the scores over a temperature, fitted on the support pictures, each left out in
    turn, with its copies. They are of these classes alone: of a picture of none they say nothing.

    Args:
      frozen: a run's network.
      images: uint8 `[n, *image_shape]`, the support pictures.
      labels: ints `[n]`, 0, 1, ...; every class has at least one, two with implants.
      class_names: by label, at least two.
      head: "prototypes" (the method's own rule), one of `fsjax.labelling.heads.HEADS`, or "auto", the one that labels
        the most support pictures left out rightly; of several, the one that is surest of what is right.
      implants: options of the implants that widen the network for this task; None for none.
      seed: of the implants.

    Raises:
      UserError: for fewer than two classes, a class of too few pictures, an unknown head, a head on implants, and for
        implants in another network than a resnet12.
    """
    names, labels = tuple(class_names), np.asarray(labels)
    _check(names, labels, 1 if implants is None else 2)
    check_head(head, implants=implants is not None)
    rule, held_out, copies = frozen.method.rule(frozen.params), None, first_copies(images, labels)
    network: Features = frozen
    if implants is not None:
        check_features(frozen.method.encoder, rule.features)
        # The widened network's scale is the implants' own, as in evaluation.
        rule = dataclasses.replace(rule, tau=implants.tau)
        network = widened = Widened(frozen, images, labels, implants, num_classes=len(names), seed=seed)
        held_out = by_folds(widened, labels, len(names), rule, copies=copies)
    features = network.features(images, rule.features)
    if implants is None and np.bincount(labels[np.unique(copies)]).max() > 1:
        held_out = leave_one_out(features, labels, len(names), rule, copies=copies)
    support, chosen, own = features[rule.support_pool], "", None
    if implants is None and head != PROTOTYPES:
        own, held_out, chosen = _with_head(head, held_out, support, labels, len(names), copies)
    temperature = 1.0
    if held_out is not None:
        temperature = fit_temperature(held_out.scores[held_out.tested], labels[held_out.tested])
    means = class_prototypes(support, labels, len(names), rule)
    verdict = verdict_of(held_out, images, len(names), copies)
    return Classifier(frozen, network, rule, own, names, labels, support, means, held_out, temperature, chosen, verdict)


def check_head(head: str, *, implants: bool) -> None:
    """Raise a `UserError` for a head that there is not, or that implants do not go with."""
    if head not in (AUTO, PROTOTYPES, *HEADS):
        raise unknown("head", head, (AUTO, PROTOTYPES, *HEADS))
    if implants and head not in (AUTO, PROTOTYPES):
        raise UserError(f"head {head!r} is of the network's own features, and implants widen it: leave one of them out")


def _with_head(
    head: str, held_out: HeldOut | None, support: np.ndarray, labels: np.ndarray, num_classes: int, copies: np.ndarray
) -> tuple[Head | None, HeldOut | None, str]:
    """The head asked for, or the best; the pictures left out as it scores them; and why it was chosen."""
    fit = functools.partial(fit_head, features=support, labels=labels, num_classes=num_classes, copies=copies)
    if head != AUTO:
        fitted = fit(head)
        return fitted, None if held_out is None else _scored(held_out, fitted), ""
    if held_out is None:
        return None, None, f"{PROTOTYPES}: with one picture of each class heads cannot be compared"
    heads, names = [fit(name) for name in HEADS], (PROTOTYPES, *HEADS)
    # In this order where they are equal.
    found = [(None, held_out), *((fitted, _scored(held_out, fitted)) for fitted in heads)]
    best = max(range(len(found)), key=lambda i: (found[i][1].right, _certainty(found[i][1])))
    right = ", ".join(f"{name} {one.right}" for name, (_, one) in zip(names, found, strict=True))
    return *found[best], f"{names[best]}, the best of {len(names)} on the pictures left out (right: {right})"


def _scored(held_out: HeldOut, head: Head) -> HeldOut:
    """The pictures left out, with the scores of another head; tested are the same ones."""
    return dataclasses.replace(held_out, scores=np.where(held_out.tested[:, None], head.held_out, np.nan))


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


def implants_of(method: Any) -> ImplantOptions:
    """The method's own options of implants, or the paper's.

    Raises:
      UserError: for another network than a resnet12.
    """
    return method.implants if method.implants is not None else implant_options(method.encoder)
