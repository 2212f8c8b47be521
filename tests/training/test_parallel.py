import json

import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.training.parallel import DataParallel


@pytest.mark.parametrize(("loss", "accumulate"), [("icu", 1), ("center", 2)])
def test_devices_and_backends_agree(python, root, tmp_path, loss, accumulate):
    """The ICU loss couples the batch, center loss carries a state, batch norm sees all devices."""
    script = str(root / "tests" / "training" / "train_on_devices.py")
    done = python(script, str(tmp_path), loss, str(accumulate), devices=4, PYTHONPATH=str(root))
    results = json.loads(done.stdout.splitlines()[-1])
    one = results["one"]
    assert len(one["losses"]) == 20
    assert one["losses"][-1] < one["losses"][0]
    for name in ("shard_map", "pmap"):
        assert results[name]["devices"].startswith("4 x")
        np.testing.assert_allclose(results[name]["losses"], one["losses"], rtol=0, atol=1e-5)
        assert results[name]["test"]["accuracy"] == pytest.approx(one["test"]["accuracy"], abs=3 / 359)


def test_unknown_backend_lists_the_known():
    with pytest.raises(UserError, match=r"unknown parallel.backend 'pmp'; known: auto, pmap, shard_map"):
        DataParallel(backend="pmp")


def test_more_devices_than_there_are():
    with pytest.raises(UserError, match=r"num_devices=64, but there are 1 devices"):
        DataParallel(num_devices=64)


def test_batch_that_cannot_be_divided_is_refused_in_words(python):
    code = (
        "from fsjax.training.parallel import DataParallel\n"
        "DataParallel().check_batch_size('train.batch_size', 30)"
    )
    done = python("-c", code, devices=4, check=False)
    assert "train.batch_size=30 cannot be divided among 4 devices; use 28 or 32" in done.stderr
