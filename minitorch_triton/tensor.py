"""The tensor: memory with a layout, and its place in the graph."""

from __future__ import annotations

import copy
import sys
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from minitorch_triton.autograd import api
from minitorch_triton.autograd.inplace import (
    CopySlices,
    base_and_chain,
    chain_of,
    check_inplace,
    refuse_rewriting,
    replay,
    steps_of,
)
from minitorch_triton.autograd.modes import enable_grad, no_grad, state
from minitorch_triton.autograd.node import (
    OWN_DTYPE,
    AccumulateGrad,
    GradientForm,
    Hooks,
    Node,
    next_sequence_nr,
)
from minitorch_triton.ops import (
    creation,
    dispatch,
    pointwise,
    views,
)
from minitorch_triton.storage import Layout, Storage, layout
from minitorch_triton.tensor_methods import TensorMethods
from minitorch_triton.utils.hooks import RemovableHandle, register


def settle_attributes(cls: type[Tensor]) -> None:
    """Make room for every attribute in the instances of a class.

    Python keeps the attributes of an object in place, which is fast, if their names came up in the
    first few objects of the class, and otherwise in a dictionary.
    """
    first = object.__new__(cls)
    for name in Tensor.__annotations__:
        setattr(first, name, None)


class Tensor(TensorMethods):
    """An n-dimensional array that can be part of a graph; made by ``tensor``, ``zeros``, ...

    Attributes:
        storage, layout, offset: the memory, how it is read, and where it starts (in elements).
        address: of the first element.
        output_nr: which output of ``grad_fn`` it is.
    """

    storage: Storage
    layout: Layout
    offset: int
    address: int
    # Defaults. What every operation reads is set in each tensor: reading a default takes longer.
    _requires_grad: bool = False
    _grad: Tensor | None = None
    _grad_dtype: Any = OWN_DTYPE
    _node: Node | None = None
    output_nr: int = 0
    _accumulator: Callable | None = None
    _view: tuple[Tensor, tuple] | None = None
    _view_version: int | None = 0
    _turned: tuple[tuple, tuple] = ((), ())
    """For a base that became a view of itself: the steps to what it is now, and those back."""
    _unrewritable: str | None = None
    _leaf_hooks: Hooks | None = None
    _post_accumulate_hooks: Mapping[int, Callable] = MappingProxyType({})
    _retains_grad: bool = False
    _tangent: Tensor | None = None
    _detached_at = -1
    """By count of nodes, when :meth:`detach_` took the tensor out of the graph."""
    __array_priority__ = 1000

    def __init__(self, storage: Storage, form: Layout, offset: int):
        self.storage = storage
        self.layout = form
        self.offset = offset
        self.address = storage.address + offset * form.dtype.itemsize
        self._requires_grad = False
        self._node = None
        self._view = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        settle_attributes(cls)

    # Layout

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.layout.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.layout.dtype

    @property
    def device(self) -> torch.device:
        return self.layout.device

    @property
    def ndim(self) -> int:
        return len(self.layout.shape)

    @property
    def is_cuda(self) -> bool:
        return self.layout.device.type == "cuda"

    @property
    def is_sparse(self) -> bool:
        """False: every tensor is dense."""
        return False

    @property
    def itemsize(self) -> int:
        return self.layout.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.layout.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.layout.shape[views.wrap_dim(dim, self.ndim)]

    def stride(self, dim: int | None = None) -> Any:
        """The strides in elements, or that of one dimension."""
        strides = self.layout.strides
        return strides if dim is None else strides[views.wrap_dim(dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.layout.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self.layout.numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.layout.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self.address

    def storage_offset(self) -> int:
        """Elements between the start of the storage and the first element."""
        return self.offset

    is_contiguous = creation.is_contiguous

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.layout.dtype.is_floating_point

    def type(self, dtype: Any = None) -> Any:
        """The type's name (``torch.FloatTensor``), or the tensor in another dtype.

        Args:
            dtype: a dtype, a type like ``FloatTensor``, or the name of one.
        """
        if isinstance(dtype, str):
            return self.to(*_dtype_and_device(dtype))
        if dtype is not None:
            return self.to(getattr(dtype, "dtype", dtype))
        prefix = "torch.cuda." if self.is_cuda else "torch."
        return f"{prefix}{pointwise.type_name(self.dtype)}Tensor"

    # Graph

    @property
    def requires_grad(self) -> bool:
        if self._requires_grad or self._node is not None:
            return True
        return self._view is not None and self._view[0].requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.grad_fn is not None:
            if not value:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
            return
        if value and not self.dtype.is_floating_point:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if value and self.storage.own_version is None and not state.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                "allowed."
            )
        self._requires_grad = bool(value)

    @requires_grad.deleter
    def requires_grad(self) -> None:
        raise RuntimeError("requires_grad of a tensor cannot be deleted")

    @property
    def volatile(self) -> bool:
        """What ``no_grad`` has replaced; False."""
        warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
        return False

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` of a leaf, in place."""
        if requires_grad and not self.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor, None for a leaf."""
        if self._view is not None and self._view_version != self.storage.version:
            self._rebuild_history()
        return self._node

    @property
    def _grad_fn(self) -> Node | None:
        return self.grad_fn

    @_grad_fn.deleter
    def _grad_fn(self) -> None:
        raise RuntimeError("_grad_fn of a tensor cannot be deleted")

    @property
    def _backward_hooks(self) -> Hooks | None:
        """The hooks on the gradient of a leaf, by id."""
        return self._leaf_hooks

    @_backward_hooks.setter
    def _backward_hooks(self, hooks: Hooks | None) -> None:
        self._leaf_hooks = hooks

    @_backward_hooks.deleter
    def _backward_hooks(self) -> None:
        raise RuntimeError("_backward_hooks of a tensor cannot be deleted")

    @property
    def _version(self) -> int:
        version = self.storage.version
        if version is None:
            raise RuntimeError("Inference tensors do not track version counter.")
        return version

    def is_inference(self) -> bool:
        """Whether the memory was allocated in inference mode."""
        return self.storage.own_version is None

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view[0]

    def _is_view(self) -> bool:
        return self._view is not None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf."""
        if self._grad is None and not self._retains_grad and self._node is not None:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.layout.shape != self.layout.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of "
                    f"size '{list(self.shape)}'. Please ensure that the gradient and the tensor "
                    "are the same size"
                )
            expected = self._gradient_form.dtype
            if expected is not None and value.dtype != expected:
                raise RuntimeError(
                    "attempting to assign a gradient with dtype "
                    f"'{pointwise.type_name(value.dtype).lower()}' to a tensor with grad_dtype "
                    f"'{pointwise.type_name(expected)}'. The gradient must match the tensor's "
                    "grad_dtype (defaults to the tensor's dtype). You can set the tensor's "
                    "grad_dtype attribute with a specific dtype, or None to allow any dtype. Set "
                    "grad_dtype with caution. Diverging the dtypes of a tensor and its gradient "
                    "may break downstream systems that assume they match."
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def _gradient_form(self) -> Any:
        """Shape, dtype (None: any) and device of a leaf's gradient."""
        form = self.layout
        if self._grad_dtype is OWN_DTYPE:
            return form
        return GradientForm(form.shape, self._grad_dtype, form.device)

    @property
    def grad_dtype(self) -> torch.dtype | None:
        """The dtype that a leaf's gradient is cast to; None for no cast, the leaf's unless set.

        Raises:
            RuntimeError: the tensor is no leaf, or has a gradient of another dtype already.
        """
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        return self._gradient_form.dtype

    @grad_dtype.setter
    def grad_dtype(self, value: torch.dtype | None) -> None:
        if value is not None and not isinstance(value, torch.dtype):
            raise RuntimeError(
                f"grad_dtype must be a torch.dtype or None, but got {type(value).__name__}"
            )
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be set on leaf tensors.")
        if value is not None and self._grad is not None and self._grad.dtype != value:
            raise RuntimeError(
                f"Cannot set grad_dtype to '{pointwise.type_name(value)}' because there is already "
                f"a gradient with dtype '{pointwise.type_name(self._grad.dtype).lower()}'. Please "
                "clear the gradient (.grad = None) before changing grad_dtype, or ensure the new "
                "grad_dtype matches the existing gradient's dtype."
            )
        self._grad_dtype = value
        accumulator = self._accumulator() if self._accumulator is not None else None
        if accumulator is not None:
            accumulator.outputs = (self._gradient_form,)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Accumulate this tensor's gradients into the leaves; see ``autograd.backward``."""
        api.backward(self, gradient, retain_graph, create_graph, inputs)

    def grad_edge(self) -> tuple[Node, int] | None:
        """Where a gradient of this tensor goes: its maker, or for a leaf what accumulates it.

        None for a view that was made outside the graph of something inside.
        """
        node = self._node if self._view is None else self.grad_fn
        if node is not None:
            return node, self.output_nr
        if not self._requires_grad:
            return None
        accumulator = self._accumulator() if self._accumulator is not None else None
        if accumulator is None:
            own = self._grad_dtype is OWN_DTYPE
            accumulator = AccumulateGrad(self, self.layout if own else self._gradient_form)
            if self._leaf_hooks:
                accumulator.own_hooks().tensor[0] = self._leaf_hooks
            self._accumulator = weakref.ref(accumulator)
        return accumulator, 0

    def rebase(self, node: Node, output_nr: int) -> None:
        """Become an output of ``node``."""
        self._node = node
        self.output_nr = output_nr
        if self._view is not None:
            self._view_version = self.storage.version

    def rebase_inplace(self, node: Node, place: int = 0) -> None:
        """Become the output of an in-place operation; a view's base changes with it.

        Args:
            node: of the operation.
            place: which of its inputs is this tensor as it was.
        """
        if self._view is None:
            self._move_retained(node, 0)
            self.rebase(node, 0)
            return
        base, chain = base_and_chain(self)
        base.rebase_inplace(CopySlices(base, chain, node, place))
        self._rebuild_history()

    def become_view(self, base: Tensor, step: tuple) -> None:
        """Note that this tensor is ``step[0](base, *step[1:])``."""
        if base._view is not None:
            root, chain = base._view
            self._view = root, (chain, step)
            if base._unrewritable is not None:
                self._unrewritable = base._unrewritable
        else:
            self._view = base, (base._turned[0], step)
        self._view_version = self.storage.version

    def follow(self, view: Tensor, back: list[tuple]) -> None:
        """Take the place in the graph of a view of this tensor, which this tensor has become.

        Args:
            view: of all its elements; has no other use.
            back: the steps from the view to what this tensor was, each a view function and its
                arguments.
        """
        self._accumulator = None
        if view._view is None:  # made in inference mode
            return
        base, chain = view._view
        undone = steps_of(self._turned[1])
        if len(back) == 1 and chain[0] and chain[0][1] == back[0]:
            # The last two steps undo each other.
            chain, undone = chain[0][0], undone[1:]
        else:
            undone = back + undone
        if base is self:
            self._turned = chain, chain_of(undone)
        else:
            self._view = base, chain
        if view._node is not None:
            self._move_retained(view._node, 0)
            self.rebase(view._node, 0)
        self._view_version = self.storage.version

    def _rebuild_history(self) -> None:
        """After the memory was written: take over what the base's history has become."""
        assert self._view is not None
        base, chain = base_and_chain(self)
        if self._node is None and not base.requires_grad:
            self._view_version = self.storage.version
            return
        refuse_rewriting(self, of_base=True)
        self._view_version = self.storage.version
        with enable_grad():
            fresh = replay(base, chain)
        if fresh._node is not None:
            self._move_retained(fresh._node, fresh.output_nr)
        self._node, self.output_nr = fresh._node, fresh.output_nr

    def _move_retained(self, node: Node, output_nr: int) -> None:
        """What ``retain_grad`` keeps is the gradient of the tensor as it is after a write."""
        if self._retains_grad and self._node is not None and self._node.hooks is not None:
            retain = self._node.hooks.retained.pop(self.output_nr)
            node.own_hooks().retained[output_nr] = retain

    def laid_out_as(self, form: Layout) -> Tensor:
        """A copy with the strides of a layout of this shape, where those have no gaps."""
        if not pointwise.is_dense(form):
            return self.clone()
        y = dispatch.empty_as(
            layout(self.layout.shape, form.strides, self.layout.dtype, self.layout.device)
        )
        return y.copy_(self)

    def linked(self, node: Node, output_nr: int) -> Tensor:
        """This data as an output of ``node``, for a saved output."""
        y = Tensor(self.storage, self.layout, self.offset)
        y._tangent = self._tangent
        y.rebase(node, output_nr)
        return y

    def detach(self) -> Tensor:
        """The same memory outside the graph."""
        return dispatch.bare(self.storage, self.layout, self.offset, self.address)

    def detach_(self) -> Tensor:
        """Leave the graph: become a leaf that requires no gradient."""
        if self._view is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using "
                "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                "these gradients. To fix this error, please refer to the Optimizer.zero_grad() "
                "function in torch/optim/optimizer.py as the solution."
            )
        if self._node is not None:
            self._detached_at = next_sequence_nr()
        self._node = None
        self._requires_grad = False
        self._tangent = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph; writes to it are not tracked."""
        return Tensor(self.storage.alias(), self.layout, self.offset)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if value.dtype != self.dtype and self._requires_grad and not value.dtype.is_floating_point:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                "dtype"
            )
        self._take_memory_of(value)

    @data.deleter
    def data(self) -> None:
        raise RuntimeError("data of a tensor cannot be deleted")

    def set_(self, source: Tensor) -> Tensor:
        """Take over the memory, shape and strides of another tensor of this dtype, in place."""
        if source.dtype != self.dtype:
            raise RuntimeError(
                "Could not set tensor of type "
                f"{pointwise.type_name(source.dtype).lower()} to a tensor of type "
                f"{pointwise.type_name(self.dtype).lower()}"
            )
        if state.grad_enabled:
            check_inplace(self)
            if self.requires_grad or source.requires_grad:
                raise NotImplementedError("the derivative for 'set_' is not implemented")
        self._take_memory_of(source)
        self.storage.written()
        return self

    def _take_memory_of(self, other: Tensor) -> None:
        # The version counter is the tensor's and its views', not that of the memory it gets.
        before = self.storage
        if not before.is_memory_of(other.storage):
            self.storage = other.storage.alias()
            if sys.getrefcount(before) > 2:  # more than this variable and the argument
                self.storage.count_with(before)
            else:
                self.storage.set_version(before.version)
        self.layout, self.offset, self.address = other.layout, other.offset, other.address
        self._accumulator = None

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad)`` when the gradient is computed; it may return another one."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.is_leaf:
            # The hooks outlive the graph, so they are the leaf's, and its accumulators share them.
            if self._leaf_hooks is None:
                self._leaf_hooks = OrderedDict()
            hooks = self._leaf_hooks
        else:
            hooks = OrderedDict()
        edge = self.grad_edge()
        if edge is not None:
            node, number = edge
            hooks = node.own_hooks().tensor.setdefault(number, hooks)
        return register(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(param)`` after the gradient was accumulated into a leaf."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if "_post_accumulate_hooks" not in self.__dict__:
            self._post_accumulate_hooks = OrderedDict()
        return register(self.__dict__["_post_accumulate_hooks"], hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in ``.grad``."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.is_leaf or self._retains_grad:
            return
        self._retains_grad = True
        reference = weakref.ref(self)

        def retain(grad: Tensor | None) -> None:
            tensor = reference()
            if tensor is not None and grad is not None:
                tensor._grad = grad.clone() if tensor._grad is None else tensor._grad + grad

        assert self._node is not None
        self._node.own_hooks().retained[self.output_nr] = retain

    @property
    def retains_grad(self) -> bool:
        return self._retains_grad

    def untyped_storage(self) -> Storage:
        """The memory itself, which this tensor may share with others."""
        return self.storage

    # To and from other libraries

    @classmethod
    def from_torch_memory(cls, tensor: torch.Tensor, *, shared: Any = True) -> Tensor:
        """A tensor on the memory of a torch tensor; both see each other's writes.

        Args:
            shared: whether the torch tensor lives on elsewhere.
        """
        creation.check_dtype(tensor.dtype)
        device = creation.resolve_device(tensor.device)
        flat = tensor.detach()
        whole = flat.untyped_storage().nbytes() // tensor.dtype.itemsize
        flat = flat.as_strided((whole,), (1,), 0)
        form = layout(tuple(tensor.shape), tensor.stride(), tensor.dtype, device)
        return Tensor(Storage(flat, foreign=shared), form, int(tensor.storage_offset()))

    def _as_torch(self) -> torch.Tensor:
        """A torch tensor on this memory for a moment's use inside the package."""
        buffer = self.storage.buffer
        if buffer.dtype != self.layout.dtype:
            buffer = buffer.view(self.layout.dtype)
        return buffer.as_strided(self.layout.shape, self.layout.strides, self.offset)

    def torch(self) -> torch.Tensor:
        """A torch tensor that shares this memory, outside the graph."""
        self.storage.share()
        return self._as_torch()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array that shares this memory; the tensor must be on the CPU."""
        if force:
            return self.detach().cpu().torch().numpy()
        if self.requires_grad and state.grad_enabled:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        return self.torch().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array: np.ndarray, *rest: Any) -> Tensor:
        return from_numpy(np.asarray(array))

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.torch().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._as_torch().__dlpack_device__()

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return self._as_torch().item()

    def tolist(self) -> Any:
        """The elements as nested lists, or a number for 0 dimensions."""
        return self._as_torch().tolist()

    def __bool__(self) -> bool:
        if self.numel() == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        if self.numel() > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    def __int__(self) -> int:
        return int(self._scalar())

    def __float__(self) -> float:
        return float(self._scalar())

    def _scalar(self) -> Any:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self.layout.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.layout.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any())

    def __repr__(self) -> str:
        return _representation(self)

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 and spec:
            return format(self.item(), spec)
        if spec:
            raise TypeError("unsupported format string passed to Tensor.__format__")
        return str(self.item()) if self.ndim == 0 else repr(self)

    __hash__ = object.__hash__

    def __copy__(self) -> Tensor:
        y = type(self).__new__(type(self))
        y.__dict__.update(self.__dict__)
        y._accumulator = None
        return y

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        with no_grad():
            fresh = self.clone()
        y = self.__copy__()
        y.__dict__.pop("_view", None)
        y.__dict__.pop("_leaf_hooks", None)
        y.__dict__.pop("_post_accumulate_hooks", None)
        y.storage, y.layout = fresh.storage, fresh.layout
        y.offset, y.address = fresh.offset, fresh.address
        memo[id(self)] = y
        if self._grad is not None:
            y._grad = copy.deepcopy(self._grad, memo)
        return y

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled; use detach() first")
        # The memory is cloned by PyTorch, so that a pickle holds no more than the tensor.
        return _rebuild, (type(self), self._as_torch().clone(), self._requires_grad)

    # Dtype and device

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """In another dtype and/or on another device: ``to(dtype)``, ``to(device)``,
        ``to(device, dtype)``, ``to(other)``, ``to(memory_format=...)``; the tensor itself where
        nothing changes."""
        dtype = kwargs.pop("dtype", None)
        device = kwargs.pop("device", None)
        copied = kwargs.pop("copy", False)
        memory_format = kwargs.pop("memory_format", torch.preserve_format)
        kwargs.pop("non_blocking", None)
        if kwargs:
            raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
        for arg in args:
            if isinstance(arg, torch.dtype):
                dtype = arg
            elif isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, (str, torch.device, int)) and not isinstance(arg, bool):
                device = arg
            elif not isinstance(arg, bool) and arg is not None:
                raise TypeError(
                    f"to() received an invalid combination of arguments - got {type(arg).__name__}"
                )
        y = self
        if dtype is not None:
            y = creation.cast(y, dtype)
        if device is not None:
            device = creation.resolve_device(device)
            if device != self.device:
                y = creation.to_device(y, device)
        y = y.clone() if copied and y is self else y
        if memory_format is torch.preserve_format:
            return y
        return creation.contiguous(y, memory_format)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> Tensor:
        """On a GPU."""
        return self.to(device)

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype of another tensor."""
        return self.to(other.dtype)

    def float(self) -> Tensor:
        """In float32."""
        return self.to(torch.float32)

    def double(self) -> Tensor:
        """In float64."""
        return self.to(torch.float64)

    def half(self) -> Tensor:
        """In float16."""
        return self.to(torch.float16)

    def bfloat16(self) -> Tensor:
        """In bfloat16."""
        return self.to(torch.bfloat16)

    def int(self) -> Tensor:
        """In int32."""
        return self.to(torch.int32)

    def short(self) -> Tensor:
        """In int16."""
        return self.to(torch.int16)

    def byte(self) -> Tensor:
        """In uint8."""
        return self.to(torch.uint8)

    def char(self) -> Tensor:
        """In int8."""
        return self.to(torch.int8)

    def long(self) -> Tensor:
        """In int64."""
        return self.to(torch.int64)

    def bool(self) -> Tensor:
        """In bool: whether an element is nonzero."""
        return self.to(torch.bool)

    # New tensors like this one

    def new(self, *args: Any) -> Tensor:
        """A tensor with this dtype and device: of the given data, or uninitialised of the sizes."""
        if len(args) == 1 and not isinstance(args[0], (int, torch.Size)):
            return self.new_tensor(args[0])
        return self.new_empty(*args or (0,))

    def new_tensor(self, data: Any, *, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """A tensor of ``data`` with this dtype and device."""
        return tensor(
            data, dtype=dtype or self.dtype, device=self.device, requires_grad=requires_grad
        )

    def new_full(
        self, size: Sequence[Any], fill_value: Any, *, dtype: Any = None, requires_grad: Any = False
    ) -> Tensor:
        """A filled tensor with this dtype and device."""
        return creation.make(size, fill_value, dtype or self.dtype, self.device, requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Zeros with this dtype and device."""
        return self.new_full(
            views.shape_arguments(size), 0, dtype=dtype, requires_grad=requires_grad
        )

    def new_ones(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Ones with this dtype and device."""
        return self.new_full(
            views.shape_arguments(size), 1, dtype=dtype, requires_grad=requires_grad
        )

    def new_empty(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """An uninitialised tensor with this dtype and device."""
        return creation.make(
            views.shape_arguments(size), None, dtype or self.dtype, self.device, requires_grad
        )


def _dtype_and_device(type_name: str) -> tuple[torch.dtype, str]:
    """What the name of a type, such as ``torch.cuda.FloatTensor``, says."""
    place, _, name = type_name.rpartition(".")
    devices = {"torch": "cpu", "torch.cuda": "cuda"}
    for dtype in creation.TRITON_DTYPE:
        if place in devices and name == f"{pointwise.type_name(dtype)}Tensor":
            return dtype, devices[place]
    raise ValueError(f"invalid type: '{type_name}'")


def _representation(x: Tensor) -> str:
    """As PyTorch prints; the numbers are formatted by PyTorch itself."""
    text = torch.Tensor.__repr__(x._as_torch())
    suffix = _maker(x)
    if suffix:
        suffix = f", grad_fn=<{suffix}>"
    elif x._requires_grad:
        suffix = ", requires_grad=True"
    if x._tangent is not None:
        suffix += f", tangent={x._tangent!r}"
    if not suffix:
        return text
    body = text[:-1]
    width = len(body) - body.rfind("\n") - 1 + len(suffix) + 1
    if width > 80:
        return f"{body},\n       {suffix[2:]})"
    return f"{body}{suffix})"


def _maker(x: Tensor) -> str:
    """The name of the node that made x, as a representation shows it; empty for a leaf."""
    try:
        node = x.grad_fn
    except RuntimeError:  # a view whose history cannot follow that of its base
        return "Invalid"
    return "" if node is None else node.name()


def _rebuild(cls: type, data: torch.Tensor, requires_grad: bool) -> Tensor:
    source = Tensor.from_torch_memory(data, shared=False)
    y: Tensor = object.__new__(cls)
    y.__dict__.update(source.__dict__)
    y._requires_grad = requires_grad
    return y


def tensor(
    data: Any,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new leaf with a copy of ``data``: numbers, nested sequences, arrays or tensors."""
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), "
            "rather than "
            "tensor(sourceTensor).",
            stacklevel=2,
        )
        y = data.detach().clone()
        y = y.to(dtype=dtype, device=device)
    else:
        if device is None and isinstance(data, torch.Tensor):
            device = data.device
        device = creation.resolve_device(device)
        if isinstance(data, torch.Tensor):
            made = data.detach().to(device, dtype, copy=True)
        else:
            made = torch.tensor(_plain(data), dtype=dtype, device=device)
        y = Tensor.from_torch_memory(made, shared=False)
    return creation.with_grad(y, requires_grad)


def _plain(data: Any) -> Any:
    """Nested sequences with our tensors as Python numbers."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data


def as_tensor(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing its memory where possible."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return from_torch(torch.as_tensor(data)).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def from_torch(tensor: torch.Tensor) -> Tensor:
    """A tensor that shares the memory of a torch tensor, outside both graphs.

    When one of our kernels writes into it, PyTorch's version counter moves, so that PyTorch's own
    backward notices.
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"from_torch expects a torch.Tensor, got {type(tensor).__name__}")
    return Tensor.from_torch_memory(tensor)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return Tensor.from_torch_memory(torch.from_numpy(array))


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any object with ``__dlpack__``."""
    return Tensor.from_torch_memory(torch.from_dlpack(source))


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a tensor of this package."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.layout.numel


def is_inference(input: Tensor) -> bool:
    """Whether the memory was allocated in inference mode."""
    return input.is_inference()


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point one."""
    return input.is_floating_point()


settle_attributes(Tensor)
dispatch.Tensor = Tensor  # type: ignore[misc]

__all__ = [
    "Tensor",
    "as_tensor",
    "from_dlpack",
    "from_numpy",
    "from_torch",
    "is_floating_point",
    "is_tensor",
    "numel",
    "tensor",
]
