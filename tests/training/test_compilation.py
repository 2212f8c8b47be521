"""What is compiled is kept for the next process, where the user wants it."""

import json
import os
import subprocess
import sys

import jax
import pytest

from fsjax.training import compilation

SCRIPT = """
import json, sys
from collections import Counter
import jax
seen = Counter()
jax.monitoring.register_event_listener(lambda event, **_: seen.update([event.rsplit("/", 1)[-1]]))
from fsjax.messages import show_messages
show_messages()
from fsjax.configs.icu_digits import get_config
from fsjax.training import run
config = get_config()
config.model.cnn.update(stages=((4,),), dim=4)
config.train.update(epochs=0.0, steps=2, batch_size=8, log_every=1, eval_every=2, checkpoint_every=2, progress=False)
run(config, sys.argv[1])
print(json.dumps(seen))
"""


@pytest.fixture
def fresh(root, tmp_path):
    """A run in a process with a home of its own: how many programs were asked for, found and written."""

    def call(workdir, **env):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "FSJAX_", "XDG_"))}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / workdir)],
            env={**kept, "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root), **env},
            cwd=root, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return call


@pytest.mark.slow
def test_second_process_compiles_nothing(fresh, tmp_path):
    every = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    first, _ = fresh("one", **every)
    assert first["cache_misses"] > 3 and any((tmp_path / ".cache" / "fsjax" / "xla").iterdir())
    second, said = fresh("two", **every)
    assert second.get("cache_misses", 0) == 0
    assert second["cache_hits"] == second["compile_requests_use_cache"]
    assert "error" not in said.lower()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_a_line(fresh, tmp_path):
    (tmp_path / "file").write_text("")
    seen, said = fresh("run", FSJAX_CACHE=str(tmp_path / "file"))
    assert "cache_misses" not in seen and "cache_hits" not in seen
    assert said.count("compiled programs are not kept") == 1 and "FSJAX_CACHE=off" in said


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """The folder that `keep_compiled` chooses under these variables, with jax's settings put back."""
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("FSJAX_CACHE", raising=False)

    def choose(folder=None, *, enabled=True, **env):
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_enable_compilation_cache", enabled)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            compilation.keep_compiled()
        return jax.config.jax_compilation_cache_dir

    yield choose
    for name, value in before.items():
        jax.config.update(name, value)


def test_who_says_where(settings, tmp_path):
    assert settings() == str(tmp_path / ".cache" / "fsjax" / "xla")
    assert settings(FSJAX_CACHE=str(tmp_path / "mine")) == str(tmp_path / "mine" / "xla")
    assert settings(XDG_CACHE_HOME=str(tmp_path / "xdg")) == str(tmp_path / "xdg" / "fsjax" / "xla")
    assert settings("chosen") == "chosen"
    assert settings(enabled=False) is None
    assert settings(FSJAX_CACHE="off") is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX's rights")
@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_folder_that_others_may_write_to_is_not_used(settings, tmp_path, caplog, mode):
    """What lies there is run."""
    folder = tmp_path / "mine" / "xla"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert settings(FSJAX_CACHE=str(tmp_path / "mine")) is None
    assert f"compiled programs are not kept: {folder} can be written by others" in caplog.text
    folder.chmod(0o755)
    assert settings(FSJAX_CACHE=str(tmp_path / "mine")) == str(folder)


def test_what_was_not_read_for_longest_is_removed(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_MOST_BYTES", 250)
    folder = tmp_path / "mine" / "xla"
    folder.mkdir(parents=True)
    for age in (3, 1, 4, 2):
        (folder / f"{age}-cache").write_bytes(b"x" * 100)
        os.utime(folder / f"{age}-cache", (10**9 - age, 10**9 - age))
    settings(FSJAX_CACHE=str(tmp_path / "mine"))
    assert sorted(path.name for path in folder.iterdir()) == ["1-cache", "2-cache"]


def test_a_new_folder_is_the_user_s_alone(settings, tmp_path):
    before = os.umask(0o002)  # as of many systems where each user has a group
    try:
        assert settings(FSJAX_CACHE=str(tmp_path / "mine")) == str(tmp_path / "mine" / "xla")
    finally:
        os.umask(before)
    assert (tmp_path / "mine" / "xla").stat().st_mode & 0o077 == 0
