import importlib
import inspect

import pytest

from fsjax.errors import UserError
from fsjax.training.settings import SCHEMA, check

CONFIGS = ("icu_digits", "icu_mnist", "icu_cifar10", "icu_cifar100", "icu_cifar_lt", "icu_imagenet")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_the_keys_that_a_run_reads(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    check(config)
    assert set(config.keys()) == set(SCHEMA)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train__stepz", 3, "unknown key in config.train 'stepz'.*Did you mean 'steps'"),
        ("train__steps", 0, "config.train.steps=0 and config.train.epochs=0.0: set one"),
        ("train__log_every", 0, "config.train.log_every=0 must be at least 1"),
        ("train__accumulate", 5, "cannot be divided into"),
        ("train__batch_size", "many", "config.train.batch_size='many' must be of type int, not str"),
        ("optimizer__learning_rate", -1.0, "learning_rate=-1.0 must be above 0"),
        ("optimizer", 3, "must be a section"),
        ("optimizer__momentum", 7.0, "config.optimizer.momentum=7.0 must be at least 0 and below 1"),
        ("optimizer__weight_decay", -3.0, "config.optimizer.weight_decay=-3.0 must be at least 0"),
        ("train__steps", -5, "config.train.steps=-5 must be at least 0"),
        ("eval__batch_size", 0, "config.eval.batch_size=0 must be at least 1"),
        ("parallel__num_devices", -1, "config.parallel.num_devices=-1 must be at least 0"),
    ],
)
def test_errors_name_key_value_and_way_out(digits_config, key, value, message):
    config = digits_config().to_dict()  # a ConfigDict would refuse some of these itself
    section, _, name = key.rpartition("__")
    (config[section] if section else config)[name] = value
    with pytest.raises(UserError, match=message):
        check(config)


def test_missing_key(digits_config):
    config = digits_config()
    with config.unlocked():
        del config.train.log_every
    with pytest.raises(UserError, match=r"config.train.log_every is missing; config.train needs: steps"):
        check(config)


def test_configs_hold_every_option_of_every_model_and_loss():
    """So that each can be overridden on the command line; the models' are the library's own defaults."""
    from configs import common
    from fsjax.losses import LOSSES, loss_options
    from fsjax.models import MODELS

    models, losses = common.models().to_dict(), common.losses().to_dict()
    for name, make in MODELS.items():
        parameters = inspect.signature(make).parameters.items()
        assert models[name] == {k: p.default for k, p in parameters if k not in ("dtype", "axis_name")}
    for name in LOSSES:
        assert losses[name].keys() == loss_options(name).keys()
