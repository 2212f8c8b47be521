"""A whole config: what is declared, what is refused, and that nothing is declared twice."""

import ast
import copy
import importlib
import math
import re
from pathlib import Path

import numpy as np
import pytest

from fsjax.config import base, check, find, folder_of, options, set_text
from fsjax.config_file import load_config, names
from fsjax.errors import UserError
from fsjax.options import choices
from fsjax.options.few_shot import FewShotOptions

ROOT = Path(__file__).parents[1]
RECIPES = names()
LEAVES = dict(options().leaves())
WRONG = (
    None, True, "", "yes", "\0", "x" * 10_000, b"x", object(), -1, -0.5, 0, 0.0, 2**32, 10**12, 10**400, 1e-30,
    1e30, math.nan, math.inf, -math.inf, (), [], {}, (-1,), (0,), (math.nan,), ("x",), (1e30,), ((),), (5, 1),
    ((5, 1),), {"a": 1},
)  # fmt: skip


def variants(name):
    """The arguments that a recipe takes, one at a time."""
    with pytest.raises(UserError, match="no variant") as error:
        load_config(f"{name}:no_such_variant")
    return ["", *str(error.value).partition("there are: ")[2].split(", ")]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_and_variant_is_valid_and_has_every_option(name):
    for variant in variants(name):
        config = load_config(f"{name}:{variant}")
        check(config)
        assert {key for key, _ in _flat(config.to_dict())} == set(LEAVES)


def _flat(tree, at=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield at + name, value


@pytest.fixture(scope="module")
def valid():
    config = importlib.import_module("configs.icu_digits").get_config().to_dict()
    check(config)
    return config


def changed(config, key, value):
    """A copy with another value; the options of few-shot tasks and the data keep to what goes together."""
    *sections, last = key.split(".")
    found = copy.copy(config)
    node = found
    for name in sections:
        node[name] = copy.copy(node[name])
        node = node[name]
    node[last] = value
    return found


def in_range(leaf, value):
    """What the declaration says of a value, independently of how it is read: type by type, number by number."""
    if value is None:
        return "None" in str(leaf.kind)
    if isinstance(value, (tuple, list)):
        least, most = leaf.option.entries
        return "tuple" in str(leaf.kind) and least <= len(value) <= most and all(
            all(number(leaf, y) for y in x) and ("tuple[tuple" in str(leaf.kind) or len(x) == 2) and least <= len(x)
            if isinstance(x, tuple) and ("tuple[tuple" in str(leaf.kind) or "| tuple" in str(leaf.kind))
            else number(leaf, x) and "tuple[tuple" not in str(leaf.kind)
            for x in value
        )  # fmt: skip
    return not str(leaf.kind).startswith("tuple") and number(leaf, value)


def number(leaf, value):
    """Whether a single value is of the type and in the range."""
    option, kind = leaf.option, str(leaf.kind)
    if isinstance(value, bool):
        return "bool" in kind
    if option.choices:
        return value in option.choices and type(value) is type(option.choices[0])
    if isinstance(value, str):
        return "str" in kind and len(value) <= 4096 and "\0" not in value and bool(value or not option.filled)
    if isinstance(value, (int, float)) and ("float" in kind or ("int" in kind and isinstance(value, int))):
        low = value >= option.at_least if option.above is None else value > option.above
        high = value <= option.at_most if option.below is None else value < option.below
        return value in option.or_ or (low and high)
    return False


def test_fuzz_every_option_refuses_what_it_does_not_declare(valid):
    """Every option of a config by many wrong values: refused in one line that names it, or declared to be valid."""
    refused = accepted = 0
    for key, leaf in LEAVES.items():
        for value in WRONG:
            try:
                check(changed(valid, key, value))
            except UserError as error:
                refused += 1
                text = str(error)
                assert "\n" not in text and len(text) < 2_000
                # A value in range may be at odds with another option; the line then names that.
                assert f"config.{key}" in text or in_range(leaf, value), f"{key}={value!r}: {text}"
                assert "must be" not in text or not text.startswith(f"config.{key}=") or not in_range(leaf, value), text
            else:
                accepted += 1
                assert in_range(leaf, value), f"{key}={value!r} was accepted"
    assert refused > 20 * len(LEAVES) and accepted > len(LEAVES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.eps", -1), ("optimizer.eps", 0), ("optimizer.eps", math.inf), ("schedule.final", -5),
        ("schedule.boundaries", (-1,)), ("data.longtail_ratio", math.nan), ("optimizer.weight_decay", 1e30),
        ("optimizer.clip_norm", 1e-30), ("data.augment.mixup", 1e30), ("data.image_size", 10**12),
        ("data.augment.pad", 10**12), ("eval.batch_size", 10**12), ("seed", 2**32), ("seed", -1),
        ("few_shot.seed", -1), ("data.planted.seed", 2**32), ("train.progress", "False"), ("model.remat", "no"),
    ],
)  # fmt: skip
def test_values_that_used_to_be_accepted(valid, key, value):
    with pytest.raises(UserError, match=rf"^config\.{re.escape(key)}=.* must be ") as error:
        check(changed(valid, key, value))
    assert "\n" not in str(error.value)


