"""The command line of training, as a user types it."""

import pytest

from fsjax import cli
from fsjax.cli import train
from fsjax.config_file import load_config, names, recipes
from fsjax.errors import UserError
from fsjax.training import process


def read(*argv):
    """The config and the workdir of a line."""
    return train.read(cli.parse(["train", *argv]))


def test_good_lines_are_read(root, monkeypatch):
    monkeypatch.chdir(root)
    config, workdir = read()
    assert (config.to_dict(), workdir) == (load_config("icu_digits").to_dict(), "runs/icu_digits")
    config, workdir = read(
        "--config.loss.name=lgm", "--config.loss.lgm.alpha=0.3", "--workdir=x", "--config.train.steps", "5",
        "--config.train.epochs=0",
    )  # fmt: skip
    assert (config.loss.name, config.loss.lgm.alpha, config.train.steps, workdir) == ("lgm", 0.3, 5, "x")
    config, _ = read("--config=configs/icu_cifar_lt.py:cifar100,50", "--config.schedule.boundaries=(1,2)")
    assert (config.data.name, config.data.longtail_ratio, config.schedule.boundaries) == ("cifar100", 50.0, (1.0, 2.0))
    config, _ = read("--config", "icu_cifar100:smoke", "--config.model.vgg13.widths=8,8,8")
    assert config.model.vgg13.widths == (8, 8, 8)
    config, _ = read("icu_digits", "--config.model.remat", "--config.train.progress=false", "--config.seed", "7")
    assert config.model.remat is True and config.train.progress is False and config.seed == 7


def test_what_says_which_process_this_is():
    args = cli.parse(["train", "--coordinator=a:1", "--num_processes=2", "--process_id", "1"])
    assert (args.coordinator, args.num_processes, args.process_id) == ("a:1", 2, 1)


@pytest.mark.parametrize("name", names())
def test_a_recipe_is_its_file_from_anywhere(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variant in ("", ":smoke"):
        config = load_config(f"{root}/configs/{name}.py{variant}").to_dict()
        assert load_config(f"{name}{variant}").to_dict() == config == read(f"{name}{variant}")[0].to_dict()


def test_recipes_are_the_files_of_the_folder(root):
    files = {path.stem for path in (root / "configs").glob("*.py")}
    assert set(recipes()) == {name for name in files if not name.startswith(("common", "__"))} > {"icu_digits"}
    assert all(path.is_file() for path in recipes().values())


def test_a_file_comes_before_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = (
        "from fsjax.configs.common import base\n\ndef get_config():\n    config = base()\n    config.name = 'own'\n"
        "    config.loss.name, config.model.name, config.train.steps = 'icu', 'cnn', 1\n"
        "    config.data.name = 'digits'\n"
    )
    (tmp_path / "icu_mnist.py").write_text(own + "    return config\n")
    assert read("icu_mnist.py")[0].name == "own"
    assert read("icu_mnist")[0].name == "icu_mnist_2d"
    (tmp_path / "icu_mnist").write_text("notes of mine")
    with pytest.raises(UserError, match=r"--config=icu_mnist: icu_mnist is no Python file"):
        read("icu_mnist")
    (tmp_path / "icu_digits").mkdir()  # a workdir, say
    assert read("icu_digits")[0].name == "icu_digits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.los.name=lgm"], "unknown key in config: 'los'; known: .*loss.*Did you mean 'loss'"),
        (["--config.loss.nam=lgm"], "unknown key in config.loss: 'nam'; known: .*name.*Did you mean 'name'"),
        (["--config.seed.x=1"], "config.seed.x: config.seed is a value and has no keys"),
        (["--config.loss=icu"], "config.loss is a section with: aldr"),
        (["--config.train.steps"], "--config.train.steps needs a value: --config.train.steps=VALUE"),
        (["--config.train.steps=many"], "config.train.steps='many' must be a whole number"),
        (["--config.optimizer.eps=-1"], "config.optimizer.eps=-1 must be above 0 and at most 1"),
        (["--config.optimizer.eps=nan"], "config.optimizer.eps=nan must be above 0 and at most 1"),
        (["--config.train.progress=maybe"], "config.train.progress='maybe' must be True or False"),
        (["--config.seed=-1"], "config.seed=-1 must be at least 0 and at most 4,294,967,295"),
        (["--config.name="], "config.name='' must be the name of a folder.*--workdir"),
        (["--config.loss.name=lgn"], "config.loss.name='lgn' must be one of .*Did you mean 'lgm'"),
        (["--config.model.name=vgg31"], "config.model.name='vgg31' must be one of .*Did you mean 'vgg13'"),
        (["--num_processes=two"], "--num_processes: invalid int value: 'two'; `fsjax train --help` explains"),
        (["--wokdir=x"], "unrecognized arguments: --wokdir=x"),
        (["icu_digits", "stray"], "unrecognized arguments: stray"),
        (["icu_digits", "--config=icu_mnist"], "one config, not icu_digits and icu_mnist"),
        (["--config"], "--config: expected one argument"),
    ],
)
def test_what_is_mistyped_is_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        read(*arguments)
    assert "\n" not in str(error.value)


def test_a_name_is_needed_only_for_the_default_workdir():
    config, workdir = read("--config.name=", "--workdir=x")
    assert workdir == "x" and config.name == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("icu_mnits", "there is no recipe 'icu_mnits'; did you mean icu_mnist"),
        ("afl", "there is no recipe 'afl'; did you mean aflm, aflm_cifarfs, aflm_fc100, aflm_mini, aflm_tiny"),
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
def test_mistyped_configs_name_near_ones(text, message, tmp_path, monkeypatch):
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


def test_process_prints_one_line_and_exits_with_2_before_jax_is_imported(python):
    """A mistyped network took half a minute: data were looked for, and jax started."""
    line = (
        "import runpy, sys; sys.argv = ['train.py', '--config.model.name=vgg31']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: print([m for m in ('jax', 'flax', 'tensorflow') if m in sys.modules])"
    )
    done = python("-c", line, check=False)
    assert done.returncode == 2 and done.stdout.strip() == "[]"
    assert done.stderr.startswith("error: config.model.name='vgg31' must be one of ")
    assert done.stderr.count("\n") == 1


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
    with pytest.raises(SystemExit) as ended, process._user_errors():
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
