"""Everything that Triton's launch interface offers, on CPU tensors."""

import os
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.backends import backends
from triton.runtime import driver as triton_driver
from triton.runtime.jit import JITFunction

import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import binding, checking, driver, launch

ROOT = Path(__file__).parents[2]


def run_python(code, **env):
    """Run a script in a process of its own and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr = 64):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * factor, mask=mask)


@triton.jit
def fill_kernel(out_ptr, VALUE: tl.constexpr):
    tl.store(out_ptr, VALUE)


def scaled(x, factor):
    """What `scale_kernel` computes: the factor arrives as float32."""
    return x * torch.tensor(factor, dtype=torch.float32)


# ---- Ways to call --------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", range(2), ids=["general", "fast"])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: scale_kernel[(16,)](x, out, 1000, 2.5),
        lambda x, out: scale_kernel[16, 1](x, out, 1000, 2.5),
        lambda x, out: scale_kernel[[16, 1, 1]](x, out, 1000, 2.5),
        lambda x, out: scale_kernel[(8,)](x, out, 1000, 2.5, 128),
        lambda x, out: scale_kernel[(8,)](x, out, 1000, 2.5, BLOCK=128),
        lambda x, out: scale_kernel[(8,)](x, out, factor=2.5, n=1000, BLOCK=128),
        lambda x, out: scale_kernel[(8,)](
            BLOCK=128, x_ptr=x, out_ptr=out, n=1000, factor=2.5, num_warps=8, num_stages=2
        ),
        lambda x, out: scale_kernel[lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),)](
            x, out, 1000, 2.5
        ),
        lambda x, out: scale_kernel.run(x, out, 1000, 2.5, grid=(16,), warmup=False),
    ],
)
def test_ways_to_call(call, repeat):
    x, out = torch.randn(1000), torch.zeros(1000)
    for _ in range(repeat + 1):
        out.zero_()
        compiled = call(x, out)
    assert torch.equal(out, scaled(x, 2.5))
    assert compiled.metadata.target.backend == "cpu"
    assert {"ttir", "c", "so"} <= compiled.asm.keys()


def test_wrong_arguments_are_errors():
    x = torch.zeros(4)
    for _ in range(2):
        with pytest.raises(TypeError):
            scale_kernel[(1,)](x, x)
        with pytest.raises(TypeError):
            scale_kernel[(1,)](x, x, 4, 1.0, 64, 5)
        with pytest.raises(KeyError, match="BLOKC"):
            scale_kernel[(1,)](x, x, 4, 1.0, BLOKC=64)
        with pytest.raises(TypeError):
            scale_kernel[(1,)](x, x, "four", 1.0)


def test_options_for_gpus_are_accepted():
    x = torch.ones(4)
    out = torch.zeros(4)
    scale_kernel[(1,)](x, out, 4, 3.0, num_warps=1, num_stages=7, num_ctas=1, maxnreg=128)
    scale_kernel[(1,)](x, out, 4, 3.0, waves_per_eu=2, kpack=2, matrix_instr_nonkdim=16)
    assert out.tolist() == [3.0] * 4


def test_integers_of_any_size_arrive():
    out = torch.zeros(1, dtype=torch.int64)
    for n in (5, -5, 1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**40, -(2**40), 2**63 - 1) * 2:
        integer_kernel[(1,)](out, n)
        assert out.item() == n
    for _ in range(2):
        integer_kernel[(1,)](out, 2**63)
        assert out.item() == -(2**63)


@triton.jit
def integer_kernel(out_ptr, n):
    tl.store(out_ptr, n)


@triton.jit(do_not_specialize=["n"])
def unspecialised_kernel(out_ptr, n):
    tl.store(out_ptr, n)


def variants(kernel):
    """How many variants of a kernel have been compiled."""
    return len(
        {
            compiled.hash
            for compiled in kernel.device_caches[binding.caches_key(checking.active)][0].values()
        }
    )


def test_do_not_specialize_means_one_variant():
    out = torch.zeros(1, dtype=torch.int64)
    for n in (1, 2, 16, 17, 0, -1):
        unspecialised_kernel[(1,)](out, n)
        assert out.item() == n
    assert variants(unspecialised_kernel) == 1


def test_alignment_and_multiples_of_16_make_no_variants():
    kernel = triton.jit(scale_kernel.fn)
    x, out = torch.randn(100), torch.zeros(100)
    for start, n in ((0, 16), (1, 32), (3, 17), (4, 5)):
        kernel[(1,)](x[start:], out[start:], n, 2.0)
        assert torch.equal(out[start : start + n], x[start : start + n] * 2)
    assert variants(kernel) == 1


def test_variants_by_dtype_and_constant():
    kernel = triton.jit(scale_kernel.fn)
    for dtype in (torch.float32, torch.float64, torch.int32):
        for block in (32, 64):
            x = torch.arange(64).to(dtype)
            out = torch.zeros_like(x)
            kernel[(2,)](x, out, 64, 3, block)
            assert torch.equal(out, x * 3)
    assert variants(kernel) == 6


NEGATIVE_ZERO = pytest.param(-0.0, marks=pytest.mark.skipif(
    triton.__version__.startswith("3.6."), reason="Triton 3.6's front end makes 0.0 of -0.0"
))  # fmt: skip


@pytest.mark.parametrize("value", [0.0, NEGATIVE_ZERO, 1.0, 1, True, float("nan"), float("inf")])
def test_constants_that_compare_equal_are_kept_apart(value):
    # Each test calls the same kernel, so that the launch functions of all values coexist.
    out = torch.zeros(1)
    fill_kernel[(1,)](out, value)
    fill_kernel[(1,)](out, value)
    expected = torch.tensor([float(value)])
    assert torch.equal(out.view(torch.int32), expected.view(torch.int32))


@triton.jit
def double(x):
    return x + x


@triton.jit
def square(x):
    return x * x


@triton.jit
def program_kernel(x_ptr, out_ptr, FNS: tl.constexpr, SIZES: tl.constexpr):
    values = tl.load(x_ptr + tl.arange(0, SIZES[0]))
    for k in tl.static_range(len(FNS)):
        values = FNS[k](values)
    tl.store(out_ptr + tl.arange(0, SIZES[0]), values)


def test_functions_and_tuples_as_constants():
    x = torch.randn(8)
    for _ in range(2):
        for functions, expected in (
            ((double, square), (2 * x) ** 2),
            ((square, double), 2 * x**2),
            ((square,), x**2),
        ):
            out = torch.zeros(8)
            program_kernel[(1,)](x, out, functions, (8, 1))
            assert torch.equal(out, expected)


@triton.jit
def tuple_kernel(pointers, strides, n):
    offsets = tl.arange(0, 8)
    mask = offsets < n
    x = tl.load(pointers[0] + offsets * strides[0], mask=mask)
    tl.store(pointers[1] + offsets * strides[1], x, mask=mask)


def test_tuples_of_tensors_and_integers():
    x, out = torch.arange(16.0), torch.zeros(8)
    for _ in range(2):
        tuple_kernel[(1,)]((x, out), (2, 1), 7)
        assert out.tolist() == [0, 2, 4, 6, 8, 10, 12, 0]
        out.zero_()


@triton.jit
def names_kernel(out, size, key, run, variants, compiled, call, pack, status, kernel,
                 len: tl.constexpr, callable: tl.constexpr = 7):  # fmt: skip
    tl.store(out + 0, size)
    tl.store(out + 1, key)
    tl.store(out + 2, run)
    tl.store(out + 3, variants)
    tl.store(out + 4, compiled)
    tl.store(out + 5, call)
    tl.store(out + 6, pack)
    tl.store(out + 7, status)
    tl.store(out + 8, kernel)
    tl.store(out + 9, len)
    tl.store(out + 10, callable)


def test_a_parameter_may_have_any_name():
    for _ in range(2):
        out = torch.zeros(11, dtype=torch.int32)
        names_kernel[lambda meta: (meta["size"] - 9,)](out, *range(10, 18), 18, len=19)
        assert out.tolist() == [*range(10, 20), 7]


@triton.jit
def optional_kernel(x_ptr, bias_ptr, out_ptr):
    x = tl.load(x_ptr)
    if bias_ptr is not None:
        x += tl.load(bias_ptr)
    tl.store(out_ptr, x)


def test_none_is_a_constant():
    x, bias, out = torch.tensor([1.0]), torch.tensor([2.0]), torch.zeros(1)
    for given, expected in ((None, 1.0), (bias, 3.0)) * 2:
        optional_kernel[(1,)](x, given, out)
        assert out.item() == expected


class Buffer:
    """A tensor of some other framework: memory, a dtype, a device."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.dtype = tensor.dtype
        self.device = tensor.device

    def data_ptr(self):
        return self.tensor.data_ptr()


