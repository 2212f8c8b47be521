"""The documentation as it is built: without a warning, without a network, and with all that is made from the code."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class _Loaded(HTMLParser):
    """What a page loads when it is opened."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.found.append(attributes.get("src"))
        if tag == "link" and attributes.get("rel") not in ("next", "prev", "search", "index"):
            self.found.append(attributes.get("href"))


@pytest.mark.slow
def test_pages_build_without_a_warning_or_a_network(tmp_path):
    pytest.importorskip("sphinx", reason="the pages are built where '.[docs]' is installed")
    program = "import sys; from sphinx.cmd.build import main; done = main(sys.argv[1:]); "
    program += "print('TensorFlow', 'tensorflow' in sys.modules); sys.exit(done)"
    out = tmp_path / "html"
    command = [sys.executable, "-c", program, "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    done = subprocess.run(
        [*command, "docs", str(out)],
        cwd=ROOT,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert "TensorFlow False" in done.stdout
    for page in out.rglob("*.html"):
        loaded = _Loaded()
        loaded.feed(page.read_text())
        away = [target for target in loaded.found if target and re.match(r"(https?:)?//", target)]
        assert not away, f"{page.name} loads {away}"
    from fsjax.cli import COMMANDS
    from fsjax.losses import LOSSES

    commands = (out / "commands.html").read_text()
    assert all(f'id="fsjax-{name}"' in commands for name in COMMANDS)
    reference = (out / "api" / "losses.html").read_text()
    assert all(
        f'id="{loss.__module__}.{loss.__qualname__}"' in reference
        for loss in (choice.load() for choice in LOSSES.values())
    )
    formulas = (out / "losses.html").read_text()
    assert formulas.count("<math ") > 40 and "\\frac" not in formulas
