"""The step-through of backward: what it prints, what it returns, and that it changes nothing."""

import io
import re

import pytest
import torch

import minitorch_triton as mt

FRAMEWORKS = [mt, torch]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_node_has_its_line(framework, capsys):
    w = framework.tensor([3.0, 4.0], requires_grad=True)
    trace = mt.autograd.trace((w * w).sum(), names={"w": w})
    printed = capsys.readouterr().out
    assert printed == f"{trace}\n"
    assert max(map(len, printed.splitlines())) <= 100
    rows = [re.sub(r" +\S+ [mu]?s$", "", line).split() for line in printed.splitlines()]
    assert rows == [
        ["step", "node", "gradient", "in", "norm", "gradients", "out", "norm", "time"],
        ["1", "SumBackward0", "()", "1", "(2,)", "1.41"],
        ["2", "MulBackward0", "(2,)", "1.41", "(2,)", "5"],
        ["(2,)", "5"],
        ["3", "w.grad", "(2,)", "10"],
    ]
    assert w.grad.tolist() == [6.0, 8.0]


def test_the_record_has_shapes_norms_and_times():
    x = mt.ones(2, 3, dtype=mt.float64, requires_grad=True)
    y = (x @ mt.ones(3, 4, dtype=mt.float64)).exp().sum()
    trace = mt.autograd.trace(y, quiet=True)
    names = [step.name for step in trace.steps]
    assert names == ["SumBackward0", "ExpBackward0", "MmBackward0", "AccumulateGrad"]
    product = trace.step_of(trace.steps[2].node)
    assert product.incoming[0].shape == (2, 4) and product.incoming[0].dtype == mt.float64
    assert product.outgoing[1] is None, "the second factor needs no gradient"
    assert product.outgoing[0].norm == pytest.approx(x.grad.norm().item())
    assert all(step.seconds > 0 for step in trace.steps)
    assert trace.step_of(None) is None
    assert repr(trace) == "<Trace of 4 steps>"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_where_nan_inf_and_zero_begin(framework):
    w = framework.tensor([0.0, 4.0], requires_grad=True)
    trace = mt.autograd.trace((w * w).sqrt().sum(), quiet=True)
    begins = {step.name: step.condition for step in trace.steps if step.is_origin}
    assert begins == {"SqrtBackward0": "inf", "MulBackward0": "NaN"}
    assert "< NaN" in str(trace)
    w = framework.tensor([-1.0, -4.0], requires_grad=True)
    trace = mt.autograd.trace(w.relu().sum(), quiet=True)
    assert [(s.condition, s.is_origin) for s in trace.steps] == [
        ("", False),
        ("zero", True),
        ("zero", False),
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_norms_of_very_large_and_very_small_gradients(framework):
    for size in (1e30, 1e-30):
        w = framework.ones(4, requires_grad=True)
        trace = mt.autograd.trace((w * size).sum(), quiet=True)
        assert trace.steps[-1].incoming[0].norm == pytest.approx(2 * size)
        assert trace.steps[-1].condition == ""


def test_it_is_backward():
    x = mt.ones(3, requires_grad=True)
    y = x * x
    mt.autograd.trace(y, mt.tensor([1.0, 2.0, 3.0]), retain_graph=True, quiet=True)
    assert x.grad.tolist() == [2.0, 4.0, 6.0]
    y.backward(mt.ones(3))
    assert x.grad.tolist() == [4.0, 6.0, 8.0]
    with pytest.raises(RuntimeError, match="second time"):
        mt.autograd.trace(y, mt.ones(3), quiet=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_its_hooks_go_even_after_an_error(framework):
    class Failing(framework.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("stop here")

    x = framework.ones(2, requires_grad=True)
    y = Failing.apply(x).sum()
    output = io.StringIO()
    with pytest.raises(ValueError, match="stop here"):
        mt.autograd.trace(y, file=output)
    assert "SumBackward0" in output.getvalue(), "what ran was printed"
    output = io.StringIO()
    z = (x * 2).sum()
    mt.autograd.trace(z, retain_graph=True, file=output)
    before = output.getvalue()
    z.backward()
    assert output.getvalue() == before


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"trace\(\) expects a tensor .* but got int"):
        mt.autograd.trace(3)
    with pytest.raises(RuntimeError, match="does not require grad"):
        mt.autograd.trace(mt.ones(1), quiet=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_is_printed_where_backward_is_refused(framework, capsys):
    x = framework.ones(2)
    for refused in (x, x.requires_grad_().exp()):
        with pytest.raises(RuntimeError):
            mt.autograd.trace(refused)
    assert capsys.readouterr().out == ""
