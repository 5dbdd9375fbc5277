"""The multi-tensor kernels on plain torch tensors, against torch.optim and torch.nn.utils."""

import pytest
import torch

from minitorch_triton.kernels import optimizers as K
from minitorch_triton.kernels.launch import INTERPRETED

DTYPES = [
    torch.float32,
    torch.float64,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(INTERPRETED, reason="the interpreter truncates to bfloat16"),
    ),
    torch.float16,
]
SHAPES = [(3,), (257, 33), (), (4096,), (1,), (0,), (4097,)]  # around and beyond one block
STEPS = 20

# A step rounds a few times (at most 8 operations), and the errors of 20 steps add up. Half types
# round once a step; now and then an error of float32 moves a result across a rounding boundary,
# which is one unit of a value below 4, and no step makes a later difference larger.
TOLERANCE = {
    torch.float32: {"rtol": 20 * 8 * 2**-24, "atol": 20 * 8 * 2**-24},
    torch.float64: {"rtol": 20 * 8 * 2**-53, "atol": 20 * 8 * 2**-53},
    torch.bfloat16: {"rtol": 2 * 2**-7, "atol": 4 * 2**-7},
    torch.float16: {"rtol": 2 * 2**-10, "atol": 4 * 2**-10},
}


def case_id(value):
    return value if isinstance(value, str) else "-".join(value)


class Reference:
    """torch's own optimizer; for half types in float32, with parameters and state rounded once a
    step, which is what our kernels promise (torch 2.13's fused SGD is wrong for them on a CPU).
    """

    def __init__(self, cls, values, **options):
        self.dtype = values[0].dtype
        self.half = self.dtype in (torch.bfloat16, torch.float16)
        dtype = torch.float32 if self.half else self.dtype
        self.params = [torch.nn.Parameter(value.to(dtype, copy=True)) for value in values]
        self.optimizer = cls(self.params, foreach=False, **options)

    def step(self, gradients):
        for p, g in zip(self.params, gradients, strict=True):
            p.grad = g.to(p.dtype, copy=True)
        self.optimizer.step()
        if self.half:
            state = [t for s in self.optimizer.state.values() for k, t in s.items() if k != "step"]
            for tensor in [*(p.data for p in self.params), *state]:
                if tensor is not None:
                    tensor.copy_(tensor.to(self.dtype))

    def check(self, ours):
        for p, q in zip(ours, self.params, strict=True):
            torch.testing.assert_close(p, q.detach().to(self.dtype), **TOLERANCE[self.dtype])


PLAIN_SGD = {
    "momentum": 0.0,
    "dampening": 0.0,
    "weight_decay": 0.0,
    "nesterov": False,
    "maximize": False,
}


def table(columns, block=None):
    """Columns of torch tensors to a table."""
    first = columns[0][0]
    rows = K.table_rows(
        [[tensor.data_ptr() for tensor in row] for row in columns],
        [row[0].numel() for row in columns],
        first.element_size(),
        block or K.block_size(first.device),
    )
    return torch.from_numpy(rows)


def randn(shapes, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.01, "maximize": True},
        {"lr": 0.03, "momentum": 0.9},
        {"lr": 0.03, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"lr": 0.03, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ],
    ids=case_id,
)
def test_sgd(dtype, options):
    ours = randn(SHAPES, dtype, 0)
    reference = Reference(torch.optim.SGD, ours, **options)
    buffers = [torch.full_like(p, float("nan")) for p in ours]  # what is fresh must not be read
    scalars = {
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "maximize": False,
    }
    scalars |= options
    for step in range(STEPS):
        gradients = randn(SHAPES, dtype, step + 1)
        reference.step(gradients)
        columns = [ours, gradients] + ([buffers] if scalars["momentum"] else [])
        K.sgd(table(list(zip(*columns, strict=True))), dtype, **scalars, first=step == 0)
    reference.check(ours)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e-2},
        {"lr": 1e-2, "betas": (0.5, 0.9), "eps": 1e-6, "weight_decay": 0.1},
        {"lr": 1e-2, "amsgrad": True, "maximize": True, "weight_decay": 0.0},
    ],
    ids=case_id,
)
def test_adam(dtype, cls, options):
    ours = randn(SHAPES, dtype, 0)
    reference = Reference(cls, ours, **options)
    state = [[torch.zeros_like(p) for p in ours] for _ in range(3 if "amsgrad" in options else 2)]
    names = ("lr", "eps", "weight_decay", "amsgrad", "maximize")
    scalars = {name: reference.optimizer.defaults[name] for name in names}
    scalars |= zip(("beta1", "beta2"), reference.optimizer.defaults["betas"], strict=True)
    for step in range(STEPS):
        gradients = randn(SHAPES, dtype, step + 1)
        reference.step(gradients)
        rows = table(list(zip(ours, gradients, *state, strict=True)))
        scalars["step_size"], scalars["correction"] = K.bias_corrected(
            scalars["lr"], scalars["beta1"], scalars["beta2"], step + 1
        )
        K.adam(rows, dtype, **scalars, decoupled=cls is torch.optim.AdamW)
    reference.check(ours)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's inf * 0
