"""Threads follow the work, the caller's setting is left alone, and results do not depend on either."""

from __future__ import annotations

import threading

import pytest
import torch

import unfeature as uf
from unfeature.features import threads
from unfeature.features.threads import in_parallel, limited_torch

SIDE = 96


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 3)
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)


@pytest.fixture
def codes():
    x = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return uf.HOG(cell_size=6)(x)


def in_new_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def settle():
    """Wait until new threads start as before: the call that limits torch does not wait for that."""
    threads._pool(1).submit(int).result()


def test_an_inversion_takes_one_thread_and_leaves_the_setting(codes):
    seen = []

    def look(progress):
        settle()
        seen.append((torch.get_num_threads(), in_new_thread(torch.get_num_threads)))

    uf.invert(uf.HOG(cell_size=6), codes[:1], steps=3, progress=look)
    assert seen == [(1, 3)] * 3 and torch.get_num_threads() == 3


def test_the_setting_returns_after_an_error(codes):
    def fail(progress):
        raise KeyError

    with pytest.raises(KeyError):
        uf.invert(uf.HOG(cell_size=6), codes, steps=3, progress=fail)
    assert torch.get_num_threads() == 3


def test_descriptors_limit_torch_within_the_call(monkeypatch):
    seen, forward = [], uf.LBP.forward

    def looking(self, x):
        seen.append(torch.get_num_threads())
        return forward(self, x)

    monkeypatch.setattr(uf.LBP, "forward", looking)
    phi, x = uf.LBP(), torch.rand(1, 1, SIDE, SIDE)
    phi(x)
    monkeypatch.setattr(uf.LBP, "heavy", True)
    phi(x)
    assert seen == [1, 3] and torch.get_num_threads() == 3


@pytest.mark.parametrize(("samples", "pixels", "expected"), [(1, 4_000_000, 1), (2, 300_000, 1), (2, 500_000, 2),
                                                             (8, 1_000_000, 3), (8, 65_536, 1)])
def test_batches_of_large_images_keep_threads_of_torch(samples, pixels, expected):
    with limited_torch(samples, pixels):
        assert torch.get_num_threads() == expected
        with limited_torch(1, 4_000_000):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == expected


def test_concurrent_calls_restore_their_own_settings():
    barrier, found = threading.Barrier(4), []

    def call(own):
        torch.get_num_threads()  # a thread that has not asked takes the last number that any thread has set
        torch.set_num_threads(own)
        for _ in range(20):
            barrier.wait()
            with limited_torch(1, 100_000):
                inside = torch.get_num_threads()
            found.append((inside, torch.get_num_threads() == own))

    callers = [threading.Thread(target=call, args=(own,)) for own in (2, 3, 4, 5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(found) == {(1, True)}
    torch.set_num_threads(3)


@pytest.mark.parametrize(("samples", "rows", "pixels", "expected"), [
    (1, 64, 600_000, 1), (1, 64, 1_000_000, 2), (1, 64, 9_000_000, 3), (1, 1, 9_000_000, 1),
    (2, 64, 65_536, 2), (8, 64, 65_536, 8), (8, 64, 5_000, 1), (2, 64, 1_000_000, 4)])
@pytest.mark.parametrize("limited", [False, True])
def test_kernels_spread_over_samples_and_over_bands_of_large_images(samples, rows, pixels, expected, limited):
    calls = []

    def kernel(first, last, bands):
        calls.append((last - first, bands))

    with limited_torch(1, 100_000 if limited else 0):
        in_parallel(kernel, samples, rows, samples * pixels)
    assert len(calls) == expected
    assert sum(tasks / bands for tasks, bands in calls) == samples


@pytest.mark.parametrize("preset", ["best", "ijcv2016"])
@pytest.mark.parametrize("phi", [uf.HOG(cell_size=6), uf.DSIFT(bin_size=4)], ids=["hog", "dsift"])
@pytest.mark.parametrize("samples", [1, 3])
def test_any_number_of_threads_gives_the_same_bits(phi, preset, samples, monkeypatch):
    monkeypatch.setattr(threads, "PIXELS_PER_THREAD", 1000)
    monkeypatch.setattr(threads, "IMAGE_PER_THREAD", 1000)
    code = phi(torch.rand(samples, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        result = uf.invert(phi, code, size=(SIDE, SIDE), preset=preset, steps=8)
        found.append((result.images.tobytes(), result.errors.tobytes()))
    assert len(set(found)) == 1
