import gc
import logging
import os
import shutil
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.errors import UserError
from fsjax.training.checkpoints import Checkpoints, DamagedError, load, load_metadata, steps_in


def make_state(seed):
    params = {
        "encoder": {"kernel": jax.random.normal(jax.random.key(seed), (64, 64)), "bias": jnp.arange(7.0)},
        "loss": {"means": jnp.full((3,), seed, jnp.bfloat16), "flag": jnp.array(True)},
    }
    return {"step": jnp.int32(seed), "params": params, "opt_state": optax.adam(0.1).init(params)}


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1 to 3, of which the last two stay."""
    path = tmp_path / "checkpoints" / "latest"
    with Checkpoints(path, keep=2, metadata={"config": {"a": [1, 2]}}) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make_state(step))
    return path


def largest_file(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_round_trip(folder):
    assert steps_in(folder) == [2, 3]
    assert_equal(load(folder, 3, make_state(0)), make_state(3))
    assert load_metadata(folder, 2) == {"config": {"a": [1, 2]}}


def test_parts_of_a_state(folder):
    parts = {"params": make_state(0)["params"]}
    assert_equal(load(folder, 2, parts), {"params": make_state(2)["params"]})


def test_latest_of_nothing_is_none(tmp_path):
    with Checkpoints(tmp_path / "new", keep=1) as checkpoints:
        assert checkpoints.load_latest(make_state(0)) is None
        assert checkpoints.newest() is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "missing"])
def test_damaged_latest_is_reported_and_the_one_before_is_used(folder, caplog, damage):
    file = largest_file(folder / "3" / "state" / "d")
    raw = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        raw[len(raw) // 2] ^= 1
        file.write_bytes({"truncate": raw[: len(raw) // 2], "flip": raw, "empty": b""}[damage])
    with pytest.raises(DamagedError, match="checkpoint .*3 is damaged"):
        load(folder, 3, make_state(0))
    with caplog.at_level(logging.WARNING, "fsjax"), Checkpoints(folder, keep=2) as checkpoints:
        step, state = checkpoints.load_latest(make_state(0))
        assert step == 2
        assert_equal(state, make_state(2))
        checkpoints.save(3, make_state(3))  # the run goes on, and writes this step again
    assert "is damaged" in caplog.text
    assert (folder.parent / "damaged-latest-3").is_dir()
    assert_equal(load(folder, 3, make_state(0)), make_state(3))


@pytest.mark.slow
def test_every_flipped_byte_is_noticed_or_harmless(folder, tmp_path):
    """A bit is flipped in turn in every file of a checkpoint: what loads is what was written, facts included."""
    rng = np.random.default_rng(0)
    noticed = []
    files = sorted(p for p in (folder / "3").rglob("*") if p.is_file() and p.stat().st_size)
    for number, file in enumerate(files):
        copy = tmp_path / str(number) / "3"
        shutil.copytree(folder / "3", copy)
        target = copy / file.relative_to(folder / "3")
        raw = bytearray(target.read_bytes())
        raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        target.write_bytes(raw)
        try:
            assert_equal(load(copy.parent, 3, make_state(0)), make_state(3))
            assert load_metadata(copy.parent, 3) == {"config": {"a": [1, 2]}}
        except DamagedError:
            noticed.append(file.name)
    assert "_METADATA" in noticed and any(name.isalnum() and len(name) == 32 for name in noticed)


def test_digest_notices_what_the_files_do_not(folder, monkeypatch):
    """Arrays that read well but are others: two elements exchanged, as no checksum of the format was asked."""
    import fsjax.training.checkpoints as module

    real = module.ocp.load

    def exchanged(*args, **kwargs):
        tree = real(*args, **kwargs)
        kernel = tree["state"]["params.encoder.kernel"]
        tree["state"]["params.encoder.kernel"] = kernel.at[0].set(kernel[1]).at[1].set(kernel[0])
        return tree

    monkeypatch.setattr(module.ocp, "load", exchanged)
    with pytest.raises(DamagedError, match="not the ones that were written"):
        load(folder, 3, make_state(0))


def test_all_damaged(folder):
    for step in (2, 3):
        largest_file(folder / str(step) / "state" / "d").write_bytes(b"")
    with (
        Checkpoints(folder, keep=2) as checkpoints,
        pytest.raises(UserError, match="none of the checkpoints"),
    ):
        checkpoints.load_latest(make_state(0))


def test_state_of_another_model_is_named(folder):
    other = make_state(0)
    other["params"]["encoder"]["kernel"] = jnp.zeros((64, 65))
    with pytest.raises(UserError, match=r"params.encoder.kernel is \(64, 64\) there and \(64, 65\) in this config"):
        load(folder, 3, other)


def test_half_written_checkpoints_are_not_read(folder):
    half = folder / "4.orbax-checkpoint-tmp-17"
    shutil.copytree(folder / "3", half)
    assert steps_in(folder) == [2, 3]
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.load_latest(make_state(0))[0] == 3
    assert not half.exists()


def test_drop_after(folder):
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.drop_after(2)
        checkpoints.save(3, make_state(9))
    assert_equal(load(folder, 3, make_state(0)), make_state(9))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts this process's descriptors in /proc")
def test_saves_leave_nothing_open(tmp_path):
    """A run of 1,000 checkpoints would end at the limit of descriptors if each left one."""

    def held():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    with Checkpoints(tmp_path / "latest", keep=2) as checkpoints:
        for step in range(5):
            checkpoints.save(step, make_state(step))
        checkpoints.wait()
        before = held()
        for step in range(5, 30):
            checkpoints.save(step, make_state(step))
        checkpoints.wait()
        assert all(now <= then for now, then in zip(held(), before, strict=True)), (held(), before)
    assert steps_in(tmp_path / "latest") == [28, 29]
