"""Reductions over any dimensions, and losses that are reductions of an elementwise function."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from minitorch_triton.kernels import elementwise as fn
from minitorch_triton.kernels import reduce as kernels
from minitorch_triton.ops import dispatch, promotion
from minitorch_triton.ops.creation import cast, cat, copy_into, fill_with
from minitorch_triton.ops.dispatch import Number, Op
from minitorch_triton.ops.output import write_out
from minitorch_triton.ops.pointwise import (
    Elementwise,
    apply_reduction,
    broadcast_shapes,
    eq,
    mul,
    norm_root,
    std_root,
    type_name,
    where,
)
from minitorch_triton.ops.views import wrap_dim

Dims = tuple[int, ...]


def normal_dims(dim: Any, ndim: int) -> Dims:
    """The reduced dimensions, sorted; None or () means all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    given = [dim] if isinstance(dim, int) else list(dim)
    dims = [wrap_dim(d, ndim) for d in given]
    if len(set(dims)) != len(dims):
        repeated = next(d for d in dims if dims.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return tuple(sorted(dims)) if ndim else ()


def _kept_shape(shape: tuple[int, ...], dims: Dims, keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if d in dims else size for d, size in enumerate(shape))
    return tuple(size for d, size in enumerate(shape) if d not in dims)


def _restored(g: Any, shape: tuple[int, ...], dims: Dims, keepdim: bool) -> Any:
    """A reduced tensor as a view with the reduced dimensions back, repeated."""
    if not keepdim and g.ndim:
        for d in dims:
            g = g.unsqueeze(d)
    return g.expand(shape)


class Reduction(Op):
    """Elements combined over dimensions.

    Args:
        name: of the node.
        kind: "sum", "product", "maximum" or "minimum".
    """

    def __init__(self, name: str, kind: str):
        self.kind = kind
        super().__init__(name)

    def reduce(
        self, x: Any, dims: Dims, keepdim: bool, dtype: torch.dtype, mean: bool = False
    ) -> Any:
        shape = tuple(x.shape)
        y = dispatch.empty(_kept_shape(shape, dims, keepdim), dtype, x.device)
        compute = promotion.compute_type(dtype if x.dtype == torch.bool else x.dtype)
        if dtype.is_floating_point and not x.dtype.is_floating_point:
            compute = promotion.compute_type(dtype)
        elif dtype == torch.int64 and not x.dtype.is_floating_point:
            compute = torch.int64
        n = math.prod(shape[d] for d in dims)
        if n == 0:
            empty_value = kernels.identity_element(self.kind, compute)
            fill_with(y, math.nan if mean else empty_value)
            return y
        apply_reduction(
            fn.identity, self.kind, y, [x], shape, dims, compute, mean_of=n if mean else 0
        )
        return y


class Sum(Reduction):
    """The sum; integers and bools are summed in int64."""

    composed = True

    def forward(self, x: Any, dims: Dims, keepdim: bool, dtype: torch.dtype) -> Any:
        return self.reduce(x, dims, keepdim, dtype)

    def backward(
        self, needs: tuple[bool, ...], g: Any, forms: Any, dims: Dims, keepdim: bool
    ) -> Any:
        return _restored(g, forms[0].shape, dims, keepdim).to(forms[0].dtype)


class Mean(Reduction):
    """The mean; NaN over no elements."""

    composed = True

    def forward(self, x: Any, dims: Dims, keepdim: bool, dtype: torch.dtype) -> Any:
        return self.reduce(x, dims, keepdim, dtype, mean=True)

    def backward(
        self, needs: tuple[bool, ...], g: Any, forms: Any, dims: Dims, keepdim: bool
    ) -> Any:
        shape = forms[0].shape
        n = math.prod(shape[d] for d in dims)
        scaled = mul(g, 1 / n) if n else g
        return _restored(scaled, shape, dims, keepdim).to(forms[0].dtype)


class Extreme(Reduction):
    """The largest or smallest; equal ones share the gradient."""

    composed = True

    def forward(self, x: Any, dims: Dims, keepdim: bool) -> Any:
        if x.layout.numel == 0:
            raise RuntimeError(
                f"{self.name.lower()}(): Expected reduction dim to be specified for input.numel() "
                "== 0. Specify the reduction dim with the 'dim' argument."
            )
        return self.reduce(x, dims, keepdim, x.dtype)

    def backward(
        self, needs: tuple[bool, ...], g: Any, x: Any, y: Any, dims: Dims, keepdim: bool
    ) -> Any:
        shape = tuple(x.shape)
        # NaN is its own extreme: where y is NaN, every NaN of x holds it.
        hit = eq(x, _restored(y, shape, dims, keepdim)) | (
            (x != x) & _restored(y != y, shape, dims, keepdim)
        )
        count = sum_(hit, dims, True)
        share = g if keepdim else _restored(g, _kept_shape(shape, dims, True), dims, False)
        return where(hit, (share / count).expand(shape), 0.0).to(x.dtype)


class Product(Reduction):
    """The product."""

    def forward(self, x: Any, dims: Dims, keepdim: bool, dtype: torch.dtype) -> Any:
        return self.reduce(x, dims, keepdim, dtype)

    def backward(self, needs: tuple[bool, ...], g: Any, x: Any, dims: Dims, keepdim: bool) -> Any:
        # With a zero among the factors y / x is no gradient: take the product of the others, which
        # is y of the nonzero ones where exactly that zero is left out.
        shape = tuple(x.shape)
        zero = eq(x, 0)
        zeros = _restored(sum_(zero, dims, keepdim), shape, dims, keepdim)
        nonzero = _restored(self(where(zero, 1.0, x), dims, keepdim, x.dtype), shape, dims, keepdim)
        others = where(
            zero,
            where(eq(zeros, 1), nonzero, 0.0),
            where(eq(zeros, 0), nonzero / where(zero, 1.0, x), 0.0),
        )
        return (_restored(g, shape, dims, keepdim) * others).to(x.dtype)

    def decompose(self, x: Any, dims: Dims, keepdim: bool, dtype: torch.dtype) -> Any:
        # Products of halves: unlike y / x they have all derivatives at a zero.
        x = x.to(dtype)
        if x.layout.numel == 0:
            return sum(x, dims, keepdim) + 1 if dims else x.clone()
        shape = _kept_shape(tuple(x.shape), dims, keepdim)
        for dim in dims:
            while x.shape[dim] > 1:
                half = x.shape[dim] // 2
                y = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
                rest = x.narrow(dim, 2 * half, x.shape[dim] - 2 * half)
                x = cat([y, rest], dim) if rest.shape[dim] else y
        return x.reshape(shape)


class Var(Reduction):
    """The sum of squared deviations from the mean, divided by ``n - correction``."""

    outputs: tuple[str, ...] = ("var",)
    composed = True

    def __init__(self, name: str):
        super().__init__(name, "sum")

    def forward(self, x: Any, dims: Dims, keepdim: bool, correction: float) -> Any:
        return self.moments(x, dims, keepdim, correction)[0]

    def moments(self, x: Any, dims: Dims, keepdim: bool, correction: float) -> tuple[Any, Any]:
        """The variance, and the mean in the dtype that it is computed in."""
        shape = tuple(x.shape)
        compute = promotion.compute_type(x.dtype)
        mean = self.reduce(x, dims, keepdim, compute, mean=True)
        y = dispatch.empty(tuple(mean.shape), x.dtype, x.device)
        n = math.prod(shape[d] for d in dims)
        if n == 0:
            fill_with(y, math.nan)
            return y, mean
        centre = _restored(mean, shape, dims, keepdim)
        divisor = n - correction
        if divisor > 0 and divisor == int(divisor):
            apply_reduction(
                fn.squared_error, "sum", y, [x, centre], shape, dims, compute, int(divisor)
            )
            return y, mean
        total = dispatch.empty(tuple(mean.shape), compute, x.device)
        apply_reduction(fn.squared_error, "sum", total, [x, centre], shape, dims, compute)
        copy_into(y, mul(total, 1 / divisor if divisor > 0 else math.inf))
        return y, mean

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        x: Any,
        dims: Dims,
        keepdim: bool,
        correction: float,
    ) -> Any:
        divisor = math.prod(x.shape[d] for d in dims) - correction
        scaled = mul(g, 2 / divisor if divisor > 0 else math.inf)
        centred = x - mean(x, dims, True) if dims else x - x
        return mul(_restored(scaled, tuple(x.shape), dims, keepdim), centred)


