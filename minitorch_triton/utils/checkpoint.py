"""Activation checkpointing: keep a function's inputs, and run it again in backward.

Without re-entry, what the function's operations save is replaced by place holders. The first that
backward asks for runs the function again and fills them all. With re-entry, the function runs
without a graph, as one node, whose backward runs it again with a graph and differentiates that.
"""

from __future__ import annotations

import contextlib
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minitorch_triton.autograd import Function, backward, engine, graph, modes
from minitorch_triton.autograd.node import SavedTensor
from minitorch_triton.ops.random import default_generator
from minitorch_triton.tensor import Tensor

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "GraphExecGroup",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]


class CheckpointError(RuntimeError):
    """The function did something else when it ran again."""


class _Options:
    """What the context managers below set; None leaves it to the call of ``checkpoint``."""

    early_stop: bool | None = None
    debug: bool | None = None
    group: GraphExecGroup | None = None


_options = _Options()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Whether functions checkpointed inside stop as soon as all that backward needs is there."""
    previous, _options.early_stop = _options.early_stop, enable
    try:
        yield
    finally:
        _options.early_stop = previous


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Overrides the ``debug`` of functions checkpointed inside."""
    previous, _options.debug = _options.debug, enabled
    try:
        yield
    finally:
        _options.debug = previous


class GraphExecGroup:
    """A block of several backward passes that need a checkpointed function's second run only once.

    The passes must be over different parts of the graph.
    """

    def __enter__(self) -> GraphExecGroup:
        if _options.group is not None:
            raise RuntimeError("GraphExecGroup contexts cannot be nested.")
        _options.group = self
        return self

    def __exit__(self, *exception: object) -> None:
        _options.group = None


