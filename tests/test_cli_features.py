"""Options of features and methods: read from signatures, help from numpydoc, for those added at run time, too."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import unfeature as uf
from unfeature.baselines import METHODS
from unfeature.baselines.base import Baseline
from unfeature.cli.commands import cli
from unfeature.cli.feature_command import FeatureCommand
from unfeature.features import DESCRIPTORS
from unfeature.features.base import Representation
from unfeature.io.images import bundled_path, resize_longer, write_png
from unfeature.parameters.kinds import values
from unfeature.parameters.signatures import SPELLING, first_sentences, option_type, options_of


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Files of words and of a mixture."""
    phi = uf.BRIEF(bits=6, patch_size=8, step=3, softness=1.0)
    rng = np.random.default_rng(0)
    centres = rng.uniform(-0.6, 0.6, (8, 6))
    folder = tmp_path_factory.mktemp("words")
    uf.Vocabulary(phi, centres).save(folder / "words.npz")
    uf.Mixture(phi, centres, variances=np.full((8, 6), 0.2), priors=np.full(8, 0.125)).save(folder / "mixture.npz")
    return folder


@pytest.fixture(autouse=True)
def photograph(tmp_path, monkeypatch):
    """The photograph a.png, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_png("a.png", np.zeros((8, 8)))


@pytest.fixture
def built(monkeypatch):
    """The descriptor that a command line builds."""

    def build(feature, *arguments):
        found = []
        module = sys.modules["unfeature.cli.invert"]
        monkeypatch.setattr(module, "read_photograph", lambda path, phi, *rest: found.append(phi) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.main(["features", "a.png", "--feature", feature, "-o", "a.npy", *map(str, arguments)],
                     standalone_mode=False)
        return found[0].to_config()

    return build


@pytest.mark.parametrize(
    ("feature", "given", "expected"),
    [
        ("hog", ("--variant", "dpm", "--cell-size", 4), lambda: uf.HOG(variant="dpm", cell_size=4)),
        ("hog", ("--bilinear", "--no-texture"), lambda: uf.HOG(bilinear=True, texture=False)),
        ("hog", ("--hard",), lambda: uf.HOG(bilinear=False)),
        ("dsift", ("--bin-size", 5, "--step", 3), lambda: uf.DSIFT(bin_size=5, step=3)),
        ("dsift", ("--geometry", "2,3,6", "--window", "flat"), lambda: uf.DSIFT(geometry=(2, 3, 6), window="flat")),
        ("phow", ("--colour-space", "rgb"), lambda: uf.PHOW(colour="rgb")),
        ("phow", ("--sizes", "2,4"), lambda: uf.PHOW(sizes=(2, 4))),
        ("lbp", ("--points", 6, "--radius", 2), lambda: uf.LBP(points=6, radius=2.0)),
        ("lbp", ("--oriented",), lambda: uf.LBP(rotation_invariant=False)),
        ("brief", ("--bits", 32, "--feature-seed", 3), lambda: uf.BRIEF(bits=32, seed=3)),
    ],
)
def test_given_options_reach_the_descriptor(built, feature, given, expected):
    assert built(feature, *given) == expected().to_config()
    assert built(feature) == type(expected())().to_config()


def test_codes_of_words(built, call, words):
    given = ("--words", words / "words.npz", "--levels", "1,3x1")
    vocabulary = uf.Vocabulary.load(words / "words.npz")
    for feature, kind in (("bovw", uf.BoVW), ("vlad", uf.VLAD), ("super-vector", uf.SuperVector)):
        assert built(feature, *given) == kind(vocabulary, levels=(1, (3, 1))).to_config()
    mixture = words / "mixture.npz"
    assert built("fisher", "--words", mixture) == uf.Fisher(uf.Vocabulary.load(mixture)).to_config()
    status, _, line = call("features", "a.png", "--feature", "fisher", "--words", words / "words.npz", "-o", "a.npy")
    assert status == 2 and "Fisher vector needs a" in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--feature hog --bits 4", "--bits is not an option of hog, which takes --variant"),
        ("--feature hog --celsize 4", "did you mean '--cell-size'?"),
        ("--bits 4", "options of a feature need --feature NAME, one of dsift"),
        ("--feature bovw", "bovw needs --words: "),
        ("--feature cnn --net alexnet", "cnn needs --layer: "),
        ("--feature hog --cell-size 0", "--cell-size is a whole number of at least 1, got 0"),
        ("--feature hog --cell-size four", "'four' is not a valid integer"),
        ("--feature bovw --levels 1;2", "'1;2' is not a list of numbers: separate them by commas, as 1,2 or 1,3x1"),
        ("--feature bovw --words none.npz", "there is no file none.npz"),
        ("--feature", "Option '--feature' requires an argument"),
    ],
)
def test_mistakes_are_named(call, given, message):
    status, text, line = call("features", "a.png", "-o", "a.npy", *given.split())
    assert (status, text, line.count("\n")) == (2, "", 1)
    assert message in line


def test_every_option_is_a_parameter_and_explains_itself():
    parameters = set()
    for name, entry in DESCRIPTORS.items():
        options = options_of(entry.__init__, entry.__mro__)
        assert options and len({flag for o in options for flag in o.opts}) == len(options), name
        parameters |= {option.parameter for option in options}
    assert set(SPELLING) <= parameters


@pytest.mark.parametrize(("text", "levels"), [("1", (1,)), ("1,2,4", (1, 2, 4)), ("1,3x1", (1, (3, 1)))])
def test_pyramids_are_read(text, levels):
    assert values(pairs=True).convert(text, None, None) == levels


def test_types_of_options():
    assert option_type(Literal["a", "b"]).known == ("a", "b")
    assert option_type(int | None).name == "integer"
    assert option_type(str | Path | None).name == "path"
    assert option_type(tuple[int | tuple[int, int], ...]).convert("1,3x1", None, None) == (1, (3, 1))
    assert option_type(Sequence[str]).convert("conv1,fire2", None, None) == ("conv1", "fire2")
    assert option_type(tuple[float, ...]).convert("0.5,1", None, None) == (0.5, 1.0)
    assert option_type(uf.Vocabulary).name == "file"
    assert option_type(np.ndarray) is None and option_type(None) is None


def test_help_is_the_first_sentence():
    found = first_sentences("""Summary.

    Parameters
    ----------
    side, width : int
        Pixels of `x`, 0.5 or more. Not this.
    other : str
    """)
    assert found == {"side": "Pixels of x, 0.5 or more.", "width": "Pixels of x, 0.5 or more.", "other": ""}


def test_help_shows_the_options_of_one_feature(call):
    general, hog = call("invert", "--help")[1], call("invert", "--feature", "hog", "--help")[1]
    assert "--cell-size" not in general and all(name in general for name in DESCRIPTORS)
    assert "`unfeature invert --feature hog --help` lists hog's options" in general
    assert len(general.splitlines()) <= 50 and max(map(len, general.splitlines())) <= 120
    assert "Options of hog:" in hog and "--bilinear / --hard" in hog and "--bits" not in hog
    assert re.search(r"--cell-size INTEGER\s+Pixels along one side of a\s+cell\. \[8\]", hog)
    assert "--preset" not in hog and "`unfeature invert --help` lists the other options." in hog
    assert "--layer" in call("maximize", "--feature", "cnn", "--help")[1]


def commands(group, names=()):
    """All commands, as the words that name them."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))


