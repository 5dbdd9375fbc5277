"""``Module``: parameters, buffers and other modules under names, and a ``forward``.

Names, keys, order and error messages are PyTorch's, so that a state_dict of either framework loads
into the other.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from minitorch_triton.autograd import no_grad
from minitorch_triton.nn.hooks import BackwardHooks, ModuleHook, hook_last_node
from minitorch_triton.nn.modules import module as everywhere
from minitorch_triton.nn.parameter import Buffer, Parameter
from minitorch_triton.optim.optimizer import clear_grads
from minitorch_triton.tensor import Tensor, from_torch
from minitorch_triton.utils.hooks import RemovableHandle, register

_EXTRA_STATE = "_extra_state"
_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_hooks_that_replace",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What :meth:`Module.load_state_dict` returns: the keys that did not match."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def indent(text: str, spaces: int) -> str:
    """Indent all lines but the first."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line if line.strip() else "" for line in rest)])


def _check_name(module: Module, kind: str, name: Any, members: Mapping) -> None:
    """Refuse what cannot name a parameter or buffer."""
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {torch.typename(name)}")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain "."')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')
    if hasattr(module, name) and name not in members:
        raise KeyError(f"attribute '{name}' already exists")


def _run_registration_hooks(hooks: everywhere.Hooks, module: Module, name: str, value: Any) -> Any:
    for hook in hooks.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: torch.dtype | None = None,
    non_blocking: bool = False,
    tensor: Tensor | None = None,
) -> tuple[torch.device | None, torch.dtype | None, bool]:
    """The arguments of ``to``: (device, dtype, non_blocking), (dtype, ...) or (tensor, ...)."""
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        tensor = rest.pop(0)
    elif rest and isinstance(rest[0], torch.dtype):
        dtype = rest.pop(0)
    else:
        if rest:
            device = rest.pop(0)
        if rest and (rest[0] is None or isinstance(rest[0], torch.dtype)):
            dtype = rest.pop(0)
    if rest and isinstance(rest[0], bool):
        non_blocking = rest.pop(0)
    if rest:
        raise TypeError(
            "to() received an invalid combination of arguments - got "
            f"({', '.join(type(arg).__name__ for arg in args)}), but expected one of: "
            "(torch.device device, torch.dtype dtype, bool non_blocking), "
            "(torch.dtype dtype, bool non_blocking), (Tensor tensor, bool non_blocking)"
        )
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return None if device is None else torch.device(device), dtype, non_blocking


