"""The notebooks: each is executed in a fresh kernel, and what is stored in them is what comes out.

FSJAX_STORE_NOTEBOOKS=1 python -m pytest tests/test_notebooks.py    # store what comes out, after a change
"""

import copy
import csv
import json
import os
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
STORE = "FSJAX_STORE_NOTEBOOKS"
# Stands in stored outputs for where the repository lies.
HOME = "/home/you/fsjax"
MOST_BYTES = 200_000

by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder that looks like the repository's, for notebooks to write into."""
    folder = tmp_path / "fsjax"
    (folder / "notebooks").mkdir(parents=True)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "fsjax").symlink_to(ROOT / "fsjax")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))  # the package alone
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    return folder


@pytest.fixture
def execute(repository):
    """Executes a notebook; the values of expressions at its end, by name."""

    def run(name, **wanted):
        path = FOLDER / f"{name}.ipynb"
        stored = nbformat.read(path, as_version=4)
        executed = copy.deepcopy(stored)
        out = repository / "values.json"
        pairs = ", ".join(f"{key!r}: {value}" for key, value in wanted.items())
        last = f"import json\nwith open({str(out)!r}, 'w') as file:\n    json.dump({{{pairs}}}, file, default=float)"
        executed.cells.append(nbformat.v4.new_code_cell(last))
        NotebookClient(
            executed,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(repository / "notebooks")}},
            record_timing=False,
            coalesce_streams=True,  # how a kernel cuts what is printed into messages varies
        ).execute()  # raises for an error in a cell
        executed.cells.pop()
        executed.metadata = stored.metadata
        as_of_home(executed, repository)
        check_clean(executed)
        if os.environ.get(STORE):
            nbformat.write(executed, path)
        else:
            assert shown(executed) == shown(stored), f"{path.name} is stale: {STORE}=1 stores what comes out now"
        return json.loads(out.read_text())

    return run


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(output):
    """The texts of an output by their type, images aside."""
    if output.output_type == "stream":
        return {output.name: output.text}
    return {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}


def as_of_home(notebook, repository):
    """Puts the place that stands for the reader's in the place of the folders of this execution."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            holder = output if output.output_type == "stream" else output.get("data", {})
            for kind, text in holder.items():
                if isinstance(text, str) and not kind.startswith("image/"):
                    holder[kind] = text.replace(str(repository), HOME).replace(str(repository.parent / "path"), HOME)


def shown(notebook):
    """What each code cell shows, without numbers, which differ from machine to machine but in cells tagged "exact"."""
    tagged = [(cell, "exact" in cell.metadata.get("tags", [])) for cell in code_cells(notebook)]
    return [[_shown(output, exact) for output in cell.outputs] for cell, exact in tagged]


def _shown(output, exact):
    found = {}
    for kind, text in texts(output).items():
        text = re.sub(r"<style>.*?</style>|<iframe.*?</iframe>", "", text, flags=re.S)  # tests/pages are about them
        found[kind] = " ".join((text if exact else re.sub(r"\d[\w.,]*", "#", text)).split())
    return {**found, **{kind: "" for kind in output.get("data", {}) if kind.startswith("image/")}}


def check_clean(notebook):
    """No error, no warning, no path of this machine."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", output.get("traceback")
            found = texts(output)
            assert "stderr" not in found, found
            for text in found.values():
                for path in re.findall(r"/(?:home|root|tmp|work|Users|usr|var|opt|private|mnt)/[\w./-]*", text):
                    assert path.startswith(HOME), path
                assert str(Path.home()) + "/" not in text and "Traceback" not in text and "Warning" not in text


# What is stored


def test_there_are_four():
    assert {path.stem for path in NOTEBOOKS} == {"restore", "my_pictures", "add_a_loss", "several_devices"}


