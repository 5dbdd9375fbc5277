"""Derivatives of whole functions: Jacobians, Hessians, and their products with vectors.

Every function takes ``func`` and its ``inputs`` (a tensor or a tuple), and returns derivatives in
the same arrangement. ``create_graph`` makes the results differentiable. ``strict`` turns into an
error what otherwise counts as zero: an output that does not depend on an input.

Products with the Jacobian from the right (``jvp``, ``hvp``) differentiate twice: the product
``v -> v^T J`` is linear in v, and its derivative is J itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd import forward_ad, modes
from minitorch_triton.autograd.api import grad
from minitorch_triton.autograd.node import is_tensor, make

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_ONLY_FOR_ONE_NUMBER = (
    "The vector v can only be None if the input to the user-provided function "
    "is a single Tensor with a single element."
)


def vjp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product ``v^T J`` of a vector with the Jacobian of ``func`` at ``inputs``.

    Args:
        func: a function of tensors that returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        v: of the shape of the output; may be left out where that has one element.
        create_graph: make the output and the product differentiable.
        strict: raise where an output does not depend on an input.

    Returns:
        the output of ``func``, and the product in the shape of ``inputs``.
    """
    with modes.enable_grad():
        call = _Call("vjp", func, inputs, create_graph, strict)
        outputs = call.run()
        if v is None:
            if len(outputs) != 1 or outputs[0].numel() != 1:
                raise RuntimeError(
                    "The vector v can only be None if the user-provided function returns a single "
                    "Tensor with a single element."
                )
        else:
            v = call.vector(v, outputs, call.several_outputs)
    with _graph_if(create_graph):
        found = _gradients(outputs, call.inputs, v, create_graph)
        product = call.zeros_for_none(found, call.inputs, _INDEPENDENT_OF_INPUT, "jacobian")
    return call.outputs_for_user(), call.like_inputs(product)


def jvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product ``J v`` of the Jacobian of ``func`` at ``inputs`` with a vector.

    Differentiates twice; :mod:`minitorch_triton.autograd.forward_ad` computes the same in one
    forward pass.

    Args:
        func: a function of tensors that returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        v: of the shape of ``inputs``; may be left out where that has one element.
        create_graph: make the output and the product differentiable.
        strict: raise where an output does not depend on an input.

    Returns:
        the output of ``func``, and the product in the shape of that output.
    """
    with modes.enable_grad():
        call = _Call("jvp", func, inputs, create_graph, strict)
        v = call.input_vector(v)
        outputs = call.run()
        weights = tuple(output.new_zeros(output.shape, requires_grad=True) for output in outputs)
        pulled_back = _gradients(outputs, call.inputs, weights, create_graph=True)
        if strict:
            for index, gradient in enumerate(pulled_back):
                if gradient is None:
                    raise RuntimeError(_INDEPENDENT_OF_INPUT.format(index))
                if not gradient.requires_grad:
                    raise RuntimeError(
                        f"The gradient with respect to input {index} is independent of the inputs "
                        "of the user-provided function. This is not allowed in strict mode."
                    )
    with _graph_if(create_graph):
        found = _gradients(pulled_back, weights, v, create_graph)
        product = call.zeros_for_none(
            found,
            outputs,
            "The gradient with respect to the input is independent of entry {} in the "
            "grad_outputs when using the double backward trick to compute forward mode gradients. "
            "This is not allowed in strict mode.",
            "jacobian",
        )
    return call.outputs_for_user(), call.like_outputs(product)


def jacobian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func`` at ``inputs``.

    Args:
        func: a function of tensors that returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        create_graph: make the result differentiable.
        strict: raise where an output does not depend on an input.
        vectorize: accepted for compatibility: rows are computed one after the other either way.
        strategy: "reverse-mode" makes one backward pass per element of the output,
            "forward-mode" one forward pass per element of the input.

    Returns:
        a tensor of shape ``output.shape + input.shape``; a tuple of them for several inputs or
        several outputs, a tuple of tuples ``[output][input]`` for both.
    """
    _check_strategy(strategy)
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    with modes.enable_grad():
        call = _Call("jacobian", func, inputs, create_graph, strict)
        outputs = call.run()
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
                "supported together. Please either set `strict=False` or `vectorize=False`."
            )
        blocks = []
        for number, output in enumerate(outputs):
            rows = []
            for unit in _construct_standard_basis_for((output,), (output.numel(),))[0]:
                row = _gradients(
                    (output,), call.inputs, (unit.view(output.shape),), create_graph, True
                )
                rows.append(
                    call.zeros_for_none(
                        row,
                        call.inputs,
                        f"Output {number} of the user-provided function is independent of input "
                        "{}. This is not allowed in strict mode.",
                        "jacobian",
                    )
                )
            blocks.append(_stacked(rows, output, call.inputs))
    return call.like_outputs([call.like_inputs(_detached(block, create_graph)) for block in blocks])


