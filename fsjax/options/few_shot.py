"""Options of the test of data whose classes are divided (`config.data.class_split`): `config.few_shot`."""

import dataclasses
from typing import Any

from fsjax.errors import UserError
from fsjax.options.declare import option
from fsjax.options.models import POOLS
from fsjax.options.training import COUNTS, SEED, check_pair

# novel: tasks of novel classes. base: tasks of base classes, on images kept out of training. both: queries of novel
# and base classes among the base classes and the task's novel ones (generalised few-shot learning). reconstructed:
# tasks whose classes are drawn from novel and base ones alike (AFLM paper); reconstructed_validation: from the
# validation classes and other base ones.
CLASSES = ("novel", "base", "both", "validation", "reconstructed", "reconstructed_validation")
_BASE: dict[str, Any] = {"at_least": 0, "at_most": 10**6}
_TASKS: dict[str, Any] = {"at_least": 1, "at_most": 10**7}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructedOptions:
    """Of tasks of novel and base classes alike (AFLM paper, Sec. 4): see `fsjax.data.reconstructed`."""

    test_base: int = option(0, "base classes beside the novel ones; 0: as many", **_BASE)
    validation_base: int = option(0, "others, beside the validation classes; 0: as many", **_BASE)
    images: int = option(0, "of each class, at most; 0: all (the paper's miniImageNet: 300)", **_BASE)
    seed: int = option(0, "of the choice of base classes and images, whatever the run's seed", **SEED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationTasksOptions:
    """Of the tasks that choose the checkpoint."""

    classes: str = option(
        "validation", "of validation classes, or of base ones too", choices=("validation", "reconstructed_validation")
    )
    way: tuple[int, ...] = option((5,), "classes of a task, or a pair (least, most)", at_least=2, **COUNTS)
    shot: tuple[int, ...] = option((5,), "support images of a class, or a pair", at_least=1, **COUNTS)
    query: tuple[int, ...] = option((15,), "queries of a class, or a pair", at_least=1, **COUNTS)
    tasks: int = option(500, "how many", **_TASKS)

    def check_rules(self, at: str) -> None:
        """Raises UserError for pairs that do not rise."""
        for name in ("way", "shot", "query"):
            check_pair(f"{at}{name}", getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShotOptions:
    """Of the tasks of the test."""

    way: tuple[int, ...] = option((5,), "classes of a task, or a pair (least, most)", at_least=2, **COUNTS)
    shots: tuple[int | tuple[int, int], ...] = option(
        (5, 1),
        "support images of a class, or pairs; the first, on the first of the classes, is the run's accuracy",
        at_least=1,
        at_most=100_000,
        entries=(1, 100),
    )
    query: tuple[int, ...] = option((15,), "queries of a class, or a pair", at_least=1, **COUNTS)
    tasks: int = option(10_000, "how many", **_TASKS)
    implant_tasks: int = option(5_000, "how many where implants are trained for each", **_TASKS)
    classes: tuple[str, ...] = option(
        ("novel",),
        "novel, base, both (novel among base ones), validation, reconstructed; base ones need data.base_holdout",
        choices=CLASSES,
        entries=(1, 100),
    )
    seed: int = option(0, "of the tasks, whatever the run's seed", **SEED)
    poolings: tuple[str, ...] = option((), "support/query each, such as gap/dense; none: the method's own")
    inference_tau: float = option(
        0.0, "scale of dense queries; 0: the learned one", at_least=1e-6, at_most=1e6, or_=(0,)
    )
    reconstructed: ReconstructedOptions = ReconstructedOptions()
    validation: ValidationTasksOptions = ValidationTasksOptions()

    def check_rules(self, at: str) -> None:
        """Raises UserError for pairs that do not rise, and poolings that there are not."""
        check_pair(f"{at}way", self.way)
        check_pair(f"{at}query", self.query)
        for shot in self.shots:
            if isinstance(shot, tuple):
                check_pair(f"{at}shots", shot)
        for pooling in self.poolings:
            check_pooling(f"{at}poolings", pooling)


def check_pooling(key: str, pooling: str) -> None:
    """Raises UserError for a text that is not SUPPORT/QUERY, of the features that an image can be reduced to."""
    support, _, query = pooling.partition("/")
    known = ("embedding", *POOLS)
    if support not in known or query not in (*known, "dense"):
        raise UserError(
            f"{key}: {pooling!r} must be SUPPORT/QUERY, such as gap/dense; SUPPORT is one of {', '.join(known)}, QUERY "
            "also dense"
        )
