"""Prototypical networks with a ResNet-12, as the paper of TADAM reports them."""

from fsjax.report.papers.tables import Paper, Recipe, Study, Table, Tasks, Training

QUERIES, TASKS = 30, 10_000
SHOTS = {"1-shot": 1, "5-shot": 5, "10-shot": 10}


def resnet12(data: str, column: str) -> Recipe:
    """A cell; 10 shots are tested with the network of the 5-shot episodes.

    Args:
      data: "mini" or "fc100".
      column: "1-shot", "5-shot" or "10-shot".
    """
    shot = SHOTS[column]
    variant, folder = (":1shot", f"proto_1shot_{data}") if shot == 1 else ("", f"proto_{data}")
    training = Training(f"proto_{data}{variant}", folder, data_path="~/mini_imagenet" if data == "mini" else "")
    words = f"--classes novel --shots {shot if shot == 1 else '5 10'} --query {QUERIES} --tasks {TASKS}"
    score = Tasks("novel", shot, "gap/gap", QUERIES, TASKS)
    return Recipe(training, score, (f"fsjax evaluate FOLDER {words} --pooling gap/gap",))


def measured_on_fc100(row: str) -> Study:
    """What was measured of this network on FC100, for a row of that."""
    return Study(
        "Few-shot learning, reduced recipe",
        """
        | method | 1-shot | 5-shot | 10-shot | base, 5-shot | both: novel / base / harmonic mean |
        | prototypical | 34.68 ± 0.36 | 46.89 ± 0.37 | 50.48 ± 0.35 | 62.50 ± 0.40 | 7.80 / 24.56 / 11.84 |
        """,
        rows=(row,),
        columns=("", "1-shot", "5-shot", "10-shot", "", ""),
        reduced="ResNet-12 of a quarter of the widths (16, 32, 64, 128); 1,280 episodes, not 20,000, 5-way 5-shot, "
        "not 20-way 5-shot (1-shot: 30-way 1-shot); 2,000 tasks, not 10,000",
        spread="± 95 % interval over the tasks, one training seed",
        command="python -m benchmarks.studies.few_shot fc100",
        date="2026-11-21",
    )


FIGURES = Table(
    "Figures",
    "5-way accuracy in % on novel classes, as Tables 4 and 5 of the DC paper repeat them from TADAM's.",
    """
    Data         | 1-shot       | 5-shot       | 10-shot
    miniImageNet | 56.50 ± 0.4  | 74.20 ± 0.2  | 78.60 ± 0.4
    FC100        | 37.80 ± 0.40 | 53.30 ± 0.50 | 58.70 ± 0.40
    """,
    lambda row, column: resnet12({"miniImageNet": "mini", "FC100": "fc100"}[row], column),
    studies=(measured_on_fc100("FC100"),),
    note="TADAM's paper was not at hand: fsjax trains with Snell et al.'s recipe, and tests as the DC paper does.",
)

PAPER = Paper(
    "Snell, Swersky & Zemel, Prototypical networks for few-shot learning (2017), with a ResNet-12",
    (FIGURES,),
    identity=("method.name", "model.name", "model.pool", "method.prototypical.similarity"),
)
