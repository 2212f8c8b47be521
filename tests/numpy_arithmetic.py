"""JAX's primitives computed by NumPy: what a formula of small arrays needs, without a compilation for each.

XLA takes a fiftieth of a second and more to compile what NumPy computes in a microsecond. What is tested is what JAX
traced, gradients included; only the arithmetic is another. What has a primitive that is not in the tables below
(decompositions, say) is compiled, as ever.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import scipy.special
from jax.extend import core
from jax.extend.core import primitives

Rule = Callable[..., Any]


# Element by element


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.trunc(x / y) if np.issubdtype(x.dtype, np.integer) else x / y  # integers: towards zero


def _power(x: np.ndarray, *, y: int, **_: Any) -> np.ndarray:
    return x**y if y >= 0 else 1 / x**-y


def _shift_in_zeros(x: np.ndarray, bits: np.ndarray) -> np.ndarray:
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return (x.astype(unsigned) >> bits.astype(unsigned)).astype(x.dtype)


ELEMENTWISE: dict[str, Rule] = {
    "abs": np.abs, "acos": np.arccos, "acosh": np.arccosh, "add": np.add, "add_any": np.add, "and": np.bitwise_and,
    "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan, "atan2": np.arctan2, "atanh": np.arctanh,
    "cbrt": np.cbrt, "ceil": np.ceil, "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "copy": np.copy, "cos": np.cos, "cosh": np.cosh, "digamma": scipy.special.digamma, "div": _divide, "eq": np.equal,
    "erf": scipy.special.erf, "erf_inv": scipy.special.erfinv, "erfc": scipy.special.erfc, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "floor": np.floor, "ge": np.greater_equal, "gt": np.greater,
    "is_finite": np.isfinite, "le": np.less_equal, "lgamma": scipy.special.gammaln, "log": np.log, "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)), "lt": np.less, "max": np.maximum, "min": np.minimum,
    "mul": np.multiply, "ne": np.not_equal, "neg": np.negative, "nextafter": np.nextafter, "not": np.invert,
    "or": np.bitwise_or, "pow": np.power, "rem": np.fmod, "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, *cases: np.choose(which, cases) if which.ndim else cases[int(which)],
    "shift_left": np.left_shift, "shift_right_arithmetic": np.right_shift, "shift_right_logical": _shift_in_zeros,
    "sign": np.sign, "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt, "square": np.square, "stop_gradient": np.copy,
    "sub": np.subtract, "tan": np.tan, "tanh": np.tanh, "xor": np.bitwise_xor,
}  # fmt: skip


def _without_options(rules: dict[str, Rule]) -> dict[str, Rule]:
    """The same rules, for the parameters that primitives have and arithmetic does not need."""
    return {name: lambda *values, rule=rule, **_: rule(*values) for name, rule in rules.items()}


# Shapes


def _broadcast(x: np.ndarray, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any) -> np.ndarray:
    sides = np.ones(len(shape), int)
    sides[list(broadcast_dimensions)] = x.shape
    return np.broadcast_to(x.reshape(sides), shape)


def _iota(*, dtype: Any, shape: Sequence[int], dimension: int, **_: Any) -> np.ndarray:
    sides = [-1 if axis == dimension else 1 for axis in range(len(shape))]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(sides), shape)


def _pad(x: np.ndarray, value: np.ndarray, *, padding_config: Sequence[tuple[int, int, int]]) -> np.ndarray:
    for axis, (low, high, interior) in enumerate(padding_config):
        spread_shape = list(x.shape)
        spread_shape[axis] = max(0, (x.shape[axis] - 1) * (interior + 1) + 1)
        spread = np.full(spread_shape, value, x.dtype)
        spread[(slice(None),) * axis + (slice(None, None, interior + 1),)] = x
        cut = slice(max(0, -low), spread.shape[axis] - max(0, -high))
        spread = spread[(slice(None),) * axis + (cut,)]
        widths = [(max(0, low), max(0, high)) if d == axis else (0, 0) for d in range(x.ndim)]
        x = np.pad(spread, widths, constant_values=value)
    return x


def _starts(shape: Sequence[int], sizes: Sequence[int], starts: Sequence[np.ndarray]) -> tuple[slice, ...]:
    kept = [int(np.clip(start, 0, side - size)) for side, size, start in zip(shape, sizes, starts, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(kept, sizes, strict=True))


def _update(x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    result = x.copy()
    result[_starts(x.shape, update.shape, starts)] = update
    return result


def _rounded(x: np.ndarray, *, rounding_method: Any, **_: Any) -> np.ndarray:
    return np.rint(x) if int(rounding_method) else np.trunc(x + np.copysign(0.5, x))


SHAPES: dict[str, Rule] = {
    "bitcast_convert_type": lambda x, *, new_dtype: x.view(new_dtype),
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "convert_element_type": lambda x, **_: x,  # the result is converted in any case
    "dynamic_slice": lambda x, *starts, slice_sizes: x[_starts(x.shape, slice_sizes, starts)],
    "dynamic_update_slice": _update,
    "expand_dims": lambda x, *, dimensions: np.expand_dims(x, dimensions),
    "integer_pow": _power,
    "iota": _iota,
    "pad": _pad,
    "reshape": lambda x, *, new_sizes, dimensions, **_: np.transpose(x, dimensions or range(x.ndim)).reshape(new_sizes),
    "rev": lambda x, *, dimensions: np.flip(x, dimensions),
    "round": _rounded,
    "slice": lambda x, *, start_indices, limit_indices, strides: x[
        tuple(map(slice, start_indices, limit_indices, strides or (1,) * x.ndim))
    ],
    "split": lambda x, *, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    "stack": lambda *parts, axis: np.stack(parts, axis),
    "squeeze": lambda x, *, dimensions: np.squeeze(x, dimensions),
    "tile": lambda x, *, reps: np.tile(x, reps),
    "transpose": lambda x, *, permutation: np.transpose(x, permutation),
    "unstack": lambda x, *, axis, **_: list(np.moveaxis(x, axis, 0)),
}


# Sums and searches


def _wide(x: np.ndarray) -> np.ndarray:
    """Half precision is summed in single precision, as XLA does."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and not np.issubdtype(x.dtype, np.integer) else x


