"""How the documentation is built: `sphinx-build -W --keep-going -b html docs build/docs`, without a network.

The pages are Markdown that GitHub shows too. What is made when they are built: the commands' reference from the
parsers, the API reference from the docstrings, and formulas as MathML, so that a page loads nothing from the network.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "_ext")]

from fsjax.version import __version__  # noqa: E402

project = "fsjax"
author = "The fsjax authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "formulas", "commands", "api"]
exclude_patterns = ["_ext"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as on GitHub, so that links to headings work in both

html_theme = "furo"
html_title = f"fsjax {release}"
html_static_path = ["_static"]
html_css_files = ["fsjax.css"]
html_math_renderer = "mathml"
smartquotes = False  # "mean" is a value, and --out a flag
html_copy_source = False
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
add_module_names = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signatures have them
napoleon_numpy_docstring = False
