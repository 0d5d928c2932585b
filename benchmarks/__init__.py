"""The benchmarks. ``__init__.pyi`` is the catalogue of their tables, a line for each."""

from unfeature.catalogue import Catalogue

TABLES: Catalogue = Catalogue("table", __name__)

__getattr__ = TABLES.attribute
