"""Anomaly mode beside PyTorch's: what is raised, and which line the warnings show."""

from __future__ import annotations

import warnings

import pytest
from same import check

import minitorch_triton as mt


def leaf(T):
    return T.tensor([1.0, 2.0, 3.0], requires_grad=True)


def make(T, forward, backward):
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("MyFn", (T.autograd.Function,), methods)


def observed(T, run):
    """The error, and of each warning the first line and whether it shows a marked line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run(T)
            error = None
        except Exception as exception:
            error = f"{type(exception).__name__}: {exception}"
    texts = [str(warning.message).strip() for warning in caught]
    return [error, [first_line(text) for text in texts], ["# marked" in t for t in texts]]


def first_line(text):
    return text.split("\n")[0].partition(" (Triggered internally")[0]


def nan_in(which):
    def backward(ctx, g, h):
        grads = [g.clone(), h.clone()]
        grads[which] = grads[which] * float("nan")
        return tuple(grads)

    return backward


def two_outputs(ctx, a, b):
    return a * b, a + b


def in_first_gradient(T):
    with T.autograd.detect_anomaly():
        x = leaf(T)
        a, b = make(T, two_outputs, nan_in(0)).apply(x, x * 2)  # marked
        (a.sum() + b.sum()).backward()


def in_second_gradient(T):
    with T.autograd.set_detect_anomaly(True):
        x = leaf(T)
        a, b = make(T, two_outputs, nan_in(1)).apply(x, x * 2)  # marked
        (a.sum() + b.sum()).backward()


def without_looking(T):
    x = leaf(T)
    with T.autograd.detect_anomaly(check_nan=False):
        a, b = make(T, two_outputs, nan_in(0)).apply(x, x * 2)
        (a.sum() + b.sum()).backward()


def forward_before_the_mode(T):
    x = leaf(T)
    a, b = make(T, two_outputs, nan_in(0)).apply(x, x * 2)
    with T.autograd.detect_anomaly():
        (a.sum() + b.sum()).backward()


def operation_of_the_package(T):
    with T.autograd.detect_anomaly():
        y = T.sqrt(leaf(T) * 0)  # marked
        (y * 0).sum().backward()


def error_in_backward(T):
    def backward(ctx, g):
        raise ValueError("in backward")

    with T.autograd.detect_anomaly():
        y = make(T, lambda ctx, x: x * 1, backward).apply(leaf(T))  # marked
        y.sum().backward()


def saved_tensor_modified(T):
    with T.autograd.detect_anomaly():
        a = leaf(T) * 1
        y = a.exp() * a  # marked
        a.add_(1)
        y.sum().backward()


def made_by_another_backward(T):
    inner = make(T, lambda ctx, x: x * 1, lambda ctx, g: g * float("nan"))

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    def backward(ctx, g):
        return inner.apply(g * ctx.saved_tensors[0])

    x = leaf(T)
    with T.autograd.detect_anomaly():
        y = make(T, forward, backward).apply(x).sum()  # marked
        (g,) = T.autograd.grad(y, x, create_graph=True)
        g.sum().backward()


SCRIPTS = [
    in_first_gradient,
    in_second_gradient,
    without_looking,
    forward_before_the_mode,
    operation_of_the_package,
    error_in_backward,
    saved_tensor_modified,
    made_by_another_backward,
]


@pytest.mark.parametrize("run", SCRIPTS, ids=lambda run: run.__name__)
def test_what_is_raised_and_shown(run):
    check(lambda T: observed(T, run))


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_the_last_line_shown_is_the_users():
    with (
        pytest.warns(UserWarning, match="Error detected in SqrtBackward0") as caught,
        pytest.raises(RuntimeError, match="returned nan values in its 0th output"),
    ):
        operation_of_the_package(mt)
    texts = [str(w.message) for w in caught if "Error detected" in str(w.message)]
    assert texts[0].strip().endswith("y = T.sqrt(leaf(T) * 0)  # marked")


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_where_warnings_are_errors_the_explanation_is_printed(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Anomaly Detection has been enabled")
        with pytest.raises(ValueError, match="in backward"):
            error_in_backward(mt)
    assert "Error detected in" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_the_mode_is_left():
    def run(T):
        states = []

        def note():
            states.append((T.is_anomaly_enabled(), T.is_anomaly_check_nan_enabled()))

        note()
        with T.autograd.detect_anomaly(check_nan=False):
            note()
            with T.autograd.set_detect_anomaly(False):
                note()
            note()
        note()
        T.autograd.set_detect_anomaly(True)
        note()
        T.autograd.set_detect_anomaly(False)
        note()
        return states

    check(run)