NUMERIC = [
    key
    for key, leaf in LEAVES.items()
    if {int, float} & leaf.scalars and not leaf.of_tuples and not leaf.option.choices
]


@pytest.mark.parametrize("key", NUMERIC)
def test_ends_of_ranges(key):
    """Each end that belongs to the range is valid, and the next number beyond it is not."""
    leaf, option = LEAVES[key], LEAVES[key].option
    for end, inside, sign in (
        (option.at_least, True, -1), (option.above, False, -1), (option.at_most, True, 1), (option.below, False, 1),
    ):  # fmt: skip
        if end is None:
            continue
        whole = leaf.scalars == {int}
        end = int(end) if whole else float(end)
        beyond = end + sign if whole else float(np.nextafter(end, sign * math.inf))
        for number, is_valid in ((end, inside), (beyond, False)):
            if number in option.or_:
                continue
            if is_valid:
                assert leaf.read(number, key) == number
            else:
                with pytest.raises(UserError, match=" must be "):
                    leaf.read(number, key)


def test_defaults_are_valid_but_for_what_must_be_chosen():
    unchosen = set()
    for key, leaf in LEAVES.items():
        try:
            leaf.read(leaf.default, key)
        except UserError:
            unchosen.add(key)
            assert leaf.default == ""
    assert unchosen == {"model.name"}
    assert all(len(leaf.option.meaning) > 3 and "\n" not in leaf.option.meaning for leaf in LEAVES.values())


def test_rules_of_the_whole(valid):
    with pytest.raises(UserError, match=r"config.data.name is empty: name one of aircraft, .*planted, or a data set"):
        check(changed(valid, "data.name", ""))
    with pytest.raises(UserError, match=r"config.train.steps=3 and config.train.epochs=2\.0: set one"):
        check(changed(changed(valid, "train.steps", 3), "train.epochs", 2.0))
    with pytest.raises(UserError, match=r"config.train.batch_size=12 cannot be divided into config.train.accumulate=5"):
        check(changed(changed(valid, "train.batch_size", 12), "train.accumulate", 5))
    with pytest.raises(UserError, match=r"config.few_shot.way=\(6, 5\) is a pair \(least, most\): write \(5, 6\)"):
        check(changed(valid, "few_shot.way", (6, 5)))
    with pytest.raises(UserError, match=r"config.few_shot.poolings: 'gap/nope' must be SUPPORT/QUERY"):
        check(changed(valid, "few_shot.poolings", ("gap/nope",)))
    for value in (3, "x", None):
        with pytest.raises(UserError, match=r"config.optimizer=.* must be a section with: b1, b2"):
            check({**valid, "optimizer": value})
    lacking = {**valid, "train": {k: v for k, v in valid["train"].items() if k != "log_every"}}
    with pytest.raises(UserError, match=r"config.train.log_every is missing; config.train needs: accumulate"):
        check(lacking)
    with pytest.raises(UserError, match=r"unknown key in config: 'optimiser'; known: .*Did you mean 'optimizer'"):
        check({**valid, "optimiser": {}})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 300])
def test_a_workdir_is_made_of_a_name_only_if_that_is_one_of_a_folder(name):
    assert folder_of("icu_digits") == "runs/icu_digits"
    with pytest.raises(UserError, match=r"must be the name of a folder.*set --config.name, or --workdir"):
        folder_of(name)


def test_keys_and_texts():
    config = base()
    set_text(config, "few_shot.shots", "5")
    set_text(config, "loss.icu.mean_init_std", "0.5")
    set_text(config, "loss.icu.mean_init_std", "None")
    set_text(config, "model.remat", "true")
    assert config.few_shot.shots == (5,) and config.loss.icu.mean_init_std is None and config.model.remat is True
    for key, message in {
        "los.name": "unknown key in config: 'los'; known: .*loss.*Did you mean 'loss'",
        "seed.x": "config.seed.x: config.seed is a value and has no keys",
        "loss.icu": "config.loss.icu is a section with: alpha, covariance",
    }.items():
        with pytest.raises(UserError, match=message):
            find(key)
    with pytest.raises(UserError, match="config.train.steps='many' must be a whole number"):
        set_text(config, "train.steps", "many")


# Each option once

