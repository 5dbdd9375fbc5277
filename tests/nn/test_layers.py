"""Every module beside PyTorch's: printing, state_dict, outputs and gradients."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn

# name, arguments, input shape; None for what is random or works in place and is tested below
LAYERS = [
    ("Linear", (5, 3), {}, (4, 5)),
    ("Linear", (5, 3), {"bias": False}, (2, 4, 5)),
    ("Linear", (5, 3), {}, (5,)),
    ("Identity", (54,), {"unused": 1}, (2, 3)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Dropout", (), {}, None),
    ("Dropout", (0.0,), {}, (3, 4)),
    ("Dropout", (1.0,), {}, (3, 4)),
    ("LayerNorm", (4,), {}, (3, 4)),
    ("LayerNorm", ((3, 4),), {"eps": 1e-3}, (2, 3, 4)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (3, 4)),
    ("LayerNorm", (4,), {"bias": False}, (3, 4)),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {}, (5, 4, 3)),
    ("BatchNorm1d", (4,), {"affine": False, "momentum": 0.3, "eps": 1e-3}, (5, 4)),
    ("BatchNorm1d", (4,), {"track_running_stats": False}, (5, 4)),
    ("BatchNorm1d", (4,), {"momentum": None}, (5, 4)),
    ("ReLU", (), {}, (3, 4)),
    ("ReLU", (True,), {}, None),
    ("LeakyReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.3,), {"inplace": True}, None),
    ("Threshold", (0.2, -1.5), {}, (3, 4)),
    ("Threshold", (0.2, -1.5), {"inplace": True}, None),
    ("Tanh", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", ("tanh",), {}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("ELU", (), {}, (3, 4)),
    ("ELU", (0.5,), {"inplace": True}, None),
    ("Softplus", (), {}, (3, 4)),
    ("Softplus", (2.0, 0.5), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4)),
    ("Softmin", (1,), {}, (3, 4)),
    ("LogSoftmax", (), {"dim": 0}, (3, 4)),
]
LOSSES = [
    ("CrossEntropyLoss", {}),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": "sum"}),
    ("CrossEntropyLoss", {"weight": True, "ignore_index": 2}),
    ("NLLLoss", {"reduction": "none"}),
    ("NLLLoss", {"weight": True}),
    ("MSELoss", {}),
    ("L1Loss", {"reduction": "sum"}),
    ("SmoothL1Loss", {"beta": 0.5}),
    ("SmoothL1Loss", {"beta": 0.0}),
    ("HuberLoss", {"delta": 0.5}),
    ("BCELoss", {"weight": True}),
    ("BCEWithLogitsLoss", {"pos_weight": True}),
    ("KLDivLoss", {"reduction": "batchmean"}),
    ("KLDivLoss", {"reduction": "sum", "log_target": True}),
]
# Sums of at most 20 terms and a few roundings of functions that are right to 4 units.
TOLERANCE = {"rtol": 64 * 2**-24, "atol": 64 * 2**-24}


def ids(value):
    return value if isinstance(value, str) else ""


def seeded(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ours(value):
    return mt.from_torch(value.detach().clone())


def both(name, args, kwargs):
    """Our module and PyTorch's with the same parameters."""
    reference = getattr(torch.nn, name)(*args, **kwargs)
    module = getattr(nn, name)(*args, **kwargs)
    module.load_state_dict(reference.state_dict())
    return module, reference


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS, ids=ids)
def test_prints_as_pytorch(name, args, kwargs, shape):
    module, reference = both(name, args, kwargs)
    assert repr(module) == repr(reference)


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS, ids=ids)
def test_state_dict_has_pytorchs_keys(name, args, kwargs, shape):
    module, reference = both(name, args, kwargs)
    state, expected = module.state_dict(), reference.state_dict()
    assert list(state) == list(expected)
    assert state._metadata == expected._metadata
    for key, value in expected.items():
        assert state[key].dtype == value.dtype
        assert np.array_equal(state[key].numpy(), value.numpy())


