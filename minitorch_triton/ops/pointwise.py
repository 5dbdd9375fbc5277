"""Elementwise operations: the table, and what turns a pair of device functions into an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.autograd.inplace import (
    base_and_chain,
    check_countable,
    check_inplace,
    replay,
)
from minitorch_triton.autograd.modes import state
from minitorch_triton.kernels import elementwise as fn
from minitorch_triton.kernels import map as map_kernel
from minitorch_triton.kernels import reduce as reduce_kernel
from minitorch_triton.kernels.launch import overlap_error
from minitorch_triton.ops import dispatch, promotion
from minitorch_triton.ops.dispatch import (
    FORMS,
    NOTHING,
    Number,
    Op,
    Planned,
    Save,
    empty_as,
    type_name,
)
from minitorch_triton.ops.output import write_out
from minitorch_triton.ops.tracing import trace
from minitorch_triton.storage import Layout, contiguous_strides, layout, span


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of operands, by PyTorch's rules and with its error."""
    result = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) > len(result):
            result = [1] * (len(shape) - len(result)) + result
        pad = len(result) - len(shape)
        for d, size in enumerate(shape, pad):
            if result[d] == 1:
                result[d] = size
            elif size not in (1, result[d]):
                raise RuntimeError(
                    f"The size of tensor a ({result[d]}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {d}"
                )
    return tuple(result)


