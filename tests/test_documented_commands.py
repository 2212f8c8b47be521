"""Every command that is shown is run: the README's, CONTRIBUTING's, docs/, those of the commands' help and of configs.

A command is read by its real parser as it stands. Tests that are slow then run it in this process, made small by the
tables below, in a folder that has the runs and the pictures it speaks of. What works ends with status 0 and leaves the
files it names.
"""

import importlib
import itertools
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.documented_commands import MODULES, PAGES, ROOT, SHELLS, Block, Command, blocks, docstring, fences

BLOCKS = blocks()
# Nothing of these is run; what can be checked is. A pattern of the whole command, the reason, and the check.
NOT_RUN = {
    r"git clone .*": ("needs a network; .ci/run clones", "nothing"),
    r"cd \w+": ("of what was cloned", "nothing"),
    r"python -m venv \S+": ("installs; .ci/run does in a fresh clone", "nothing"),
    r"pip install .*": ("installs; .ci/run does in a fresh clone", "extras"),
    r"jupyter lab notebooks": ("opens a window; tests/test_notebooks.py runs them", "nothing"),
    r"python -m pytest .*": ("these tests themselves", "paths"),
    r"ruff .*": (".ci/run does", "paths"),
    r"mypy .*": (".ci/run does", "paths"),
    r"sphinx-build .*": ("tests/test_docs.py builds the pages", "sources"),
    r"python -m benchmarks\..*": ("minutes to hours", "benchmark"),
    r"srun .*": ("needs a cluster; tests/training/test_hosts.py has two processes", "inner"),
    r"python train\.py .*--coordinator=.*": (
        "needs two machines; tests/training/test_hosts.py has two processes",
        "train",
    ),
}
# Training lines of these configs are read and their settings checked, but not run, if nothing but variants, places and
# LEFT_OUT is set in them: where their smoke runs are.
SMOKE_RUNS = {
    r"(dc|implants|proto|metabaseline|aflm)(_\w+)?|msenet_tiny": "training/test_few_shot_configs.py",
    r"fscil_\w+": "training/test_fscil_configs.py",
    r"localize_\w+": "training/test_localize_configs.py",
    r"icu_(mnist|cifar10|cifar100|cifar_lt|imagenet)": "training/test_loop.py",
    r"starter": "test_starter.py",
}
PLACES = ("workdir", "config.data.path", "config.start_from")
# Of training lines that are run: what they leave out, as the smoke variant has four steps.
LEFT_OUT = ("config.train.epochs", "config.train.steps")
# Of the same, by config: networks so small that nearly nothing is compiled. What the line sets itself comes after.
SMALL = {
    "icu_digits": ("model.cnn.stages=((8,),)", "model.cnn.dim=8"),
    "icu_mnist": ("model.mnist_2d.stages=((4,),(4,))", "model.mnist_2d.hidden=(8,)"),
    "icu_cifar_lt": ("model.resnet32.blocks=(1,1,1)",),
    "icu_cifar100": ("model.vgg13.widths=(4,4,4)", "model.vgg13.convs=(1,1,1)"),
}
# Runs that a block does not train itself, and those that SMOKE_RUNS spares it: fixtures of conftest.py, or a command.
RUNS = {
    r"(dc|implants|imprinted|susana)\w*": "few_shot_runs implants",
    r"(gap|proto|classifier|global|metabaseline)\w*": "few_shot_runs gap",
    r"icu(_digits|_mnist)?|softmax_digits|lt": "digits_run",
    r"aflm\w*": "python train.py --config=configs/aflm_fc100.py:reconstructed,smoke "
    "--config.data.base_holdout=10 --config.few_shot.reconstructed.images=10",
    r"planted|localize_\w+": "python train.py --config=configs/localize_planted.py:smoke",
    r"fscil\w*": "python train.py --config=configs/fscil_cifar100.py:smoke",
    r"nested": "python train.py --config=configs/icu_digits.py:smoke --config.feature_dropout.name=nested",
}
# What is made smaller, or stands for something that is not here; each on the command's text.
SUBSTITUTES = [
    (r"--tasks 2000\b", "--tasks 20", "seconds; gates need tasks that differ"),
    (r"--tasks \d{3,}", "--tasks 6", "seconds"),
    (r"--implant-option steps=\d+", "--implant-option steps=5", "seconds"),
    (r"--shots 1 5 10", "--shots 1 2 3", "classes of noise have few images"),
    (r"--shots 5 10", "--shots 2 3", "the same"),
    (r"--shots 5\b", "--shots 2", "the same"),
    (r"--shots 1-5", "--shots 1-2", "the same"),
    (r"--query 15", "--query 4", "the same"),
    (r"--way 5-10", "--way 3-5", "5 classes of noise are novel"),
    (r"--base-classes \d+", "--base-classes 2", "the same"),
    (r"--seeds \d+", "--seeds 2", "seconds"),
    (r"--source omniglot --set data.train_split=small1 --set data.test_split=", "--source digits", "needs a download"),
    (r"configs/own\.py", "configs/dc_fc100.py", "a user's own"),
    (r"my_config\.py", "icu_digits", "the same"),
    (r"--classes-shown \d+", r"\g<0> --perplexity 5", "few images"),
    (r"--config (configs/\w+\.py|[a-z]\w+)(?![\w.:/])", r"--config \1:smoke", "needs no download"),
    (r"--dtype float32,bfloat16", "--dtype float32", "compiles everything twice"),
    (r"--synthetic \S+", "--synthetic 8x8x3:32 --repeats 1 --seconds 0", "seconds"),
    (r"steps_per_dispatch=\d+", "steps_per_dispatch=2", "a smoke run has four"),
]
# Flags behind which a file is named that is there afterwards.
WRITTEN = ("--out", "--json", "--save-episodes")


