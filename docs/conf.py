"""The documentation site: ``make docs``. No page needs the network to be built."""

import sys
from pathlib import Path

import unfeature

sys.path.insert(0, str(Path(__file__).parent))

project, author, copyright = "unfeature", "unfeature contributors", "2026, unfeature contributors"
version = release = unfeature.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser",
              "sphinx_gallery.gen_gallery"]
exclude_patterns = ["examples", "notebooks"]
suppress_warnings = ["myst.xref_missing"]  # links from the pages to files of the repository, which are no pages
html_theme = "pydata_sphinx_theme"
html_title = "unfeature"
html_show_sourcelink = False
html_static_path, html_css_files = ["_static"], ["site.css"]
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"*": []}  # a page outside a folder has no sections to list: tables get the room
html_context = {"default_mode": "auto"}
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_inherited_class_members = False
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
myst_heading_anchors = 3
sphinx_gallery_conf = {
    "examples_dirs": ["notebooks", "examples"],
    "gallery_dirs": ["tour", "gallery"],
    "image_scrapers": ("matplotlib", "scraper.pictures"),
    "capture_repr": ("_repr_html_",),
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "thumbnail_size": (400, 200),
    "within_subsection_order": "FileNameSortKey",
}


def setup(app):
    """Keep |x| in docstrings an absolute value: reStructuredText would replace it."""
    app.connect("autodoc-process-docstring", lambda _, kind, name, obj, options, lines: _escape(lines))


def _escape(lines):
    lines[:] = [line.replace("|", r"\|") for line in lines]
