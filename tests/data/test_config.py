"""Wrong fields of `config.data` are answered with what is valid."""

import ml_collections
import pytest

from fsjax.data import DataError, default_config, load_splits
from fsjax.data.config import DataConfig, parse_config
from fsjax.errors import UserError


def test_defaults_stand_in_one_place():
    assert parse_config({}) == DataConfig()
    assert parse_config({**default_config(), "name": "digits"}) == DataConfig(name="digits")
    with pytest.raises(DataError, match="config.data.name is empty: name one of aircraft, .*digits"):
        load_splits({}, seed=0)


def test_config_dicts_and_plain_mappings_are_read_alike():
    fields = {"name": "fake", "validation": 0.1, "augment": {"crop": "pad", "pad": 4}, "limit": {"train": 8}}
    parsed = parse_config(ml_collections.ConfigDict(fields))
    assert parsed == parse_config(fields)
    assert (parsed.augment.pad, parsed.limit.train, parsed.limit.test) == (4, 8, 0)


def test_whole_numbers_are_numbers():
    assert type(parse_config({"longtail_ratio": 100}).longtail_ratio) is float


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nmae": "digits"}, r"unknown key in config.data: 'nmae'; known: augment, .* Did you mean 'name'\?"),
        (
            {"augment": {"mixpu": 1}},
            r"unknown key in config.data.augment: 'mixpu'; known: brightness, .*, mixup, pad, .*Did you mean 'mixup'",
        ),
        ({"augment": 4}, "config.data.augment=4 must be a section with: brightness"),
        ({"image_size": 32.5}, "config.data.image_size=32.5 must be a whole number, at least 0 and at most 10,000"),
        ({"augment": {"flip": 1}}, "config.data.augment.flip=1 must be True or False"),
        ({"validation": True}, "config.data.validation=True must be a number"),
        ({"validation": 1.0}, "config.data.validation=1.0 must be at least 0 and below 1"),
        ({"test_fraction": -0.1}, "data.test_fraction=-0.1"),
        ({"longtail_ratio": 0.01}, "config.data.longtail_ratio=0.01 must be 0, or at least 1 and at most 1,000,000"),
        ({"limit": {"test": -1}}, "config.data.limit.test=-1 must be at least 0"),
        (
            {"normalization": "mean"},
            "normalization='mean' must be one of 'dataset', 'half', 'imagenet', 'lite', 'none'",
        ),
        ({"memory": "gpu"}, "data.memory='gpu' must be one of"),
        ({"on_error": "pass"}, "data.on_error='pass' must be one of"),
        ({"channels": 4}, "data.channels=4 must be one of 0, 1, 3"),
        ({"augment": {"crop": "center"}}, "data.augment.crop='center' must be one of"),
        ({"augment": {"crop": "random_resized"}}, "needs data.image_size"),
        ({"augment": {"crop": "random_resized"}, "memory": "arrays", "image_size": 8}, 'use memory="stream"'),
        ({"name": "fake", "fake": {"num_classes": 1}}, "config.data.fake.num_classes=1 must be at least 2"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        load_splits(fields, seed=0)


def test_data_errors_are_user_errors():
    assert issubclass(DataError, UserError) and issubclass(DataError, ValueError)
