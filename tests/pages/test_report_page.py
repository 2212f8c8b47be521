"""`fsjax report`, as the shell calls it, in this process; and its pages in a browser."""

import itertools
import json
import re
import shutil

import pytest

from fsjax.cli import main

# Legal in a folder's name, and markup in a page that does not take care.
EVIL = "run & <img src=x onerror=alert(1)> ünï"
EVIL_CLASS = "<script>alert(2)</script>"


@pytest.fixture(scope="module")
def digits_page(digits_run, tmp_path_factory):
    """The page of a run and of its copy (another name, another config, a damaged line), and the exit status."""
    folder = tmp_path_factory.mktemp("report")
    copy = folder / EVIL
    shutil.copytree(digits_run[0], copy)
    config = json.loads((copy / "config.json").read_text())
    config["name"], config["seed"] = "<i>copy</i>", 0 if config["seed"] else 1
    (copy / "config.json").write_text(json.dumps(config))
    with (copy / "metrics.jsonl").open("a") as file:
        file.write("{damaged\n")
    out = folder / "digits.html"
    status = main(["report", str(digits_run[0]), str(copy), "--pictures", "3", "--out", str(out)])
    return out, status, digits_run[1]


@pytest.fixture(scope="module")
def few_shot_page(few_shot_runs, tmp_path_factory):
    """The page of two runs on divided classes, one of which has a class with markup in its results."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(few_shot_runs["gap"], folder / "gap")
    path = folder / "gap" / "result.json"
    result = json.loads(path.read_text())
    for figure in result["test"]["figures"]:
        figure["per_class"][EVIL_CLASS] = figure["per_class"].pop(next(iter(figure["per_class"])))
    path.write_text(json.dumps(result))
    out, runs = folder / "few_shot.html", [str(folder / "gap"), str(few_shot_runs["implants"])]
    status = main(["report", *runs, "--tasks", "10", "--out", str(out)])
    return out, status


def sections(text):
    return re.findall(r'<section id="([\w-]+)"', text)


def test_page_of_a_classifier(digits_page):
    out, status, result = digits_page
    text = out.read_text()
    assert status == 3  # of the damaged line
    assert "1 of 10 lines of metrics.jsonl are damaged" in text or re.search(r"1 of \d+ lines of metrics", text)
    found = sections(text)
    assert found[:5] == ["summary", "curves", "classes", "comparison", "embeddings"] and found[-1] == "left-out"
    accuracy = 100 * result["test"]["accuracy"]
    assert f"{accuracy:.2f} [" in text and f"{result['training']['parameters']:,}" in text
    # The copy is the same network on the same images.
    assert "+0.00 ± 0.00" in text
    assert re.search(r'<th scope="row">seed</th>', text)
    assert out.stat().st_size < 2 * 2**20


def test_names_come_out_as_text(digits_page, few_shot_page):
    for text in (digits_page[0].read_text(), few_shot_page[0].read_text()):
        assert "<img src=x" not in text and "<i>copy" not in text and EVIL_CLASS not in text
    assert "run &amp; &lt;img src=x onerror=alert(1)&gt; ünï" in digits_page[0].read_text()
    assert "&lt;i&gt;copy&lt;/i&gt;" in digits_page[0].read_text()
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in few_shot_page[0].read_text()


def test_no_level_of_headings_is_left_out(digits_page, few_shot_page):
    for out, _ in (digits_page[:2], few_shot_page):
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", out.read_text())]
        assert levels[0] == 1 and max(levels) == 4
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_page_of_few_shot_runs(few_shot_page):
    out, status = few_shot_page
    text = out.read_text()
    assert not status
    found = sections(text)
    assert found[:2] == ["summary", "curves"] and {"few-shot", "comparison", "embeddings"} <= set(found)
    assert "no run classifies the classes of its test split" in text


@pytest.mark.parametrize("width", [1280, 390])
def test_a_classifier_in_a_browser(width, digits_page, check_page):
    page = check_page(digits_page[0], width=width)
    assert page.locator("h1").inner_text() == f"Report of run, {EVIL}"
    assert page.locator("#classes .card img").count() >= 1


@pytest.mark.parametrize("width", [1280, 390])
def test_few_shot_runs_in_a_browser(width, few_shot_page, check_page):
    page = check_page(few_shot_page[0], width=width)
    assert page.locator("#few-shot img").count() > 20


def test_a_table_is_sorted(digits_page, check_page):
    page = check_page(digits_page[0], width=1280, keyboard=False)
    head = page.locator("#classes table[data-sortable] thead th").first
    head.locator("button").press("Enter")
    names = page.locator("#classes table[data-sortable] tbody th").all_inner_texts()
    assert head.get_attribute("aria-sort") == "ascending" and names == sorted(names)


def test_of_the_files_alone(digits_run, few_shot_runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert not main(["report", str(digits_run[0]), str(few_shot_runs["gap"]), "--no-data", "--out", str(out)])
    text = out.read_text()
    assert sections(text)[:3] == ["summary", "curves", "few-shot"]
    assert "without looking at the data (--no-data)" in text and "2 runs" in capsys.readouterr().out


def test_a_run_without_checkpoint_is_shown_from_its_files(digits_run, tmp_path, capsys):
    folder, out = tmp_path / "run", tmp_path / "page.html"
    shutil.copytree(digits_run[0], folder, ignore=shutil.ignore_patterns("checkpoints", "result.json"))
    assert main(["report", str(folder), "--out", str(out)]) == 3
    text = out.read_text()
    assert "no checkpoint in" in text and "not finished: not tested" in text and "curves" in sections(text)
    assert "no checkpoint in" in capsys.readouterr().err


def test_what_cannot_be_is_refused(digits_run, tmp_path, capsys):
    run = str(digits_run[0])
    for arguments, words in (
        ([], "give the workdir of a run"),
        ([str(tmp_path)], "is not the workdir of a run"),
        ([run, run], "given twice"),
        ([run, "--out", str(tmp_path / "page.txt")], "must end with .html"),
        ([run, "--out", str(tmp_path / "gone" / "page.html")], "there is no folder"),
        ([run, "--tasks", "1"], "--tasks=1 must be at least 2"),
        ([run, "--pictures", "-1"], "--pictures=-1 must be at least 0"),
    ):
        assert main(["report", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
