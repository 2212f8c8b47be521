"""Labels as a CSV file."""

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsjax.labelling.labels import Labelled

COLUMNS = ("file", "label", "probability", "runner_up", "runner_up_probability", "score", "rejected", "note")
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_csv(labelled: "Labelled") -> str:
    """The rows of a `fsjax.labelling.Labelled`, one per picture, in order, under a line of names.

    Text that a spreadsheet would run as a formula (it begins with = + - @, a tab or a new line) is kept from it: a file
    name gets "./" in front, which is the same file, and the name of a class an apostrophe, as OWASP advises.
    Empty are: label and all numbers of a picture that cannot be read, and the probability of one that is rejected.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in labelled.rows:
        numbers = [
            "" if number is None else f"{number:.6g}"
            for number in (row.probability, row.runner_up_probability, row.score)
        ]
        writer.writerow(
            (
                _safe(row.name, "./"), _safe(row.label, "'"), numbers[0], _safe(row.runner_up, "'"), numbers[1],
                numbers[2], str(row.rejected).lower(), _safe(row.note, "'"),
            )
        )  # fmt: skip
    return text.getvalue()


def _safe(text: str, prefix: str) -> str:
    """The text in UTF-8, whatever the bytes of a file's name are, and no formula."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return prefix + text if text.startswith(_FORMULA) else text
