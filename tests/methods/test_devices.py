"""Losses that couple the examples of a batch, or read more of it, do not depend on the number of devices."""

import json
from pathlib import Path

import pytest

from fsjax.losses import LOSSES

SCRIPT = Path(__file__).parent / "objectives_on_devices.py"


@pytest.mark.slow
def test_one_and_four_devices_agree(python):
    cases = [json.loads(line) for line in python(str(SCRIPT), devices=4).stdout.splitlines()]
    coupled = {name for name, choice in LOSSES.items() if not (module := choice.load()).PER_EXAMPLE or module.READS}
    assert {case["loss"] for case in cases} == coupled | {"softmax"}  # co-teaching and dropout
    for case in cases:
        of_loss, of_gradient, of_state = case["differences"]
        assert of_loss < 1e-5 and of_gradient < 2e-5 and of_state < 1e-5, case
