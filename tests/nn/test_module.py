"""Module's machinery beside PyTorch's: members, traversal, state_dict, printing, errors.

Each script runs on both frameworks; whatever it returns or raises must be equal.
"""

import gc
import weakref
from collections import OrderedDict

import pytest
import torch

import minitorch_triton as mt

SCRIPTS = []


def script(function):
    SCRIPTS.append(pytest.param(function, id=function.__name__))
    return function


def outcome(function, t):
    """What a script returns, or the exception it raises, as text."""
    try:
        return repr(function(t, t.nn))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def comparable(text):
    """Names of our own types as PyTorch's."""
    for ours, theirs in (
        ("minitorch_triton.nn.parameter.Buffer", "torch.FloatTensor"),
        ("minitorch_triton.nn.parameter.", "torch.nn.parameter."),
        ("minitorch_triton.tensor.Tensor", "torch.FloatTensor"),
        ("minitorch_triton.nn.linear.", "torch.nn.modules.linear."),
        ("minitorch_triton.nn.module.", "torch.nn.modules.module."),
        ("minitorch_triton.nn.container.", "torch.nn.modules.container."),
    ):
        text = text.replace(ours, theirs)
    return text


def net(t, n):
    class Block(n.Module):
        def __init__(self):
            super().__init__()
            self.fc = n.Linear(2, 3, bias=False)
            self.register_buffer("seen", t.zeros(2))
            self.register_buffer("scratch", t.zeros(1), persistent=False)
            self.register_buffer("nothing", None)

    class Net(n.Module):
        def __init__(self):
            super().__init__()
            self.first = Block()
            self.again = self.first
            self.layers = n.ModuleList([n.Linear(1, 1), n.ReLU()])
            self.scale = n.Parameter(t.ones(1))
            self.register_parameter("absent", None)
            self.by_name = n.ModuleDict({"a": n.Tanh(), "b": n.Dropout()})

        def extra_repr(self):
            return "two\nlines"

    return Net()


@script
def prints(t, n):
    return net(t, n)


@script
def names(t, n):
    model = net(t, n)
    return (
        [name for name, _ in model.named_parameters()],
        [name for name, _ in model.named_parameters(prefix="p", remove_duplicate=False)],
        [name for name, _ in model.named_parameters(recurse=False)],
        [name for name, _ in model.named_buffers()],
        [name for name, _ in model.named_modules()],
        [name for name, _ in model.named_modules(remove_duplicate=False)],
        [name for name, _ in model.named_children()],
        len(list(model.parameters())),
        len(list(model.modules())),
        list(model.state_dict()),
        list(model.state_dict(prefix="x.")),
    )


@script
def train_and_eval(t, n):
    model = net(t, n)
    model.eval()
    modes = [m.training for m in model.modules()]
    model.first.train()
    return modes, [m.training for m in model.modules()], model.train() is model


@script
def train_wants_a_bool(t, n):
    n.Linear(1, 1).train(1)


@script
def applies_from_the_leaves_up(t, n):
    visited = []
    model = net(t, n)
    assert model.apply(lambda m: visited.append(type(m).__name__)) is model
    return visited


@script
def paths(t, n):
    model = net(t, n)
    return (
        model.get_submodule("layers.0"),
        model.get_submodule("") is model,
        model.get_parameter("first.fc.weight") is model.first.fc.weight,
        model.get_buffer("first.seen") is model.first.seen,
    )


for number, lookup in enumerate(
    [
        lambda model: model.get_submodule("layers.7"),
        lambda model: model.get_submodule("scale"),
        lambda model: model.get_parameter("first"),
        lambda model: model.get_parameter("first.none"),
        lambda model: model.get_buffer("scale"),
        lambda model: model.get_buffer("none"),
        lambda model: model.set_submodule("", model),
        lambda model: model.set_submodule("a.b", model),
        lambda model: model.set_submodule("first", 3),
        lambda model: model.set_submodule("scale", model.first),
        lambda model: model.set_submodule("new", model.first, strict=True),
        lambda model: model.nonsense,
    ]
):
    SCRIPTS.append(
        pytest.param(lambda t, n, lookup=lookup: lookup(net(t, n)), id=f"bad_path_{number}")
    )


@script
def set_submodule(t, n):
    model = net(t, n)
    model.set_submodule("first.fc", n.Identity())
    model.set_submodule("layers.0", n.Tanh(), strict=True)
    return model


