"""Weights from the Hugging Face hub; the package `huggingface_hub` downloads them, and keeps them in its own cache."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fsjax.errors import UserError
from fsjax.files import parse_json

PREFIX = "hf://"
EXAMPLE = "timm/resnet50.tv_in1k"
CONFIG, PICTURES = "config.json", "preprocessor_config.json"
# As timm, and all that follow the hub's custom, call a model's only file of weights.
FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_NAME = re.compile(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?")


def is_name(name: str) -> bool:
    """Whether this may be a model of the hub, "owner/model" or "owner/model@revision", after "hf://" or not."""
    return _NAME.fullmatch(name.removeprefix(PREFIX)) is not None


def download(name: str) -> Path:
    """The file of weights of a model of the hub, downloaded unless it is there; config.json is beside it, if any.

    Args:
      name: see `is_name`.

    Raises:
      UserError: as `_fetched`.
    """
    path = _fetched(name, (FILE,))
    _fetched(name, (CONFIG,), needed=False)
    return path


def download_folder(name: str) -> Path:
    """The folder of a model of the hub, with its config.json, what it says of pictures, and its weights.

    Args:
      name: see `is_name`; a revision is a branch, a tag or a commit.

    Raises:
      UserError: as `_fetched` and `weight_map`.
    """
    config = _fetched(name, (CONFIG,))
    _fetched(name, (PICTURES,), needed=False)
    weights = _fetched(name, (FILE, INDEX))
    if weights.name == INDEX:
        for file in sorted(set(weight_map(weights).values())):
            _fetched(name, (file,))
    return config.parent


def read_json(path: Path) -> dict[str, Any]:
    """The object that a file of JSON holds.

    Raises:
      UserError: for a file that holds none, or cannot be read.
    """
    try:
        found = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}): get it anew") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object: get it anew")
    return found


def weight_map(index: Path) -> dict[str, str]:
    """Files by the arrays that they hold, as an index has them.

    Raises:
      UserError: if it cannot be read, or names anything but .safetensors files beside it.
    """
    found = read_json(index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise UserError(f"{index} has no weight_map of arrays to files: it is no index, or is damaged")
    for file in found.values():
        if not isinstance(file, str) or not file.endswith(".safetensors") or PurePosixPath(file).name != file:
            raise UserError(f"{index} names {file!r}: an index names .safetensors files beside it")
    return found


def _fetched(name: str, files: Sequence[str], *, needed: bool = True) -> Path:
    """The first of these files that a model of the hub has, downloaded unless it is there.

    Without a network, what was downloaded before is found.

    Args:
      name: see `is_name`; a revision is a branch, a tag or a commit.
      files: names of files.
      needed: whether it is an error if there is none; else the path is one where nothing need be.

    Raises:
      UserError: if `huggingface_hub` is not installed, there is no network, or the hub has no such file.
    """
    if not is_name(name):
        raise UserError(f"{name}: a hub's name is owner/model or owner/model@revision, such as {PREFIX}{EXAMPLE}")
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise UserError(
            f"{name}: there is no such file; to download weights by a hub's name, install huggingface_hub: pip install "
            "'fsjax[hub]'"
        ) from error
    model, _, revision = name.removeprefix(PREFIX).partition("@")
    last: Exception | None = None
    for file in files:
        try:
            return Path(hf_hub_download(model, file, revision=revision or None))
        except Exception as error:  # those of its HTTP libraries, which change, share no class
            last = error
            if not isinstance(error, errors.EntryNotFoundError):  # also of what is not kept here, without a network
                break
    if not needed and isinstance(last, errors.EntryNotFoundError):
        return Path(files[0])
    file = " or ".join(files)
    reasons = {  # in order: some are special cases of others
        errors.LocalEntryNotFoundError: f"it cannot be reached, and the model's {file} is not in its cache; "
        "download that file where there is a network, and give its path",
        errors.GatedRepoError: "the model is given out on request only",
        errors.RepositoryNotFoundError: "it has no such model, or not for everyone",
        errors.RevisionNotFoundError: f"the model has no revision {revision!r}",
        errors.EntryNotFoundError: f"the model has no {file}; download another file, and give its path",
    }
    fitting = [why for kind, why in reasons.items() if isinstance(last, kind)]
    why = fitting[0] if fitting else f"{type(last).__name__}: {last}"
    raise UserError(f"there is no file {name}, nor can it be had from the Hugging Face hub: {why}") from last