def is_dense(form: Layout) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in any order of dims."""
    step = 1
    for stride, size in sorted(zip(form.strides, form.shape, strict=True)):
        if size == 1:
            continue
        if stride != step:
            return False
        step *= size
    return True


def result_strides(shape: tuple[int, ...], tensors: Sequence[Any]) -> tuple[int, ...]:
    """An output keeps the order of dimensions of its first dense operand, as in PyTorch."""
    for tensor in tensors:
        form = tensor.layout
        if form.shape == shape and form.numel > 0 and is_dense(form):
            return form.strides
    return contiguous_strides(shape)


def apply_map(device_fn: Any, y: Any, sources: Sequence[Any], compute: torch.dtype) -> None:
    """Launch ``y = device_fn(*sources)``; sources are tensors that broadcast to y, and Numbers."""
    if y.layout.numel == 0:
        return
    tensors, numbers, args = _split(sources)
    shape = tuple(y.shape)
    tensors = [t if t.shape == shape else t.expand(shape) for t in tensors]
    map_kernel.elementwise(device_fn, y, tensors, numbers, args, compute)


def _split(sources: Sequence[Any]) -> tuple[list, list, tuple[int, ...]]:
    """Tensors, numbers, and for each source its place among them."""
    tensors: list = []
    numbers: list = []
    args = []
    for source in sources:
        if isinstance(source, Number):
            args.append(map_kernel.MAX_TENSORS + len(numbers))
            numbers.append(source)
        else:
            args.append(len(tensors))
            tensors.append(source)
    return tensors, numbers, tuple(args)


def apply_reduction(
    device_fn: Any,
    kind: str,
    y: Any,
    sources: Sequence[Any],
    shape: tuple[int, ...],
    dims: Sequence[int],
    compute: torch.dtype,
    mean_of: int = 0,
) -> None:
    """Launch ``y = sum (or another kind) over dims of device_fn(*sources)``.

    Args:
        y: contiguous output over the dimensions of ``shape`` that are not reduced.
        sources: tensors that broadcast to ``shape``, and Numbers.
        mean_of: the divisor of a mean, or 0.
    """
    if y.layout.numel == 0:
        return
    tensors, numbers, args = _split(sources)
    tensors = [t if t.shape == shape else t.expand(shape) for t in tensors]
    if not reduce_kernel.fits(tensors, dims):
        # Reduce the last dimension alone, so that neighbouring ones can merge, then the rest.
        step = _last_dim_reduced(device_fn, kind, sources, shape, dims, compute)
        apply_reduction(
            fn.identity, kind, y, [step], tuple(step.shape), dims[:-1], compute, mean_of
        )
        return
    n = 1
    for d in dims:
        n *= shape[d]
    parts = reduce_kernel.splits(y.layout.numel, n)
    if parts == 1:
        reduce_kernel.reduction(device_fn, kind, y, tensors, dims, numbers, args, compute, mean_of)
        return
    partial = dispatch.empty((parts, y.layout.numel), compute, y.device)
    reduce_kernel.reduction(
        device_fn, kind, partial, tensors, dims, numbers, args, compute, parts=parts
    )
    reduce_kernel.reduction(fn.identity, kind, y, [partial], [0], [], (0,), compute, mean_of)


def _last_dim_reduced(
    device_fn: Any,
    kind: str,
    sources: Sequence[Any],
    shape: tuple[int, ...],
    dims: Sequence[int],
    compute: torch.dtype,
) -> Any:
    device = next(s.device for s in sources if not isinstance(s, Number))
    full = dispatch.empty(shape, compute, device)
    apply_map(device_fn, full, sources, compute)
    last = dims[-1]
    before = 1
    for size in shape[:last]:
        before *= size
    flat = full.view(before, shape[last], -1)
    small = dispatch.empty((before, flat.shape[2]), compute, device)
    reduce_kernel.reduction(fn.identity, kind, small, [flat], [1], [], (0,), compute)
    return small.view(shape[:last] + shape[last + 1 :])


def gradient_into(
    form: Layout,
    device_fn: Any,
    sources: Sequence[Any],
    shape: tuple[int, ...],
    compute: torch.dtype,
) -> Any:
    """``device_fn(*sources)`` over ``shape`` as the gradient of an input with layout ``form``:
    summed over the dimensions in which that input was broadcast."""
    if device_fn is fn.identity_grad and sources[0].layout is form:
        return sources[0]
    if form.shape == shape:
        dense = form.strides if is_dense(form) else contiguous_strides(shape)
        y = empty_as(layout(shape, dense, form.dtype, form.device))
        apply_map(device_fn, y, sources, compute)
        return y
    y = dispatch.empty(form.shape, form.dtype, form.device)
    pad = len(shape) - len(form.shape)
    dims = [d for d in range(len(shape)) if d < pad or (form.shape[d - pad] == 1 and shape[d] != 1)]
    apply_reduction(device_fn, "sum", y, sources, shape, dims, compute)
    return y


_NO_BOOLS: dict[str, Exception] = {
    "Sub": RuntimeError(
        "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
        "`logical_xor()` operator instead."
    ),
    "Neg": RuntimeError(
        "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
        "invert a mask, use the `~` or `logical_not()` operator instead."
    ),
    "Relu": RuntimeError("Boolean inputs not supported for relu"),
    "Abs": NotImplementedError("\"abs\" not implemented for 'Bool'"),
    "FloorDivide": NotImplementedError("\"div_floor\" not implemented for 'Bool'"),
    "Remainder": NotImplementedError("\"remainder\" not implemented for 'Bool'"),
}
"""What PyTorch says where all operands are bool."""

_WRAPS_NUMBERS = ("Add", "Sub", "Mul", "Div", "Where")
"""Whose nodes, in PyTorch, have an edge also for a number."""


class Elementwise(Op):
    """An op made of device functions.

    Args:
        name: the node is called ``{name}Backward0``.
        function: the device function; its parameters are tensors or Python numbers.
        derivatives: for each parameter that has one the device function of its gradient; the
            names of *its* parameters say what is saved (``g``, ``y``, or those of ``function``).
        result: "promoted", "unchanged" (whatever the numbers are), "float" (integers become the
            default float), "bool", "floating" (integers are an error), or "integer" (floats are).
        defaults: values of trailing parameters that a call may leave out.
    """

    def __init__(
        self,
        name: str,
        function: Any,
        derivatives: dict[str, Any] | None = None,
        result: str = "promoted",
        **defaults: float,
    ):
        self.function = function
        self.defaults = defaults
        self.result = result
        self.parameters: list[str] = list(function.arg_names)
        self.derivatives = [(derivatives or {}).get(parameter) for parameter in self.parameters]
        unknown = set(derivatives or {}) - set(self.parameters)
        for derivative in (derivatives or {}).values():
            unknown |= set(derivative.arg_names) - {"g", "y", *self.parameters}
        if unknown:
            raise TypeError(
                f"{name}: {sorted(unknown)} is neither g, y nor a parameter of the function "
                f"({', '.join(self.parameters)})"
            )
        self._saves: dict[tuple[bool, ...], list[Save]] = {}
        super().__init__(name)
        self.plan_inplace = Planned(self._forward_inplace)

    def configure(self, inputs: list[str], backward: list[str]) -> None:
        self.linked = [0] if any(self.derivatives) else []
        self.upstream = [0]
        self.inputs = self.parameters
        self.differentiable = [derivative is not None for derivative in self.derivatives]
        self.wraps_numbers = self.name in _WRAPS_NUMBERS

    def saves_for(self, needs: tuple[bool, ...]) -> list[Save]:
        saves = self._saves.get(needs)
        if saves is None:
            names = {
                name
                for needed, derivative in zip(needs, self.derivatives, strict=False)
                if needed and derivative is not None
                for name in derivative.arg_names
            }
            saves = [FORMS, ("output", 0) if "y" in names else NOTHING]
            for number, parameter in enumerate(self.parameters):
                saves.append(("input" if parameter in names else "number", number))
            self._saves[needs] = saves
        return saves

    def __call__(self, *operands: Any, **named: Any) -> Any:
        if named or len(operands) != len(self.parameters):
            out = named.pop("out", None)
            operands = self._complete(operands, named)
            if out is not None:
                return write_out(self.name.lower(), out, operands, lambda: self(*operands))
        for operand in operands:
            if not isinstance(operand, dispatch.Tensor):
                return self.run(list(map(_wrap, operands)))
        return self.run(operands)

    def _complete(self, operands: tuple, named: dict[str, Any]) -> tuple:
        """The operands in order, from positions, keywords and defaults."""
        name = self.name.lower()
        if len(operands) > len(self.parameters):
            raise TypeError(
                f"{name}() takes {len(self.parameters)} positional arguments but "
                f"{len(operands)} were given"
            )
        values = dict(zip(self.parameters, operands, strict=False))
        for key, value in named.items():
            # PyTorch calls the operands of every function input and other.
            if key in ("input", "other") and key not in self.parameters:
                key = self.parameters[key == "other"]
            if key not in self.parameters:
                raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
            if key in values:
                raise TypeError(f"{name}() got multiple values for argument '{key}'")
            values[key] = value
        values = {**self.defaults, **values}
        missing = [parameter for parameter in self.parameters if parameter not in values]
        if missing:
            raise TypeError(f"{name}() missing required argument: '{missing[0]}'")
        return tuple([values[parameter] for parameter in self.parameters])

    def inplace(self, x: Any, *operands: Any) -> Any:
        """``x = op(x, *operands)``, written into x."""
        args = [x, *operands]
        for number, arg in enumerate(operands, 1):
            if not isinstance(arg, dispatch.Tensor):
                args[number] = _wrap(arg)
            elif arg.storage.may_share(x.storage):
                in_place = arg.layout is x.layout and arg.address == x.address
                if not in_place and overlap(x, arg):
                    args[number] = arg.clone()
        return write_inplace(self, self.plan_inplace, x, args)

    def types(self, operands: Sequence[Any]) -> tuple[torch.dtype, torch.dtype]:
        """Compute and result dtype; an operand is a tensor, a layout or a Number."""
        numbers = [operand.kind for operand in operands if isinstance(operand, Number)]
        tensors = [operand for operand in operands if not isinstance(operand, Number)]
        if self.result in ("floating", "unchanged"):
            numbers = []  # a slope or a limit does not make an integer a float
        common = promotion.result_type(tensors, numbers)
        if common == torch.bool and self.name in _NO_BOOLS:
            raise _NO_BOOLS[self.name]
        refused = "integer" if common.is_floating_point else "floating"
        if self.result == "float":
            common = promotion.as_floating(common)
        elif self.result == refused:
            raise NotImplementedError(
                f"\"{self.name.lower()}\" not implemented for '{type_name(common)}'"
            )
        compute = promotion.compute_type(common)
        return compute, torch.bool if self.result == "bool" else common

    def forward(self, *operands: Any) -> Any:
        tensors = _check(self.name, operands)
        compute, dtype = self.types(operands)
        shape = broadcast_shapes(*[tensor.layout.shape for tensor in tensors])
        strides = result_strides(shape, tensors)
        y = empty_as(layout(shape, strides, dtype, tensors[0].device))
        apply_map(self.function, y, operands, compute)
        return y

    def _forward_inplace(self, *operands: Any) -> None:
        x = operands[0]
        tensors = _check(self.name, operands)
        compute, dtype = self.types(operands)
        shape = broadcast_shapes(*[tensor.layout.shape for tensor in tensors])
        if shape != x.layout.shape:
            raise RuntimeError(
                f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(shape)}"
            )
        if not torch.can_cast(dtype, x.dtype):
            raise RuntimeError(
                f"result type {type_name(dtype)} can't be cast to the desired output type "
                f"{type_name(x.dtype)}"
            )
        apply_map(self.function, x, operands, compute)

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any, y: Any, *operands: Any) -> Any:
        compute, _ = self.types(_typed(forms, operands))
        results: list = []
        for number, (needed, derivative) in enumerate(zip(needs, self.derivatives, strict=False)):
            if not needed or derivative is None:
                results.append(None)
                continue
            sources = self._sources(derivative, g, y, operands)
            results.append(
                gradient_into(forms[number], derivative, sources, tuple(g.shape), compute)
            )
        return results

    def recorded_backward(self, node: Any, grads: list, saved: list) -> Sequence:
        forms, y, *operands = saved
        compute, _ = self.types(_typed(forms, operands))
        (g,) = grads
        results: list = []
        for number, (needed, derivative) in enumerate(
            zip(node.needs, self.derivatives, strict=False)
        ):
            if not needed or derivative is None:
                results.append(None)
                continue
            sources = [_unwrap(source) for source in self._sources(derivative, g, y, operands)]
            result = trace(derivative)(sources, compute, g.shape)
            form = forms[number]
            results.append(result.sum_to_size(form.shape).to(form.dtype))
        return results

    def jvp(
        self,
        args: Sequence,
        tangents: Sequence,
        results: list,
        version: int | None = None,
        original: Any = None,
    ) -> list:
        """The tangent of the output: each derivative with a tangent for the upstream gradient.

        The Jacobian of an elementwise op is diagonal, so that it is its own transpose.
        """
        y = results[0]
        operands = [args[0] if original is None else original, *args[1:]]
        compute, _ = self.types(operands)
        total = None
        for tangent, derivative in zip(tangents, self.derivatives, strict=False):
            if tangent is None or derivative is None:
                continue
            if tangent.shape != y.shape:
                tangent = tangent.expand(y.shape)
            sources = self._sources(derivative, tangent, y, operands)
            if state.grad_enabled:
                numbers = [_unwrap(source) for source in sources]
                part = trace(derivative)(numbers, compute, tangent.shape).to(y.dtype)
            else:
                form = y.layout
                dense = form.strides if is_dense(form) else None
                part = empty_as(layout(form.shape, dense, form.dtype, form.device))
                apply_map(derivative, part, sources, compute)
            total = part if total is None else total + part
        return [y.new_zeros(y.shape) if total is None else total]

    def _sources(self, derivative: Any, g: Any, y: Any, operands: Sequence[Any]) -> list:
        named = {"g": g, "y": y, **dict(zip(self.parameters, operands, strict=False))}
        return [named[name] for name in derivative.arg_names]


def _extent(x: Any) -> tuple[int, int]:
    """The addresses of a tensor's first element and of the end of its last."""
    end = x.address + span(x.layout.shape, x.layout.strides) * x.layout.dtype.itemsize
    return x.address, end


