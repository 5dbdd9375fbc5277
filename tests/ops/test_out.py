"""``out=`` beside PyTorch: the result is written into a tensor that is given."""

from __future__ import annotations

import pytest
from same import check


def written(function, *shape):
    """What a function of the module, tensors and ``out`` makes of a given tensor."""

    def run(T):
        x = T.arange(6.0).view(2, 3)
        out = T.zeros(shape)
        return function(T, x, out) is out, out

    return run


CASES = {
    "elementwise": written(lambda T, x, out: T.exp(x, out=out), 2, 3),
    "resized": written(lambda T, x, out: T.mul(x, x, out=out), 0),
    "number": written(lambda T, x, out: T.div(x, 2, out=out), 2, 3),
    "alpha": written(lambda T, x, out: T.add(x, x, alpha=2, out=out), 2, 3),
    "power": written(lambda T, x, out: T.pow(x, 2, out=out), 2, 3),
    "limits": written(lambda T, x, out: T.clamp(x, 1, 2, out=out), 2, 3),
    "product": written(lambda T, x, out: T.mm(x, x.t(), out=out), 2, 2),
    "sum": written(lambda T, x, out: T.sum(x, 0, out=out), 3),
    "mean": written(lambda T, x, out: T.mean(x, 1, out=out), 2),
    "cat": written(lambda T, x, out: T.cat([x, x], out=out), 4, 3),
    "stack": written(lambda T, x, out: T.stack([x, x], out=out), 2, 2, 3),
    "itself": written(lambda T, x, out: T.sub(out, x, out=out), 2, 3),
    "input requires a gradient": lambda T: T.add(T.ones(2, requires_grad=True), 1, out=T.zeros(2)),
    "output requires a gradient": lambda T: T.mul(
        T.ones(2), T.ones(2), out=T.zeros(2, requires_grad=True)
    ),
    "integers": lambda T: T.add(T.ones(2), 1, out=T.zeros(2, dtype=T.int64)),
    "view": lambda T: T.add(T.ones(2, 3), 1, out=T.zeros(4, 3)[:2])._base,
}


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    check(CASES[name], message=True)