# Where a name has another meaning than the option of that name, or stands in a building block that many networks share,
# with the value that switches it off.
ELSEWHERE = {
    ("models/encoder.py", "Encoder"): {"pool", "hidden", "dim", "prelu"},
    ("models/convnet.py", "ConvNet"): {"last_relu"},  # of all but Conv-4
    ("models/layers.py", "batch_norm"): {"momentum"},  # that of optimizers is another
    **{
        ("models/theta_networks.py", name): {"width", "blocks"}
        for name in ("ResNetS", "ResNet50Theta", "resnet_s", "resnet50")
    },
}
ROOMS = ("losses", "models", "methods", "training", "data", "device_data", "evaluation/few_shot/protocol.py")


def literal_defaults(path):
    """(function or class, name, value) of the defaults in a file that are written as literals."""
    for node in ast.walk(ast.parse(path.read_text())):
        found = []
        if isinstance(node, ast.FunctionDef):
            positional = node.args.posonlyargs + node.args.args
            found += zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True)
            found += [x for x in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if x[1] is not None]
            found = [(argument.arg, value) for argument, value in found]
        elif isinstance(node, ast.ClassDef):
            found = [(x.target.id, x.value) for x in node.body if isinstance(x, ast.AnnAssign) and x.value is not None]
        for name, value in found:
            try:
                yield node.name, name, ast.literal_eval(value)
            except ValueError:
                pass


def test_no_default_is_written_twice():
    defaults = {}
    for key, leaf in LEAVES.items():
        defaults.setdefault(key.rpartition(".")[2], []).append(leaf.default)
    for name in ("seed", "name"):  # of many things
        del defaults[name]
    again = []
    for room in ROOMS:
        place = ROOT / "fsjax" / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            where = str(path.relative_to(ROOT / "fsjax"))
            for owner, name, value in literal_defaults(path):
                if name in ELSEWHERE.get((where, owner), ()):
                    continue
                if any(value == known and type(value) is type(known) for known in defaults.get(name, ())):
                    again.append(f"{where}: {owner}({name}={value!r})")
    assert not again


def test_that_test_finds_what_is_written_twice(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("class LgmLoss:\n    alpha: float = 0.1\n\ndef f(x, *, logdet_in_logits=False, y=g()): pass\n")
    assert list(literal_defaults(file)) == [("LgmLoss", "alpha", 0.1), ("f", "logdet_in_logits", False)]


def test_names_in_tables_of_functions_are_the_declared_choices():
    """Where a name stands for a function, the table of functions is beside these, and imports jax."""
    from fsjax.losses.arithmetic.distances import DISTANCES
    from fsjax.losses.arithmetic.similarity import SIMILARITIES
    from fsjax.losses.ldr import INPUTS
    from fsjax.methods.rules import FEATURES
    from fsjax.models import DTYPES
    from fsjax.models.affnet import BINARIZE
    from fsjax.models.crop import PADDINGS
    from fsjax.models.pooling import POOL_PADDINGS, POOLS
    from fsjax.models.resnet12 import ACTIVATIONS
    from fsjax.options.losses import AldrOptions, HarmonicOptions, LdrOptions
    from fsjax.options.methods import LocalizationOptions, PrototypicalOptions
    from fsjax.options.models import POOLS as NAMES
    from fsjax.options.models import ModelOptions, ResNet12Options

    for table, declared in (
        (DISTANCES, choices(HarmonicOptions, "distance")), (INPUTS, choices(LdrOptions, "input")),
        (INPUTS, choices(AldrOptions, "input")), (SIMILARITIES, choices(PrototypicalOptions, "similarity")),
        (DTYPES, choices(ModelOptions, "dtype")), (BINARIZE, choices(LocalizationOptions, "binarize")),
        (PADDINGS, choices(LocalizationOptions, "padding")), (POOLS, NAMES),
        (POOL_PADDINGS, choices(ResNet12Options, "pool_padding")),
        (ACTIVATIONS, choices(ResNet12Options, "activation")),
        (FEATURES, ("embedding", *NAMES, "dense")),
    ):  # fmt: skip
        assert set(table) == set(declared)
    assert "novel" in choices(FewShotOptions, "classes")


def test_what_a_table_names_is_there_and_takes_its_options():
    import dataclasses

    from fsjax.options.losses import LOSSES
    from fsjax.options.methods import METHODS
    from fsjax.options.models import MODELS

    for choice in LOSSES.values():
        assert {f.name for f in dataclasses.fields(choice.options)} <= {
            f.name for f in dataclasses.fields(choice.load())
        }
    for choice in (*MODELS.values(), *METHODS.values()):
        assert callable(choice.load())


def test_a_config_is_read_and_checked_without_jax(python):
    line = "import sys; from fsjax.config_file import load_config; from fsjax.config import check; "
    line += (
        "check(load_config('configs/icu_digits.py')); print([m for m in ('jax', 'flax', 'optax') if m in sys.modules])"
    )
    assert python("-c", line).stdout.strip() == "[]"
