"""``Function``: an operation with a hand-written derivative, as in PyTorch.

A class written for PyTorch works after changing its import. The context ``ctx`` that ``forward``
and ``backward`` get is the graph node itself.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd import forward_ad, modes
from minitorch_triton.autograd.inplace import BY_FUNCTION, ONE_OF_SEVERAL, check_inplace
from minitorch_triton.autograd.node import (
    FREED,
    Node,
    RawSavedTensor,
    SavedTensor,
    is_tensor,
    make,
)

__all__ = ["Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class FunctionCtx(Node):
    """What ``forward`` notes for ``backward``."""

    takes_undefined = True
    needs_input_grad: tuple[bool, ...]
    _forward_class: type[Function]

    def __init__(self) -> None:
        super().__init__((), ())
        self._to_save: tuple = ()
        self._saved: list | None = []
        self._was_accessed = False
        self._for_forward: tuple = ()
        self._in_jvp = False
        self._non_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True
        # Whether also the missing gradients of outputs marked non-differentiable become zeros.
        self._materialize_non_diff_grads = True
        # Whether forward makes a view and nothing else: written to, it is made again from its base.
        self._is_pure_view = False
        # For each argument of forward, whether it is a tensor.
        self._is_tensor: list[bool] = []
        # For each result of forward, whether a missing gradient is filled in with zeros.
        self._filled_in: list[bool] = []

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs or outputs (tensors or None) for backward.

        Raises:
            TypeError: an argument is neither a tensor nor None.
        """
        for number, tensor in enumerate(tensors):
            if tensor is not None and not is_tensor(tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {number} is of type "
                    f"{type(tensor).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep inputs or outputs (tensors or None) for ``jvp``."""
        if not all(tensor is None or is_tensor(tensor) for tensor in tensors):
            raise AssertionError(
                "save_for_forward expects all arguments to be tensors; you should save non-tensors "
                "as attributes on ctx."
            )
        self._for_forward = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Name the inputs that forward changed in place; they must be outputs too."""
        for number, tensor in enumerate(tensors):
            if not is_tensor(tensor):
                raise RuntimeError(
                    f"mark_dirty can only accept variables, but argument {number} is of type "
                    f"{type(tensor).__name__}"
                )
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name the outputs that have no gradient."""
        for tensor in tensors:
            if not is_tensor(tensor):
                raise RuntimeError(
                    "mark_non_differentiable only accepts variable arguments, but got "
                    f"{type(tensor).__name__}"
                )
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients and tangents arrive as zeros (default) or as None."""
        if not isinstance(value, bool):
            raise TypeError(
                "set_materialize_grads received an invalid combination of arguments - got "
                f"({type(value).__name__}), but expected (bool)"
            )
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        """In backward what ``save_for_backward`` kept, in ``jvp`` what ``save_for_forward`` did.

        Raises:
            RuntimeError: it was freed, or changed in place.
        """
        if self._in_jvp:
            return self._for_forward
        tensors = tuple(
            None if saved is None else saved.unpack(self) for saved in self.saved_values().values()
        )
        if self._forward_class.clear_saved_tensors_on_access:
            self._saved, self._was_accessed = None, True
        return tensors

    def saved_values(self) -> dict[int, Any]:
        """What ``save_for_backward`` kept, by number."""
        if self._saved is None:
            if self._was_accessed:
                raise RuntimeError(
                    "saved_tensors can only be accessed once when "
                    "clear_saved_tensors_on_access=True is set on the autograd.Function. Either "
                    "access saved_tensors only once, or set clear_saved_tensors_on_access=False."
                )
            raise RuntimeError(FREED)
        return dict(enumerate(self._saved))

    @property
    def _raw_saved_tensors(self) -> tuple[RawSavedTensor, ...]:
        return tuple(RawSavedTensor.of(self, number) for number in self.saved_values())

    @property
    def saved_variables(self) -> tuple:
        """The older name of :attr:`saved_tensors`."""
        warnings.warn(
            "'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2
        )
        return self.saved_tensors

    def apply(self, grads: list) -> Sequence:
        if self._materialize:
            grads = [
                make.filled(form, 0) if grad is None and wanted else grad
                for grad, form, wanted in zip(grads, self.outputs, self._filled_in, strict=True)
            ]
        results = self._forward_class._backward_of_user()(self, *grads)
        return self._checked(results if isinstance(results, tuple) else (results,))

    def _checked(self, results: tuple) -> list:
        """The gradients of the tensors among forward's arguments."""
        expected = len(self._is_tensor)
        if len(results) < expected or any(result is not None for result in results[expected:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients "
                f"(expected {expected}, got {len(results)})"
            )
        kept = []
        for number, (result, tensor) in enumerate(zip(results, self._is_tensor, strict=False)):
            if tensor:
                if result is not None and not is_tensor(result):
                    raise RuntimeError(f"expected Variable or None (got {type(result).__name__})")
                kept.append(result)
            elif result is not None:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different than None at position "
                    f"{number + 1}, but the corresponding forward input was not a Variable"
                )
        return kept

    def release(self) -> None:
        if self._saved:
            self._saved = None

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{self.name()} object at {hex(id(self))}>"


OF_NODES = {
    "_input_metadata", "_register_hook_dict", "_sequence_nr", "_set_sequence_nr", "name",
    "next_functions", "register_hook", "register_prehook",
}  # fmt: skip
"""What a node has; an instance of a ``Function``, which is none, must not be asked for it."""


class Function:
    """Subclass with static ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; call ``apply``.

    Alternatively ``forward(*args)`` with ``setup_context(ctx, inputs, output)``. A static
    ``jvp(ctx, *tangents)`` makes the function work in forward mode.
    """

    _backward_cls: type[FunctionCtx]
    generate_vmap_rule = False
    clear_saved_tensors_on_access = False
    """Whether reading ``ctx.saved_tensors``, then possible once, leaves backward their only owner:
    a tensor that it deletes is freed while it runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself. Instantiating an autograd "
            "function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method."
        )

    def __getattr__(self, name: str) -> Any:
        if name == "metadata":
            raise RuntimeError(
                "You attempted to access the anomaly metadata of a custom autograd function but "
                "the underlying PyNode has already been deallocated. An instance of a Function is "
                "no node: that is the grad_fn of what apply() returns."
            )
        if name in OF_NODES:
            raise RuntimeError(
                f"Attribute '{name}' is invalid for this instance of {type(self).__name__}. "
                "Accessing this attribute directly on an instance of autograd.Function is a legacy "
                "access pattern that is no longer supported."
            )
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._backward_cls = type(
            f"{cls.__name__}Backward",
            (FunctionCtx,),
            {"_forward_class": cls, "__module__": __name__},
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The operation, of ``(ctx, *args)``, or of ``args`` alone beside ``setup_context``."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> Any:
        """What ``forward`` would do with ``ctx``, if ``forward`` gets none."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradients of forward's arguments from those of its outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The tangents of the outputs from those of forward's arguments."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        """PyTorch's rule for vmap, which minitorch_triton does not have."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or "
            "set generate_vmap_rule=True."
        )

    @classmethod
    def _backward_of_user(cls) -> Callable:
        own_backward = cls.backward is not Function.backward
        own_vjp = cls.vjp is not Function.vjp
        if own_backward and own_vjp:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
                "should only implement one of them."
            )
        return cls.vjp if own_vjp else cls.backward

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward; record a node if an input requires a gradient."""
        sets_up = cls.setup_context is not Function.setup_context
        ctx = cls._backward_cls()
        if sets_up:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        elif kwargs:
            args = inspect.signature(cls.forward).bind(ctx, *args, **kwargs).args[1:]
        ctx._is_tensor = [is_tensor(arg) for arg in args]
        ctx.needs_input_grad = tuple(is_tensor(arg) and arg.requires_grad for arg in args)
        level, modes.state.dual_level = modes.state.dual_level, None
        try:
            with modes.set_grad_enabled(False):
                if sets_up:
                    outputs = cls.forward(*args)
                    cls.setup_context(ctx, args, outputs)
                else:
                    outputs = cls.forward(ctx, *args)
            modes.state.dual_level = level
            results = list(outputs) if isinstance(outputs, tuple) else [outputs]
            results = _finished(ctx, args, results, level)
        finally:
            modes.state.dual_level = level
            # What forward noted is of no more use, and would keep the outputs alive, and they the
            # node; also where a hook for saved tensors has raised.
            ctx._to_save = ctx._for_forward = ctx._dirty = ctx._non_differentiable = ()
        return tuple(results) if isinstance(outputs, tuple) else results[0]


Function._backward_cls = type("FunctionBackward", (FunctionCtx,), {"_forward_class": Function})


class InplaceFunction(Function):
    """PyTorch's base for functions with an ``inplace`` option; the same as :class:`Function`."""


def _among(tensor: Any, others: Sequence) -> bool:
    return any(tensor is other for other in others)


def _finished(ctx: FunctionCtx, args: Sequence, results: list, level: Any) -> list:
    """The results as the caller gets them, with their place in the graph and their tangents."""
    for tensor in ctx._dirty:
        tensor.storage.written()
    if ctx._is_pure_view and (sum(ctx._is_tensor) != 1 or sum(map(is_tensor, results)) != 1):
        raise RuntimeError(
            "Pure view custom Function can only have one input Tensor and one output Tensor. "
            "Open an issue if you need to support more."
        )
    if modes.state.grad_enabled and any(ctx.needs_input_grad):
        results = _link(ctx, args, results)
    else:
        results = [
            _own_view(ctx, args, result) if is_tensor(result) else result for result in results
        ]
    if level is not None:
        _push_forward(ctx, args, results, level)
    return results


def _link(ctx: FunctionCtx, args: Sequence, results: list) -> list:
    """Put the node behind the outputs."""
    _check_dirty(ctx, args, results)
    tensors = [arg for arg in args if is_tensor(arg)]
    ctx.next_edges = tuple(arg.grad_edge() if arg.requires_grad else None for arg in tensors)
    linked = [_own_output(ctx, args, result) if is_tensor(result) else result for result in results]
    ctx.outputs = tuple(own.layout if is_tensor(own) else None for own in linked)
    ctx._filled_in = [
        is_tensor(result) and (ctx._materialize_non_diff_grads or _is_differentiable(ctx, result))
        for result in results
    ]
    numbers: dict[int, int] = {}
    dirty_view = None
    several = sum(_is_differentiable(ctx, result) for result in results) > 1
    for number, (output, own) in enumerate(zip(results, linked, strict=True)):
        if not is_tensor(output):
            continue
        if not _among(output, args) or _among(output, ctx._dirty):
            numbers[id(output)] = number
        if not _is_differentiable(ctx, output):
            continue
        if _among(output, ctx._dirty):
            if own._view is None:
                own.rebase(ctx, number)
            else:
                dirty_view = own
        else:
            own.rebase(ctx, number)
            if own._view is not None:
                own._unrewritable = _why_unrewritable(ctx, several)
    ctx._saved = [
        None if tensor is None else SavedTensor(tensor, numbers.get(id(tensor)))
        for tensor in ctx._to_save
    ]
    if dirty_view is not None:
        dirty_view.rebase_inplace(ctx, [arg is dirty_view for arg in tensors].index(True))
    return linked


def _check_dirty(ctx: FunctionCtx, args: Sequence, results: Sequence) -> None:
    """Raise where forward must not have changed an input in place."""
    for tensor in ctx._dirty:
        if not _among(tensor, results):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the Function."
            )
        if not _among(tensor, args):
            text = (
                "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that "
                "have been mutated should be passed to ctx.mark_dirty()."
            )
            if tensor._is_view():
                raise RuntimeError(text)
            warnings.warn(text, stacklevel=4)
            continue
        if tensor._view is None and tensor.is_leaf and tensor.requires_grad:
            raise RuntimeError(
                "a leaf Variable that requires grad has been used in an in-place operation."
            )
        check_inplace(tensor)
        if tensor._view is not None and sum(map(is_tensor, results)) > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your "
                "Function cannot return more than one Tensor. This is not supported by the current "
                "autograd engine. You should either make sure the input is not a view (using "
                ".clone() for example) or make your Function only return one Tensor (potentially "
                "splitting it into two Functions: one doing the inplace that returns a single "
                "Tensor and a second one that does the other operations)."
            )


