"""The compiler backend that Triton calls for a CPU target: Triton IR, then C, then machine code.

Triton runs the front end (Python to Triton IR) and the stages of `CPUBackend.add_stages` one after
the other, and stores what each returns in its cache directory:

    ttir   Triton IR, simplified by Triton's own passes
    c      the C file that `codegen.compile_to_c` writes
    so     the shared object that the C compiler makes of it
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from triton import knobs
from triton._C.libtriton import ir, passes
from triton.backends.compiler import BaseBackend, GPUTarget

from . import cache, checking, toolchain
from .rewrite import SORT_FUNCTION

# One target for every CPU: which processor it is, is part of `CPUBackend.hash`.
TARGET = GPUTarget("cpu", "native", 1)

FLOAT8 = ("fp8e4b15", "fp8e4b8", "fp8e4nv", "fp8e5", "fp8e5b16")


# Who follows compilations, as `explain` does: called with the name of a stage and what it gave.
followers: list[Callable[[str, Any], None]] = []


def announce(stage: str, result: Any) -> None:
    """Tell the followers of a stage: kernel, ttir, plan, c or so."""
    for follower in followers:
        follower(stage, result)


class InternalError(RuntimeError):
    """A mistake in this compiler; please report the kernel."""


@dataclass(frozen=True)
class CPUOptions:
    """A launch's options. Those that describe a GPU are accepted and have no effect."""

    num_warps: int = 4
    num_stages: int = 3
    num_ctas: int = 1
    maxnreg: int | None = None
    extern_libs: tuple = ()
    min_shared_mem: int = 0
    launch_cooperative_grid: bool = False
    launch_pdl: bool = False
    clc: bool = False
    ptx_version: int | None = None
    ptx_options: str | None = None
    sched4reg: bool = False
    enable_reflect_ftz: bool = True
    waves_per_eu: int = 0
    matrix_instr_nonkdim: int = 0
    kpack: int = 1
    allow_flush_denorm: bool = False
    schedule_hint: str = ""
    llvm_fn_attrs: str = ""
    wgp_cu_mode: str = ""
    ir_override: str | None = None
    instrumentation_mode: str = ""
    fpsan_homomorphic_casts: bool = False
    # device_assert, and checks of integer overflow, are compiled in only with debug.
    debug: bool = False
    sanitize_overflow: bool = True
    # Whether a * b + c may become one fused multiply-add.
    enable_fp_fusion: bool = True
    supported_fp8_dtypes: tuple[str, ...] = FLOAT8
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    default_dot_input_precision: str = "ieee"
    allowed_dot_input_precisions: tuple[str, ...] = (
        "ieee", "tf32", "tf32x3", "bf16x3", "bf16x6"
    )  # fmt: skip
    max_num_imprecise_acc_default: int = 0
    # Whether the kernel looks at its accesses to memory: checked mode.
    check: bool = False
    # Whether pointer arguments may overlap, or be the same tensor; the usual variant of a kernel
    # counts on it that those in `CSource.apart` do not.
    arguments_overlap: bool = False
    # The same for pointers of which not both are arguments, such as those of a table. If they may
    # not overlap, they may still be the same.
    loaded_pointers_overlap: bool = True
    # Whether the descriptors among the arguments are as `binding.is_plain` wants them.
    plain_descriptors: bool = False
    arch: str = TARGET.arch
    warp_size: int = TARGET.warp_size
    backend_name: str = "cpu"

    def hash(self) -> str:
        """A key of these options."""
        values = repr(sorted(self.__dict__.items()))
        return hashlib.sha256(values.encode()).hexdigest()


