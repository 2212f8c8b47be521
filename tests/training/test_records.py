import json
import sys

from tensorboardX.proto import event_pb2

from fsjax.files import write_json
from fsjax.training.records import Progress, Records, read_jsonl


def test_lines_after_the_step_continued_from_are_cut_off(tmp_path):
    with Records(tmp_path, start_step=0) as records:
        for step in (10, 20, 30):
            records.add(step, "train", {"loss": 1.0 / step}, {"seconds": 1.0})
        records.add(20, "validation", {"accuracy": 0.5}, {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "ki')  # killed in the middle of a line
    with Records(tmp_path, start_step=20) as records:
        records.add(30, "train", {"loss": 0.25}, {"seconds": 2.0})
    lines = read_jsonl(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["kind"]) for line in lines] == [
        (10, "train"), (20, "train"), (20, "validation"), (30, "train"),
    ]  # fmt: skip
    assert lines[-1] == {"step": 30, "kind": "train", "loss": 0.25, "timing": {"seconds": 2.0}}


def test_tensorboard_files_hold_the_figures(tmp_path):
    with Records(tmp_path, start_step=0) as records:
        records.add(10, "train", {"loss": 0.5}, {"images_per_second": 3.0})
    event_files = list(tmp_path.glob("events.out.tfevents.*"))
    assert len(event_files) == 1
    read = {}
    raw, start = event_files[0].read_bytes(), 0
    while start < len(raw):  # TFRecord: length, its CRC, the event, its CRC
        length = int.from_bytes(raw[start : start + 8], "little")
        event = event_pb2.Event.FromString(raw[start + 12 : start + 12 + length])
        read |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        start += length + 16
    assert read == {("train/loss", 10): 0.5, ("train/images_per_second", 10): 3.0}


def test_damaged_lines_are_left_out_and_told(tmp_path, caplog):
    whole = '{"step": 1, "kind": "train", "timing": {}}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole.encode() + b"\xff\n[1]\n" + b'{"step": "two"}\n' + whole.encode())
    assert [line["step"] for line in read_jsonl(tmp_path / "metrics.jsonl")] == [1, 1]
    assert caplog.messages == [f"{tmp_path / 'metrics.jsonl'}: line 2 and 2 others are damaged, and left out"]


def test_without_tensorboardx_the_figures_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with Records(tmp_path, start_step=0) as records:
        records.add(10, "train", {"loss": 0.5}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert read_jsonl(tmp_path / "metrics.jsonl")[0]["loss"] == 0.5


def test_a_process_that_leaves_the_writing_to_another_writes_nothing(tmp_path):
    with Records(tmp_path, start_step=0, write=False) as records:
        records.add(10, "train", {"loss": 0.5}, {})
    assert not list(tmp_path.iterdir())


def test_write_json_replaces_the_whole_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"b": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_progress_line_without_a_terminal(caplog):
    with caplog.at_level("INFO", "fsjax"), Progress(start_step=0, steps=100, show=True) as progress:
        progress.report(40, {"loss": 0.5, "accuracy": 0.75}, 1234.0, 75.0)
    assert caplog.messages == ["step 40/100  loss 0.5000  accuracy 0.7500  1,234 images/s  0:01:15 left"]


def test_progress_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(start_step=20, steps=100, show=True) as progress:
        progress.advance(40)
        progress.report(40, {"loss": 0.5, "accuracy": 0.75}, 1234.0, 75.0)
        progress.say("saved")
    shown = capsys.readouterr().err
    assert "40/100" in shown and "loss 0.5000  accuracy 0.7500  1,234 images/s" in shown
    assert "\nsaved\n" in shown.replace("\r", "\n")


def test_progress_that_is_not_wanted_says_nothing(caplog, capsys):
    with caplog.at_level("INFO", "fsjax"), Progress(start_step=0, steps=100, show=False) as progress:
        progress.advance(40)
        progress.report(40, {"loss": 0.5, "accuracy": 0.75}, 1234.0, 75.0)
        progress.say("saved")
    assert not caplog.messages and not capsys.readouterr().err
