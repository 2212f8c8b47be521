"""The `fsjax` command, called as the shell calls it, in this process."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax.cli import COMMANDS, command, main
from fsjax.cli.compare import read_figures
from fsjax.data import load_episodes
from fsjax.evaluation.few_shot.intervals import intervals_of
from fsjax.evaluation.few_shot.statistics import mean_interval


def evaluate(run, *more):
    return main(["evaluate", str(run), "--tasks", "12", "--query", "4", *map(str, more)])


@pytest.fixture(scope="module")
def figures(few_shot_runs, tmp_path_factory):
    """The files that --out writes, of the run with implants and of the other, on the same tasks."""
    folder = tmp_path_factory.mktemp("figures")
    shared = ("--classes", "novel", "base", "both", "--shots", "3", "1-2")
    assert evaluate(few_shot_runs["implants"], *shared, "--pooling", "all", "--out", folder / "dc.json") == 0
    assert evaluate(few_shot_runs["gap"], *shared, "--out", folder / "gap.json") == 0
    return folder


@pytest.fixture(scope="module")
def reconstructed(few_shot_runs, tmp_path_factory):
    """As `figures`, of reconstructed and of novel tasks by the methods' own rules."""
    folder = tmp_path_factory.mktemp("reconstructed")
    for name, run in (("dc", "implants"), ("gap", "gap")):
        options = ("--classes", "reconstructed", "novel", "--shots", "3", "--out", folder / f"{name}.json")
        assert evaluate(few_shot_runs[run], *options) == 0
    return folder


def test_every_figure_says_what_it_depends_on(figures):
    found = json.loads((figures / "dc.json").read_text())["figures"]
    assert len(found) == 3 * 2 * 4  # classes, shots, poolings
    for figure in found:
        assert {"support_pool", "query_pool", "tasks", "query", "seed", "episodes", "interval", "way"} <= figure.keys()
        assert figure["tasks"] == 12 and figure["query"] == 4
        assert ("tau" in figure) == (figure["query_pool"] == "dense")
        assert all(0 <= share <= 1 for share in figure["per_class"].values())
    assert {figure["episodes"] for figure in found if figure["classes"] == "novel" and figure["shot"] == 3} == {
        found[0]["episodes"]
    }
    joint = next(figure for figure in found if figure["classes"] == "both")
    novel, base = joint["novel"], joint["base"]
    assert joint["harmonic_mean"] == pytest.approx(2 * novel * base / (novel + base) if novel + base else 0)


