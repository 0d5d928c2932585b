"""What is optimised in place of pixels. ``__init__.pyi`` is the catalogue of the parameterizations, a line for each."""

from unfeature.catalogue import Catalogue

PARAMETERIZATIONS: Catalogue = Catalogue("parameterization", __name__)

__getattr__ = PARAMETERIZATIONS.attribute