def overlap(x: Any, other: Any) -> bool:
    """Whether x might be written where ``other`` is still to be read.

    Raises:
        RuntimeError: both are dense, so that they certainly overlap, as in PyTorch.
    """
    if x.layout.numel == 0 or other.layout.numel == 0:
        return False
    start, end = _extent(x)
    other_start, other_end = _extent(other)
    if start >= other_end or other_start >= end:
        return False
    if is_dense(x.layout) and is_dense(other.layout):
        raise overlap_error()
    return True


def write_inplace(op: Op, plan: Planned, x: Any, args: Sequence[Any]) -> Any:
    """Run an in-place op: check that x may be written, write, count it, rewrite the history."""
    form, storage = x.layout, x.storage
    # Integers and bools have no gradient, whatever is written to them.
    floating = form.dtype.is_floating_point
    requires_grad = (
        floating
        and state.grad_enabled
        and any(isinstance(arg, dispatch.Tensor) and arg.requires_grad for arg in args)
    )
    if requires_grad:
        check_inplace(x)
    if form.repeats:
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if storage.own_version is None:
        check_countable(x)
    forward_mode = floating and state.dual_level is not None
    tangents = dispatch.tangents_of(args) if forward_mode else None
    dual = tangents is not None and any(tangent is not None for tangent in tangents)
    original = version = None
    if requires_grad or dual:
        version = storage.version
        needs = op.needs_of(args)
        if dual:
            needs = tuple(
                needed or tangent is not None
                for needed, tangent in zip(needs, tangents, strict=True)
            )
        if ("input", 0) in op.saves_for(needs):
            original = x.clone()  # in the graph, for higher derivatives
    if state.before_write is not None:
        state.before_write(x)
    plan.call(args)
    x.storage.written()
    if requires_grad:
        op.link(args, [x], version, original)
    if dual:
        _write_tangent(op, x, args, tangents, version, original)
    return x