class CPUBackend(BaseBackend):
    """Triton's view of this compiler."""

    binary_ext = "so"

    # Whether it compiles kernels with checks; None if that is as the mode is at the time.
    check: bool | None = None

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        return target.backend == "cpu"

    def hash(self) -> str:
        return toolchain.fingerprint()

    def parse_options(self, opts: dict[str, Any]) -> CPUOptions:
        # Triton refuses an argument that is no field of the result: a misspelt one.
        known = {field.name for field in fields(CPUOptions)}
        values = {name: opts[name] for name in known & opts.keys() if opts[name] is not None}
        values.setdefault("enable_fp_fusion", bool(knobs.language.default_fp_fusion))
        values["check"] = checking.active if self.check is None else self.check
        values["extern_libs"] = tuple(values.get("extern_libs", ()))
        return CPUOptions(**values)

    def pack_metadata(self, metadata: Any) -> tuple[int, int, int]:
        return metadata.num_warps, metadata.num_ctas, metadata.shared

    def get_codegen_implementation(self, options: CPUOptions) -> dict[str, Any]:
        # A dot may have any size, down to 1 x 1 x 1.
        return {"min_dot_size": lambda lhs, rhs: (1, 1, 1)}

    def get_module_map(self) -> dict[str, ModuleType]:
        # The functions of triton.language.extra.libdevice: those of the CUDA flavour, whose names
        # (__nv_expf, ...) the code generator knows.
        from triton.language.extra.cuda import libdevice

        return {"triton.language.extra.libdevice": libdevice}

    def load_dialects(self, context: Any) -> None:
        """Triton IR's own dialects are all that a CPU needs; `ir.load_dialects` loads them."""

    @staticmethod
    def parse_attr(desc: str) -> list:
        # Triton marks pointers and integers that are multiples of 16, which would compile a
        # kernel again for every combination. Unaligned vector loads make that worthless here.
        return []

    def add_stages(self, stages: dict, options: CPUOptions, language: Any = None) -> None:
        stages["ttir"] = functools.partial(make_ttir, options=options)
        stages["c"] = functools.partial(make_c, options=options)
        stages["so"] = functools.partial(make_so, options=options)


def make_ttir(module: Any, metadata: dict, options: CPUOptions) -> Any:
    """Simplify Triton IR with Triton's own passes, the same that precede its GPU backends."""
    keep_sorts_apart(module)
    kernel = module.get_function(module.get_entry_func_name())
    described = [
        "tensordesc" in str(kernel.args(n).get_type()) for n in range(kernel.get_num_args())
    ]
    manager = ir.pass_manager(module.context)
    manager.enable_debug()
    passes.common.add_inliner(manager)
    # Triton 3.9 has no block pointers and no pass to rewrite them any more.
    if hasattr(passes.ttir, "add_rewrite_tensor_pointer"):
        passes.ttir.add_rewrite_tensor_pointer(manager)
    passes.ttir.add_rewrite_tensor_descriptor_to_pointer(manager)
    manager.run(module, "make_ttir")
    if options.plain_descriptors and any(described):
        take_descriptors_for_plain(module, described)
    manager = ir.pass_manager(module.context)
    manager.enable_debug()
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.ttir.add_triton_licm(manager)
    passes.common.add_symbol_dce(manager)
    manager.run(module, "make_ttir")
    metadata["name"] = module.get_entry_func_name()
    # Nominal sizes: host code written for a GPU divides by the first to work out occupancy.
    metadata["shared"] = 1
    metadata["tmem_size"] = None
    return module


def take_descriptors_for_plain(module: Any, described: list[bool]) -> None:
    """Make constants of what is known of plain descriptors: no flag is set, the last stride is 1.

    Each descriptor among the parameters has become a pointer, sizes and strides, flags, and once
    more sizes and strides.
    """
    kernel = module.get_function(module.get_entry_func_name())
    builder = ir.builder(module.context)
    builder.set_insertion_point_to_start(entry_block(module, kernel))
    no, one = builder.get_int1(False), builder.get_int64(1)
    types = [str(kernel.args(n).get_type()) for n in range(kernel.get_num_args())]
    place = 0
    for is_descriptor in described:
        place += 1
        if not is_descriptor:
            continue
        sizes_and_strides = types.index("i1", place) - place
        place += sizes_and_strides
        kernel.args(place - 1).replace_all_uses_with(one)
        while types[place] == "i1":
            kernel.args(place).replace_all_uses_with(no)
            place += 1
        place += sizes_and_strides
        kernel.args(place - 1).replace_all_uses_with(one)


