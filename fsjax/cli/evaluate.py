"""Accuracy of a trained run, on few-shot tasks or on a split, with its 95 % intervals; on its own or other data.

    fsjax evaluate runs/dc_fc100                                      # the protocol of the run's config
    fsjax evaluate runs/dc_fc100 --classes novel base both --shots 1 5 10 --tasks 10000
    fsjax evaluate runs/dc_fc100 --pooling gap/dense gap/gap gmp/gmp  # support/query, as in Table 2 of the DC paper
    fsjax evaluate runs/dc_fc100 --implants --tasks 5000 --out imp.json
    fsjax evaluate runs/dc_fc100 --classes novel --way 5-10 --shots 1-5 --save-episodes tasks.npz
    fsjax evaluate runs/aflm_fc100 --classes reconstructed --base-classes 20 --base-seed 1 --out fc100.json
    fsjax evaluate runs/proto_tiny --classes novel --head naive_bayes --shrinkage 0.5 # instead of prototypes
    fsjax evaluate runs/icu_digits                                    # a run without novel classes: its test split
    fsjax evaluate runs/icu_digits --split train --out train.json
    fsjax evaluate runs/icu_digits --head naive_bayes                 # linear evaluation
    fsjax evaluate runs/dc_fc100 --source omniglot --set data.train_split=small1 --set data.test_split="" --shots 1
    fsjax evaluate runs/icu_mnist --source folder --data-path my/digits

A run without novel classes is evaluated on a split of its data, "test" if --split does not say another, by its own
classifier: accuracy, balanced accuracy, and that of each class; of a long tail also by the number of training images.
A run with novel classes has a classifier of its base classes, for the splits "train" and "base" (images kept out of
training).

--source takes pictures of another data set (as config.data.name, with --data-path as its data.path and --set for the
rest), brought to the network's size and normalised as the run's own. If all its classes are classes of the run, by
name, they are classified; else, and with any flag of tasks, few-shot tasks are drawn from its classes: from those of
its test part where it has one, from all its images where not, from the novel ones with --set data.class_split.name=...

Classes: "novel"; "base", on images that were kept out of training; "both", queries of novel and base classes among all
base classes and the task's novel ones; "reconstructed", tasks whose classes are drawn from the novel ones and as many
base ones (AFLM paper, Sec. 4), with the accuracy of base and of novel queries, and by the number of base classes in the
task; "validation" and "reconstructed_validation", which may have selected the checkpoint. All with base classes need a
run with data.base_holdout above 0 or, of data with a test part, data.keep_test=True.

An accuracy of tasks comes with three intervals: what other tasks of the same images would change; other images of the
same classes; and other classes, with their images. Only the first shrinks with the number of tasks. A split's accuracy
has one, over its images.

Every image of a kind of classes goes through the network once. The same classes, ways, shots, queries and seed give the
same tasks for every run, which the hash in each line shows; `fsjax compare` pairs two files that --out wrote, by task
or by image, and which queries of each task were right lies beside it, in FILE.npz.

The head "naive_bayes" makes a normal of each class instead of a prototype, with one variance per dimension for all
classes of a task. With one support image per class there is no variance to be seen, and it is the nearest prototype by
Euclidean distance; with few, --shrinkage moves the variances towards their mean. On a run without novel classes it is
fitted on the embeddings of all training images, and its accuracy on the test images stands beside that of the run's
classifier.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsjax import data
from fsjax.cli.arguments import add_run, check_output, count, open_run, path_of
from fsjax.cli.splits import SPLITS, check_other, check_set, classified, other_source, write_classified
from fsjax.errors import UserError, unknown
from fsjax.evaluation.analysis.linear import naive_bayes_of_run
from fsjax.evaluation.classified import view_of
from fsjax.evaluation.few_shot.class_pools import warn_of_selection
from fsjax.evaluation.few_shot.implanted import check_spec
from fsjax.evaluation.few_shot.kept import arrays_of
from fsjax.evaluation.few_shot.protocol import Figure, Protocol
from fsjax.files import as_npz, write_file, write_files
from fsjax.methods.rules import HEADS
from fsjax.options import section
from fsjax.options.few_shot import CLASSES
from fsjax.options.methods import ImplantTrainingOptions

if TYPE_CHECKING:
    from fsjax.evaluation.few_shot.evaluator import Evaluator
    from fsjax.runs import Run

# The columns of Tables 2 and 3.
ALL_POOLINGS = ("gmp/gmp", "gmp/dense", "gap/gap", "gap/dense")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--split", choices=SPLITS, help="classify a split, by the run's own classifier")
    parser.add_argument("--source", default="", metavar="NAME", help="another data set, as config.data.name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of --source: --set data.train_split=small1"
    )
    parser.add_argument("--classes", nargs="+", metavar="CLASSES", help=f"of: {', '.join(CLASSES)}")
    parser.add_argument("--way", type=count, help="classes of a task, a number or a range (5 or 5-10)")
    parser.add_argument("--shots", type=count, nargs="+", help="support images per class; each is evaluated for itself")
    parser.add_argument("--query", type=count, help="queries per class")
    parser.add_argument("--tasks", type=int, help="how many tasks, also of those with implants")
    parser.add_argument("--seed", type=int, help="of the tasks")
    parser.add_argument("--base-classes", type=int, help="base classes beside the novel ones of reconstructed tasks")
    parser.add_argument("--base-seed", type=int, help="of the choice of these classes")
    parser.add_argument("--pooling", nargs="+", metavar="SUPPORT/QUERY", help=f"or all: {', '.join(ALL_POOLINGS)}")
    parser.add_argument("--head", choices=HEADS, default="prototypes", help="what is made of support features")
    parser.add_argument("--shrinkage", type=float, default=0.0, help="of naive Bayes' variances, from 0 to 1 (0)")
    parser.add_argument("--tau", type=float, help="scale of the similarities of dense queries (the learned one)")
    parser.add_argument("--implants", action="store_true", help="also train implants for each task (resnet12)")
    parser.add_argument(
        "--implant-option", nargs="+", default=[], metavar="NAME=VALUE", help="such as steps=100 query_pool=dense"
    )
    parser.add_argument("--episodes", type=path_of, help="take the tasks of this file")
    parser.add_argument(
        "--save-episodes", type=path_of, help="write the tasks to this file (one kind of classes and shots)"
    )
    parser.add_argument(
        "--out", type=path_of, help="write the figures to this JSON file, the tasks and their answers beside it"
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, print, and write."""
    check_output("--out", args.out, ".json")
    check_output("--save-episodes", args.save_episodes, ".npz")
    if args.episodes and args.save_episodes:
        raise UserError("--episodes takes a list of tasks and --save-episodes draws one: give one of them")
    check_set(args)
    run = open_run(args, args.run)
    other = other_source(run, args) if args.source else None
    if other is None and args.head == "naive_bayes" and not run.info.few_shot:
        _linear(run, args)
        return
    found = classified(run, other, args)
    if found is not None:
        print(found)
        if args.out:
            write_classified(args.out, found, _facts_of_run(run))
        return
    protocol = _protocol(run.config.few_shot, args)
    if other is not None:
        check_other(run, other, protocol)
    if (args.episodes or args.save_episodes) and (len(protocol.classes) > 1 or protocol.classes == ("both",)):
        raise UserError(
            "a list of tasks is of one kind of classes: add --classes novel, base, validation or reconstructed"
        )
    implants = _implants(run, args)
    evaluator = run.evaluator(
        data_path=args.data_path,
        batch_size=args.batch_size,
        implants=implants,
        splits=None if other is None else other.splits,
    )
    own = dict(run.config.few_shot)
    if other is None:
        warn_of_selection(
            evaluator.splits,
            protocol.classes,
            protocol.reconstructed,
            chosen_by=own["validation"]["classes"],
            chosen=Protocol.of(own).reconstructed,
        )
    episodes = None
    if args.episodes:
        part = evaluator.part(protocol.classes[0], protocol.reconstructed)
        episodes = data.load_episodes(args.episodes, labels=part.labels, **_facts(evaluator, protocol))
    if args.implants and (args.shots or args.episodes):  # asked for, rather than a protocol's among others
        for spec in protocol.specs() if episodes is None else [data.parse_spec(episodes.facts["spec"])]:
            check_spec(spec)
    if args.save_episodes:
        _save_episodes(evaluator, protocol, args.save_episodes)
    figures = []
    for figure in evaluator.figures(protocol, episodes=episodes):
        print(figure, flush=True)
        figures.append(figure)
    if other is not None and args.out:  # the name of a folder does not tell its pictures
        of_source = {"content": data.content_digest(other.part.examples), "view": view_of(other.config, run.info)}
        for figure in figures:
            figure.facts.update(of_source)
    if args.out:
        write(args.out, figures, _facts_of_run(run))


