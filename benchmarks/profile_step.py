"""Where the time of a config's training steps goes, by kind of operation: a trace of jax's profiler, read.

    python -m benchmarks.profile_step --config configs/icu_cifar100.py --synthetic 32x32x3:100 --backend device
    python -m benchmarks.profile_step --config configs/dc_mini.py:linear --synthetic 84x84x3:64 --trace runs/trace

The arguments are those of `fsjax bench train`; the steps are on one batch that is there. Prints a JSON line, and a
table: milliseconds a step of each kind, and the ten operations that take longest. The trace itself stays in `--trace`,
for xprof or TensorBoard.

An operation's kind is that of its instruction in the compiled program; a fusion is a product if it has one inside, else
a reduction if it has one, else a copy if it does nothing but move, else elementwise. Loops and calls are left out for
what is in them. Where several run at once (streams of a GPU, threads of a CPU) their sum is longer than the step.
"Idle" is when none ran on the first device, from the first operation's start to the last one's end.

On GPUs XLA gathers kernels into command buffers, whose kernels lose their instructions' names in the trace
(openxla/xprof#3070): they are off here (`--xla_gpu_enable_command_buffer=`), and a step may idle more than in a run.
Kernels that still bear no instruction's name are judged by their own. Tried on CPUs with jax 0.10.2 and 0.12.0.1; what
is read of "/device:GPU:0", its lines "Stream #..." and the statistic "hlo_op", is as XLA's cupti_collector.cc writes it
and was not tried on one.
"""

import argparse
import collections
import dataclasses
import importlib.util
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PRODUCT, ELEMENTWISE, REDUCTION = "convolution, matrix product", "elementwise", "reduction, pooling"
COPY, COLLECTIVE, OTHER = "copy, transposition, gather", "collective", "other"
KINDS = (PRODUCT, ELEMENTWISE, REDUCTION, COPY, COLLECTIVE, OTHER)

_PRODUCTS = {"convolution", "dot", "ragged-dot"}
_REDUCTIONS = {"reduce", "reduce-window", "select-and-scatter", "scatter", "sort", "topk"}
_MOVES = {
    "copy", "copy-start", "copy-done", "transpose", "reshape", "reverse", "slice", "concatenate", "pad", "gather",
    "dynamic-slice", "dynamic-update-slice", "dynamic-reshape", "broadcast", "iota",
}  # fmt: skip
_COLLECTIVES = ("all-", "reduce-scatter", "collective-", "ragged-all-to-all")
_LEFT = {"custom-call", "infeed", "outfeed", "send", "recv", "partition-id", "replica-id", "rng-bit-generator"}
# They last as long as what they call, which has events of its own.
_CALLERS, _AROUND = {"while", "call", "conditional", "async-start", "async-done"}, "around others"
# Of no work of their own: they say nothing of what a fusion does.
_SILENT = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "fusion"}

# Parts of the names of libraries' calls and kernels, the first that is found decides.
_NAMES = (
    (COLLECTIVE, r"nccl|all[-_]?reduce|all[-_]?gather|reduce[-_]?scatter|collective"),
    (COPY, r"nchwtonhwc|nhwctonchw|convert_?tensor|memcpy|memset|transpose|copy"),
    (PRODUCT, r"conv|gemm|matmul|dot|xmma|cutlass|wgrad|dgrad|fprop|nvjet|wgmma|cudnn\$fusion"),
    (REDUCTION, r"reduc|scatter|pool|sort|splitk"),
)
_INSTRUCTION = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = .*? ([a-z][a-z0-9\-]*)\(")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_PARTS = {
    "calls": r"calls=%?([\w.\-]+)",
    "target": r'custom_call_target="([^"]+)"',
    "place": r'op_name="([^"]*)"',
}
_LONGEST = 10


@dataclasses.dataclass(frozen=True)
class Event:
    """An operation that ran: the name in the trace, its instruction, "" if none is named, and when, in ns."""

    name: str
    operation: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    opcode: str
    calls: str
    target: str
    place: str


def kinds_of(program: str) -> dict[str, tuple[str, str]]:
    """Kind, and place in the source's modules, of every instruction of a compiled program's text, by its name."""
    computations: dict[str, list[_Instruction]] = {}
    for line in program.splitlines():
        if header := _COMPUTATION.match(line):
            instructions = computations.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line):
            parts = {key: re.search(pattern, line) for key, pattern in _PARTS.items()}
            values = {key: match[1] if match else "" for key, match in parts.items()}
            instructions.append(_Instruction(found[2], found[3], **values))
    return {
        one.name: (_kind_of(one, computations), _place(one, computations))
        for instructions in computations.values()
        for one in instructions
    }


