"""`fsjax data`: of a folder, of a config, of a run; its exit status, and that it starts without jax."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsjax.cli import main


@pytest.fixture
def pictures(tmp_path):
    """A folder with 2 classes of 6 pictures."""
    root, rng = tmp_path / "meine Bilder", np.random.default_rng(0)
    for name in ("Bär", "<b>cat"):
        (root / name).mkdir(parents=True)
        for i in range(6):
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
            small.resize((20, 20), Image.Resampling.BICUBIC).save(root / name / f"{i} ö.png")
    return root


def data(*arguments):
    return main(["data", *map(str, arguments)])


def test_a_folder_that_cannot_be_looked_into(pictures, capsys, monkeypatch):
    """By the system's own words, wherever it says them."""

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert data("--path", pictures) == 2
    said = capsys.readouterr().err
    assert "meine Bilder cannot be looked into: Permission denied" in said and "TFDS" not in said


def test_a_folder_and_its_status(pictures, tmp_path, capsys):
    out = tmp_path / "check.json"
    assert data("--path", pictures, "--splits", "--json", out) == 0
    said = capsys.readouterr().out
    assert (
        "meine Bilder: 12 images of 2 classes" in said
        and "6  <b>cat" in said
        and "test:" not in said
        and "no problem found" in said
    )
    (pictures / "Bär/kaputt.png").write_bytes(b"")
    assert data("--path", pictures, "--json", out) == 3
    stored = json.loads(out.read_text())
    assert stored["serious"] and stored["findings"][0]["kind"] == "unreadable"
    assert stored["findings"][0]["items"] == [f"{pictures / 'Bär/kaputt.png'}: the file is empty (0 bytes)"]
    assert "1 problem:" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_refused_at_once(pictures, tmp_path, capsys):
    (tmp_path / "d.json").mkdir()
    assert data("--path", pictures, "--json", tmp_path / "d.json") == 2
    said = capsys.readouterr()
    assert "d.json is a folder: give the name of a file" in said.err and not said.out


def test_home_is_known_without_a_shell(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data(f"--path=~/{pictures.name}", "--json=~/check.json") == 0
    assert json.loads((tmp_path / "check.json").read_text())["name"] == pictures.name


def test_names_that_the_terminal_has_not(pictures, python):
    script = "import sys; from fsjax.cli import main; sys.exit(main(sys.argv[1:]))"
    said = python("-c", script, "data", "--path", str(pictures), "--splits", PYTHONIOENCODING="ascii").stdout
    assert "6  B\\xe4r" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config():\n    return 1 +\n", "line 2: invalid syntax"),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return {}['steps']\n", "line 2: KeyError: 'steps'"),
        ("def get_config():\n    return int('x')\n", "line 2: ValueError: invalid literal"),
    ],
)
def test_a_slip_in_a_config_is_named_with_its_line(text, message, tmp_path, capsys):
    (tmp_path / "own.py").write_text(text)
    assert data("--config", tmp_path / "own.py") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'own.py'}, {message}" in said and "Traceback" not in said


@pytest.mark.slow
def test_it_starts_and_runs_without_jax(pictures, python):
    script = (
        "import sys; sys.modules.update(jax=None, flax=None, tensorflow=None, orbax=None)\n"
        "from fsjax.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    assert "12 images" in python("-c", script, "data", "--path", str(pictures)).stdout
    config = ("--config", "configs/icu_digits.py:smoke", "--set", "data.validation=0.3")
    assert "validation part is 0.3 of each" in python("-c", script, "data", *config).stdout


def test_the_data_of_a_config(root, pictures, capsys):
    config = root / "configs/dc_mini.py"
    assert data("--config", config, "--path", pictures, "--set", "data.name=folder") == 3
    said = capsys.readouterr().out
    assert "class split mini_imagenet names classes of which the data hold no image" in said.replace("\n", " ")
    sets = ("--set", "data.name=folder", "--set", "data.class_split.name=", "--set", "data.base_holdout=0",
            "--set", "data.test_fraction=0.5")  # fmt: skip
    assert data("--config", config, "--path", pictures, *sets) == 0
    assert "is below data.image_size=84" in capsys.readouterr().out


def test_the_data_of_a_run(digits_run, tmp_path, capsys):
    workdir = digits_run[0]
    assert data(workdir) == 0
    said = capsys.readouterr().out
    info = json.loads((workdir / "data.json").read_text())
    assert all(f"  {split}: {count:,} images" in said for split, count in info["counts"].items())
    for name in ("config.json", "data.json"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    assert data(tmp_path, "--set", "data.validation=0.5") == 3
    assert "other data: the numbers of images are not those of the run: train:" in capsys.readouterr().out
    (tmp_path / "data.json").write_text("{")
    assert data(tmp_path) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_few_shot_run_whose_tasks_no_longer_fit(few_shot_runs, capsys):
    assert data(few_shot_runs["gap"]) == 0
    assert data(few_shot_runs["gap"], "--set", "data.fake.train=60", "--set", "data.base_holdout=2") == 3
    said = capsys.readouterr().out
    assert "config.few_shot: class" in said and "other data" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to check"),
        (("--config", "x.py", "some/run"), "say what to check, one of"),
        (("some/run",), "holds no config.json: is it the workdir of a run? A folder of pictures is --path"),
        (("--path", "no/where"), "data.path=no/where is no folder"),
        (("--path", __file__), "is a file: give a folder"),
        (("--path", ".", "--set", "data.nmae=1"), "Did you mean 'name'"),
        (("--path", ".", "--json", "out.txt"), "the name must end with .json"),
        (("--config", "nowhere.py"), "--config=nowhere.py: there is no such file"),
        (("--path", ".", "--set", "data.name=nothing_at_all"), "no source of fsjax (aircraft, "),
    ],
)
def test_what_cannot_be_meant(capsys, arguments, message):
    assert data(*arguments) == 2
    assert message in capsys.readouterr().err
