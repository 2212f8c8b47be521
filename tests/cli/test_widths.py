"""`fsjax widths` against the features and weights of a small run with nested dropout."""

import json

import numpy as np
import pytest

import fsjax
from fsjax.cli import main
from fsjax.evaluation.analysis.widths import best_width
from fsjax.training import run


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    from fsjax.configs.icu_digits import get_config

    config = get_config("smoke")
    config.data.validation = 0.2
    config.loss.name = "softmax"
    config.feature_dropout.update(name="nested", sigma=3.0)
    folder = tmp_path_factory.mktemp("nested") / "run"
    run(config, folder)
    return folder


def test_accuracies_are_those_of_the_first_features(nested, tmp_path, capsys):
    out = tmp_path / "widths.json"
    assert main(["widths", str(nested), "--json", str(out)]) == 0
    found, restored = json.loads(out.read_text()), fsjax.restore(nested)
    kernel, bias = (np.asarray(restored.params["loss"][name]) for name in ("kernel", "bias"))
    for split in ("validation", "test"):
        examples = getattr(restored.splits(), split)
        features = restored.embed(examples.images)
        expected = [
            np.mean((features[:, :k] @ kernel[:k] + bias).argmax(-1) == examples.labels)
            for k in range(1, features.shape[1] + 1)
        ]
        # A tie in the last bit of two logits may be decided either way.
        np.testing.assert_allclose(found[split], expected, atol=1.5 / len(examples))
    assert found["chosen"] == best_width(np.array(found["validation"]))
    assert f"the first {found['chosen']} of" in capsys.readouterr().out


def test_of_equal_widths_the_smaller_is_best():
    assert best_width(np.array([0.1, 0.5, 0.5, 0.4])) == 2
    assert best_width(np.array([0.1, 0.5, 0.51, 0.4])) == 3


def test_a_run_without_it_is_refused(digits_run, capsys):
    assert main(["widths", str(digits_run[0])]) == 2
    assert "feature_dropout.name=nested" in capsys.readouterr().err