def _write_tangent(
    op: Op, x: Any, args: Sequence, tangents: Sequence, version: int, original: Any
) -> None:
    """After an in-place op: the tangent of x, and of what x is a view of."""
    level, state.dual_level = state.dual_level, None
    try:
        if state.grad_enabled:
            # x's tangent is overwritten below, and what is recorded may need it as it was.
            tangents = [
                None if t is None else t.clone() if t is x._tangent else t for t in tangents
            ]
        new = op.jvp(args, tangents, [x], version, original)[0]
        if x._tangent is not None:
            x._tangent.copy_(new)
        elif x._view is None:
            level.attach(x, dispatch.separate(new, tangents))
        else:
            base, chain = base_and_chain(x)
            if base._tangent is None:
                level.attach(base, base.new_zeros(base.shape))
            part = replay(base._tangent, chain)
            part.copy_(new)
            level.attach(x, part)
    finally:
        state.dual_level = level


def _wrap(operand: Any) -> Any:
    """A Python number as a Number, anything else as it is."""
    is_number = isinstance(operand, (int, float)) and not isinstance(operand, Number)
    return Number(operand) if is_number else operand


def _unwrap(source: Any) -> Any:
    """A Number as the Python number it came from."""
    return source.value if isinstance(source, Number) else source


def _typed(forms: Sequence[Any], operands: Sequence[Any]) -> list:
    """The layouts of tensor arguments and the Numbers among them."""
    return [
        operand if form is None else form for form, operand in zip(forms, operands, strict=True)
    ]


