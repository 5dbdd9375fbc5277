"""Matrix products: the general one with its gradients, and a linear layer with everything fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from minitorch_triton.kernels import matmul as kernels
from minitorch_triton.ops import creation, dispatch, pointwise, reductions
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.ops.output import write_out
from minitorch_triton.storage import Layout

_INPUT_PRECISION = {"highest": "ieee", "high": "tf32", "medium": "tf32"}
_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """How exact float32 products are on a GPU: "highest" is float32, the others TF32."""
    global _precision
    if precision not in _INPUT_PRECISION:
        raise RuntimeError(
            f"invalid float32_matmul_precision {precision!r}: expected one of "
            f"{', '.join(_INPUT_PRECISION)}"
        )
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was called with last."""
    return _precision


def multiply(a: Any, b: Any, shape: Sequence[int], **options: Any) -> Any:
    """A new tensor of ``shape`` with the product; options as of ``kernels.matmul.matmul``.

    Batch dimensions that are not in ``shape``, or have size 1 there alone, are summed over.
    """
    c = dispatch.empty(shape, a.dtype, a.device)
    try:
        kernels.matmul(c, a, b, **options)
        return c
    except ValueError:
        # Batches whose strides do not fold: write the operands, or the whole product, out.
        batch = pointwise.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        a = creation.contiguous(a.expand(*batch, *a.shape[-2:]))
        b = creation.contiguous(b.expand(*batch, *b.shape[-2:]))
        full = dispatch.empty((*batch, *shape[-2:]), a.dtype, a.device)
        kernels.matmul(full, a, b, **options)
        return reductions.sum_to_size(full, *shape)


class Product(Op):
    """``alpha * a @ b``, each transposed or not, summed over batch dimensions down to a shape."""

    composed = True

    def forward(
        self,
        a: Any,
        b: Any,
        transpose_a: bool,
        transpose_b: bool,
        shape: tuple[int, ...],
        alpha: float,
        precision: str,
    ) -> Any:
        return multiply(
            a,
            b,
            shape,
            transpose_a=transpose_a,
            transpose_b=transpose_b,
            alpha=alpha,
            input_precision=_INPUT_PRECISION[precision],
        )

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        a: Any,
        b: Any,
        transpose_a: bool,
        transpose_b: bool,
        alpha: float,
        precision: str,
    ) -> Any:
        # C = A B: dA = dC B^T and dB = A^T dC; an operand that was transposed gets its transpose.
        da = db = None
        if needs[0] and transpose_a:
            da = self(b, g, transpose_b, True, tuple(a.shape), alpha, precision)
        elif needs[0]:
            da = self(g, b, False, not transpose_b, tuple(a.shape), alpha, precision)
        if needs[1] and transpose_b:
            db = self(g, a, True, transpose_a, tuple(b.shape), alpha, precision)
        elif needs[1]:
            db = self(a, g, not transpose_a, False, tuple(b.shape), alpha, precision)
        return da, db


class Addmm(Op):
    """``beta * input + alpha * a @ b``."""

    composed = True

    def forward(self, input: Any, a: Any, b: Any, beta: float, alpha: float, precision: str) -> Any:
        return multiply(
            a,
            b,
            (*a.shape[:-1], b.shape[-1]),
            bias=input if beta != 0 else None,
            beta=beta,
            alpha=alpha,
            input_precision=_INPUT_PRECISION[precision],
        )

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        forms: Any,
        a: Any,
        b: Any,
        beta: float,
        alpha: float,
        precision: str,
    ) -> Any:
        d_input = da = db = None
        if needs[0]:
            scaled = g if beta == 1 else pointwise.mul(g, beta)
            d_input = reductions.sum_to_size(scaled, *forms[0].shape)
        if needs[1]:
            da = _mm(g, b, False, True, tuple(a.shape), alpha, precision)
        if needs[2]:
            db = _mm(a, g, True, False, tuple(b.shape), alpha, precision)
        return d_input, da, db