@script
def a_name_changes_its_meaning(t, n):
    m = n.Module()
    found = []
    for value in (n.Parameter(t.ones(1)), n.Linear(1, 1), n.Parameter(t.ones(2)), None):
        m.x = value
        found.append((list(m._parameters), list(m._modules), "x" in m.__dict__))
    del m.x
    m.x = t.ones(1)
    found.append((list(m._parameters), list(m._buffers), "x" in m.__dict__))
    m.x = n.Parameter(t.ones(1))
    found.append("x" in m.__dict__)
    m.register_buffer("b", t.ones(1), persistent=False)
    m.b = t.zeros(1)
    found.append((list(m._buffers), list(m.state_dict())))
    m.b = None
    found.append((m.b, list(m._buffers)))
    del m.b
    found.append((hasattr(m, "b"), m._non_persistent_buffers_set))
    return found


@script
def buffers_by_assignment(t, n):
    m = n.Module()
    m.kept = n.Buffer(t.ones(2))
    m.scratch = n.Buffer(t.zeros(1), persistent=False)
    m.kept = t.zeros(2)
    m.empty = n.Buffer()
    m.scratch = n.Buffer(t.ones(1))
    return (
        m.state_dict(),
        list(m.named_buffers()),
        [isinstance(x, n.Buffer) for x in (m.kept, m.scratch, t.ones(1))],
        m.scratch.persistent,
        m.empty.dtype,
        n.Buffer(t.ones(1, requires_grad=True)).requires_grad,
    )


for number, assign in enumerate(
    [
        lambda t, n, m: setattr(m, "p", t.ones(1)),
        lambda t, n, m: setattr(m, "p", 3),
        lambda t, n, m: setattr(m, "c", 3),
        lambda t, n, m: setattr(m, "b", 3),
        lambda t, n, m: setattr(m, "p", n.Buffer(t.ones(1))),
        lambda t, n, m: setattr(m, "c", n.Buffer(t.ones(1))),
        lambda t, n, m: setattr(m, "forward", n.Buffer(t.ones(1))),
        lambda t, n, m: delattr(m, "none"),
        lambda t, n, m: m.register_parameter("q", t.ones(1)),
        lambda t, n, m: m.register_parameter("q", n.Parameter(t.ones(1)) * 2),
        lambda t, n, m: m.register_parameter("a.b", None),
        lambda t, n, m: m.register_parameter("", None),
        lambda t, n, m: m.register_parameter(1, None),
        lambda t, n, m: m.register_parameter("forward", None),
        lambda t, n, m: m.register_parameter("b", None),
        lambda t, n, m: m.register_buffer("q", 3),
        lambda t, n, m: m.register_buffer("a.b", None),
        lambda t, n, m: m.register_buffer("", None),
        lambda t, n, m: m.register_buffer(1, None),
        lambda t, n, m: m.register_buffer("p", None),
        lambda t, n, m: m.add_module("q", 3),
        lambda t, n, m: m.add_module("a.b", None),
        lambda t, n, m: m.add_module("", None),
        lambda t, n, m: m.add_module(1, None),
        lambda t, n, m: m.add_module("p", n.ReLU()),
        lambda t, n, m: n.Module(1),
        lambda t, n, m: n.Module(a=1),
    ]
):

    def bad_member(t, n, assign=assign):
        m = n.Module()
        m.p = n.Parameter(t.ones(1))
        m.c = n.Linear(1, 1)
        m.register_buffer("b", t.ones(1))
        assign(t, n, m)

    SCRIPTS.append(pytest.param(bad_member, id=f"bad_member_{number}"))


for number, value in enumerate(
    [
        lambda t, n: n.Parameter(t.ones(1)),
        lambda t, n: n.ReLU(),
        lambda t, n: n.Buffer(t.ones(1)),
    ]
):

    def before_init(t, n, value=value):
        class Net(n.Module):
            def __init__(self):
                self.x = value(t, n)

        Net()

    SCRIPTS.append(pytest.param(before_init, id=f"before_init_{number}"))


@script
def registers_before_init(t, n):
    class Net(n.Module):
        def __init__(self):
            self.register_buffer("b", None)

    Net()


@script
def dir_lists_the_members(t, n):
    own = [name for name in dir(net(t, n)) if not name.startswith("_")]
    known = {"first", "again", "layers", "scale", "absent", "by_name", "training", "forward"}
    return sorted(known & set(own)), "0" in dir(n.Sequential(n.ReLU()))


