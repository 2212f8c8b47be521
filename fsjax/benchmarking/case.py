"""What is measured: a config, on its own data or on noise of their shape, and how often."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fsjax import data
from fsjax.config import check
from fsjax.data.config import NO_CACHE
from fsjax.errors import UserError
from fsjax.training.experiment import Experiment, build_experiment

# More than any measurement takes: a run's own length has no part in its speed.
_STEPS = 1_000_000
# Sources whose images are made here: there is nothing to keep of them.
_MADE = ("fake", "planted")
_SYNTHETIC = re.compile(r"(\d+)x(\d+)x(\d+):(\d+)")


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A config to measure.

    Attributes:
      config: changed so that nothing but speed is left of it.
      label: how the user names the config: its file, with the variant.
      repeats: runs of which the median is taken, at least 1; a first one that compiles comes on top.
      seconds: how long a run is at least, so that clocks and dispatches do not show.
      chosen: the feed that the user asks for, `config.data.backend`; "": none in particular.
      changes: what else the user changed of the config, by key, for the figures to tell.
      synthetic: the shape of the noise that took the place of the data; "": none did.
    """

    config: ConfigDict
    label: str = ""
    repeats: int = 5
    seconds: float = 1.0
    chosen: str = ""
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    synthetic: str = ""

    @classmethod
    def of(cls, config: ConfigDict, *, synthetic: str = "", backend: str = "", **more: Any) -> "Case":
        """The case of a run's config.

        Args:
          config: a run's; it is copied.
          synthetic: "HEIGHTxWIDTHxCHANNELS:CLASSES": noise of this shape takes the place of the data; "": its own.
          backend: takes the place of `config.data.backend`; "" leaves it.
          **more: the other attributes.

        Raises:
          UserError: for a config that is none, and values that cannot be.
        """
        config = config.copy_and_resolve_references()
        config.train.update(steps=_STEPS, epochs=0.0, progress=False)
        if backend:
            _set_backend(config, backend)
        if synthetic:
            _put_noise(config, synthetic)
        if config.data.name in _MADE:
            config.data.cache = NO_CACHE
        check(config)
        case = cls(config, chosen=backend, synthetic=synthetic, **more)
        if case.repeats < 1 or case.seconds < 0:
            raise UserError(f"--repeats={case.repeats} must be at least 1, and --seconds={case.seconds:g} at least 0")
        return case

    def with_backend(self, backend: str) -> "Case":
        """The same with batches from this backend."""
        config = self.config.copy_and_resolve_references()
        _set_backend(config, backend)
        return dataclasses.replace(self, config=config)

    @functools.cached_property
    def splits(self) -> data.Splits:
        """The data."""
        return data.load_splits(self.config.data, seed=self.config.seed)

    @functools.cached_property
    def experiment(self) -> Experiment:
        """What a run of the config builds."""
        return build_experiment(self.config, self.splits)

    @property
    def facts(self) -> dict[str, Any]:
        """What a figure is of."""
        config, model = self.config, self.config.model
        method = self.experiment.method
        rows = (
            method.episodes.rows if method.episodes is not None else config.train.batch_size // config.train.accumulate
        )
        return {
            "config": self.label,
            "set": dict(sorted(self.changes.items())),
            "synthetic": self.synthetic,
            "method": config.method.name,
            "model": model.name,
            "options": {k: v for k, v in model.get(model.name, {}).items() if v is not None},
            "dtype": model.dtype,
            "remat": model.remat,
            "image": list(self.splits.info.image_shape),
            "data": self.splits.info.name,
            "backend": config.data.backend,
            "batch": rows * config.train.accumulate,
            "accumulate": config.train.accumulate,
            "steps_per_dispatch": config.train.steps_per_dispatch,
            "eval_batch": config.eval.batch_size,
        }


def _set_backend(config: ConfigDict, backend: str) -> None:
    config.data.backend = backend


def _put_noise(config: ConfigDict, shape: str) -> None:
    """Noise instead of a config's data, enough of it for its batches and tasks."""
    found = _SYNTHETIC.fullmatch(shape)
    if found is None:
        raise UserError(f"--synthetic={shape}: must be HEIGHTxWIDTHxCHANNELS:CLASSES, such as 32x32x3:100")
    height, width, channels, classes = map(int, found.groups())
    tasks = _images_of_a_class(config)
    each = max(24 + tasks, -(-2 * config.train.batch_size // classes))
    config.data.update(name="fake", path="", test_split="test", channels=0, clusters="", on_error="raise")
    # Random resized crops are to some size; and nothing here asks for validation images, of which few leave none.
    cropped = config.data.augment.crop == "random_resized"
    config.data.update(image_size=min(height, width) if cropped else 0, validation=0.0)
    config.data.fake.update(
        height=height, width=width, channels=channels, num_classes=classes, train=each * classes, test=tasks * classes
    )
    config.data.limit.update(train=0, test=0)
    config.data.keep_test = False
    if config.data.class_split.name:
        config.data.class_split.update(name="share", validation=0.16, test=0.2, seed=0)
    if config.data.base_holdout:
        config.data.base_holdout = tasks


def _images_of_a_class(config: ConfigDict) -> int:
    """The most that an episode or a task of the config takes of a class, and no fewer than 24."""
    own, validation, episodes = config.few_shot, config.few_shot.validation, config.episodes
    sizes = [(own.shots, own.query), (validation.shot, validation.query), (episodes.shot, episodes.query)]

    def largest(value: Any) -> int:
        return max(map(largest, value)) if isinstance(value, tuple | list) else value

    return max(24, *(largest(shot) + largest(query) for shot, query in sizes))
