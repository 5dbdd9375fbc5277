"""``Optimizer``: parameter groups, state, hooks and the way to one launch per step."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

import torch

from minitorch_triton.autograd import enable_grad, no_grad
from minitorch_triton.ops.creation import form_like, full_as
from minitorch_triton.optim.multi_tensor import Batch
from minitorch_triton.tensor import Tensor, from_torch, tensor
from minitorch_triton.utils.hooks import RemovableHandle, register

required: Any = object()
"""The default of an option that every parameter group must give."""

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(optimizer, args, kwargs)`` before the step of every optimizer."""
    return register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """``hook(optimizer, args, kwargs)`` after the step of every optimizer."""
    return register(_global_post_hooks, hook)


def _with_hooks(step: Callable) -> Callable:
    """A ``step`` that runs the hooks around it and notes for the schedulers that it was called."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        pre_hooks, post_hooks = self._step_pre_hooks, self._step_post_hooks
        if not (pre_hooks or post_hooks or _global_pre_hooks or _global_post_hooks):
            return step(self, *args, **kwargs)
        for hook in [*_global_pre_hooks.values(), *pre_hooks.values()]:
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    f"{step} must return None or a tuple of (new_args, new_kwargs), but got "
                    f"{result}."
                )
            args, kwargs = result
        loss = step(self, *args, **kwargs)
        for hook in [*post_hooks.values(), *_global_post_hooks.values()]:
            hook(self, args, kwargs)
        return loss

    wrapper._counts_steps = True  # type: ignore[attr-defined]
    return wrapper


class Optimizer:
    """Base class: a subclass gives ``defaults`` and defines ``step(closure=None)``.

    Args:
        params: tensors, ``(name, tensor)`` pairs, or dictionaries with ``"params"`` and the options
            of that group.
        defaults: the options and their values where a group gives none.

    Attributes:
        param_groups: list of dictionaries: the parameters and options of each group.
        state: for each parameter what the optimizer remembers of it.
    """

    _opt_called = False  # whether step was called, for the schedulers
    _has_scheduler = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor | torch.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {torch.typename(params)}"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._initialise_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _initialise_hooks(self) -> None:
        self._step_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._load_state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._load_state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._plans: dict[int, tuple[list, list[int], list[Batch]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_plans" not in self.__dict__:
            self._initialise_hooks()
        self._plans.clear()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # Parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, for instance layers that are unfrozen later.

        Args:
            param_group: ``"params"`` and any options; the others take their default.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        names = [param[0] for param in params if isinstance(param, tuple)]
        if names and len(names) != len(params):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        params = [param[1] if isinstance(param, tuple) else param for param in params]
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{torch.typename(param)}"
                )
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for option, default in self.defaults.items():
            if default is required and option not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{option}"
                )
            param_group.setdefault(option, default)
        if len(set(map(id, params))) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                "information",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                kind = "with" if names else "without"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param "
                    f"group {kind} names to the optimizer"
                )
            if not {id(p) for p in group["params"]}.isdisjoint(map(id, params)):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for group in self.param_groups:
            clear_grads(group["params"], set_to_none)

    # Stepping

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients.

        Args:
            closure: clears the gradients, computes the loss and calls backward.

        Returns:
            the loss that closure returned, or None.
        """
        raise NotImplementedError

    def _evaluate(self, closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def _batches(
        self,
        number: int,
        group: dict[str, Any],
        columns: Sequence[str],
        key: Callable[[dict[str, Any]], Any] | None = None,
    ) -> list[Batch]:
        """The launches of one group's step, built anew only if something has changed.

        Gradients often lie elsewhere than in the last step; their addresses are only replaced.

        Args:
            number: which group.
            group: its parameters; those without a gradient are left out.
            columns: the names of the state tensors, made (as zeros) where there is none; those
                that were made share no launch with others.
            key: tells by its state which parameters cannot share a launch either.
        """
        signature: list = [columns]
        addresses = []
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            signature += (param.address, param.layout, grad.layout)
            addresses.append(grad.address)
            if columns:
                state = self.state[param]
                signature.append(id(state))  # the plan writes to this dictionary
                if key is not None:
                    signature.append(key(state))
                for name in columns:
                    tensor = state.get(name)
                    signature.append(None if tensor is None else tensor.address)
        plan = self._plans.get(number)
        if plan is not None and plan[0] == signature:
            if plan[1] != addresses:
                for batch in plan[2]:
                    batch.move_gradients(addresses)
                self._plans[number] = (signature, addresses, plan[2])
            return plan[2]
        with no_grad():
            batches, lasting = self._build(group, columns, key)
        if lasting:
            self._plans[number] = (signature, addresses, batches)
        else:
            self._plans.pop(number, None)
        return batches

    def _build(
        self, group: dict[str, Any], columns: Sequence[str], key: Callable | None
    ) -> tuple[list[Batch], bool]:
        """The batches, and whether they serve later steps too."""
        members: dict[tuple, list] = {}
        count = 0
        for param in group["params"]:
            if param.grad is None:
                continue
            state = self.state[param] if columns else {}
            missing = [name for name in columns if state.get(name) is None]
            for name in columns:
                state[name] = _stored_alike(state.get(name), param)
            own = None if key is None else key(state)
            kind = (param.device, param.dtype, bool(missing), own)
            tensors = [state[name] for name in columns]
            members.setdefault(kind, []).append((count, param, param.grad, state, tensors))
            count += 1
        batches = [Batch(fresh, own, batch) for (*_, fresh, own), batch in members.items()]
        return batches, all(batch.lasting and not batch.fresh for batch in batches)

    # State

    def state_dict(self) -> dict[str, Any]:
        """The state by number of the parameter, and the groups with numbers for parameters.

        PyTorch's optimizer of the same name reads it, once tensors are PyTorch's: write it with
        ``save`` and read it with ``torch.load``.
        """
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: self._pack(value)
            for key, value in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            replaced = hook(self, result)
            if replaced is not None:
                result = replaced
        return result

    def _pack(self, state: Any) -> Any:
        """A parameter's state as PyTorch keeps it: the number of steps is a tensor."""
        if isinstance(state, dict) and isinstance(state.get("step"), int):
            return {"step": tensor(float(state["step"]))} | {
                name: value for name, value in state.items() if name != "step"
            }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` gave, of this framework or of PyTorch.

        Tensors are copied, to the device and dtype of their parameter.

        Raises:
            ValueError: the groups do not match this optimizer's.
        """
        state_dict = state_dict.copy()
        for hook in self._load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        groups = deepcopy(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for own, loaded in zip(self.param_groups, groups, strict=True):
            if len(own["params"]) != len(loaded["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
        params = dict(
            zip(
                chain.from_iterable(group["params"] for group in groups),
                chain.from_iterable(group["params"] for group in self.param_groups),
                strict=True,
            )
        )
        state: defaultdict[Any, Any] = defaultdict(dict)
        for number, value in state_dict["state"].items():
            if number in params:
                state[params[number]] = _unpack(params[number], value)
            else:
                state[number] = value
        for own, loaded in zip(self.param_groups, groups, strict=True):
            loaded["params"] = own["params"]
            if "param_names" in own:
                loaded.setdefault("param_names", own["param_names"])
            for option, default in self.defaults.items():
                if default is not required:
                    loaded.setdefault(option, default)
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in self._load_state_dict_post_hooks.values():
            hook(self)

    # Hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return both anew."""
        return register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return register(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before :meth:`state_dict`."""
        return register(self._state_dict_pre_hooks, hook, prepend=prepend)

    def register_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after :meth:`state_dict`; may return another."""
        return register(self._state_dict_post_hooks, hook, prepend=prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; may return another."""
        return register(self._load_state_dict_pre_hooks, hook, prepend=prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return register(self._load_state_dict_post_hooks, hook, prepend=prepend)


def clear_grads(params: Iterable[Tensor], set_to_none: bool) -> None:
    """Forget the gradients of parameters, or fill them with zeros."""
    for param in params:
        if set_to_none:
            param._grad = None
        elif param.grad is not None:
            if param.grad.requires_grad:
                param.grad = param.grad.detach()
            param.grad.zero_()


def _zeros_alike(param: Tensor) -> Tensor:
    """Zeros stored as the parameter is, or as its dense copy is."""
    return full_as(form_like(param.layout, None, None), 0)


def _stored_alike(tensor: Tensor | None, param: Tensor) -> Tensor:
    """A state tensor, made if there is none, converted if the parameter is another by now."""
    if tensor is not None and tensor.layout is form_like(param.layout, None, None):
        return tensor
    zeros = _zeros_alike(param)
    if tensor is None:
        return zeros
    if tensor.shape != param.shape:
        raise RuntimeError(
            f"the optimizer's state of size {list(tensor.shape)} does not fit a parameter of size "
            f"{list(param.shape)}"
        )
    return zeros.copy_(tensor)


def _unpack(param: Tensor, value: Any, name: Any = None) -> Any:
    """A copy of a parameter's loaded state: our tensors, as the parameter's device and dtype."""
    if name == "step":
        return int(value)
    if isinstance(value, torch.Tensor):
        value = from_torch(value.detach())
    if isinstance(value, Tensor):
        dtype = param.dtype if param.is_floating_point() else value.dtype
        with no_grad():
            if value.shape == param.shape:
                return _zeros_alike(param).to(dtype).copy_(value)
            return value.to(param.device, dtype).clone()
    if isinstance(value, dict):
        return {key: _unpack(param, item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unpack(param, item) for item in value)
    return value