DETERMINISTIC = [case for case in LAYERS if case[3] is not None]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), DETERMINISTIC, ids=ids)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients(name, args, kwargs, shape, training):
    module, reference = both(name, args, kwargs)
    module.train(training)
    reference.train(training)
    for step in range(3):
        value = seeded(shape, step)
        x, t = ours(value).requires_grad_(), value.clone().requires_grad_()
        y, expected = module(x), reference(t)
        torch.testing.assert_close(y.detach().torch(), expected.detach(), **TOLERANCE)
        cotangent = seeded(expected.shape, 10 + step)
        y.backward(ours(cotangent))
        expected.backward(cotangent)
        torch.testing.assert_close(x.grad.torch(), t.grad, **TOLERANCE)
    for (key, p), q in zip(module.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad.torch(), q.grad, **TOLERANCE, msg=key)
    for (key, p), q in zip(module.named_buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(p.torch(), q, **TOLERANCE, msg=key)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ReLU", ()),
        ("LeakyReLU", (0.3,)),
        ("Threshold", (0.2, -1.5)),
        ("ELU", (0.5,)),
        ("SiLU", ()),
    ],
    ids=ids,
)
def test_activations_in_place(name, args):
    module, reference = both(name, args, {"inplace": True})
    value = seeded((3, 4))
    x, t = ours(value).requires_grad_(), value.clone().requires_grad_()
    a, b = x * 2, t * 2
    y, expected = module(a), reference(b)
    assert y is a
    torch.testing.assert_close(y.detach().torch(), expected.detach(), **TOLERANCE)
    y.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad.torch(), t.grad, **TOLERANCE)


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_zeroes_and_scales(inplace):
    module = nn.Dropout(0.25, inplace=inplace)
    mt.manual_seed(0)
    x = mt.ones(100, 100)
    y = module(x)
    assert (y is x) == inplace
    kept = y.numpy() != 0
    # The share of kept elements has a standard deviation of 0.0043.
    assert abs(kept.mean() - 0.75) < 5 * 0.0043
    assert np.all(y.numpy()[kept] == np.float32(1 / 0.75))
    assert not np.array_equal(module(mt.ones(100, 100)).numpy(), y.numpy())
    x = mt.ones(3, 3)
    assert module.eval()(x) is x


@pytest.mark.parametrize("options", [{}, {"padding_idx": -1}, {"padding_idx": 1}])
def test_embedding(options):
    module, reference = both("Embedding", (6, 3), options)
    assert repr(module) == repr(reference)
    indices = torch.tensor([[0, 5], [1, 1], [5, 2]])
    y, expected = module(ours(indices)), reference(indices)
    assert np.array_equal(y.detach().numpy(), expected.detach().numpy())
    cotangent = seeded(expected.shape)
    y.backward(ours(cotangent))
    expected.backward(cotangent)
    torch.testing.assert_close(module.weight.grad.torch(), reference.weight.grad, **TOLERANCE)
    fresh = nn.Embedding(6, 3, **options)
    if options:
        assert not fresh.weight[fresh.padding_idx].detach().numpy().any()


def test_embedding_from_pretrained():
    weight = seeded((4, 2))
    module = nn.Embedding.from_pretrained(ours(weight))
    assert not module.weight.requires_grad
    assert np.array_equal(module(mt.tensor([3])).numpy(), weight[3:].numpy())
    assert nn.Embedding.from_pretrained(ours(weight), freeze=False).weight.requires_grad
    with pytest.raises(AssertionError, match="Padding_idx must be within num_embeddings"):
        nn.Embedding(4, 2, padding_idx=4)


def loss_inputs(name):
    """Input, target."""
    if name in ("CrossEntropyLoss", "NLLLoss"):
        return torch.log_softmax(seeded((6, 4)), 1), torch.tensor([0, 3, 2, 1, 2, 0])
    if name == "BCELoss":
        return torch.sigmoid(seeded((6, 4))), torch.rand(6, 4)
    if name == "KLDivLoss":
        return torch.log_softmax(seeded((6, 4)), 1), torch.softmax(seeded((6, 4), 1), 1)
    return seeded((6, 4)), torch.sigmoid(seeded((6, 4), 1))


@pytest.mark.parametrize(("name", "options"), LOSSES, ids=ids)
def test_losses(name, options):
    input, target = loss_inputs(name)
    tensors = {key: torch.rand(4) for key in options if "weight" in key}
    module = getattr(nn, name)(**options | {k: ours(v) for k, v in tensors.items()})
    reference = getattr(torch.nn, name)(**options | tensors)
    assert repr(module) == repr(reference)
    assert list(module.state_dict()) == list(reference.state_dict())
    x, t = ours(input).requires_grad_(), input.clone().requires_grad_()
    loss, expected = module(x, ours(target)), reference(t, target)
    assert tuple(loss.shape) == tuple(expected.shape)
    torch.testing.assert_close(loss.detach().torch(), expected.detach(), **TOLERANCE)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad.torch(), t.grad, **TOLERANCE)


def test_old_loss_arguments():
    for options in ({"size_average": False}, {"reduce": False}, {"reduce": True}):
        with pytest.warns(UserWarning, match="size_average and reduce args") as caught:
            module = nn.MSELoss(**options)
        with warnings.catch_warnings(record=True) as expected:
            warnings.simplefilter("always")
            reference = torch.nn.MSELoss(**options)
        assert module.reduction == reference.reduction
        assert str(caught[0].message) == str(expected[0].message)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 4))
        self.norm = nn.BatchNorm1d(4)
        self.scale = nn.Parameter(mt.ones(4))

    def forward(self, x):
        return self.norm(self.body(x)) * self.scale


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        t = torch.nn
        self.body = t.Sequential(t.Linear(6, 5), t.GELU(), t.LayerNorm(5), t.Linear(5, 4))
        self.norm = t.BatchNorm1d(4)
        self.scale = t.Parameter(torch.ones(4))

    forward = Net.forward


