"""Few-shot tasks: which, of which classes, scored how, and what the intervals of their accuracies mean."""

__all__ = [
    "class_pools",
    "evaluator",
    "implanted",
    "intervals",
    "joint",
    "kept",
    "other_source",
    "paired",
    "protocol",
    "reconstructed",
    "statistics",
    "tasks",
]
