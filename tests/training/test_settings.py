import dataclasses
import importlib
import inspect

import pytest

from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.methods import METHODS, build_method
from fsjax.methods.episode_terms import ADDED as EPISODE_LOSSES
from fsjax.training.settings import SCHEMA, check

CONFIGS = ("icu_digits", "icu_mnist", "icu_cifar10", "icu_cifar100", "icu_cifar_lt", "icu_imagenet")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_the_keys_that_a_run_reads(name):
    config = importlib.import_module(f"fsjax.configs.{name}").get_config()
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
    from fsjax.configs import common
    from fsjax.losses import LOSSES, loss_options
    from fsjax.models import MODELS

    models, losses = common.models().to_dict(), common.losses().to_dict()
    for name, make in MODELS.items():
        parameters = inspect.signature(make).parameters.items()
        assert models[name] == {k: p.default for k, p in parameters if k not in ("dtype", "axis_name")}
    for name in LOSSES:
        assert losses[name].keys() == loss_options(name).keys()


def few_shot_config(name):
    """A config whose options of the method are those that all configs start from."""
    from fsjax.configs.common import base

    config = base()
    config.method.name, config.loss.name, config.model.name = name, "cosine", "resnet12"
    config.model.resnet12.widths = (2, 2, 2, 2)
    if name == "msenet":  # its depths are those of another network
        config.model.name = "resnet18"
    return config


INFO = DataInfo("random", ("a", "b"), (16, 16, 3), {"train": 4}, (2, 2), (0.5,) * 3, (0.5,) * 3)


def test_configs_hold_a_section_for_every_method():
    from fsjax.configs import common

    assert set(common.methods()) == {"name", *METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_configs_hold_every_option_of_every_method(name):
    """A method refuses an option that it does not know, and says which it misses: the configs hold just these."""
    build_method(few_shot_config(name), INFO)
    added = EPISODE_LOSSES if name == "prototypical" else {}  # older runs lack these
    section = few_shot_config(name).method[name].to_dict()
    assert {option: section.pop(option) for option in added} == added
    for option in section:
        config = few_shot_config(name)
        with config.unlocked():
            del config.method[name][option]
        with pytest.raises(UserError, match=f"config.method.{name}.{option} is missing; the method needs: "):
            build_method(config, INFO)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("classification", "imprinted")])
def test_unknown_options_of_a_method_are_refused(name):
    config = few_shot_config(name)
    with config.unlocked():
        config.method[name].foo = 1
    with pytest.raises(UserError, match=f"unknown option of method '{name}'.*'foo'"):
        build_method(config, INFO)


def test_options_of_implants_start_from_the_library_s_defaults():
    from fsjax.configs import common
    from fsjax.methods.dense_implants import OPTIONS
    from fsjax.methods.implants import ImplantOptions

    section = common.methods().implants.to_dict()
    assert section.pop("reduction") == "mean"
    assert section.keys() == set(OPTIONS)
    fields = {field.name: field.default for field in dataclasses.fields(ImplantOptions)}
    assert section == {name: fields[name] for name in OPTIONS}


def test_unknown_methods_and_sections_are_refused():
    config = few_shot_config("dense")
    config.method.name = "denser"
    with pytest.raises(UserError, match="unknown method 'denser'.*Did you mean 'dense'"):
        build_method(config, INFO)
    config.method.name = "dense"
    with config.unlocked():
        config.method.protonet = {}
    with pytest.raises(UserError, match="unknown key in config.method.*'protonet'.*prototypical"):
        build_method(config, INFO)