@script
def freezes(t, n):
    model = net(t, n)
    assert model.requires_grad_(False) is model
    return [p.requires_grad for p in model.parameters()]


@script
def zero_grad(t, n):
    m = n.Linear(1, 1)
    m(t.ones(2, 1)).sum().backward()
    m.zero_grad(set_to_none=False)
    first = [p.grad.tolist() for p in m.parameters()]
    m.zero_grad()
    return first, [p.grad for p in m.parameters()]


@script
def keep_vars(t, n):
    m = n.Linear(1, 1)
    kept, detached = m.state_dict(keep_vars=True), m.state_dict()
    return (
        kept["weight"] is m.weight,
        detached["weight"].requires_grad,
        detached["weight"].data_ptr() == m.weight.data_ptr(),
    )


# Loading


def loads(change, strict=True, assign=False):
    def run(t, n):
        model = net(t, n)
        state = OrderedDict((key, value.clone()) for key, value in model.state_dict().items())
        change(t, state)
        return model.load_state_dict(state, strict=strict, assign=assign)

    return run


CHANGES = {
    "nothing": lambda t, s: None,
    "missing": lambda t, s: s.pop("scale"),
    "missing_below": lambda t, s: s.pop("first.fc.weight"),
    "unexpected": lambda t, s: s.update(more=t.ones(1)),
    "unexpected_below": lambda t, s: s.update({"first.more": t.ones(1), "first.a.b": t.ones(1)}),
    "both": lambda t, s: (s.pop("scale"), s.update(more=t.ones(1))),
    "shape": lambda t, s: s.update(scale=t.ones(3)),
    "two_shapes": lambda t, s: s.update({"scale": t.ones(3), "first.seen": t.ones(1)}),
    "not_a_tensor": lambda t, s: s.update(scale=3),
    "non_persistent": lambda t, s: s.update({"first.scratch": t.ones(1)}),
    "absent": lambda t, s: s.update(absent=t.ones(1)),
}
for name, change in CHANGES.items():
    for options in ({}, {"strict": False}, {"assign": True}):
        label = f"load_{name}_{'_'.join(options)}"
        SCRIPTS.append(pytest.param(loads(change, **options), id=label))


@script
def loads_only_mappings(t, n):
    n.ReLU().load_state_dict([1])


@script
def assign_takes_the_tensors_over(t, n):
    m = n.Linear(2, 1)
    weight = t.ones(1, 2)
    m.bias.requires_grad_(False)
    m.load_state_dict({"weight": weight, "bias": t.zeros(1)}, assign=True)
    return (
        type(m.weight).__name__,
        m.weight.data_ptr() == weight.data_ptr(),
        m.weight.requires_grad,
        m.bias.requires_grad,
    )


@script
def a_scalar_loads_one_element(t, n):
    m = n.Module()
    m.x = n.Parameter(t.tensor(1.0))
    m.load_state_dict({"x": t.tensor([5.0])})
    return m.x.item()


@script
def extra_state(t, n):
    class Counter(n.Module):
        count = 3

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    m = n.Sequential(Counter())
    state = m.state_dict()
    fresh = n.Sequential(Counter())
    state["0._extra_state"] = {"count": 7}
    fresh.load_state_dict(state)
    return list(state), fresh[0].count, outcome(lambda t, n: m.load_state_dict({}), t)


@script
def old_batch_norm_state(t, n):
    m = n.BatchNorm1d(2)
    state = m.state_dict()
    del state["num_batches_tracked"]
    found = [outcome(lambda t, n: m.load_state_dict(state), t)]
    return [*found, m.load_state_dict(dict(state))]


@script
def state_dict_hooks(t, n):
    calls = []
    m = n.Sequential(n.Linear(1, 1))
    m.register_state_dict_pre_hook(lambda *args: calls.append(("pre", *args[1:])))
    m[0].register_state_dict_post_hook(
        lambda module, state, prefix, metadata: state.update({prefix + "more": 1})
    )
    m[0].register_load_state_dict_pre_hook(
        lambda module, state, prefix, *rest: state.pop(prefix + "more")
    )
    m.register_load_state_dict_post_hook(
        lambda module, keys: (
            (calls.append(list(keys.missing_keys)), keys.missing_keys.clear())[:0] or None
        )
    )
    state = m.state_dict()
    found = list(state)
    del state["0.bias"]
    return found, m.load_state_dict(state), calls