def _is_differentiable(ctx: FunctionCtx, result: Any) -> bool:
    return (
        is_tensor(result)
        and result.dtype.is_floating_point
        and not _among(result, ctx._non_differentiable)
    )


def _own_view(ctx: FunctionCtx, args: Sequence, output: Any) -> Any:
    """An output outside the graph; the history of a view that a Function made stays as it is."""
    if _among(output, ctx._dirty):
        return output
    if _among(output, args):
        if output.requires_grad:
            return output.detach()
        with modes.set_grad_enabled(False):
            output = output.view_as(output)
    if output._view is not None:
        output._unrewritable = _why_unrewritable(ctx)
    return output


def _why_unrewritable(ctx: FunctionCtx, several: bool = False) -> str | None:
    """What forbids to rewrite the history of a view that a Function returns, if anything does."""
    if ctx._is_pure_view:
        return None
    return ONE_OF_SEVERAL if several else BY_FUNCTION


def _own_output(ctx: FunctionCtx, args: Sequence, output: Any) -> Any:
    """The tensor to return for an output: itself, but a new one for an input that is unchanged."""
    if not _is_differentiable(ctx, output):
        return output.detach()
    if _among(output, args) and not _among(output, ctx._dirty):
        with modes.set_grad_enabled(False):
            return output.view_as(output)
    return output


