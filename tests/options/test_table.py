"""Plug-ins: names that installed packages and modules add, found without importing what nobody asked for."""

import subprocess
import sys
import textwrap

import pytest

from fsjax import config as configs
from fsjax.data.sources import SOURCES
from fsjax.errors import UserError
from fsjax.losses import LOSSES, build_loss
from fsjax.options import table, use_plugin
from fsjax.options.table import KINDS, Choice

OPTIONS = """
import dataclasses
from fsjax.options import Choice, option

@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class Options:
    "Of an example."
    weight: float = option(0.5, "of it", at_least=0, at_most=1)

{name} = Choice(Options, "fsjax.losses.softmax:SoftmaxLoss")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs packages as pip leaves them: a module, and a folder that describes it with its entry points."""

    def install(name, version="1.2", *, kind="losses", entry="example", value=None, source=OPTIONS):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source.format(name="CHOICE")))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[fsjax.{kind}]\n{entry} = {value or f'{module}:CHOICE'}\n")
        table._installed.cache_clear()
        return module

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    table._installed.cache_clear()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Writes and uses a plug-in module; what it adds is taken away again."""
    monkeypatch.chdir(tmp_path)

    def use(source, name="own_plugin"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        use_plugin(name)

    yield use
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)
    for kind in KINDS:
        table._ADDED[kind].clear()


def test_an_installed_package_is_known_by_name_and_imported_when_it_is_chosen(package):
    module = package("fsjax-other")
    assert "example" in LOSSES and "example" in [*LOSSES] and len(LOSSES) == len(LOSSES.own) + 1
    config = configs.base()
    assert "example" not in config.loss and module not in sys.modules
    configs.set_text(config, "loss.example.weight", "0.25")
    configs.set_text(config, "loss.name", "example")
    assert module in sys.modules
    assert config.loss.example.to_dict() == {"weight": 0.25}
    config.train.steps, config.model.name, config.data.name = 1, "cnn", "digits"
    configs.check(config)
    assert configs.plugged(config) == {"losses example": "fsjax-other 1.2"}
    with pytest.raises(UserError, match=r"config.loss.example.weight=2 must be at least 0 and at most 1"):
        configs.set_text(config, "loss.example.weight", "2")


def test_a_recipe_need_not_say_the_options_of_a_plug_in(package):
    package("fsjax-other")
    config = configs.base()
    config.loss.name = "example"
    configs.complete(config)
    assert config.loss.example.to_dict() == {"weight": 0.5}
    config.loss.example = {"weight": 0.75}
    configs.complete(config)
    assert config.loss.example.to_dict() == {"weight": 0.75}


def test_a_name_that_two_have_is_refused(package):
    package("fsjax-other", entry="icu")
    with pytest.raises(UserError, match=r"the loss 'icu' is there 2 times, in fsjax and fsjax-other 1.2: uninstall"):
        build_loss("icu", num_classes=2, dim=2)
    assert build_loss("softmax", num_classes=2, dim=2)


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        (
            "import no_such_module_at_all",
            None,
            r"the loss 'example' of fsjax-other 1.2 \(fsjax_other:CHOICE\) cannot be ",
        ),
        ("CHOICE = 3", None, "must be a fsjax.options.Choice, not 3"),
        ("", "fsjax_other:GONE", "cannot be imported .AttributeError"),
    ],
)
def test_a_package_that_is_broken_is_named(package, source, value, message):
    package("fsjax-other", source=source, value=value)
    with pytest.raises(UserError, match=message) as error:
        LOSSES["example"]
    assert "\n" not in str(error.value)
    assert build_loss("softmax", num_classes=2, dim=2)  # others do not suffer


def test_a_module_adds_what_is_in_its_tables(plug):
    made = "{'grid': Choice(NoOptions, 'fsjax.data.sources.fake:load')}"
    plug(f"from fsjax.options import Choice, NoOptions\nSOURCES = {made}")
    assert SOURCES["grid"].made_by == "fsjax.data.sources.fake:load"
    assert SOURCES.plugged()["grid"].startswith("the module own_plugin (")
    use_plugin("own_plugin")  # again


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "the plug-in own_plugin adds nothing: it has none of LOSSES, MODELS, METHODS, SOURCES, METRICS"),
        ("LOSSES = ['icu']", "own_plugin.LOSSES must be a dict of choices by name"),
        ("METRICS = {'mine': len}", r"own_plugin.METRICS\['mine'\] must be a fsjax.options.Choice"),
        ("LOSSES = {'icu': None}", "has a loss 'icu', and fsjax has one: rename it"),
        ("SOURCES = {'csv': None}", "has a source of data 'csv', and fsjax has one: rename it"),
        ("1 / 0", r"--plugin own_plugin: the module cannot be imported \(ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_a_plug_in_is_refused(plug, source, message):
    with pytest.raises(UserError, match=message):
        plug(source)


def test_a_module_that_is_not_there_is_one_line(root):
    line = [sys.executable, "-m", "fsjax", "train", "--plugin", "no_such_plugin"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: --plugin no_such_plugin: the module cannot be imported"
    )
    assert done.stderr.count("\n") == 1


def test_choices_of_fsjax_can_all_be_imported():
    from fsjax.config import METHODS, METRICS, MODELS

    for each in (LOSSES, MODELS, METHODS, METRICS, SOURCES):
        for choice in each.own.values():
            assert isinstance(choice, Choice) and callable(choice.load())