@script
def a_post_hook_must_return_nothing(t, n):
    m = n.ReLU()
    m.register_state_dict_post_hook(lambda *args: 3)
    m.state_dict()


# Containers


@script
def sequential(t, n):
    s = n.Sequential(n.ReLU(), n.Tanh(), n.Sigmoid())
    named = n.Sequential(OrderedDict(a=n.ReLU(), b=n.Tanh()))
    found = [s[0], s[-1], s[1:], named.a, named[1], len(s), list(named._modules)]
    s.append(n.GELU()).insert(1, n.SiLU()).extend([n.ELU()])
    found.append(repr(s))
    del s[0]
    s[0] = n.Identity()
    found += [repr(s), s.pop(-1), repr(s)]
    del s[1:3]
    found += [repr(s), repr(s + named), repr(named * 2), repr(2 * named)]
    s += n.Sequential(n.Tanh())
    s *= 2
    return [*found, repr(s)]


@script
def module_list(t, n):
    m = n.ModuleList([n.ReLU(), n.ReLU(), n.Linear(1, 2), n.Linear(1, 2), n.Tanh()])
    found = [repr(m), m[0], m[-1], m[1:3], len(m), [type(x).__name__ for x in m]]
    m.append(n.GELU())
    m.extend([n.SiLU()])
    m += [n.ELU()]
    m.insert(1, n.Sigmoid())
    found.append(repr(m))
    del m[0]
    del m[1:3]
    found += [repr(m), m.pop(0), repr(m + [n.Tanh()]), repr(n.ModuleList())]
    return found


@script
def module_dict(t, n):
    m = n.ModuleDict({"a": n.ReLU(), "b": n.Tanh()})
    m["c"] = n.GELU()
    m.update([("d", n.SiLU())])
    m.update(n.ModuleDict({"e": n.ELU()}))
    found = [repr(m), list(m), len(m), "a" in m, m["a"], list(m.keys()), list(m.values())]
    found += [list(m.items()), m.pop("a")]
    del m["b"]
    found.append(repr(m))
    m.clear()
    return [*found, len(m), repr(m)]


for number, action in enumerate(
    [
        lambda n: n.Sequential(n.ReLU())[1],
        lambda n: n.Sequential(n.ReLU())[-2],
        lambda n: n.Sequential(3),
        lambda n: n.Sequential() + 3,
        lambda n: n.Sequential() * 0,
        lambda n: n.Sequential() * 1.5,
        lambda n: n.Sequential().insert(1, n.ReLU()),
        lambda n: n.Sequential().insert(0, 3),
        lambda n: n.ModuleList([n.ReLU()])[1],
        lambda n: n.ModuleList([3]),
        lambda n: n.ModuleList().extend(3),
        lambda n: n.ModuleList()(1),
        lambda n: n.ModuleDict({"a": n.ReLU()})["b"],
        lambda n: n.ModuleDict({"a.b": n.ReLU()}),
        lambda n: n.ModuleDict().update(3),
        lambda n: n.ModuleDict().update([3]),
        lambda n: n.ModuleDict().update([(1, 2, 3)]),
    ]
):
    SCRIPTS.append(
        pytest.param(lambda t, n, action=action: action(n), id=f"bad_container_{number}")
    )


@script
def parameters(t, n):
    p = n.Parameter(t.ones(2))
    q = n.Parameter(t.ones(2), requires_grad=False)
    data = t.ones(2)
    return (
        repr(p),
        repr(q),
        p.is_leaf,
        n.Parameter(data).data_ptr() == data.data_ptr(),
        n.Parameter().shape,
        type(p * 1).__name__,
        type(p.detach()).__name__,
        n.Parameter(p * 2).is_leaf,
    )


@script
def parameters_of_integers(t, n):
    n.Parameter(t.ones(2, dtype=t.int64))


@pytest.mark.parametrize("function", SCRIPTS)
def test_as_pytorch(function):
    ours, theirs = outcome(function, mt), outcome(function, torch)
    assert comparable(ours) == theirs


def test_modules_are_freed_at_once():
    model = net(mt, mt.nn)
    model.register_load_state_dict_pre_hook(lambda *args: None)
    reference = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert reference() is None
    finally:
        gc.enable()


def test_unknown_keyword():
    with pytest.raises(TypeError, match="unexpected keyword argument 'in_feature'"):
        mt.nn.Linear(in_feature=3, out_features=2)