def _push_forward(ctx: FunctionCtx, args: Sequence, results: list, level: Any) -> None:
    """Give the outputs the tangents that the user's ``jvp`` computes, if an input has one."""
    if all(not is_tensor(arg) or arg._tangent is None for arg in args):
        return
    tangents = []
    for arg in args:
        tangent = arg._tangent if is_tensor(arg) else None
        if tangent is None and is_tensor(arg) and arg.is_floating_point() and ctx._materialize:
            tangent = arg.new_zeros(arg.shape)
        tangents.append(tangent)
    versions = [None if tangent is None else tangent._version for tangent in tangents]
    modes.state.dual_level = None
    ctx._in_jvp = True
    try:
        found = ctx._forward_class.jvp(ctx, *tangents)
    finally:
        ctx._in_jvp = False
        modes.state.dual_level = level
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(results):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients "
            f"(expected {len(results)} but got {len(found)})"
        )
    for number, (result, tangent) in enumerate(zip(results, found, strict=True)):
        if tangent is None:
            continue
        if not _is_differentiable(ctx, result):
            raise RuntimeError(
                f"Function's jvp returned a gradient at position {number}, but  the corresponding "
                "forward output is not a differentiable Tensor.You should return None at that "
                "position instead."
            )
        if not is_tensor(tangent):
            raise RuntimeError(
                f"expected Variable or None (got {type(tangent).__name__}) for grad output "
                f"{number}."
            )
        forward_ad.check_tangent(result, tangent)
        for arg, given, version in zip(args, tangents, versions, strict=True):
            if given is not None and arg.storage is result.storage:
                dirty = arg is result and _among(arg, ctx._dirty)
                _check_tangent_of_same_memory(tangent, given, version if dirty else None)
        level.attach(result, tangent)


