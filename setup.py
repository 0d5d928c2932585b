"""Packaging: the rooms at the top level install as one package, unfeature."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("features", "inversion", "baselines", "benchmarks")

INNER = find_packages("api") + find_packages(include=[*ROOMS, *(f"{r}.*" for r in ROOMS)])

BENCH = ["pandas>=2.1", "tabulate>=0.9"]

setup(
    name="unfeature",
    version="0.1.0",
    description="Turn image features back into images: HOG, SIFT, visual words and CNN layers, inverted.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-2-Clause",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=["unfeature", *(f"unfeature.{p}" for p in INNER)],
    package_dir={"unfeature": "api", **{f"unfeature.{r}": r for r in ROOMS}},
    package_data={"": ["*.pyi"], "unfeature": ["py.typed"], "unfeature.show": ["templates/*.html"]},
    install_requires=[
        "click>=8.2",
        "docstring-parser>=0.16",
        "jinja2>=3.1",
        "numba>=0.60",
        "numpy>=1.26",
        "pillow>=10.1",
        "opencv-python>=4.8,<5",
        "safetensors>=0.4",
        "scikit-image>=0.22",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "threadpoolctl>=3.1",
        "torch>=2.4",
        "tqdm>=4.66",
    ],
    extras_require={
        "test": [
            "basedpyright>=1.20",
            "build>=1.0",
            "import-linter>=2.1",
            "distributed>=2024.5",
            "hypothesis>=6.100",
            "mypy>=1.10",
            *BENCH,
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
        ],
        "bench": BENCH,
        "vlfeat": ["cyvlfeat>=0.7"],
        "cluster": ["distributed>=2024.5"],
    },
    entry_points={"console_scripts": ["unfeature = unfeature.cli:main"]},
)
