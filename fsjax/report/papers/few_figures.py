"""Papers of which fsjax has a config and a few published figures, but not the paper's tables."""

from fsjax.report.papers.tables import Paper, Recipe, Study, Table, Tasks, Training

MINI = "~/mini_imagenet"
QUERIES, TASKS = 15, 8_000


def chen(row: str, column: str) -> Recipe:
    """A cell of Meta-Baseline's figures."""
    classifier = Training("metabaseline_mini:classifier", "classifier_mini", data_path=MINI)
    episodes = Training("metabaseline_mini", "metabaseline_mini", start_from=classifier, data_path=MINI)
    words = f"--classes novel --shots 1 5 --query {QUERIES} --tasks {TASKS} --pooling gap/gap"
    score = Tasks("novel", int(column[0]), "gap/gap", QUERIES, TASKS)
    return Recipe(classifier if row == "Classifier-Baseline" else episodes, score, (f"fsjax evaluate FOLDER {words}",))


def wang(row: str, column: str) -> Recipe:
    """A cell of TEEN's figures, which `fsjax sessions` prints."""
    return Recipe(Training("fscil_cifar100", "fscil_cifar100"), None, ("fsjax sessions FOLDER --alpha 0.1 --seeds 20",))


META_BASELINE = Paper(
    "Chen, Liu, Xu, Darrell & Wang, Meta-Baseline: exploring simple meta-learning for few-shot learning (ICCV 2021)",
    (
        Table(
            "Figures",
            "miniImageNet, novel classes, 5-way accuracy in %; ResNet-12. As configs/metabaseline.py quotes them.",
            """
            Method              | 1-shot       | 5-shot
            Classifier-Baseline | 58.91 ± 0.23 | 77.76 ± 0.17
            Meta-Baseline       | 63.17 ± 0.23 | 79.26 ± 0.17
            """,
            chen,
            note=f"{TASKS:,} tasks: of so many are intervals of ± 0.23, as tasks differ by some 10 points. The "
            "rows of docs/results.md on FC100 and tiny_imagenet_fs have no published figure; `--paper aflm` has a row "
            "of this method.",
        ),
    ),
    identity=("method.name", "loss.name", "model.name"),
)

TEEN = Paper(
    "Wang et al., Few-shot class-incremental learning via training-free prototype calibration (TEEN, 2023)",
    (
        Table(
            "Figures",
            "CIFAR-100, 60 base classes and 8 sessions of 5-way 5-shot: accuracy in % over all classes seen so far, as "
            "a leaderboard quotes the paper, which was not at hand.",
            """
            Session                  | all classes seen
            0 (the base classes)     | 74.92
            8                        | 52.64
            mean of the sessions     | 63.10
            """,
            wang,
            studies=(
                Study(
                    "New classes in sessions: TEEN against prototypes",
                    """
                    | session | classes | method | base | new | harmonic mean | all |
                    | 0 | 60 | prototypes | 46.22 ± 3.28 | – | – | 46.22 ± 3.28 |
                    |  |  | TEEN 0.1 | 41.45 ± 2.83 | 14.94 ± 0.42 | 21.93 ± 0.80 | 30.84 ± 1.83 |
                    |  |  | TEEN 0.1 | 43.74 ± 2.98 | 17.37 ± 1.48 | 24.70 ± 1.80 | 37.67 ± 2.43 |
                    """,
                    rows=("0 (the base classes)", "8", "mean of the sessions"),
                    columns=("", "", "", "", "", "", "all classes seen"),
                    reduced="ResNet-12 of a quarter of the widths (16, 32, 64, 128), not ResNet-20; 1,500 steps of 64, "
                    "not 600 epochs of 256; TEEN's share 0.1",
                    spread="± half the 95 % interval over 3 networks, 20 draws of the shots each",
                    command="python -m benchmarks.studies.fscil cifar100",
                    date="2026-11-22",
                ),
            ),
            note="A run's own figures are those that `fsjax sessions` prints.",
        ),
    ),
)

MSENET = Paper(
    "Enhancing few-shot classification through learnable multi-scale embedding and attention mechanisms (MSENet)",
    (
        Table(
            "Figures",
            "miniImageNet, 5-way accuracy in %, as configs/msenet_tiny.py quotes them.",
            """
            Network   | 1-shot | 5-shot
            ResNet-18 | 64.46  | 84.42
            """,
            lambda row, column: (
                "its network starts from weights trained on ImageNet, whose classes are miniImageNet's: these are not "
                "figures of novel classes. configs/msenet_tiny.py trains the method from scratch, on other data"
            ),
        ),
    ),
)
