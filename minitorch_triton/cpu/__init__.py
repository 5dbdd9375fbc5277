"""Run `@triton.jit` kernels on a CPU as compiled machine code.

    import minitorch_triton.cpu as triton_cpu
    triton_cpu.enable()              # from here on, kernel[grid](...) on CPU tensors runs natively

Needs a C compiler (gcc, clang, or `pip install ziglang`). `python -m minitorch_triton.cpu explain`
shows how a kernel becomes machine code.
"""

from .binding import prepare
from .check_error import CheckError
from .checking import checked
from .driver import disable, enable, is_enabled
from .launch import KernelError, PreparedKernel
from .toolchain import CompileError, NoCompilerError

__all__ = [
    "CheckError",
    "CompileError",
    "KernelError",
    "NoCompilerError",
    "PreparedKernel",
    "checked",
    "disable",
    "enable",
    "is_enabled",
    "prepare",
]
