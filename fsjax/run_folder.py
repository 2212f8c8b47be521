"""The folder of a run: where it is, and the files in it that are JSON.

Internal: no part of the public interface.
"""

from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.files import absolute_path, parse_json

STARTER = Path(__file__).parent / "starter"


def run_folder(run: str | Path) -> Path:
    """The absolute folder of a run; "starter", where there is no such folder, is the network that comes with fsjax.

    Raises:
      UserError: for a text that can be no path.
    """
    folder = absolute_path(run, what="the run")
    return STARTER if str(run) == STARTER.name and not folder.exists() else folder


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """The object that a file of JSON holds.

    Args:
      path: of the file.
      way_out: what to do where it is damaged, for the message.

    Raises:
      UserError: for a file that holds none, or cannot be read.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        why = f"it holds {'a list' if isinstance(found, list) else repr(found)[:40]} and no object"
    except (OSError, ValueError) as error:
        why = str(error)
    raise UserError(f"{path} is damaged ({why}): {way_out}")


def read_result(folder: Path) -> dict[str, Any] | None:
    """What `result.json` of a run holds; None for a run that is not finished.

    Raises:
      UserError: for a file that no run has written so.
    """
    path, way_out = folder / "result.json", "remove it, and the command that trained the run scores it again"
    if not path.exists():
        return None
    result = read_json(path, way_out)
    test, selected, training = (result.get(name, "") for name in ("test", "selected", "training"))
    if isinstance(test, dict | None) and isinstance(training, dict) and isinstance(selected, dict):
        if isinstance(selected.get("step"), int) and isinstance(selected.get("why"), str):
            return result
    raise UserError(f"{path} is damaged (it lacks the parts of a result: test, selected, training): {way_out}")