def test_decay_of_zero_leaves_an_infinite_parameter_alone():
    p = torch.tensor([float("inf"), 1.0])
    g = torch.tensor([1.0, float("nan")])
    K.sgd(table([(p, g)]), p.dtype, lr=0.5, **PLAIN_SGD, first=False)
    torch.testing.assert_close(p, torch.tensor([float("inf"), float("nan")]), equal_nan=True)


def test_neighbours_of_a_block_are_not_touched():
    memory = torch.zeros(300)
    p, g = memory[100:200], torch.ones(100)
    K.sgd(table([(p, g)]), p.dtype, lr=1.0, **PLAIN_SGD, first=False)
    expected = torch.zeros(300)
    expected[100:200] = -1
    assert torch.equal(memory, expected)


def test_learning_rate_is_a_run_time_number_and_exact_in_float64():
    p, g = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    K.sgd(table([(p, g)]), p.dtype, lr=0.1, **PLAIN_SGD, first=False)
    assert p.item() == -0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_by_norm(dtype, order, max_norm):
    gradients = randn(SHAPES, dtype, 0)
    reference = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients if g.numel()]
    for p, g in zip(reference, (g for g in gradients if g.numel()), strict=True):
        p.grad = g.to(torch.float64).to(dtype).clone()
    rows = table([(g,) for g in gradients])
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    partial, total = torch.empty(rows.shape[0], dtype=compute), torch.empty((), dtype=compute)
    K.partial_norms(partial, rows, dtype, order)
    K.total_norm(total, partial, order)
    K.scale_to_norm(rows, total, dtype, max_norm)
    exact = torch.cat([p.grad.double().flatten() for p in reference]).norm(order)
    # A pairwise sum of 2^14 terms, twice; exp2 and log2 add a few units for a general order.
    rtol = 64 * torch.finfo(compute).eps
    torch.testing.assert_close(total.double(), exact, rtol=rtol, atol=0.0)
    factor = min(1.0, max_norm / (exact.item() + 1e-6))
    for g, p in zip((g for g in gradients if g.numel()), reference, strict=True):
        expected = (p.grad.double() * factor).to(dtype)
        bound = 2 * torch.finfo(dtype).eps + rtol
        torch.testing.assert_close(g, expected, rtol=bound, atol=0.0)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, float("inf")])
def test_a_nan_gradient_makes_the_norm_nan(order):
    g = torch.tensor([1.0, float("nan"), 2.0])
    rows = table([(g,)])
    partial, total = torch.empty(1), torch.empty(())
    K.partial_norms(partial, rows, g.dtype, order)
    K.total_norm(total, partial, order)
    assert total.isnan()


def test_clamp_keeps_nan():
    g = torch.tensor([-3.0, -0.5, 0.5, 3.0, float("nan"), float("inf")])
    K.clamp(table([(g,)]), g.dtype, 1.0)
    expected = torch.tensor([-1.0, -0.5, 0.5, 1.0, float("nan"), 1.0])
    torch.testing.assert_close(g, expected, equal_nan=True)


def test_rows_cover_each_parameter_once():
    rows = K.table_rows([[1000, 5000], [9000, 10000]], [10, 3], itemsize=4, block=4)
    assert rows.tolist() == [
        [1000, 5000, 4],
        [1016, 5016, 4],
        [1032, 5032, 2],
        [9000, 10000, 3],
    ]


@pytest.mark.parametrize("distance", [-1, 1, 2])
def test_tensors_of_a_row_may_be_the_same_but_not_overlap(distance):
    begin = 1 << 40
    K.table_rows([[begin, begin, begin + 12]], [3], itemsize=4, block=4)
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        K.table_rows([[begin, begin, begin + 4 * distance]], [3], itemsize=4, block=4)
