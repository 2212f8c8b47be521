"""A split classified by a run's own rule: its figures, and which images were right."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.paired import same_content
from fsjax.evaluation.few_shot.statistics import Interval, paired_difference, wilson_interval
from fsjax.evaluation.metrics import by_class, classification_sums, summarize
from fsjax.methods.base import Method, Variables

# Of `config.data`: what decides which images a split holds, besides their labels.
_CHOOSING = (
    "train_split", "test_split", "test_fraction", "validation", "class_split", "base_holdout", "keep_test",
    "longtail_ratio", "label_noise", "limit", "on_error",
)  # fmt: skip
_NAMED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Classified:
    """A split with what it was taken for.

    Attributes:
      predicted: int32 `[n]`, -1 where the scores are no numbers.
      labels: int32 `[n]`.
      facts: the figures, and what they depend on, as JSON types.
    """

    predicted: np.ndarray
    labels: np.ndarray
    facts: Mapping[str, Any]

    @property
    def correct(self) -> np.ndarray:
        """Bool `[n]`."""
        return self.predicted == self.labels

    def __str__(self) -> str:
        return in_words(self.facts)


def classify(
    method: Method,
    params: Variables,
    collections: Variables,
    examples: data.Examples,
    info: data.DataInfo,
    *,
    batch_size: int,
    labels: np.ndarray | None = None,
    facts: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
) -> Classified:
    """Classify all images of a split among the classes that a method was trained on.

    Args:
      method: see `fsjax.methods`.
      params, collections: its trained variables, one copy.
      examples: the split.
      info: of the run: its classes, and the normalisation.
      batch_size: images at once.
      labels: `[n]`, among `info.class_names`; None: those of the examples.
      facts: what else the figures depend on.
      metrics: further ones by name, see `fsjax.options.metrics`.

    Raises:
      UserError: for an unknown metric, a method without classes of its own, and a split without images.
    """

    @jax.jit
    def look(images: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        logits = method.logits(params, collections, images)
        broken = jnp.isnan(logits).any(axis=-1)
        return classification_sums(logits, labels, weights), jnp.where(broken, -1, logits.argmax(axis=-1))

    examples = data.watched(examples)
    labels = np.asarray(examples.labels if labels is None else labels, np.int32)
    predicted = np.full(len(examples), -1, np.int32)
    total: dict[str, Any] = {}
    for batch in data.eval_batches(examples, batch_size=batch_size, info=info):
        index = batch["index"]
        of_batch = np.where(index >= 0, labels[index], 0)
        sums, found = look(batch["image"], of_batch, batch["weight"])
        predicted[index[index >= 0]] = np.asarray(found)[index >= 0]
        for name, value in sums.items():
            value = np.asarray(value)
            total[name] = total.get(name, 0) + value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
    summary = summarize(total, class_counts=info.class_counts, also=metrics)
    low, high = wilson_interval(int(total["correct"].sum()), int(total["weight"]))
    found_facts = {
        **(facts or {}),
        "images": int(summary.pop("num_examples")),
        "content": data.content_digest(examples),
        **summary,
        "metrics": list(metrics),
        "interval": [low, high],
        **by_class(total, info.class_names),
    }
    return Classified(predicted, labels, found_facts)


def identity(examples: data.Examples, config: Mapping[str, Any], split: str, *, seed: int) -> str:
    """16 hexadecimal digits of what a split is by its config, its labels and their order; pixels are not looked at.

    Args:
      examples: the split.
      config: `config.data` of the run; where the data lie, and how pictures are brought to size, does not count.
      split: its name.
      seed: that they were chosen by, the run's of its own data; test images do not depend on it.
    """
    chosen = {name: config[name] for name in ("name", *_CHOOSING) if name in config}
    chosen |= {"split": split} | ({} if split in ("test", "base") else {"seed": seed})
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True, default=_plain).encode())
    digest.update(np.ascontiguousarray(examples.labels, "<i4").tobytes())
    return digest.hexdigest()[:16]


def view_of(config: Mapping[str, Any], info: data.DataInfo) -> list[Any]:
    """What brings pictures to the network's size, as JSON types; `config` is the `data` that they are read by."""
    view = data.view_of(data.parse_config(config))
    return [*info.image_shape, view.fit, view.resize, view.share]


def _plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else list(value)


def in_words(facts: Mapping[str, Any]) -> str:
    """The figures in a few lines."""
    low, high = (100 * end for end in facts["interval"])
    classes = facts["per_class"]
    lines = [
        f"{facts['split']:10} {100 * facts['accuracy']:.2f} (95 % interval over images {low:.2f} to {high:.2f})  "
        f"accuracy of {facts['images']:,} images of {facts['data']}, {len(classes)} classes"
        + (f" of the run's {facts['known']}" if facts.get("known", len(classes)) != len(classes) else "")
    ]
    more = [f"balanced accuracy {100 * facts['balanced_accuracy']:.2f}"]
    if "top5_accuracy" in facts:
        more.append(f"among the first 5: {100 * facts['top5_accuracy']:.2f}")
    more.append(f"negative log-likelihood {facts['nll']:.4f}")
    groups = [name for name in ("many", "medium", "few") if f"{name}_shot_accuracy" in facts]
    if len(groups) > 1:
        more += [f"{name}-shot classes {100 * facts[f'{name}_shot_accuracy']:.2f}" for name in groups]
    more += [f"{name} {facts[name]:.4f}" for name in facts.get("metrics", ())]
    lines.append(f"  {', '.join(more)}")
    ranked = sorted(classes, key=lambda name: (classes[name], name))
    shown = ranked if len(ranked) <= 2 * _NAMED else ranked[:_NAMED]
    lines.append(f"  {'by class' if shown == ranked else 'worst classes'}: {_shares(classes, shown)}")
    if shown != ranked:
        lines.append(f"  best classes: {_shares(classes, ranked[: -_NAMED - 1 : -1])}")
    return "\n".join(lines)


def _shares(classes: Mapping[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {100 * classes[name]:.1f}" for name in names)


def paired(first: Classified, second: Classified) -> Interval:
    """The difference of two accuracies, image by image, with its 95 % interval over images of these classes.

    Args:
      first, second: of the same images; the second is subtracted.

    Raises:
      UserError: for others, or with labels that differ.
    """
    same = first.facts["identity"] == second.facts["identity"] and np.array_equal(first.labels, second.labels)
    same &= list(first.facts["per_class"]) == list(second.facts["per_class"])
    if not same or same_content(first.facts, second.facts) is False:
        raise UserError(
            f"the images are not the same: {first.facts['split']} of {first.facts['data']} and "
            f"{second.facts['split']} of {second.facts['data']}: evaluate both runs on the same split of the same data"
        )
    return paired_difference(first.correct, second.correct)