def test_compare_pairs_the_same_tasks(figures, capsys):
    assert main(["compare", str(figures / "dc.json"), str(figures / "gap.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * 2 * 4
    with np.load(figures / "dc.npz") as dc, np.load(figures / "gap.npz") as gap:
        difference = dc["0"] - gap["0"]
    half_width = 1.96 * difference.std(ddof=1) / np.sqrt(12)
    assert f"{100 * difference.mean():+.2f} ± {100 * half_width:.2f} tasks, ± " in lines[0] and "(12 tasks" in lines[0]


def test_intervals_over_new_images_and_classes_are_written_and_paired(figures, capsys):
    """Those of JSON are those of the kept tasks, and a method differs from itself by nothing at all."""
    read = read_figures(figures / "dc.json")
    for figure in read:
        again = intervals_of(mean_interval(figure.accuracy), figure.scores).to_json()
        assert again == {name: figure.facts[name] for name in again}
        trained = figure.facts["classes"] == "base"
        reason = "the network was trained on these classes" if trained else "a task can have all 5 classes"
        assert again["not_known"] == {"new_classes": reason} and again["interval_new_images"] > again["interval"]
    assert main(["compare", str(figures / "dc.json"), str(figures / "dc.json")]) == 0
    same = "+0.00 ± 0.00 tasks, ± 0.00 new images, new classes not known ("
    assert sum(same in line for line in capsys.readouterr().out.splitlines()) >= len(read)


def test_files_without_the_tasks_answers_say_what_is_missing(figures, tmp_path, capsys):
    (tmp_path / "old.json").write_text((figures / "gap.json").read_text())
    with np.load(figures / "gap.npz") as arrays:
        np.savez(tmp_path / "old.npz", **{name: arrays[name] for name in arrays.files if name.isdigit()})
    assert main(["compare", str(figures / "dc.json"), str(tmp_path / "old.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    missing = (
        "tasks, new images and new classes not known (which queries were right is not in the .npz file of an earlier"
    )
    assert len(lines) == 3 * 2 * 4 and all(missing in line for line in lines)


def test_tasks_of_another_file_are_refused(figures, tmp_path, capsys):
    (tmp_path / "other.json").write_text((figures / "gap.json").read_text())
    with np.load(figures / "gap.npz") as arrays:
        np.savez(tmp_path / "other.npz", **{name: x[:5] if name == "0" else x for name, x in arrays.items()})
    assert main(["compare", str(figures / "dc.json"), str(tmp_path / "other.json")]) == 2
    assert "figure 0 has 5 tasks, of which 12 were kept" in capsys.readouterr().err


def test_compare_refuses_what_is_not_paired(figures, few_shot_runs, tmp_path, capsys):
    evaluate(few_shot_runs["gap"], "--shots", "2", "--classes", "novel", "--out", tmp_path / "other.json")
    assert main(["compare", str(figures / "gap.json"), str(tmp_path / "other.json")]) == 2
    assert "no tasks in common" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nothing.json"), str(figures / "gap.json")]) == 2
    assert "cannot be read as figures" in capsys.readouterr().err


def test_other_classes_of_the_same_sizes_are_not_paired(figures, tmp_path, capsys):
    """The hash of tasks is of positions in a split: it cannot tell classes apart."""
    other = json.loads((figures / "gap.json").read_text())
    for figure in other["figures"]:
        figure["per_class"] = {f"other {name}": share for name, share in figure["per_class"].items()}
    (tmp_path / "other.json").write_text(json.dumps(other))
    (tmp_path / "other.npz").write_bytes((figures / "gap.npz").read_bytes())
    assert main(["compare", str(figures / "gap.json"), str(tmp_path / "other.json")]) == 2
    assert "no tasks in common" in capsys.readouterr().err


@pytest.mark.slow
def test_implants_beside_a_run_that_was_trained_without(few_shot_runs, tmp_path, capsys):
    options = ("--implants", "--implant-option", "steps=2", "query_pool=dense", "--classes", "novel")
    out = tmp_path / "imp.json"
    assert evaluate(few_shot_runs["gap"], *options, "--shots", "2", "--out", out) == 0
    plain, implanted = json.loads(out.read_text())["figures"]
    assert "implants" not in plain and implanted["implants"]["query_pool"] == "dense"
    assert implanted["implants"]["steps"] == 2 and implanted["episodes"] == plain["episodes"]
    assert "Traceback" not in capsys.readouterr().err
    assert evaluate(few_shot_runs["gap"], *options, "--shots", "1") == 2
    assert "every class needs at least 2" in capsys.readouterr().err
    assert evaluate(few_shot_runs["gap"], "--implants", "--implant-option", "step=2") == 2
    assert "Did you mean 'steps'" in capsys.readouterr().err


def test_a_saved_list_of_tasks_gives_the_same_figures(few_shot_runs, tmp_path, capsys):
    tasks = tmp_path / "tasks.npz"
    one = ("--classes", "novel", "--shots", "3")
    assert evaluate(few_shot_runs["gap"], *one, "--save-episodes", tasks, "--out", tmp_path / "a.json") == 0
    assert evaluate(few_shot_runs["gap"], *one, "--seed", "9", "--episodes", tasks, "--out", tmp_path / "b.json") == 0
    a, b = (json.loads((tmp_path / f"{name}.json").read_text())["figures"] for name in "ab")
    assert a == b
    labels = fsjax.restore(few_shot_runs["gap"]).evaluator().labels("novel")
    assert load_episodes(tasks, labels=labels).hash == a[0]["episodes"]
    assert evaluate(few_shot_runs["gap"], "--classes", "novel", "both", "--episodes", tasks) == 2
    assert "one kind of classes" in capsys.readouterr().err
    assert evaluate(few_shot_runs["gap"], "--classes", "both", "--episodes", tasks) == 2
    assert evaluate(few_shot_runs["gap"], "--classes", "base", "--episodes", tasks) == 2
    assert "classes='novel'; these data are of classes='base'" in capsys.readouterr().err


# --- Tasks of novel and base classes together.


def test_reconstructed_figures_and_their_parts_are_written(reconstructed):
    figures = json.loads((reconstructed / "dc.json").read_text())["figures"]
    assert [figure["classes"] for figure in figures] == ["reconstructed", "novel"]
    with np.load(reconstructed / "dc.npz") as arrays:
        parts = {"0", "1", "0_base_queries", "0_novel_queries", "0_base_classes"}
        kept = {f"{n}_{name}" for n in (0, 1) for name in ("right", "images", "new")}
        tasks = {f"tasks_{f['episodes']}_{name}" for f in figures for name in ("classes", "support", "query")}
        assert set(arrays.files) == parts | kept | tasks
        for name in ("base_queries", "novel_queries"):
            assert figures[0][name]["accuracy"] == pytest.approx(np.nanmean(arrays[f"0_{name}"]))
        counts = np.bincount(arrays["0_base_classes"])
    groups = figures[0]["by_base_classes"]
    assert {group["base_classes"]: group["tasks"] for group in groups} == {n: c for n, c in enumerate(counts) if c}
    assert len(figures[0]["base_classes"]) == 5
    # 10 base classes, of which 8 images each were held out.
    assert figures[0]["reconstructed"] == {"images": 0, "seed": 0, "held_out": 80}
    assert "base_queries" not in figures[1]


def test_compare_tells_base_from_novel_queries(reconstructed, capsys):
    assert main(["compare", str(reconstructed / "dc.json"), str(reconstructed / "gap.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = ("0", "0_base_queries", "0_novel_queries")
    with np.load(reconstructed / "dc.npz") as dc, np.load(reconstructed / "gap.npz") as gap:
        differences = {name: [a - b for a, b in zip(dc[name], gap[name], strict=True)] for name in kinds}
        number = dc["0_base_classes"]
    expected = {
        what: [d for d in differences[f"0_{what.replace(' ', '_')}"] if d == d]
        for what in ("base queries", "novel queries")
    }
    for n in range(6):
        of_group = [d for d, found in zip(differences["0"], number, strict=True) if found == n]
        if of_group:
            expected[f"with {n} base class{'es' * (n != 1)}"] = of_group
    assert lines[0].startswith("reconstructed 5-way 3-shot") and lines[-1].startswith("novel ")
    assert len(lines) == 2 + len(expected)
    for line, (what, values) in zip(lines[1:], expected.items(), strict=False):
        words = f"  {what}: {100 * np.mean(values):+.2f}"
        if len(values) > 1:
            words += f" ± {100 * 1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.2f} tasks"
        assert line == f"{words} ({len(values)} task{'s' * (len(values) > 1)})"


def test_tasks_of_other_images_of_the_same_classes_are_not_paired(reconstructed, tmp_path, capsys):
    """The hash of tasks is of positions: whatever else says which images were drawn from must agree."""
    content = (reconstructed / "gap.json").read_text()
    (tmp_path / "other.npz").write_bytes((reconstructed / "gap.npz").read_bytes())
    for name in json.loads(content)["figures"][0]["reconstructed"]:
        other = json.loads(content)
        other["figures"][0]["reconstructed"][name] = -1
        (tmp_path / "other.json").write_text(json.dumps(other))
        assert main(["compare", str(reconstructed / "gap.json"), str(tmp_path / "other.json")]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("novel ")


def test_the_command_line_chooses_other_base_classes(few_shot_runs, reconstructed, tmp_path, capsys):
    def base_classes(*options):
        out = tmp_path / "figures.json"
        assert evaluate(few_shot_runs["gap"], "--shots", "3", *options, "--out", out) == 0
        return [figure.get("base_classes") for figure in json.loads(out.read_text())["figures"]]

    own = json.loads((reconstructed / "gap.json").read_text())["figures"][0]["base_classes"]
    (few,) = base_classes("--classes", "reconstructed", "--base-classes", "2")
    (other,) = base_classes("--classes", "reconstructed", "--base-seed", "1")
    assert len(few) == 2 and set(few) <= set(own) and len(other) == 5 and set(other) != set(own)
    novel, test, validation = base_classes(
        "--classes", "novel", "reconstructed", "reconstructed_validation", "--base-classes", "3"
    )  # fmt: skip
    assert novel is None and len(test) == len(validation) == 3 and not set(test) & set(validation)
    # Of other base classes there is nothing to pair; the novel tasks are the same.
    capsys.readouterr()
    assert main(["compare", str(reconstructed / "gap.json"), str(tmp_path / "figures.json")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("novel ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classes", "novel", "--base-seed", "1"), "--base-seed=1 is of reconstructed tasks: add --classes reconstr"),
        (("--base-classes", "3"), "--base-classes=3 is of reconstructed tasks"),
        (("--classes", "reconstructed", "--base-classes", "11"), "need 11 base classes"),
        (("--classes", "reconstructed", "--base-classes", "-1"), "test_base=-1 must be at least 0"),
    ],
)
def test_base_classes_that_cannot_be(few_shot_runs, capsys, arguments, message):
    assert main(["evaluate", str(few_shot_runs["gap"]), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_list_of_reconstructed_tasks_is_of_its_base_classes(few_shot_runs, tmp_path, capsys):
    tasks = tmp_path / "tasks.npz"
    one = ("--classes", "reconstructed", "--shots", "3")
    assert evaluate(few_shot_runs["gap"], *one, "--save-episodes", tasks, "--out", tmp_path / "a.json") == 0
    assert evaluate(few_shot_runs["gap"], *one, "--seed", "9", "--episodes", tasks, "--out", tmp_path / "b.json") == 0
    a, b = (json.loads((tmp_path / f"{name}.json").read_text())["figures"] for name in "ab")
    assert a == b
    assert evaluate(few_shot_runs["gap"], *one, "--base-seed", "1", "--episodes", tasks) == 2
    assert "these data are of" in capsys.readouterr().err


def test_base_classes_that_selected_the_checkpoint_are_named(few_shot_runs, with_config, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(few_shot_runs["gap"], run)
    with_config(run, lambda config: config["few_shot"]["validation"].update(classes="reconstructed_validation"))
    one = ("--classes", "reconstructed", "--shots", "3")
    assert evaluate(run, *one) == 0
    assert "chose this run" not in capsys.readouterr().err
    # Five others of the ten selected it.
    assert evaluate(run, *one, "--base-classes", "8") == 0
    said = "of the base classes are also those whose held-out images chose this run's checkpoint"
    assert f"3 {said}" in capsys.readouterr().err
    assert evaluate(run, "--classes", "base", "--shots", "3") == 0  # all ten of them
    assert f"5 {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shots", "30"), "class 'class_.*' of the novel classes has 24 images; 30-shot episodes with 4 queries"),
        (("--way", "9"), "cannot make 9-way episodes"),
        (("--pooling", "gap"), "must be SUPPORT/QUERY"),
        (("--pooling", "gap/max"), "'gap/max' must be SUPPORT/QUERY"),
        (("--classes", "novle"), "Did you mean 'novel'"),
        (("--out", "figures.txt"), "--out=figures.txt: the name must end with .json"),
        (("--out", "nowhere/figures.json"), "there is no folder nowhere"),
        (("--batch-size", "0"), "--batch-size=0 must be at least 1"),
        (("--implants", "--implant-option", "tau=abc"), "--implant-option tau='abc' must be a number"),
    ],
)
def test_errors_name_the_thing_and_the_way_out(few_shot_runs, capsys, arguments, message):
    import re

    assert main(["evaluate", str(few_shot_runs["gap"]), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_run_and_no_novel_classes(digits_run, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert main(["evaluate", str(digits_run[0]), "--shots", "1"]) == 2
    assert "trained without novel classes" in capsys.readouterr().err


def test_activation_maps_side_by_side(few_shot_runs, tmp_path, capsys):
    out = tmp_path / "maps.png"
    runs = [str(few_shot_runs[name]) for name in ("gap", "implants")]
    assert main(["activations", *runs, "--count", "2", "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert image.size == (3 * 340, 4 * 360)
        assert np.std(np.asarray(image.convert("L"))) > 10
    assert "4 pictures, 2 runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", [[], *([name] for name in COMMANDS)])
def test_help_has_examples(name, capsys):
    with pytest.raises(SystemExit) as done:
        main([*name, "--help"])
    assert done.value.code == 0
    assert not name or "fsjax " in capsys.readouterr().out


def test_each_command_is_summarised_and_shows_itself(capsys):
    for name, summary in COMMANDS.items():
        assert summary and len(summary) <= 100
        assert re.search(rf"fsjax {name}[ \n]", command(name).__doc__), f"{name}: no example in its help"


def test_help_and_version_start_without_jax(python):
    script = (
        "import sys, fsjax.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\nassert 'jax' not in sys.modules"
    )
    assert "exit status" in python("-c", script).stdout


@pytest.mark.parametrize("given, status", [(None, 0), (3, 3)])
def test_the_status_of_a_command_is_passed_on(monkeypatch, given, status):
    monkeypatch.setattr(command("completion"), "run", lambda args: given)
    assert main(["completion", "bash"]) == status


def test_what_the_user_can_set_right_is_status_2_and_one_line(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: no checkpoint in")


def test_an_interrupt_is_a_word_and_the_status_of_shells(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command("completion"), "run", interrupted)
    assert main(["completion", "bash"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(root):
    # The script is longer than a pipe holds, so the command is still writing when its reader is gone.
    command = f"{sys.executable} -m fsjax completion bash | head -c 1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_all_commands_and_their_flags(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "save-episodes" in script
    if shell == "bash":
        check = "source /dev/stdin; COMP_WORDS=(fsjax comp); COMP_CWORD=1; _shtab_fsjax; echo ${COMPREPLY[@]}"
        found = subprocess.run(["bash", "-c", check], input=script, capture_output=True, text=True)
        assert found.stdout.split() == ["compare", "completion"], found.stderr
