"""GAP, DC, DC + implants, prototypical networks and Meta-Baseline on real data, with a reduced recipe.

    TFDS_DATA_DIR=... python -m benchmarks.studies.few_shot fc100   # trains and evaluates what is missing, and prints
    TFDS_DATA_DIR=... python -m benchmarks.studies.few_shot tiny --only=table

Against the recipes of the papers: a ResNet-12 of a quarter of the widths (16, 32, 64, 128), few steps (`RECIPES`), SGD
with Nesterov momentum at 0.05 for all but the prototypical network (Adam, as its paper has it), scales from 10, swish
everywhere, and Meta-Baseline from the cosine classifier GAP. Evaluation is resumed by run, training by checkpoint.
Every method meets the same tasks.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from benchmarks.studies.shared import LEGEND, arguments, difference_in_words, folder, percent, to_evaluate, train  # noqa: E402 - XLA's flags come first
from fsjax.configs.common import base  # noqa: E402
from fsjax.configs.common_few_shot import episodic, few_shot  # noqa: E402

WIDTHS = (16, 32, 64, 128)
METHODS = ("gap", "dc", "prototypical", "metabaseline")
# Steps of 64 images for classifiers, of 100 (an episode, 5-way 5-shot 15-query) for the others.
RECIPES = {
    "fc100": {"gap": 2000, "dc": 2000, "prototypical": 1280, "metabaseline": 200},
    "tiny": {"gap": 1200, "dc": 1200, "prototypical": 768, "metabaseline": 120},
}


def config_of(dataset: str, method: str, folder_of: Callable[[str], Path], seed: int):
    """The config of one run."""
    config = base()
    few_shot(config, dataset)
    config.name, config.seed = f"{dataset}_{method}", seed
    config.model.resnet12.widths = WIDTHS
    config.loss.name = "cosine"
    config.loss.cosine.tau_init = 10.0
    config.optimizer.update(name="sgd", learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.train.batch_size = 64
    config.train.steps = steps = RECIPES[dataset][method]
    config.schedule.boundaries = tuple(steps * part // 100 for part in (50, 75, 90))
    if method == "dc":
        config.method.name = "dense"
    if method in ("prototypical", "metabaseline"):
        episodic(config, steps=steps)
    if method == "prototypical":
        config.method.name = "prototypical"
        config.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=0.0)
    if method == "metabaseline":
        config.method.name = "meta_baseline"
        config.optimizer.update(learning_rate=1e-3)
        config.start_from = str(folder_of("gap"))
    config.train.log_every = 50
    config.train.eval_every = steps // 4
    config.train.checkpoint_every = steps // 4
    config.few_shot.tasks = 2000
    config.few_shot.shots = (1, 5, 10)
    config.few_shot.classes = ("novel", "base", "both")
    config.few_shot.validation.tasks = 500
    return config


def evaluate(methods: list[str], folder_of: Callable[[str], Path], tasks: int) -> None:
    """Evaluate the runs that are trained, DC also with implants, all on the same tasks; a file for each."""
    from fsjax import restore
    from fsjax.cli.evaluate import write
    from fsjax.evaluation.few_shot.protocol import Protocol
    from fsjax.methods.dense_implants import implant_options

    for method, path, known in to_evaluate(methods, folder_of, tasks):
        run = restore(path)
        implants = implant_options(run.method.encoder) if method == "dc" else None
        evaluator = run.evaluator(implants=implants)
        shots, common = (1, 5, 10), {"query": 30, "tasks": tasks, "implant_tasks": tasks}
        figures = list(evaluator.figures(Protocol(shots=shots, classes=("novel",), **common)))
        plain = dataclasses.replace(evaluator, implants=None)
        figures += plain.figures(Protocol(shots=(5,), classes=("base", "both"), **common))
        poolings = ("gmp/gmp", "gmp/dense", "gap/gap", "gap/dense")  # the columns of Table 2
        figures += plain.figures(Protocol(shots=(5,), classes=("novel", "base", "both"), poolings=poolings, **common))
        write(known, figures, {"run": path.name})
        print(path.name, *figures, sep="\n", flush=True)


def table(folder_of: Callable[[str], Path]) -> None:
    """Print the accuracy of novel classes, and the paired differences, as Markdown."""
    from fsjax.cli.compare import read_figures
    from fsjax.evaluation.few_shot.paired import difference

    rows = {}
    for method in METHODS:
        path = folder_of(method) / "figures.json"
        for figure in read_figures(path) if path.exists() else []:
            facts = figure.facts
            name = method + " + implants" * bool(facts.get("implants"))
            # The first figure of a kind is by the method's own pooling; the columns of Table 2 follow.
            if facts["classes"] == "novel":
                rows.setdefault((name, facts["shot"]), figure)
    print(f"{LEGEND}\n")
    print("| method | 1-shot | 5-shot | 10-shot |\n|---|---|---|---|")
    for name in dict.fromkeys(name for name, _ in rows):
        cells = [percent(rows[name, shot].facts) if (name, shot) in rows else "–" for shot in (1, 5, 10)]
        print(f"| {name} | {' | '.join(cells)} |")
    for first, second in (("dc", "gap"), ("dc + implants", "dc"), ("metabaseline", "gap"), ("prototypical", "gap")):
        found = {}
        for shot in (1, 5, 10):
            a, b = (rows.get((name, shot)) for name in (first, second))
            if a and b and a.facts["episodes"] == b.facts["episodes"]:
                found[shot] = difference(a, b)
        cells = [difference_in_words(found[shot]) for shot in (1, 5, 10) if shot in found]
        cells = ["–"] * (3 - len(cells)) + cells
        print(f"| {first} − {second} | {' | '.join(cells)} |")


def main() -> None:
    """Train and evaluate what is missing, and print the table."""
    args = arguments(
        __doc__, datasets=tuple(RECIPES), names=METHODS, what="methods", workdir="runs/few_shot_study", tasks=2000
    )

    def folder_of(method: str) -> Path:
        return folder(args.workdir, args.dataset, method, args.seed)

    if args.only in (None, "train"):
        train(args.names, lambda method: config_of(args.dataset, method, folder_of, args.seed), folder_of)
    if args.only in (None, "evaluate"):
        evaluate(args.names, folder_of, args.tasks)
    table(folder_of)


if __name__ == "__main__":
    main()