class Linear(Op):
    """``x @ w^T + bias`` in one launch; its gradients in one each."""

    unread = ("bias",)

    def forward(self, x: Any, w: Any, bias: Any, precision: str) -> Any:
        y = dispatch.empty((*x.shape[:-1], w.shape[0]), x.dtype, x.device)
        _launch_linear(y, x, w, bias, precision)
        return y

    def backward(
        self, needs: tuple[bool, ...], g: Any, x: Any, w: Any, forms: Any, precision: str
    ) -> Any:
        return _linear_gradients(needs, g, x, w, forms[2], precision)

    def decompose(self, x: Any, w: Any, bias: Any, precision: str) -> Any:
        y = matmul(x, w.t())
        return y if bias is None else y + bias


class LinearActivation(Op):
    """``activation(x @ w^T + bias)`` in one launch; its gradients in three.

    ``saved`` is what the derivative of the activation needs besides the upstream gradient: the
    output, or else the value before the activation.
    """

    outputs = ("y", "saved")
    unread = ("bias",)

    def forward(self, x: Any, w: Any, bias: Any, activation: Any, precision: str) -> Any:
        y = dispatch.empty((*x.shape[:-1], w.shape[0]), x.dtype, x.device)
        options = {"activation": activation.function}
        saved = y.detach()
        if activation.derivatives[0].arg_names[1] == "x":
            saved = dispatch.empty(y.shape, x.dtype, x.device)
            options["pre_activation"] = saved
        _launch_linear(y, x, w, bias, precision, **options)
        return y, saved

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        x: Any,
        w: Any,
        forms: Any,
        activation: Any,
        precision: str,
        saved: Any,
    ) -> Any:
        derivative = activation.derivatives[0]
        return _linear_gradients(needs, g, x, w, forms[2], precision, derivative, saved)

    def decompose(self, x: Any, w: Any, bias: Any, activation: Any, precision: str) -> Any:
        y = matmul(x, w.t())
        return activation(y if bias is None else y + bias)


def _launch_linear(y: Any, x: Any, w: Any, bias: Any, precision: str, **options: Any) -> None:
    options["input_precision"] = _INPUT_PRECISION[precision]
    kernels.matmul(y, _foldable(x), w, transpose_b=True, bias=bias, **options)


def _linear_gradients(
    needs: tuple[bool, ...],
    g: Any,
    x: Any,
    w: Any,
    bias: Any,
    precision: str,
    derivative: Any = None,
    saved: Any = None,
) -> Any:
    """The gradients of x, w and bias (given as a layout or None), as far as they are needed."""
    g = _foldable(g)
    dx = dw = db = None
    if needs[2]:
        db = dispatch.empty(bias.shape, bias.dtype, bias.device)
    if derivative is not None or needs[2]:
        d = None if derivative is None else dispatch.empty(g.shape, g.dtype, g.device)
        kernels.linear_gradient(g, d=d, row_sum=db, derivative=derivative, saved=saved)
        g = g if d is None else d
    exact = _INPUT_PRECISION[precision]
    if needs[0]:
        dx = dispatch.empty(x.shape, x.dtype, x.device)
        kernels.matmul(dx, g, w, input_precision=exact)
    if needs[1]:
        dw = dispatch.empty(w.shape, w.dtype, w.device)
        kernels.matmul(dw, g, _foldable(x), transpose_a=True, input_precision=exact)
    return dx, dw, db


def _foldable(x: Any) -> Any:
    """``x``, or a contiguous copy where its leading dimensions have no common stride."""
    return x if x.ndim <= 2 else creation.contiguous(x)


_mm, _bmm, _mv, _dot = Product("Mm"), Product("Bmm"), Product("Mv"), Product("Dot")
_addmm, _baddbmm = Addmm("Addmm"), Addmm("Baddbmm")
_linear, _linear_activation = Linear("Addmm"), LinearActivation("LinearActivation")


def fuses(activation: Any) -> bool:
    """Whether :func:`linear` can take in an activation: one input, derivative of g and x or y."""
    if not isinstance(activation, pointwise.Elementwise) or len(activation.parameters) != 1:
        return False
    derivative = activation.derivatives[0]
    names = [] if derivative is None else list(derivative.arg_names)
    return names in (["g", "x"], ["g", "y"])


