"""Priors on images, one value a sample. ``__init__.pyi`` is their catalogue, a line for each."""

from unfeature.catalogue import Catalogue

PRIORS: Catalogue = Catalogue("prior", __name__)

__getattr__ = PRIORS.attribute
