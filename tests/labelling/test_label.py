"""Labels for folders of pictures: what is right, what is broken, and what is refused."""

import csv
import dataclasses
import functools
import io
import math
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from fsjax import labelling
from fsjax.errors import UserError
from fsjax.labelling import NONE_OF_THESE, PROTOTYPES, as_csv, predictions_page
from fsjax.labelling.labels import Labelled
from fsjax.labelling.overlay import overlaid
from fsjax.methods.rules import Rule

# By the run's own rule; the other heads are in test_heads.py.
label = functools.partial(labelling.label, head=PROTOTYPES)


def seen(path):
    """The middle square of a picture at 8x8, normalised, its blocks averaged: `[12]`."""
    with Image.open(path) as image:
        width, height = image.size
        side = min(width, height)
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        small = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR, box=box))
    x = (small / 255 - 0.5) / 0.25
    return np.mean([x[i : i + 2, j : j + 2].ravel() for i in range(0, 8, 2) for j in range(0, 8, 2)], axis=0)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_labels_are_those_of_prototypes_by_hand(pixel_run, folders):
    support, query = folders
    labelled = label(pixel_run(), support, query)
    names = ("blau", "grün", "rot")
    assert labelled.support.class_names == names and labelled.support.counts == [2, 3, 4]
    means = np.array([np.mean([seen(f) for f in sorted((support / name).iterdir())], axis=0) for name in names])
    for row, file in zip(labelled.rows, sorted(query.iterdir()), strict=True):
        near = unit(means) @ unit(seen(file))
        logits = 10 * near / labelled.classifier.temperature
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        order = np.argsort(-near)
        assert (row.name, row.label, row.runner_up) == (file.name, names[order[0]], names[order[1]])
        assert row.label == file.name.split()[0]
        assert row.probability == pytest.approx(shares[order[0]], abs=1e-4) == row.confidence
        assert row.runner_up_probability == pytest.approx(shares[order[1]], abs=1e-4)
        assert row.score == pytest.approx(near.max(), abs=1e-5)
        assert {names[labelled.support.labels[i]] for i in row.nearest[:2]} == {row.label}
    assert labelled.counts == {"blau": 2, "grün": 2, "rot": 2} and not labelled.unreadable
    assert "6 pictures labelled: blau 2, grün 2, rot 2" in labelled.summary()
    assert "of 9 support pictures left out one by one 9 are labelled rightly (100.0 %)" in labelled.summary()


