"""How Sphinx builds these docs: `make docs`."""

import sys
from importlib.metadata import version as _version
from pathlib import Path

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

import _generate  # noqa: E402 - it stands beside this file

_generate.write(_HERE)

project = "aiodis"
copyright = "The aiodis maintainers"
release = version = _version("aiodis")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]

# Links between pages may name a heading, and a wrong one is a warning, which is an error.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# The docstrings are prose with names in single backquotes.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "alabaster"
html_title = "aiodis"
html_theme_options = {
    "description": "The asyncio toolkit for Huawei Cloud DIS, with an embedded local DIS",
    "page_width": "1100px",
    "body_max_width": "820px",
    "fixed_sidebar": True,
}
html_show_sourcelink = False
