"""The watch of processes over each other, with a store in memory in the place of that of jax.distributed."""

import signal
import threading
import time

import jax
import pytest

from fsjax.training import watch
from fsjax.training.stopping import stop_signals
from fsjax.training.watch import Watch


class Store:
    """The calls of the store that the watch makes, for threads."""

    def __init__(self, processes):
        self.values, self.lock, self.barrier = {}, threading.Lock(), threading.Barrier(processes)

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.lock:
            if key in self.values and not allow_overwrite:
                raise jax.errors.JaxRuntimeError("ALREADY_EXISTS")
            self.values[key] = value

    def key_value_try_get(self, key):
        with self.lock:
            if key not in self.values:
                raise jax.errors.JaxRuntimeError("NOT_FOUND")
            return self.values[key]

    def key_value_dir_get(self, prefix):
        with self.lock:
            return [(key, value) for key, value in self.values.items() if key.startswith(prefix + "/")]

    def wait_at_barrier(self, _, timeout_in_ms):
        self.barrier.wait(timeout_in_ms / 1000)


@pytest.fixture
def watches(monkeypatch):
    """Two processes' watches over one store, quick ones; what would end a process is noted in its place."""
    monkeypatch.setattr(watch, "_PERIOD", 0.02)
    monkeypatch.setattr(watch, "_GRACE", 0.1)
    monkeypatch.setattr(watch, "SILENCE", 0.5)
    monkeypatch.setattr(Watch, "_send_messenger", lambda _: None)
    ended = []
    monkeypatch.setattr(watch.os, "_exit", ended.append)
    store, names = Store(2), ["process 0 of 2 (host a)", "process 1 of 2 (host b)"]
    return [Watch(store, "run", names, index) for index in range(2)], ended


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_stop_after_the_step_of_the_farthest(watches):
    (first, second), _ = watches
    with first, second:
        assert [first.stop_reached() for _ in range(3)] == [0, 0, 0]
        assert [second.stop_reached() for _ in range(5)] == [0] * 5
        with stop_signals(second):
            signal.raise_signal(signal.SIGINT)
        wait_until(lambda: first._stop["at"] and second._stop["at"])
        assert [first.stop_reached() for _ in range(3)] == [0, 0, signal.SIGINT]
        assert second.stop_reached() == signal.SIGINT


def test_a_silent_process_is_named_and_the_others_end(watches, capsys):
    (first, second), ended = watches
    with first:
        with second:
            time.sleep(0.1)
            second._store = Store(1)  # from here on nobody hears it
            wait_until(lambda: ended)
        assert ended == [2]
        assert "error: process 1 of 2 (host b) is gone: no sign of life" in capsys.readouterr().err


def test_a_process_that_never_gave_a_sign_is_missed(watches, capsys):
    (first, _), ended = watches
    with first:
        wait_until(lambda: ended)
    assert ended == [2]
    assert "error: process 1 of 2 (host b) is gone: no sign of life" in capsys.readouterr().err


def test_a_process_that_is_over_is_not_missed(watches):
    (first, second), ended = watches
    with first:
        with second:
            time.sleep(0.1)
        time.sleep(1.0)
        assert not ended and not first._news.is_set()


def test_an_error_is_told_and_explains_a_broken_computation(watches):
    (first, second), ended = watches
    with first, second:
        second.tell(KeyError("label"))
        broken = jax.errors.JaxRuntimeError("Gloo all-reduce failed")
        assert first.why_peers_failed(broken) == "process 1 of 2 (host b) ended: KeyError: 'label'"
        assert first.why_peers_failed(ValueError("of one's own")) is None
        time.sleep(0.3)
        assert not ended  # both end in their own words
