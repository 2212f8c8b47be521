import json

import jax
import numpy as np
import pytest

import fsjax
from fsjax.errors import UserError
from fsjax.training.parallel import DataParallel


def train(python, root, folder, *args):
    script = str(root / "tests" / "training" / "train_on_devices.py")
    done = python(script, str(folder), *args, devices=4, PYTHONPATH=str(root))
    results = json.loads(done.stdout.splitlines()[-1])
    one = results["one"]
    assert one["devices"].startswith("1 x")
    assert one["losses"][-1] < one["losses"][0]
    for name in results.keys() - {"one"}:
        assert results[name]["devices"].startswith("4 x")
        np.testing.assert_allclose(results[name]["losses"][:20], one["losses"][:20], rtol=0, atol=1e-5)
    return results


@pytest.mark.slow
def test_digits_reach_97_percent_on_one_and_on_four_devices(python, root, tmp_path):
    """The default config, whole; the ICU loss couples the batch, and batch norm sees all devices."""
    results = train(python, root, tmp_path, "icu", "1", "whole")
    assert results.keys() == {"one", "shard_map"}
    for result in results.values():
        assert result["test"]["accuracy"] >= 0.97


def test_loss_with_a_state_micro_batches_and_a_stop(python, root, tmp_path):
    """Center loss moves its centres by a rule of its own; a stopped run goes on with the same bits on 4 devices."""
    results = train(python, root, tmp_path, "center", "2", "short")
    assert results.keys() == {"one", "shard_map", "pmap"}
    for name in ("shard_map", "pmap"):
        whole, stopped = (fsjax.restore(tmp_path / f, which="latest") for f in (name, f"{name}-stopped"))
        assert whole.step == stopped.step == 20
        for a, b in zip(
            jax.tree.leaves((whole.params, whole.collections)),
            jax.tree.leaves((stopped.params, stopped.collections)),
            strict=True,
        ):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.slow
def test_twenty_steps_are_the_same_on_any_number_of_devices(python, root):
    """A plain, a coupled and an episodic method; both lifts, both feeds, and with the optimizer's state divided."""
    script = str(root / "tests" / "training" / "steps_on_devices.py")
    done = python(script, devices=8, PYTHONPATH=str(root))
    for kind, setups in json.loads(done.stdout.splitlines()[-1]).items():
        one = setups["1 shard_map"]
        assert len(one) == 20 and one[-1] < max(one) and len(setups) == 9
        for setup, losses in setups.items():
            np.testing.assert_allclose(losses, one, rtol=0, atol=1e-5, err_msg=f"{kind}: {setup}")


def test_pmap_keeps_whole_copies_of_the_optimizer():
    with pytest.raises(UserError, match=r"shard_optimizer=True needs parallel.backend=shard_map"):
        DataParallel(backend="pmap", shard_optimizer=True)


def test_unknown_backend_lists_the_known():
    with pytest.raises(UserError, match=r"config.parallel.backend='pmp' must be one of 'auto', 'shard_map', 'pmap'"):
        DataParallel(backend="pmp")


def test_more_devices_than_there_are():
    with pytest.raises(UserError, match=r"num_devices=64, but there are 1 devices"):
        DataParallel(num_devices=64)


def test_batch_that_cannot_be_divided_is_refused_in_words(python):
    code = "from fsjax.training.parallel import DataParallel\nDataParallel().check_batch_size('train.batch_size', 30)"
    done = python("-c", code, devices=4, check=False)
    assert "train.batch_size=30 cannot be divided among 4 devices; use 28 or 32" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "backend"),
    [("dense", "shard_map"), ("prototypical", "pmap"), ("aflm", "shard_map"), ("localization", "shard_map")],
)
def test_few_shot_training_is_the_same_on_one_and_on_four_devices(python, root, tmp_path, method, backend):
    """The positions of all devices' maps, and episodes whose classes lie on several devices (with padding rows)."""
    script = str(root / "tests" / "training" / "train_few_shot_on_devices.py")
    done = python(script, str(tmp_path), method, backend, devices=4, PYTHONPATH=str(root))
    one, four = json.loads(done.stdout.splitlines()[-1])
    assert one["devices"].startswith("1 x") and four["devices"].startswith("4 x")
    assert len(set(one["losses"])) == 6 and one["taus"][-1] != one["taus"][0]
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(four["taus"], one["taus"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(four["validation"], one["validation"], rtol=0, atol=1e-12)
    # The scale of dense queries was trained, so it differs in its last digits; the predictions do not.
    figures = [{k: v for k, v in result["test"]["figures"][0].items() if k != "tau"} for result in (one, four)]
    assert figures[0] == figures[1] and figures[0]["tasks"] == 40