def hessian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The matrix of second derivatives of a function with one number as output.

    Args:
        func: a function of tensors that returns a tensor with one element.
        inputs: a tensor or a tuple of them.
        create_graph: make the result differentiable.
        strict: raise where a first derivative does not depend on an input.
        vectorize: accepted for compatibility.
        outer_jacobian_strategy: "reverse-mode" or "forward-mode", for the second derivative.

    Returns:
        a tensor of shape ``input.shape + input.shape``, or for a tuple of inputs a tuple of tuples
        of shape ``inputs[i].shape + inputs[j].shape``.
    """
    _check_strategy(outer_jacobian_strategy)
    several, _ = _tensors(inputs, "inputs", "hessian")

    def scalar(*args: Any) -> Any:
        output = func(*args)
        _one_number(output, "hessian", strict)
        return output.squeeze()

    def gradient(*args: Any) -> tuple:
        if outer_jacobian_strategy == "forward-mode":
            args = tuple(arg.requires_grad_() for arg in args)
        found = jacobian(scalar, args, create_graph=True)
        if strict:
            _depend_on_inputs(found)
        return found

    found = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if several else found[0]


def vhp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product ``v^T H`` of a vector with the Hessian of a function with one number as output.

    Args:
        func: a function of tensors that returns a tensor with one element.
        inputs: a tensor or a tuple of them.
        v: of the shape of ``inputs``; may be left out where that has one element.
        create_graph: make the output and the product differentiable.
        strict: raise where a derivative does not depend on an input.

    Returns:
        the output of ``func``, and the product in the shape of ``inputs``.
    """
    with modes.enable_grad():
        call = _Call("vhp", func, inputs, create_graph, strict)
        v = call.input_vector(v)
        first = call.first_derivative()
    with _graph_if(create_graph):
        found = _gradients(first, call.inputs, v, create_graph)
        product = call.zeros_for_none(
            found,
            call.inputs,
            "The jacobian of the user-provided function is independent of input {}. This is not "
            "allowed in strict mode.",
            "hessian",
        )
    return call.outputs_for_user(), call.like_inputs(product)


def hvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product ``H v`` of the Hessian of a function with one number as output with a vector.

    Equal to :func:`vhp` where the second derivatives are continuous, which is quicker.

    Args:
        func: a function of tensors that returns a tensor with one element.
        inputs: a tensor or a tuple of them.
        v: of the shape of ``inputs``; may be left out where that has one element.
        create_graph: make the output and the product differentiable.
        strict: raise where a derivative does not depend on an input.

    Returns:
        the output of ``func``, and the product in the shape of ``inputs``.
    """
    with modes.enable_grad():
        call = _Call("hvp", func, inputs, create_graph, strict)
        v = call.input_vector(v)
        first = call.first_derivative()
        weights = tuple(x.new_zeros(x.shape, requires_grad=True) for x in call.inputs)
        pulled_back = _gradients(first, call.inputs, weights, create_graph=True)
    with _graph_if(create_graph):
        found = _gradients(pulled_back, weights, v, create_graph)
        product = call.zeros_for_none(
            found,
            call.inputs,
            "The hessian of the user-provided function is independent of entry {} in the "
            "grad_jacobian. This is not allowed in strict mode as it prevents from using the "
            "double backward trick to replace forward mode AD.",
            "hessian",
        )
    return call.outputs_for_user(), call.like_inputs(product)


_INDEPENDENT_OF_INPUT = (
    "The output of the user-provided function is independent of input {}. This is not allowed in "
    "strict mode."
)


class _Call:
    """One call of the user's function, and the arrangement of its inputs and outputs.

    Args:
        caller: the public function, for messages.
        func, inputs, create_graph, strict: as given by the user.
    """

    def __init__(
        self, caller: str, func: Callable, inputs: Any, create_graph: bool, strict: bool
    ) -> None:
        self.caller = caller
        self.func = func
        self.create_graph = create_graph
        self.strict = strict
        self.several_inputs, inputs = _tensors(inputs, "inputs", caller)
        self.inputs = _of_their_own(inputs, create_graph, requires_grad=True)

    def run(self) -> tuple:
        """Call the function; its outputs as a tuple."""
        result = self.func(*self.inputs)
        self.several_outputs, self.outputs = _tensors(
            result, "outputs of the user-provided function", self.caller
        )
        if self.strict:
            _require_gradients(self.outputs)
        return self.outputs

    def first_derivative(self) -> tuple:
        """The differentiable gradient of the function's one number."""
        output = self.func(*self.inputs)
        _one_number(output, self.caller, self.strict)
        self.several_outputs, self.outputs = False, (output,)
        found = _gradients(self.outputs, self.inputs, None, create_graph=True)
        if self.strict:
            _depend_on_inputs(found)
        return found

    def vector(self, v: Any, others: Sequence, several: bool) -> tuple:
        """The user's v as a tuple, of the shapes of the others."""
        _, v = _tensors(v, "v", self.caller)
        v = _of_their_own(v, self.create_graph, requires_grad=False)
        if len(v) != len(others):
            if several:
                raise RuntimeError(
                    f"v is a tuple of invalid length: should be {len(others)} but got {len(v)}."
                )
            raise RuntimeError("The given v should contain a single Tensor.")
        for index, (part, other) in enumerate(zip(v, others, strict=True)):
            if part.shape != other.shape:
                which = f"Entry {index} in " if several else ""
                raise RuntimeError(
                    f"{which}v has invalid size: should be {other.shape} but got {part.shape}."
                )
        return v

    def input_vector(self, v: Any) -> tuple | None:
        """The user's v in the shapes of the inputs; None for a single number's."""
        if v is not None:
            return self.vector(v, self.inputs, self.several_inputs)
        if len(self.inputs) != 1 or self.inputs[0].numel() != 1:
            raise RuntimeError(_ONLY_FOR_ONE_NUMBER)
        return None

    def zeros_for_none(self, found: Sequence, like: Sequence, message: str, what: str) -> tuple:
        """Zeros where there is no gradient; under ``strict`` an error."""
        results = []
        for index, (gradient, reference) in enumerate(zip(found, like, strict=True)):
            if gradient is None:
                if self.strict:
                    raise RuntimeError(message.format(index))
                gradient = reference.new_zeros(reference.shape)
            elif self.strict and self.create_graph and not gradient.requires_grad:
                raise RuntimeError(
                    f"The {what} of the user-provided function is independent of input {index}. "
                    "This is not allowed in strict mode when create_graph=True."
                )
            results.append(gradient)
        return _detached(results, self.create_graph)

    def outputs_for_user(self) -> Any:
        return self.like_outputs(_detached(self.outputs, self.create_graph))

    def like_inputs(self, values: Sequence) -> Any:
        return tuple(values) if self.several_inputs else values[0]

    def like_outputs(self, values: Sequence) -> Any:
        return tuple(values) if self.several_outputs else values[0]


def _tensors(value: Any, what: str, caller: str) -> tuple[bool, tuple]:
    """Whether it is a tuple, and the tuple; an error for what is no tensor."""
    several = isinstance(value, tuple)
    parts = value if several else (value,)
    for index, part in enumerate(parts):
        if not is_tensor(part):
            which = f"value at index {index}" if several else f"given {what}"
            raise TypeError(
                f"The {what} given to {caller} must be either a Tensor or a tuple of Tensors but "
                f"the {which} has type {type(part)}."
            )
    return several, parts


def _of_their_own(tensors: Sequence, create_graph: bool, requires_grad: bool) -> tuple:
    """New tensor objects, so that one that the function finds elsewhere is not an input."""
    return tuple(
        tensor.view_as(tensor)
        if create_graph and tensor.requires_grad
        else tensor.detach().requires_grad_(requires_grad)
        for tensor in tensors
    )


def _detached(tensors: Sequence, create_graph: bool) -> tuple:
    return tuple(tensors) if create_graph else tuple(tensor.detach() for tensor in tensors)


def _graph_if(create_graph: bool) -> Any:
    return modes.set_grad_enabled(create_graph or modes.is_grad_enabled())


def _gradients(
    outputs: Sequence,
    inputs: Sequence,
    upstream: Sequence | None,
    create_graph: bool,
    retain_graph: bool | None = None,
) -> tuple:
    """``grad`` of those outputs that have one; None for every input if there is none."""
    given = (None,) * len(outputs) if upstream is None else upstream
    pairs = [
        pair
        for pair in zip(outputs, given, strict=True)
        if pair[0] is not None and pair[0].requires_grad
    ]
    if not pairs:
        return (None,) * len(inputs)
    return grad(
        [output for output, _ in pairs],
        inputs,
        [weight for _, weight in pairs],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
    )


