"""The command line of training, as a user types it."""

import pytest

from fsjax import cli
from fsjax.config_file import load_config, recipes
from fsjax.errors import UserError
from fsjax.training import flags
from fsjax.training.flags import parse


def test_good_lines_are_read(root, monkeypatch):
    monkeypatch.chdir(root)
    config, workdir, _ = parse([])
    assert (config.to_dict(), workdir) == (load_config("icu_digits").to_dict(), "runs/icu_digits")
    config, workdir, _ = parse(
        ["--config.loss.name=lgm", "--config.loss.lgm.alpha=0.3", "--workdir=x", "--config.train.steps", "5"]
    )
    assert (config.loss.name, config.loss.lgm.alpha, config.train.steps, workdir) == ("lgm", 0.3, 5, "x")
    config, _, _ = parse(["--config=configs/icu_cifar_lt.py:cifar100,50", "--config.schedule.boundaries=(1,2)"])
    assert (config.data.name, config.data.longtail_ratio, config.schedule.boundaries) == ("cifar100", 50.0, (1, 2))
    config, _, _ = parse(["--noconfig.train.progress", "--config", "icu_cifar100:smoke"])
    assert config.train.progress is False
    assert parse(["--coordinator=a:1", "--num_processes=2", "--process_id=1"])[2] == {
        "coordinator": "a:1",
        "num_processes": 2,
        "process_id": 1,
    }


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_its_file_from_anywhere(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variant in ("", ":smoke"):
        config = load_config(f"{root}/configs/{name}.py{variant}").to_dict()
        assert load_config(f"{name}{variant}").to_dict() == config == parse([f"{name}{variant}"])[0].to_dict()


def test_recipes_are_the_files_of_the_folder(root):
    files = {path.stem for path in (root / "configs").glob("*.py")}
    assert set(recipes()) == {name for name in files if not name.startswith(("common", "__"))} > {"icu_digits"}
    assert all(path.is_file() for path in recipes().values())


def test_a_file_comes_before_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "from fsjax.configs.common import base\n\ndef get_config():\n    config = base()\n    config.name = 'own'\n"
    (tmp_path / "icu_mnist.py").write_text(own + "    return config\n")
    assert parse(["icu_mnist.py"])[0].name == "own"
    assert parse(["icu_mnist"])[0].name == "icu_mnist_2d"
    (tmp_path / "icu_mnist").write_text("notes of mine")
    with pytest.raises(UserError, match=r"--config=icu_mnist: icu_mnist is no Python file"):
        parse(["icu_mnist"])
    (tmp_path / "icu_digits").mkdir()  # a workdir, say
    assert parse(["icu_digits"])[0].name == "icu_digits"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.los.name=lgm", "unknown .*'los'; known: .*loss.*Did you mean 'loss'"),
        ("--config.loss.nam=lgm", "unknown .*'nam'; known: .*name.*Did you mean 'name'"),
        ("--noconfig.train.progres", "unknown .*'progres'.*Did you mean 'progress'"),
        ("--config.seed.x=1", "config.seed is a value, 0, and has no keys"),
        ("--config.seed=many", "config.seed=many.*'many'"),
        ("--workdri=x", "Unknown command line flag 'workdri'. Did you mean: workdir"),
        ("--config", "--config needs a recipe or a file behind it"),
        ("--config=icu_mnist", "one config, not icu_digits and icu_mnist"),
        ("icu_mnist", "'icu_mnist' is not understood: a config comes first"),
    ],
)
def test_what_is_mistyped_is_named(argument, message):
    with pytest.raises(UserError, match=message) as raised:
        parse(["icu_digits", argument])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("icu_mnits", "there is no recipe 'icu_mnits'; did you mean icu_mnist"),
        ("aflm", "there is no recipe 'aflm'; did you mean aflm_cifarfs, aflm_fc100, aflm_mini, aflm_tiny"),
        ("own", "there is no recipe 'own'; did you mean own.py"),
        ("nothing_like_it", "there is no recipe 'nothing_like_it'; `fsjax train --list` names the recipes"),
        ("common", "there is no recipe 'common'"),
        ("configs/icu_digits.py", r"configs/icu_digits.py: there is no such file; did you mean icu_digits\?"),
        ("my/owm.py", "my/owm.py: there is no such file; did you mean my/own.py"),
        ("my/far/off.py", "there is no such file; `fsjax train --list` names the recipes"),
        ("my", "--config=my is a folder"),
        ("x" * 5000, r"there is no recipe 'x{100}\.\.\.'"),
        ("my/own.py", "the file has no function get_config"),
        ("my/dict.py", "get_config must return a ConfigDict, not dict"),
        ("icu_mnist:smok", "no variant 'smok'; there are: 2d, 100d, smoke"),
    ],
)
def test_mistyped_configs_answer_with_near_ones(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "own.py").touch()
    (tmp_path / "my" / "own.py").touch()
    (tmp_path / "my" / "dict.py").write_text("def get_config():\n    return {}\n")
    with pytest.raises(UserError, match=message) as raised:
        load_config(text)
    assert str(tmp_path) not in str(raised.value) and "site-packages" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_the_list_has_every_recipe_and_what_it_is(capsys):
    assert cli.main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line) <= 100 and len(line.split()) > 4 for line in lines)


def test_help_is_the_commands_and_trains_nothing(capsys, monkeypatch):
    monkeypatch.setattr("fsjax.training.run", lambda *args: pytest.fail("it trains"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "icu_digits", "--help"])
    assert ended.value.code == 0
    assert "fsjax train icu_cifar100" in capsys.readouterr().out


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
