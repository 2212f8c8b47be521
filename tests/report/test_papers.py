"""The papers' tables: commands against configs and parsers, values against configs, figures against docs/results.md."""

import argparse
import ast
import dataclasses
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from fsjax import cli, config_file
from fsjax.cli import train
from fsjax.config_file import load_config
from fsjax.errors import UserError
from fsjax.report.collect import flat
from fsjax.report.papers import PAPERS, beside, recipes, show
from fsjax.report.papers.tables import MACHINE, Recipe, split_row

ROOT = Path(__file__).parents[2]


def all_recipes():
    return [r for paper in PAPERS.values() for t in paper.tables for r in t.recipes.values() if isinstance(r, Recipe)]


def trainings(recipe):
    training = recipe.training
    while training is not None:
        yield training
        training = training.start_from


def config_of(spec):
    """A config by "dc_mini:gap", as training makes it."""
    return load_config(spec)


def as_json(config):
    return flat(json.loads(json.dumps(config.to_dict())))


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_values_of_a_recipe_are_what_its_run_writes_down(where, tmp_path, monkeypatch):
    if where == "elsewhere":
        monkeypatch.chdir(tmp_path)
    recipes._recipe.cache_clear()
    for training in {t.config: t for recipe in all_recipes() for t in trainings(recipe)}.values():
        written = as_json(config_of(training.config))
        found = recipes.values(dataclasses.replace(training, overrides=(), start_from=None))
        assert {key: found[key] for key in written} == written
        assert found.keys() == recipes.base().keys(), training.config  # what a recipe leaves out is the base's


# The tables.

TABLES = [(f"{name}, {table.title}", table) for name, paper in PAPERS.items() for table in paper.tables]
STUDIES = [(f"{where}, {study.command}", table, study) for where, table in TABLES for study in table.studies]


@pytest.mark.parametrize("table", [t for _, t in TABLES], ids=[w for w, _ in TABLES])
def test_every_cell_is_a_number_with_a_recipe_or_a_reason(table):
    assert all(len(line) == len(table.head) for line in table.lines)
    assert len(set(table.rows)) == len(table.rows) and len(set(table.columns)) == len(table.columns)
    for cell, text in table.cells.items():
        assert re.fullmatch(r"\d+(\.\d+)?( ± \d+\.\d+)?", text), cell
        recipe = table.recipes[cell]
        assert recipe.commands if isinstance(recipe, Recipe) else len(recipe) > 20