def _one_number(output: Any, caller: str, strict: bool) -> None:
    """Raise unless the function returned a tensor with one element."""
    several, outputs = _tensors(output, "outputs of the user-provided function", caller)
    if strict:
        _require_gradients(outputs)
    if several:
        raise RuntimeError(f"The function given to {caller} should return a single Tensor")
    if output.numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {caller} should contain a single element"
        )


def _require_gradients(outputs: Sequence) -> None:
    for index, output in enumerate(outputs):
        if not output.requires_grad:
            raise RuntimeError(
                f"Output {index} of the user-provided function does not require gradients. The "
                "outputs must be computed in a differentiable manner from the input when running "
                "in strict mode."
            )


def _depend_on_inputs(first: Sequence) -> None:
    """Raise where a first derivative is missing or constant."""
    for index, gradient in enumerate(first):
        if gradient is None:
            raise RuntimeError(_INDEPENDENT_OF_INPUT.format(index))
        if not gradient.requires_grad:
            raise RuntimeError(
                "While computing the hessian, found that the jacobian of the user-provided "
                f"function with respect to input {index} is independent of the input. This is not "
                "allowed in strict mode. You should ensure that your function is twice "
                "differentiable and that the jacobian depends on the inputs (this would be "
                "violated by a linear function for example)."
            )


def _check_strategy(strategy: str) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )


def _construct_standard_basis_for(tensors: Sequence, numels: Sequence[int]) -> tuple:
    """The rows of the identity matrix over all elements, cut into a block per tensor.

    Returns:
        for each tensor a matrix with one row per element of all tensors together.
    """
    total = sum(numels)
    blocks = []
    start = 0
    for tensor, numel in zip(tensors, numels, strict=True):
        block = tensor.new_zeros(total, numel)
        block[start : start + numel].view(-1)[:: numel + 1].fill_(1)
        blocks.append(block)
        start += numel
    return tuple(blocks)


def _stacked(rows: Sequence[Sequence], output: Any, inputs: Sequence) -> list:
    """One tensor of shape ``output.shape + input.shape`` per input."""
    return [
        make.stacked([row[index] for row in rows], 0).view(output.shape + x.shape)
        if rows
        else x.new_zeros(output.shape + x.shape)
        for index, x in enumerate(inputs)
    ]


def _forward_jacobian(
    func: Callable, inputs: Any, create_graph: bool, strict: bool, vectorize: bool
) -> Any:
    """The Jacobian column by column: one forward pass per element of the inputs."""
    if create_graph:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and "
            '`strategy="forward-mode"` are not supported together (yet). Please either set '
            '`create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are '
            "not supported together (yet). Please either set `strict=False` or "
            '`strategy="reverse-mode"`.'
        )
    several, inputs = _tensors(inputs, "inputs", "jacobian")
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only "
            "implemented for `vectorize=True`."
        )
    basis = _construct_standard_basis_for(inputs, [x.numel() for x in inputs])
    several_outputs = False
    columns: list[tuple] = []
    outputs: tuple = ()
    for number in range(sum(x.numel() for x in inputs)):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(x, block[number].view(x.shape))
                for x, block in zip(inputs, basis, strict=True)
            ]
            several_outputs, outputs = _tensors(
                func(*duals), "outputs of the user-provided function", "jacobian"
            )
            unpacked = [forward_ad.unpack_dual(output) for output in outputs]
            columns.append(
                tuple(
                    primal.new_zeros(primal.shape) if tangent is None else tangent.detach()
                    for primal, tangent in unpacked
                )
            )
    blocks = []
    for index, output in enumerate(outputs):
        parts = []
        start = 0
        for x in inputs:
            own = [column[index] for column in columns[start : start + x.numel()]]
            start += x.numel()
            parts.append(_as_last_dims(own, output, x))
        blocks.append(tuple(parts) if several else parts[0])
    return tuple(blocks) if several_outputs else blocks[0]


def _as_last_dims(columns: Sequence, output: Any, x: Any) -> Any:
    """Columns of shape ``output.shape`` as one tensor of shape ``output.shape + x.shape``."""
    if not columns:
        return output.new_zeros(output.shape + x.shape)
    return make.stacked(columns, -1).view(output.shape + x.shape)
