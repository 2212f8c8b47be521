"""Formulas as MathML, made by docutils when the pages are built: no script, and nothing is loaded to show them."""

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_UNBRACED = re.compile(r"\\([td]?frac(?!\{)|frac\{[^{}]*\}(?!\{)|sqrt(?![\[{]))\S*")
# An accent with an index, which docutils would put below it.
_ACCENT = re.compile(r"(\\(?:bar|hat)\s*(?:\\[a-zA-Z]+|[a-zA-Z]))(?=[_^])")
logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(f'<span class="math">{_mathml(node, as_block=False)}</span>')
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Node, *, as_block: bool) -> str:
    if found := _UNBRACED.search(node.astext()):  # docutils takes the 12 of \frac12 for one number
        logger.warning("formula %r: %r wants braces", node.astext(), found[0], location=node)
    try:
        found = str(tex2mathml(_ACCENT.sub(r"{{}\1}", node.astext().strip()), as_block=as_block))
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"
    # Or bars stand apart from what is in them.
    found = found.replace('<mo class="mathopen">', '<mo form="prefix" stretchy="false">')
    found = re.sub("<mo>([|‖])</mo>", r'<mo form="postfix" stretchy="false">\1</mo>', found)
    # A little space between a function's name and what is no parenthesis.
    return re.sub(
        r"(<mo>&ApplyFunction;</mo>)(?!\s*(?:<mrow>\s*)?<mo[^>]*>\()", r'\1<mspace width="0.17em"></mspace>', found
    )
