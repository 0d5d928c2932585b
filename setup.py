"""The rooms at the top level install as one package, unfeature; pyproject.toml says everything else."""

from setuptools import find_packages, setup

ROOMS = ("features", "inversion", "baselines", "benchmarks")
INNER = find_packages("api") + find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])

setup(packages=["unfeature", *(f"unfeature.{name}" for name in INNER)],
      package_dir={"unfeature": "api", **{f"unfeature.{room}": room for room in ROOMS}})
