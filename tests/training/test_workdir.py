import errno
import json
import os
import subprocess
import sys

import pytest

from fsjax.errors import UserError
from fsjax.training import workdir

CONFIG = {
    "loss": {"name": "icu", "icu": {"alpha": 0.1}},
    "parallel": {"num_devices": 1},
    "data": {"path": "a"},
}


def test_config_is_stored_and_the_same_one_is_accepted(tmp_path):
    path = workdir.prepare(tmp_path / "new" / "run", CONFIG, write=True)
    assert json.loads((path / "config.json").read_text()) == CONFIG
    assert workdir.prepare(path, CONFIG, write=True) == path


def test_another_config_is_refused_and_the_difference_named(tmp_path):
    workdir.prepare(tmp_path, CONFIG, write=True)
    other = {**CONFIG, "loss": {"name": "lgm", "icu": {"alpha": 0.1}}}
    with pytest.raises(UserError, match="another config: loss.name is 'icu' there and 'lgm' here.*--workdir"):
        workdir.prepare(tmp_path, other, write=True)


def test_devices_and_the_place_of_the_data_may_change(tmp_path):
    workdir.prepare(tmp_path, CONFIG, write=True)
    workdir.prepare(tmp_path, {**CONFIG, "parallel": {"num_devices": 4}, "data": {"path": "b"}}, write=True)


def test_workdir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the workdir .*file.*--workdir"):
        workdir.prepare(tmp_path / "file", CONFIG, write=True)


def test_full_disk_while_training_is_said_in_words(tmp_path):
    with pytest.raises(UserError, match=r"No space left on device .*MiB free.*continues the run"), \
            workdir.disk_errors(tmp_path):  # fmt: skip
        # TensorStore's text for it, in an exception of its own.
        raise ValueError(
            f"UNKNOWN: Error writing file: [OS error {errno.ENOSPC}: {os.strerror(errno.ENOSPC)}]"
        )


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(KeyError), workdir.disk_errors(tmp_path):
        raise KeyError("a bug")


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits file sizes through resource.RLIMIT_FSIZE"
)
def test_no_room_for_the_first_file(tmp_path):
    """A real write that fails: the process may write no file above 64 KiB."""
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n"
        "from fsjax.training import workdir\n"
        f"workdir.prepare({str(tmp_path)!r}, {{}}, write=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: cannot write the workdir" in done.stderr
