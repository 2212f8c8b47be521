"""Every file of a run, an export and a cache is deleted, cut, changed by a bit or a value, and added to.

What is asked of it then either says in one line what is wrong, or gives what the whole files give: no traceback, and no
difference in silence.
"""

import json
import logging
import random
import shutil

import jax
import numpy as np
import pytest

import fsjax
from fsjax.data import load_splits
from fsjax.errors import UserError
from fsjax.export import export
from fsjax.exported import ExportError, load
from fsjax.report.collect import collect

SEED, TIMES = 20261130, 2
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


def damages(content, draw):
    """Files in the place of one: None is none."""
    yield "deleted", None
    yield "empty", b""
    yield "appended", content + b"\0x"
    for _ in range(TIMES):
        yield "cut", content[: draw.randrange(max(1, len(content)))]
        place = draw.randrange(max(1, len(content)))
        yield (
            "flipped",
            content[:place]
            + bytes(b ^ (1 << draw.randrange(8)) for b in content[place : place + 1])
            + (content[place + 1 :]),
        )
    for text in (b"{}", b"[]", b"null", b'"x"', b"[" * 20_000, b"\xff\xfe"):
        yield "replaced", text


def trials(folder, *, pick=lambda path: True, most=None):
    """Damages of the files of a folder, one at a time; each is set right before the next."""
    draw = random.Random(SEED)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and pick(path))
    assert files
    found = [(path, kind, new) for path in files for kind, new in damages(path.read_bytes(), draw)]
    for path, kind, new in draw.sample(found, most) if most and most < len(found) else found:
        whole = path.read_bytes()
        path.unlink() if new is None else path.write_bytes(new)
        yield f"{path.relative_to(folder)} {kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)


@pytest.fixture
def said(caplog):
    """Whether anything was logged, by what is done with it; forgets what was logged before."""

    def count():
        lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name == "fsjax"]
        caplog.clear()
        return lines

    return count


def bits(run):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves((run.params, run.collections))]


def copied(source, target):
    shutil.copytree(source, target)
    return target


def test_files_of_a_run(digits_run, tmp_path, said):
    """Without the checkpoint's own files these are for people: the network, its classes and its input stay the same."""
    folder = copied(digits_run[0], tmp_path / "run")
    whole = fsjax.restore(folder)
    expected, info, config = bits(whole), whole.info, whole.config.to_dict()
    changed = {"config.json", "data.json"}
    written = ("config.json", "data.json", "metrics.jsonl", "result.json")
    for trial in trials(folder, pick=lambda path: path.parent == folder and path.name in written, most=24):
        said()
        try:
            run = fsjax.restore(folder)
            summary = run.summary()
            page = collect([folder])
        except UserError as error:
            assert "\n" not in str(error), trial
            continue
        warned = said()
        assert bits(run) == expected, trial
        assert run.info == info and run.config.to_dict() == config, trial
        name, kind = trial.split()
        if name in changed and kind not in ("deleted",):
            same = json_of(folder / name) == json_of(digits_run[0] / name)
            assert same or any(f"{name} is damaged or was changed" in line for line in warned), trial
        if name == "result.json" and json_of(folder / name) is None:
            assert "damaged" in summary or "not finished" in summary, trial
        assert page, trial


def json_of(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None


@pytest.mark.slow
def test_files_of_checkpoints(digits_run, tmp_path, said):
    """A checkpoint that is not what was written is named, and another one used, or none."""
    folder = copied(digits_run[0], tmp_path / "run")
    steps = sorted(int(path.name) for path in (folder / "checkpoints" / "latest").iterdir())
    whole = fsjax.restore(folder, which="latest")
    expected, info = bits(whole), whole.info
    newest = folder / "checkpoints" / "latest" / str(steps[-1])
    for trial in trials(newest, most=60):
        said()
        try:
            run = fsjax.restore(folder, which="latest")
        except UserError as error:
            assert "\n" not in str(error), trial
            continue
        warned = said()
        if run.step == steps[-1]:
            assert bits(run) == expected and run.info == info, trial
        else:
            assert any("is damaged" in line for line in warned), trial


def test_files_of_an_export(digits_run, tmp_path):
    folder = tmp_path / "export"
    export(fsjax.restore(digits_run[0]), folder, platforms=("cpu",))
    expected = load(folder).probabilities(IMAGES)
    for trial in trials(folder, pick=lambda path: path.suffix != ".py", most=60):
        try:
            found = load(folder).probabilities(IMAGES)
        except ExportError:
            continue
        np.testing.assert_array_equal(found, expected, err_msg=trial)


def test_files_of_a_cache(tmp_path, said):
    """What was decoded is decoded again, and said so."""
    config = {"name": "digits", "backend": "device", "cache": str(tmp_path)}
    expected = load_splits(config, seed=0).train.images
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for trial in trials(folder, most=60):
        found = load_splits(config, seed=0)
        np.testing.assert_array_equal(found.train.images, expected, err_msg=trial)
        again = any("decoded again" in note for note in found.notes)
        assert again or trial.startswith("checked.json") or "manifest" in trial or "deleted" in trial, trial