def entry_block(module: Any, kernel: Any) -> Any:
    """The block whose arguments are the kernel's parameters, of which there must be one."""
    first = kernel.args(0).id()
    found = []

    def look(op: Any) -> None:
        block = op.get_block()
        if block is not None and block.get_num_arguments() and block.get_argument(0).id() == first:
            found.append(block)

    module.walk(look)
    return found[0]


def keep_sorts_apart(module: Any) -> None:
    """Keep calls of Triton's sorting network as calls, of which `rewrite` makes an operation."""
    names: list[str] = []

    def note(op: Any) -> None:
        if op.get_name() == "tt.func":
            names.append(op.get_str_attr("sym_name"))

    module.walk(note)
    builder = ir.builder(module.context)
    for name in names:
        if name.startswith(SORT_FUNCTION):
            module.get_function(name).set_attr("noinline", builder.get_bool_attr(True))


def make_c(module: Any, metadata: dict, options: CPUOptions) -> str:
    """Translate Triton IR to C.

    Raises:
        ir.UnsupportedOperation: the kernel uses an operation that has no translation yet.
        InternalError: there is a mistake in this compiler.
    """
    from .codegen import compile_to_c
    from .schedule import Overlap

    ttir = str(module)
    announce("ttir", ttir)
    plans: list[Any] = []
    try:
        overlap = Overlap(options.arguments_overlap, options.loaded_pointers_overlap)
        source = compile_to_c(ttir, options.check, overlap, plans)
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise InternalError(f"cannot translate kernel {metadata['name']}: {error!r}") from error
    finally:
        announce("plan", plans)
    announce("c", source.text)
    metadata["products"] = source.products
    metadata["apart"] = source.apart
    return source.text


# A C file of so many lines, such as an unrolled sorting network, compiles in half the time so.
LONG_LINES = 2000
LONG_FLAGS = ("-O2", "-ftree-vectorize")


def make_so(text: str, metadata: dict, options: CPUOptions) -> bytes:
    """Compile C to a shared object."""
    flags = ["-ffp-contract=fast" if options.enable_fp_fusion else "-ffp-contract=off"]
    if text.count("\n") > LONG_LINES:
        flags += LONG_FLAGS
    objects = [common_object("mt_launch"), *map(product_object, metadata["products"])]
    if options.check:
        objects.append(common_object("mt_check"))
    code = compiled(text, metadata["name"], tuple(flags), objects)
    announce("so", code)
    return cache.seal(code, metadata["hash"])


@functools.lru_cache
def common_object(name: str) -> bytes:
    """The object code of a C file of ours that kernels are linked with: ``mt_launch``, which runs
    the programs of each, or ``mt_check``."""
    return compiled((toolchain.INCLUDE_DIR / f"{name}.c").read_text(), name, ("-c",))


@functools.lru_cache
def product_object(kind: str) -> bytes:
    """The object code of one kind of matrix product, as `mt_gemm.h` names them."""
    text = f'#define MT_GEMM_{kind.upper()}\n#include "mt_gemm_template.h"\n'
    return compiled(text, f"mt_gemm_{kind}", ("-c",))


def compiled(text: str, name: str, flags: tuple[str, ...], objects: Sequence[bytes] = ()) -> bytes:
    """Machine code from Triton's disk cache, or else from the C compiler.

    Variants of a kernel that differ only in options without effect (num_warps, say, under an
    autotuner) have the same C text; it is compiled once and found under its own key in the cache.
    """
    digest = hashlib.sha256("\0".join((toolchain.fingerprint(), name, *flags, text)).encode())
    for code in objects:
        digest.update(code)
    key = digest.hexdigest()
    entry = cache.entry(key)
    path = None if cache.is_ignored() else entry.get_file("machine_code")
    if path is not None:
        with contextlib.suppress(cache.BadEntryError):
            return cache.check(path, key)[: -cache.DIGEST_SIZE]
    code = toolchain.compile_c(text, name=name, flags=flags, objects=objects)
    entry.put(cache.seal(code, key), "machine_code")
    toolchain.remember_compiler()
    return code