class Bare(Buffer):
    """One that does not say where it is."""

    def __init__(self, tensor):
        super().__init__(tensor)
        del self.device


@pytest.mark.parametrize("kind", [Buffer, Bare])
def test_tensors_are_duck_typed(kind):
    x, out = torch.randn(50), torch.zeros(50)
    for _ in range(2):
        scale_kernel[(1,)](kind(x), kind(out), 50, 2.0)
        assert torch.equal(out, x * 2)
        out.zero_()


def test_reinterpreted_tensors():
    x, out = torch.randn(8), torch.zeros(8)
    for _ in range(2):
        scale_kernel[(1,)](triton.reinterpret(x, tl.int32), triton.reinterpret(out, tl.int32), 8, 1)
        assert torch.equal(out, x)


def test_another_device_is_an_error_without_a_gpu():
    x = torch.zeros(8)
    scale_kernel[(1,)](x, x, 8, 1.0)
    for _ in range(2):
        for pair in ((x.to("meta"), x), (x, x.to("meta"))):
            with pytest.raises(ValueError, match="meta"):
                scale_kernel[(1,)](*pair, 8, 1.0)


def test_a_tensor_without_data_is_refused():
    with pytest.raises(ValueError, match="device meta: it has no data"):
        fill_kernel[(1,)](torch.empty(1, device="meta"), 1)