def noop_context_fn() -> tuple[Any, Any]:
    """The default ``context_fn``: two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping what backward needs: backward runs it again.

    Args:
        function: must do the same both times.
        args, kwargs: its arguments; keyword arguments only without re-entry.
        use_reentrant: False is recommended. True is the older way: it needs an argument that
            requires a gradient, and works neither with ``autograd.grad`` nor with
            ``backward(inputs=...)``.
        context_fn: returns two context managers, for the first run and for the others.
        determinism_check: "default" compares shape, dtype and device of what the runs save, "none"
            only their number.
        debug: let a :class:`CheckpointError` say where each run saved tensors.
        early_stop: end the second run as soon as all that backward needs is there.
        preserve_rng_state: give every run the random numbers of the first.

    Raises:
        CheckpointError: in backward, if the function saves something else when it runs again.
        ValueError: an option is unknown, or not supported with re-entry.
    """
    if use_reentrant is None:
        _warn_about_reentrant()
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    first, again = context_fn()
    if not modes.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    if _options.debug is not None:
        debug = _options.debug
    if _options.early_stop is not None:
        early_stop = _options.early_stop
    frame = _Frame(function, args, kwargs, again, preserve_rng_state, early_stop)
    frame.compares = determinism_check == "default"
    frame.traces = debug
    with first, graph.saved_tensors_hooks(frame.pack, frame.unpack):
        result = function(*args, **kwargs)
    frame.forward_completed = True
    return result


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    *,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """A sequence of functions in checkpointed segments, of which the last is not checkpointed.

    Args:
        functions: an ``nn.Sequential`` or functions of one argument.
        segments: how many.
        input: the argument of the first.
        use_reentrant, preserve_rng_state: see :func:`checkpoint`.
    """
    if use_reentrant is None:
        _warn_about_reentrant()
        use_reentrant = True
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions.children() if hasattr(functions, "children") else functions)
    size = len(functions) // segments

    def run(start: int, end: int) -> Callable:
        def segment(value: Any) -> Any:
            for function in functions[start:end]:
                value = function(value)
            return value

        return segment

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(
            run(start, start + size),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
        start += size
    return run(start, len(functions))(input)


def _warn_about_reentrant() -> None:
    warnings.warn(
        "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
        "use_reentrant=False is recommended; the default is use_reentrant=True.",
        stacklevel=3,
    )


class _Holder:
    """What an operation's node holds in place of a saved tensor."""

    __slots__ = ("__weakref__", "made_at", "metadata", "values")

    def __init__(self, metadata: dict[str, Any], made_at: list[str] | None):
        self.metadata = metadata
        self.made_at = made_at
        # By backward pass (or group), so that nothing outlives the pass that computed it.
        self.values: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class _Enough(Exception):
    """All that was saved the first time has been saved again."""


class _Outside:
    """Stands for the backward pass where a saved tensor is read outside of any."""


class _Frame:
    """One checkpointed call: how to repeat it, and the place holders it filled the graph with.

    Args:
        function, args, kwargs: the call; tensors are kept as a node would keep them, so that a
            checkpoint around this one does not keep them at all.
        context: around every run but the first.
        preserve_rng_state: whether each run gets the random numbers of the first.
        early_stop: whether to stop when everything has been saved again.
    """

    def __init__(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        context: Any,
        preserve_rng_state: bool,
        early_stop: bool,
    ):
        self.function = function
        self.args = [_kept(arg) for arg in args]
        self.kwargs = {name: _kept(value) for name, value in kwargs.items()}
        self.context = context
        self.rng = _RngState([*args, *kwargs.values()]) if preserve_rng_state else None
        self.early_stop = early_stop
        self.compares = True
        self.traces = False
        self.forward_completed = False
        self.holders: list[weakref.ref[_Holder]] = []
        self.saved_at: list[list[str]] = []
        self.filled: weakref.WeakSet[Any] = weakref.WeakSet()

    def pack(self, tensor: Any) -> _Holder:
        made_at = traceback.format_stack() if self.traces else None
        if made_at is not None:
            self.saved_at.append(made_at)
        holder = _Holder(_metadata(tensor), made_at)
        self.holders.append(weakref.ref(holder))
        return holder

    def unpack(self, holder: _Holder) -> Any:
        key = _options.group or engine.running.task or _Outside()
        if key not in self.filled:
            self._fill(key)
        if key not in holder.values:
            if _options.group is not None:
                raise CheckpointError(
                    "torch.utils.checkpoint: Performing two backward calls that overlap, i.e. that "
                    "need the same saved value, is not supported in one GraphExecGroup."
                )
            raise CheckpointError(
                "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already "
                "unpacked once. If you are calling ctx.saved_tensors in backward, make sure to do "
                "so only once."
            )
        return holder.values.pop(key)

    def _fill(self, key: Any) -> None:
        """Run the function again, and put what it saves into the place holders."""
        expected = len(self.holders)
        saved_at: list[list[str]] = []
        different: list[str] = []
        count = 0

        def pack(tensor: Any) -> Any:
            nonlocal count
            index, count = count, count + 1
            if self.traces:
                saved_at.append(traceback.format_stack())
            if index >= expected:
                if not self.forward_completed:  # backward runs inside of the function
                    return tensor
                raise self._error(
                    "trying to save more tensors during recomputation than during the original "
                    "forward pass.",
                    saved_at,
                )
            holder = self.holders[index]()
            if holder is not None:
                holder.values[key] = tensor
                if self.compares and holder.metadata != _metadata(tensor):
                    different.append(
                        f"tensor at position {index}:\nsaved metadata: {holder.metadata}\n"
                        f"recomputed metadata: {_metadata(tensor)}"
                    )
            if self.early_stop and self.forward_completed and count == expected:
                raise _Enough
            return tensor

        args = [_given(arg) for arg in self.args]
        kwargs = {name: _given(value) for name, value in self.kwargs.items()}
        random = contextlib.nullcontext() if self.rng is None else self.rng.restored()
        with (
            random,
            self.context,
            modes.enable_grad(),
            graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            contextlib.suppress(_Enough),
        ):
            self.function(*args, **kwargs)
        self.filled.add(key)
        if self.forward_completed and count != expected:
            raise self._error(
                "A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {expected}\n"
                f"Number of tensors saved during recomputation: {count}.",
                saved_at,
            )
        if different:
            listed = "\n".join(different)
            raise self._error(
                "Recomputed values for the following tensors have different metadata than during "
                f"the forward pass.\n{listed}.",
                saved_at,
            )

    def _error(self, text: str, saved_at: list[list[str]]) -> CheckpointError:
        text = f"torch.utils.checkpoint: {text}\n"
        if not self.traces:
            return CheckpointError(
                f"{text}Tip: pass `debug=True` to checkpoint(...), or run the call under "
                "`set_checkpoint_debug_enabled(True)`, to see where the tensors were saved."
            )
        text += (
            "You are seeing this error because you passed `debug=True` to checkpoint. It shows "
            "where tensors were saved."
        )
        for run, stacks in (("forward", self.saved_at), ("recomputation", saved_at)):
            for index, stack in enumerate(stacks):
                text += f"\n\nTensor {index} of {len(stacks)} of the {run}:\n" + "".join(stack)
        return CheckpointError(text)


def _metadata(tensor: Any) -> dict[str, Any]:
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


def _kept(value: Any) -> Any:
    return SavedTensor(value) if isinstance(value, Tensor) else value


def _given(value: Any) -> Any:
    return value.unpack(None) if isinstance(value, SavedTensor) else value


class _RngState:
    """The states of the default generators of the CPU and of the devices of some arguments."""

    def __init__(self, args: Iterable[Any]):
        devices = {arg.device for arg in args if isinstance(arg, Tensor)}
        self._generators = [default_generator(device) for device in {*devices, "cpu"}]
        self._states = [generator.get_state() for generator in self._generators]

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """A block with these states, after which the present ones are back."""
        present = [generator.get_state() for generator in self._generators]
        self._set(self._states)
        try:
            yield
        finally:
            self._set(present)

    def _set(self, states: list) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)


def detach_variable(inputs: tuple) -> tuple:
    """Leaves with the values of the tensors among the inputs, the rest as it is."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: "
            f"{type(inputs).__name__}"
        )
    return tuple(
        value.detach().requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value
        for value in inputs
    )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn if no input requires a gradient."""
    if not any(value.requires_grad for value in inputs if isinstance(value, Tensor)):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


class CheckpointFunction(Function):
    """A checkpointed call as one node, for ``use_reentrant=True``."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.rng = _RngState(args) if preserve_rng_state else None
        ctx.others = [None if isinstance(arg, Tensor) else arg for arg in args]
        ctx.places = [place for place, arg in enumerate(args) if isinstance(arg, Tensor)]
        ctx.save_for_backward(*(args[place] for place in ctx.places))
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        task = engine.running.task
        if task is None or task.is_partial:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument."
            )
        inputs = list(ctx.others)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = tensor
        leaves = detach_variable(tuple(inputs))
        random = contextlib.nullcontext() if ctx.rng is None else ctx.rng.restored()
        with random, modes.enable_grad():
            outputs = ctx.run_function(*leaves)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (output, grad)
            for output, grad in zip(outputs, grads, strict=True)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([output for output, _ in pairs], [grad for _, grad in pairs])
        found = [leaf.grad if isinstance(leaf, Tensor) else None for leaf in leaves]
        return None, None, *found