class VarMean(Var):
    """The variance and the mean."""

    outputs = ("var", "mean")
    visible = 2

    def forward(self, x: Any, dims: Dims, keepdim: bool, correction: float) -> Any:
        y, mean = self.moments(x, dims, keepdim, correction)
        return y, cast(mean, x.dtype)

    def backward(
        self,
        needs: tuple[bool, ...],
        g_var: Any,
        g_mean: Any,
        x: Any,
        dims: Dims,
        keepdim: bool,
        correction: float,
    ) -> Any:
        shape = tuple(x.shape)
        gradient = None
        if g_var is not None:
            gradient = super().backward(needs, g_var, x, dims, keepdim, correction)
        if g_mean is None:
            return gradient
        n = math.prod(shape[d] for d in dims)
        of_mean = _restored(mul(g_mean, 1 / n) if n else g_mean, shape, dims, keepdim)
        return of_mean if gradient is None else gradient + of_mean


class ArgExtreme(Op):
    """The extreme along one dimension with its first position."""

    outputs = ("values", "indices")
    visible = 2
    non_differentiable = ("indices",)

    composed = True

    def __init__(self, name: str, kind: str):
        self.kind = kind
        super().__init__(name)

    def forward(self, x: Any, dim: int, keepdim: bool) -> Any:
        shape = tuple(x.shape)
        kept = _kept_shape(shape, (dim,) if shape else (), keepdim)
        values = dispatch.empty(kept, x.dtype, x.device)
        indices = dispatch.empty(kept, torch.int64, x.device)
        if values.layout.numel == 0:
            return values, indices
        m0 = math.prod(shape[:dim])
        n = shape[dim] if shape else 1
        grouped = x.reshape(m0, n, -1)
        m1 = grouped.shape[2]
        kernels.arg_reduction(
            self.kind,
            values.view(m0, m1),
            indices.view(m0, m1),
            grouped,
            promotion.compute_type(x.dtype),
        )
        return values, indices

    def backward(
        self, needs: tuple[bool, ...], g: Any, forms: Any, indices: Any, dim: int, keepdim: bool
    ) -> Any:
        from minitorch_triton.ops.creation import arange

        shape = forms[0].shape
        if not shape:
            return g
        if not keepdim:
            g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
        places = arange(shape[dim], device=g.device).view(-1, *[1] * (len(shape) - dim - 1))
        return where(eq(places, indices), g, 0.0)


