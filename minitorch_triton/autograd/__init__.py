"""The dynamic graph: nodes, the backward engine, ``Function`` and the modes."""

from minitorch_triton.autograd import forward_ad, functional, grad_mode, graph
from minitorch_triton.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from minitorch_triton.autograd.api import backward, grad
from minitorch_triton.autograd.drawing import draw
from minitorch_triton.autograd.function import Function, once_differentiable
from minitorch_triton.autograd.grad_mode import (
    _force_original_view_tracking,
    is_view_replay_enabled,
)
from minitorch_triton.autograd.gradcheck import gradcheck, gradgradcheck
from minitorch_triton.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_multithreading_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from minitorch_triton.autograd.node import RawSavedTensor as SavedTensor
from minitorch_triton.autograd.tracing import trace
from minitorch_triton.autograd.variable import Variable

__all__ = [
    "Function",
    "SavedTensor",
    "Variable",
    "backward",
    "detect_anomaly",
    "draw",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_multithreading_enabled",
    "_force_original_view_tracking",
    "is_view_replay_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "trace",
]
