"""The watch of each process of a run over the others: signs of life, bad news, and a stop that all take together."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

import jax

from fsjax.errors import UserError

logger = logging.getLogger("fsjax")

_PERIOD = 1.0  # seconds between two signs of life
# Seconds without one, after which a process is taken for dead; before JAX's own limit (see `connect`), whose end is an
# abort without a name.
SILENCE = 25.0
_GRACE = 5.0  # for a process to end in its own words when it is told to
_AGREEMENT_MS = 30_000


class Watch:
    """A thread that tells the other processes that this one lives, and ends this one when another is gone."""

    def __init__(self, store: Any, prefix: str, names: list[str], index: int) -> None:
        """Watch over the processes of a run.

        Args:
          store: the key-value store of `jax.distributed`.
          prefix: of the keys, one for each use.
          names: of all processes, for messages.
          index: which of them this is.
        """
        self._store, self._prefix, self._names, self._index = store, prefix, names, index
        self._seen: dict[int, tuple[str, float]] = {}
        self._over, self._news = threading.Event(), threading.Event()
        self._wake = threading.Event()
        self._text: str | None = None
        self._leaving = False
        self._stop_lock = threading.Lock()
        self._stop: dict[str, Any] = {"asked": None, "count": 0, "at": None, "signal": None}
        self._thread = threading.Thread(target=self._run, name="fsjax-watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._messenger = self._send_messenger()
        # All are expected: who never gives a sign of life is missed, too.
        self._seen = {index: ("", time.monotonic()) for index in range(len(self._names))}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._wake.set()
        self._thread.join()
        self._dismiss_messenger()

    def tell(self, error: BaseException) -> None:
        """Tell the others that this process ends, and why; the first, which holds the store, waits until they know."""
        self._leaving = True
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".splitlines()[0]
        self._publish(f"{self._names[self._index]} ended: {reason}")
        self._acknowledge()

    def why_peers_failed(self, error: BaseException) -> str | None:
        """What is known of other processes that may be why a computation with them failed; None if that is not it.

        A collective breaks at once where a process is killed, and which one it was is known some time later.
        """
        if isinstance(error, UserError) or not _is_of_jax(error):
            return None
        self._leaving = True
        if not self._news.is_set():
            logger.warning("a computation of all processes broke off (%s): looking for who is gone", _line(error))
        if self._news.wait(SILENCE + 5 * _PERIOD):
            self._acknowledge()
            return self._text
        return None

    def ask_to_stop(self, number: int) -> None:
        """Ask all processes to stop at the same step; for signal handlers."""
        self._stop["asked"] = number
        self._wake.set()

    def stop_reached(self) -> int:
        """The signal for which all processes stop here, else 0; each calls it once after each dispatch."""
        with self._stop_lock:
            self._stop["count"] += 1
            return self._stop["signal"] if self._stop["count"] == self._stop["at"] else 0

    def _run(self) -> None:
        beat, agreed = 0, False
        while not self._over.is_set():
            beat += 1
            try:
                self._store.key_value_set(self._key("beat"), str(beat), allow_overwrite=True)
                if self._index == 0:
                    self._look_for_silence()
                news = self._get("ended")
                agreed = agreed or self._agree_to_stop()
            except jax.errors.JaxRuntimeError:
                continue  # the store is gone, and with it the first process: JAX aborts this one
            finally:
                self._wake.wait(_PERIOD)
                self._wake.clear()
            if news is not None and not self._news.is_set():
                self._text = news
                self._news.set()
                threading.Thread(target=self._end, daemon=True).start()
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._store.key_value_set(self._key("beat"), "over", allow_overwrite=True)

    def _look_for_silence(self) -> None:
        """The first process looks whether all others still give signs of life."""
        now = time.monotonic()
        heard = self._store.key_value_dir_get(f"{self._prefix}/beat")
        beats = {int(key.rsplit("/", 1)[1]): beat for key, beat in heard}
        for index, (known, since) in self._seen.items():
            beat = beats.get(index, known)
            if beat != known:
                self._seen[index] = beat, now
            elif beat != "over" and now - since > SILENCE:
                self._publish(
                    f"{self._names[index]} is gone: no sign of life for {SILENCE:.0f} s. Its own output may say why; "
                    "the same commands continue the run from its last checkpoint"
                )

    def _end(self) -> None:
        """End this process, if it has not found itself in the meantime that it cannot go on."""
        time.sleep(_GRACE)
        if self._over.is_set() or self._leaving:
            return
        print(f"error: {self._text}", file=sys.stderr, flush=True)
        self._acknowledge()
        self._dismiss_messenger()
        os._exit(2)  # the main thread waits for a computation that will not come to its end

    def _agree_to_stop(self) -> bool:
        """If a process was asked to stop, settle the step with all others: the one after the farthest."""
        if self._stop["asked"] is not None:
            self._set_once("stop", str(self._stop["asked"]))
        number = self._get("stop")
        if number is None:
            return False
        with self._stop_lock:  # no process goes on while they settle it
            self._store.key_value_set(self._key("count"), str(self._stop["count"]))
            try:
                self._store.wait_at_barrier(f"{self._prefix}/agree", _AGREEMENT_MS)
            except jax.errors.JaxRuntimeError:
                logger.warning("not all processes heard that they are to stop: the run goes on")
                return True
            counts = [int(text) for _, text in self._store.key_value_dir_get(f"{self._prefix}/count")]
            self._stop |= {"at": max(counts) + 1, "signal": int(number)}
        return True

    def _acknowledge(self) -> None:
        """Say that this process has heard; the first waits for all others, for a while."""
        deadline = time.monotonic() + 3 * _GRACE
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._set_once(f"left/{self._index}", "")
            while self._index == 0 and time.monotonic() < deadline:
                gone = sum(time.monotonic() - at > SILENCE for _, at in self._seen.values())
                if len(self._store.key_value_dir_get(f"{self._prefix}/left")) + gone >= len(self._names):
                    break
                time.sleep(0.1)

    def _send_messenger(self) -> subprocess.Popen | None:
        """A shell that waits for this process's end, and says so if it was not dismissed before.

        Where the first process is gone, and the store with it, JAX aborts the others at once: none of their threads
        has the time to speak.
        """
        if self._index == 0 or not os.path.exists("/bin/sh"):
            return None
        text = (
            f"error: {self._names[0]} is gone, and with it {self._names[self._index]}, this one (or a signal ended "
            "this one by itself); the same commands continue the run from its last checkpoint"
        )
        # In a session of its own, so that Ctrl-C does not reach it.
        script = 'read -r done || printf "%s\\n" "$0" >&2'
        return subprocess.Popen(["/bin/sh", "-c", script, text], stdin=subprocess.PIPE, start_new_session=True)

    def _dismiss_messenger(self) -> None:
        if self._messenger is not None:
            with contextlib.suppress(OSError):
                self._messenger.communicate(b"done\n")

    def _publish(self, text: str) -> None:
        self._set_once("ended", text)

    def _set_once(self, name: str, value: str) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # it is there already
            self._store.key_value_set(f"{self._prefix}/{name}", value)

    def _get(self, name: str) -> str | None:
        try:
            return self._store.key_value_try_get(f"{self._prefix}/{name}")
        except jax.errors.JaxRuntimeError:
            return None

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}/{self._index}"


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, came out of a compiled computation or of the store."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
