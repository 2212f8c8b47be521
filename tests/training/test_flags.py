"""The command line of train.py, as a user types it."""

import pytest

from fsjax.errors import UserError
from fsjax.training import flags
from fsjax.training.flags import check_overrides, load_config


@pytest.fixture
def overrides(root):
    def call(*args):
        check_overrides(["train.py", *args], root / "configs" / "icu_digits.py")

    return call


def test_good_lines_pass(overrides, root):
    overrides()
    overrides("--config.loss.name=lgm", "--config.loss.lgm.alpha=0.3", "--workdir=x", "--config.train.steps=5")
    overrides(f"--config={root}/configs/icu_cifar_lt.py:cifar100,50", "--config.schedule.boundaries=(1,2)")
    overrides("--config", f"{root}/configs/icu_cifar100.py:smoke", "--config.model.vgg13.widths=(8,8,8)")
    with pytest.raises(UserError, match="unknown config file"):
        overrides("--config", "nowhere.py")
    with pytest.raises(UserError, match="has no function get_config"):
        overrides(f"--config={root}/configs/common.py")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.los.name=lgm", "unknown .*'los'; known: .*loss.*Did you mean 'loss'"),
        ("--config.loss.nam=lgm", "unknown .*'nam'; known: .*name.*Did you mean 'name'"),
        ("--config.seed.x=1", "config.seed is a value, 0, and has no keys"),
    ],
)
def test_mistyped_keys_answer_with_the_valid_ones(overrides, argument, message):
    with pytest.raises(UserError, match=message):
        overrides(argument)


def test_mistyped_config_file_lists_those_that_are_there(overrides, root):
    with pytest.raises(UserError, match=r"unknown config file .*icu_mnits.py'; known: .*icu_mnist.py"):
        overrides(f"--config={root}/configs/icu_mnits.py")
    with pytest.raises(UserError, match=r"known: .*icu_mnist.py"):
        load_config("nowhere/at/all.py")


def test_mistyped_variant_lists_the_variants(overrides, root):
    with pytest.raises(UserError, match="no variant 'smok'; there are: 2d, 100d, smoke"):
        overrides(f"--config={root}/configs/icu_mnist.py:smok")


def test_process_prints_one_line_and_exits_with_2(python):
    done = python("train.py", "--config.loss.nam=lgm", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown key in --config.loss: 'nam'; known: ")
    assert "Traceback" not in done.stderr
    done = python("train.py", "--config.loss.name=lgn", "--workdir=/nonexistent", check=False)
    assert done.returncode == 2
    assert "error: unknown loss 'lgn'" in done.stderr
    assert "'lgm'" in done.stderr


@pytest.mark.parametrize("platform", ["cuda", "nope"])
def test_a_platform_that_is_not_here_is_one_line(python, tmp_path, platform):
    line = ("train.py", "--config=configs/icu_digits.py:smoke", f"--workdir={tmp_path / 'run'}")
    done = python(*line, check=False, JAX_PLATFORMS=platform)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: JAX_PLATFORMS={platform!r} names what JAX does not find here (")
    assert "Traceback" not in done.stderr


def test_a_second_interruption_is_one_line(capsys):
    """The first one lets the run save; the second raises in the middle of it."""
    with pytest.raises(SystemExit) as ended, flags._user_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == (
        "interrupted at once: the same command continues the run from its last checkpoint\n"
    )


@pytest.mark.parametrize("text", ["x" * 5000, "~nouser-of-this-name/x"])
def test_a_workdir_that_can_be_no_path_is_one_line(python, text):
    done = python("train.py", "--config=configs/icu_digits.py:smoke", f"--workdir={text}", check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: --workdir '")
    assert "Traceback" not in done.stderr