# ---- Grids ---------------------------------------------------------------------------------------


@triton.jit
def count_kernel(out_ptr):
    tl.atomic_add(out_ptr, 1)


@pytest.mark.parametrize("check", [False, True], ids=["", "checked"])
@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ((2**33,), ValueError, "from 0 to 2\\*\\*31 - 1.*8589934592"),
        ((2**31 + 4,), ValueError, "2147483652"),
        ((3, 2**32 + 1), ValueError, "4294967297"),
        ((2**70,), ValueError, "from 0 to"),
        ((-1,), ValueError, "-1"),
        ((2, -1, 1), ValueError, "-1"),
        ((2**31 - 1,) * 3, ValueError, "2\\*\\*63 programs"),
        ((1, 2, 3, 4), ValueError, "one to three dimensions.* has 4"),
        (lambda arguments: (1, 2, 3, 4), ValueError, "one to three dimensions"),
        ((), ValueError, "one to three dimensions"),
        (4, TypeError, "tuple of one to three integers.* 4"),
        ((2.0,), TypeError, "tuple of one to three integers.*2.0"),
    ],
)
def test_a_wrong_grid_is_refused(grid, error, message, check):
    out = torch.zeros(1, dtype=torch.int32)
    with triton_cpu.checked(check):
        binding.general_run(count_kernel, (out,), {}, (1,), warmup=False)
        with pytest.raises(error, match=message):
            binding.general_run(count_kernel, (out,), {}, grid, warmup=False)
        count_kernel[(1,)](out)
        with pytest.raises(error, match=message):
            count_kernel[grid](out)
    assert out.item() == 2