def write(path: Path, figures: list[Figure], facts: dict[str, Any]) -> None:
    """Figures as JSON, and their tasks in `PATH.npz` beside it.

    The accuracies of the first figure are called "0", its parts, if it has some, "0_base_queries" and so on; its tasks,
    and which of their queries were right, as `fsjax.evaluation.few_shot.kept.arrays_of` has them.
    """
    arrays: dict[str, Any] = {}
    for number, figure in enumerate(figures):
        arrays |= {str(number): figure.accuracy, **{f"{number}_{name}": part for name, part in figure.parts.items()}}
        arrays |= {} if figure.scores is None else arrays_of(figure.scores, str(number))
    stored = json.dumps({**facts, "figures": [figure.facts for figure in figures]}, indent=1) + "\n"
    write_files({path.with_suffix(".npz"): as_npz(**arrays), path: stored})


def _facts_of_run(run: "Run") -> dict[str, Any]:
    return {"run": str(run.workdir), "step": run.step, "method": run.config.method.name}


def _protocol(own: Any, args: argparse.Namespace) -> Protocol:
    """The protocol of the run's config, with what the command line states in its place."""
    given = {
        "classes": args.classes or (["novel"] if args.source else None),
        "way": args.way, "shots": args.shots, "query": args.query, "tasks": args.tasks,
        "implant_tasks": args.tasks, "seed": args.seed, "inference_tau": args.tau, "head": args.head,
        "shrinkage": args.shrinkage,
        "poolings": ALL_POOLINGS if args.pooling == ["all"] else args.pooling,
    }  # fmt: skip
    stated: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None
    }
    return _reconstructed(dataclasses.replace(Protocol.of(own), **stated), args)