def _pictures(folder: Path, counts: dict[str, int]) -> None:
    """Folders with so many pictures of noise each, a colour apart."""
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        color = draw.integers(0, 128, 3)
        for number in range(count):
            pixels = color + draw.integers(0, 128, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.jpg")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the pictures, and the network of a folder, that commands speak of."""
    home = tmp_path_factory.mktemp("home")
    _pictures(home, {"many": 4, "digits_of_mine/3": 2, "digits_of_mine/7": 2, "my/digits/3": 2, "my/digits/7": 2})
    for folder in ("few", "birds"):
        _pictures(home / folder, {"heron": 3, "stork": 3})
    _pictures(home / "pictures", {f"kind {number}": 12 for number in range(6)})
    Image.new("RGB", (40, 30), "red").save(home / "photo.jpg")
    shutil.copytree(ROOT / "tests" / "vectors" / "transformers" / "dinov2", home / "dinov2-small")
    return home


class Workshop:
    """Where commands are run, and what was run before, so that the same is not run again."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path):
        self.request, self.folder = request, folder
        self.trained: dict[str, Path] = {}  # workdir by command
        self.made: dict[str, list[Path]] = {}  # files by command

    def run_of(self, name: str) -> Path:
        """The workdir that stands for a run that no line of the block has trained."""
        found = [how for pattern, how in RUNS.items() if re.fullmatch(pattern, name)]
        assert found, f"no run of the name {name!r} is trained in this block or in RUNS"
        fixture, _, part = found[0].partition(" ")
        if fixture == "python":
            return self.train(part.split()[1:], ())
        made = self.request.getfixturevalue(fixture)
        return made[part] if part else made[0]

    def train(self, arguments: list[str], env: tuple[str, ...]) -> Path:
        """The workdir of a run of these arguments of train.py; in a process of its own if it has an environment."""
        key = shlex.join([*env, *arguments])
        if key not in self.trained:
            workdir = self.folder / f"run{len(self.trained)}"
            arguments = [*arguments, f"--workdir={workdir}", "--config.train.progress=False"]
            if env:
                self.request.getfixturevalue("python")(
                    str(ROOT / "train.py"), *arguments, **dict(variable.split("=", 1) for variable in env)
                )
            else:
                train_py(arguments)
            assert (workdir / "result.json").is_file()
            self.trained[key] = workdir
        return self.trained[key]


@pytest.fixture(scope="session")
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(request, tmp_path_factory.mktemp("documented"))


# Reading


def arguments_of_training(words: tuple[str, ...]) -> list[str] | None:
    """The arguments of a line of `fsjax train` or train.py, with the config by --config; None for another line."""
    if words[:2] not in (("python", "train.py"), ("fsjax", "train")) or "--list" in words:
        return None
    first, *rest = words[2:] or [""]
    return [f"--config={first}", *rest] if first and not first.startswith("-") else [*words[2:]]


def train_py(arguments: list[str]) -> None:
    """Runs train.py with these arguments in this process."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["train.py", *arguments])
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    assert ended.value.code == 0


def read_training(arguments: list[str]) -> None:
    """Parses a line of train.py and checks its settings."""
    from fsjax.cli import parse, train

    own = [argument.replace("=my_config.py", "=icu_digits") for argument in arguments]
    config, workdir = train.read(parse(["train", *own]))
    assert config and workdir


def read_fsjax(arguments: list[str]) -> None:
    """Parses a line of fsjax; its config file is there, and has the variant."""
    from fsjax.cli import COMMANDS, parse
    from fsjax.config_file import load_config

    assert arguments[0] in COMMANDS
    args = parse(arguments)
    if getattr(args, "config", "") and not args.config.endswith("/own.py"):
        load_config(args.config)


class _Read(Exception):
    """That a benchmark has parsed its arguments."""


def read_benchmark(words: list[str]) -> None:
    """Parses a line of `python -m benchmarks.NAME` by its own parser, and leaves."""
    import argparse

    def parse(parser: argparse.ArgumentParser, given: Any = None, namespace: Any = None) -> None:
        _, unknown = parser.parse_known_args(given, namespace)
        assert not unknown
        raise _Read

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Read):
        patch.setattr(sys, "argv", words[2:])
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        importlib.import_module(words[2]).main()


