"""The metrics by name that an evaluation can have beside its own: `--config.eval.metrics=worst_class_accuracy`.

To add one: a function like those of `fsjax.evaluation.chosen_metrics`, and here its line in `METRICS`.
"""

from fsjax.options.section import NoOptions
from fsjax.options.table import Choice, Table

METRICS = Table(
    "metrics",
    {
        "worst_class_accuracy": Choice(NoOptions, "fsjax.evaluation.chosen_metrics:worst_class_accuracy"),
        "geometric_mean_accuracy": Choice(NoOptions, "fsjax.evaluation.chosen_metrics:geometric_mean_accuracy"),
    },
)