# ---- Arguments that no kernel takes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": None}, r"scale_kernel\(\) missing 1 required positional argument: 'n'"),
        ({"x_ptr": np.ones(8)}, "got a numpy.ndarray for x_ptr: pass torch.from_numpy"),
        ({"x_ptr": [1.0]}, "got a list for x_ptr: kernels take tensors"),
        ({"n": np.int32(8)}, "got a numpy.int32 for n: pass its item"),
        ({"n": 2**64}, "got 18446744073709551616 for n, which does not fit"),
        ({"x_ptr": torch.ones(8, dtype=torch.complex64)}, "complex64 for x_ptr.*view_as_real"),
        ({"factor": 2j}, "got a complex for factor: kernels take"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"x_ptr": torch.ones(8), "out_ptr": torch.ones(8), "n": 8, "factor": 2.0}
    given = {n: v for n, v in {**arguments, **change}.items() if v is not None}
    scale_kernel[(1,)](**arguments)
    with pytest.raises(TypeError, match=message):
        scale_kernel[(1,)](**given)
    with pytest.raises(TypeError, match=message):
        scale_kernel.warmup(grid=(1,), **given)
    with pytest.raises(KeyError, match="blok was specified but unrecognised"):
        scale_kernel[(1,)](**arguments, blok=8)
    with pytest.raises(TypeError, match=r"scale_kernel\(\) takes from 4 to 5 .* but 6 were given"):
        scale_kernel[(1,)](*arguments.values(), 32, 3)


# ---- Warm-up, hooks, globals ---------------------------------------------------------------------


def test_warmup_compiles_and_does_not_run():
    kernel = triton.jit(scale_kernel.fn)
    out = torch.zeros(8)
    compiled = kernel.warmup(torch.float32, torch.float32, 8, 2.0, BLOCK=32, grid=(1,))
    kernel.warmup(out, out, 8, 2.0, BLOCK=32, grid=(1,))
    assert not out.any() and variants(kernel) == 1
    x = torch.randn(8)
    compiled[(1, 1, 1)](x, out, 8, 2.0, 32)
    assert torch.equal(out, x * 2)


def test_a_kernel_compiled_by_triton_compile_runs():
    signature = {"x_ptr": "*fp32", "out_ptr": "*fp32", "n": "i32", "factor": "fp32",
                 "BLOCK": "constexpr"}  # fmt: skip
    source = triton.compiler.ASTSource(scale_kernel, signature, {"BLOCK": 32})
    compiled = triton.compile(source, target=triton_driver.active.get_current_target())
    x, out = torch.randn(8), torch.zeros(8)
    compiled[(1, 1, 1)](x, out, 8, 2.0, 32)
    assert torch.equal(out, x * 2)


def test_pre_run_hooks_see_the_arguments():
    kernel = triton.jit(scale_kernel.fn)
    x, out, seen = torch.ones(4), torch.zeros(4), []
    kernel[(1,)](x, out, 4, 2.0)
    kernel.add_pre_run_hook(lambda *args, **kwargs: seen.append((args, kwargs)))
    for _ in range(2):
        kernel[(1,)](x, out, 4, 3.0, BLOCK=64)
    assert [args[2:] for args, _ in seen] == [(4, 3.0)] * 2
    assert seen[0][1]["BLOCK"] == 64
    assert out.tolist() == [3.0] * 4


def test_launch_hooks_run_before_and_after():
    x, out, seen = torch.ones(4), torch.zeros(4), []
    scale_kernel[(1,)](x, out, 4, 2.0)
    out.zero_()

    def enter(metadata):
        seen.append(("enter", metadata.get()["name"], out[0].item()))

    def leave(metadata):
        seen.append(("exit", metadata.get()["name"], out[0].item()))

    runtime = triton.knobs.runtime
    runtime.launch_enter_hook.add(enter)
    runtime.launch_exit_hook.add(leave)
    try:
        scale_kernel[(1,)](x, out, 4, 2.0)
    finally:
        runtime.launch_enter_hook.remove(enter)
        runtime.launch_exit_hook.remove(leave)
    scale_kernel[(1,)](x, out, 4, 2.0)
    assert seen == [("enter", "scale_kernel", 0.0), ("exit", "scale_kernel", 2.0)]


