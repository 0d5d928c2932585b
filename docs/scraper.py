"""What sphinx-gallery shows of a block of code: a Pillow image that it ends with, as a notebook does."""

from PIL.Image import Image
from sphinx_gallery.scrapers import figure_rst


def pictures(block, block_vars, gallery_conf):
    """Write the image that the last expression of a block gave; return the text that shows it."""
    shown = block_vars["example_globals"].get("___")
    if not isinstance(shown, Image) or shown is block_vars.get("shown before"):
        return ""
    block_vars["shown before"] = shown
    path = next(block_vars["image_path_iterator"])
    shown.save(path)
    return figure_rst([path], gallery_conf["src_dir"])