def test_pictures_of_all_kinds_are_as_the_upright_one(pixel_run, folders, paint):
    """Grey, with a palette, transparent, of 16 bits, for print, turned by the camera."""
    support, query = folders
    shutil.rmtree(query)
    (query / "tief er").mkdir(parents=True)
    image = Image.fromarray(paint("rot", 16, 16, noise=0))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(np.rot90(np.asarray(image)).copy())
    image.save(query / "1.png")
    image.save(query / "2.WEBP", lossless=True)
    image.save(query / "3.bmp")
    image.quantize(8).save(query / "4.gif")
    image.convert("RGBA").save(query / "5.png")
    lying.save(query / "6.png", exif=exif)
    image.convert("CMYK").save(query / "tief er" / "7.jpg", quality=100)
    image.convert("L").save(query / "8.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(query / "9.png")
    rows = {row.name: row for row in label(pixel_run(), support, query).rows}
    assert len(rows) == 9
    for name in ("1.png", "2.WEBP", "3.bmp", "4.gif", "5.png", "6.png", "tief er/7.jpg"):
        assert rows[name].label == "rot" and rows[name].score == pytest.approx(rows["1.png"].score, abs=2e-3)
    assert rows["8.png"].score == pytest.approx(rows["9.png"].score, abs=1e-6)


def test_broken_pictures_are_listed(pixel_run, folders):
    support, query = folders
    (query / "broken <i>.png").write_bytes(b"no picture")
    whole = (query / "rot 1.png").read_bytes()
    (query / "cut.png").write_bytes(whole[: len(whole) // 2])
    (query / "empty.jpg").write_bytes(b"")
    (query / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    (support / "rot" / "bad.png").write_bytes(b"nothing")
    labelled = label(pixel_run(), support, query, reject=0.0)
    broken = {one.name: one.reason for one in labelled.unreadable}
    assert set(broken) == {"broken <i>.png", "cut.png", "empty.jpg", "script.png"}
    assert broken["script.png"] == broken["empty.jpg"] == "not a picture, or damaged"
    assert [one.name for one in labelled.support.unreadable] == [os.path.join("rot", "bad.png")]
    assert labelled.support.counts == [2, 3, 4]
    lines = {line["file"]: line for line in csv.DictReader(io.StringIO(as_csv(labelled)))}
    assert len(lines) == 10
    empty = dict.fromkeys(("label", "probability", "runner_up", "runner_up_probability", "score"), "")
    said = {**empty, "file": "empty.jpg", "rejected": "false", "note": "not a picture, or damaged"}
    assert lines["empty.jpg"] == said
    assert "4 pictures to label cannot be read" in labelled.summary()
    assert "1 picture of the support cannot be read:\n  rot/bad.png: not a picture" in labelled.summary()


def test_all_broken(pixel_run, folders):
    support, query = folders
    (query / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of 1 pictures to label can be read:\n  .*broken.png: not a picture"):
        label(pixel_run(), support, query / "broken.png")
    for file in (support / "blau").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(UserError, match="class 'blau': none of its 2 support pictures can be read: .*not a picture"):
        label(pixel_run(), support, query)


def test_none_of_these(pixel_run, folders, paint):
    """A white picture is like no class; its runner-up is what it would have been."""
    support, query = folders
    Image.fromarray(np.full((9, 9, 3), 255, np.uint8)).save(query / "white.png")
    labelled = label(pixel_run(Rule("squared_euclid", "gap", "gap", 1.0)), support, query, reject=True)
    *rows, white = sorted(labelled.rows, key=lambda row: row.name == "white.png")
    assert all(not row.rejected and row.label == row.name.split()[0] for row in rows)
    assert (white.label, white.rejected, white.probability) == (NONE_OF_THESE, True, None)
    assert white.runner_up in COUNTS and white.runner_up_probability == white.confidence > 1 / 3
    assert labelled.threshold.kept == labelled.threshold.known == 9
    assert labelled.counts[NONE_OF_THESE] == 1
    assert "none of these: below similarity" in labelled.summary() and "none of these 1" in labelled.summary()
    line = as_csv(labelled).splitlines()[-1].split(",")
    assert line[:3] == ["white.png", NONE_OF_THESE, ""] and line[6] == "true"
    # The same picture with a threshold that all pictures pass.
    assert not any(row.rejected for row in label(pixel_run(), support, query, reject=-2.0).rows)


COUNTS = {"blau": 2, "grün": 3, "rot": 4}


def test_support_pictures_among_the_queries_get_a_note(pixel_run, folders):
    support, query = folders
    shutil.copy(support / "grün" / "1 ü.png", query / "again.png")
    rows = {row.name: row for row in label(pixel_run(), support, query).rows}
    assert rows["again.png"].note == "also a support picture of class grün" and rows["again.png"].label == "grün"
    assert [row.note for row in rows.values() if row.name != "again.png"] == [""] * 6


def test_copies_among_the_support_pictures(pixel_run, folders):
    """Files twice change nothing, and are told; of copies alone nothing can be left out."""
    support, query = folders
    once = label(pixel_run(), support, query, reject=True)
    for file in list(support.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".bmp"))
    twice = label(pixel_run(), support, query, reject=True)
    assert twice.threshold.known == 9 and twice.threshold.value == pytest.approx(once.threshold.value, abs=1e-5)
    for a, b in zip(once.rows, twice.rows, strict=True):
        assert a.label == b.label and a.probability == pytest.approx(b.probability, abs=1e-4)
    said = "9 of them are copies of another of the class, the same to the network: copies are left out together"
    assert said in twice.summary() and said in predictions_page(twice) and "copies" not in once.summary()
    assert "of 9 support pictures left out one by one" in twice.summary()
    for folder in support.iterdir():
        for file in sorted(folder.iterdir())[2:]:
            file.unlink()
    assert "one picture per class, copies not counted: nothing can" in label(pixel_run(), support, query).summary()
    with pytest.raises(UserError, match="at least one class needs 2 or more, copies not counted"):
        label(pixel_run(), support, query, reject=True)


def test_a_picture_in_two_classes(pixel_run, folders):
    support, query = folders
    shutil.copy(support / "blau" / "0 ü.png", support / "rot" / "too.png")
    shutil.copy(support / "blau" / "0 ü.png", query / "again.png")
    labelled = label(pixel_run(), support, query)
    (note,) = {row.note for row in labelled.rows if row.name == "again.png"}
    assert note == "also a support picture of classes blau and rot"
    said = "warning: 1 picture is in several classes, remove what is wrong: blau/0 ü.png = rot/too.png"
    assert said in labelled.summary() and said in predictions_page(labelled)
    assert "copies" not in labelled.summary()


def test_a_folder_that_cannot_be_opened_is_listed(pixel_run, folders, close):
    support, query = folders
    (query / "shut").mkdir()
    close(query / "shut")
    labelled = label(pixel_run(), support, query)
    assert len(labelled.rows) == 6 and not labelled.unreadable
    said = f"1 folder to label cannot be opened:\n  {query / 'shut'}: cannot be opened: Permission denied"
    assert said in labelled.summary() and str(query / "shut") in predictions_page(labelled)
    close(support / "rot")
    with pytest.raises(UserError, match="rot cannot be opened: Permission denied"):
        label(pixel_run(), support, query)


def test_a_picture_that_vanishes_is_listed(pixel_run, folders, monkeypatch):
    from fsjax import data

    support, query = folders
    read = data.read_pictures

    def vanishing(files, *args, **more):
        for part in read(files, *args, **more):
            for file in files:
                if file.name in ("grün 0.png", "1 ü.png"):
                    file.unlink()
            yield part

    monkeypatch.setattr(data, "read_pictures", vanishing)
    labelled = label(pixel_run(), support, query)
    (gone,) = labelled.unreadable
    assert (gone.name, gone.reason) == ("grün 0.png", "gone while it was read: No such file or directory")
    assert len(labelled.rows) == 6 and labelled.support.counts == [2, 3, 4]


def test_names_are_the_paths_given(pixel_run, folders):
    support, query = folders
    files = [str(query / "rot 0.png"), query]
    names = [row.name for row in label(pixel_run(), support, files).rows]
    assert names == [files[0]] + [str(query / f"{name} {i}.png") for name in ("blau", "grün", "rot") for i in range(2)]
    hidden = query / ".hidden.png"
    shutil.copy(files[0], hidden)
    (query / "notes.txt").write_text("x")
    found = label(pixel_run(), support, query)
    assert len(found.rows) == 6 and found.passed_over == 1
    assert "1 file passed over: no image by the suffix" in found.summary()


def test_what_a_spreadsheet_would_run_is_kept_from_it(pixel_run, folders):
    support, query = folders
    shutil.copy(query / "rot 0.png", query / "=cmd|'x'!A1.png")
    shutil.copy(query / "rot 0.png", query / 'a "b", c;\n=d.png')
    shutil.copy(query / "rot 0.png", os.fsencode(query) + b"/\xff \xfc.png")
    (support / "rot").rename(support / "+rot")
    text = as_csv(label(pixel_run(), support, query))
    lines = list(csv.reader(io.StringIO(text)))
    assert [len(line) for line in lines] == [8] * 10
    names = {line[0] for line in lines[1:]}
    assert {"./=cmd|'x'!A1.png", 'a "b", c;\n=d.png', "\\udcff \\udcfc.png"} <= names
    assert {line[1] for line in lines[1:]} == {"blau", "grün", "'+rot"}
    text.encode("utf-8")


def test_so_many_shots_drawn_by_the_seed(pixel_run, folders):
    support, query = folders
    whole = label(pixel_run(), support, query).support
    drawn = [label(pixel_run(), support, query, shots=2, seed=seed).support.names for seed in range(6)]
    assert all(len(names) == 6 and names == sorted(names) for names in drawn)
    assert len({tuple(names) for names in drawn}) > 1
    assert label(pixel_run(), support, query, shots=2, seed=3).support.names == drawn[3]
    with pytest.raises(UserError, match="class 'blau' has 2 support pictures; 3 of each class need 3"):
        label(pixel_run(), support, query, shots=3)
    # Those that cannot be read are not drawn, and change nothing for the others.
    broken, drawn = support / "rot" / "1 ü.png", [names[4:] for names in drawn]
    broken.write_bytes(b"")
    for seed, names in enumerate(drawn):
        found = label(pixel_run(), support, query, shots=2, seed=seed).support
        assert found.counts == [2, 2, 2] and [one.name for one in found.unreadable] == ["rot/1 ü.png"]
        assert "rot/1 ü.png" not in found.names and ("rot/1 ü.png" in names or found.names[4:] == names)
        assert [image.tolist() for image in found.images] == [
            whole.images[whole.names.index(name)].tolist() for name in found.names
        ]
    (support / "rot" / "2 ü.png").write_bytes(b"")
    for folder in ("blau", "grün"):
        shutil.copy(support / folder / "0 ü.png", support / folder / "more.png")
    with pytest.raises(
        UserError, match="class 'rot' has 2 support pictures that can be read, of 4; 3 of each class need"
    ):
        label(pixel_run(), support, query, shots=3)


def test_one_picture_a_class(pixel_run, folders):
    support, query = folders
    labelled = label(pixel_run(), support, query, shots=1)
    assert labelled.classifier.temperature == 1
    assert "one picture per class: nothing can be left out, and the probabilities are by the head's own scale" in (
        labelled.summary()
    )
    with pytest.raises(UserError, match="too few: at least one class needs 2 or more; add some, or give the threshold"):
        label(pixel_run(), support, query, shots=1, reject=True)
    assert label(pixel_run(), support, query, shots=1, reject=0.5).threshold.value == 0.5


def test_what_cannot_be(pixel_run, folders, tmp_path):
    support, query = folders
    run = pixel_run()
    (tmp_path / "empty").mkdir()
    (tmp_path / "one" / "cat").mkdir(parents=True)
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    (tmp_path / "hollow" / "dog").mkdir()
    for arguments, more, message in (
        ((tmp_path / "gone", query), {}, "gone is no folder"),
        ((tmp_path / "empty", query), {}, "at least two classes; it holds none"),
        ((tmp_path / "one", query), {}, "at least two classes; it holds only 'cat'"),
        ((tmp_path / "hollow", query), {}, "cat holds no image"),
        ((support, tmp_path / "empty"), {}, "empty holds no image"),
        ((support, tmp_path / "gone"), {}, "gone is neither a file nor a folder"),
        ((support, query), {"reject": math.nan}, "reject=nan must be a number"),
        ((support, query), {"shots": -1}, "shots=-1 must be at least 1"),
        ((support, query), {"seed": -1}, "seed=-1 must be 0 or more"),
        ((support, query), {"batch_size": 0}, "batch_size=0 must be at least 1"),
        ((support, query), {"max_megapixels": 0}, "max_megapixels=0 must be above 0 and at most 179"),
        ((support, query), {"max_megapixels": 500}, "max_megapixels=500 must be above 0 and at most 179"),
        ((support, query), {"implants": True}, "implants stand beside the last block of a resnet12"),
    ):
        with pytest.raises(UserError, match=message):
            label(run, *arguments, **more)
    (support / "blau").rename(support / NONE_OF_THESE)
    with pytest.raises(UserError, match="a class folder is called 'none of these'"):
        label(run, support, query, reject=True)


def test_the_chunks_do_not_show(pixel_run, folders, monkeypatch):
    """Two pictures at a time, with a broken one among them."""
    from fsjax import data

    support, query = folders
    (query / "grün 00.png").write_bytes(b"no picture")
    whole = label(pixel_run(), support, query)
    read = data.read_pictures
    monkeypatch.setattr(data, "read_pictures", lambda *args, **more: read(*args, **{**more, "chunk": 2}))
    parts = label(pixel_run(), support, query)
    for a, b in zip(whole.rows, parts.rows, strict=True):
        assert (a.name, a.label, a.note, a.nearest) == (b.name, b.label, b.note, b.nearest)
        np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-5)
    assert {field.name for field in dataclasses.fields(Labelled)} >= {"rows", "support", "threshold"}


def test_a_heat_map_lies_where_the_network_looks():
    picture = np.full((20, 40, 1), 100, np.uint8)
    found = overlaid(picture, np.array([[0.0, 1.0]]), np.array([0, 0.25, 1, 0.75]))
    assert found.shape == (20, 40, 3) and (found[:, :10] == 100).all() and (found[:, 30:] == 100).all()
    blue, red = found[10, 10].astype(int), found[10, 29].astype(int)
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50
    flat = overlaid(picture, np.zeros((3, 3)), np.array([0, 0, 1, 1]))
    assert (flat == flat[0, 0]).all()
