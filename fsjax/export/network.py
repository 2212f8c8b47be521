"""What of a run is exported: functions of weights and images, the weights by path, and classes of pictures."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fsjax.data import DataInfo
from fsjax.data.info import scaling
from fsjax.errors import UserError
from fsjax.exported import KnownClass
from fsjax.exported.pictures import MAX_PIXELS
from fsjax.exported.scoring import support_sum
from fsjax.labelling.calibration import Threshold
from fsjax.labelling.classifier import Classifier, classifier_of, implants_of
from fsjax.labelling.heads import AUTO, PROTOTYPES
from fsjax.labelling.network import Widened
from fsjax.labelling.rejection import check_rejection, threshold_of
from fsjax.labelling.support import Support, read_support
from fsjax.methods.feature_dropout import NestedDropout
from fsjax.methods.implants import ImplantOptions, base_activations, implant_maps
from fsjax.methods.rules import Rule, feature_of_maps, own_pool
from fsjax.runs import Run

Weights = Mapping[str, jax.Array]
Function = Callable[[Weights, jax.Array], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
      run: as it computes there.
      rule: by which features are compared.
      weights: that the functions read, by path.
      features: weights and uint8 images -> the features that the rule reads, and "embedding", by name.
      embed: what "embedding" should be, of uint8 images.
      classes: of the support pictures; empty without such.
      unreadable: support pictures that were left out, and why.
      temperature: of the softmax of the rule's scores, fitted on the support pictures; 1 without such.
      threshold: of "none of these"; None where every picture has a class.
      head: what scores the classes of the support pictures, see `fsjax.labelling.heads`.
      doubt: why their labels cannot be trusted, see `fsjax.labelling.verdict`; "" where nothing speaks against them.
    """

    run: Run
    rule: Rule
    weights: Weights
    features: Function
    embed: Callable[[np.ndarray], np.ndarray]
    classes: tuple[KnownClass, ...] = ()
    unreadable: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: Threshold | None = None
    head: str = PROTOTYPES
    doubt: str = ""


def source_of(
    run: Run,
    support: str | Path | None,
    *,
    head: str = AUTO,
    implants: bool = False,
    reject: bool | float = False,
    seed: int = 0,
    batch_size: int = 256,
) -> Source:
    """The run's network as it is, or widened by implants for the pictures of a folder.

    Args:
      run: to be exported.
      support: a folder of class folders, or None.
      head: what is made of the support pictures' features, see `fsjax.labelling.label`.
      implants: whether there are such, trained on the support pictures.
      reject: whether there is a threshold of "none of these", see `fsjax.labelling.label`.
      seed: of the implants.
      batch_size: how many images go through the network at once, here.

    Raises:
      UserError: for pictures that cannot be read, too few of a class, and implants in another network than a resnet12.
    """
    rule = run.method.rule(run.params)
    if rule.head != "prototypes":
        raise UserError(f"an export has no place for the head {rule.head!r} of method {run.config.method.name!r}")
    weights, features = _weights(run), _features(run, rule)
    if support is None:
        threshold = None if reject is False else Threshold(float(reject))
        return Source(run, rule, weights, features, run.embed, threshold=threshold)
    pictures = read_support(support, run.config.data, run.info, max_pixels=MAX_PIXELS)
    check_rejection(pictures, reject, implants=implants)
    options = implants_of(run.method) if implants else None
    classifier = classifier_of(run, pictures, implants=options, seed=seed, head=head, batch_size=batch_size)
    embed: Callable[[np.ndarray], np.ndarray] = run.embed
    rule = classifier.rule
    if options is not None and isinstance(classifier.network, Widened):
        weights |= _implant_weights(classifier.network)
        features, embed = _widened_features(run, rule, options), _widened_embedding(classifier.network, run)
    return Source(
        run,
        rule,
        weights,
        features,
        embed,
        _classes(classifier),
        _unreadable(pictures),
        classifier.temperature,
        threshold_of(classifier, reject),
        classifier.head,
        classifier.verdict.doubt if classifier.verdict is not None else "",
    )