def _forms(name: str, *tensors: Any) -> list[Layout]:
    """The layouts of tensors of one dtype that has products, on one device; else an error."""
    try:
        forms = [tensor.layout for tensor in tensors]
    except AttributeError:
        wrong = next(tensor for tensor in tensors if not isinstance(tensor, dispatch.Tensor))
        raise TypeError(f"{name}(): argument must be Tensor, not {type(wrong).__name__}") from None
    _check_forms(name, *forms)
    return forms


@lru_cache
def _check_forms(name: str, first: Layout, *others: Layout) -> None:
    """What :func:`_forms` checks; what passed once is remembered."""
    for form in (first, *others):
        if not isinstance(form, Layout):  # a torch.Tensor has something else of that name
            raise TypeError(
                f"{name}(): argument must be minitorch_triton's Tensor, not torch.Tensor; see "
                "from_torch"
            )
    for other in others:
        if other.device != first.device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{first.device} and {other.device}!"
            )
        if other.dtype != first.dtype:
            names = dispatch.type_name(first.dtype), dispatch.type_name(other.dtype)
            if name in ("linear", "addmm"):
                raise RuntimeError(
                    f"mat1 and mat2 must have the same dtype, but got {names[0]} and {names[1]}"
                )
            raise RuntimeError(
                f"expected {name}'s operands to have the same dtype, but got: "
                f"{names[0]} != {names[1]}"
            )
    if first.dtype == torch.bool:
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")


def _check_inner(a: Any, b: Any) -> None:
    """Raise unless a's rows are as long as b's columns."""
    if a.shape[-1] != b.shape[-2]:
        rows = math.prod(a.shape[:-1])
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.shape[-1]} and "
            f"{b.shape[-2]}x{b.shape[-1]})"
        )


def mm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """The product of two matrices: (M, K) @ (K, N)."""
    if out is not None:
        return write_out("mm", out, (input, mat2), lambda: mm(input, mat2))
    a, b = _forms("mm", input, mat2)
    if len(a.shape) != 2:
        raise RuntimeError("self must be a matrix")
    if len(b.shape) != 2:
        raise RuntimeError("mat2 must be a matrix")
    _check_inner(a, b)
    return _mm(input, mat2, False, False, (a.shape[0], b.shape[1]), 1.0, _precision)


def bmm(input: Any, mat2: Any) -> Any:
    """The products of two stacks of matrices: (B, M, K) @ (B, K, N)."""
    _forms("bmm", input, mat2)
    if input.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if mat2.ndim != 3:
        raise RuntimeError("batch2 must be a 3D tensor")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{input.shape[0]}, {input.shape[2]}] but got: [{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    shape = (*input.shape[:2], mat2.shape[2])
    return _bmm(input, mat2, False, False, shape, 1.0, _precision)


def mv(input: Any, vec: Any) -> Any:
    """Matrix times vector: (M, K) @ (K,)."""
    _forms("mv", input, vec)
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}"
        )
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({input.shape[0]}x"
            f"{input.shape[1]}), vec ({vec.shape[0]})"
        )
    column = vec.unsqueeze(1)
    return _mv(input, column, False, False, (input.shape[0], 1), 1.0, _precision).squeeze(1)


def dot(input: Any, tensor: Any) -> Any:
    """The inner product of two vectors of the same length."""
    _forms("dot", input, tensor)
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.shape != tensor.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{input.shape[0]}] and src "
            f"[{tensor.shape[0]}] to have the same number of elements, but got {input.shape[0]} "
            f"and {tensor.shape[0]} elements respectively"
        )
    row, column = input.unsqueeze(0), tensor.unsqueeze(1)
    return _dot(row, column, False, False, (1, 1), 1.0, _precision).reshape(())


def outer(input: Any, vec2: Any) -> Any:
    """The products of each element of one vector with each of another: (M,), (N,) to (M, N)."""
    for name, vector in (("self", input), ("vec2", vec2)):
        if vector.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {vector.ndim}-D")
    return input.reshape(-1, 1) * vec2


