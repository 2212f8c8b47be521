"""What a run says of itself, against what it holds."""

import dataclasses
import json
import re
import shutil
from html import unescape

import jax
import numpy as np
import pytest

import fsjax

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def digits(digits_run):
    return fsjax.restore(digits_run[0])


def fact(summary, name):
    """The value beside a name; long ones go on in the next lines, deeper in."""
    (found,) = re.findall(rf"^  {name} +(.*(?:\n {{8,}}\S.*)*)", summary, re.MULTILINE)
    return " ".join(found.split())


def count(tree):
    return sum(np.size(x) for x in jax.tree.leaves(tree))


def test_of_a_run_on_digits(digits, digits_run):
    workdir, result = digits_run
    text = digits.summary()
    assert text.startswith(f"{digits.config.name}: a run of fsjax, at step {result['selected']['step']}\n")
    assert fact(text, "Folder") == str(workdir)
    data = fact(text, "Data")
    assert data.startswith("digits, images 8×8×1: ") and data.endswith(f"10 classes: {', '.join(digits.class_names)}")
    assert f"{digits.info.counts['train']:,} train" in data
    network = fact(text, "Network")
    assert network.startswith(f"cnn: {result['training']['parameters']:,} parameters (")
    assert f"encoder/backbone {count(digits.params['encoder']['backbone']):,}, " in network
    assert f"loss {count(digits.params['loss']):,})" in network and network.endswith("embeddings of 16 numbers")
    assert (fact(text, "Method"), fact(text, "Loss")) == (digits.config.method.name, "icu")
    assert fact(text, "Training").startswith("60 steps of 32 images, ")
    assert fact(text, "Test") == (
        f"accuracy {100 * result['test']['accuracy']:.2f} % of {result['test']['num_examples']:.0f} images"
    )
    assert fact(text, "Validation").startswith(f"accuracy {100 * result['validation']['accuracy']:.2f} %")
    assert fact(text, "Trained on").startswith(f"{result['machine']['devices']}, ")
    assert max(map(len, text.splitlines())) <= 120
    assert "\n" not in repr(digits)


def test_what_it_says_of_its_use_is_so(digits):
    images = np.zeros((2, *digits.info.image_shape), np.uint8)
    assert f"uint8 [n, 8, 8, 1] -> float32 [n, {digits.embed(images).shape[1]}]" in digits.summary()
    for call in re.findall(r"run\.(\w+)\(", digits.summary()):
        assert callable(getattr(digits, call))
    assert "run.predict(images)" in digits.summary()


def test_of_few_shot_runs(few_shot_runs):
    workdir = few_shot_runs["implants"]
    figures = json.loads((workdir / "result.json").read_text())["test"]["figures"]
    run = fsjax.restore(workdir)
    text = run.summary()
    info = run.info
    assert f"{info.num_classes} base classes (and {len(info.validation_classes)} validation and " in fact(text, "Data")
    assert fact(text, "Test") == "few-shot tasks, see below"
    for figure in figures:
        start = rf"^  {figure['classes']} +{figure['way']} +{figure['shot']} +"
        value = f"{100 * figure['accuracy']:.2f} ± {100 * figure['interval']:.2f}"
        assert re.search(start + re.escape(value), text, re.MULTILINE), figure
    assert text.count("+ implants") == sum(bool(figure.get("implants")) for figure in figures) > 0
    assert "run.predict" not in text and "run.evaluator()" in text
    html = run._repr_html_()
    assert html.count("<tr>") == 1 + len(figures) and "<script" not in html


def test_html_has_the_same_facts_and_names_are_text(digits):
    names = (EVIL, *digits.class_names[1:])
    run = dataclasses.replace(digits, info=dataclasses.replace(digits.info, class_names=names))
    html = run._repr_html_()
    assert "<img" not in html and EVIL in unescape(html)
    text = run.summary()
    for name, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html):
        assert fact(text, unescape(name)) == unescape(value)
    assert len(re.findall("<dt>", html)) >= 8


def test_unfinished_and_at_another_step(digits_run, tmp_path):
    workdir, result = digits_run
    folder = tmp_path / "run"
    shutil.copytree(workdir, folder)
    path = folder / "result.json"
    path.write_text(json.dumps({**result, "selected": {"step": 20, "why": "best validation accuracy"}}))
    latest = fsjax.restore(folder, which="latest")
    assert fact(latest.summary(), "Scored") == "step 20: best validation accuracy; what is open here is step 60"
    for content in ('{"test": ', "[]", "{}", '{"test": null, "selected": 3, "training": {}}', "[" * 100_000):
        path.write_text(content)
        said = fact(latest.summary(), "Result")
        assert said.startswith(f"{path} is damaged (") and "remove it, and the command that trained" in said
    path.unlink()
    assert "has not finished (step 60 of 60)" in fact(latest.summary(), "Result")
    assert "Test" not in latest._repr_html_()
    selected = {"step": 60, "why": "the last step"}
    path.write_text(json.dumps({"test": None, "selected": selected, "training": {"steps": 60, "batch_size": 32}}))
    assert "Test" not in latest.summary()
    assert fact(latest.summary(), "Training") == "60 steps of 32 images"