def test_load_hooks_see_the_kernel():
    @triton.jit
    def loaded(x):
        tl.store(x, 1.0)

    seen = []

    def note(module, function, name, metadata_group, hash):
        seen.append((name, hash, module is not None))

    runtime = triton.knobs.runtime
    for hook in (runtime.kernel_load_start_hook, runtime.kernel_load_end_hook):
        hook.add(note)
    try:
        for _ in range(2):
            compiled = loaded[(1,)](torch.zeros(1))
    finally:
        for hook in (runtime.kernel_load_start_hook, runtime.kernel_load_end_hook):
            hook.remove(note)
    assert seen == [("loaded", compiled.hash, False), ("loaded", compiled.hash, True)]


@triton.jit
def typed(out, small: tl.uint8, number):
    tl.store(out, number + small)


@pytest.mark.parametrize("warm", [False, True])
def test_a_number_that_does_not_fit_its_type(warm):
    out = torch.zeros(1, dtype=torch.int64)
    if warm:
        typed[(1,)](out, 255, 2**40)
        assert out.item() == 2**40 + 255
    for small, number, kind, message in [
        (256, 2**40, OverflowError, r"typed\(\) got 256 for small, .* its type u8"),
        (0.5, 2**40, TypeError, r"typed\(\) got 0.5 for small, .* its type u8"),
        (np.uint8(5), 2**40, TypeError, "got a numpy.uint8 for small: pass its item"),
    ]:
        with pytest.raises(kind, match=message):
            typed[(1,)](out, small, number)


def test_options_that_are_no_keys():
    out = torch.zeros(1, dtype=torch.int64)
    for _ in range(2):
        typed[(1,)](out, 1, 2, extern_libs={})
    assert out.item() == 3


def test_compilation_hooks_see_the_variant(monkeypatch):
    seen = []
    monkeypatch.setattr(
        triton.knobs.runtime, "jit_post_compile_hook",
        lambda **info: seen.append((info["compile"]["device"], info["fn"].name)),
    )  # fmt: skip
    kernel = triton.jit(scale_kernel.fn)
    for _ in range(2):
        kernel[(1,)](torch.zeros(4), torch.zeros(4), 4, 1.0)
    assert seen == [(binding.caches_key(checking.active), "scale_kernel")]


OFFSET = tl.constexpr(3)


@triton.jit
def global_kernel(out_ptr):
    tl.store(out_ptr, OFFSET)


def test_a_changed_global_is_an_error(monkeypatch):
    out = torch.zeros(1, dtype=torch.int32)
    for _ in range(2):
        global_kernel[(1,)](out)
    assert out.item() == 3
    monkeypatch.setitem(globals(), "OFFSET", tl.constexpr(4))
    with pytest.raises(RuntimeError, match="OFFSET has changed"):
        global_kernel[(1,)](out)


@triton.jit
def assert_kernel(x_ptr):
    tl.device_assert(tl.load(x_ptr) > 0, "x must be positive")


def test_device_assert_needs_debug(capfd):
    good, bad = torch.tensor([1]), torch.tensor([-1])
    assert_kernel[(1,)](bad)
    assert_kernel[(1,)](good, debug=True)
    for _ in range(2):
        with pytest.raises(triton_cpu.KernelError, match="assert_kernel"):
            assert_kernel[(1,)](bad, debug=True)
    assert "x must be positive" in capfd.readouterr().err


def test_debug_mode_of_the_process(monkeypatch):
    bad = torch.tensor([-1])
    assert_kernel[(1,)](bad)
    monkeypatch.setattr(triton.knobs.runtime, "debug", True)
    with pytest.raises(triton_cpu.KernelError):
        assert_kernel[(1,)](bad)


# ---- Autotuner and heuristics --------------------------------------------------------------------


