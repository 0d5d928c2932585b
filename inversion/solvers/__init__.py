"""Descent, point by point. ``__init__.pyi`` is the catalogue of the solvers, a line for each."""

from unfeature.catalogue import Catalogue

SOLVERS: Catalogue = Catalogue("solver", __name__)

__getattr__ = SOLVERS.attribute
