"""SGD, Adam and AdamW against PyTorch's, step for step."""

import copy
import weakref

import numpy as np
import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn, optim
from minitorch_triton.cpu.launch import PreparedKernel

SHAPES = [(3,), (7, 5), (), (4097,), (1,), (0,)]
STEPS = 20
OPTIMIZERS = ["SGD", "Adam", "AdamW"]

# At most 8 operations a step round, and the errors of 20 steps add up; see also the kernels' tests.
TOLERANCE = {
    torch.float32: {"rtol": 160 * 2**-24, "atol": 160 * 2**-24},
    torch.float64: {"rtol": 160 * 2**-53, "atol": 160 * 2**-53},
}


def case_id(value):
    return value if isinstance(value, str) else "-".join(value)


class Pair:
    """The same parameters here and in PyTorch, each with an optimizer."""

    def __init__(self, name, dtype=torch.float32, shapes=SHAPES, groups=None, **options):
        self.generator = torch.Generator().manual_seed(0)
        values = [self.draw(shape, dtype) for shape in shapes]
        self.ours = [nn.Parameter(mt.from_torch(value.clone())) for value in values]
        self.theirs = [torch.nn.Parameter(value.clone()) for value in values]
        groups = groups or (lambda params: params)
        self.optimizer = getattr(optim, name)(groups(self.ours), **options)
        self.reference = getattr(torch.optim, name)(groups(self.theirs), **options)

    def draw(self, shape, dtype):
        return torch.randn(shape, generator=self.generator).to(dtype)

    def give_gradients(self, but=()):
        for i, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            grad = None if i in but else self.draw(q.shape, q.dtype)
            p.grad = None if grad is None else mt.from_torch(grad.clone())
            q.grad = grad

    def step(self, but=()):
        self.give_gradients(but)
        self.optimizer.step()
        self.reference.step()

    def check(self):
        for p, q in zip(self.ours, self.theirs, strict=True):
            torch.testing.assert_close(p.detach().torch(), q.detach(), **TOLERANCE[q.dtype])


CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"maximize": True, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "maximize": True, "eps": 1e-3}),
]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_step_for_step(name, options, dtype):
    pair = Pair(name, dtype, **options)
    for _ in range(STEPS):
        pair.step()
        pair.check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_without_a_gradient_wait(name):
    options = {"momentum": 0.9, "dampening": 0.5} if name == "SGD" else {}
    pair = Pair(name, lr=0.1, **options)
    for step in range(STEPS):
        pair.step(but=[[], [0], [0, 3], [1]][step % 4])
    pair.check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_and_a_group_added_later(name):
    def groups(params):
        return [
            {"params": params[:2], "lr": 0.5},
            {"params": params[2:4], "weight_decay": 0.1},
        ]

    pair = Pair(name, groups=groups, lr=0.01)
    for step in range(6):
        if step == 3:
            pair.optimizer.add_param_group({"params": pair.ours[4:], "lr": 0.2})
            pair.reference.add_param_group({"params": pair.theirs[4:], "lr": 0.2})
        pair.step()
    pair.check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_layouts(name):
    """Gradients and parameters that are transposed, expanded or have gaps."""
    values = torch.randn(6, 8)

    # Separate memory for each, because they would overlap.
    def separate(make, parameter):
        return [
            parameter(make(view(values.clone())))
            for view in (lambda x: x, lambda x: x.t(), lambda x: x[:, ::2], lambda x: x[1:3])
        ]

    ours = separate(mt.from_torch, nn.Parameter)
    theirs = separate(lambda x: x, torch.nn.Parameter)
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(optim, name)(ours, lr=0.1, **options)
    reference = getattr(torch.optim, name)(theirs, lr=0.1, **options)
    for _ in range(4):
        for p, q in zip(ours, theirs, strict=True):
            grad = torch.randn(q.shape[1], q.shape[0]).t()
            p.grad, q.grad = mt.from_torch(grad), grad
        optimizer.step()
        reference.step()
        grad = torch.randn(1, 1).expand(ours[0].shape)
        ours[0].grad, theirs[0].grad = mt.from_torch(grad), grad.clone()
        optimizer.step()
        reference.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach().torch(), q.detach(), **TOLERANCE[torch.float32])


