"""The study of intervals: its pools, that it takes up where it stopped, and the arithmetic of its table."""

import json

import numpy as np
import pytest

from benchmarks.studies import intervals as study
from benchmarks.studies.shared import with_intervals

LABELS = np.repeat(np.arange(100), 600)


def test_pools_are_images_of_twenty_classes():
    everything, of_classes = (study.pool(LABELS, part, -1) for part in ("classes", "images"))
    assert len(everything) == 60_000 and len(of_classes) == 20 * 600
    fixed = np.unique(LABELS[of_classes])
    for part in ("classes", "images"):
        pools = [study.pool(LABELS, part, number) for number in (0, 1)]
        for index in pools:
            classes, counts = np.unique(LABELS[index], return_counts=True)
            assert len(classes) == 20 and set(counts) == {100} and len(set(index)) == 2000
            assert (part == "classes") == (classes.tolist() != fixed.tolist())
        assert len(np.intersect1d(*pools)) < 1000
        np.testing.assert_array_equal(study.pool(LABELS, part, 1), pools[1])


@pytest.mark.xla
def test_the_study_takes_up_where_it_stopped(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 4))[LABELS] + rng.normal(size=(60_000, 4))
    np.savez(tmp_path / "features.npz", features=features.astype(np.float32), labels=LABELS)
    monkeypatch.setattr(study, "SPECS", {1: study.SPECS[1]})
    file = study.run(tmp_path, pools=1, tasks=20, true_tasks=30)
    before = file.read_text()
    assert len(before.splitlines()) == 2 * 2 * 3  # parts, the truth and a pool, two heads and a pair
    monkeypatch.setattr(study, "embeddings", lambda path: pytest.fail("nothing is missing"))
    study.run(tmp_path, pools=1, tasks=20, true_tasks=30)
    assert file.read_text() == before
    lines = study.read(file)
    cosine, euclid, difference = (x for x in lines if x["part"] == "images" and x["pool"] == 0)
    assert difference["mean"] == pytest.approx(cosine["mean"] - euclid["mean"])
    assert difference["figure"] == "cosine − Euclid" and json.loads(json.dumps(lines, allow_nan=False))


def test_the_table_counts_which_intervals_hold_the_truth():
    widths = {"interval": 0.01, "interval_new_images": 0.02, "interval_new_classes": 0.05}
    means = [0.40, 0.415, 0.43, 0.445, 0.455]  # the first is the truth
    lines = [
        {"part": "classes", "shot": 1, "figure": "cosine", "pool": number - 1, "mean": mean, **widths}
        for number, mean in enumerate(means)
    ]
    row = study.table(lines).splitlines()[2].split(" | ")
    assert row[:5] == ["| classes", "1", "cosine", "40.00", "+3.62"]
    assert row[5] == f"{100 * np.std(means[1:], ddof=1):.2f}" and row[6:9] == ["1.00", "2.00", "5.00"]
    # Narrowed to 4.49 points: the root of 0.8 · (5² - 1²) + 1².
    assert [cell.split()[0] for cell in row[9:]] == ["0.0", "75.0", "50.0"]


def test_cells_of_the_studies_tables():
    facts = {"interval": 0.002, "interval_new_images": 0.0061, "interval_new_classes": None}
    assert with_intervals(0.4531, facts) == "45.31 ± 0.20 / 0.61 / –"
    assert with_intervals(0.0088, {"interval": 0.002}, sign="+") == "+0.88 ± 0.20"
    assert with_intervals(0.5, {"interval": None}) == "50.00"
