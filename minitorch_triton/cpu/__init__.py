"""Run `@triton.jit` kernels on a CPU as compiled machine code.

    import minitorch_triton.cpu      # from here on, kernel[grid](...) on CPU tensors runs natively

`disable` and `enable` turn that off and on. Needs a C compiler (gcc, clang, or `pip install
ziglang`). `python -m minitorch_triton.cpu explain` shows how kernels become machine code.
"""

from .binding import prepare
from .check_error import CheckError
from .checking import checked
from .driver import disable, enable, is_enabled
from .ir import UnsupportedOperation
from .launch import KernelError, PreparedKernel
from .parser import ParseError
from .toolchain import CompileError, NoCompilerError

__all__ = [
    "CheckError",
    "CompileError",
    "KernelError",
    "NoCompilerError",
    "ParseError",
    "PreparedKernel",
    "UnsupportedOperation",
    "checked",
    "disable",
    "enable",
    "is_enabled",
    "prepare",
]