class Module:
    """Base class of all layers and models: assign parameters and modules, define ``forward``.

    >>> class Net(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = Linear(784, 10)
    ...     def forward(self, x):
    ...         return self.fc(x)
    """

    training: bool
    _version = 1  # of the state_dict; a subclass that changes its keys counts up
    call_super_init = False  # whether __init__ goes on to the next class, for multiple inheritance

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                    f"'{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but "
                    f"{len(args) + 1} were given"
                )
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
            _is_full_backward_hook=None,
            **{name: OrderedDict() for name in _HOOKS},
        )
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses define it, callers call the module itself."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or everywhere._global_forward_hooks
            or everywhere._global_forward_pre_hooks
            or everywhere._global_backward_hooks
            or everywhere._global_backward_pre_hooks
        ):
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple, kwargs: dict) -> Any:
        called: set[int] = set()
        result = None
        try:
            full, last_node = self._backward_hooks_by_kind()
            pre_hooks = [
                *everywhere._global_backward_pre_hooks.values(),
                *self._backward_pre_hooks.values(),
            ]
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            backward = BackwardHooks(self, full, pre_hooks) if full or pre_hooks else None
            if backward is not None:
                args = backward.wrap_inputs(args)
            result = self.forward(*args, **kwargs)
            for id, hook in [
                *everywhere._global_forward_hooks.items(),
                *self._forward_hooks.items(),
            ]:
                called.add(id)
                result = self._run_forward_hook(id, hook, args, kwargs, result)
            if backward is not None:
                if not isinstance(result, Tensor | tuple):
                    warnings.warn(
                        "For backward hooks to be called, module output should be a Tensor or a "
                        f"tuple of Tensors but received {type(result)}",
                        stacklevel=3,
                    )
                result = backward.wrap_outputs(result)
            if last_node:
                hook_last_node(self, last_node, args, result)
            return result
        except Exception:
            self._run_always_called_hooks(called, args, kwargs, result)
            raise

    def _backward_hooks_by_kind(self) -> tuple[list[Callable], list[Callable]]:
        """The full backward hooks, and the others."""
        full: list[Callable] = []
        others: list[Callable] = []
        for is_full, hooks in (
            (everywhere._global_is_full_backward_hook, everywhere._global_backward_hooks),
            (self._is_full_backward_hook, self._backward_hooks),
        ):
            (others if is_full is False else full).extend(hooks.values())
        return full, others

    def _run_forward_pre_hooks(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        for id, hook in [
            *everywhere._global_forward_pre_hooks.items(),
            *self._forward_pre_hooks.items(),
        ]:
            if id in self._forward_pre_hooks_with_kwargs:
                replaced = hook(self, args, kwargs)
                if replaced is None:
                    continue
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {replaced}."
                    )
                args, kwargs = replaced
            else:
                replaced = hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        return args, kwargs

    def _run_forward_hook(
        self, id: int, hook: Callable, args: tuple, kwargs: dict, result: Any
    ) -> Any:
        if (
            id in self._forward_hooks_with_kwargs
            or id in everywhere._global_forward_hooks_with_kwargs
        ):
            replaced = hook(self, args, kwargs, result)
        else:
            replaced = hook(self, args, result)
        return result if replaced is None else replaced

    def _run_always_called_hooks(
        self, called: set[int], args: tuple, kwargs: dict, result: Any
    ) -> None:
        """After an exception: the hooks with ``always_call`` that have not run yet."""
        always = (
            everywhere._global_forward_hooks_always_called.keys()
            | self._forward_hooks_always_called.keys()
        )
        for kind, hooks in (
            ("global module forward hook", everywhere._global_forward_hooks),
            ("module forward hook", self._forward_hooks),
        ):
            for id, hook in hooks.items():
                if id not in always or id in called:
                    continue
                try:
                    result = self._run_forward_hook(id, hook, args, kwargs, result)
                except Exception as error:
                    warnings.warn(
                        f"{kind} with ``always_call=True`` raised an exception that was silenced "
                        f"as another error was raised in forward: {error}",
                        stacklevel=4,
                    )

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; it may return new arguments.

        Args:
            prepend: run before the hooks there are, not after them.
            with_kwargs: call ``hook(module, args, kwargs)``, which may return both.
        """
        marks = [self._forward_pre_hooks_with_kwargs] if with_kwargs else []
        return register(self._forward_pre_hooks, hook, prepend=prepend, marks=marks)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return a new output.

        Args:
            prepend: run before the hooks there are, not after them.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call the hook also when forward raised an exception.
        """
        marks = [self._forward_hooks_with_kwargs] if with_kwargs else []
        if always_call:
            marks.append(self._forward_hooks_always_called)
        return register(self._forward_hooks, hook, prepend=prepend, marks=marks)

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before backward; it may return a new grad_output."""
        return register(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once both are known.

        It may return a new grad_input. Both are tuples, with None for what is no tensor.
        """
        self._is_full_backward_hook = self._checked_kind(full=True)
        return register(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The older kind of backward hook: sees the gradients of forward's last operation only.

        Use :meth:`register_full_backward_hook`.
        """
        self._is_full_backward_hook = self._checked_kind(full=False)
        return register(self._backward_hooks, hook)

    def _checked_kind(self, full: bool) -> bool:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook != full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        return full

    def __setstate__(self, state: dict) -> None:
        # A pickle of an older version may lack kinds of hooks.
        self.__dict__.update({name: OrderedDict() for name in _HOOKS})
        self.__dict__.update(_is_full_backward_hook=None)
        self.__dict__.update(state)

    # Members

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter; in the state_dict if persistent."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name(self, "buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{torch.typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        hooks = everywhere._global_buffer_registration_hooks
        self._buffers[name] = _run_registration_hooks(hooks, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name without one, as ``bias=False`` does."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name(self, "parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{torch.typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model "
                    f"parameters must be created explicitly. To express '{name}' "
                    "as a function of another Tensor, compute the value in "
                    "the forward() method."
                )
            hooks = everywhere._global_parameter_registration_hooks
            param = _run_registration_hooks(hooks, self, name, param)
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{torch.typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {torch.typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        hooks = everywhere._global_module_registration_hooks
        self._modules[name] = _run_registration_hooks(hooks, self, name, module)

    register_module = add_module

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not in __dict__.
        own = self.__dict__
        for members in ("_parameters", "_buffers", "_modules"):
            if members in own and name in own[members]:
                return own[members][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        params, modules, buffers = own.get("_parameters"), own.get("_modules"), own.get("_buffers")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, own, buffers, modules)
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{torch.typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, own, params, buffers)
            hooks = everywhere._global_module_registration_hooks
            modules[name] = _run_registration_hooks(hooks, self, name, value)
        elif modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{torch.typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            modules[name] = value
        elif isinstance(value, Buffer):
            if buffers is None:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            self.register_buffer(name, value, value.persistent)
        elif buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{torch.typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            super().__setattr__(name, value)

    def _forget(self, name: str, *members: dict | None) -> None:
        """Drop what had the name before it came to mean something else."""
        for kind in members:
            if kind is not None:
                kind.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for members in (self._parameters, self._buffers, self._modules):
            if name in members:
                del members[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {
            *dir(type(self)),
            *self.__dict__,
            *self._parameters,
            *self._buffers,
            *self._modules,
        }
        return sorted(name for name in names if not name[0].isdigit())

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; the empty path is the module itself."""
        module: Any = self
        for name in target.split(".") if target else []:
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replace the module at a dotted path; with ``strict`` it must exist."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)

    def named_modules(
        self,
        memo: set[Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted paths, each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, value in getattr(module, kind).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths; a shared one once."""
        yield from self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as an optimizer wants them."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted paths; a shared one once."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # Changing all members

    def train(self, mode: bool = True) -> Module:
        """Set training mode, which Dropout and BatchNorm look at, here and below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Whether the parameters require gradients."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        clear_grads(self.parameters(), set_to_none)

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call ``fn`` on every module below and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replace every parameter, gradient and buffer; parameters stay the same objects."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for param in self._parameters.values():
                if param is None:
                    continue
                grad = param.grad
                param.data = fn(param)
                if grad is not None:
                    grad.data = fn(grad)
                    param.grad = grad
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Move and cast in place, to a device, a dtype, both, or those of a tensor.

        Only floating-point parameters and buffers are cast.

        Raises:
            TypeError: a dtype that is not floating-point.
        """
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            to_dtype = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            to_device = tensor.device if device is None else device
            return tensor.to(to_device, to_dtype, non_blocking)

        return self._apply(convert)

    def type(self, dst_type: torch.dtype) -> Module:
        """Cast all parameters and buffers."""
        return self._apply(lambda tensor: tensor.to(dst_type))

    def float(self) -> Module:
        """Cast floating-point parameters and buffers to float32."""
        return self.to(torch.float32)

    def double(self) -> Module:
        """Cast floating-point parameters and buffers to float64."""
        return self.to(torch.float64)

    def half(self) -> Module:
        """Cast floating-point parameters and buffers to float16."""
        return self.to(torch.float16)

    def bfloat16(self) -> Module:
        """Cast floating-point parameters and buffers to bfloat16."""
        return self.to(torch.bfloat16)

    def cpu(self) -> Module:
        """Move to the CPU."""
        return self.to(torch.device("cpu"))

    def cuda(self, device: int | torch.device | None = None) -> Module:
        """Move to a GPU, by default the current one."""
        device = torch.cuda.current_device() if device is None else device
        return self.to(torch.device("cuda", device) if isinstance(device, int) else device)

    # State

    def get_extra_state(self) -> Any:
        """Override together with :meth:`set_extra_state` to put more into the state_dict."""
        raise RuntimeError("get_extra_state is only called where a subclass defines it")

    def set_extra_state(self, state: Any) -> None:
        """Override together with :meth:`get_extra_state`."""
        raise RuntimeError("set_extra_state is only called where a subclass defines it")

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """All parameters and persistent buffers by dotted path.

        Args:
            destination: a dictionary to fill; a new one by default.
            prefix: put before every key.
            keep_vars: the parameters themselves instead of detached tensors of the same memory.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for id, hook in self._state_dict_hooks.items():
            replaced = hook(self, destination, prefix, local_metadata)
            if replaced is not None:
                if id not in self._state_dict_hooks_that_replace:
                    raise RuntimeError("state_dict post-hook must return None")
                destination = replaced
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own entries into destination; subclasses may override it."""
        for name, value in [*self._parameters.items(), *self._persistent_buffers()]:
            if value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def _persistent_buffers(self) -> list[tuple[str, Tensor | None]]:
        skipped = self._non_persistent_buffers_set
        return [(name, buffer) for name, buffer in self._buffers.items() if name not in skipped]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy parameters and buffers from a state_dict, of this framework or of PyTorch.

        Args:
            state_dict: tensors (ours or torch's) by dotted path.
            strict: the keys must be exactly those of :meth:`state_dict`.
            assign: take over the tensors of the state_dict themselves.

        Returns:
            the missing and the unexpected keys.

        Raises:
            RuntimeError: keys or shapes do not match; the message lists them all.
            TypeError: not a mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None) or {}
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []

        def load(module: Module, entries: dict[str, Any], prefix: str) -> None:
            local_metadata = dict(metadata.get(prefix[:-1], {}))
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                entries, prefix, local_metadata, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    load(child, {k: v for k, v in entries.items() if k.startswith(below)}, below)
            keys = _IncompatibleKeys(missing, unexpected)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, keys) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                        "expected to return new values, if incompatible_keys need to be modified, "
                        "it should be done inplace."
                    )

        load(self, OrderedDict(state_dict), "")
        if strict:
            for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    listed = ", ".join(f'"{key}"' for key in keys)
                    errors.insert(0, f"{kind} key(s) in state_dict: {listed}. ")
        if errors:
            raise RuntimeError(
                "Error(s) in loading state_dict for {}:\n\t{}".format(
                    type(self).__name__, "\n\t".join(errors)
                )
            )
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own entries; subclasses may override it."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict([*self._parameters.items(), *self._persistent_buffers()])
        own = {name: value for name, value in own.items() if value is not None}
        for name, value in own.items():
            key = prefix + name
            if key in state_dict:
                error = self._load_entry(name, value, key, state_dict[key], assign)
                if error is not None:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(key)

        extra_state = prefix + _EXTRA_STATE
        if type(self).set_extra_state is not Module.set_extra_state:
            if extra_state in state_dict:
                self.set_extra_state(state_dict[extra_state])
            elif strict:
                missing_keys.append(extra_state)
        elif strict and extra_state in state_dict:
            unexpected_keys.append(extra_state)

        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_state:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else own):
                        unexpected_keys.append(key)

    def _load_entry(
        self, name: str, own: Tensor, key: str, loaded: Any, assign: bool
    ) -> str | None:
        """Load one parameter or buffer; what went wrong, or None."""
        if isinstance(loaded, torch.Tensor):
            loaded = from_torch(loaded.detach())
        if not isinstance(loaded, Tensor):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                f"object from checkpoint but received {type(loaded)}"
            )
        if own.shape == () and loaded.shape == (1,):
            loaded = loaded[0]
        if loaded.shape != own.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {loaded.shape} from "
                f"checkpoint, the shape in current model is {own.shape}."
            )
        try:
            with no_grad():
                if not assign:
                    own.copy_(loaded)
                elif not isinstance(own, Parameter):
                    setattr(self, name, loaded)
                elif isinstance(loaded, Parameter):
                    setattr(self, name, loaded.requires_grad_(own.requires_grad))
                else:
                    setattr(self, name, Parameter(loaded, requires_grad=own.requires_grad))
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{own.size()} and whose dimensions in the checkpoint are {loaded.size()}, an "
                f"exception occurred : {error.args}."
            )
        return None

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before :meth:`state_dict` collects."""
        return register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after it; may change it."""
        return register(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """The same, for a hook that may return another state_dict."""
        for id, other in self._state_dict_hooks.items():
            if other is hook and id not in self._state_dict_hooks_that_replace:
                raise RuntimeError(
                    "Cannot register the same function as the state dict post hook that was "
                    "previously registered via register_state_dict_post_hook"
                )
        marks = [self._state_dict_hooks_that_replace]
        return register(self._state_dict_hooks, hook, marks=marks)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`` before this module loads; it may change the arguments.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable, with_module: bool = False
    ) -> RemovableHandle:
        """The same, for a hook that may do without its first argument."""
        bound = ModuleHook(hook, self if with_module else None)
        return register(self._load_state_dict_pre_hooks, bound)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the keys."""
        return register(self._load_state_dict_post_hooks, hook)

    # Printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What is printed between the parentheses besides the child modules."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        children = [
            f"({name}): {indent(repr(module), 2)}" for name, module in self._modules.items()
        ]
        if not children and len(extra_lines) <= 1:
            return f"{self._get_name()}({extra})"
        return "{}(\n  {}\n)".format(self._get_name(), "\n  ".join(extra_lines + children))
