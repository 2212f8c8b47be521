import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from fsjax.errors import UserError
from fsjax.training import run, workdir

CONFIG = {
    "loss": {"name": "icu", "icu": {"alpha": 0.1}},
    "parallel": {"num_devices": 1},
    "data": {"path": "a"},
}


DATA = {"name": "digits", "class_names": ["0", "1"], "counts": {"train": 10}}


def begin(path, config=CONFIG, data=DATA):
    """A run that took its first step here."""
    with workdir.prepared(path, config, data) as folder:
        (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    return folder


def test_config_and_data_are_stored_and_the_same_ones_are_accepted(tmp_path):
    path = begin(tmp_path / "new" / "run")
    assert json.loads((path / "config.json").read_text()) == CONFIG
    assert json.loads((path / "data.json").read_text()) == DATA
    assert begin(path) == path


def test_what_neither_run_reads_may_differ(tmp_path):
    """A run of an older version lacks the options of methods that came later, and keys with a known meaning."""
    old = {**CONFIG, "method": {"name": "dense", "dense": {"reduction": "mean"}}, "few_shot": {"validation": {}}}
    new = {**old, "method": {**old["method"], "aflm": {"tau": 10.0}}}
    new["few_shot"] = {"validation": {"classes": "validation"}, "reconstructed": {"images": 0, "seed": 0}}
    begin(tmp_path, config=old)
    begin(tmp_path, config=new)
    with pytest.raises(UserError, match="another config: few_shot.reconstructed.images is 0 there and 300 here"):
        begin(tmp_path, config={**new, "few_shot": {**new["few_shot"], "reconstructed": {"images": 300, "seed": 0}}})
    with pytest.raises(UserError, match="another config: method.dense.reduction is 'mean' there and 'sum' here"):
        begin(tmp_path, config={**new, "method": {**new["method"], "dense": {"reduction": "sum"}}})


def test_a_prototypical_run_of_before_there_were_other_losses_goes_on(tmp_path):
    old = {"similarity": "cosine", "tau": 2.0, "learn_tau": True}
    of_now = {"losses": ("cross_entropy",), "triplet_margin": 0.5, "icnn_k": 4, "icnn_ipc": None}
    of_now |= {"icnn_on": ("support",), "icnn_drop_nearest": True, **old}
    begin(tmp_path, config={**CONFIG, "method": {"name": "prototypical", "prototypical": old}})
    begin(tmp_path, config={**CONFIG, "method": {"name": "prototypical", "prototypical": of_now}})
    with pytest.raises(UserError, match="method.prototypical.losses is .*cross_entropy.* there and .*icnn"):
        changed = {**of_now, "losses": ("icnn",)}
        begin(tmp_path, config={**CONFIG, "method": {"name": "prototypical", "prototypical": changed}})


def test_a_run_of_before_a_key_of_the_data_has_its_default(tmp_path):
    new = {"path": "a", "fit": "crop", "augment": {"rotate": 0.0}}
    begin(tmp_path / "one")
    begin(tmp_path / "one", config={**CONFIG, "data": new})
    begin(tmp_path / "two")
    with pytest.raises(UserError, match="another config: data.fit is 'crop' there and 'stretch' here. Give"):
        begin(tmp_path / "two", config={**CONFIG, "data": {**new, "fit": "stretch"}})


def test_a_run_goes_on_with_its_images_elsewhere(tmp_path):
    begin(tmp_path, config={**CONFIG, "data": {"memory": "auto", "backend": "host", "cache": ""}})
    begin(tmp_path, config={**CONFIG, "data": {"memory": "arrays", "backend": "device", "cache": "/fast"}})


def test_other_data_are_refused_and_the_difference_named(tmp_path):
    begin(tmp_path)
    with pytest.raises(UserError, match="another data: counts.train is 10 there and 11 here"):
        begin(tmp_path, data={**DATA, "counts": {"train": 11}})


def test_a_run_that_never_began_may_be_given_another_config(tmp_path):
    with workdir.prepared(tmp_path, CONFIG, DATA):
        pass
    other = {**CONFIG, "loss": {"name": "lgm"}}
    with workdir.prepared(tmp_path, other, DATA) as path:
        assert json.loads((path / "config.json").read_text()) == other


def test_a_second_process_is_kept_out(tmp_path, python):
    code = f"from fsjax.training import workdir\nwith workdir.prepared({str(tmp_path)!r}, {{}}, {{}}): pass"
    with workdir.prepared(tmp_path, {}, {}):
        assert "another process is at work in the workdir" in python("-c", code, check=False).stderr
    python("-c", code)


def test_damaged_config_file_is_named(tmp_path):
    begin(tmp_path)
    (tmp_path / "config.json").write_text('{"loss": ')
    with pytest.raises(UserError, match="config.json is damaged"):
        begin(tmp_path)


def test_another_config_is_refused_and_the_difference_named(tmp_path):
    begin(tmp_path)
    other = {**CONFIG, "loss": {"name": "lgm", "icu": {"alpha": 0.1}}}
    with pytest.raises(UserError, match="another config: loss.name is 'icu' there and 'lgm' here.*--workdir"):
        begin(tmp_path, other)
    with pytest.raises(UserError, match="another config"):
        workdir.finished(tmp_path, other)


def test_devices_and_the_place_of_the_data_may_change(tmp_path):
    begin(tmp_path)
    begin(tmp_path, {**CONFIG, "parallel": {"num_devices": 4}, "data": {"path": "b"}})


def test_workdir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the workdir .*file.*--workdir"):
        begin(tmp_path / "file")


def test_full_disk_while_training_is_said_in_words(tmp_path):
    with pytest.raises(UserError, match=r"No space left on device .*MiB free.*continues the run"), \
            workdir.readable_errors(tmp_path):  # fmt: skip
        # TensorStore's text for it, in an exception of its own.
        raise ValueError(f"UNKNOWN: Error writing file: [OS error {errno.ENOSPC}: {os.strerror(errno.ENOSPC)}]")


@pytest.mark.parametrize(
    "text",
    [
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes",
        "INTERNAL: Out of memory allocating 1 bytes.",  # of a CPU
    ],
)
def test_full_device_memory_is_said_in_words(tmp_path, text):
    with pytest.raises(UserError, match="smaller --config.train.batch_size"), workdir.readable_errors(tmp_path):
        raise RuntimeError(text)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device .*MiB free"),
        (errno.EDQUOT, "Disk quota exceeded .*MiB free"),
        (errno.EMFILE, r"too many files open: raise its limit \(ulimit -n 4096\)"),
    ],
)
def test_a_disk_that_is_full_is_no_full_memory(tmp_path, number, words):
    """TensorStore calls both RESOURCE_EXHAUSTED; what the system said may be several causes away."""
    with pytest.raises(UserError, match=words), workdir.readable_errors(tmp_path):
        try:
            try:
                raise ValueError(f"RESOURCE_EXHAUSTED: Failed writing: {os.strerror(number)} [os_error_code='28']")
            except ValueError as error:
                raise ValueError("RESOURCE_EXHAUSTED: a save failed") from error
        except ValueError as error:
            raise RuntimeError("one of the threads failed") from error


