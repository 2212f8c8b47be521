"""The few-shot evaluation of a trained method: banks of features, made once, and the figures of a protocol."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.data import ReconstructedOptions
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.class_pools import DEFAULT, RECONSTRUCTED, ClassPool, check_pool, find_pool
from fsjax.evaluation.few_shot.implanted import FrozenNetwork, normalized_batches, score_implanted
from fsjax.evaluation.few_shot.joint import score_joint_tasks
from fsjax.evaluation.few_shot.protocol import Figure, Protocol, make_figure
from fsjax.evaluation.few_shot.statistics import harmonic_mean
from fsjax.evaluation.few_shot.tasks import Bank, score_tasks
from fsjax.losses.arithmetic.similarity import unit
from fsjax.methods.base import Method, Variables
from fsjax.methods.rules import Rule, check_features, own_pool

logger = logging.getLogger("fsjax")

# Of normalised images `[rows, h, w, c]` and names, the features by name `[rows, ...]`.
Extract = Callable[[np.ndarray, tuple[str, ...]], dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """A trained method with its data; features of a split are computed when they are first needed, and kept.

    Attributes:
      method: see `fsjax.methods`.
      params, collections: its trained variables, one copy.
      splits: the data.
      extract: computes features of images by name; see `extractor` for one device.
      batch_size: images at once.
      implants: options of the implants that adapt the network to each task; None for none.
    """

    method: Method
    params: Variables
    collections: Variables
    splits: data.Splits
    extract: Extract
    batch_size: int
    implants: Any = None
    _parts: dict[tuple[str, ReconstructedOptions], ClassPool] = dataclasses.field(default_factory=dict)
    _banks: dict[ClassPool, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    _networks: dict[ClassPool, FrozenNetwork] = dataclasses.field(default_factory=dict)

    def part(self, part: str, reconstructed: ReconstructedOptions = DEFAULT) -> ClassPool:
        """The classes of a kind, and their images.

        Args:
          part: "novel", "validation", "base" (held-out images), "train", "reconstructed" (novel and base classes
            together) or "reconstructed_validation".
          reconstructed: of the last two: which base classes, and how many images; the others do not depend on it.

        Raises:
          UserError: if the run's data have none.
        """
        key = part, reconstructed if part in RECONSTRUCTED else DEFAULT
        if key not in self._parts:
            self._parts[key] = find_pool(self.splits, *key)
        return self._parts[key]

    def examples(self, part: str, reconstructed: ReconstructedOptions = DEFAULT) -> data.Examples:
        """The images of a kind of classes; see `part`."""
        return self.part(part, reconstructed).examples

    def labels(self, part: str, reconstructed: ReconstructedOptions = DEFAULT) -> np.ndarray:
        """Their labels, int32 `[n]`."""
        return self.part(part, reconstructed).labels

    def features_at(self, examples: data.Examples, index: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Features by name of the images at these positions `[n]` of a split."""
        parts = [
            jax.tree.map(lambda x, count=count: np.asarray(x)[:count], self.extract(images, names))
            for images, count in normalized_batches(examples, index, self.splits.info, self.batch_size)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    @property
    def map_shape(self) -> tuple[int, int]:
        """Height and width of the last feature maps."""
        image = jax.ShapeDtypeStruct((1, *self.splits.info.image_shape), jnp.float32)
        encoded = jax.eval_shape(self.method.encode, self.params, self.collections, image)
        return list(encoded.maps.values())[-1].shape[1:3]

    def bank(self, part: str, names: tuple[str, ...], reconstructed: ReconstructedOptions = DEFAULT) -> Bank:
        """Features by name of the images of a kind of classes; see `part`."""
        chosen = self.part(part, reconstructed)
        known = self._banks.setdefault(chosen, {})
        missing = tuple(name for name in names if name not in known)
        if missing:
            known.update(self._compute(chosen.examples, missing))
        return Bank.of({n: known[n] for n in names}, chosen.labels, chosen.class_names, chosen.where)

    def figures(self, protocol: Protocol, *, episodes: data.Episodes | None = None) -> Iterator[Figure]:
        """The figures of a protocol, one after the other.

        Args:
          protocol: what to evaluate.
          episodes: a list of tasks that takes the place of the drawn ones; `protocol` then names one kind of classes,
            and its way, shots, query, tasks and seed are not read.

        Raises:
          UserError: if the data or the method cannot do what the protocol asks.
        """
        rules = protocol.rules(self.method.rule(self.params), embedding=own_pool(self.method.encoder))
        names = tuple(dict.fromkeys(name for rule in rules for name in rule.features))
        check_features(self.method.encoder, names)
        specs, seed = protocol.specs(), protocol.seed
        if protocol.head != "prototypes" and ("both" in protocol.classes or self.implants is not None):
            raise UserError(
                "naive Bayes is fitted on the support images of each task: among all base classes (classes 'both'), "
                "and with implants, tasks are classified by prototypes; leave these out, or the head"
            )
        if episodes is not None:
            if len(protocol.classes) > 1 or "both" in protocol.classes:
                raise UserError("a list of episodes is of one kind of classes, and not of both")
            specs, seed = [data.parse_spec(episodes.facts["spec"])], episodes.facts["seed"]
        for classes in protocol.classes:
            for spec in specs:
                check_pool(self.splits, classes, spec, protocol.reconstructed)
            for spec in specs:
                facts = {"data": self.splits.info.name, "classes": classes, **spec.to_json(), "seed": seed}
                if classes == "both":
                    if self.implants is not None:
                        logger.warning(
                            "no implants for queries of base and novel classes together: the base classes have no "
                            "weights for the widened features"
                        )
                    yield from (self._joint(rule, rules, spec, protocol, facts | _rule_facts(rule)) for rule in rules)
                else:
                    part = self.part(classes, protocol.reconstructed)
                    bank = self.bank(classes, names, protocol.reconstructed)
                    common = {"spec": spec, "seed": seed, "episodes": episodes}
                    yield from self._of_part(part, bank, rules, protocol, facts | part.facts, common)

    def _of_part(
        self, part: ClassPool, bank: Bank, rules: list[Rule], protocol: Protocol, facts: dict[str, Any], common: Any
    ) -> Iterator[Figure]:
        """The figures of tasks of one kind of classes, and those with implants."""
        for rule, scores in zip(rules, score_tasks(bank, rules, tasks=protocol.tasks, **common), strict=True):
            yield make_figure(scores, bank.class_names, facts | _rule_facts(rule), is_base=part.is_base)
        if self.implants is None:
            return
        if data.ends(common["spec"].shot)[0] < 2:
            logger.warning("no implants for %s tasks: they need at least 2 support images per class", common["spec"])
            return
        # The widened network's scale is the implants' own.
        rules = [dataclasses.replace(rule, tau=protocol.inference_tau or self.implants.tau) for rule in rules]
        facts = {**facts, "implants": dataclasses.asdict(self.implants)}
        found = score_implanted(
            self._frozen(part), bank, rules, options=self.implants, tasks=protocol.implant_tasks, **common
        )
        for rule, scores in zip(rules, found, strict=True):
            yield make_figure(scores, bank.class_names, facts | _rule_facts(rule), is_base=part.is_base)

    def _frozen(self, part: ClassPool) -> FrozenNetwork:
        known = self._networks
        if part not in known:
            # One part's activations at a time: they are large.
            known.clear()
            known[part] = FrozenNetwork(
                self.method, self.params, self.collections, part.examples, self.splits.info, self.batch_size
            )
        return known[part]

    def _joint(
        self, rule: Rule, rules: list[Rule], spec: data.EpisodeSpec, protocol: Protocol, facts: dict[str, Any]
    ) -> Figure:
        # What all the rules need at once: an image goes through the network once, however many poolings there are.
        names = tuple(dict.fromkeys(name for rule in rules for name in rule.features))
        novel, base = self.bank("novel", names), self.bank("base", names)
        weights, origin = self._base_weights(rule, rules)
        scores = score_joint_tasks(novel, base, weights, rule, spec=spec, seed=protocol.seed, tasks=protocol.tasks)
        means = {name: float(np.mean(scores[name].accuracy)) for name in ("novel", "base")}
        facts = {
            **facts,
            **means,
            "harmonic_mean": harmonic_mean(means["novel"], means["base"]),
            "base_weights": origin,
        }
        return make_figure(scores["both"], base.class_names + novel.class_names, facts)

    def _base_weights(self, rule: Rule, rules: list[Rule]) -> tuple[jax.Array, str]:
        """What stands for the base classes by a rule out of these, `[classes, dim]`, and its name for the report."""
        learned = self._learned_weights(rule)
        if learned is not None:
            return learned, "class weights"
        pools = dict.fromkeys(other.support_pool for other in rules if self._learned_weights(other) is None)
        return class_means(self.bank("train", tuple(pools)), rule), "prototypes of the training images"

    def _learned_weights(self, rule: Rule) -> jax.Array | None:
        """The method's own class weights, if it has any that are as long as the rule's prototypes."""
        known = self.method.class_weights(self.params)
        # Weights of flattened maps are longer than pooled features are; all pooled features are of one length.
        return None if known is None or (known[0] == "flatten") != (rule.support_pool == "flatten") else known[1]

    def _compute(self, examples: data.Examples, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for batch in data.eval_batches(examples, batch_size=self.batch_size, info=self.splits.info):
            real = batch["weight"] > 0
            for name, features in self.extract(batch["image"], names).items():
                parts[name].append(np.asarray(features)[real])
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def class_means(bank: Bank, rule: Rule) -> jax.Array:
    """The prototypes of all images of each class, `[classes, dim]`."""
    features = bank.features[rule.support_pool]
    features = unit(features) if rule.unit_support else features
    labels = np.repeat(np.arange(len(bank.table.count)), bank.table.count)
    sums = jax.ops.segment_sum(features[bank.table.order], jnp.asarray(labels), len(bank.table.count))
    return sums / np.maximum(bank.table.count, 1)[:, None]


def extractor(method: Method, params: Variables, collections: Variables) -> Extract:
    """Features on the default device."""
    features = jax.jit(method.features, static_argnames="names")
    return lambda images, names: features(params, collections, images, names=names)


def _rule_facts(rule: Rule) -> dict[str, Any]:
    facts = {**dataclasses.asdict(rule), "widths": list(rule.widths)}
    # What figures had before there was a choice is left out, so that they stay as they were.
    for name, usual in (("widths", []), ("head", "prototypes"), ("shrinkage", 0.0)):
        if facts[name] == usual:
            del facts[name]
    if rule.head != "prototypes":
        del facts["similarity"]
    # Everything else takes the largest similarity, whatever the scale.
    return facts if rule.query_pool == "dense" else {name: v for name, v in facts.items() if name != "tau"}
