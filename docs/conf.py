"""How the documentation is built: ``make docs``, with warnings as errors and nothing from the net.

Sphinx with MyST reads the Markdown pages as they are, so that they can be read in a checkout, too.
"""

import onlineflows

project = "OnlineFlows"
author = "The OnlineFlows developers"
project_copyright = author
release = version = onlineflows.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# Headings are linked to as in a checkout: reliability.md#operation.
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Notebooks are kept without outputs and are executed here; a cell that fails, fails the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

# Types stay in the signatures; single backquotes name code, and lead there where it has a page.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"OnlineFlows {release}"
html_copy_source = False
html_show_sourcelink = False