def test_the_state_of_a_transposed_parameter_is_as_in_pytorch():
    value, grad = torch.randn(5, 3), torch.randn(3, 5)
    ours, theirs = mt.from_torch(value.clone()).t(), value.clone().t()
    optimizer = optim.SGD([ours], lr=0.1, momentum=0.9)
    reference = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    ours.grad, theirs.grad = mt.from_torch(grad), grad
    optimizer.step()
    reference.step()
    state = optimizer.state[ours]["momentum_buffer"]
    assert state.stride() == (1, 3)
    assert torch.equal(state.torch(), reference.state[theirs]["momentum_buffer"])


def converted(name, change):
    """The parameter after a step, a change of what it is, and two more steps; and its optimizer."""
    grads = torch.arange(18.0).view(3, 2, 3) / 8 - 1
    p = nn.Parameter(mt.from_torch(torch.ones(2, 3)))
    optimizer = getattr(optim, name)([p], lr=0.125, **{"SGD": {"momentum": 0.5}}.get(name, {}))
    for step, grad in enumerate(grads):
        if step == 1:
            p.data = change(p.data)
        p.grad = mt.from_torch(grad).to(p.dtype)
        optimizer.step()
    return p, optimizer


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_state_follows_a_parameter_that_becomes_another(name):
    expected, _ = converted(name, lambda x: x)
    for change, tolerance in [
        (lambda x: x.double(), 2**-20),
        (lambda x: x.half(), 2**-8),
        (lambda x: x.t().contiguous().t(), 0),
    ]:
        p, optimizer = converted(name, change)
        np.testing.assert_allclose(
            p.detach().float().numpy(), expected.detach().numpy(), rtol=0, atol=tolerance
        )
        tensors = [value for value in optimizer.state[p].values() if isinstance(value, mt.Tensor)]
        assert tensors
        assert all(tensor.layout is p.layout for tensor in tensors)


def test_gradients_and_state_of_another_size_or_dtype():
    p = nn.Parameter(mt.zeros(3))
    p.grad_dtype = None
    p.grad = mt.tensor([1.0, 2.0, 3.0], dtype=mt.float64)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5)
    optimizer.step()
    assert p.tolist() == [-1.0, -2.0, -3.0]
    p.data = mt.zeros(2)
    with pytest.raises(RuntimeError, match=r"state of size \[3\] does not fit .* size \[2\]"):
        optimizer.step()
    optimizer.state.clear()
    with pytest.raises(RuntimeError, match=r"gradient of size \[3\] does not fit .* size \[2\]"):
        optimizer.step()
    assert p.tolist() == [0.0, 0.0]


def test_a_state_in_a_new_dictionary_counts_its_steps():
    pair = Pair("Adam", shapes=[(3,)], lr=0.1)
    for step in range(5):
        pair.step()
        if step == 2:
            param = pair.ours[0]
            pair.optimizer.state[param] = dict(pair.optimizer.state[param])
    pair.check()
    assert pair.optimizer.state[pair.ours[0]]["step"] == 5


def test_one_launch_for_all_parameters(monkeypatch):
    pair = Pair("SGD", lr=0.1, momentum=0.9)
    pair.step()
    started = []
    start = PreparedKernel.start
    monkeypatch.setattr(PreparedKernel, "start", lambda *args: (started.append(args), start(*args)))
    for _ in range(3):
        pair.give_gradients()
        started.clear()
        pair.optimizer.step()
        assert len(started) == 1


def test_the_table_is_built_anew_only_for_new_parameters(monkeypatch):
    pair = Pair("Adam")
    pair.step()
    pair.step()
    monkeypatch.setattr(pair.optimizer, "_build", None)
    kept = []
    for _ in range(3):
        kept += [p.grad for p in pair.ours]  # so that the next gradients lie elsewhere
        pair.step()
    pair.check()
    monkeypatch.undo()
    pair.ours[1].data = pair.ours[1].detach().clone()
    pair.step()
    pair.check()


