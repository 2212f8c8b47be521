"""The network that comes with fsjax: whole, of use, and as good as its figures say."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import fsjax
from fsjax.errors import UserError
from fsjax.training import packaged
from fsjax.training.restored import restored


@pytest.fixture(scope="module")
def starter():
    return fsjax.starter()


def picture(shape, at, color, ground):
    """A filled circle or square of one area, uint8 `[48, 48, 3]`."""
    y, x = np.mgrid[:48, :48] - np.reshape(at, (2, 1, 1))
    inside = np.maximum(abs(x), abs(y)) <= 10 if shape == "square" else x**2 + y**2 <= 11.8**2
    return np.where(inside[..., None], np.uint8(color), np.uint8(ground))


def test_it_is_an_ordinary_run_in_any_folder(starter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fsjax.starter()
    assert "starter" in repr(run) and "48×48×3" in repr(run)
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    embedded = run.embed(images)
    assert embedded.shape == (5, 128) and embedded.dtype == np.float32 and np.isfinite(embedded).all()
    np.testing.assert_array_equal(embedded, starter.embed(images))
    with pytest.raises(UserError, match="no classes of its own"):
        run.predict(images)
    assert not list(tmp_path.iterdir())
    assert sum(file.stat().st_size for file in run.workdir.iterdir()) < 2 * 2**20


def test_its_name_opens_it_where_there_is_no_such_folder(starter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fsjax.restore("starter").workdir == fsjax.restore(starter.workdir).workdir == starter.workdir
    (tmp_path / "starter").mkdir()
    with pytest.raises(UserError, match="no checkpoint in"):
        fsjax.restore("starter")


def test_circles_and_squares_by_one_picture_each(starter):
    rng = np.random.default_rng(0)
    shapes = ["circle", "square"] * 10
    drawn = np.stack(
        [picture(s, rng.integers(16, 32, 2), rng.integers(0, 90, 3), rng.integers(165, 256, 3)) for s in shapes]
    )
    named = starter.few_shot(drawn[:4], shapes[:4], drawn[4:])
    assert (named == shapes[4:]).mean() >= 0.8


@pytest.mark.slow
def test_the_recorded_accuracy_on_digits_is_reproduced(starter):
    """The same tasks, and accuracies that differ by what machines round differently at most."""
    from benchmarks.starter import scored

    facts = json.loads((starter.workdir / "figures.json").read_text())
    known = {f["row"]: f for f in facts["figures"] if f["data"] == "digits" and f["shot"] == 5}
    found = scored(
        starter, "digits", per_class=facts["images_a_class"], tasks=known["starter"]["tasks"], shots=(5,),
        rows=("starter", "pixels"),
    )  # fmt: skip
    for figure in found:
        recorded = known[figure["row"]]
        assert figure["episodes"] == recorded["episodes"]
        assert figure["accuracy"] == pytest.approx(recorded["accuracy"], abs=0.002)
        assert np.mean(figure["each"]) == pytest.approx(figure["accuracy"])


@pytest.mark.slow
def test_tasks_of_its_novel_drawings(starter):
    """Fewer pictures of each class than the run has: they are the first of them."""
    from fsjax.evaluation.few_shot.protocol import Protocol

    config = starter.config.copy_and_resolve_references()
    config.data.drawings.train = 4
    run = dataclasses.replace(starter, config=config)
    (figure,) = run.evaluator().figures(Protocol(shots=(1,), query=3, tasks=100))
    assert figure.facts["data"] == "drawings" and 0.6 < figure.facts["accuracy"] < 1


def test_damaged_or_missing_files_are_refused(starter, tmp_path):
    folder = tmp_path / "starter"
    shutil.copytree(starter.workdir, folder)
    content = bytearray((folder / packaged.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / packaged.WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match=r"weights.safetensors is damaged: its SHA-256 is [0-9a-f]{64}, and model.json"):
        packaged.read(folder)
    (folder / packaged.WEIGHTS).unlink()
    with pytest.raises(UserError, match="is not whole .*weights.safetensors.*: install fsjax anew"):
        packaged.read(folder)
    shutil.copy(starter.workdir / packaged.WEIGHTS, folder)
    facts = json.loads((folder / packaged.FACTS).read_text())
    for name in ("sha256", "step"):
        (folder / packaged.FACTS).write_text(json.dumps({key: facts[key] for key in facts if key != name}))
        with pytest.raises(UserError, match=f"is not whole .model.json lacks '{name}'.: install fsjax anew"):
            packaged.read(folder)
    for content in ([1], {**facts, "step": [1]}):
        (folder / packaged.FACTS).write_text(json.dumps(content))
        with pytest.raises(UserError, match="is not whole .*: install fsjax anew"):
            packaged.read(folder)
    (folder / packaged.FACTS).write_text(json.dumps(facts))
    config = json.loads((folder / "config.json").read_text())
    config["model"]["resnet12"]["widths"] = [8, 8, 8, 8]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="of another network"):
        packaged.read(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not whole"):
        packaged.read(folder)


def test_variables_are_those_of_the_run_in_half_precision(few_shot_runs, tmp_path):
    import jax

    found = restored(few_shot_runs["gap"])
    packaged.write(found, tmp_path / "packed", {"seconds": 3.5})
    again = packaged.read(tmp_path / "packed")
    assert (again.step, again.info) == (found.step, found.info) and again.config.to_dict() == found.config.to_dict()
    assert json.loads((tmp_path / "packed" / "model.json").read_text())["seconds"] == 3.5
    for name in ("params", "collections"):
        given, read = getattr(found, name), getattr(again, name)
        assert jax.tree.structure(given) == jax.tree.structure(read)
        for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(read), strict=True):
            assert b.dtype == a.dtype
            np.testing.assert_array_equal(b, np.asarray(a, np.float16))
    large = dataclasses.replace(found, params=jax.tree.map(lambda x: x + 1e5, found.params))
    with pytest.raises(UserError, match="params/.* half precision ends at 65504"):
        packaged.write(large, tmp_path / "large", {})


@pytest.mark.slow
def test_its_config_runs_its_smoke_variant(root, tmp_path):
    from fsjax.config import check
    from fsjax.config_file import load_config
    from fsjax.training import run

    check(load_config(f"{root}/configs/starter.py"))
    result = run(load_config(f"{root}/configs/starter.py:smoke"), tmp_path / "run")
    assert result["test"]["figures"][0]["data"] == "drawings"


def test_pictures_of_the_benchmark():
    from benchmarks.starter import first_of_each, pictures, pixels
    from fsjax.data.sources.source import array_part

    labels = np.array([1, 0, 1, 1, 0, 2])
    part = first_of_each(array_part(np.zeros((6, 1, 1, 1), np.uint8), labels, "x"), 2)
    np.testing.assert_array_equal(part.items, [0, 1, 2, 4, 5])
    images, labels, names = pictures("digits", 3, 64)
    assert images.shape == (30, 64, 64, 3) and names == tuple("0123456789")
    np.testing.assert_array_equal(np.bincount(labels), [3] * 10)
    small = pixels(images)
    assert small.shape == (30, 768)
    assert small[7].reshape(16, 16, 3)[2, 5, 1] == pytest.approx(images[7, 8:12, 20:24, 1].mean() / 255)


@pytest.mark.parametrize("page", ["fsjax/starter/README.md", "docs/results.md"])
def test_the_tables_of_its_figures_are_those_that_were_recorded(root, starter, page):
    figures = json.loads((starter.workdir / "figures.json").read_text())["figures"]
    text = (root / page).read_text()
    for (data, shot), rows in by_table_row(figures).items():
        cells = [f"{100 * f['accuracy']:.1f} ± {100 * f['interval']:.1f}" for f in rows]
        assert f"| {data} | {rows[0]['classes']} | {shot} | {' | '.join(cells)} |" in text


def by_table_row(figures):
    rows = {}
    for figure in figures:  # starter, untrained, pixels: in this order
        rows.setdefault((figure["data"], figure["shot"]), []).append(figure)
    assert len(rows) == 14 and all([f["row"] for f in r] == ["starter", "untrained", "pixels"] for r in rows.values())
    return rows