def test_images_that_a_device_cannot_hold_are_said_in_words(tmp_path, digits_config, monkeypatch):
    def fail(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes")

    monkeypatch.setattr("fsjax.training.loop.build_experiment", fail)
    with pytest.raises(UserError, match="--config.data.backend=host"):
        run(digits_config(), tmp_path / "run")


def test_a_figure_without_what_draws_it_is_refused_at_the_start(tmp_path, digits_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="figures.scatter draws with matplotlib, which is not installed"):
        run(digits_config(figures__scatter=True, model__cnn__dim=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_workdir_that_is_gone_ends_the_run(digits_config, tmp_path, monkeypatch):
    """It is not made anew, with half of its files."""
    from fsjax.training import reporting

    validate, folder = reporting.Reporter.validate, tmp_path / "run"

    def remove(self, state, step):
        while step == 40 and folder.exists():  # a checkpoint may be being written there
            shutil.rmtree(folder, ignore_errors=True)
        return validate(self, state, step)

    monkeypatch.setattr(reporting.Reporter, "validate", remove)
    with pytest.raises(UserError, match="was removed, moved or replaced while the run went on: it stops here"):
        run(digits_config(), folder)
    assert not (folder / "checkpoints").exists() and not (folder / "result.json").exists()


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run", "hdfs:/run"])
def test_a_store_is_no_workdir(digits_config, tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"--workdir={address} is the address of a store.*mount the store"):
        run(digits_config(), address)
    assert not list(tmp_path.iterdir())


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(KeyError), workdir.readable_errors(tmp_path):
        raise KeyError("a bug")


def test_a_run_on_a_full_disk_ends_with_one_line(root, tmp_path):
    """A real one of 2.5 MB, in a name space of its own: it holds a checkpoint or two."""
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2500k none "$0" && "$@"', str(tmp_path)]
    try:
        subprocess.run([*mounted, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here without rights to it")
    small = ("train.steps=40", "train.checkpoint_every=1", "train.progress=False")
    done = subprocess.run(
        [*mounted, sys.executable, "train.py", "--config=configs/icu_digits.py:smoke", f"--workdir={tmp_path}/run"]
        + [f"--config.{override}" for override in small],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()
    assert said[-1].startswith(f"error: cannot write the workdir {tmp_path}/run: No space left on device (")
    assert "Traceback" not in done.stderr and "RESOURCE" not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits file sizes through resource.RLIMIT_FSIZE")
def test_no_room_for_the_first_file(tmp_path):
    """A real write that fails: the process may write no file above 64 KiB."""
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n"
        "from fsjax.training import workdir\n"
        f"with workdir.prepared({str(tmp_path)!r}, {{}}, {{}}): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: cannot write the workdir" in done.stderr
