"""Code → image: one loop for every objective. ``__init__.pyi`` is the catalogue of the presets, a line for each."""

from unfeature.catalogue import Catalogue

PRESETS: Catalogue = Catalogue("preset", __name__)

__getattr__ = PRESETS.attribute
