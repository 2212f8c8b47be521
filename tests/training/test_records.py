import json

from tensorboardX.proto import event_pb2

from fsjax.training.records import Progress, Records, read_jsonl, write_json


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


def test_write_json_replaces_the_whole_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"b": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_progress_line_without_a_terminal(caplog):
    with caplog.at_level("INFO", "fsjax"), Progress(start_step=0, steps=100, show=True) as progress:
        progress.report(40, {"loss": 0.5, "accuracy": 0.75}, 1234.0, 75.0)
    assert caplog.messages == ["step 40/100  loss 0.5000  accuracy 0.7500  1,234 images/s  0:01:15 left"]
