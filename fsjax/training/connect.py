"""How the processes of a run find one another: by flags, or by what a launcher left in the environment."""

import importlib.util
import logging
import os
import signal
import sys
import threading
from typing import Any

import jax

from fsjax.errors import UserError

logger = logging.getLogger("fsjax")

# After so many seconds of silence JAX aborts all processes, with numbers instead of names. It hears of each every
# half of that time, so that it may abort half of it after a death: later than the watch has spoken (SILENCE there, and
# the time to end in words).
_HEARTBEAT = 100
# What launchers set, where JAX recognises them: for each the variables that say so, and the one with the number of
# processes, if it has one.
_LAUNCHERS = {
    "SLURM": (("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"), "SLURM_NTASKS"),
    "Open MPI": (("OMPI_COMM_WORLD_RANK",), "OMPI_COMM_WORLD_SIZE"),
    "Kubernetes": (("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"), None),
}
# The way out of processes that were never to meet.
ALONE = "where each process is to be a run of its own, give --num_processes=1"
# What JAX says where no address is given and nothing around the process has one.
_NOTHING_FOUND = "coordinator_address should be defined"


def connect(*, coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Meet the other processes of the run, if there are any; before the first array, and once.

    What is not given is taken from SLURM, Open MPI, Kubernetes or a TPU's metadata. With none of it, or one process,
    nothing is done. What SIGTERM does is left as it was.

    Args:
      coordinator: HOST:PORT where process 0 can be reached by all others.
      num_processes: of the run.
      process_id: 0 to num_processes - 1, another one in each.

    Raises:
      UserError: for numbers that cannot be, some but not all where no launcher says the others, or processes that
        cannot be met.
    """
    given: dict[str, Any] = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    launcher, tasks = _launcher()
    if launcher is None and not any(value is not None for value in given.values()):
        return
    _check(given, launcher)
    if num_processes == 1 or (num_processes is None and tasks == 1):
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id,
            local_device_ids=_local_devices(), heartbeat_timeout_seconds=_HEARTBEAT,
            # JAX listens on all interfaces, where what is to be reached from this machine alone has no business.
            coordinator_bind_address=coordinator if coordinator and _is_loopback(coordinator) else None,
            # Without a launcher's environment everything is given.
            cluster_detection_method="deactivate" if None not in given.values() else None,
        )  # fmt: skip
    except Exception as error:  # of JAX, or of what it asks, such as Kubernetes' own package
        nothing_given = all(value is None for value in given.values())
        if launcher == "TPU" and nothing_given and _NOTHING_FOUND in str(error):
            logger.info("no other TPU hosts were found: this one runs alone")
            return
        raise _cannot_meet(coordinator, launcher, error) from error
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        # JAX's preemption service took it, and would have the process go on without a word.
        signal.signal(signal.SIGTERM, on_sigterm)


def _is_loopback(address: str) -> bool:
    """Whether HOST:PORT is of this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def leave(status: int) -> None:
    """Exit; in several processes at once, since JAX would wait for the others, which may wait for this one."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _launcher() -> tuple[str | None, int | None]:
    """Who started this process, and how many there are, if that is known."""
    for name, (marks, count) in _LAUNCHERS.items():
        if all(mark in os.environ for mark in marks):
            return name, int(os.environ[count]) if count and count in os.environ else None
    # On a TPU machine JAX asks the machine's metadata.
    return ("TPU", None) if importlib.util.find_spec("libtpu") else (None, None)


def _cannot_meet(coordinator: str | None, launcher: str | None, error: Exception) -> UserError:
    where = f"the coordinator {coordinator}" if coordinator else f"the processes that {launcher} started"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    ways = ["give --coordinator=HOST:PORT (of process 0, with a free port), --num_processes and --process_id"]
    if launcher == "Kubernetes" and importlib.util.find_spec("kubernetes") is None:
        ways.insert(0, "pip install 'jax[k8s]', which asks Kubernetes for the others")
    return UserError(f"cannot meet {where}: {reason}; {', or '.join(ways)}; {ALONE}")


def _check(given: dict[str, Any], launcher: str | None) -> None:
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing and launcher is None and given["num_processes"] != 1:
        raise UserError(
            f"{' and '.join(missing)} missing: several processes that no launcher (SLURM, Open MPI, Kubernetes, TPU) "
            "started need all of --coordinator=HOST:PORT, --num_processes and --process_id"
        )
    address, count, index = given.values()
    if address is not None and not (":" in address and address.rpartition(":")[2].isdigit() and address[0] != ":"):
        raise UserError(f"--coordinator={address} must be HOST:PORT, such as node1:12345")
    if count is not None and count < 1:
        raise UserError(f"--num_processes={count} must be at least 1")
    if index is not None and (index < 0 or (count is not None and index >= count)):
        most = f"0 to {count - 1}" if count is not None else "0 or more"
        raise UserError(f"--process_id={index} must be {most}: each process has another")


def _local_devices() -> list[int] | None:
    """All GPUs of the node for a process that is alone there: JAX would give it the first only under SLURM or MPI."""
    alone = os.environ.get("SLURM_NTASKS_PER_NODE") == "1" or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"
    alone = alone or os.environ.get("SLURM_STEP_TASKS_PER_NODE", "").partition("(")[0] == "1"
    gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
    return list(range(int(gpus))) if alone and gpus.isdigit() and "JAX_LOCAL_DEVICE_IDS" not in os.environ else None