@pytest.mark.parametrize(("names", "command"), [pytest.param(*found, id=" ".join(found[0])) for found in commands(cli)])
def test_help_fits_on_one_screen(call, names, command):
    features = DESCRIPTORS if isinstance(command, FeatureCommand) and len(names) == 1 else ()
    for options in ((), *(("--feature", feature) for feature in features)):
        status, text, _ = call(*names, *options, "--help")
        assert status == 0 and text.count("\n") <= 50, options


def test_help_imports_one_descriptor_only():
    code = ("import sys; from unfeature.cli import main\ntry: main(['invert', '--feature', 'hog', '--help'])\n"
            "except SystemExit: print([m for m in sys.modules if m.startswith('unfeature.features.')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    imported = done.stdout.splitlines()[-1]
    assert "gradients.hog" in imported
    assert not re.search(r"networks\.cnn|patterns|words\.bovw|gradients\.phow", imported)


class Toy(Representation):
    """Differences of pixels that lie apart.

    Parameters
    ----------
    distance : int
        Pixels between them.
    direction : {"down", "across"}
        Where the second one lies.
    """

    in_channels = (1,)

    def __init__(self, distance: int = 1, direction: Literal["down", "across"] = "down") -> None:
        super().__init__()
        self.distance, self.direction = distance, direction

    def output_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 1, height, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - torch.roll(x, self.distance, -2 if self.direction == "down" else -1)


@dataclass(eq=False, repr=False)
class ToyMethod(Baseline):
    """Images of one grey value."""

    method: ClassVar[str] = "toy"
    grey: float = 0.5

    @classmethod
    def learn_from(cls, stream, phi, *, grey: float = 0.25):
        """Learn nothing.

        Parameters
        ----------
        grey : float
            The value of all pixels.
        """
        return cls(phi.to_config(), grey)

    def reconstruct(self, phi, code, size, count, seed):
        return np.full((count, *size), self.grey, dtype=np.float32)


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setitem(DESCRIPTORS, "toy", Toy)
    monkeypatch.setitem(METHODS, "toy", ToyMethod)


def test_entries_added_at_run_time_have_their_commands(toys, tmp_path):
    def call(*arguments):
        done = CliRunner().invoke(cli, [str(a) for a in arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    camera, common = bundled_path("camera"), ("--feature", "toy", "--distance", 3)
    code = tmp_path / "code.npy"
    call("features", camera, *common, "--direction", "across", "--size", 24, "-o", code)
    phi = Toy(distance=3, direction="across")
    np.testing.assert_array_equal(np.load(code), phi(_small(camera)))
    call("invert", camera, *common, "--size", 24, "--steps", 3, "-o", tmp_path / "out")
    assert uf.Result.load(tmp_path / "out", Toy(distance=3)).image.shape == (24, 24)
    model = tmp_path / "toy.npz"
    call("learn", "toy", camera, *common, "--grey", 0.75, "-o", model)
    call("invert", camera, *common, "--size", 24, "--method", "toy", "--model", model, "-o", tmp_path / "method")
    assert (uf.Result.load(tmp_path / "method").image == 0.75).all()
    assert re.search(r"--distance INTEGER\s+Pixels between them. \[1\]", call("invert", *common, "--help"))
    assert re.search(r"--direction \[down\|across\]\s+Where the second one lies. \[down\]",
                     call("invert", *common, "--help"))
    assert re.search(r"--grey FLOAT\s+The value of all pixels. \[0.25\]", call("learn", "toy", "--help"))
    assert "Images of one grey value." in call("learn", "--help") and "toy" in call("invert", "--help")


def _small(path):
    return resize_longer(uf.read_image(path, grey=True), 24)
