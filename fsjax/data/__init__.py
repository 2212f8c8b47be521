"""Data: sources, splits of a run, and their batches. Nothing here imports jax.

splits = load_splits(config.data, seed=0)
for batch in train_batches(splits.train, ...): ...
"""

from fsjax.data.check import DataCheck, check_data
from fsjax.data.check.before_training import describe
from fsjax.data.clusters import save_clusters
from fsjax.data.config import default_config, parse_config
from fsjax.data.errors import DataError
from fsjax.data.examples import ArrayExamples, Examples, StreamExamples, images_at
from fsjax.data.info import DataInfo, normalize
from fsjax.data.load import Splits, load_splits, view_of
from fsjax.data.own_pictures import (
    labelled_files,
    named_pictures,
    open_pictures,
    own_view,
    picture_files,
    read_pictures,
)
from fsjax.data.pipeline.batches import episode_batches, eval_batches, train_batches
from fsjax.data.pipeline.episode_spec import ends
from fsjax.data.pipeline.episodes import (
    ClassTable,
    EpisodeDigest,
    Episodes,
    EpisodeSpec,
    check_feasible,
    class_table,
    draw_episodes,
    load_episodes,
    parse_spec,
)
from fsjax.data.reconstructed import Reconstructed, ReconstructedOptions, reconstruct
from fsjax.data.sources import SOURCES
from fsjax.data.store.content import content_digest, watched

__all__ = [
    "SOURCES",
    "ArrayExamples",
    "ClassTable",
    "DataCheck",
    "DataError",
    "DataInfo",
    "EpisodeDigest",
    "EpisodeSpec",
    "Episodes",
    "Examples",
    "Reconstructed",
    "ReconstructedOptions",
    "Splits",
    "StreamExamples",
    "check_data",
    "check_feasible",
    "class_table",
    "content_digest",
    "default_config",
    "describe",
    "draw_episodes",
    "ends",
    "episode_batches",
    "eval_batches",
    "images_at",
    "labelled_files",
    "load_episodes",
    "load_splits",
    "named_pictures",
    "normalize",
    "open_pictures",
    "own_view",
    "parse_config",
    "parse_spec",
    "picture_files",
    "read_pictures",
    "reconstruct",
    "save_clusters",
    "train_batches",
    "view_of",
    "watched",
]
