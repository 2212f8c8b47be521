"""Files written whole or not at all, and locks between processes."""

import errno
import json
import subprocess
import sys

import pytest

from fsjax import files
from fsjax.errors import UserError


def test_a_lock_keeps_another_process_out_until_it_ends(tmp_path):
    """The other one is a real process, which is killed: the system frees its lock."""
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib; from fsjax.files import locked\n"
            "with locked(pathlib.Path(sys.argv[1]), wait=False) as alone: print(alone, flush=True); time.sleep(600)",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(files.BusyError), files.locked(path, wait=False):
            pass
    finally:
        holder.kill()
        holder.wait()
    with files.locked(path, wait=True) as alone:
        assert alone
        with pytest.raises(files.BusyError), files.locked(path, wait=False):
            pass
    with files.locked(path, wait=False) as alone:
        assert alone


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def none(*_, **__):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with files.locked(tmp_path / ".lock", wait=False) as alone:
        assert not alone
    with pytest.raises(OSError), files.locked(tmp_path / "none" / ".lock", wait=False):
        pass


def test_all_files_are_written_or_none(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"b cannot be written: it is a folder; choose another place"):
        files.write_files({tmp_path / "a": "new", tmp_path / "b": "new"})
    assert (tmp_path / "a").read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    files.write_json(tmp_path / "a", {"ä": [1, 2]})
    assert json.loads((tmp_path / "a").read_text()) == {"ä": [1, 2]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_full_disk_is_noticed_and_nothing_is_left(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(files.CannotWriteError, match="a cannot be written: No space left on device; choose another"):
        files.write_file(tmp_path / "a", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]