sum_op, sum_dims = Sum("Sum", "sum"), Sum("SumBackward1", "sum")
mean_op, mean_dims = Mean("Mean", "sum"), Mean("MeanBackward1", "sum")
amax_op, max_op = Extreme("Amax", "maximum"), Extreme("MaxBackward1", "maximum")
amin_op, min_op = Extreme("Amin", "minimum"), Extreme("MinBackward1", "minimum")
prod_op, prod_dim = Product("Prod", "product"), Product("ProdBackward1", "product")
var_op, var_mean_op = Var("Var"), VarMean("VarMean")
max_dim = ArgExtreme("Max", "maximum")
min_dim = ArgExtreme("Min", "minimum")


def _numpy_names(function: Callable) -> Callable:
    """A reduction that also takes NumPy's names of its arguments: ``axis`` and ``keepdims``."""

    @functools.wraps(function)
    def reduction(*args: Any, **named: Any) -> Any:
        if "axis" in named:
            named["dim"] = named.pop("axis")
        if "keepdims" in named:
            named["keepdim"] = named.pop("keepdims")
        return function(*args, **named)

    return reduction


@_numpy_names
def sum(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    out: Any = None,
) -> Any:
    """The sum over some dimensions, or all."""
    if out is not None:
        return write_out("sum", out, (input,), lambda: sum(input, dim, keepdim, dtype=dtype))
    if dtype is None:
        dtype = input.dtype if input.dtype.is_floating_point else torch.int64
    elif input.dtype != dtype and dtype.is_floating_point:
        input = input.to(dtype)
    op = sum_op if dim is None else sum_dims
    return op(input, normal_dims(dim, input.ndim), keepdim, dtype)


def sum_(x: Any, dims: Dims, keepdim: bool) -> Any:
    return sum(x, dims, keepdim) if dims or not x.ndim else x