def _linear(run: "Run", args: argparse.Namespace) -> None:
    """Fit naive Bayes on the training images of a run without novel classes, and print the test accuracies."""
    if args.split not in (None, "test"):
        raise UserError("--head naive_bayes is fitted on the training images and tested on those of the test split")
    for flag, given in (("--shrinkage", args.shrinkage), ("--classes", args.classes), ("--shots", args.shots)):
        if given:
            raise UserError(f"{flag} is of few-shot tasks, and {run.workdir} was trained without novel classes")
    splits = run.splits(data_path=args.data_path)
    _, facts = naive_bayes_of_run(run.method, run.params, run.collections, splits, batch_size=args.batch_size)
    print(
        f"test  {100 * facts['accuracy']:.2f}  naive Bayes, fitted on the embeddings of {facts['train']:,} training "
        f"images; the run's own classifier {100 * facts['own_accuracy']:.2f}; {facts['test']:,} test images"
    )
    if args.out:
        head = {"head": "naive_bayes", "data": run.info.name, **facts}
        stored = {"run": str(run.workdir), "step": run.step, "method": run.config.method.name, "linear": head}
        write_file(args.out, json.dumps(stored, indent=1) + "\n")


def _reconstructed(protocol: Protocol, args: argparse.Namespace) -> Protocol:
    """The protocol with the base classes that the command line states."""
    counts = {"reconstructed": "test_base", "reconstructed_validation": "validation_base"}
    stated = {counts[name]: args.base_classes for name in protocol.classes if name in counts}
    given = (("--base-classes", args.base_classes), ("--base-seed", args.base_seed))
    for flag, value in given:
        if value is not None and not stated:
            raise UserError(f"{flag}={value} is of reconstructed tasks: add --classes reconstructed")
    stated = {name: v for name, v in {**stated, "seed": args.base_seed}.items() if v is not None}
    return dataclasses.replace(protocol, reconstructed=dataclasses.replace(protocol.reconstructed, **stated))


def _implants(run: "Run", args: argparse.Namespace) -> Any:
    """Options of the implants, or None."""
    from fsjax.methods.dense_implants import implant_options

    if not args.implants:
        if args.implant_option:
            raise UserError("--implant-option says how implants are trained, and needs --implants")
        return None
    chosen = {} if run.method.implants is None else dataclasses.asdict(run.method.implants)
    known = dict(section(ImplantTrainingOptions).leaves())
    chosen = {name: value for name, value in chosen.items() if name in known}
    for option in args.implant_option:
        name, _, value = option.partition("=")
        if name not in known:
            raise unknown("option of implants", name, known)
        chosen[name] = known[name].read(known[name].parse(value), f"--implant-option {name}")
    return implant_options(run.method.encoder, **chosen)


def _save_episodes(evaluator: "Evaluator", protocol: Protocol, path: Path) -> None:
    specs = protocol.specs()
    if len(specs) > 1:
        raise UserError("--save-episodes writes the tasks of one number of shots: add --shots 5")
    bank = evaluator.bank(protocol.classes[0], (), protocol.reconstructed)
    data.check_feasible(bank.table, specs[0], bank.class_names, bank.where)
    episodes = data.draw_episodes(bank.table, specs[0], seed=protocol.seed, start=0, count=protocol.tasks)
    episodes.save(path, **_facts(evaluator, protocol))
    print(f"{len(episodes)} tasks, {episodes.hash}, written to {path}")


def _facts(evaluator: "Evaluator", protocol: Protocol) -> dict[str, Any]:
    """What a list of tasks is of, and stated in its file."""
    (classes,) = protocol.classes
    facts = evaluator.part(classes, protocol.reconstructed).facts
    return {"data": evaluator.splits.info.name, "classes": classes, **facts}