def test_models_exchange_their_state():
    model, reference = Net(), TorchNet()
    assert repr(model) == repr(reference).replace("TorchNet", "Net")
    assert str(model.load_state_dict(reference.state_dict())) == "<All keys matched successfully>"
    value = seeded((7, 6))
    torch.testing.assert_close(
        model(ours(value)).detach().torch(), reference(value).detach(), **TOLERANCE
    )
    # and back
    fresh = TorchNet()
    fresh.load_state_dict({key: v.torch() for key, v in model.state_dict().items()})
    torch.testing.assert_close(
        model.eval()(ours(value)).detach().torch(), fresh.eval()(value).detach(), **TOLERANCE
    )


def test_training_beside_pytorch():
    model, reference = Net(), TorchNet()
    model.load_state_dict(reference.state_dict())
    optimizer = mt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    expected = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    labels = torch.arange(8) % 4
    for step in range(10):
        value = seeded((8, 6), step)
        loss = nn.functional.cross_entropy(model(ours(value)), ours(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        other = torch.nn.functional.cross_entropy(reference(value), labels)
        expected.zero_grad()
        other.backward()
        expected.step()
        # Each step passes the last one's error on, at most a few times larger.
        bound = 64 * 2**-24 * (step + 1) * 4
        torch.testing.assert_close(loss.detach().torch(), other.detach(), rtol=bound, atol=bound)


def test_copy_pickle_and_save():
    model = Net()
    x = ours(seeded((7, 6)))
    model(x)
    model.eval()
    expected = model(x).detach().numpy()
    twin = copy.deepcopy(model)
    assert np.array_equal(twin(x).detach().numpy(), expected)
    with mt.no_grad():
        twin.scale.zero_()
    assert np.array_equal(model(x).detach().numpy(), expected)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again(x).detach().numpy(), expected)
    file = io.BytesIO()
    mt.save(model.state_dict(), file)
    file.seek(0)
    fresh = Net().eval()
    fresh.load_state_dict(mt.load(file))
    assert np.array_equal(fresh(x).detach().numpy(), expected)
    file.seek(0)
    TorchNet().load_state_dict(torch.load(file, weights_only=True))


def test_dtypes():
    model = Net().double()
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.norm.running_mean.dtype == torch.float64
    assert model.norm.num_batches_tracked.dtype == torch.int64
    parameter = model.scale
    assert model.to(torch.float16).scale is parameter
    assert model.to(mt.ones(1, dtype=torch.bfloat16)).scale.dtype == torch.bfloat16
    assert model.float().to("cpu", torch.float64).half().bfloat16().cpu() is model
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes, but got"):
        model.to(torch.int32)
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        model.to("cpu", torch.float32, False, "more")


ERRORS = [
    (lambda t, n: n.Dropout(1.5), ValueError),
    (lambda t, n: n.functional.dropout(t.ones(1), -0.1), ValueError),
    (lambda t, n: n.functional.dropout(None), TypeError),
    (lambda t, n: n.Linear(4, 3)(t.ones(2, 5)), RuntimeError),
    (lambda t, n: n.BatchNorm1d(4)(t.ones(4)), ValueError),
    (lambda t, n: n.BatchNorm1d(4)(t.ones(1, 4)), ValueError),
    (lambda t, n: n.BatchNorm1d(4, eps=0.0)(t.ones(2, 4)), ValueError),
    (lambda t, n: n.BatchNorm1d(4)(t.ones(2, 5)), RuntimeError),
    (lambda t, n: n.functional.mse_loss(t.ones(2), t.ones(2), reduction="avg"), ValueError),
    (lambda t, n: n.functional.binary_cross_entropy(t.ones(2), t.ones(3)), ValueError),
    (
        lambda t, n: n.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(3)),
        ValueError,
    ),
    (lambda t, n: n.functional.gelu(t.ones(2), approximate="erf"), RuntimeError),
    (lambda t, n: n.Linear(3, 2, biass=True), TypeError),
    (lambda t, n: n.functional.one_hot(t.tensor([3]), 2), RuntimeError),
    (lambda t, n: n.functional.one_hot(t.tensor([-1])), RuntimeError),
    (lambda t, n: n.Module()(1), NotImplementedError),
]


@pytest.mark.parametrize(("call", "kind"), ERRORS)
def test_errors_are_pytorchs(call, kind):
    with pytest.raises(kind) as expected:
        call(torch, torch.nn)
    with pytest.raises(kind) as raised:
        call(mt, nn)
    assert str(raised.value) == str(expected.value)


def test_size_warning_and_implicit_dim():
    with pytest.warns(UserWarning, match="Using a target size"):
        nn.functional.mse_loss(mt.ones(2, 1), mt.ones(2))
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        nn.Softmax()(mt.ones(2, 3))


def test_one_hot():
    classes = torch.tensor([[0, 2], [1, 3]])
    found = nn.functional.one_hot(ours(classes), 5)
    assert np.array_equal(found.numpy(), torch.nn.functional.one_hot(classes, 5).numpy())
    assert nn.functional.one_hot(ours(classes)).shape == (2, 2, 4)