def _check(name: str, operands: Sequence[Any]) -> list:
    """The tensors among the operands; an error where they are on different devices."""
    tensors = []
    for operand in operands:
        if isinstance(operand, dispatch.Tensor):
            tensors.append(operand)
        elif not isinstance(operand, Number):
            hint = ": use from_torch" if isinstance(operand, torch.Tensor) else ""
            raise TypeError(
                f"{name.lower()}(): argument must be Tensor or Number, not "
                f"{torch.typename(operand)}{hint}"
            )
    if not tensors:
        given = type(operands[0].value).__name__
        raise TypeError(
            f"{name.lower()}(): argument 'input' (position 1) must be Tensor, not {given}"
        )
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        first, second = sorted(map(str, devices))[:2]
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{first} and {second}!"
        )
    return tensors


class Where(Elementwise):
    """``condition ? a : b``; the condition has no part in the result's dtype."""

    def __call__(self, condition: Any, *operands: Any, **named: Any) -> Any:
        if not operands and not named:
            from minitorch_triton.ops.indexing import nonzero

            return nonzero(condition, as_tuple=True)
        return super().__call__(condition, *operands, **named)

    def forward(self, *operands: Any) -> Any:
        condition = operands[0]
        if condition.dtype not in (torch.bool, torch.uint8):
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{type_name(condition.dtype)}"
            )
        return super().forward(*operands)

    def types(self, operands: Sequence[Any]) -> tuple[torch.dtype, torch.dtype]:
        return super().types(operands[1:])


class AddScaled(Elementwise):
    """``a + b * alpha``; alpha has no part in the result's dtype."""

    def types(self, operands: Sequence[Any]) -> tuple[torch.dtype, torch.dtype]:
        compute, dtype = super().types(operands[:2])
        if operands[2].is_float and not dtype.is_floating_point:
            raise RuntimeError(
                "For integral input tensors, argument alpha must not be a floating point number."
            )
        return compute, dtype


