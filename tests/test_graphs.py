"""Recorded evaluations are those of the functions themselves, or are given up; a rehearsal stands in for the device."""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.rehearsal import Rehearsal
from tests.tiny_networks import tiny
from unfeature.features.cnn import CNN
from unfeature.features.hog import HOG
from unfeature.inversion import graphs
from unfeature.inversion.graphs import CHECKED_EVERY, FEWEST, Cuda, Recorder
from unfeature.inversion.invert import invert
from unfeature.inversion.presets import recipe_for
from unfeature.inversion.priors import Prior


@pytest.fixture
def rehearsal(monkeypatch):
    monkeypatch.setattr(graphs, "Cuda", Rehearsal)
    monkeypatch.setattr(Rehearsal, "played", [])
    return Rehearsal


@pytest.fixture
def recorder(rehearsal):
    return Recorder("the tests", torch.zeros(1))


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def wave(x, y):
    return (x.sin() * y).sum(1), x * y


def short(preset, phi, steps):
    recipe = recipe_for(phi, preset)
    return replace(recipe, stages=tuple(replace(stage, steps=steps) for stage in recipe.stages))


def test_replays_see_new_inputs_and_leave_earlier_outcomes_alone(recorder):
    function = recorder.recorded(wave, FEWEST)
    inputs = [(noise(2, 3, seed=i), noise(2, 3, seed=i + 50)) for i in range(2 * CHECKED_EVERY)]
    found = [function(*given) for given in inputs]
    for outcome, given in zip(found, inputs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(outcome, wave(*given), strict=True))
    # the first call is plain; two replays prove the recording
    assert Rehearsal.played == [2 * CHECKED_EVERY - 1 + 2]


def test_few_calls_and_large_batches_are_not_recorded(recorder, monkeypatch):
    assert recorder.recorded(wave, FEWEST - 1) is wave
    monkeypatch.setattr(graphs, "LARGEST", 11)
    function = recorder.recorded(wave, FEWEST)
    function(noise(2, 3), noise(2, 3))
    assert Rehearsal.played == [] and recorder.trusted
    function(noise(1, 3), noise(1, 3))
    assert Rehearsal.played == [2]


def test_other_shapes_are_computed_as_they_are(recorder):
    function = recorder.recorded(lambda x: (x.square().sum(1),), FEWEST)
    for shape in ((3, 4), (3, 4), (1, 4), (3, 1), (3, 4)):
        assert torch.equal(function(noise(*shape))[0], noise(*shape).square().sum(1))
    assert Rehearsal.played == [4]


def test_nothing_is_recorded_of_the_cpu_or_beside_the_main_thread(monkeypatch):
    assert not Recorder("", torch.zeros(1)).trusted
    away = SimpleNamespace(device=torch.device("cuda:1"), dtype=torch.float32)
    assert Cuda().takes(away)
    assert not Cuda().takes(SimpleNamespace(device=away.device, dtype=torch.float16))
    found = []
    thread = threading.Thread(target=lambda: found.append(Cuda().takes(away)))
    thread.start()
    thread.join()
    assert found == [False]


def counting():
    calls = []

    def function(x):
        calls.append(0)
        return (x * len(calls),)

    return function


def random_numbers():
    return lambda x: (x + torch.rand_like(x),)


def a_host_that_reads():
    tracked = [noise(2, 3)]

    def function(x):
        return (x + tracked.pop() if tracked else x,)

    return function


@pytest.mark.parametrize("make", [counting, random_numbers, a_host_that_reads])
def test_a_function_of_more_than_its_inputs_is_refused(make, recorder):
    function = recorder.recorded(make(), FEWEST)
    with pytest.warns(RuntimeWarning, match=r"the tests are not recorded .*other numbers.*recordable = False"):
        function(noise(2, 3))
    played = list(Rehearsal.played)
    function(noise(2, 3))
    assert Rehearsal.played == played and recorder.recorded(wave, FEWEST) is wave


def test_a_recording_that_does_not_see_its_inputs_is_refused(rehearsal, monkeypatch):
    class Deaf(Rehearsal):
        def record(self, function, inputs):
            return (lambda: None), function(*inputs)

    monkeypatch.setattr(graphs, "Cuda", Deaf)
    function = Recorder("the tests", torch.zeros(1)).recorded(wave, FEWEST)
    with pytest.warns(RuntimeWarning, match="other numbers"):
        function(noise(2, 3), noise(2, 3))


