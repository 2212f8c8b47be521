"""What a run's accuracy is: of labels on ordinary splits, of few-shot tasks where the classes are divided."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.class_pools import check_pool, warn_of_selection
from fsjax.evaluation.few_shot.evaluator import Evaluator
from fsjax.evaluation.few_shot.implanted import check_spec
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.evaluation.metrics import by_class, summarize
from fsjax.methods.base import Method, Variables
from fsjax.methods.rules import Rule, check_features, own_pool
from fsjax.training.parallel import AXIS, DataParallel
from fsjax.training.state import TrainState
from fsjax.training.step import make_eval_step


class Scoring(typing.Protocol):
    """What a run's accuracy is."""

    def validation(self, state: TrainState) -> dict[str, float] | None:
        """Accuracy and the like of a replicated state on validation data; None if there are none."""

    def test(self, state: TrainState) -> dict[str, Any] | None:
        """The same on test data."""


class ClassificationScoring:
    """Labels predicted by the method's own rule; every example counts once."""

    def __init__(self, config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> None:
        self._config, self._splits, self._parallel = config, splits, parallel
        self._step = parallel.lift(make_eval_step(method, axis_name=AXIS), batch_axis=0, num_replicated=2)

    def validation(self, state: TrainState) -> dict[str, float] | None:
        """Accuracy and the like of a replicated state on the validation split; None if there is none."""
        if self._splits.validation is None:
            return None
        return self._summarized(self._sums(state, self._splits.validation))

    def test(self, state: TrainState) -> dict[str, Any] | None:
        """The same on the test split, and of each class."""
        if self._splits.test is None:
            return None
        total, info = self._sums(state, self._splits.test), self._splits.info
        return self._summarized(total) | by_class(total, info.class_names)

    def _summarized(self, sums: dict[str, np.ndarray]) -> dict[str, float]:
        counts, also = self._splits.info.class_counts, self._config.eval.metrics
        return summarize(sums, class_counts=counts, also=also)

    def _sums(self, state: TrainState, examples: data.Examples) -> dict[str, np.ndarray]:
        total: dict[str, np.ndarray] = {}
        own = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        size, info = self._config.eval.batch_size, self._splits.info
        for batch in data.eval_batches(examples, batch_size=size, info=info, **own):
            placed = self._parallel.put({k: batch[k] for k in ("image", "label", "weight")}, batch_axis=0)
            sums = self._parallel.single(self._step(state.params, state.collections, placed))
            for name, value in sums.items():
                # float64 and int64 here: float32 sums would lose counts past 2**24.
                value = np.asarray(value)
                wide = value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
                total[name] = total.get(name, 0) + wide
        return total


class FewShotScoring:
    """Tasks of validation classes select the checkpoint; the protocol of `config.few_shot` is the test."""

    def __init__(self, config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> None:
        self._config, self._splits, self._method, self._parallel = config, splits, method, parallel
        self._protocol = Protocol.of(config.few_shot)
        self._steps: dict[tuple[str, ...], Any] = {}
        self._check(splits)

    def validation(self, state: TrainState) -> dict[str, float] | None:
        """Mean accuracy of the validation tasks, the same at every step and in every run; None without such classes."""
        if self._splits.validation is None:
            return None
        (figure,) = self._evaluator(state, implants=False).figures(self._validation)
        return {name: figure.facts[name] for name in ("accuracy", "interval", "tasks")}

    def test(self, state: TrainState) -> dict[str, Any] | None:
        """The figures of the protocol; "accuracy" is that of the first, of those with implants where there are any."""
        figures = [figure.facts for figure in self._evaluator(state).figures(self._protocol)]
        implanted = [f for f in figures if f.get("implants") and f["classes"] == figures[0]["classes"]]
        return {"accuracy": (implanted or figures)[0]["accuracy"], "figures": figures}

    @property
    def _validation(self) -> Protocol:
        own = self._config.few_shot.validation
        shot = own.shot[0] if len(own.shot) == 1 else tuple(own.shot)
        return dataclasses.replace(
            self._protocol,
            classes=(own.classes,),
            way=tuple(own.way),
            shots=(shot,),
            query=tuple(own.query),
            tasks=own.tasks,
            poolings=self._protocol.poolings[:1],
        )

    def _check(self, splits: data.Splits) -> None:
        """Raise what evaluation would raise at the end of training, before it begins."""
        chosen_by = self._config.few_shot.validation.classes
        if chosen_by == "reconstructed_validation" and splits.validation is None:
            raise UserError(
                "config.few_shot.validation.classes='reconstructed_validation', but the class split has no validation "
                "classes: set it to 'validation' (the last checkpoint is then taken), or take a split that has them"
            )
        pool = own_pool(self._method.encoder)
        for rule in self._protocol.rules(Rule("cosine", pool, pool, 1.0), embedding=pool):
            check_features(self._method.encoder, rule.features)
        protocols = [self._protocol]
        if splits.validation is not None:
            protocols.append(self._validation)
        if self._method.implants is not None:
            _check_implants(self._protocol)
        for protocol in protocols:
            for part in protocol.classes:
                for spec in protocol.specs():
                    check_pool(splits, part, spec, protocol.reconstructed)
        own = self._protocol.reconstructed
        warn_of_selection(splits, self._protocol.classes, own, chosen_by=chosen_by, chosen=own)

    def _evaluator(self, state: TrainState, *, implants: bool = True) -> Evaluator:
        single = self._parallel.local(state.replace(opt_state=None))
        return Evaluator(
            self._method, single.params, single.collections, self._splits,
            lambda images, names: self._extract(state, images, names), self._config.eval.batch_size,
            implants=self._method.implants if implants else None,
        )  # fmt: skip

    def _extract(self, state: TrainState, images: np.ndarray, names: tuple[str, ...]) -> dict[str, jax.Array]:
        """Features of images, divided among the devices; each process has all of both."""
        if names not in self._steps:

            def step(params: Variables, collections: Variables, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
                features = self._method.features(params, collections, batch["image"], names)
                return lax.all_gather(features, AXIS, tiled=True)

            self._steps[names] = self._parallel.lift(step, batch_axis=0, num_replicated=2)
        batch = self._parallel.put_whole({"image": images}, batch_axis=0)
        return self._parallel.local(self._steps[names](state.params, state.collections, batch))


def _check_implants(protocol: Protocol) -> None:
    """Raise a `UserError` for a protocol in which implants would not be evaluated at all."""
    if set(protocol.classes) == {"both"}:
        raise UserError(
            "implants are evaluated on tasks of novel, base or validation classes: name one in few_shot.classes"
        )
    specs = protocol.specs()
    if all(data.ends(spec.shot)[0] < 2 for spec in specs):
        check_spec(specs[0])


def build_scoring(config: ConfigDict, splits: data.Splits, method: Method, parallel: DataParallel) -> Scoring:
    """The scoring that the data ask for."""
    kind = FewShotScoring if splits.info.few_shot else ClassificationScoring
    return kind(config, splits, method, parallel)