def _implant_weights(widened: Widened) -> dict[str, jax.Array]:
    params, stats = widened.implants
    return flatten_dict({"implants": {"params": params, "stats": stats}}, sep="/")


def _widened_embedding(widened: Widened, run: Run) -> Callable[[np.ndarray], np.ndarray]:
    pool = own_pool(run.method.encoder)
    return lambda images: widened.features(images, (pool,))[pool]


def _classes(classifier: Classifier) -> tuple[KnownClass, ...]:
    known = []
    for label, name in enumerate(classifier.class_names):
        own = classifier.support[classifier.labels == label]
        one = KnownClass(name, support_sum(own, unit_support=classifier.rule.unit_support), len(own))
        if classifier.linear is not None:
            one.weights, one.bias = classifier.linear.weights[label], float(classifier.linear.bias[label])
        known.append(one)
    return tuple(known)


def _unreadable(pictures: Support) -> tuple[str, ...]:
    return tuple(f"{one.name}: {one.reason}" for one in pictures.unreadable)


def own_classes(source: Source) -> tuple[KnownClass, ...]:
    """The run's own classes as vectors that the rule compares like prototypes; none if its loss has no such.

    They are where the class weights are directions, as those of a cosine classifier: the rule then gives the loss's own
    scores, and classes of pictures stand beside them (Qi et al. 2018, Sec. 3.2).
    """
    run = source.run
    found = run.method.class_weights(run.params)
    dropout = run.method.feature_dropout
    reads_few = isinstance(dropout, NestedDropout) and dropout.keep
    if found is None or found[0] != source.rule.support_pool or reads_few:
        return ()
    vectors = np.asarray(found[1], np.float64)
    return tuple(KnownClass(name, vector) for name, vector in zip(run.class_names, vectors, strict=True))


def logits_of(run: Run) -> Function:
    """Weights and uint8 images -> "logits", the scores of the run's own classes by the rule of its loss."""

    def logits(weights: Weights, images: jax.Array) -> dict[str, jax.Array]:
        params, collections, _ = _variables(weights)
        return {"logits": run.method.logits(params, collections, _normalized(images, run.info))}

    return logits


def _features(run: Run, rule: Rule) -> Function:
    """The features of the network as it is; see `Source`."""
    names = tuple(dict.fromkeys(("embedding", *rule.features)))

    def features(weights: Weights, images: jax.Array) -> dict[str, jax.Array]:
        params, collections, _ = _variables(weights)
        found: dict[str, jax.Array] = run.method.features(params, collections, _normalized(images, run.info), names)
        return found

    return features


def _widened_features(run: Run, rule: Rule, options: ImplantOptions) -> Function:
    """Those of the network with implants, whose embedding is the pooled widened maps."""
    pool = own_pool(run.method.encoder)
    names = tuple(dict.fromkeys((pool, *rule.features)))

    def features(weights: Weights, images: jax.Array) -> dict[str, jax.Array]:
        params, collections, implants = _variables(weights)
        variables = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
        activations = base_activations(run.method.encoder, variables, _normalized(images, run.info))
        maps = implant_maps(implants["params"], implants.get("stats", {}), activations, options)
        found = {name: feature_of_maps(maps, name) for name in names}
        return {**found, "embedding": found[pool]}

    return features


def _normalized(images: jax.Array, info: DataInfo) -> jax.Array:
    """As `fsjax.data.normalize`, and rounded like it."""
    shift, scale = scaling(info)
    return (images.astype(jnp.float32) - shift) * scale


def _weights(run: Run) -> dict[str, jax.Array]:
    """All that prediction can read of a run's variables, by path; not a second network, a teacher or an optimizer."""
    params, collections = run.params, run.collections
    tree = {
        "params": {name: params[name] for name in ("encoder", "loss") if name in params},
        "collections": {name: collections[name] for name in ("batch_stats", "loss_state") if name in collections},
    }
    return flatten_dict(tree, sep="/")


def _variables(weights: Weights) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parameters, collections, and implants if there are any: the inverse."""
    tree = unflatten_dict(dict(weights), sep="/")
    return tree.get("params", {}), tree.get("collections", {}), tree.get("implants", {})
