"""Evaluation: few-shot tasks and their intervals, what embeddings look like, and what single papers measure.

`from fsjax.evaluation.few_shot import protocol` imports a module.
"""

__all__ = ["analysis", "chosen_metrics", "classified", "few_shot", "metrics", "over_split", "papers"]