def tuned(**options):
    configs = [triton.Config({"BLOCK": 32}, num_warps=2), triton.Config({"BLOCK": 128})]
    return triton.autotune(configs=configs, key=["n"], **options)(triton.jit(scale_kernel.fn))


def blocks(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


@pytest.mark.parametrize("by_name", [False, True])
def test_autotune(by_name):
    kernel = tuned()
    x, out = torch.randn(1000), torch.zeros(1000)
    for _ in range(2):
        if by_name:
            kernel[blocks](x_ptr=x, out_ptr=out, n=1000, factor=2.0)
        else:
            kernel[blocks](x, out, 1000, 2.0)
        assert torch.equal(out, x * 2)
        out.zero_()
    assert kernel.best_config in kernel.configs
    assert len(kernel.configs_timings) == 2
    assert all(0 < time < 1e3 for times in kernel.configs_timings.values() for time in times)


def test_autotune_restores_and_resets():
    @triton.autotune(
        configs=[triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 64})],
        key=["n"], restore_value=["x_ptr"], reset_to_zero=["count_ptr"],
    )  # fmt: skip
    @triton.jit
    def increment(x_ptr, count_ptr, n, BLOCK: tl.constexpr):
        offsets = tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(x_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + 1, mask=mask)
        tl.atomic_add(count_ptr, 1)

    x, count = torch.zeros(10), torch.zeros(1, dtype=torch.int32)
    increment[(1,)](x, count, 10)
    assert x.tolist() == [1.0] * 10
    assert count.item() == 1


def test_autotune_with_a_benchmark_of_the_users():
    calls = []

    def benchmark(kernel_call, quantiles):
        kernel_call()
        calls.append(quantiles)
        return [1.0] * len(quantiles)

    kernel = tuned(do_bench=benchmark)
    kernel[blocks](torch.zeros(10), torch.zeros(10), 10, 1.0)
    assert len(calls) == 2


def test_tritons_own_benchmark_works():
    x = torch.zeros(1000)
    time = triton.testing.do_bench(lambda: scale_kernel[(16,)](x, x, 1000, 1.0), warmup=1, rep=3)
    assert 0 < time < 100


def test_heuristics():
    @triton.heuristics({"BLOCK": lambda args: triton.next_power_of_2(args["n"])})
    @triton.jit
    def kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
        offsets = tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * factor, mask=mask)

    x, out = torch.randn(100), torch.zeros(100)
    for _ in range(2):
        kernel[(1,)](x, out, 100, 2.0)
        assert torch.equal(out, x * 2)


# ---- Prepared launches ---------------------------------------------------------------------------


def test_prepared_launch():
    x, out = torch.randn(1000), torch.zeros(1000)
    prepared = triton_cpu.prepare(scale_kernel, [x, out, 1000, 2.5], {"BLOCK": 128})
    prepared.launch((8, 1, 1), (x.data_ptr(), out.data_ptr(), 1000, 2.5))
    assert torch.equal(out, scaled(x, 2.5))
    assert prepared.types == ("*fp32", "*fp32", "i32", "fp32")


def test_a_prepared_integer_1_stays_a_variable():
    x, out = torch.randn(10), torch.zeros(10)
    prepared = triton_cpu.prepare(scale_kernel, [x, out, 1, 1.0], {})
    for n in (1, 10):
        out.zero_()
        prepared.launch((1, 1, 1), (x.data_ptr(), out.data_ptr(), n, 2.0))
        assert torch.equal(out[:n], x[:n] * 2) and not out[n:].any()


def test_prepared_constants_and_none():
    x, out = torch.tensor([1.0]), torch.zeros(1)
    prepared = triton_cpu.prepare(optional_kernel, [x, None, out], {})
    prepared.launch((1, 1, 1), (x.data_ptr(), out.data_ptr()))
    assert out.item() == 1.0
    prepared = triton_cpu.prepare(program_kernel, [torch.ones(8), torch.zeros(8)],
                                  {"FNS": (double, double), "SIZES": (8, 1)})  # fmt: skip
    x, out = torch.randn(8), torch.zeros(8)
    prepared.launch((1, 1, 1), (x.data_ptr(), out.data_ptr()))
    assert torch.equal(out, 4 * x)


