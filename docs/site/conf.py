"""Sphinx's settings: Markdown as the repository shows it (MyST), the theme Furo, nothing from other hosts.

The sources are put together by `docs.site.assemble`; `make docs` runs both.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

project = "Flotilla"
author = "the Flotilla authors"
version = re.findall(r"^## (\d+\.\d+\.\d+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
release = version
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4  # headings have the anchors that GitHub gives them
suppress_warnings = [
    "misc.highlighting_failure",  # a … in an example is meant
]
highlight_language = "text"  # of examples that name no language
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"Flotilla {version}"
html_favicon = str(ROOT / "realtime/static/realtime/favicon.svg")
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#5eead4", "color-brand-content": "#5eead4"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
