"""Turn image features back into images.

>>> import unfeature as uf
>>> phi = uf.HOG(cell_size=8)
>>> code = phi(uf.read_image("photo.jpg", grey=True))
>>> result = uf.invert(phi, code, seed=0)
>>> result.save("out/")

The public names stand in ``__init__.pyi``; each is imported on first use, so that ``import unfeature`` is quick.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("unfeature")
    return _load(name)