def kind_not_run(command: Command) -> str:
    """What is checked of a command that is not run, by NOT_RUN; "" for one that is."""
    return next((kind for pattern, (_, kind) in NOT_RUN.items() if re.fullmatch(pattern, str(command))), "")


def check_not_run(command: Command, kind: str) -> None:
    """What can be said of a command without running it."""
    words = list(command.words)
    if kind == "extras":
        extras = re.search(r"\.\[([\w,]+)\]", str(command))
        known = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
        for extra in extras[1].split(",") if extras else ():
            assert re.search(rf"^{extra} = \[", known, flags=re.M), f"no extra {extra!r}"
    elif kind in ("paths", "sources"):
        named = [word for word in words if re.fullmatch(r"(fsjax|tests|configs|docs|benchmarks)(/.*)?", word)]
        assert kind == "paths" or "docs" in named
        for path in named:
            assert (ROOT / path).exists(), f"there is no {path}"
    elif kind == "benchmark":
        read_benchmark(words)
    elif kind == "train":
        read_training(words[2:])
    elif kind == "inner":
        read_training(words[words.index("train.py") + 1 :])


# Running


def smaller(text: str) -> str:
    """The text of a command with the substitutes in it."""
    for pattern, substitute, _ in SUBSTITUTES:
        text = re.sub(pattern, substitute, text)
    return text


