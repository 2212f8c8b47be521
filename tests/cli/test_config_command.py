"""`fsjax config`: values, meanings, ranges, and where each value was set."""

import re

import pytest

from fsjax import cli
from fsjax.config import options


@pytest.fixture
def config_command(root, capsys):
    def call(*arguments, variant=""):
        status = cli.main(["config", f"{root}/configs/icu_cifar100.py{variant}", *arguments])
        return status, *capsys.readouterr()

    return call


def test_values_say_where_they_come_from(config_command):
    status, out, _ = config_command("loss.icu", "schedule", "--config.loss.icu.alpha=0.01")
    assert status == 0
    assert "config.loss.icu\n  alpha = 0.01  (flag)\n      the margin between classes\n" in out
    assert "      a number, at least 0 and at most 1,000,000\n  gamma = 0.001  (default)\n" in out
    assert "config.schedule\n  name = 'step'  (default)\n" in out
    assert "  boundaries = (60000, 90000)  (recipe)\n" in out
    assert "config.optimizer" not in out and "config.loss\n" not in out


def test_all_is_shown_but_for_what_is_not_chosen(config_command):
    _, out, _ = config_command()
    assert "  name = 'icu_cifar100'  (recipe)\n" in out and "config.model.vgg13\n" in out and "config.loss.icu\n" in out
    assert "config.loss.lgm\n" not in out and "config.model.resnet12\n" not in out
    named = {
        key.rpartition(".")[0] for key, _ in options().leaves() if not key.startswith(("loss.", "model.", "method."))
    }
    for section in named:
        assert f"\nconfig.{section}\n" in out if section else "\nconfig\n" in out
    _, out, _ = config_command("loss.lgm.alpha")
    assert out.split() == [
        *(
            "config.loss.lgm alpha = 0.1 (default) the margin at the start a number, at least 0 and at most 1,000,000"
        ).split()
    ]


def test_changed_values_alone(config_command):
    _, out, _ = config_command("--changed", "--config.train.progress=false", variant=":smoke")
    assert "(default)" not in out and "  steps = 4  (recipe)\n" in out and "  progress = False  (flag)\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["los.icu"], "unknown section los.icu: there is no 'los'; known: .*Did you mean 'loss'"),
        (["loss.icy"], "unknown section loss.icy: there is no 'icy'; known: .*Did you mean 'icu'"),
        (["--config.optimizer.eps=-1"], "config.optimizer.eps=-1 must be above 0 and at most 1"),
        (["--config.optimiser.eps=1"], "unknown key in config: 'optimiser'; known: .*Did you mean 'optimizer'"),
        (["--config.train.steps"], "--config.train.steps needs a value"),
    ],
)
def test_what_is_wrong_is_one_line_with_status_2(config_command, arguments, message):
    status, out, err = config_command(*arguments)
    assert status == 2 and not out

    assert re.match(f"error: {message}", err) and err.count("\n") == 1
