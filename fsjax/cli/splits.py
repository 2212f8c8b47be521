"""What `fsjax evaluate` does beside tasks of a run's own data: its splits classified, and other sources."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fsjax.config_file import set_option
from fsjax.errors import UserError
from fsjax.evaluation.classified import Classified, classify, identity, view_of
from fsjax.evaluation.few_shot.other_source import OtherSource, load_other, source_config
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.files import as_npz, write_files

if TYPE_CHECKING:
    from fsjax.runs import Run

SPLITS = ("train", "validation", "base", "test")
# Those that ask for few-shot tasks.
_TASK_FLAGS = (
    "classes", "way", "shots", "query", "tasks", "seed", "base_classes", "base_seed", "pooling", "shrinkage", "tau",
    "implants", "implant_option", "episodes", "save_episodes",
)  # fmt: skip
_UNASKED = {"shrinkage": 0.0, "implants": False, "implant_option": []}


def write_classified(path: Path, found: Classified, facts: dict[str, Any]) -> None:
    """Figures of a split as JSON, and "label", "predicted" and "correct" of each image in `PATH.npz` beside it."""
    arrays = as_npz(label=found.labels, predicted=found.predicted, correct=found.correct)
    stored = json.dumps({**facts, "classification": found.facts}, indent=1) + "\n"
    write_files({path.with_suffix(".npz"): arrays, path: stored})


def other_source(run: "Run", args: argparse.Namespace) -> OtherSource:
    """The pictures of --source."""
    if args.split == "base":
        raise UserError("--split base is of the run's own data: of --source give train, validation or test")
    return load_other(source_of(run, args).data, run.info, split=args.split or "")


def check_set(args: argparse.Namespace) -> None:
    """Raise a `UserError` for --set without --source, whose data it changes."""
    if args.set and not args.source:
        raise UserError("--set changes the data of --source NAME; the run's own are what they were in training")


def source_of(run: "Run", args: argparse.Namespace) -> Any:
    """A config with the `data` of --source, --data-path and --set, whose pictures come to the network's size."""
    config = source_config(run.config.data, run.info, args.source, args.data_path)
    for text in args.set:
        if not text.removeprefix("config.").startswith("data."):
            raise UserError(f"--set {text}: only the data of --source are set, such as --set data.train_split=small1")
        set_option(config, text)
    return config


def classified(run: "Run", other: OtherSource | None, args: argparse.Namespace) -> Classified | None:
    """What the run's own classifier makes of a split; None where tasks are asked for, or all that can be done.

    Raises:
      UserError: for a split of classes that the classifier does not know, and flags that do not go together.
    """
    asked = [f"--{name.replace('_', '-')}" for name in _TASK_FLAGS if getattr(args, name) != _UNASKED.get(name)]
    asked += ["--head naive_bayes"] if args.head != "prototypes" else []
    if other is not None:
        labels = None if asked else other.labels_in(run.class_names)
        if labels is None or not _has_classes(run):
            return None
        examples, split, config = other.part.examples, other.split, other.config
        name = other.splits.info.name
    else:
        if run.info.few_shot and not args.split:
            return None
        if asked:
            what = "--split" if args.split else f"{run.workdir} was trained without novel classes, and"
            raise UserError(
                f"{what} is classified by the run's own classifier, and {asked[0]} is of few-shot tasks: leave one of "
                "them out, or draw tasks from the classes of another data set with --source"
            )
        split, config, labels = args.split or "test", run.config.data, None
        if run.info.few_shot and split in ("validation", "test"):
            raise UserError(
                f"the {split} split of {run.workdir} holds other classes than its classifier knows: evaluate tasks of "
                f"them with --classes {'novel' if split == 'test' else split}, or classify --split base or train"
            )
        splits = run.splits(data_path=args.data_path)
        examples, name = getattr(splits, split), splits.info.name
        if examples is None:
            raise UserError(f"{name} has no {split} split; it has: {', '.join(splits.info.counts)}")
    facts = {
        "data": name,
        "split": split,
        "known": len(run.class_names),
        # Another source is read with the seed 0, whatever the run's.
        "identity": identity(examples, config, split, seed=run.config.seed if other is None else 0),
        "view": view_of(config, run.info),
    }
    return classify(
        run.method, run.params, run.collections, examples, run.info, batch_size=args.batch_size, labels=labels,
        facts=facts, metrics=run.config.eval.metrics,
    )  # fmt: skip


def _has_classes(run: "Run") -> bool:
    """Whether the run's method predicts classes of its own."""
    try:
        run.predict(np.zeros((0, *run.info.image_shape), np.uint8))
    except UserError:
        return False
    return True


def check_other(run: "Run", other: OtherSource, protocol: Protocol) -> None:
    """Say what tasks are drawn from; raises a `UserError` for kinds of classes that another source has not."""
    kinds = [kind for kind in protocol.classes if kind != "novel"]
    if kinds:
        raise UserError(f"--classes {kinds[0]} is of the run's own data: of --source all classes are novel")
    names, images = other.part.class_names, len(other.part.labels)
    known = set(names) & set(run.class_names)
    print(
        f"tasks of the {len(names)} classes of {other.splits.info.name} that have {other.split} images, {images:,} in "
        "all" + (f"; {len(known)} of them have names of classes that the run was trained on" if known else "")
    )
