"""The few-shot evaluation of a trained method: banks of features, made once, and the figures of a protocol."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.implanted import FrozenNetwork, normalized_batches, score_implanted
from fsjax.evaluation.joint import score_joint_tasks
from fsjax.evaluation.protocol import Figure, Protocol, make_figure
from fsjax.evaluation.statistics import harmonic_mean
from fsjax.evaluation.tasks import Bank, score_tasks
from fsjax.losses.similarity import unit
from fsjax.methods.rules import Rule, check_features, own_pool

logger = logging.getLogger("fsjax")

# Of normalised images `[rows, h, w, c]` and names, the features by name `[rows, ...]`.
Extract = Callable[[np.ndarray, tuple[str, ...]], dict[str, Any]]

_PARTS = {
    "novel": ("test", "test_classes", "the novel classes"),
    "validation": ("validation", "validation_classes", "the validation classes"),
    "base": ("base", "class_names", "the base classes, on images kept out of training"),
    "train": ("train", "class_names", "the base classes"),
}


def check_part(splits: data.Splits, classes: str, spec: data.EpisodeSpec) -> None:
    """Raise a `UserError` unless these data can make such tasks of such classes.

    Args:
      splits: the data.
      classes: of `fsjax.evaluation.protocol.CLASSES`.
      spec: of the tasks.
    """
    for part in ("novel", "base") if classes == "both" else (classes,):
        _, names, where = _PARTS[part]
        labels, names = _examples(splits, part).labels, getattr(splits.info, names)
        # Base classes beside novel ones only have queries: see `score_joint_tasks`.
        needed = dataclasses.replace(spec, shot=1) if (classes, part) == ("both", "base") else spec
        data.check_feasible(data.class_table(labels, len(names)), needed, names, where)


def _examples(splits: data.Splits, part: str) -> data.Examples:
    split, _, where = _PARTS[part]
    examples = getattr(splits, split)
    if examples is None:
        way_out = "set config.data.base_holdout above 0" if part == "base" else "choose a class split that has them"
        raise UserError(f"there are no images of {where}: {way_out}, or leave them out of few_shot.classes")
    return examples


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

    method: Any
    params: Any
    collections: Any
    splits: data.Splits
    extract: Extract
    batch_size: int
    implants: Any = None
    _banks: dict[str, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    _networks: dict[str, FrozenNetwork] = dataclasses.field(default_factory=dict)

    def examples(self, part: str) -> data.Examples:
        """The images of "novel", "validation", "base" (held-out) or "train" classes.

        Raises:
          UserError: if the run's data have none.
        """
        return _examples(self.splits, part)

    def labels(self, part: str) -> np.ndarray:
        """Their labels, int32 `[n]`."""
        return self.examples(part).labels

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

    def bank(self, part: str, names: tuple[str, ...]) -> Bank:
        """Features by name of "novel", "validation", "base" (held-out) or "train" images."""
        _, classes, where = _PARTS[part]
        examples = self.examples(part)
        known = self._banks.setdefault(part, {})
        missing = tuple(name for name in names if name not in known)
        if missing:
            known.update(self._compute(examples, missing))
        info = self.splits.info
        return Bank.of({n: known[n] for n in names}, examples.labels, getattr(info, classes), where)

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
        if episodes is not None:
            if len(protocol.classes) > 1 or "both" in protocol.classes:
                raise UserError("a list of episodes is of one kind of classes: novel, base or validation")
            specs, seed = [data.parse_spec(episodes.facts["spec"])], episodes.facts["seed"]
        for classes in protocol.classes:
            for spec in specs:
                check_part(self.splits, classes, spec)
            bank = self.bank(classes, names) if classes != "both" else None
            for spec in specs:
                facts = {"data": self.splits.info.name, "classes": classes, **spec.to_json(), "seed": seed}
                if classes == "both":
                    if self.implants is not None:
                        logger.warning(
                            "no implants for queries of base and novel classes together: the base classes have no "
                            "weights for the widened features"
                        )
                    yield from (self._joint(rule, rules, spec, protocol, facts | _rule_facts(rule)) for rule in rules)
                    continue
                common = {"spec": spec, "seed": seed, "episodes": episodes}
                for rule, scores in zip(rules, score_tasks(bank, rules, tasks=protocol.tasks, **common), strict=True):
                    yield make_figure(scores, bank.class_names, facts | _rule_facts(rule))
                if self.implants is None:
                    continue
                if data.ends(spec.shot)[0] < 2:
                    logger.warning("no implants for %s tasks: they need at least 2 support images a class", spec)
                    continue
                yield from self._implanted(classes, bank, rules, protocol, facts, common)

    def _implanted(
        self, classes: str, bank: Bank, rules: list[Rule], protocol: Protocol, facts: dict[str, Any], common: Any
    ) -> Iterator[Figure]:
        """The figures with implants; the widened network's scale is the implants' own."""
        rules = [dataclasses.replace(rule, tau=protocol.inference_tau or self.implants.tau) for rule in rules]
        facts = {**facts, "implants": dataclasses.asdict(self.implants)}
        found = score_implanted(
            self._frozen(classes), bank, rules, options=self.implants, tasks=protocol.implant_tasks, **common
        )
        for rule, scores in zip(rules, found, strict=True):
            yield make_figure(scores, bank.class_names, facts | _rule_facts(rule))

    def _frozen(self, part: str) -> FrozenNetwork:
        known = self._networks
        if part not in known:
            examples = self.examples(part)
            # One split's activations at a time: they are large.
            known.clear()
            known[part] = FrozenNetwork(
                self.method, self.params, self.collections, examples, self.splits.info, self.batch_size
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


def extractor(method: Any, params: Any, collections: Any) -> Extract:
    """Features on the default device."""
    features = jax.jit(method.features, static_argnames="names")
    return lambda images, names: features(params, collections, images, names=names)


def _rule_facts(rule: Rule) -> dict[str, Any]:
    facts = dataclasses.asdict(rule)
    # Everything else takes the largest similarity, whatever the scale.
    return facts if rule.query_pool == "dense" else {name: v for name, v in facts.items() if name != "tau"}
