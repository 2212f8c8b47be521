"""Options: each is declared once, with its type, default, meaning and range, and read, checked and shown from there.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class FocalOptions:
        gamma: float = option(2.0, "how fast well classified examples fade", at_least=0, at_most=100)

What uses the options takes them from this class: a loss is a linen module that inherits from it, a network and a
method are functions that are given an instance. The sections of a config are made of the same classes
(`fsjax.config`). Rules between the options of a class are its method `check_rules(at)`, which raises a `UserError`;
`at` stands in front of a key in messages, such as "config.loss.focal.".

Nothing in this package imports jax, so that a config is read and checked at once.
"""

from fsjax.options.declare import Option, choices, is_option, option
from fsjax.options.leaf import Leaf
from fsjax.options.section import NoOptions, Section, check_fields, of_table, read, section
from fsjax.options.table import Choice, Table, use_plugin

__all__ = [
    "Choice",
    "Leaf",
    "NoOptions",
    "Option",
    "Section",
    "Table",
    "check_fields",
    "choices",
    "is_option",
    "of_table",
    "option",
    "read",
    "section",
    "use_plugin",
]