@by_notebook
def test_stored(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < MOST_BYTES
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "not executed from top to bottom"
    check_clean(notebook)


@by_notebook
def test_links_between_notebooks_lead_somewhere(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", cell.source if cell.cell_type == "markdown" else ""):
            assert (FOLDER / target).exists(), target
        for target in re.findall(r"`((?:docs|tests|configs|fsjax)/[\w./-]+)`", cell.source):
            assert (ROOT / target).exists(), target


# What comes out


def result_of(repository, name):
    return json.loads((repository / "runs" / name / "result.json").read_text())


@pytest.mark.slow
def test_restore(execute, repository):
    found = execute("restore", accuracy="accuracy", predicted="predicted.tolist()", names="list(run.class_names)")
    assert found["accuracy"] == pytest.approx(result_of(repository, "notebook_digits")["test"]["accuracy"], abs=1e-6)
    # The same by the data's own labels, read here.
    from fsjax import data

    config = json.loads((repository / "runs" / "notebook_digits" / "config.json").read_text())
    labels = data.load_splits(config["data"], seed=config["seed"]).test.labels
    assert found["accuracy"] == np.mean(labels == found["predicted"]) > 0.8
    assert found["names"] == [str(digit) for digit in range(10)]


@pytest.mark.slow
def test_my_pictures(execute, repository):
    found = execute(
        "my_pictures",
        accuracy="accuracy",
        accuracy_of_four="accuracy_of_four",
        agree="agree",
        rejected="sum(row.rejected for row in moons)",
        classes="model.classes",
    )
    folder = repository / "runs" / "notebook_pictures"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(path.name for path in (folder / "many").iterdir())
    assert {row["file"] for row in rows if not row["label"]} == {"broken.png"}
    kinds = {row["file"]: row["file"].split("_")[0] for row in rows}
    of_moons = [row["label"] for row in rows if kinds[row["file"]] == "moon"]
    assert found["rejected"] == of_moons.count("none of these")
    # Rejected or not, the most likely class of a picture is the same: the label, or of a rejected one the runner-up.
    likely = [row["runner_up"] if row["label"] == "none of these" else row["label"] for row in rows]
    right = [
        like == kinds[row["file"]] for like, row in zip(likely, rows, strict=True) if kinds[row["file"]] in LEARNED
    ]
    assert found["accuracy"] == np.mean(right) > 0.6
    assert found["accuracy_of_four"] > 0.5
    assert found["agree"] == 1
    assert found["classes"] == ["moon", "ring", "star", "arrow"]


LEARNED = ("arrow", "ring", "star")


@pytest.mark.slow
def test_add_a_loss(execute, repository):
    logits, labels = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), np.array([0, 2])
    call = f"poly_cross_entropy(jnp.array({logits.tolist()}), jnp.array({labels.tolist()}), epsilon=0.7).tolist()"
    found = execute(
        "add_a_loss", losses=call, accuracy="accuracy", errors="[formula_error, gradient_error, limit_error]"
    )
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[[0, 1], labels]
    np.testing.assert_allclose(found["losses"], -np.log(p) + 0.7 * (1 - p), rtol=1e-5)
    assert max(found["errors"]) < 1e-8
    for name, accuracy in found["accuracy"].items():
        assert accuracy == result_of(repository, f"notebook_loss_{name}")["test"]["accuracy"] > 0.8
    mine = json.loads((repository / "runs" / "notebook_loss_mine" / "config.json").read_text())["loss"]
    assert (mine["name"], mine["mine"]) == ("mine", {"epsilon": 1.0})


@pytest.mark.slow
def test_several_devices(execute, repository):
    found = execute(
        "several_devices", count="jax.device_count()", losses="losses", accuracy="accuracy", used="len(used)"
    )
    assert (found["count"], found["used"]) == (4, 1)
    written = {}
    for name in found["losses"]:
        run = repository / "runs" / f"notebook_devices_{name}"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        written[name] = np.array([line["loss"] for line in lines if line["kind"] == "train"])
        assert written[name].tolist() == found["losses"][name] and len(written[name]) == 20
        machine = result_of(repository, run.name)["machine"]["devices"]
        assert ("4" in machine) == (name != "one"), machine
    for name in ("shard_map", "pmap"):
        np.testing.assert_allclose(written[name], written["one"], rtol=1e-5)
    assert written["one"][-1] < written["one"][0]
    scored = result_of(repository, "notebook_devices_shard_map")["test"]["accuracy"]
    assert found["accuracy"] == pytest.approx(scored, abs=1e-6)
