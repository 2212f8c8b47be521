"""Evaluation: tasks, protocols, figures with their intervals, and what embeddings look like; a module each.

`from fsjax.evaluation import metrics` imports one.
"""

__all__ = [
    "activation_maps",
    "classified",
    "clusters",
    "contrastive",
    "embedding_maps",
    "few_shot",
    "figures",
    "gate_figure",
    "gate_statistics",
    "gates",
    "geometry",
    "implanted",
    "incremental",
    "intervals",
    "joint",
    "kept",
    "linear",
    "localization",
    "metrics",
    "neural_collapse",
    "other_source",
    "paired",
    "parts",
    "passes",
    "protocol",
    "rcal",
    "reconstructed",
    "scatter",
    "sessions",
    "statistics",
    "tasks",
    "widths",
]
