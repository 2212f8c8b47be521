"""Operations of a program: of its products and convolutions by their shapes, and what the compiler says.

The compiler's own count knows one turn of each loop, and nothing of what a library does for it; this one knows all
turns, and is the same for every device. Both count a multiply-add as two.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def products(function: Callable[..., Any], *args: Any) -> float:
    """Operations of all matrix products and convolutions of a call, over all devices.

    Convolutions are counted as is the custom, positions beyond the border included; zeros that a transposed stride
    puts between positions are not. What a `while` loop does is counted once, of a `cond` the largest branch.

    Args:
      function: what is called; it is traced, and nothing is computed.
      *args: arrays or shapes.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr: Any) -> float:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, out = equation.invars[0].aval, equation.outvars[0].aval
        return 2.0 * math.prod(out.shape) * math.prod(left.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    inner = [_of_jaxpr(getattr(part, "jaxpr", part)) for value in params.values() for part in _jaxprs(value)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "cond":
        return max(inner)
    if name == "shard_map":  # its shapes are those of one device
        return params["mesh"].size * sum(inner)
    if name == "xla_pmap":
        return params["global_axis_size"] * sum(inner)
    return sum(inner)


def _of_convolution(equation: Any) -> float:
    kernel, out = equation.invars[1].aval, equation.outvars[0].aval
    numbers = equation.params["dimension_numbers"]
    taps = math.prod(kernel.shape) / kernel.shape[numbers.rhs_spec[0]]  # of one output: inputs x side x side
    return 2.0 * math.prod(out.shape) * taps / math.prod(equation.params["lhs_dilation"])


def _jaxprs(value: Any) -> list[Any]:
    """The programs in a parameter of an equation."""
    values = value if isinstance(value, tuple | list) else [value]
    return [v for v in values if hasattr(v, "eqns") or hasattr(getattr(v, "jaxpr", None), "eqns")]


def compiled_facts(compiled: Any) -> dict[str, Any]:
    """What the compiler says of a program on one device.

    Returns:
      "compiled_flops", a loop's body counted once, and "program_bytes", the memory that arguments, results and
      intermediate values take at once; what the compiler does not say is left out.
    """
    facts: dict[str, Any] = {}
    costs = compiled.cost_analysis() or {}
    if "flops" in costs:
        facts["compiled_flops"] = float(costs["flops"])
    memory = compiled.memory_analysis()
    if memory is not None:
        facts["program_bytes"] = int(
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes
        )
        facts["temporary_bytes"] = int(memory.temp_size_in_bytes)
    return facts
