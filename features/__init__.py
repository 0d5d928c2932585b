"""Image → code: the descriptors, with their gradients. ``__init__.pyi`` is their catalogue, a line for each."""

from unfeature.catalogue import Catalogue

DESCRIPTORS: Catalogue = Catalogue("feature", __name__)

__getattr__ = DESCRIPTORS.attribute
