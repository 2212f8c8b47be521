"""Data: sources, splits of a run, and their batches. Nothing here imports jax.

splits = load_splits(config.data, seed=0)
for batch in train_batches(splits.train, ...): ...
"""

from fsjax.data.batches import eval_batches, train_batches
from fsjax.data.config import default_config
from fsjax.data.describe import describe
from fsjax.data.errors import DataError
from fsjax.data.examples import ArrayExamples, Examples, StreamExamples
from fsjax.data.info import DataInfo, normalize
from fsjax.data.load import Splits, load_splits
from fsjax.data.sources import SOURCES

__all__ = [
    "SOURCES",
    "ArrayExamples",
    "DataError",
    "DataInfo",
    "Examples",
    "Splits",
    "StreamExamples",
    "default_config",
    "describe",
    "eval_batches",
    "load_splits",
    "normalize",
    "train_batches",
]
