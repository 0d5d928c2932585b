"""Catalogues: the descriptors, baselines and tables by name, each imported when it is first asked for.

A catalogue reads its entries from the stub of a package, ``__init__.pyi``. One line there,
``from unfeature.features.gradients.hog import HOG as HOG``, gives a class its public name and, for the command line,
the name ``hog``.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Catalogue(MutableMapping[str, T], Generic[T]):
    """Classes, or functions, of one kind, such as ``"feature"``, by command-line name, from the stub of a package.

    ``catalogue["toy"] = Toy`` adds an entry for the life of the process; it then behaves as the others do.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._homes = {command_name(name): (module, name) for name, module in read_stub(package).items()}
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            module, attribute = self._homes[name]
            self._loaded[name] = getattr(import_module(module), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._loaded[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._homes, **self._loaded})

    def __len__(self) -> int:
        return len({*self._homes, *self._loaded})

    def __contains__(self, name: object) -> bool:
        return name in self._homes or name in self._loaded

    def find(self, name: str) -> T:
        """The entry of this name; a ValueError for an unknown one lists the names and suggests the nearest."""
        if name not in self:
            raise ValueError(f"unknown {self.kind} {name!r}: one of {', '.join(self)}{suggestion(name, self)}")
        return self[name]

    def outline(self, name: str) -> tuple[str, set[str]]:
        """The summary and the names of the methods of a class, read from its source: nothing is imported."""
        if name in self._loaded:
            return summary_of(inspect.getdoc(self._loaded[name])), set(vars(self._loaded[name]))
        module, attribute = self._homes[name]
        source = Path(str(find_spec(module).origin)).read_text(encoding="utf-8")  # type: ignore[union-attr]
        for line in ast.parse(source).body:
            if isinstance(line, ast.ClassDef) and line.name == attribute:
                methods = {part.name for part in line.body if isinstance(part, ast.FunctionDef)}
                return summary_of(ast.get_docstring(line)), methods
        raise ValueError(f"{module} defines no class {attribute}")

    def class_names(self) -> dict[str, str]:
        """The command-line name of each class, by the name of the class."""
        added = {str(getattr(entry, "__name__", name)): name for name, entry in self._loaded.items()}
        return {attribute: name for name, (_, attribute) in self._homes.items()} | added

    def attribute(self, class_name: str) -> T:
        """The class of this name, as a package's ``__getattr__`` needs it."""
        names = self.class_names()
        if class_name not in names:
            raise AttributeError(f"there is no {self.kind} class {class_name!r}: one of {', '.join(names)}"
                                 f"{suggestion(class_name, names)}")
        return self[names[class_name]]


def summary_of(docstring: str | None) -> str:
    """The first paragraph, in one line."""
    return " ".join((docstring or "").split("\n\n")[0].split())


def command_name(class_name: str) -> str:
    """``SuperVector`` → ``super-vector``, ``HOG`` → ``hog``, ``BoVW`` → ``bovw``, ``deep_prior`` → ``deep-prior``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|_", "-", class_name).lower()


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'hog'?``, or nothing if no known name is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def read_stub(package: str) -> dict[str, str]:
    """The names that a package's stub imports, and the module of each; ``import *`` brings those of another stub."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found: dict[str, str] = {}
    for line in ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(line, ast.ImportFrom) and line.module is not None:
            for name in line.names:
                if name.name == "*":
                    found |= read_stub(line.module)
                elif name.asname is not None:
                    found[name.asname] = line.module
    return found


def load(package: str, name: str, homes: dict[str, str]) -> Any:
    """A public name of a package, imported from its home; AttributeError if it has none."""
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}{suggestion(name, homes)}")
    if homes[name] == package:
        return import_module(f"{package}.{name}")
    return getattr(import_module(homes[name]), name)
