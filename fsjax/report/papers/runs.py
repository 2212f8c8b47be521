"""What the runs of a user have to show: figures of the test in their folders, and files of `fsjax evaluate --out`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.files import parse_json
from fsjax.report.collect import collect, flat
from fsjax.report.papers.differences import complete


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run with its figures.

    Attributes:
      name: what it is called.
      config: flat, see `fsjax.report.papers.differences.complete`.
      test: figures of ordinary test images by name: "accuracy".
      figures: the facts of figures of few-shot tasks, see `fsjax.evaluation.few_shot.protocol.Figure`.
      seed: of the training.
      why_empty: why there are no figures, in words; "" where there are.
    """

    name: str
    config: dict[str, Any]
    test: Mapping[str, Any]
    figures: list[dict[str, Any]]
    seed: int
    why_empty: str = ""


def run_of(name: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> Run:
    """A run of what its `config.json` and `result.json` hold; the latter is empty for one that is not finished."""
    test = result.get("test") or {}
    why = "" if test else "no test data" if result else "not finished: it has no result.json"
    whole = complete(flat(config))
    return Run(name, whole, test, list(test.get("figures", [])), int(whole["seed"]), why)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs by their folders, and by files of `fsjax evaluate --out`, whose figures are added to their runs'.

    Raises:
      UserError: for what is neither, is damaged, or is of a run whose folder is not there.
    """
    files = {path: _read_file(path) for path in paths if not path.is_dir()}
    folders = {path.resolve(): str(path) for path in paths if path.is_dir()}
    for path, content in files.items():
        folders.setdefault(_folder_of(path, content, folders), content["run"])
    collected = dict(zip(folders, collect(list(folders)), strict=True)) if folders else {}
    found = {}
    for folder, run in collected.items():
        if not run.config:
            raise UserError(f"{folders[folder]}: {'; '.join(run.problems)}")
        found[folder] = run_of(folders[folder], run.config, run.result)
    for path, content in files.items():
        folder = _folder_of(path, content, folders)
        figures = [*found[folder].figures, *content["figures"]]
        found[folder] = dataclasses.replace(found[folder], figures=figures, why_empty="")
    return list(found.values())


def _read_file(path: Path) -> dict[str, Any]:
    what = f"{path} is neither the workdir of a run nor a file of `fsjax evaluate RUN --out FILE.json`"
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}: give workdirs of runs, and files of `fsjax evaluate --out`") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{what} ({error})") from error
    named = isinstance(content, dict) and isinstance(content.get("run"), str)
    figures = content.get("figures") if named else None
    if not isinstance(figures, list) or not all(isinstance(f, dict) and "accuracy" in f for f in figures):
        raise UserError(f"{what} of few-shot tasks")
    return content


def _folder_of(path: Path, content: Mapping[str, Any], folders: Mapping[Path, str]) -> Path:
    """The folder of the run that a file is of: where it says, or among those that were given."""
    stated = Path(content["run"])
    places = [stated, path.parent] if path.parent.name == stated.name else [stated]
    for place in places:
        if (place / "config.json").exists():
            return place.resolve()
    given = [folder for folder in folders if folder.name == stated.name]
    if len(given) == 1:
        return given[0]
    raise UserError(f"{path} is of the run {stated}, which is not there: give the run's folder too")
