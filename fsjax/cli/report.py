"""One HTML page of one or several runs, or a paper's tables with what was measured beside.

    fsjax report runs/icu                                             # writes report.html
    fsjax report runs/gap runs/dc --out gap_dc.html --tasks 10000
    fsjax report runs/icu --split validation --pictures 24
    fsjax report runs/* --no-data                                     # from the runs' files alone, at once
    fsjax report --paper dc                                           # the tables of the paper, on the terminal
    fsjax report --paper dc runs/dc_fc100 --out dc.html               # with the figures of this run (.md or .html)

The page shows the summary of each run and how their configs differ; curves; of runs that classify the split their
confusions, accuracy by class and most confident mistakes, with activation maps where the network has them; of runs
whose classes are divided the few-shot figures, and the worst tasks with their pictures; the runs paired by image or by
task; embeddings by t-SNE; and what the papers published for the same recipe. What is left out is said, with the reason.
The file needs no network and no other file.

Every image of the split goes through each network once. Few-shot tasks are those of the first run's config, so that all
runs meet the same ones, without implants; --tasks says how many.

Exit status 3: the page is written, but a file of a run is damaged, or its data or checkpoint could not be looked at.
"""

import argparse
import sys
from pathlib import Path

from fsjax.cli.arguments import add_run, check_output, path_of
from fsjax.errors import UserError
from fsjax.report.page import SPLITS, Choices, write_report

_OUT = Path("report.html")
# More would be a waste of room.
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser, nargs="*")
    parser.add_argument("--out", type=path_of, help=f"the HTML file to write ({_OUT}); with --paper .md or .html")
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose images are looked at (test)")
    parser.add_argument("--pictures", type=int, default=12, help="of a run's most confident mistakes (12); 0 for none")
    parser.add_argument("--tasks", type=int, default=1000, help="few-shot tasks of each number of shots (1000)")
    parser.add_argument("--no-data", action="store_true", help="look at the runs' files alone: no network, no images")
    parser.add_argument("--paper", metavar="NAME", help="show this paper's tables instead of a page of runs")


def run(args: argparse.Namespace) -> int | None:
    """Write the page, or show the paper's tables."""
    if args.paper is not None:
        from fsjax.report.papers import show

        show(args.paper, [Path(path) for path in args.run], args.out)
        return None
    if not args.run:
        raise UserError("give the workdir of a run, or several; or --paper NAME for the tables of a paper")
    out = args.out or _OUT
    check_output("--out", out, ".html")
    choices = Choices(
        split=args.split,
        pictures=args.pictures,
        tasks=args.tasks,
        use_data=not args.no_data,
        which=args.which,
        data_path=args.data_path,
        batch_size=args.batch_size,
    )
    if choices.use_data:
        from fsjax.training.xla import set_cpu_flags

        set_cpu_flags()
    problems = write_report(args.run, out, choices)
    for problem in problems[:_SHOWN]:
        print(f"note: {problem}", file=sys.stderr)
    print(f"{len(args.run)} run{'s' if len(args.run) > 1 else ''}: {out} ({out.stat().st_size / 2**20:.1f} MB)")
    return 3 if problems else None