def _over_axes(function: Callable[..., Any]) -> Rule:
    return lambda x, *, axes, **_: function(_wide(x), axis=tuple(axes))


def _running(ufunc: np.ufunc) -> Rule:
    def rule(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        turned = np.flip(_wide(x), axis) if reverse else _wide(x)
        found = ufunc.accumulate(turned, axis)
        return np.flip(found, axis) if reverse else found

    return rule


def _dot(x: np.ndarray, y: np.ndarray, *, dimension_numbers: Any, preferred_element_type: Any, **_: Any) -> np.ndarray:
    (x_summed, y_summed), (x_batch, y_batch) = dimension_numbers
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names = [["" for _ in x.shape], ["" for _ in y.shape]]
    for pairs in (zip(x_batch, y_batch, strict=True), zip(x_summed, y_summed, strict=True)):
        for i, j in pairs:
            names[0][i] = names[1][j] = next(letters)
    batch = "".join(names[0][i] for i in x_batch)
    free = ""
    for own in names:
        for axis, name in enumerate(own):
            if not name:
                own[axis] = next(letters)
                free += own[axis]
    subscripts = f"{''.join(names[0])},{''.join(names[1])}->{batch}{free}"
    dtype = preferred_element_type or np.result_type(x, y)
    return np.einsum(subscripts, _wide(x).astype(_wide(np.empty(0, dtype)).dtype), _wide(y))


def _sort(*operands: np.ndarray, dimension: int, is_stable: bool, num_keys: int) -> list[np.ndarray]:
    if num_keys == 1:
        order = np.argsort(operands[0], axis=dimension, kind="stable")
    else:
        order = np.lexsort(operands[:num_keys][::-1], axis=dimension)
    return [np.take_along_axis(x, order, dimension) for x in operands]


def _top_k(x: np.ndarray, *, k: int, axis: int = -1, **_: Any) -> list[np.ndarray]:
    order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    order = np.take(order, np.arange(k), axis)
    return [np.take_along_axis(x, order, axis), order]


REDUCTIONS: dict[str, Rule] = {
    "argmax": lambda x, *, axes, **_: np.argmax(x, axis=axes[0]),
    "argmin": lambda x, *, axes, **_: np.argmin(x, axis=axes[0]),
    "cummax": _running(np.maximum),
    "cummin": _running(np.minimum),
    "cumprod": _running(np.multiply),
    "cumsum": _running(np.add),
    "dot_general": _dot,
    "reduce_and": _over_axes(np.all),
    "reduce_max": _over_axes(np.max),
    "reduce_min": _over_axes(np.min),
    "reduce_or": _over_axes(np.any),
    "reduce_prod": _over_axes(np.prod),
    "reduce_sum": _over_axes(np.sum),
    "sort": _sort,
    "top_k": _top_k,
}


# Rows picked and written by index


def _places(
    shape: Sequence[int],
    indices: np.ndarray,
    sizes: Sequence[int],
    windows: Sequence[int],
    mapped: Sequence[int],
    batching: Sequence[tuple[int, int]],
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Index arrays of all dimensions, `[*batch, *window]`, and which windows `[*batch]` lie within the shape.

    Args:
      shape: of what is indexed.
      indices: `[*batch, k]`, the starts along `mapped`.
      sizes: of the window, by dimension of `shape`.
      windows: dimensions that have an axis in the result.
      mapped: dimension of each of the k.
      batching: pairs of a dimension of `shape` and the one of `indices` that it goes with.
    """  # fmt: skip
    batch = indices.shape[:-1]
    found, inside = [], np.ones(batch, bool)
    of_batch = dict(batching)
    for d, side in enumerate(shape):
        start = np.zeros(batch, np.int64)
        if d in mapped:
            start = indices[..., list(mapped).index(d)].astype(np.int64)
        elif d in of_batch:
            start = _iota(dtype=np.int64, shape=batch, dimension=of_batch[d])
        last = side - sizes[d]
        inside &= (start >= 0) & (start <= last)
        place = np.clip(start, 0, last).reshape(batch + (1,) * len(windows))
        if d in windows:
            offsets = [-1 if other == d else 1 for other in windows]
            place = place + np.arange(sizes[d]).reshape((1,) * len(batch) + tuple(offsets))
        found.append(place)
    return tuple(found), inside


def _nothing_known(dtype: np.dtype) -> Any:
    """What a gather gives beyond the end."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return info.min if info.min else info.max
    return False if dtype.kind == "b" else np.nan


def _gather(
    x: np.ndarray, indices: np.ndarray, *, dimension_numbers: Any, slice_sizes: Sequence[int], mode: Any,
    fill_value: Any, **_: Any,
) -> np.ndarray:  # fmt: skip
    d = dimension_numbers
    out = {*d.collapsed_slice_dims, *d.operand_batching_dims}
    windows = [axis for axis in range(x.ndim) if axis not in out]
    batching = list(zip(d.operand_batching_dims, d.start_indices_batching_dims, strict=True))
    places, inside = _places(x.shape, indices, slice_sizes, windows, d.start_index_map, batching)
    batch = indices.ndim - 1
    found = np.broadcast_to(x[places], indices.shape[:-1] + tuple(slice_sizes[axis] for axis in windows))
    if "FILL" in str(mode) and not inside.all():
        beyond = _nothing_known(x.dtype) if fill_value is None else fill_value
        found = np.where(inside.reshape(inside.shape + (1,) * len(windows)), found, beyond)
    return np.moveaxis(found, range(batch, found.ndim), d.offset_dims)


def _scatter(write: Callable[[np.ndarray, Any, np.ndarray], None]) -> Rule:
    def rule(
        x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, dimension_numbers: Any, mode: Any, **_: Any
    ) -> np.ndarray:
        d = dimension_numbers
        out = {*d.inserted_window_dims, *d.operand_batching_dims}
        windows = [axis for axis in range(x.ndim) if axis not in out]
        sizes = [1] * x.ndim
        for axis, of_update in zip(windows, d.update_window_dims, strict=True):
            sizes[axis] = updates.shape[of_update]
        batching = list(zip(d.operand_batching_dims, d.scatter_indices_batching_dims, strict=True))
        places, inside = _places(x.shape, indices, sizes, windows, d.scatter_dims_to_operand_dims, batching)
        batch = indices.ndim - 1
        rows = np.moveaxis(updates, d.update_window_dims, range(batch, updates.ndim))
        if "CLIP" in str(mode):
            inside = np.ones_like(inside)
        result = x.copy()
        places = tuple(np.broadcast_to(place, rows.shape)[inside] for place in places)
        write(result, places, rows[inside])
        return result

    return rule


def _assign(x: np.ndarray, places: Any, rows: np.ndarray) -> None:
    x[places] = rows


PLACES: dict[str, Rule] = {
    "gather": _gather,
    "scatter": _scatter(_assign),
    "scatter-add": _scatter(np.add.at),
    "scatter-max": _scatter(np.maximum.at),
    "scatter-min": _scatter(np.minimum.at),
    "scatter-mul": _scatter(np.multiply.at),
    "scatter_add": _scatter(np.add.at),
    "scatter_mul": _scatter(np.multiply.at),
}

# Convolutions and windows


def _windows(x: np.ndarray, sizes: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """All windows over the last dimensions of x, `[..., *out, *sizes]`."""
    axes = tuple(range(x.ndim - len(sizes), x.ndim))
    views = np.lib.stride_tricks.sliding_window_view(x, tuple(sizes), axes)
    steps = tuple(slice(None, None, stride) for stride in strides)
    return views[(slice(None),) * axes[0] + steps] if axes[0] else views[steps]


def _convolution(
    x: np.ndarray, kernel: np.ndarray, *, window_strides: Sequence[int], padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int], rhs_dilation: Sequence[int], dimension_numbers: Any, feature_group_count: int,
    batch_group_count: int, **_: Any,
) -> np.ndarray:  # fmt: skip
    of_x, of_kernel, of_out = dimension_numbers
    none, zero = [(0, 0, 0)] * 2, np.zeros((), x.dtype)
    spread = [(low, high, step - 1) for (low, high), step in zip(padding, lhs_dilation, strict=True)]
    x = _pad(np.transpose(_wide(x), of_x), zero, padding_config=none + spread)  # [n, c, *side]
    kernel = np.transpose(_wide(kernel), of_kernel)  # [o, i, *window]
    kernel = _pad(kernel, zero, padding_config=none + [(0, 0, step - 1) for step in rhs_dilation])
    groups = feature_group_count * batch_group_count
    kernels = kernel.reshape(groups, -1, *kernel.shape[1:])
    if batch_group_count > 1:
        parts = x.reshape(batch_group_count, -1, *x.shape[1:])
    else:
        parts = np.moveaxis(x.reshape(len(x), groups, -1, *x.shape[2:]), 1, 0)
    window = kernel.shape[2:]
    summed = [1, *range(2 + len(window), 2 + 2 * len(window))], [1, *range(2, 2 + len(window))]
    found = [  # [n, *out, o] of each group
        np.tensordot(_windows(part, window, window_strides), own, summed)
        for part, own in zip(parts, kernels, strict=True)
    ]
    result = np.moveaxis(np.concatenate(found, axis=-1), -1, 1)
    return np.transpose(result, np.argsort(of_out))


def _in_windows(function: Callable[..., Any], start: Callable[[np.dtype], Any]) -> Rule:
    def rule(
        x: np.ndarray, *, window_dimensions: Any, window_strides: Any, padding: Any, base_dilation: Any,
        window_dilation: Any, **_: Any,
    ) -> np.ndarray:  # fmt: skip
        assert set(base_dilation) | set(window_dilation) == {1}
        x = np.pad(_wide(x), padding, constant_values=start(x.dtype))
        return function(_windows(x, window_dimensions, window_strides), axis=tuple(range(x.ndim, 2 * x.ndim)))

    return rule


def _least(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if np.issubdtype(dtype, np.integer) else -np.inf


def _to_the_largest(
    source: np.ndarray, x: np.ndarray, *, select_prim: Any, window_dimensions: Any, window_strides: Any, padding: Any
) -> np.ndarray:
    """The gradient of the largest of each window: to the first of equal ones."""
    assert str(select_prim) == "ge"
    places = np.pad(np.arange(x.size).reshape(x.shape), padding, constant_values=-1)
    padded = np.pad(x, padding, constant_values=_least(x.dtype))
    windows = _windows(padded, window_dimensions, window_strides)
    largest = windows.reshape(*source.shape, -1).argmax(-1)[..., None]
    flat = _windows(places, window_dimensions, window_strides).reshape(*source.shape, -1)
    result = np.zeros(x.size, _wide(x).dtype)
    np.add.at(result, np.take_along_axis(flat, largest, -1)[..., 0], source)
    return result.reshape(x.shape)


WINDOWS: dict[str, Rule] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _in_windows(np.max, _least),
    "reduce_window_sum": _in_windows(np.sum, lambda dtype: 0),
    "select_and_scatter_add": _to_the_largest,
}


# Random numbers: jax's own generator, whose parts are jax's own functions of keys


def _threefry(key_1: np.ndarray, key_2: np.ndarray, x_1: np.ndarray, x_2: np.ndarray) -> list[np.ndarray]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011)."""
    keys = (key_1, key_2, key_1 ^ key_2 ^ np.uint32(0x1BD11BDA))
    x = [x_1 + keys[0], x_2 + keys[1]]
    for block in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x[0] = x[0] + x[1]
            x[1] = x[0] ^ ((x[1] << np.uint32(turn)) | (x[1] >> np.uint32(32 - turn)))
        x = [x[0] + keys[(block + 1) % 3], x[1] + keys[(block + 2) % 3] + np.uint32(block + 1)]
    return x


def _from_key(key: np.ndarray, shape: Sequence[int]) -> list[np.ndarray]:
    """Two words of 32 bits for each place of an array, from a key of two words."""
    places = np.arange(np.prod(shape, dtype=int), dtype=np.uint64).reshape(shape)
    return _threefry(key[0], key[1], (places >> np.uint64(32)).astype(np.uint32), places.astype(np.uint32))


def _bits(key: np.ndarray, *, bit_width: int, shape: Sequence[int]) -> np.ndarray:
    high, low = _from_key(key, shape)
    if bit_width == 64:
        return (high.astype(np.uint64) << np.uint64(32)) | low
    return (high ^ low).astype(f"u{bit_width // 8}")


def _folded(key: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.stack(_threefry(key[0], key[1], np.zeros((), np.uint32), number.astype(np.uint32)))


OF_ONE_KEY: dict[str, Rule] = {
    "random_bits": _bits,
    "random_fold_in": _folded,
    "random_split": lambda key, *, shape: np.stack(_from_key(key, shape), -1),
}


def _random(name: str, *values: Any, **params: Any) -> Any:
    """What jax draws from one key of its default generator, or from several of them."""
    keys, numbers = np.asarray(jax.random.key_data(values[0])), [np.asarray(number) for number in values[1:]]
    shape = np.broadcast_shapes(keys.shape[:-1], *(number.shape for number in numbers))
    keys = np.broadcast_to(keys, (*shape, 2)).reshape(-1, 2)
    numbers = [np.broadcast_to(number, shape).reshape(-1) for number in numbers]
    with np.errstate(over="ignore"):
        each = [OF_ONE_KEY[name](key, *own, **params) for key, *own in zip(keys, *numbers, strict=True)]
    found = np.stack(each).reshape(*shape, *each[0].shape)
    return found if name == "random_bits" else jax.random.wrap_key_data(found)


def _is_drawn(name: str, values: Sequence[Any]) -> bool:
    """Whether a primitive draws from keys of the default generator, of which there is at least one."""
    partitionable = jax.config.jax_threefry_partitionable
    return name in OF_ONE_KEY and partitionable and _is_threefry(values[0]) and values[0].size > 0


def _is_key(value: Any) -> bool:
    return jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)  # of `jax.random.key`


def _is_threefry(value: Any) -> bool:
    return _is_key(value) and str(jax.random.key_impl(value)) == "threefry2x32"


# What jax does itself: these have keys, or, as `random_gamma`, a compiled loop of their own.
RANDOM = {*OF_ONE_KEY, "random_gamma", "random_seed", "random_unwrap", "random_wrap"}
RULES = _without_options(ELEMENTWISE) | SHAPES | REDUCTIONS | PLACES | WINDOWS | {"threefry2x32": _threefry}


# Programs


def _within(equation: Any) -> Iterator[Any]:
    """The programs in the parameters of an equation."""
    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(part, "eqns"):
                yield part
            elif hasattr(part, "jaxpr"):
                yield part.jaxpr


def _held(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many arguments of a scan are constants, and how many are carried."""
    if "ft_in" in params:  # since jax 0.12: a tree of the constants, the carried and the rows
        held = params["ft_in"]
        if hasattr(held, "elts"):  # of 0.12.0 alone
            constants, carried, _ = held.elts
            return len(list(constants)), len(list(carried))
        constants, carried, _ = held.tree.children()
        return constants.num_leaves, carried.num_leaves
    return params["num_consts"], params["num_carry"]


def _scan(*args: np.ndarray, jaxpr: Any, length: int, reverse: bool, **params: Any) -> list[np.ndarray]:
    num_constants, num_carried = _held(params)
    constants, carry = args[:num_constants], list(args[num_constants : num_constants + num_carried])
    rows = args[num_constants + num_carried :]
    steps: list[list[np.ndarray]] = []
    for step in reversed(range(length)) if reverse else range(length):
        results = run(jaxpr, *constants, *carry, *(x[step] for x in rows))
        carry = results[:num_carried]
        steps.append(results[num_carried:])
    if reverse:
        steps.reverse()
    if not steps:
        shapes = [out.aval for out in getattr(jaxpr, "jaxpr", jaxpr).outvars[num_carried:]]
        return carry + [np.zeros((0, *aval.shape), aval.dtype) for aval in shapes]
    return carry + [np.stack(column) for column in zip(*steps, strict=True)]


def _while(*args: np.ndarray, cond_jaxpr: Any, body_jaxpr: Any, cond_nconsts: int, body_nconsts: int, **_: Any) -> list:
    of_cond, of_body = args[:cond_nconsts], args[cond_nconsts : cond_nconsts + body_nconsts]
    state = list(args[cond_nconsts + body_nconsts :])
    while run(cond_jaxpr, *of_cond, *state)[0]:
        state = run(body_jaxpr, *of_body, *state)
    return state


def _cond(index: np.ndarray, *args: np.ndarray, branches: Sequence[Any], **_: Any) -> list:
    return run(branches[int(np.clip(index, 0, len(branches) - 1))], *args)


CONTROL: dict[str, Rule] = {"scan": _scan, "while": _while, "cond": _cond}
# The parameter that has the program, of primitives that only call it.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "checkpoint": "jaxpr",
    "remat2": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}  # fmt: skip