def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input @ other``: vectors, matrices, and stacks of matrices that broadcast.

    Args:
        input: (K,), or (..., M, K).
        other: (K,), or (..., K, N) of the same dtype.

    Raises:
        RuntimeError: the sizes do not fit.
    """
    if out is not None:
        return write_out("matmul", out, (input, other), lambda: matmul(input, other))
    first, second = _forms("matmul", input, other)
    if len(first.shape) == len(second.shape) == 2:
        _check_inner(first, second)
        shape = (first.shape[0], second.shape[1])
        return _mm(input, other, False, False, shape, 1.0, _precision)
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{input.ndim}D and {other.ndim}D"
        )
    if input.ndim == 1 and other.ndim == 1:
        return dot(input, other)
    if input.ndim == 2 and other.ndim == 1:
        return mv(input, other)
    a = input.unsqueeze(0) if input.ndim == 1 else input
    b = other.unsqueeze(1) if other.ndim == 1 else other
    _check_inner(a, b)
    batch = pointwise.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    c = _bmm(a, b, False, False, (*batch, a.shape[-2], b.shape[-1]), 1.0, _precision)
    if input.ndim == 1:
        c = c.squeeze(-2)
    return c.squeeze(-1) if other.ndim == 1 else c


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``beta * input + alpha * mat1 @ mat2``; ``input`` broadcasts, beta 0 leaves it unread."""
    _forms("addmm", input, mat1, mat2)
    if mat1.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(
            f"mat1 must be a matrix, got {mat1.ndim}-D tensor"
            if mat1.ndim != 2
            else f"mat2 must be a matrix, got {mat2.ndim}-D tensor"
        )
    _check_inner(mat1, mat2)
    _check_expands(input, (mat1.shape[0], mat2.shape[1]))
    return _addmm(input, mat1, mat2, float(beta), float(alpha), _precision)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``beta * input + alpha * batch1 @ batch2`` for stacks (B, M, K) and (B, K, N)."""
    _forms("baddbmm", input, batch1, batch2)
    if batch1.ndim != 3 or batch2.ndim != 3:
        raise RuntimeError(
            "batch1 must be a 3D tensor" if batch1.ndim != 3 else "batch2 must be a 3D tensor"
        )
    if batch1.shape[0] != batch2.shape[0] or batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{batch1.shape[0]}, {batch1.shape[2]}] but got: [{batch2.shape[0]}, "
            f"{batch2.shape[1]}]."
        )
    _check_expands(input, (*batch1.shape[:2], batch2.shape[2]))
    return _baddbmm(input, batch1, batch2, float(beta), float(alpha), _precision)


def _check_expands(input: Any, shape: tuple[int, ...]) -> None:
    sizes = tuple(input.shape)
    padded = (1,) * (len(shape) - len(sizes)) + sizes
    if len(padded) != len(shape) or any(
        size not in (1, full) for size, full in zip(padded, shape, strict=True)
    ):
        raise RuntimeError(
            f"The expanded size of the tensor {shape} must match the existing size {sizes}"
        )


def linear(input: Any, weight: Any, bias: Any = None, activation: Any = None) -> Any:
    """A linear layer, ``activation(input @ weight^T + bias)``.

    Args:
        input: (..., in).
        weight: (out, in), or (in,) without ``bias``'s dimension.
        bias: (out,), or None.
        activation: an elementwise op of one input (``ops.pointwise.relu``, ...), or None.

    Raises:
        RuntimeError: the sizes do not fit.
    """
    operands = (input, weight) if bias is None else (input, weight, bias)
    x_form, w_form, *_ = _forms("linear", *operands)
    x_shape, w_shape = x_form.shape, w_form.shape
    if not x_shape or not w_shape:
        raise RuntimeError(
            "both arguments to linear need to be at least 1D, but they are "
            f"{len(x_shape)}D and {len(w_shape)}D"
        )
    usual = len(w_shape) == 2 and (bias is None or bias.layout.shape == w_shape[:1])
    if not usual or (activation is not None and not fuses(activation)):
        y = matmul(input, weight.t())
        y = y if bias is None else y + bias
        return y if activation is None else activation(y)
    if x_shape[-1] != w_shape[1]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({math.prod(x_shape[:-1])}x{x_shape[-1]} "
            f"and {w_shape[1]}x{w_shape[0]})"
        )
    x = input if len(x_shape) > 1 else input.unsqueeze(0)
    if activation is None:
        y = _linear(x, weight, bias, _precision)
    else:
        y = _linear_activation(x, weight, bias, activation, _precision)
    return y if len(x_shape) > 1 else y.squeeze(0)
