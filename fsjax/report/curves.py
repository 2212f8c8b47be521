"""Loss and accuracy over the steps of training, all runs in one chart."""

from collections.abc import Sequence
from typing import Any

from fsjax.pages import Html, line_chart, section, side_by_side
from fsjax.report.collect import Collected, curve
from fsjax.report.wording import note

# Points of a curve; of many runs fewer each, so that the page stays small.
_POINTS, _ALL_POINTS, _FEWEST = 400, 4000, 60


def curves(runs: Sequence[Collected]) -> Html | str:
    """The section; why there is none, where there is none."""
    most = max(min(_POINTS, _ALL_POINTS // len(runs)), _FEWEST)

    def of(figure: str, **kinds: str) -> dict[str, tuple[list[float], list[float]]]:
        found = {
            _title(run, words, alone=len(runs) == 1): curve(run, kind, figure, most=most)
            for run in runs
            for kind, words in kinds.items()
        }
        return {name: points for name, points in found.items() if points[0]}

    losses = of("loss", train="training")
    nll = of("nll", validation="validation (negative log-likelihood)")
    accuracies = of("accuracy", train="training", validation="validation")
    if not losses and not accuracies:
        return "no metrics.jsonl with a loss or an accuracy."
    steps: dict[str, Any] = {"x_label": "Step"}
    charts, parts = [], []
    if losses or nll:
        charts.append(line_chart({**losses, **nll}, title="Loss", y_label="Loss", **steps))
    if accuracies:
        charts.append(line_chart(accuracies, title="Accuracy", y_label="Accuracy", percent=True, **steps))
    if any(run.few_shot for run in runs):
        parts.append(
            note(
                "Where classes are divided, validation accuracy is that of few-shot tasks of other classes: not to be "
                "compared with the training accuracy."
            )
        )
    without = [run.name for run in runs if not any(line["kind"] == "validation" for line in run.metrics)]
    if without:
        parts.append(note(f"Without validation: {', '.join(without)}."))
    parts.append(note("Values of training are means over the steps since the one before."))
    return section("Curves", side_by_side(*charts), parts, anchor="curves")


def _title(run: Collected, words: str, *, alone: bool) -> str:
    return words.capitalize() if alone else f"{run.name}, {words}"