@_numpy_names
def mean(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    out: Any = None,
) -> Any:
    """The mean over some dimensions, or all.

    Raises:
        RuntimeError: the tensor is not of floating point.
    """
    if out is not None:
        return write_out("mean", out, (input,), lambda: mean(input, dim, keepdim, dtype=dtype))
    dtype = dtype or input.dtype
    if not dtype.is_floating_point:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {type_name(dtype)}"
        )
    op = mean_op if dim is None else mean_dims
    return op(input.to(dtype), normal_dims(dim, input.ndim), keepdim, dtype)


@_numpy_names
def prod(
    input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """The product over one dimension, or all."""
    if dtype is None:
        dtype = input.dtype if input.dtype.is_floating_point else torch.int64
    op = prod_op if dim is None else prod_dim
    return op(input, normal_dims(dim, input.ndim), keepdim, dtype)


@_numpy_names
def amax(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The largest element over some dimensions, or all."""
    return amax_op(input, normal_dims(dim, input.ndim), keepdim)


@_numpy_names
def amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The smallest element over some dimensions, or all."""
    return amin_op(input, normal_dims(dim, input.ndim), keepdim)


@_numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with ``dim`` the pair (values, indices); of two tensors elementwise."""
    return _extreme(input, dim, keepdim, max_op, max_dim, torch.return_types.max)


@_numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with ``dim`` the pair (values, indices); of two tensors elementwise."""
    return _extreme(input, dim, keepdim, min_op, min_dim, torch.return_types.min)


def _extreme(x: Any, dim: Any, keepdim: bool, whole: Op, along: Op, result_type: Any) -> Any:
    from minitorch_triton.ops.pointwise import maximum, minimum

    if isinstance(dim, dispatch.Tensor):
        return (maximum if whole is max_op else minimum)(x, dim)
    if dim is None:
        return whole(x, tuple(range(x.ndim)), keepdim)
    dim = wrap_dim(dim, x.ndim)
    if x.ndim and x.shape[dim] == 0:
        raise IndexError(
            f"{along.name.lower()}(): Expected reduction dim {dim} to have non-zero size."
        )
    return result_type(along(x, dim, keepdim))


@_numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The position of the largest element, in the flattened tensor without ``dim``."""
    return _arg_extreme(input, dim, keepdim, max_dim, "argmax")


@_numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The position of the smallest element, in the flattened tensor without ``dim``."""
    return _arg_extreme(input, dim, keepdim, min_dim, "argmin")


def _arg_extreme(x: Any, dim: int | None, keepdim: bool, along: Op, name: str) -> Any:
    x = x.detach()
    if x.layout.numel == 0 and dim is None:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
        )
    if dim is None:
        index = along(x.reshape(-1), 0, False)[1]
        return index.view([1] * x.ndim) if keepdim else index
    dim = wrap_dim(dim, x.ndim)
    if x.ndim and x.shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return along(x, dim, keepdim)[1]


@_numpy_names
def any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether any element is nonzero."""
    return _logical(amax_op, input != 0, dim, keepdim, False)


@_numpy_names
def all(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether every element is nonzero."""
    return _logical(amin_op, input != 0, dim, keepdim, True)


def _logical(op: Op, x: Any, dim: Any, keepdim: bool, empty_value: bool) -> Any:
    dims = normal_dims(dim, x.ndim)
    if x.layout.numel == 0:
        from minitorch_triton.ops.creation import make

        return make(
            _kept_shape(tuple(x.shape), dims, keepdim), empty_value, torch.bool, x.device, False
        )
    return op(x, dims, keepdim)


@_numpy_names
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The variance, divided by n - correction (1 unless said otherwise)."""
    return var_op(*_moment_arguments("std and var", input, dim, unbiased, keepdim, correction))


@_numpy_names
def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The pair of :func:`var` and :func:`mean`."""
    return var_mean_op(*_moment_arguments("var_mean", input, dim, unbiased, keepdim, correction))


@_numpy_names
def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The pair of :func:`std` and :func:`mean`."""
    args = _moment_arguments("std_mean", input, dim, unbiased, keepdim, correction)
    variance, mean = var_mean_op(*args)
    return std_root(variance), mean


def _moment_arguments(
    name: str,
    x: Any,
    dim: Any,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
) -> tuple[Any, Dims, bool, float]:
    """The arguments of :class:`Var` from those that PyTorch's functions have."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return x, normal_dims(dim, x.ndim), keepdim, correction


@_numpy_names
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The standard deviation: the root of :func:`var`."""
    return std_root(var(input, dim, unbiased, keepdim, correction=correction))


def norm(input: Any, p: float = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """The vector norm of order p over some dimensions, or all."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point tensor as input. Got "
            f"{type_name(input.dtype)}"
        )
    if input.dtype != promotion.compute_type(input.dtype) and p not in (0, math.inf, -math.inf):
        # A sum of powers leaves the range of float16 long before its root does.
        return norm(input.to(torch.float32), p, dim, keepdim).to(input.dtype)
    if p == 2 or p == "fro":
        return norm_root((input * input).sum(dim, keepdim))
    if p == math.inf:
        return amax(input.abs(), () if dim is None else dim, keepdim)
    if p == -math.inf:
        return amin(input.abs(), () if dim is None else dim, keepdim)
    if p == 0:
        return (input != 0).to(input.dtype).sum(dim, keepdim)
    if p == 1:
        return input.abs().sum(dim, keepdim)
    return (input.abs() ** p).sum(dim, keepdim) ** (1.0 / p)