def test_prepare_checks_the_number_of_arguments():
    x = torch.zeros(4)
    for args, constants in (([x, x, 4], {}), ([x, x, 4, 1.0, 5], {}), ([x, x, 4, 1.0], {"Z": 1})):
        with pytest.raises(TypeError):
            triton_cpu.prepare(scale_kernel, args, constants)


def test_preparing_again_compiles_nothing():
    kernel = triton.jit(scale_kernel.fn)
    x = torch.zeros(4)
    first = triton_cpu.prepare(kernel, [x, x, 4, 1.0], {})
    assert triton_cpu.prepare(kernel, [x, x, 1, 1.0], {}).compiled is first.compiled


def test_a_float_annotation_decides_the_type():
    @triton.jit
    def kernel(out_ptr, value: tl.float64, n: tl.int64):
        tl.store(out_ptr, value + n)

    out = torch.zeros(1, dtype=torch.float64)
    prepared = triton_cpu.prepare(kernel, [out, 0.0, 0], {})
    assert prepared.types == ("*fp64", "fp64", "i64")
    prepared.launch((1, 1, 1), (out.data_ptr(), 0.1, 2**40))
    assert out.item() == 0.1 + 2.0**40
    kernel[(1,)](out, 0.1, 0)
    assert out.item() == 0.1


# ---- Threads and processes -----------------------------------------------------------------------


def test_calls_from_many_threads():
    kernel = triton.jit(scale_kernel.fn)
    failures = []

    def work(number):
        for repeat in range(20):
            x, out = torch.randn(5000), torch.zeros(5000)
            block = 32 << (repeat % 3)
            kernel[(triton.cdiv(5000, block),)](x, out, 5000, 2.0, block)
            if not torch.equal(out, x * 2):
                failures.append((number, repeat))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