def test_an_optimizer_keeps_no_gradient():
    pair = Pair("SGD", shapes=[(3,)], lr=0.1)
    memory = []
    for _ in range(3):
        pair.step()
        memory.append(weakref.ref(pair.ours[0].grad.storage))
    pair.optimizer.zero_grad()
    assert [storage() for storage in memory] == [None, None, None]


def test_without_kernels_nothing_changes(monkeypatch):
    for name in OPTIMIZERS:
        pair = Pair(name, lr=0.1)
        pair.give_gradients()
        before = [p.detach().clone() for p in pair.ours]
        monkeypatch.setattr(PreparedKernel, "start", lambda *args: None)
        pair.optimizer.step()
        monkeypatch.undo()
        for p, q in zip(pair.ours, before, strict=True):
            assert np.array_equal(p.detach().numpy(), q.numpy())


def test_versions_count_the_writes():
    p = nn.Parameter(mt.zeros(3))
    p.grad = mt.ones(3)
    optimizer = optim.SGD([p], lr=1.0)
    y = (p * p).sum()
    version = p._version
    optimizer.step()
    assert p._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_changed_learning_rate_and_state_are_used():
    pair = Pair("Adam", lr=0.1)
    pair.step()
    for optimizer in (pair.optimizer, pair.reference):
        optimizer.param_groups[0]["lr"] = 0.01
    for p, q in zip(pair.ours, pair.theirs, strict=True):
        if q.numel():
            pair.optimizer.state[p]["exp_avg"] = mt.from_torch(torch.full_like(q, 0.5).detach())
            pair.reference.state[q]["exp_avg"] = torch.full_like(q, 0.5).detach()
    pair.step()
    pair.check()


def as_torch(value):
    """A state_dict with torch's tensors."""
    if isinstance(value, mt.Tensor):
        return value.detach().torch().clone()
    if isinstance(value, dict):
        return {key: as_torch(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_torch(item) for item in value)
    return value


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_state_dict_goes_both_ways(name, options):
    pair = Pair(name, shapes=[(3,), (7, 5)], **options)
    for _ in range(3):
        pair.step()
    ours, theirs = as_torch(pair.optimizer.state_dict()), pair.reference.state_dict()
    assert ours.keys() == theirs.keys()
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["state"]) == list(theirs["state"])
    for number, state in theirs["state"].items():
        assert list(ours["state"][number]) == list(state)
        for key, value in state.items():
            torch.testing.assert_close(
                ours["state"][number][key], value, **TOLERANCE[torch.float32]
            )
    # Each takes over the other's state and goes on from there.
    pair.reference.load_state_dict(ours)
    pair.optimizer.load_state_dict(copy.deepcopy(theirs))
    for _ in range(3):
        pair.step()
    pair.check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_saved_state_goes_both_ways(name, tmp_path):
    options = {"momentum": 0.9} if name == "SGD" else {}
    pair = Pair(name, shapes=[(3,), (7, 5)], lr=0.1, **options)
    pair.step()
    mt.save(pair.optimizer.state_dict(), tmp_path / "ours")
    torch.save(pair.reference.state_dict(), tmp_path / "theirs")
    pair.reference.load_state_dict(torch.load(tmp_path / "ours", weights_only=True))
    pair.optimizer.load_state_dict(mt.load(tmp_path / "theirs"))
    pair.step()
    pair.check()


def test_load_state_dict_copies():
    pair = Pair("SGD", shapes=[(3,)], lr=0.1, momentum=0.9)
    pair.step()
    state = pair.optimizer.state_dict()
    before = state["state"][0]["momentum_buffer"].clone()
    pair.optimizer.load_state_dict(state)
    pair.step()
    assert np.array_equal(before.numpy(), state["state"][0]["momentum_buffer"].numpy())


def test_state_without_momentum_is_empty():
    pair = Pair("SGD", lr=0.1)
    pair.step()
    assert not pair.optimizer.state
    assert pair.optimizer.state_dict()["state"] == {}


def test_closure_runs_with_gradients_and_its_loss_is_returned():
    p = nn.Parameter(mt.ones(2))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with mt.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 2.0
    assert p.tolist() == [0.0, 0.0]
    assert optimizer.step() is None


