"""Weights from the Hugging Face hub; the package `huggingface_hub` downloads them, and keeps them in its own cache."""

import re
from pathlib import Path

from fsjax.errors import UserError

PREFIX = "hf://"
EXAMPLE = "timm/resnet50.tv_in1k"
# As timm, and all that follow the hub's custom, call a model's only file of weights.
_FILE = "model.safetensors"
_NAME = re.compile(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?")


def is_name(name: str) -> bool:
    """Whether this may be a model of the hub, "owner/model" or "owner/model@revision", after "hf://" or not."""
    return _NAME.fullmatch(name.removeprefix(PREFIX)) is not None


def download(name: str) -> Path:
    """The file of weights of a model of the hub, downloaded unless it is there.

    Without a network, what was downloaded before is found.

    Args:
      name: see `is_name`; a revision is a branch, a tag or a commit.

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
    try:
        return Path(hf_hub_download(model, _FILE, revision=revision or None))
    except Exception as error:  # those of its HTTP libraries, which change, share no class
        reasons = {  # in order: some are special cases of others
            errors.LocalEntryNotFoundError: f"it cannot be reached, and the model's {_FILE} is not in its cache; "
            "download that file where there is a network, and give its path",
            errors.GatedRepoError: "the model is given out on request only",
            errors.RepositoryNotFoundError: "it has no such model, or not for everyone",
            errors.RevisionNotFoundError: f"the model has no revision {revision!r}",
            errors.EntryNotFoundError: f"the model has no {_FILE}; download another file, and give its path",
        }
        fitting = [why for kind, why in reasons.items() if isinstance(error, kind)]
        why = fitting[0] if fitting else f"{type(error).__name__}: {error}"
        raise UserError(f"there is no file {name}, nor can it be had from the Hugging Face hub: {why}") from error
