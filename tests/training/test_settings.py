"""Methods take their options from a config, and refuse what is not theirs."""

import pytest

from fsjax.config import base
from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.losses import LOSSES, build_loss
from fsjax.methods import METHODS, build_method

INFO = DataInfo("random", ("a", "b"), (16, 16, 3), {"train": 4}, (2, 2), (0.5,) * 3, (0.5,) * 3)


def few_shot_config(name):
    """A config whose options of the method are those that all configs start from."""
    config = base()
    config.method.name, config.loss.name, config.model.name = name, "cosine", "resnet12"
    config.model.resnet12.widths = (2, 2, 2, 2)
    if name == "msenet":  # its depths are those of another network
        config.model.name = "resnet18"
    return config


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_built_from_the_defaults(name):
    assert build_method(few_shot_config(name), INFO)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("classification", "imprinted")])
def test_unknown_options_of_a_method_are_refused(name):
    config = few_shot_config(name)
    with config.unlocked():
        config.method[name].foo = 1
    with pytest.raises(UserError, match=f"unknown key in config.method.{name}: 'foo'"):
        build_method(config, INFO)


def test_unknown_methods_are_refused():
    config = few_shot_config("dense")
    config.method.name = "denser"
    with pytest.raises(UserError, match="unknown method 'denser'.*Did you mean 'dense'"):
        build_method(config, INFO)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_same_in_a_notebook_and_in_a_config(name):
    """`build_loss` without options, the class without options, and the section of a config."""
    given = {"num_classes": 3, "dim": 4}
    facts = {"class_counts": (3, 2, 1), "num_examples": 6}
    by_name = build_loss(name, **given, **facts)
    by_config = build_loss(name, **given, **facts, options=base().loss[name].to_dict())
    by_class = LOSSES[name].load()(**given, **{fact: facts[fact] for fact in by_name.NEEDS})
    assert by_name == by_config == by_class
    if name == "lgm":  # these two had drifted apart
        assert (by_class.covariance, by_class.logdet_in_logits) == ("identity", False)
