"""Turn image features back into images.

>>> import unfeature as uf
>>> phi = uf.HOG(cell_size=8)
>>> photograph = uf.resize_longer(uf.to_grey(uf.bundled("camera")), 64)
>>> result = uf.invert(phi, phi(photograph), seed=0)
>>> result.error < 0.2
True
>>> result.save("out/")

The public names stand in ``__init__.pyi``; each is imported on first use, so that ``import unfeature`` is quick.
"""

from functools import cache
from typing import Any


@cache
def _homes() -> dict[str, str]:
    from unfeature.catalogue import read_stub

    return read_stub(__name__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("unfeature")
    if name.startswith("__"):
        raise AttributeError(name)
    from unfeature.catalogue import load
    from unfeature.features import DESCRIPTORS

    added = DESCRIPTORS.class_names()
    return DESCRIPTORS[added[name]] if name in added else load(__name__, name, _homes())


def __dir__() -> list[str]:
    return [*_homes(), "__version__"]