def parsed(module, argv, monkeypatch):
    """What the real parser of a command makes of a command line, and nothing after it."""

    class Parsed(Exception):
        pass

    real = argparse.ArgumentParser.parse_args

    def parse(self, args=None, namespace=None):
        raise Parsed(real(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", ["command", *argv])
    try:
        module.main()
    except Parsed as found:
        return found.args[0]
    raise AssertionError("nothing was parsed")


def all_commands():
    found = {command: None for recipe in all_recipes() for command in recipe.commands}
    found |= {command: None for paper in PAPERS.values() for _, commands in paper.figures for command in commands}
    return [*(found | {study.command: None for _, _, study in STUDIES})]


def test_every_command_is_understood_by_its_program(monkeypatch):

    monkeypatch.chdir(ROOT)
    folders = set()
    for command in all_commands():
        program, *argv = shlex.split(command)
        if argv[0] == "train":
            folders.add(train.read(cli.parse(argv))[1])
        elif program == "fsjax":
            with monkeypatch.context() as patch:
                args = parsed(cli, argv, patch)
            given = args.run if isinstance(args.run, list) else [args.run]
            assert set(given) <= folders, f"{command} reads a run that no command before it makes"
        else:
            assert (program, argv[0]) == ("python", "-m")
            with monkeypatch.context() as patch:
                parsed(importlib.import_module(argv[1]), argv[2:], patch)


@pytest.mark.parametrize("name", PAPERS)
def test_overrides_are_what_the_recipe_means(name):
    """The value of every override is of the kind that the config's is, and no folder is of two trainings."""
    by_folder = {}
    for table in PAPERS[name].tables:
        for recipe in (r for r in table.recipes.values() if isinstance(r, Recipe)):
            for training in trainings(recipe):
                config = as_json(config_of(training.config))
                for key, value in training.overrides:
                    assert type(value) is type(config[key]), key
                    assert value != config[key], f"{key} is the config's own"
                assert by_folder.setdefault(training.folder, training) == training
            assert all(recipes.values(recipe.training)[key] == value for key, value in recipe.only)


def test_evaluations_ask_for_the_tasks_of_their_cells(monkeypatch):
    """An oracle of its own for what `Tasks` says of each cell: the parsed command line, by the protocol's own code."""
    from fsjax.cli.evaluate import ALL_POOLINGS
    from fsjax.evaluation.few_shot.protocol import Protocol

    for recipe in all_recipes():
        if not recipe.score or isinstance(recipe.score, str):
            continue
        with monkeypatch.context() as patch:
            args = parsed(cli, shlex.split(recipe.then[0])[1:], patch)
        asked = Protocol(classes=tuple(args.classes), shots=tuple(args.shots), query=args.query, tasks=args.tasks)
        wanted = recipe.score
        assert wanted.classes in asked.classes and wanted.shot in asked.shots
        assert (asked.way, asked.query, asked.tasks) == ((wanted.way,), wanted.query, wanted.tasks)
        chosen = ALL_POOLINGS if args.pooling == ["all"] else args.pooling or ["gap/gap"]
        assert wanted.pooling in chosen
        options = dict(option.split("=") for option in args.implant_option)
        pools = "/".join(options.get(f"{part}_pool", "gap") for part in ("support", "query"))
        assert (pools if args.implants else "") == wanted.implants


def test_rows_are_the_variants_that_the_heads_of_the_configs_name():
    """The configs' docstrings have the papers' tables too, with the variant of each row."""
    seen = set()
    for name, title in (("aflm", "Table 1"), ("dc", "Table 4"), ("dc", "Table 5"), ("localization", "Table 2")):
        table = next(t for t in PAPERS[name].tables if t.title == title)
        for cell, recipe in table.recipes.items():
            if isinstance(recipe, str):
                continue
            file, _, arg = recipe.training.config.partition(":")
            variant = next((part for part in arg.split(",") if part not in ("1shot", "reconstructed", "")), None)
            files = config_file.recipes()
            path = files.get(file) or files[file.rpartition("_")[0]]
            head = ast.get_docstring(ast.parse(path.read_text())).splitlines()
            of_variant = [line for line in head if f"(:{variant})" in line]
            if variant and of_variant:
                seen.add((name, variant))
                assert any(table.cells[cell].split()[0] in line for line in of_variant), cell
    assert len(seen) == 10


def test_trainings_of_aflm_have_the_shots_and_scenario_of_their_columns():
    (table,) = PAPERS["aflm"].tables
    for recipe in table.recipes.values():
        few_shot = config_of(recipe.training.config).few_shot
        tasks = recipe.score
        assert (few_shot.classes[0], few_shot.shots[0]) == (tasks.classes, tasks.shot)
        assert (few_shot.query[0], few_shot.tasks) == (tasks.query, tasks.tasks)


def test_long_tails_have_the_ratio_of_their_columns():
    table = PAPERS["icu"].tables[1]
    for (_, column), recipe in table.recipes.items():
        data = config_of(recipe.training.config).data
        assert column == f"{data.name.upper().replace('CIFAR', 'CIFAR-')}-LT {data.longtail_ratio:g}"


# What was measured: docs/results.md is where it comes from.


def result_sections():
    """The passages of docs/results.md by their heading, each as a list of tables (lists of lines) and its text."""
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    sections = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        blocks = re.findall(r"(?:^\|.*\|$\n?)+", body, flags=re.MULTILINE)
        tables = [[split_row(line) for line in block.splitlines()] for block in blocks]
        sections[title.strip()] = tables, " ".join(body.split())
    return sections


@pytest.mark.parametrize(("table", "study"), [s[1:] for s in STUDIES], ids=[s[0] for s in STUDIES])
def test_measured_figures_are_those_of_the_results_page(table, study):
    tables, text = result_sections()[study.section]
    assert all(cell in table.cells or cell[0] in table.rows for cell in study.values)
    assert study.values and all(row in table.rows and column in table.columns for row, column in study.values)
    if study.cells:
        excerpt = " ".join(study.excerpt.split())
        assert excerpt in text
        for value in (number for cell in study.cells.values() for number in cell.split(", ")):
            assert re.search(rf"(?<![\d.]){re.escape(value)}(?![\d.])", excerpt)
        return
    head, *rows = [split_row(line) for line in study.excerpt.strip().splitlines()]
    assert any(lines[0] == head and all(row in lines for row in rows) for lines in tables), "not in docs/results.md"
    # Positions of the figures: no head of a column that is read is a published figure, a difference or a time.
    read = [name for name, column in zip(head, study.columns, strict=True) if column]
    assert not any(re.search(r"paper|second|step|−", name) for name in read)


def test_the_readme_names_the_machine_and_the_commands():
    _, text = result_sections()["Results"]
    assert "2 cores of a shared x86-64 machine (no accelerator), Python 3.11, jax 0.10.2, float32" in text
    assert MACHINE == "2 cores of a shared x86-64 machine, no accelerator; Python 3.11, jax 0.10.2, float32"
    for _, _, study in STUDIES:
        _, text = result_sections()[study.section]
        start = " ".join(study.command.split()[:4])  # "... tiny" is the second of two
        assert start in text or f"`... {study.command.split()[3]}`" in text


# Runs, made up.


def run_folder(folder, spec, *, test, seed=0, **overrides):
    """The files of a finished run of a config."""
    config = config_of(spec)
    config.seed = seed
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "data.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("")
    if test is not None:
        (folder / "result.json").write_text(json.dumps({"name": config.name, "seed": seed, "test": test}))
    return folder


def figure(accuracy, *, shot=5, classes="novel", pools="gap/gap", tasks=10_000, query=30, implants=None, **more):
    support, to = pools.split("/")
    facts = {"classes": classes, "way": 5, "shot": shot, "query": query, "seed": 0, "support_pool": support}
    options = {"implants": implants} if implants else {}
    return {**facts, "query_pool": to, "accuracy": accuracy, "interval": 0.002, "tasks": tasks, **options, **more}


def load(folder):
    return tuple(json.loads((folder / f"{name}.json").read_text()) for name in ("config", "result"))


def lines(text, *cells):
    """The lines of Markdown tables whose cells begin like this, as lists of cells."""
    rows = [split_row(line) for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[: len(cells)] == list(cells)]


def test_a_run_of_the_recipe_and_one_that_departs(tmp_path, capsys):
    exact = run_folder(tmp_path / "exact", "icu_cifar100", test={"accuracy": 0.7712}, data__path="/elsewhere")
    short = run_folder(tmp_path / "short", "icu_cifar100", test={"accuracy": 0.5}, train__steps=2000, loss__name="lgm")
    show("icu", [exact, short], None)
    text = capsys.readouterr().out
    (ours,) = [row for row in lines(text, "ICU", "CIFAR-100") if row[3] != "–"]
    assert ours[2:5] == ["77.80 ± 0.08", "77.12", "–"]
    (of_lgm,) = [row for row in lines(text, "L-GM [12]", "CIFAR-100") if row[4] == "50.00"]
    assert of_lgm[2:4] == ["76.06 ± 0.08", "–"]
    note = next(line for line in text.splitlines() if line.startswith(of_lgm[5]) and "short" in line)
    assert "2,000 steps, not 120,000." in note and "loss.lgm" not in note
    # Table 3's row of both margins is the same run; those without are not.
    assert [row[3] for row in lines(text, "ICU loss, α, γ", "CIFAR-100")] == ["–", "77.12"]
    assert not lines(text, "ICU loss, α", "CIFAR-100")


def test_a_run_without_a_margin_is_of_the_ablation_alone(tmp_path):
    run = run_folder(tmp_path / "run", "icu_cifar100", test={"accuracy": 0.5}, loss__icu__alpha=0.0)
    assert [cell for cell, *_ in beside(*load(run))] == ["icu, Table 3: ICU loss, γ, CIFAR-100"]


def test_seeds_of_a_cell_are_reduced_and_a_seed_counts_once(tmp_path, capsys):
    runs = [
        run_folder(tmp_path / f"run{n}", "icu_mnist:2d", test={"accuracy": value}, seed=seed)
        for n, (value, seed) in enumerate([(0.98, 0), (0.99, 1), (0.985, 2), (0.5, 1)])
    ]
    show("icu", runs, None)
    text = capsys.readouterr().out
    (row,) = [row for row in lines(text, "ICU", "MNIST 2-D") if row[3] != "–"]
    assert row[3] == "98.50 ± 0.50"  # of 98, 99 and 98.5, by hand
    note = next(line for line in text.splitlines() if line.startswith(row[5]) and "run0" in line)
    assert "3 seeds" in note and f"Left out, as a run of their seed is there: {runs[3]}" in note


def test_few_shot_figures_go_to_the_cells_of_their_tasks(tmp_path):
    test = {
        "accuracy": 0.57,
        "figures": [
            figure(0.57, pools="gap/dense"),
            figure(0.42, pools="gap/dense", shot=1, tasks=2000),
            figure(0.56, pools="gap/gap"),
            figure(0.81, pools="gap/dense", classes="base"),
        ],
    }
    run = run_folder(tmp_path / "run", "dc_fc100", test=test)
    assert sorted(beside(*load(run))) == [
        ("dc, Table 5: DC (ours), 1-shot", "42.04 ± 0.17", "42.00 ± 0.20", "Not the recipe: 2,000 tasks, not 10,000"),
        ("dc, Table 5: DC (ours), 5-shot", "57.05 ± 0.16", "57.00 ± 0.20", "The recipe"),
    ]


def test_the_poolings_of_table_2_and_the_wide_network(tmp_path):
    figures = [figure(0.7, classes=c, pools=p) for c in ("novel", "base", "both") for p in ("gmp/gmp", "gap/gap")]
    run = run_folder(tmp_path / "run", "dc_mini:gap", test={"accuracy": 0.7, "figures": figures})
    found = {cell: paper for cell, paper, _, note in beside(*load(run)) if note == "The recipe"}
    assert found["dc, Table 2: Global average pooling, Both classes, GMP/GMP"] == "37.74 ± 0.07"
    assert found["dc, Table 4: GAP, 5-shot"] == found["dc, Table 1: ResNet-12, GAP, 5-shot"] == "76.40 ± 0.13"
    assert len(found) == 8
    wide = run_folder(tmp_path / "wide", "dc_mini:wide", test={"figures": [figure(0.7, pools="gap/dense")]})
    assert [cell for cell, *_ in beside(*load(wide))] == ["dc, Table 4: DC + WIDE, 5-shot"]


def test_implants_by_method_and_by_option(tmp_path):
    options = config_of("implants_mini").method.implants.to_dict()
    gmp = {**options, "support_pool": "gmp", "query_pool": "gmp", "steps": 10}
    figures = [
        figure(0.8, pools="gap/dense", implants=options, tasks=5000),
        figure(0.79, pools="gap/gmp", implants=gmp, tasks=5000),
    ]
    run = run_folder(tmp_path / "run", "implants_mini", test={"accuracy": 0.8, "figures": figures})
    assert sorted(beside(*load(run))) == [
        ("dc, Table 3: GAP, GAP, DC", "79.77 ± 0.19", "80.00 ± 0.20", "The recipe"),
        ("dc, Table 3: GMP, GMP, GMP", "78.92 ± 0.19", "79.00 ± 0.20", "Not the recipe: implants' steps 10, not 50"),
        ("dc, Table 4: DC + IMP (ours), 5-shot", "79.77 ± 0.19", "80.00 ± 0.20", "The recipe"),
    ]


def test_a_file_of_evaluate_stands_for_the_run_of_which_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = run_folder(tmp_path / "runs" / "x", "dc_fc100:gap", test={"figures": [figure(0.5, tasks=100)]})
    out = tmp_path / "x.json"
    out.write_text(json.dumps({"run": str(run), "step": 3, "figures": [figure(0.61, shot=10), figure(0.55)]}))
    show("dc", [Path("runs/x"), Path("x.json")], None)
    text = capsys.readouterr().out
    assert [r[3] for r in lines(text, "GAP", "5-shot") + lines(text, "GAP", "10-shot") if r[3] != "–"] == [
        "55.00 ± 0.20",
        "61.00 ± 0.20",
    ]
    # The file alone is enough where it says; where the run has gone, it is asked for.
    show("dc", [out], None)
    assert "61.00 ± 0.20" in capsys.readouterr().out
    run.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="give the run's folder too"):
        show("dc", [out], None)


def test_the_run_that_meta_baseline_started_from_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures = {"figures": [figure(0.6, tasks=8000, query=15)]}
    short = run_folder(tmp_path / "short", "aflm_mini:global", test={}, train__steps=10)
    run_folder(tmp_path / "whole", "aflm_mini:global", test={})
    notes = {}
    for start in (str(short), "whole", "gone", ""):
        name = Path(start).name or "none"
        run = run_folder(tmp_path / f"m_{name}", "aflm_mini:meta_baseline", test=figures, start_from=start)
        ((_, _, _, notes[name]),) = [found for found in beside(*load(run)) if found[0].startswith("aflm")]
    assert notes == {
        "short": "Not the recipe: started from a run with 10 steps, not 20,000",
        "whole": "The recipe",
        "gone": "Not the recipe: started from gone, whose config is not there to be looked at",
        "none": "Not the recipe: not started from a run of aflm_mini:global",
    }


def test_other_data_are_named_and_only_where_the_row_is_on_no_others(tmp_path):
    figures = {"figures": [figure(0.6, tasks=8000, query=15)]}
    run = run_folder(tmp_path / "a", "aflm_cifarfs:no_attention", test=figures)
    ((cell, _, _, note),) = beside(*load(run))
    assert cell == "aflm, Table 1: w/o attention, mini 5-shot"
    assert note.startswith("Not the recipe: data cifar_fs, not mini_imagenet")
    fc100 = run_folder(tmp_path / "b", "dc_fc100:gap", test={"figures": [figure(0.6)]})
    assert [found[0] for found in beside(*load(fc100))] == ["dc, Table 5: GAP, 5-shot"]


def test_runs_of_no_cell_say_why(tmp_path, capsys):
    digits = run_folder(tmp_path / "digits", "icu_digits", test={"accuracy": 0.9})
    unfinished = run_folder(tmp_path / "unfinished", "icu_cifar100", test=None)
    untested = run_folder(tmp_path / "untested", "dc_fc100:gap", test={"figures": [figure(0.6, classes="both")]})
    show("icu", [digits, unfinished, untested], None)
    text = capsys.readouterr().out
    assert f"`{digits}`: of other data, digits" in text
    assert f"`{unfinished}`: not finished" in text
    assert f"`{untested}`: no row of this paper" in text
    show("dc", [untested], None)
    assert f"fsjax evaluate {untested} --classes novel" in capsys.readouterr().out
    assert beside({}, {}) == [] and beside(load(digits)[0], {}) == []


def test_a_run_of_an_older_version_is_read(tmp_path):
    """Keys that were added later are not there, and a config then was the same recipe."""
    run = run_folder(tmp_path / "run", "icu_cifar10", test={"accuracy": 0.94})
    config, result = load(run)
    for key in ("pretrained", "teacher", "feature_dropout"):
        del config[key]
    del config["data"]["keep_test"]
    assert beside(config, result) == [("icu, Table 1: ICU, CIFAR-10", "94.38 ± 0.05", "94.00", "The recipe")]


# What is written.


def test_unknown_names_damaged_files_and_outputs_are_named(tmp_path):
    with pytest.raises(UserError, match="known: aflm, dc, icu, localization"):
        show("dcc", [], None)
    with pytest.raises(UserError, match=r"must end with \.md or \.html"):
        show("dc", [], tmp_path / "dc.pdf")
    (tmp_path / "x.json").write_text('{"a": 1}')
    for path, words in (("x.json", "neither the workdir"), ("none", "there is no"), (".", "not the workdir of a run")):
        with pytest.raises(UserError, match=words):
            show("dc", [tmp_path / path], None)


@pytest.mark.parametrize("name", PAPERS)
def test_every_figure_of_a_paper_is_in_the_text(name, capsys):
    show(name, [], None)
    text = capsys.readouterr().out
    for table in PAPERS[name].tables:
        for line in table.lines:
            assert [row for row in lines(text, *line)], line
        assert all(command in text for r in table.recipes.values() if isinstance(r, Recipe) for command in r.commands)
    # Without runs nothing of the recipes has been measured.
    measured = [row for row in (split_row(x) for x in text.splitlines()) if len(row) == 6 and row[5][:1] == "["]
    assert all(row[3] == "–" and row[4] != "–" for row in measured)


def test_files_and_names_with_markup(tmp_path, capsys):
    run = run_folder(tmp_path / "a|<b>`&", "icu_mnist:2d", test={"accuracy": 0.98})
    show("icu", [run], tmp_path / "icu.html")
    page = (tmp_path / "icu.html").read_text(encoding="utf-8")
    assert "a|&lt;b&gt;" in page and "<b>" not in page and page.startswith("<!doctype html>")
    show("icu", [run], tmp_path / "icu.md")
    assert "98.00" in (tmp_path / "icu.md").read_text(encoding="utf-8")
    assert str(tmp_path / "icu.md") in capsys.readouterr().out


def test_by_the_command_line(capsys):
    assert cli.main(["report", "--paper", "aflm"]) == 0
    assert "| Ours              | 61.52 ± 0.23 |" in capsys.readouterr().out
    assert cli.main(["report", "--paper", "nothing"]) == 2
    assert "known: aflm" in capsys.readouterr().err
