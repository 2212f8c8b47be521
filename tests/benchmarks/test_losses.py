"""The study of losses: what its runs share, and the arithmetic of its table."""

import json
from pathlib import Path

import pytest

from benchmarks import losses
from fsjax.config import check


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_configs_are_whole_and_differ_by_their_row_alone(loss):
    made = {
        name: losses.config_of("mnist", 10.0, 0.2, name, 3, steps=0, teacher=Path("runs/t"))
        for name in ("softmax", loss)
    }
    check(made[loss].to_dict())
    changed = {
        key.split(".")[0]
        for (key, a), (_, b) in zip(
            flat(made["softmax"].to_dict()).items(), flat(made[loss].to_dict()).items(), strict=True
        )
        if a != b
    }
    assert changed <= {"name", "loss", "method", "feature_dropout", "teacher", *(["data"] if "equity" in loss else [])}


def flat(tree, prefix=""):
    found = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def test_differences_are_paired_by_seed():
    text = losses.table({"softmax": {0: 0.5, 1: 0.7}, "opl": {1: 0.71, 0: 0.52, 2: 0.9}})
    assert "| softmax | 60.00 ± 14.14 | – | 2 |" in text
    assert "| opl | 71.00 ± 19.00 | +1.50 ± 0.71 | 3 |" in text


def test_a_table_of_runs_that_are_there(tmp_path, capsys):
    for loss, seed, accuracy in (("softmax", 0, 0.5), ("opl", 0, 0.6)):
        folder = tmp_path / f"digits-0-0-{loss}-{seed}"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps({"test": {"accuracy": accuracy}, "training": {"seconds": 1.0}}))
    out = tmp_path / "runs.csv"
    losses.main(["digits", "--workdir", str(tmp_path), "--losses", "opl", "softmax", "--only-table", "--out", str(out)])
    assert "| opl | 60.00 | +10.00 | 1 |" in capsys.readouterr().out
    assert out.read_text().splitlines()[0] == "data,imbalance,noise,loss,seed,accuracy,seconds"


def test_a_taught_loss_needs_its_teacher_in_the_study(capsys):
    with pytest.raises(SystemExit):
        losses.main(["digits", "--losses", "kd"])
    assert "the teacher is the run of 'softmax'" in capsys.readouterr().err
