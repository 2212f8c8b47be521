"""Declared options: what is read, what is refused, and in which words."""

import dataclasses
import math

import pytest

from fsjax.errors import UserError
from fsjax.options import Leaf, Option, check_fields, option, read, section


@dataclasses.dataclass(frozen=True)
class Inner:
    flag: bool = option(False, "a switch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    rate: float = option(0.5, "a share", above=0, at_most=1)
    side: int = option(0, "a side", at_least=2, at_most=10_000, or_=(0,))
    kind: str = option("arc", "a kind", choices=("arc", "cos"))
    maybe: float | None = option(None, "an offset", at_least=0, below=2)
    sizes: tuple[int, ...] = option((1,), "sizes", at_least=1, at_most=9, entries=(1, 2))
    stages: tuple[tuple[int, ...], ...] = option(((1,),), "stages", at_least=1, at_most=9, entries=(1, 3))
    shots: tuple[int | tuple[int, int], ...] = option((5,), "shots", at_least=1, at_most=9)
    path: str = option("", "a path")
    inner: Inner = Inner()

    def check_rules(self, at):
        if self.kind == "cos" and self.side:
            raise UserError(f"{at}side={self.side} is of {at}kind='arc'")


def test_what_is_left_out_has_its_default_and_numbers_their_type():
    found = read(Example, {"rate": 1, "sizes": [2, 3], "inner": {"flag": True}}, "config.x")
    assert found == Example(rate=1.0, sizes=(2, 3), inner=Inner(flag=True))
    assert type(found.rate) is float


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rate", 0, "config.x.rate=0 must be above 0 and at most 1 (a share)"),
        ("rate", math.nan, "config.x.rate=nan must be above 0 and at most 1 (a share)"),
        ("rate", 10**400, "must be above 0 and at most 1 (a share)"),
        pytest.param(
            "rate", 10**5000, "config.x.rate=a number of 16,610 bits must be above 0", id="thousands of digits"
        ),
        ("rate", "1", "config.x.rate='1' must be a number, above 0 and at most 1 (a share)"),
        ("rate", True, "config.x.rate=True must be a number"),
        ("side", 1, "config.x.side=1 must be 0, or at least 2 and at most 10,000 (a side)"),
        ("side", 2.0, "config.x.side=2.0 must be a whole number, 0, or at least 2"),
        ("kind", "act", "kind='act' must be one of 'arc', 'cos' (a kind). Did you mean 'arc'?"),
        ("kind", 1, "config.x.kind=1 must be one of 'arc', 'cos' (a kind)"),
        ("maybe", 2.0, "config.x.maybe=2.0 must be at least 0 and below 2, or None (an offset)"),
        (
            "sizes",
            (),
            "config.x.sizes=() must be a tuple of 1 to 2 whole numbers, each at least 1 and at most 9 (sizes)",
        ),
        ("sizes", (1, 10), "config.x.sizes=(1, 10): each must be at least 1 and at most 9 (sizes)"),
        ("sizes", 3, "config.x.sizes=3 must be a tuple of 1 to 2 whole numbers"),
        ("stages", ((),), "config.x.stages=((),) must be a tuple of 1 to 3"),
        ("stages", (1,), "config.x.stages=(1,) must be a tuple"),
        ("shots", ((1, 2, 3),), "config.x.shots=((1, 2, 3),) must be a tuple"),
        ("path", "a\0b", r"config.x.path='a\x00b' must be of at most 4,096 printable characters (a path)"),
        ("inner", 3, "config.x.inner=3 must be a section with: flag"),
        ("inner", {"flag": "yes"}, "config.x.inner.flag='yes' must be True or False (a switch)"),
        ("inner", {"flg": True}, "unknown key in config.x.inner: 'flg'; known: flag. Did you mean 'flag'?"),
    ],
)
def test_what_is_wrong_is_one_line_with_key_value_and_what_is_valid(key, value, message):
    with pytest.raises(UserError) as error:
        read(Example, {key: value}, "config.x")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_rules_between_options():
    with pytest.raises(UserError, match=r"^config\.x\.side=4 is of config\.x\.kind='arc'$"):
        read(Example, {"kind": "cos", "side": 4}, "config.x")
    with pytest.raises(UserError, match=r"^side=4 is of kind='arc'$"):
        check_fields(Example(kind="cos", side=4))


def test_a_whole_section_lacks_nothing():
    given = section(Example).defaults()
    assert section(Example).read(given, "config.x", whole=True) == Example()
    del given["rate"]
    with pytest.raises(UserError, match=r"config.x.rate is missing; config.x needs: inner, kind, maybe, path, rate"):
        section(Example).read(given, "config.x", whole=True)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rate", "0.25", 0.25), ("rate", "1e-3", 1e-3), ("inner.flag", "true", True),
        ("inner.flag", "False", False),
        ("kind", "cos", "cos"), ("maybe", "None", None), ("maybe", "1", 1), ("sizes", "3", (3,)),
        ("sizes", "3,4", (3, 4)),
        ("sizes", "(3,)", (3,)), ("stages", "((1,2),(3,))", ((1, 2), (3,))), ("shots", "(1,(2,5))", (1, (2, 5))),
        ("path", "(1, 2)", "(1, 2)"),
    ],
)  # fmt: skip
def test_texts_of_a_command_line(key, text, value):
    leaf = dict(section(Example).leaves())[key]
    assert leaf.read(leaf.parse(text), key) == value


def test_a_number_is_declared_with_both_ends():
    with pytest.raises(TypeError, match="a number needs a lower and an upper end"):
        Leaf(int, 1, Option("steps", at_least=0))
    with pytest.raises(TypeError, match="one lower and one upper end"):
        option(1, "steps", at_least=0, above=0, at_most=9)
