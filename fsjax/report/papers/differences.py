"""What a run's config says that the recipe of a cell does not: whether it is of that row, and by what it departs."""

from collections.abc import Mapping, Sequence
from typing import Any

from fsjax.report.papers import recipes
from fsjax.report.papers.tables import Training

# What may differ: where a run and its data lie, on what it runs, what it shows, its seed, and its evaluation, which
# every figure states for itself.
_FREE = (
    "name", "seed", "parallel.", "model.remat", "figures.", "eval.", "data.path", "data.memory", "data.backend",
    "data.cache", "train.progress", "train.log_every", "train.checkpoint_every", "train.steps_per_dispatch",
    "few_shot.classes", "few_shot.shots", "few_shot.query", "few_shot.tasks", "few_shot.implant_tasks",
    "few_shot.seed", "few_shot.way", "few_shot.poolings",
)  # fmt: skip
# Methods that read no loss of the config.
_WITHOUT_LOSS = ("prototypical", "meta_baseline", "msenet")
# A data set by one name, whichever way it is read.
_SAME_DATA = {"cub": "caltech_birds2011", "cars196": "cars"}
# Options of optimizers and schedules, and those that read them.
_READ_BY = {
    **dict.fromkeys(("optimizer.momentum", "optimizer.nesterov"), ("sgd",)),
    **dict.fromkeys(("optimizer.b1", "optimizer.b2", "optimizer.eps"), ("adam", "adamw")),
    **dict.fromkeys(("schedule.boundaries", "schedule.factor"), ("step",)),
    "schedule.final": ("cosine", "linear"),
}
_SHOWN_FIRST = ("train.batch_size", "model.", "episodes.", "optimizer.", "schedule.")


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config with all keys.

    Those that a run of an older version lacks have the values that do what it did. Training for implants is dense
    classification, and called so; how the implants then look, their figures say.
    """
    full = recipes.base() | dict(config)
    if full["method.name"] == "implants":
        full |= {"method.name": "dense", "method.dense.reduction": full["method.implants.reduction"]}
    return full


def data_of(config: Mapping[str, Any]) -> str:
    """The data of a flat config in a word or two, the same for all ways to read them."""
    split, name = config["data.class_split.name"], config["data.name"]
    name = _SAME_DATA.get(name, name)
    if split:
        return f"{split} of {name}" if split == "share" or split.endswith(".json") else split
    ratio = config["data.longtail_ratio"]
    return f"{name}, long tail of ratio {ratio:g}" if ratio else name


def is_of_row(
    config: Mapping[str, Any],
    wanted: Mapping[str, Any],
    identity: Sequence[str],
    only: Sequence[tuple[str, Any]],
) -> bool:
    """Whether a run is of the row of a recipe, whatever its data and however far it was trained.

    Args:
      config: the run's, complete and flat.
      wanted: the recipe's, likewise.
      identity: see `Paper`; keys that the recipe does not read say nothing.
      only: see `Recipe`.
    """
    keys = [key for key in identity if _is_read(key, wanted)]
    alike = all(_entry(config, key) == _entry(wanted, key) for key in keys)
    return alike and all(config.get(key) == value for key, value in only)


def departures(config: Mapping[str, Any], training: Training) -> list[str]:
    """By what a complete flat config departs from a recipe, in words: "train.batch_size 64, not 512".

    Other data come first; what the data then have of their own (image size, splits) is not counted. Nor is the run
    that it starts from, see `fsjax.report.papers.matching`.
    """
    wanted = recipes.values(training)
    found = []
    other_data = data_of(config) != data_of(wanted)
    if other_data:
        found.append(f"data {data_of(config)}, not {data_of(wanted)}")
    (long, unit), (wanted_long, wanted_unit) = _length(config), _length(wanted)
    if (long, unit) != (wanted_long, wanted_unit):
        found.append(f"{long} {unit}, not {wanted_long}" + ("" if unit == wanted_unit else f" {wanted_unit}"))
    for key in sorted(config.keys() | wanted.keys(), key=_rank):
        if (
            key in ("start_from", "train.steps", "train.epochs")
            or key.startswith(_FREE)
            or _is_of_data(key, config, other_data)
        ):
            continue
        if not (_is_read(key, config) and _is_read(key, wanted)):
            continue
        here, there = config.get(key), wanted.get(key)
        if here != there:
            found.append(f"{key} {_short(here)}, not {_short(there)}")
    return found


def _length(config: Mapping[str, Any]) -> tuple[str, str]:
    """How long a run trains, and the unit of that."""
    steps, epochs = config["train.steps"], config["train.epochs"]
    return (f"{steps:,}", "steps") if steps else (f"{epochs:g}", "epochs")


def _rank(key: str) -> tuple[int, str]:
    place = [number for number, start in enumerate(_SHOWN_FIRST) if key.startswith(start)]
    return (place[0] if place else len(_SHOWN_FIRST), key)


def _is_of_data(key: str, config: Mapping[str, Any], other_data: bool) -> bool:
    """Whether a key only says which data are read, and how."""
    split = config["data.class_split.name"]
    return (
        key in ("data.name", "data.class_split.name", "data.longtail_ratio")
        or key.startswith(("data.fake.", "data.planted."))
        or (key.startswith("data.class_split.") and split != "share")
        or (other_data and key in ("data.train_split", "data.test_split", "data.image_size", "data.fit"))
    )


def _is_read(key: str, config: Mapping[str, Any]) -> bool:
    """Whether a run of this config reads a key: not the options of what it has not chosen."""
    section, _, rest = key.partition(".")
    if section == "loss" and config["method.name"] in _WITHOUT_LOSS:
        return False
    if section == "episodes":
        return config["train.batch_size"] == 0
    if key in _READ_BY:
        return config[f"{section}.name"] in _READ_BY[key]
    if section in ("method", "loss", "model") and "." in rest:
        return rest.partition(".")[0] == config[f"{section}.name"]
    return True


def _entry(config: Mapping[str, Any], key: str) -> Any:
    return config.get(f"model.{config['model.name']}.pool" if key == "model.pool" else key)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) < 60 else f"{text[:57]}…"