def test_zero_grad():
    p = nn.Parameter(mt.ones(2))
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = mt.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_prints_as_pytorch(name):
    pair = Pair(name, lr=0.25)
    assert repr(pair.optimizer) == repr(pair.reference)


def test_hooks():
    calls = []
    p = nn.Parameter(mt.ones(1))
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: calls.append("pre"))
    handle = optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append("post"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert calls == ["pre", "post", "pre"]


def test_pickle_and_deepcopy():
    pair = Pair("SGD", shapes=[(3,)], lr=0.1, momentum=0.9)
    pair.step()
    other = copy.deepcopy(pair.optimizer)
    (p,) = other.param_groups[0]["params"]
    assert p is not pair.ours[0]
    p.grad = mt.ones(3)
    other.step()
    assert other.state[p]["momentum_buffer"] is not None


BAD = [
    ("SGD", {"lr": -1.0}),
    ("SGD", {"momentum": -0.5}),
    ("SGD", {"weight_decay": -0.5}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"lr": -1.0}),
    ("Adam", {"eps": -1.0}),
    ("Adam", {"betas": (1.0, 0.5)}),
    ("Adam", {"betas": (0.5, -0.1)}),
    ("AdamW", {"weight_decay": -1.0}),
    ("SGD", {"fused": True, "foreach": True}),
]


def both_raise(ours, theirs):
    with pytest.raises(Exception) as expected:  # noqa: PT011 (any, as long as both are equal)
        theirs()
    with pytest.raises(type(expected.value)) as raised:
        ours()
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize(("name", "options"), BAD, ids=str)
def test_bad_options(name, options):
    both_raise(
        lambda: getattr(optim, name)([nn.Parameter(mt.ones(1))], **options),
        lambda: getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))], **options),
    )


def test_a_gradient_that_overlaps_its_parameter_is_refused():
    array = np.arange(8, dtype=np.float32)
    p = nn.Parameter(mt.from_numpy(array[1:6]))
    optimizer = optim.SGD([p], lr=1.0)
    for _ in range(2):  # the second time the gradient of an earlier step has moved
        p.grad = mt.from_numpy(array[:5])
        before = array.copy()
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            optimizer.step()
        assert np.array_equal(array, before)
        p.grad = mt.ones(5)
        optimizer.step()
        assert array[1:6].tolist() == (before[1:6] - 1).tolist()
    p.grad = mt.from_numpy(array[1:6])
    optimizer.step()
    assert array[1:6].tolist() == [0] * 5


def test_bad_parameters():
    p, q = nn.Parameter(mt.ones(1)), torch.nn.Parameter(torch.ones(1))
    ours, theirs = optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    both_raise(lambda: optim.SGD([]), lambda: torch.optim.SGD([]))
    both_raise(lambda: optim.SGD([p * 2]), lambda: torch.optim.SGD([q * 2]))
    both_raise(lambda: optim.SGD(["a"]), lambda: torch.optim.SGD(["a"]))
    both_raise(lambda: optim.SGD([{"params": {p}}]), lambda: torch.optim.SGD([{"params": {q}}]))
    both_raise(
        lambda: ours.add_param_group({"params": [p]}),
        lambda: theirs.add_param_group({"params": [q]}),
    )
    both_raise(lambda: ours.add_param_group([p]), lambda: theirs.add_param_group([q]))
    with pytest.raises(TypeError, match="should be an iterable of Tensors or dicts, but got"):
        optim.SGD(p)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p])
    with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rate'"):
        optim.SGD([p], learning_rate=0.1)


def test_bad_state_dict():
    def pair_of(module, parameter, ones):
        one = module.SGD([parameter(ones(1))], lr=0.1)
        two = module.SGD([parameter(ones(1)), parameter(ones(1))], lr=0.1)
        groups = module.SGD([{"params": [parameter(ones(1))]} for _ in range(2)], lr=0.1)
        return one, two, groups

    ours = pair_of(optim, nn.Parameter, mt.ones)
    theirs = pair_of(torch.optim, torch.nn.Parameter, torch.ones)
    for i in (1, 2):
        both_raise(
            lambda i=i: ours[0].load_state_dict(ours[i].state_dict()),
            lambda i=i: theirs[0].load_state_dict(theirs[i].state_dict()),
        )