def unknown(jaxpr: Any) -> set[str]:
    """The primitives of a program, and of those within it, that are not in the tables."""
    known = RULES.keys() | CONTROL.keys() | CALLS.keys() | RANDOM
    found = {str(equation.primitive) for equation in jaxpr.eqns} - known
    return found.union(*(unknown(part) for equation in jaxpr.eqns for part in _within(equation)))


def _results(equation: Any, values: list[Any]) -> list[Any]:
    name, params = str(equation.primitive), equation.params
    if _is_drawn(name, values):
        return [_random(name, *values, **params)]
    if name in RANDOM or any(map(_is_key, values)):
        with jax.disable_jit(False):
            found = equation.primitive.bind(*values, **params)
        return found if equation.primitive.multiple_results else [found]
    if name in CALLS:
        return run(params[CALLS[name]], *values)
    if name in CONTROL:
        return CONTROL[name](*values, **params)
    found = RULES[name](*values, **params)
    return found if equation.primitive.multiple_results else [found]


def run(program: Any, *args: np.ndarray) -> list[np.ndarray]:
    """The results of a jaxpr, closed or not, for these arrays."""
    jaxpr, constants = (program.jaxpr, program.consts) if hasattr(program, "jaxpr") else (program, ())
    known: dict[Any, np.ndarray] = {}

    def write(variables: Sequence[Any], values: Sequence[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            found = value if _is_key(variable.aval) else np.asarray(value).astype(variable.aval.dtype, copy=False)
            assert found.shape == variable.aval.shape, (variable.aval, found.shape)
            known[variable] = found

    def read(variable: Any) -> np.ndarray:
        if isinstance(variable, core.Literal):
            return np.asarray(variable.val, variable.aval.dtype)
        return known[variable]

    write(jaxpr.constvars, constants)
    write(jaxpr.invars, args)
    for equation in jaxpr.eqns:
        write(equation.outvars, _results(equation, [read(variable) for variable in equation.invars]))
    return [read(variable) for variable in jaxpr.outvars]


class _Constant:
    """An argument that is none of the arrays, whatever its type."""

    def __init__(self, value: Any):
        self.value = value


def numpy_jit(
    function: Callable[..., Any],
    compiled: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[..., Any]:
    """A function of pytrees of arrays that is traced once for each kind of arguments, and computed by NumPy.

    Args:
      function: as for `jax.jit`; arguments that are no arrays or numbers are constants.
      compiled: the same function by XLA, for programs that have other primitives than the tables.
      static_argnums, static_argnames: arguments that are constants although they are numbers.
    """
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    named = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    programs: dict[Any, tuple[Any, Any]] = {}

    def call(*args: Any, **kwargs: Any) -> Any:
        held = [_Constant(arg) if index in static else arg for index, arg in enumerate(args)]
        held_by_name = {name: _Constant(arg) if name in named else arg for name, arg in kwargs.items()}
        leaves, tree = jax.tree.flatten((held, held_by_name))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return function(*args, **kwargs)
        is_array = [isinstance(leaf, (np.ndarray, np.generic, jax.Array, int, float, bool)) for leaf in leaves]
        arrays = [leaf for leaf, given in zip(leaves, is_array, strict=True) if given]
        constants = [
            leaf.value if isinstance(leaf, _Constant) else leaf
            for leaf, given in zip(leaves, is_array, strict=True)
            if not given
        ]
        kinds = tuple(jax.typeof(leaf) for leaf in arrays)
        key = (kinds, tuple(constants), tuple(is_array), tree, jax.config.jax_enable_x64)

        def of_arrays(*arrays: Any) -> Any:
            rest = {True: iter(arrays), False: iter(constants)}
            args, kwargs = jax.tree.unflatten(tree, [next(rest[given]) for given in is_array])
            return function(*args, **kwargs)

        if key not in programs:
            with jax.disable_jit(False):
                program, shape = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays)
            programs[key] = (None if unknown(program.jaxpr) else program), jax.tree.structure(shape)
        program, structure = programs[key]
        if program is None:
            with jax.disable_jit(False):
                return compiled(*args, **kwargs)
        with np.errstate(all="ignore"):
            found = run(program, *arrays)
        return jax.tree.unflatten(structure, found)

    return call


# Operations outside of functions that are traced


def _impl(primitive: Any, rule: Rule, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """What a primitive does with values."""

    def compute(*args: Any, **params: Any) -> Any:
        if any(map(_is_key, map(jax.typeof, args))):
            with jax.disable_jit(False):
                return otherwise(*args, **params)
        avals, _ = primitive.abstract_eval(*map(jax.typeof, args), **params)
        with np.errstate(all="ignore"):
            found = rule(*map(np.asarray, args), **params)
        if not primitive.multiple_results:
            return jax.device_put(np.asarray(found).astype(avals.dtype, copy=False))
        return [
            jax.device_put(np.asarray(value).astype(aval.dtype, copy=False))
            for value, aval in zip(found, avals, strict=True)
        ]

    return compute


def _impl_of_random(primitive: Any, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """What a primitive of random numbers does with keys."""

    def compute(*args: Any, **params: Any) -> Any:
        if _is_drawn(str(primitive), args):
            return jax.device_put(_random(str(primitive), *args, **params))
        with jax.disable_jit(False):
            return otherwise(*args, **params)

    return compute


@contextmanager
def numpy_arithmetic() -> Iterator[None]:
    """Operations one by one are computed by NumPy, and functions with `jax.jit` are operations one by one."""
    every = {value for room in (primitives, jax.lax) for name, value in vars(room).items() if name.endswith("_p")}
    before = [(primitive, primitive.impl) for primitive in every if str(primitive) in RULES.keys() | RANDOM]
    try:
        for primitive, impl in before:
            rule = RULES.get(str(primitive))
            primitive.impl = _impl(primitive, rule, impl) if rule else _impl_of_random(primitive, impl)
        with jax.disable_jit():
            yield
    finally:
        for primitive, impl in before:
            primitive.impl = impl