def _kind_of(one: _Instruction, computations: Mapping[str, Sequence[_Instruction]]) -> str:
    if one.opcode in _CALLERS:
        return _AROUND
    parts = list(_parts(one, computations))
    opcodes = {part.opcode for part in parts} - _SILENT
    named = {kind_of_name(part.target) for part in parts if part.target}
    if any(opcode.startswith(_COLLECTIVES) for opcode in opcodes):
        return COLLECTIVE
    if opcodes & _PRODUCTS or PRODUCT in named:
        return PRODUCT
    if opcodes & _REDUCTIONS or REDUCTION in named:
        return REDUCTION
    if opcodes & _LEFT:
        return COPY if COPY in named else OTHER
    return COPY if opcodes <= _MOVES else ELEMENTWISE


def _parts(one: _Instruction, computations: Mapping[str, Sequence[_Instruction]]) -> Iterator[_Instruction]:
    """The instruction and those that it is fused of; not what a reduction applies."""
    yield one
    for part in computations.get(one.calls, ()):
        yield from _parts(part, computations)


def _place(one: _Instruction, computations: Mapping[str, Sequence[_Instruction]]) -> str:
    """Where it comes from: the longest name of its parts, without what jit and autodiff put around it."""
    fused = [part.place for part in _parts(one, computations) if part.opcode != "parameter"]
    names = [one.place] if one.place else fused
    name = max(names, key=len, default="").partition(";")[0]
    return "/".join([part for part in name.split("/") if not re.match(r"(jit|pjit|shard_map|jvp\(\))", part)][-5:])


def kind_of_name(name: str) -> str:
    """The kind that the name of a library's call or kernel speaks of."""
    for kind, pattern in _NAMES:
        if re.search(pattern, name.lower()):
            return kind
    return OTHER


def events_of(planes: Iterable[Any]) -> list[Event]:
    """The operations in a trace's planes (`jax.profiler.ProfileData.planes`): of the first GPU, or else of the host."""
    by_name = {plane.name: plane for plane in planes}
    gpus = sorted(name for name in by_name if name.startswith("/device:GPU:"))
    plane = by_name[gpus[0]] if gpus else by_name.get("/host:CPU")
    lines = [] if plane is None else list(plane.lines)
    if gpus:  # the other lines sum these up
        events = [event for line in lines if line.name.startswith("Stream #") for event in line.events]
        return [_event(event, event.start_ns + event.duration_ns) for event in events if event.duration_ns > 0]
    # A thread of a CPU begins an operation, and another may end it, whose event "end: NAME" bears the same number.
    events, ends = [], {}
    for event in (event for line in lines for event in line.events):
        stats = dict(event.stats)
        if event.name.startswith("end: "):
            ends[stats.get("_c")] = event.start_ns
        elif "hlo_op" in stats:
            events.append((event, stats.get("_p")))
    return [_event(e, max(e.start_ns + e.duration_ns, ends.get(number, 0.0))) for e, number in events]


def _event(event: Any, end: float) -> Event:
    return Event(event.name, str(dict(event.stats).get("hlo_op", "")), event.start_ns, end)


def busy(events: Iterable[Event]) -> float:
    """Nanoseconds in which any of them ran."""
    total, last = 0.0, float("-inf")
    for event in sorted(events, key=lambda event: event.start):
        total += max(0.0, event.end - max(last, event.start))
        last = max(last, event.end)
    return total


def where_it_goes(events: Sequence[Event], program: str, *, steps: int) -> dict[str, Any]:
    """Milliseconds a step: of the step, of each kind, idle, and of the operations that take longest.

    Args:
      events: of a trace of `steps` steps.
      program: the compiled program's text.
      steps: how many there were.

    Returns:
      "step_ms", "kinds" by name, "idle_ms", and "longest", a list of dicts.
    """
    known = kinds_of(program)
    # A kernel has its instruction's name, with other signs between the words.
    known = {**{re.sub(r"[.\-]", "_", name): value for name, value in known.items()}, **known}
    kinds = dict.fromkeys(KINDS, 0.0)
    operations: dict[str, list[Any]] = collections.defaultdict(lambda: [0.0, 0, "", ""])
    ran = []
    for event in events:
        name = next((name for name in (event.operation, event.name) if name in known), event.operation or event.name)
        kind, place = known.get(name) or (kind_of_name(event.name), "")
        if kind == _AROUND:
            continue
        ran.append(event)
        milliseconds, one = (event.end - event.start) / steps / 1e6, operations[name]
        kinds[kind] += milliseconds
        one[:] = one[0] + milliseconds, one[1] + 1, kind, place
    window = max((e.end for e in ran), default=0.0) - min((e.start for e in ran), default=0.0)
    longest = sorted(operations.items(), key=lambda item: -item[1][0])[:_LONGEST]
    return {
        "steps": steps,
        "step_ms": window / steps / 1e6,
        "kinds": kinds,
        "idle_ms": (window - busy(ran)) / steps / 1e6,
        "longest": [
            {"operation": name, "kind": kind, "place": place, "ms": ms, "times": times / steps}
            for name, (ms, times, kind, place) in longest
        ],
    }


