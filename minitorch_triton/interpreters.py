"""Refuses to be imported in a sub-interpreter, where importing PyTorch would wait forever."""

from __future__ import annotations

import ctypes

_current = ctypes.pythonapi.PyInterpreterState_Get
_main = ctypes.pythonapi.PyInterpreterState_Main
_current.restype = _main.restype = ctypes.c_void_p
if _current() != _main():
    raise ImportError("minitorch_triton does not support sub-interpreters; use processes")