def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(input))), shifted by the largest element so that nothing overflows."""
    dims = normal_dims(dim, input.ndim)
    if input.layout.numel == 0:
        return sum(input, dims, keepdim).log()
    largest = amax(input, dims, True).detach()
    largest = where(largest.abs() == math.inf, 0.0, largest)
    y = (input - largest).exp().sum(dims, True).log() + largest
    return y if keepdim else y.reshape(_kept_shape(tuple(input.shape), dims, False))


def trace(input: Any) -> Any:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return sum(input.diagonal())


def sum_to_size(x: Any, *size: Any) -> Any:
    """Sum over the dimensions in which ``size`` is 1 or missing."""
    from minitorch_triton.ops.views import shape_arguments

    target = shape_arguments(size)
    shape = tuple(x.shape)
    if target == shape:
        return x
    pad = len(shape) - len(target)
    dims = [d for d in range(len(shape)) if d < pad or (target[d - pad] == 1 and shape[d] != 1)]
    if pad < 0 or builtins.any(
        d >= pad and d not in dims and target[d - pad] != shape[d] for d in range(len(shape))
    ):
        raise RuntimeError(f"size {{{list(target)}}} is not expandable to size {{{list(shape)}}}.")
    return (sum(x, tuple(dims), True) if dims else x).reshape(target)


class ReducedElementwise(Elementwise):
    """Sum or mean of an elementwise function over all elements, in one kernel.

    Args:
        mean: whether the sum is divided by the number of elements.
    """

    def __init__(self, name: str, function: Any, derivatives: dict[str, Any], mean: bool):
        self.mean = mean
        super().__init__(name, function, derivatives, "float")

    def forward(self, *operands: Any) -> Any:
        tensors = [operand for operand in operands if not isinstance(operand, Number)]
        compute, dtype = self.types(operands)
        shape = broadcast_shapes(*[tensor.layout.shape for tensor in tensors])
        y = dispatch.empty((), dtype, tensors[0].device)
        n = math.prod(shape)
        if n == 0:
            fill_with(y, math.nan if self.mean else 0)
            return y
        apply_reduction(
            self.function,
            "sum",
            y,
            operands,
            shape,
            range(len(shape)),
            compute,
            mean_of=n if self.mean else 0,
        )
        return y

    def _upstream(self, g: Any, forms: Sequence[Any]) -> Any:
        shape = broadcast_shapes(*[form.shape for form in forms if form is not None])
        n = math.prod(shape)
        if self.mean and n:
            g = mul(g, 1 / n)
        return g.expand(shape)

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any, y: Any, *operands: Any) -> Any:
        return super().backward(needs, self._upstream(g, forms), forms, y, *operands)

    def recorded_backward(self, node: Any, grads: list, saved: list) -> Sequence:
        return super().recorded_backward(node, [self._upstream(grads[0], saved[0])], saved)

    def jvp(self, *args: Any, **kwargs: Any) -> list:
        """As any op's: with the sum behind it the Jacobian is not diagonal."""
        return dispatch.Op.jvp(self, *args, **kwargs)