def smoke_of(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments of train.py for four steps, without its workdir, and whether they need not be run.

    They are not run if they are covered by SMOKE_RUNS; a line with `smoke` in it always is.
    """
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    file, _, variants = given.pop("config", "icu_digits").partition(":")
    name, own = Path(file).stem, [key for key in given if key not in (*PLACES, *LEFT_OUT)]
    asked = "smoke" in variants.split(",")
    if not asked:
        variants = ",".join(part for part in (variants, "smoke") if part)
    covered = not own and not asked and any(re.fullmatch(pattern, name) for pattern in SMOKE_RUNS)
    small = () if asked else SMALL.get(name, ())
    kept = [f"--{key}={value}" for key, value in given.items() if key != "workdir" and key not in LEFT_OUT]
    return [f"--config={file}:{variants}", *(f"--config.{part}" for part in small), *kept], covered


def link_runs(command: str, place: Path, workshop: Workshop) -> str:
    """Puts the runs that a command names where it looks for them; its text with the runs they are."""
    command = command.replace("'runs/*'", "runs/gap runs/dc")  # no shell sees to it here
    for name in re.findall(r"\bruns/(\w+)", command):
        link = place / "runs" / name
        if not link.exists():
            link.symlink_to(workshop.run_of(name))
    return command


def run_training(command: Command, place: Path, workshop: Workshop) -> None:
    """Reads a line that trains, and runs it if that is not done elsewhere."""
    arguments = arguments_of_training(command.words)
    assert arguments is not None
    read_training(arguments)
    workdir = next((a.partition("=")[2] for a in arguments if a.startswith("--workdir=")), "runs/own")
    arguments, covered = smoke_of(shlex.split(smaller(shlex.join(arguments))))
    if covered:
        read_training(arguments)
        return
    link_runs(shlex.join(arguments), place, workshop)
    resolved = [re.sub(r"\bruns/\w+", lambda run: str((place / run[0]).resolve()), word) for word in arguments]
    resolved = [re.sub(r"=(\w+\.npz)$", lambda file: f"={place / file[1]}", word) for word in resolved]
    made = workshop.train(resolved, command.env)
    link = place / "runs" / Path(workdir).name
    link.unlink(missing_ok=True)
    link.symlink_to(made)


def last_changes(place: Path) -> dict[Path, int]:
    """When each file, and anything in each folder, was last written; links are not followed."""
    return {
        path: max(part.lstat().st_mtime_ns for part in (path, *(() if path.is_symlink() else path.rglob("*"))))
        for path in place.iterdir()
        if path.name != "runs"
    }


def run_fsjax(command: Command, place: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    """Reads a line of fsjax, and runs it in `place`, or takes the files that it left before."""
    from fsjax.cli import main

    read_fsjax(list(command.words[1:]))
    for file in command.words[2:] if command.words[1] == "compare" else ():
        if not (place / file).exists():  # of a block above
            words = ("fsjax", "evaluate", f"runs/{Path(file).stem}", "--out", file)
            run_fsjax(Command(command.where, shlex.join(words), (), words), place, workshop, capsys)
    text = link_runs(smaller(shlex.join(command.words)), place, workshop)
    words = [re.sub(r"^~/", f"{Path.home()}/", word) for word in shlex.split(text)]
    key = re.sub(r"\bruns/\w+", lambda run: str((place / run[0]).resolve()), text)
    before = last_changes(place)
    # What reads a file that was written here is run in any case.
    known = workshop.made.get(key) if not any((place / word).is_file() for word in words) else None
    if known is None:
        status = main(words[1:])
        out, err = capsys.readouterr()
        assert status == 0, f"status {status}: {err or out[-2000:]}"
        known = workshop.made[key] = [path for path, time in last_changes(place).items() if time != before.get(path)]
        assert out or known
    else:
        for path in known:
            if path.is_dir():  # a command above may have written to the same place
                shutil.copytree(path, place / path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, place / path.name)
    for flag, file in itertools.pairwise(words):
        assert flag not in WRITTEN or (place / file).exists(), f"{file} was not written"


def run_export(command: Command, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs the program of an exported folder."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", list(command.words[1:]))
        for name in [name for name in sys.modules if name.partition(".")[0] == "exported"]:  # another folder's
            patch.delitem(sys.modules, name)
        runpy.run_path(str(place / command.words[1]), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("photo.jpg\t")


def run_command(command: Command, place: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs a command, or checks what it is not run for."""
    if kind := kind_not_run(command):
        check_not_run(command, kind)
    elif arguments_of_training(command.words) is not None:
        run_training(command, place, workshop)
    elif command.words[0] == "fsjax":
        run_fsjax(command, place, workshop, capsys)
    elif command.words[0] == "python" and "." not in command.words[1] and not command.words[1].startswith("-"):
        run_export(command, place, capsys)
    else:
        pytest.fail(f"new command in {command.where}: {command.text}; add how it is run, or an entry in NOT_RUN")


def read_command(command: Command) -> None:
    """Reads a command by the parser it is for, or checks what can be checked of others."""
    if kind := kind_not_run(command):
        check_not_run(command, kind)
    elif (arguments := arguments_of_training(command.words)) is not None:
        read_training(arguments)
    elif command.words[0] == "fsjax":
        read_fsjax(list(command.words[1:]))


@pytest.mark.parametrize("page", sorted({block.where.rpartition(":")[0] for block in BLOCKS}))
def test_commands_are_read(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for block in BLOCKS:
        if block.where.rpartition(":")[0] == page:
            for command in block.commands:
                try:
                    read_command(command)
                except (Exception, SystemExit) as error:
                    error.add_note(f"{command.where}: {command.text}")
                    raise


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_commands_run(
    block: Block,
    workshop: Workshop,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(pictures))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in (*pictures.iterdir(), ROOT / "configs"):
        if path.name != "birds":  # of the home folder alone: exports are called so
            (tmp_path / path.name).symlink_to(path)
    for command in block.commands:
        try:
            run_command(command, tmp_path, workshop, capsys)
        except (Exception, SystemExit) as error:
            error.add_note(f"{command.where}: {command.text}")
            raise


# Nothing is overlooked


def _looks_like_a_command(line: str) -> bool:
    return bool(re.match(r"\s*(\$ )?(\w+=\S+ )*(\S*/)?(fsjax [a-z]+|python3? (-m|\S+\.py)|(uv )?pip install) ?", line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_pages_are_found(page: Path) -> None:
    """As many as a search for their first words finds, and none in blocks of another language."""
    name, shown = str(page.relative_to(ROOT)), 0
    for language, lines in fences(page):
        commands = [line for _, line in lines if _looks_like_a_command(line)]
        shown += len(commands) if language in SHELLS else 0
        if language not in ("python", "py"):  # docstrings of examples
            assert language in SHELLS or not commands, f"{name}: {commands[0]!r} is in no block of {', '.join(SHELLS)}"
    found = [c for block in BLOCKS if block.where.startswith(f"{name}:") for c in block.commands]
    assert len(found) >= shown
    assert bool(found) == any(language in SHELLS for language, _ in fences(page))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_commands_of_docstrings_are_found(module: Path) -> None:
    """Every config says how it is trained, every command of fsjax how it is called."""
    from fsjax.cli import COMMANDS

    name = str(module.relative_to(ROOT))
    found = [c for block in BLOCKS if block.where.startswith(f"{name}:") for c in block.commands]
    shown = sum(1 for _, line in docstring(module) if line.startswith("    ") and _looks_like_a_command(line))
    assert len(found) >= shown
    if module.parent.name == "configs":
        assert any("train.py" in command.words for command in found)
    elif module.parent.name == "cli" and module.stem in COMMANDS:
        assert any(command.words[:2] == ("fsjax", module.stem) for command in found)


def test_tables_have_no_dead_entries() -> None:
    commands = [command for block in BLOCKS for command in block.commands]
    texts = [str(command) for command in commands]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, text) for text in texts), f"NOT_RUN: no command is {pattern}"
    for pattern, _, _ in SUBSTITUTES:
        assert any(re.search(pattern, text) for text in texts), f"SUBSTITUTES: no command has {pattern}"
    for pattern in RUNS:
        named = {name for text in texts for name in re.findall(r"\bruns/(\w+)", text)}
        assert any(re.fullmatch(pattern, name) for name in named), f"RUNS: no command names {pattern}"
    for pattern, file in SMOKE_RUNS.items():
        assert "smoke" in (ROOT / "tests" / file).read_text()
        configs = [path.stem for path in (ROOT / "configs").glob("*.py")]
        assert any(re.fullmatch(pattern, name) for name in configs), f"SMOKE_RUNS: no config is {pattern}"
