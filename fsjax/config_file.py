"""Config files, read without jax: `load_config("configs/icu_digits.py:smoke")`, and single keys of theirs set."""

import ast
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from fsjax.errors import UserError, unknown


def load_config(file: str) -> Any:
    """The config of `path/to/file.py` or `path/to/file.py:variant`.

    Raises:
      UserError: if there is no such file, or it has no such variant.
    """
    name, _, variant = file.partition(":")
    path = Path(name)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path(__file__).parents[1] / "configs"
        known = [str(p) for p in sorted(folder.glob("*.py")) if not p.name.startswith(("_", "common"))]
        raise unknown("config file", name, known)
    root = str(path.resolve().parent.parent)
    if root not in sys.path:  # for `from configs.common import base`, wherever the command is called
        sys.path.append(root)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={file}: {path.name} is no Python file; its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--config={file}: {_slip(error, path)}") from error
    if not hasattr(module, "get_config"):
        raise UserError(f"--config={file}: the file has no function get_config")
    try:
        return module.get_config(variant) if variant else module.get_config()
    except Exception as error:
        raise UserError(f"--config={file}: {_slip(error, path)}") from error


def _slip(error: Exception, path: Path) -> str:
    """What a config file has raised, and in which of its lines."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {error.msg}" + (f": {error.text.strip()}" if error.text else "")
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and str(frames[-1].line).startswith("raise "):
        return str(error)  # configs refuse a variant so, in words
    # The config's own line says more than one of a library's that it called.
    own = [frame for frame in frames if Path(frame.filename).resolve().parent == path.resolve().parent]
    where = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    return f"{where}{type(error).__name__}: {error}"


def set_text(config: Any, text: str) -> tuple[str, str]:
    """Set a key of a config by "KEY=VALUE", such as "data.augment.flip=True"; a value that is no literal is a word.

    Returns:
      The key and the value, as texts.

    Raises:
      UserError: for a text of another form, an unknown key, or a value of another type.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"--set {text}: must be KEY=VALUE, such as model.remat=True")
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        literal = value  # a plain word
    set_key(config, key, literal)
    return key.removeprefix("config."), value


def set_key(config: Any, key: str, value: Any) -> None:
    """Set the key "data.augment.flip" (or "config.data...") of a config.

    Raises:
      UserError: for an unknown key, or a value of another type.
    """
    parent, node, last = config, config, ""
    for last in key.removeprefix("config.").split("."):
        if not hasattr(node, "keys") or last not in node:
            raise unknown(f"key in --set {key}:", last, node.keys() if hasattr(node, "keys") else ())
        parent, node = node, node[last]
    try:
        parent[last] = value
    except TypeError as error:
        raise UserError(f"--set {key}={value!r}: {error}") from error