class MaskedFill(Elementwise):
    """``mask ? value : x`` in the dtype of x."""

    def types(self, operands: Sequence[Any]) -> tuple[torch.dtype, torch.dtype]:
        return super().types(operands[:1])


class Division(Elementwise):
    """A division with a whole result or remainder; integers must not be divided by zero."""

    def __call__(self, *operands: Any, **named: Any) -> Any:
        given = {key: value for key, value in named.items() if key != "out"}
        _check_divisor(self._complete(operands, given) if given else operands)
        return super().__call__(*operands, **named)

    def inplace(self, x: Any, *operands: Any) -> Any:
        _check_divisor((x, *operands))
        return super().inplace(x, *operands)


class FloorDivision(Division):
    """Without a derivative, as in PyTorch: who asks for one is told so."""

    def configure(self, inputs: list[str], backward: list[str]) -> None:
        super().configure(inputs, backward)
        self.linked = [0]
        self.differentiable = [True, True]

    def backward(self, needs: tuple[bool, ...], g: Any, *saved: Any) -> Any:
        raise NotImplementedError("derivative for aten::floor_divide is not implemented")

    def recorded_backward(self, node: Any, grads: list, saved: list) -> Sequence:
        return self.backward(node.needs, *grads)


def _check_divisor(operands: Sequence[Any]) -> None:
    """Raise where integers are divided by zero, on a CPU; a GPU is not waited for."""
    kinds = set()
    for operand in operands:
        if not isinstance(operand, dispatch.Tensor):
            kinds.add(type(operand))
            continue
        form = operand.layout
        if form.dtype.is_floating_point or form.device.type != "cpu":
            return
        kinds.add(bool if form.dtype == torch.bool else int)
    if kinds != {int} and kinds != {int, bool}:
        return
    divisor = operands[-1]
    if isinstance(divisor, dispatch.Tensor):
        zero = (divisor == 0).any().item()
    else:
        zero = divisor == 0
    if zero:
        raise RuntimeError("ZeroDivisionError")


# The table: name of the node, function, derivatives.

add = Elementwise("Add", fn.add, {"a": fn.identity_grad, "b": fn.identity_grad})
add_scaled = AddScaled("Add", fn.add_scaled, {"a": fn.identity_grad, "b": fn.scaled_grad})
sub = Elementwise("Sub", fn.sub, {"a": fn.identity_grad, "b": fn.negated_grad})
mul = Elementwise("Mul", fn.mul, {"a": fn.mul_grad_a, "b": fn.mul_grad_b})
div = Elementwise("Div", fn.div, {"a": fn.div_grad_a, "b": fn.div_grad_b}, "float")
floor_divide_int = FloorDivision("FloorDivide", fn.floor_divide_int)
floor_divide_float = FloorDivision("FloorDivide", fn.floor_divide_float)
remainder = Division("Remainder", fn.remainder, {"a": fn.identity_grad, "b": fn.remainder_grad_b})
fmod = Division("Fmod", fn.fmod, {"a": fn.identity_grad, "b": fn.fmod_grad_b})
neg = Elementwise("Neg", fn.neg, {"x": fn.negated_grad})
abs = Elementwise("Abs", fn.abs, {"x": fn.abs_grad})
sign = Elementwise("Sign", fn.sign, {"x": fn.zero_grad})
reciprocal = Elementwise("Reciprocal", fn.reciprocal, {"x": fn.reciprocal_grad}, "float")
square = Elementwise("Pow", fn.square, {"x": fn.square_grad})
_pow_derivatives = {"x": fn.pow_grad_x, "exponent": fn.pow_grad_exponent}
pow_float = Elementwise("Pow", fn.pow_float, _pow_derivatives)
pow_tensors = Elementwise("PowBackward1", fn.pow_float, _pow_derivatives)
pow_number = Elementwise("PowBackward2", fn.pow_float, _pow_derivatives)
pow_int = Elementwise("Pow", fn.pow_int)
sqrt = Elementwise("Sqrt", fn.sqrt, {"x": fn.sqrt_grad}, "float")
norm_root = Elementwise("LinalgVectorNorm", fn.sqrt, {"x": fn.root_grad}, "float")
std_root = Elementwise("Std", fn.sqrt, {"x": fn.root_grad}, "float")
rsqrt = Elementwise("Rsqrt", fn.rsqrt, {"x": fn.rsqrt_grad}, "float")