def _check_tangent_of_same_memory(tangent: Any, given: Any, dirty_version: int | None) -> None:
    """Where an output is an input's memory, its tangent must be in that of the input's tangent.

    Args:
        tangent: of the output.
        given: of the input.
        dirty_version: for an input that was changed in place, the version ``given`` had before.
    """
    if dirty_version is None:
        if tangent is given or not tangent._is_view():
            raise RuntimeError(
                "A custom Function's forward is returning a view (or an input as-is) but the jvp "
                "is not returning a view."
            )
        if tangent.storage is not given.storage:
            base = "the same base as the given" if given._is_view() else "the given"
            raise RuntimeError(
                "A custom Function is returning a view but the jvp is not returning a view of "
                f"{base} grad input."
            )
    elif given._version == dirty_version:
        raise RuntimeError(
            "An inplace custom Function is not modifying the forward mode gradients inplace. If "
            "the forward is modifying an input inplace, then the jvp function must modify the "
            "corresponding gradient inplace."
        )
    elif tangent is not given:
        raise RuntimeError(
            "An inplace custom Function is not returning the forward mode gradients as-is. If the "
            "forward is modifying an input inplace, then the jvp function must modify the gradient "
            "inplace and return it as-is."
        )


def once_differentiable(backward: Callable) -> Callable:
    """Decorates a ``backward`` that is not itself differentiable."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        recorded = modes.state.grad_enabled
        with modes.set_grad_enabled(False):
            results = backward(ctx, *grads)
        if not recorded or not any(grad is not None and grad.requires_grad for grad in grads):
            return results
        single = not isinstance(results, tuple)
        failing = _refusing([results] if single else results)
        return failing[0] if single else tuple(failing)

    return wrapper


class Error(Node):
    """Raises in backward: the gradient of something that is differentiable once."""

    __slots__ = ()

    def apply(self, grads: list) -> Sequence:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def _refusing(results: Sequence) -> list:
    """The results as outputs of one node that raises."""
    leaves = [
        None if result is None else result.detach().requires_grad_(result.is_floating_point())
        for result in results
    ]
    outputs = [None if leaf is None else leaf.detach() for leaf in leaves]
    live = [output for output in outputs if output is not None]
    node = Error(
        [leaf.grad_edge() if leaf is not None and leaf.requires_grad else None for leaf in leaves],
        [output.layout for output in live],
    )
    for number, output in enumerate(live):
        output.rebase(node, number)
    return outputs
