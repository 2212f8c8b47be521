"""The section of published figures: what the papers report for the recipe that a run follows."""

from collections.abc import Sequence

from fsjax.pages import Html, section, table, tag
from fsjax.report.collect import Collected
from fsjax.report.wording import note


def published(runs: Sequence[Collected]) -> Html | str:
    """The section; why there is none."""
    from fsjax.report.papers import beside

    rows, without = [], []
    for run in runs:
        try:
            found = beside(run.config, run.result) if run.config else []
        except (AttributeError, KeyError, TypeError, ValueError):  # of files that no version of fsjax wrote
            found = []
        rows += [[run.name, *cells] for cells in found]
        if not found:
            without.append(run.name)
    if not rows:
        return "no published figure for these configs."
    header = ["Run", "Published as", "Paper", "Here", "What differs from the recipe"]
    return section(
        "Published figures",
        table(header, rows, caption="The papers' figures beside"),
        note(f"No published figure for: {', '.join(without)}.") if without else None,
        note(tag("code", "fsjax report --paper NAME"), " prints all tables of a paper."),
        anchor="published",
    )
