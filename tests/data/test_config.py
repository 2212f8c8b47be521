"""Wrong fields of `config.data` are answered with what is valid."""

import ml_collections
import pytest

from fsjax.data import DataError, default_config, load_splits
from fsjax.data.config import DataConfig, parse_config
from fsjax.errors import UserError


def test_defaults_stand_in_one_place():
    assert parse_config({}) == DataConfig() == parse_config(default_config())


def test_config_dicts_and_plain_mappings_are_read_alike():
    fields = {"name": "fake", "validation": 0.1, "augment": {"crop": "pad", "pad": 4}, "limit": {"train": 8}}
    parsed = parse_config(ml_collections.ConfigDict(fields))
    assert parsed == parse_config(fields)
    assert (parsed.augment.pad, parsed.limit.train, parsed.limit.test) == (4, 8, 0)


def test_numbers_are_converted_where_nothing_is_lost():
    parsed = parse_config({"longtail_ratio": 100, "image_size": 32.0})
    assert type(parsed.longtail_ratio) is float and type(parsed.image_size) is int


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nmae": "digits"}, r"unknown key of config.data 'nmae'; known: augment, .* Did you mean 'name'\?"),
        (
            {"augment": {"mixpu": 1}},
            r"unknown key of config.data.augment 'mixpu'; known: brightness, .*, mixup, pad, .*Did you mean 'mixup'",
        ),
        ({"augment": 4}, "config.data.augment=4 must hold fields"),
        ({"image_size": 32.5}, "config.data.image_size=32.5 is a float; it must be a int"),
        ({"augment": {"flip": 1}}, "config.data.augment.flip=1 is a int; it must be a bool"),
        ({"validation": True}, "config.data.validation=True is a bool"),
        ({"validation": 1.0}, r"data.validation=1.0 is not a share.*\[0, 1\)"),
        ({"test_fraction": -0.1}, "data.test_fraction=-0.1"),
        ({"longtail_ratio": 0.01}, r"data.longtail_ratio=0.01 must be 0 \(off\) or at least 1"),
        ({"limit": {"test": -1}}, "data.limit.test=-1 must not be negative"),
        ({"normalization": "mean"}, "data.normalization='mean' is not one of 'dataset', 'half', 'imagenet', 'none'"),
        ({"memory": "gpu"}, "data.memory='gpu' is not one of"),
        ({"on_error": "pass"}, "data.on_error='pass' is not one of"),
        ({"channels": 4}, "data.channels=4 is not one of"),
        ({"augment": {"crop": "center"}}, "data.augment.crop='center' is not one of"),
        ({"augment": {"crop": "random_resized"}}, "needs data.image_size"),
        ({"augment": {"crop": "random_resized"}, "memory": "arrays", "image_size": 8}, 'use memory="stream"'),
        ({"name": "fake", "fake": {"num_classes": 1}}, "at least 2 classes"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        load_splits(fields, seed=0)


def test_data_errors_are_user_errors():
    assert issubclass(DataError, UserError) and issubclass(DataError, ValueError)