def test_what_is_not_finite_is_compared_as_such(recorder):
    function = recorder.recorded(lambda x: (x, 1 / (x - x), x.log()), FEWEST)
    given = torch.tensor([[-1.0, 2.0]])
    function(given)
    found = function(given)[1:]
    assert torch.isnan(found[1][0, 0]) and not torch.isfinite(found[0]).any() and Rehearsal.played == [3]
    recorder = Recorder("the tests", given)
    values = iter([1.0, 1.0, torch.nan])
    fickle = recorder.recorded(lambda x: (x * next(values, 1.0),), FEWEST)
    with pytest.warns(RuntimeWarning, match="other numbers"):
        fickle(given)


def test_a_function_that_changes_later_is_noticed(recorder):
    scale = torch.ones(1)
    kept = {"scale": scale}
    function = recorder.recorded(lambda x: (x * kept["scale"],), FEWEST)

    x = noise(2, 3)
    function(x)
    tape = function.tape  # a device goes on with what was there when it recorded
    function.tape = tape._replace(replay=lambda: tape.outputs[0].copy_(tape.inputs[0] * scale))
    kept["scale"] = torch.full((1,), 2.0)
    stale = [function(x)[0] for _ in range(CHECKED_EVERY - 1)]
    assert all(torch.equal(found, x) for found in stale)
    with pytest.warns(RuntimeWarning, match="other numbers"):
        assert torch.equal(function(x)[0], 2 * x)
    assert torch.equal(function(x)[0], 2 * x) and function.tape is None


def test_memory_that_does_not_hold_both_ends_the_recording(recorder):
    full = []

    def function(x):
        if full and asked.tape is not None:
            raise torch.OutOfMemoryError("no room")
        return (2 * x,)

    asked, x = recorder.recorded(function, FEWEST), noise(2, 3)
    asked(x)
    full.append(True)
    asked.calls = CHECKED_EVERY - 1
    with pytest.warns(RuntimeWarning, match="no room"):
        assert torch.equal(asked(x)[0], 2 * x)


PRESETS = [("best", lambda: HOG(texture=False)), ("fast", lambda: CNN(tiny(), "fire3")),
           ("ijcv2016", lambda: CNN(tiny(), "fire3"))]


@pytest.mark.parametrize(("preset", "make"), PRESETS)
def test_inversions_are_the_same_with_recordings(preset, make, rehearsal):
    phi = make()
    code = phi(noise(2, phi.in_channels[0], 40, 40)).detach()
    recipe = short(preset, phi, FEWEST + 2)
    found = invert(phi, code, preset=recipe, size=(40, 40))
    changes = 1 + sum(a.asks != b.asks for a, b in zip(recipe.stages, recipe.stages[1:], strict=False))
    assert len(Rehearsal.played) == changes + 1 and min(Rehearsal.played) >= FEWEST
    phi.recordable = False
    plain = invert(phi, code, preset=recipe, size=(40, 40))
    assert len(Rehearsal.played) == changes + 1
    np.testing.assert_array_equal(found.images, plain.images)
    for name, values in plain.history.items():
        np.testing.assert_array_equal(found.history[name], values)


class Wandering(Prior):
    """One that draws random numbers."""

    def __call__(self, x, centre):
        return x.square().mean((1, 2, 3)) * torch.rand(())


def test_what_cannot_be_recorded_is_inverted_as_ever(rehearsal, monkeypatch):
    def refuse(self, function, inputs):
        raise RuntimeError("the host waits for the device")

    phi = HOG(texture=False)
    code, recipe = phi(noise(1, 1, 40, 40)), short("best", phi, FEWEST)
    wandering = replace(recipe, priors=(Wandering(),))
    with pytest.warns(RuntimeWarning, match=r"HOG\(texture=False\) are not recorded .*other numbers"):
        found = invert(phi, code, preset=wandering, size=(40, 40))
    assert np.isfinite(found.images).all() and len(found.history["data"]) == recipe.steps
    monkeypatch.setattr(Rehearsal, "record", refuse)
    with pytest.warns(RuntimeWarning, match=r"HOG\(texture=False\) .*RuntimeError: the host waits") as caught:
        found = invert(phi, code, preset=recipe, size=(40, 40))
    assert len(caught) == 1
    phi.recordable = False
    np.testing.assert_array_equal(found.images, invert(phi, code, preset=recipe, size=(40, 40)).images)