class Dataset(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        x, out = torch.full((100_000,), float(i)), torch.zeros(100_000)
        scale_kernel[(1563,)](x, out, 100_000, 2.0)
        return out


def test_data_loader_workers():
    # The parent has a pool of threads by now, which the forked workers do not have.
    x, out = torch.zeros(1_000_000), torch.zeros(1_000_000)
    scale_kernel[(15625,)](x, out, 1_000_000, 2.0)
    loader = torch.utils.data.DataLoader(
        Dataset(), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    means = [batch.mean(1).tolist() for batch in loader]
    assert means == [[0.0, 2.0], [4.0, 6.0], [8.0, 10.0], [12.0, 14.0]]


# ---- Beside Triton's GPU backends ----------------------------------------------------------------


class FakeGPU(driver.CPUDriver):
    """A driver that Triton takes for a GPU's."""

    def get_current_device(self):
        return 0


@pytest.fixture
def gpu(monkeypatch):
    """As if a GPU's driver were active; what would run there is noted instead."""
    seen = []
    monkeypatch.setattr(triton_driver, "_active", types.SimpleNamespace(
        get_current_target=lambda: triton.backends.compiler.GPUTarget("cuda", 90, 32),
        get_benchmarker=lambda: pytest.fail("the GPU's benchmark was asked for"),
    ))  # fmt: skip
    monkeypatch.setitem(driver._triton, "run", lambda self, *args, **kwargs: seen.append(args))
    return seen


def on_gpu(tensor):
    buffer = Buffer(tensor)
    buffer.device = torch.device("cuda", 0)
    return buffer


def test_each_launch_goes_where_its_tensors_are(gpu):
    x, out = torch.randn(10), torch.zeros(10)
    far = on_gpu(x)
    for _ in range(2):
        scale_kernel[(1,)](x, out, 10, 2.0)
        assert torch.equal(out, x * 2)
        scale_kernel[(1,)](far, far, 10, 2.0)
        out.zero_()
    assert [args[0] for args in gpu] == [far, far]


def test_the_active_driver_of_a_gpu_is_left_alone(gpu):
    active = triton_driver.active
    scale_kernel[(1,)](torch.zeros(4), torch.zeros(4), 4, 1.0)
    assert triton_driver.active is active
    assert not isinstance(active, driver.CPUDriver)


def test_without_tensors_the_gpu_gets_the_kernel(gpu):
    @triton.jit
    def nothing(n):
        pass

    nothing[(1,)](5)
    assert gpu == [(5,)]


def test_tuning_on_the_cpu_beside_a_gpu(gpu):
    kernel = tuned()
    x, out = torch.randn(100), torch.zeros(100)
    for _ in range(2):
        kernel[blocks](x, out, 100, 2.0)
        assert torch.equal(out, x * 2)
    assert not kernel.cache
    assert kernel.best_config in kernel.configs


def test_the_cpu_is_the_active_driver_only_without_a_gpu(monkeypatch):
    assert isinstance(triton_driver.active, driver.CPUDriver)
    assert driver.CPUDriver.is_active()
    monkeypatch.setattr(backends["nvidia"].driver, "is_active", staticmethod(lambda: True))
    assert not driver.CPUDriver.is_active()


def test_the_active_driver_answers_what_host_code_asks():
    active = triton_driver.active
    assert active.get_active_torch_device() == torch.device("cpu")
    assert active.get_current_target().backend == "cpu"
    assert active.map_python_to_cpp_type("*fp32") == "void *"
    assert active.map_python_to_cpp_type("u32") == "uint32_t"


# ---- Switching on and off ------------------------------------------------------------------------


def test_free_threaded_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(RuntimeError, match="PYTHON_GIL=1"):
        triton_cpu.enable()


def test_enabling_twice_and_disabling():
    run, original = JITFunction.run, driver._triton["run"]
    triton_cpu.enable()
    assert JITFunction.run is run and triton_cpu.is_enabled()
    triton_cpu.disable()
    try:
        assert JITFunction.run is original and not triton_cpu.is_enabled()
        assert "cpu" not in backends
        triton_cpu.disable()
        with pytest.raises(RuntimeError, match="enable"):
            triton_cpu.prepare(triton.jit(scale_kernel.fn), [torch.zeros(1)] * 2 + [1, 1.0], {})
        if not torch.cuda.is_available():
            for kernel in (scale_kernel, triton.autotune([triton.Config({})], [])(scale_kernel)):
                with pytest.raises(RuntimeError, match=r"no GPU.*minitorch_triton.cpu.enable\(\)"):
                    kernel[(1,)](torch.zeros(1), torch.zeros(1), 1, 1.0)
    finally:
        triton_cpu.enable()
    x, out = torch.ones(4), torch.zeros(4)
    scale_kernel[(1,)](x, out, 4, 2.0)
    assert out.tolist() == [2.0] * 4


def test_with_the_interpreter_enable_does_nothing(tmp_path):
    script = tmp_path / "interpreted.py"
    script.write_text(
        textwrap.dedent(
            """
            import torch, triton, triton.language as tl
            import minitorch_triton.cpu as triton_cpu
            triton_cpu.enable()
            @triton.jit
            def kernel(x_ptr):
                tl.store(x_ptr, tl.load(x_ptr) + 1)
            x = torch.zeros(1)
            kernel[(1,)](x)
            print(type(kernel).__name__, triton_cpu.is_enabled(), x.item())
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["InterpretedFunction", "False", "1.0"]


def test_importing_asks_no_gpu_and_loads_no_compiler():
    modules = run_python(
        """
        import sys
        import minitorch_triton.cpu
        minitorch_triton.cpu.enable()
        from triton.runtime import driver
        print(driver._active, "minitorch_triton.cpu.codegen" in sys.modules)
        """
    )
    assert modules == "None False"


# ---- The slots of the arguments ------------------------------------------------------------------


def test_slot_formats_are_eight_bytes():
    for ty in (*launch.SLOT_FORMATS, "*fp32"):
        assert len(launch.packer([ty])(1, 1, 1, 1)) == 32
