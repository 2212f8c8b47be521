"""Papers' tables beside what was measured: `show("dc", [], None)`, and `beside(config, result)` of one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsjax.errors import UserError, unknown
from fsjax.report.papers import aflm, dense, few_figures, icu, localization, prototypical
from fsjax.report.papers.matching import groups_of, matches_of
from fsjax.report.papers.runs import read_runs, run_of
from fsjax.report.papers.tables import Paper
from fsjax.report.papers.text import in_words, paper_text

PAPERS: dict[str, Paper] = {
    "icu": icu.PAPER,
    "dc": dense.PAPER,
    "aflm": aflm.PAPER,
    "localization": localization.PAPER,
    "proto": prototypical.PAPER,
    "metabaseline": few_figures.META_BASELINE,
    "teen": few_figures.TEEN,
    "msenet": few_figures.MSENET,
}

__all__ = ["PAPERS", "beside", "show"]


def show(name: str, runs: Sequence[Path], out: Path | None) -> None:
    """Print a paper's tables with what was measured of them and the command of every cell, or write them.

    Args:
      name: of `PAPERS`.
      runs: workdirs of runs, and files of `fsjax evaluate --out`, whose figures are to stand beside the paper's.
      out: a file to write, `.md` or `.html`; None prints.

    Raises:
      UserError: for an unknown name, what cannot be read as a run, and a file that cannot be written.
    """
    from fsjax.pages import write_page
    from fsjax.report.papers.document import html, markdown

    if name not in PAPERS:
        raise unknown("paper", name, PAPERS)
    if out is not None and out.suffix not in (".md", ".html"):
        raise UserError(f"--out={out}: the name must end with .md or .html")
    paper = PAPERS[name]
    blocks = list(paper_text(paper, read_runs(runs)))
    document = (html if out is not None and out.suffix == ".html" else markdown)(paper.title, blocks)
    if out is None:
        print(document, end="")
        return
    write_page(out, document)
    print(f"{paper.title}: {out}")


def beside(config: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The published figures that a run is to be held against.

    Args:
      config: what the run's `config.json` holds.
      result: what its `result.json` holds; empty for a run that is not finished.

    Returns:
      For each cell of a paper's tables that the run has a figure for: paper, table and cell in words; the paper's
      value; the run's; and by what it departs from the recipe ("The recipe" where it does not). Empty where no paper
      has a figure for this run.
    """
    if not config:
        return []
    run = run_of("this run", config, result)
    found = []
    for name, paper in PAPERS.items():
        for group in groups_of(matches_of(run, paper)):
            match = group.matches[0]
            cell = f"{name}, {match.table.title}: {match.row}, {match.column}"
            found.append((cell, match.table.cells[match.row, match.column], group.text, in_words(match.departs)))
    return found