def markdown(line: Mapping[str, Any]) -> str:
    """The table of a profile's line."""

    def row(*cells: Any) -> str:
        return f"| {' | '.join(map(str, cells))} |\n"

    step = line["step_ms"] or 1.0
    parts = [(kind, ms) for kind, ms in line["kinds"].items() if ms] + [("idle", line["idle_ms"])]
    rows = [row("kind", "ms a step", "of the step"), row("---", "---", "---")]
    rows += [row(kind, f"{ms:.3f}", f"{ms / step:.1%}") for kind, ms in parts]
    rows += [row("a step", f"{line['step_ms']:.3f}", ""), "\n"]
    rows += [row("operation", "kind", "where", "times a step", "ms a step", "of the step"), row(*["---"] * 6)]
    rows += [
        row(
            one["operation"], one["kind"], f"`{one['place']}`" if one["place"] else "", f"{one['times']:g}",
            f"{one['ms']:.3f}", f"{one['ms'] / step:.1%}",
        )
        for one in line["longest"]
    ]  # fmt: skip
    return "".join(rows)


def measure(case: Any, folder: Path, *, steps: int) -> dict[str, Any]:
    """Trace some training steps of a `fsjax.benchmarking.Case` into a folder, and read the trace."""
    import jax
    from jax.profiler import ProfileData, ProfileOptions

    from fsjax.benchmarking.machine import facts

    experiment, length = case.experiment, case.config.train.steps_per_dispatch
    state = experiment.parallel.place(experiment.initial_state())
    batches = experiment.train_batches(0, itertools.repeat(length))
    batch = next(batches)
    batches.close()
    step = experiment.train_step
    program = (step if hasattr(step, "lower") else jax.jit(step)).lower(state, batch).compile().as_text()
    for _ in range(2):
        state, losses = jax.block_until_ready(step(state, batch))
    options = ProfileOptions()
    options.python_tracer_level = 0
    before = set(folder.rglob("*.xplane.pb"))
    with jax.profiler.trace(str(folder), profiler_options=options):
        for _ in range(steps):
            state, losses = step(state, batch)
        jax.block_until_ready((state, losses))
    (file,) = set(folder.rglob("*.xplane.pb")) - before
    found = where_it_goes(events_of(ProfileData.from_file(str(file)).planes), program, steps=steps * length)
    return {"name": "profile", **case.facts, **found, **facts()}


def keep_names() -> None:
    """Turn command buffers off, where there may be a GPU; call it before jax begins. See the top of this file."""
    flags = os.environ.get("XLA_FLAGS", "")
    plugins = ("jax_cuda13_plugin", "jax_cuda12_plugin")
    if "command_buffer" not in flags and any(importlib.util.find_spec(name) for name in plugins):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_enable_command_buffer=".strip()


def main() -> None:
    """Reads the flags; prints the line and the tables of each case."""
    from fsjax.cli import bench
    from fsjax.training.compilation import keep_compiled
    from fsjax.training.xla import set_cpu_flags

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    bench.add_case(parser)
    parser.add_argument("--steps", type=int, default=10, help="that are traced (10)")
    parser.add_argument("--trace", type=Path, help="a folder that the trace stays in")
    args = parser.parse_args()
    if args.steps < 1 or not args.config:
        parser.error("--steps must be at least 1, and --config must name a config file")
    keep_names()
    set_cpu_flags()
    keep_compiled()
    with tempfile.TemporaryDirectory(prefix="fsjax_trace_") as name:
        for case in bench.cases(args):
            line = measure(case, args.trace or Path(name), steps=args.steps)
            print(json.dumps(line), flush=True)
            print(f"\n{markdown(line)}", flush=True)


if __name__ == "__main__":
    main()
