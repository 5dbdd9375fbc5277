"""Grad modes and inference mode, beside PyTorch."""

from __future__ import annotations

import threading

import pytest
from same import check

import minitorch_triton as mt


def inference_flags(T):
    with T.inference_mode():
        x = T.ones(2)
        r = [x.is_inference(), x.requires_grad, T.is_inference_mode_enabled(), T.is_grad_enabled()]
    return (r, x.is_inference(), T.is_inference_mode_enabled())


def inference_version(T):
    with T.inference_mode():
        x = T.ones(2)
    return x._version


def inference_save(T):
    with T.inference_mode():
        x = T.ones(2)
    w = T.ones(2, requires_grad=True)
    return w * x


def inference_nosave(T):
    with T.inference_mode():
        x = T.ones(2)
    w = T.ones(2, requires_grad=True)
    (w + x).sum().backward()
    return w.grad


def inference_inplace(T):
    with T.inference_mode():
        x = T.ones(2)
    x.add_(1)


def inference_inplace_in(T):
    with T.inference_mode():
        x = T.ones(2)
        x.add_(1)
    return x


def inference_reqgrad(T):
    with T.inference_mode():
        x = T.ones(2)
    x.requires_grad_()


def inference_reqgrad2(T):
    with T.inference_mode():
        x = T.ones(2, requires_grad=True)
        return (x.requires_grad, (x * 2).requires_grad)


def inference_view_normal(T):
    a = T.ones(2, 2, requires_grad=True)
    with T.inference_mode():
        v = a.view(4)
        w = a * 2
        z = w.view(4)
    return (v.is_inference(), w.is_inference(), z.is_inference(), v.requires_grad, w.requires_grad)


def inference_view_normal_inplace(T):
    a = T.ones(2, 2, requires_grad=True) * 1
    with T.inference_mode():
        v = a.view(4)
    v.add_(1)


def inference_inplace_normal(T):
    a = T.ones(2, 2, requires_grad=True) * 1
    with T.inference_mode():
        a.add_(1)
    return (a.grad_fn is None, a._version)


def inference_clone(T):
    with T.inference_mode():
        x = T.ones(2)
    y = x.clone()
    return (y.is_inference(), (x * 2).is_inference(), x.view(2).is_inference())


def inference_decorator(T):

    @T.inference_mode()
    def f(x):
        return x * 2

    y = f(T.ones(2, requires_grad=True))
    return (y.requires_grad, y.is_inference())


def inference_off(T):
    with T.inference_mode(), T.inference_mode(False):
        x = T.ones(2, requires_grad=True) * 2
        r = (x.requires_grad, x.is_inference())
    return r


def inference_nested_grad(T):
    with T.inference_mode(), T.enable_grad():
        x = T.ones(2, requires_grad=True) * 2
        return x.requires_grad


def inference_backward(T):
    with T.inference_mode():
        x = T.ones(2, requires_grad=True)
        (x * 2).sum().backward()


def gen_nograd(T):
    r = []

    @T.no_grad()
    def g():
        for i in range(3):
            try:
                r.append(T.is_grad_enabled())
                yield i
            except ValueError:
                r.append(("v", T.is_grad_enabled()))
                yield (-1)
            except GeneratorExit:
                r.append(("x", T.is_grad_enabled()))
                raise

    it = g()
    next(it)
    r.append(T.is_grad_enabled())
    r.append(it.throw(ValueError))
    r.append(T.is_grad_enabled())
    it.close()
    return r


def nograd_noparen(T):

    @T.no_grad
    def f():
        return T.is_grad_enabled()

    return (f(), f.__name__)


def setgrad_deco(T):

    @T.set_grad_enabled(False)
    def f():
        return T.is_grad_enabled()

    return (f(), T.is_grad_enabled())


def multithread_mode(T):
    r = []
    with T.no_grad():
        t = threading.Thread(target=lambda: r.append(T.is_grad_enabled()))
        t.start()
        t.join()
    return r


CASES = [
    inference_flags,
    inference_version,
    inference_save,
    inference_nosave,
    inference_inplace,
    inference_inplace_in,
    inference_reqgrad,
    inference_reqgrad2,
    inference_view_normal,
    inference_view_normal_inplace,
    inference_inplace_normal,
    inference_clone,
    inference_decorator,
    inference_off,
    inference_nested_grad,
    inference_backward,
    gen_nograd,
    nograd_noparen,
    setgrad_deco,
    multithread_mode,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", CASES, ids=[run.__name__ for run in CASES])
def test_as_pytorch(run):
    check(run, message=True)


def test_the_module_of_modes_has_pytorchs_name():
    assert mt.autograd.grad_mode.no_grad is mt.no_grad
    assert mt.autograd.grad_mode.set_grad_enabled is mt.set_grad_enabled


def test_a_view_of_something_changed_is_made_again():
    y = mt.ones(2, 2, requires_grad=True).clone()
    view = y.view(-1)
    with mt.autograd._force_original_view_tracking(False):
        y.add_(1)
    assert mt.autograd.is_view_replay_enabled()
    assert view.grad_fn.name() == "ViewBackward0"