def test_a_run_is_freed_with_its_recordings_at_once(rehearsal, monkeypatch):
    phi = HOG(texture=False)
    kept = []

    class Watched(Rehearsal):
        def record(self, function, inputs):
            kept.append(weakref.ref(inputs[0]))
            return super().record(function, inputs)

    monkeypatch.setattr(graphs, "Cuda", Watched)
    gc.disable()
    try:
        invert(phi, phi(noise(1, 1, 40, 40)), preset=short("best", phi, FEWEST), size=(40, 40))
        assert len(kept) > 2 and not any(reference() is not None for reference in kept)
    finally:
        gc.enable()


class Streams:
    """torch.cuda, as far as recording asks for it: notes what happens, and what is current."""

    def __init__(self, waits=False):
        self.notes, self.current, self.mode, self.waits = [], "main", 0, waits
        self.graph = SimpleNamespace(capture_begin=self.begin, capture_end=self.end, replay=lambda: None)

    def begin(self, capture_error_mode):
        assert (self.current, capture_error_mode) == ("side", "thread_local")
        self.notes.append("begin")

    def end(self):
        self.notes.append("end")
        if self.waits == "in the capture only":
            raise RuntimeError("the capture is invalid")

    def function(self, x):
        self.notes.append(self.current)
        if self.waits is True and self.mode:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        if self.waits == "in the capture only" and self.notes[-2] == "begin":
            raise ValueError("not while capturing")
        return (2 * x,)

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    def set_sync_debug_mode(self, mode):
        self.mode = mode

    def replace(self, monkeypatch):
        def stream(name):
            return SimpleNamespace(name=name, wait_stream=lambda other: self.notes.append(f"{name} after {other.name}"))

        replaced = {
            "Stream": lambda: stream("side"), "current_stream": lambda: stream("main"), "stream": self.stream,
            "device": lambda device: contextlib.nullcontext(), "CUDAGraph": lambda: self.graph,
            "empty_cache": lambda: None, "get_sync_debug_mode": lambda: 0,
            "set_sync_debug_mode": self.set_sync_debug_mode,
        }
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        return self


def test_a_function_is_warmed_up_aside_and_captured(monkeypatch):
    streams = Streams().replace(monkeypatch)
    replay, (output,) = Cuda().record(streams.function, (noise(2),))
    assert replay is streams.graph.replay and torch.equal(output, 2 * noise(2))
    assert streams.notes == ["side after main", "side", "side", "main after side", "begin", "side", "end"]
    assert (streams.current, streams.mode) == ("main", 0)


@pytest.mark.parametrize(("waits", "message"), [(True, "host waits"), ("in the capture only", "not while capturing")])
def test_a_function_that_waits_leaves_streams_and_warnings_as_they_were(waits, message, monkeypatch):
    streams = Streams(waits).replace(monkeypatch)
    with pytest.raises((RuntimeError, ValueError), match=message):
        Cuda().record(streams.function, (noise(2),))
    assert streams.notes.count("begin") == streams.notes.count("end") == (waits is not True)
    assert (streams.current, streams.mode) == ("main", 0) and "main after side" in streams.notes


class Reading(HOG):
    """HOG of an image whose mean the host reads."""

    def forward(self, x):
        return super().forward(x) * (1 if float(x.mean()) < 9 else 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("preset", "make"), PRESETS)
def test_a_device_finds_with_recordings_what_it_finds_without(preset, make):
    phi = make().to("cuda")
    code = phi(noise(2, phi.in_channels[0], 40, 40).cuda()).detach()
    recipe = short(preset, phi, FEWEST + 2)
    found = invert(phi, code, preset=recipe, size=(40, 40))
    phi.recordable = False
    plain = invert(phi, code, preset=recipe, size=(40, 40))
    np.testing.assert_allclose(found.history["data"][:FEWEST], plain.history["data"][:FEWEST], rtol=0.02)
    np.testing.assert_allclose(found.errors.mean(), plain.errors.mean(), rtol=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_is_as_before_where_the_host_reads():
    phi = Reading(texture=False).to("cuda")
    code = phi(noise(1, 1, 40, 40).cuda()).detach()
    before = torch.cuda.current_stream(), torch.cuda.get_sync_debug_mode()
    with pytest.warns(RuntimeWarning, match="host waits"):
        found = invert(phi, code, preset=short("best", phi, FEWEST), size=(40, 40))
    assert np.isfinite(found.images).all() and before == (torch.cuda.current_stream(), torch.cuda.get_sync_debug_mode())
    torch.cuda.empty_cache()
    assert bool(torch.isfinite(torch.randn(8, device="cuda")).all())