exp = Elementwise("Exp", fn.exp, {"x": fn.exp_grad}, "float")
expm1 = Elementwise("Expm1", fn.expm1_, {"x": fn.expm1_grad}, "float")
log = Elementwise("Log", fn.log, {"x": fn.log_grad}, "float")
log2 = Elementwise("Log2", fn.log2, {"x": fn.log2_grad}, "float")
log1p = Elementwise("Log1P", fn.log1p_, {"x": fn.log1p_grad}, "float")
sin = Elementwise("Sin", fn.sin, {"x": fn.sin_grad}, "float")
cos = Elementwise("Cos", fn.cos, {"x": fn.cos_grad}, "float")
erf = Elementwise("Erf", fn.erf, {"x": fn.erf_grad}, "float")

relu = Elementwise("Relu", fn.relu, {"x": fn.relu_grad})
leaky_relu = Elementwise(
    "LeakyRelu", fn.leaky_relu, {"x": fn.leaky_relu_grad}, "floating", negative_slope=0.01
)
threshold = Elementwise("Threshold", fn.threshold, {"x": fn.threshold_grad}, "unchanged")
tanh = Elementwise("Tanh", fn.tanh_, {"x": fn.tanh_grad}, "float")
sigmoid = Elementwise("Sigmoid", fn.sigmoid, {"x": fn.sigmoid_grad}, "float")
silu = Elementwise("Silu", fn.silu, {"x": fn.silu_grad}, "floating")
gelu_erf = Elementwise("Gelu", fn.gelu, {"x": fn.gelu_grad}, "floating")
gelu_tanh = Elementwise("Gelu", fn.gelu_tanh, {"x": fn.gelu_tanh_grad}, "floating")
elu = Elementwise("Elu", fn.elu, {"x": fn.elu_grad}, "floating", alpha=1.0)
softplus = Elementwise(
    "Softplus", fn.softplus, {"x": fn.softplus_grad}, "floating", beta=1.0, threshold=20.0
)
logsigmoid = Elementwise("LogSigmoid", fn.logsigmoid, {"x": fn.logsigmoid_grad}, "floating")

floor = Elementwise("Floor", fn.floor, {"x": fn.zero_grad})
ceil = Elementwise("Ceil", fn.ceil, {"x": fn.zero_grad})
trunc = Elementwise("Trunc", fn.trunc, {"x": fn.zero_grad})
round = Elementwise("Round", fn.round, {"x": fn.zero_grad})
clamp_both = Elementwise(
    "ClampBackward1",
    fn.clamp,
    {"x": fn.clamp_grad, "low": fn.clamp_grad_low, "high": fn.clamp_grad_high},
)
clamp_min = Elementwise(
    "ClampBackward1", fn.clamp_min, {"x": fn.clamp_min_grad, "low": fn.clamp_min_grad_low}
)
clamp_max = Elementwise(
    "ClampBackward1", fn.clamp_max, {"x": fn.clamp_max_grad, "high": fn.clamp_max_grad_high}
)
atan2 = Elementwise("Atan2", fn.atan2_, {"a": fn.atan2_grad_a, "b": fn.atan2_grad_b}, "float")
maximum = Elementwise("Maximum", fn.maximum, {"a": fn.maximum_grad_a, "b": fn.maximum_grad_b})
minimum = Elementwise("Minimum", fn.minimum, {"a": fn.maximum_grad_b, "b": fn.maximum_grad_a})
where = Where("Where", fn.where, {"a": fn.where_grad_a, "b": fn.where_grad_b})
masked_fill = MaskedFill(
    "MaskedFill", fn.masked_fill, {"x": fn.masked_fill_grad, "value": fn.masked_fill_grad_value}
)

