"""The five rows of AFLM's Table 1 on real data, on novel classes alone and on base and novel ones, reduced recipe.

    TFDS_DATA_DIR=... python -m benchmarks.studies.aflm cifarfs     # trains and evaluates what is missing, and prints
    TFDS_DATA_DIR=... python -m benchmarks.studies.aflm tiny --only=table

Against the recipe of the paper: ResNet-12 of a quarter of the widths (16, 32, 64, 128), 32x32 images also for
tiny_imagenet_fs (padded crops), 1,200 steps of two 5-way 5-shot episodes with 5 queries (the paper: 20,000 of four
with, as we read it, 15), SGD at 0.05, x0.1 at 60 and 90 %; Meta-Baseline 200 steps more from the Global run. One
training serves 1-shot and 5-shot tasks, and both scenarios: half of the images of each base class train, the other half
are for the tasks of base and novel classes. Checkpoints are chosen by tasks of the validation classes. Every row meets
the same tasks. The intervals, over tasks, new images and new classes, are of one training each (`--seed` trains
others): they say nothing of what another seed would give.
"""

from collections.abc import Callable
from pathlib import Path

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

from benchmarks.studies.shared import (  # noqa: E402 - XLA's flags come first
    LEGEND,
    arguments,
    difference_in_words,
    folder,
    percent,
    to_evaluate,
    train,
)
from fsjax.config_file import load_config  # noqa: E402
from fsjax.configs.aflm import ROWS  # noqa: E402

WIDTHS = (16, 32, 64, 128)
STEPS, META_BASELINE_STEPS, RATE = 1200, 200, 0.05
NAMES = (*ROWS, "aflm")
TITLES = {
    "global": "Global", "local": "Local", "meta_baseline": "Meta-Baseline", "no_attention": "w/o attention",
    "aflm": "ours",
}  # fmt: skip
SCENARIOS = {"novel": "novel classes", "reconstructed": "base and novel classes"}


def config_of(dataset: str, row: str, folder_of: Callable[[str], Path], seed: int):
    """The config of one run."""
    config = load_config(f"aflm:{dataset}," + ("" if row == "aflm" else f"{row},") + "reconstructed")
    config.name = config.name.replace("aflm_", "study_", 1)
    config.seed = seed
    config.model.resnet12.widths = WIDTHS
    config.data.augment.update(crop="pad", pad=4, flip=True)
    config.data.image_size = 32 if dataset == "tiny" else 0
    config.episodes.update(way=(5,), shot=(5,), query=(5,), per_step=2)
    config.optimizer.learning_rate = RATE
    steps = config.train.steps = META_BASELINE_STEPS if row == "meta_baseline" else STEPS
    config.schedule.boundaries = (steps * 60 // 100, steps * 90 // 100)
    if row == "global":
        config.train.batch_size = 100  # as many images per step as the episodes have
    if row == "meta_baseline":
        config.optimizer.learning_rate = 1e-3
        config.start_from = str(folder_of("global"))
    config.train.update(log_every=50, eval_every=steps // 4, checkpoint_every=steps // 4, progress=False)
    config.few_shot.update(classes=("novel",), tasks=2000)
    config.few_shot.validation.update(classes="validation", tasks=500)
    return config


def evaluate(dataset: str, rows: list[str], folder_of: Callable[[str], Path], tasks: int) -> None:
    """Evaluate the runs that are trained, all on the same tasks; a file for each."""
    from fsjax import restore
    from fsjax.cli.evaluate import write
    from fsjax.evaluation.few_shot.protocol import Protocol

    for row, path, known in to_evaluate(rows, folder_of, tasks):
        section = config_of(dataset, row, folder_of, 0).few_shot
        section.update(shots=(1, 5), classes=tuple(SCENARIOS), query=(15,), tasks=tasks)
        figures = list(restore(path).evaluator().figures(Protocol.of(section)))
        write(known, figures, {"run": path.name})
        print(path.name, *figures, sep="\n", flush=True)


def table(dataset: str, folder_of: Callable[[str], Path]) -> None:
    """Print accuracies and paired differences as Markdown."""
    from fsjax.cli.compare import pairs, read_figures

    files = {row: folder_of(row) / "figures.json" for row in NAMES}
    found = {row: read_figures(path) for row, path in files.items() if path.exists()}
    columns = [(classes, shot) for classes in SCENARIOS for shot in (1, 5)]
    heads = [f"{SCENARIOS[classes]}, {shot}-shot" for classes, shot in columns]
    print(f"{LEGEND}\n\n| {dataset} | {' | '.join(heads)} |\n|{'---|' * (len(columns) + 1)}")
    for row, figures in found.items():
        facts = {(f.facts["classes"], f.facts["shot"]): f.facts for f in figures}
        cells = [percent(facts[column]) for column in columns]
        print(f"| {TITLES[row]} | {' | '.join(cells)} |")
    for first, second in (
        ("aflm", "local"), ("aflm", "no_attention"), ("aflm", "meta_baseline"), ("global", "local"),
        ("no_attention", "local"), ("meta_baseline", "local"),
    ):  # fmt: skip
        if first in found and second in found:
            differences = {(a.facts["classes"], a.facts["shot"]): d for a, _, d in pairs(found[first], found[second])}
            cells = [difference_in_words(d) for d in map(differences.get, columns)]
            print(f"| {TITLES[first]} − {TITLES[second]} | {' | '.join(cells)} |")
    _by_base_classes(found)


def _by_base_classes(found: dict) -> None:
    """Print the accuracy of reconstructed tasks on base and on novel queries, and by their number of base classes."""
    for shot in (1, 5):
        facts = {
            row: f.facts for row, figures in found.items() for f in figures
            if (f.facts["classes"], f.facts["shot"]) == ("reconstructed", shot)
        }  # fmt: skip
        counts = sorted({group["base_classes"] for f in facts.values() for group in f["by_base_classes"]})
        heads = ["base queries", "novel queries", *(f"{count} base classes" for count in counts)]
        print(f"\n| {shot}-shot | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
        for row, f in facts.items():
            groups = {group["base_classes"]: group for group in f["by_base_classes"]}
            cells = [
                percent(f["base_queries"]),
                percent(f["novel_queries"]),
                *(percent(groups[c]) if c in groups else "–" for c in counts),
            ]
            print(f"| {TITLES[row]} | {' | '.join(cells)} |")


def main() -> None:
    """Train and evaluate what is missing, and print the tables."""
    args = arguments(
        __doc__,
        datasets=("cifarfs", "tiny", "fc100"),
        names=NAMES,
        what="rows",
        workdir="runs/aflm_study",
        tasks=10_000,
    )

    def folder_of(row: str) -> Path:
        return folder(args.workdir, args.dataset, row, args.seed)

    if args.only in (None, "train"):
        train(args.names, lambda row: config_of(args.dataset, row, folder_of, args.seed), folder_of)
    if args.only in (None, "evaluate"):
        evaluate(args.dataset, args.names, folder_of, args.tasks)
    table(args.dataset, folder_of)


if __name__ == "__main__":
    main()
