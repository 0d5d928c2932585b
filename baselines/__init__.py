"""Other ways from a code to an image. ``__init__.pyi`` is their catalogue, a line for each."""

from unfeature.catalogue import Catalogue

METHODS: Catalogue = Catalogue("method", __name__)
LEARNED_AS = {"dictionary": "paired-dictionary", "basis": "direct"}

__getattr__ = METHODS.attribute


def find(name: str) -> type:
    """The class of a method by its command-line name or its model's name in ``unfeature learn``, else ValueError."""
    return METHODS.find(LEARNED_AS.get(name, name))