eq = Elementwise("Eq", fn.eq, result="bool")
ne = Elementwise("Ne", fn.ne, result="bool")
lt = Elementwise("Lt", fn.lt, result="bool")
le = Elementwise("Le", fn.le, result="bool")
gt = Elementwise("Gt", fn.gt, result="bool")
ge = Elementwise("Ge", fn.ge, result="bool")
logical_not = Elementwise("LogicalNot", fn.logical_not, result="bool")
logical_and = Elementwise("LogicalAnd", fn.logical_and, result="bool")
logical_or = Elementwise("LogicalOr", fn.logical_or, result="bool")
logical_xor = Elementwise("LogicalXor", fn.logical_xor, result="bool")
bitwise_not_int = Elementwise("BitwiseNot", fn.bitwise_not, result="integer")
bitwise_and = Elementwise("BitwiseAnd", fn.bitwise_and, result="integer")
bitwise_or = Elementwise("BitwiseOr", fn.bitwise_or, result="integer")
bitwise_xor = Elementwise("BitwiseXor", fn.bitwise_xor, result="integer")
signbit = Elementwise("Signbit", fn.signbit, result="bool")
isnan = Elementwise("Isnan", fn.isnan, result="bool")
isinf = Elementwise("Isinf", fn.isinf, result="bool")
isfinite = Elementwise("Isfinite", fn.isfinite, result="bool")


def pow(x: Any, exponent: Any, *, out: Any = None) -> Any:
    """``x ** exponent`` for tensors and numbers, not both numbers."""
    if out is not None:
        return write_out("pow", out, (x, exponent), lambda: pow(x, exponent))
    operands = _wrap(x), _wrap(exponent)
    if isinstance(exponent, (int, float)) and exponent == 2 and x.dtype.is_floating_point:
        return square(x)
    common = promotion.result_type(
        [o for o in operands if not isinstance(o, Number)],
        [o.kind for o in operands if isinstance(o, Number)],
    )
    if common.is_floating_point:
        if isinstance(operands[1], Number):
            return pow_float(x, exponent)
        return (pow_number if isinstance(operands[0], Number) else pow_tensors)(x, exponent)
    if isinstance(exponent, int) and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return pow_int(x, exponent)


def floor_divide(a: Any, b: Any) -> Any:
    """``a // b``, rounded towards minus infinity."""
    operands = _wrap(a), _wrap(b)
    common = promotion.result_type(
        [o for o in operands if not isinstance(o, Number)],
        [o.kind for o in operands if isinstance(o, Number)],
    )
    return (floor_divide_float if common.is_floating_point else floor_divide_int)(a, b)


def bitwise_not(x: Any) -> Any:
    """``~x``: the complement of integers, not of bools."""
    if x.dtype.is_floating_point:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return logical_not(x) if x.dtype == torch.bool else bitwise_not_int(x)


def clamp(x: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """Limit x to [min, max], numbers or tensors, of which one may be None."""
    if out is not None:
        return write_out("clamp", out, (x, min, max), lambda: clamp(x, min, max))
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return clamp_max(x, max)
    return clamp_min(x, min) if max is None else clamp_both(x, min, max)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Gaussian error linear unit; ``approximate`` is "none" (erf) or "tanh"."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return (gelu_tanh if approximate == "tanh" else gelu_erf)(x)


def elementwise(
    function: Any, *derivatives: Any, name: str | None = None, **defaults: float
) -> Any:
    """Make a differentiable op of your own device functions.

    Args:
        function: a ``@triton.jit`` function of tensors and run-time numbers, elementwise.
        derivatives: device functions that return the gradient in one input each, in the order of
            the function's parameters; the parameter names ``g`` (upstream gradient), ``y``
            (output) and those of ``function`` say what each one needs.
        name: of the graph node; by default the function's.
        defaults: values of trailing parameters that a call may leave out.

    Returns:
        A function of tensors and numbers with broadcasting, type promotion and a gradient.

    Raises:
        TypeError: a derivative names something unknown.
    """
    for given in (function, *derivatives):
        if not hasattr(given, "arg_names"):
            raise TypeError(f"elementwise expects @triton.jit functions, got {given!r}")
    for derivative in derivatives:
        if "g" not in derivative.arg_names:
            raise TypeError(
                f"{derivative.__name__} has no parameter g: a derivative multiplies the upstream "
                "gradient"
            )
    parameters = list(function.arg_names)
    name = name or "".join(part.capitalize() for part in function.__name__.split("_"))
    by_parameter = dict(zip(parameters, derivatives, strict=False))
    return Elementwise(name, function, by_parameter, "promoted", **defaults)
