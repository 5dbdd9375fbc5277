"""The cache on disk: what is found again, what is not trusted, and what happens when it breaks."""

import concurrent.futures
import gc
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl

from minitorch_triton.cpu import backend, binding, cache, toolchain

ROOT = Path(__file__).parents[2]

# A process of its own; it does without torch, which takes seconds to import.
SCRIPT = """
import ctypes, types
import triton, triton.language as tl
import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import toolchain
triton_cpu.enable()
compiled = []
compile_c = toolchain.compile_c
toolchain.compile_c = lambda *args, **kwargs: compiled.append(1) or compile_c(*args, **kwargs)

@triton.jit
def kernel(x_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(x_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + 1, mask=mask)

memory = (ctypes.c_float * 64)()
x = types.SimpleNamespace(
    data_ptr=lambda: ctypes.addressof(memory), dtype=tl.float32,
    device=types.SimpleNamespace(type="cpu"))
print("ready", flush=True)
kernel[(1,)](x, 64, BLOCK=64)
assert list(memory) == [1.0] * 64
print(len(compiled))
"""


@triton.jit
def kernel(x_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(x_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + 1, mask=mask)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory."""
    path = tmp_path / "cache"
    monkeypatch.setenv("TRITON_CACHE_DIR", str(path))
    # Python's temporary directories are made for pytest; the cache's parents must be private.
    os.chmod(tmp_path, 0o700)
    return path


@pytest.fixture
def compilations(monkeypatch):
    """How often the C compiler has been called for a kernel."""
    for name in ("mt_launch", "mt_check"):
        backend.common_object(name)
    calls = []
    compile_c = toolchain.compile_c

    def counted(*args, **kwargs):
        calls.append(args)
        return compile_c(*args, **kwargs)

    monkeypatch.setattr(toolchain, "compile_c", counted)
    return calls


def run(block=64):
    """Run the kernel as a new process would: nothing in memory, everything on disk."""
    kernel.device_caches.clear()
    x = torch.zeros(64)
    compiled = kernel[(1,)](x, 64, BLOCK=block)
    assert x.tolist() == [1.0] * 64
    return compiled


def test_a_second_process_compiles_nothing(directory, compilations):
    run()
    assert len(compilations) == 1
    run()
    assert len(compilations) == 1


def test_options_without_effect_share_the_machine_code(directory, compilations):
    x = torch.zeros(64)
    for warps in (1, 2, 4):
        kernel[(1,)](x, 64, BLOCK=64, num_warps=warps)
    assert len(compilations) == 1


@pytest.mark.parametrize("part", ["processor", "sources_hash", "compiler_version", "FLAGS"])
def test_the_key_holds_all_that_shapes_the_code(directory, compilations, monkeypatch, part):
    run()
    changed = (*toolchain.FLAGS, "-g0") if part == "FLAGS" else lambda: "something else"
    monkeypatch.setattr(toolchain, part, changed)
    toolchain.fingerprint.cache_clear()
    run()
    monkeypatch.undo()
    toolchain.fingerprint.cache_clear()
    assert len(compilations) == 2


def test_the_key_holds_the_installed_triton(monkeypatch):
    before = cache.triton_version()
    cache.triton_version.cache_clear()
    monkeypatch.setattr(triton, "__version__", "0.0")
    assert cache.triton_version() != before
    cache.triton_version.cache_clear()


def test_always_compile(directory, compilations, monkeypatch):
    run()
    monkeypatch.setenv("TRITON_ALWAYS_COMPILE", "1")
    run()
    assert len(compilations) == 2


def test_only_binaries_stored(directory, compilations, monkeypatch):
    monkeypatch.setitem(vars(triton.knobs.compilation), "store_binary_only", True)
    run()
    run()
    assert len(compilations) == 1


def test_a_warm_start_is_quick(directory):
    run()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    assert sorted(times)[4] < 0.02  # 5 ms, with room for a busy machine


# ---- Damage --------------------------------------------------------------------------------------


def entry_files(directory, pattern):
    files = list(directory.glob(f"*/{pattern}"))
    assert files
    return files


def replace(path, data):
    """Put other bytes into a file, leaving alone the old ones, which may be mapped as a library."""
    path.unlink()
    path.write_bytes(data)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replace(path, bytes(data))


def make_a_directory(path):
    path.unlink()
    path.mkdir()


def make_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "empty": lambda path: replace(path, b""),
    "cut short": lambda path: replace(path, path.read_bytes()[:-9]),
    "one bit": flip_a_bit,
    "missing": lambda path: path.unlink(),
    "a directory": make_a_directory,
    "a pipe": make_a_pipe,
}


@pytest.mark.filterwarnings("ignore:Triton's cache is of no use")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pattern", ["*.so", "kernel.json", "__grp__*", "*"])
def test_a_damaged_entry_means_a_recompile(directory, pattern, damage):
    run()
    for path in entry_files(directory, pattern):
        DAMAGES[damage](path)
    run()
    run()
    # Triton's half-built kernel must not complain when it is collected.
    gc.collect()


def test_a_repaired_entry_serves_again(directory, compilations):
    run()
    for path in entry_files(directory, "*.so"):
        replace(path, b"\x7fELF")
    run()
    assert len(compilations) == 2
    run()
    assert len(compilations) == 2


def test_a_foreign_library_with_a_valid_name_is_not_loaded(directory):
    run()
    mark = directory.parent / "loaded"
    foreign = toolchain.compile_c(
        f"""
        #include <fcntl.h>
        __attribute__((constructor)) static void init(void) {{ open("{mark}", O_CREAT, 0600); }}
        """
    )
    for path in entry_files(directory, "*.so"):
        replace(path, foreign)
    run()
    assert not mark.exists()


# ---- Trust ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["entry", "directory", "parent"])
def test_what_others_can_write_is_not_loaded(directory, compilations, level):
    run()
    for file in entry_files(directory, "*.so"):
        levels = {"entry": file.parent, "directory": directory, "parent": directory.parent}
        path = levels[level]
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWOTH)
    with pytest.warns(RuntimeWarning, match="another user can change"):
        run()
    assert len(compilations) == 2


def test_a_sticky_directory_is_as_good_as_a_private_one(directory, compilations):
    run()
    directory.chmod(0o1777)
    run()
    assert len(compilations) == 1


@pytest.mark.parametrize("pattern", ["*.so", "kernel.json", "__grp__*"])
def test_a_file_that_others_can_write_is_replaced(directory, pattern):
    run()
    for file in entry_files(directory, pattern):
        file.chmod(0o666)
    run()
    assert not any(file.stat().st_mode & stat.S_IWOTH for file in entry_files(directory, pattern))


def test_machine_code_that_others_can_write_is_not_used(directory, compilations):
    run()
    for file in entry_files(directory, "machine_code"):
        file.chmod(0o666)
    run()
    assert len(compilations) == 1
    for file in entry_files(directory, "kernel.so"):
        file.unlink()
    run()
    assert len(compilations) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
@pytest.mark.parametrize("pattern", ["*.so", "kernel.json", "__grp__*"])
def test_a_file_of_another_user_is_replaced(directory, pattern):
    run()
    for file in entry_files(directory, pattern):
        os.chown(file, 12345, 12345)
    run()
    assert all(file.stat().st_uid == 0 for file in entry_files(directory, pattern))


def a_kernel_and_another(directory, pattern):
    """Compile two kernels, of which one does something else; the file of each in the cache."""

    @triton.jit
    def other(x_ptr, n, BLOCK: tl.constexpr):
        tl.store(x_ptr + tl.arange(0, BLOCK), 7.0)

    run()
    other[(1,)](torch.zeros(64), 64, BLOCK=64)
    (ours,) = entry_files(directory, pattern.format("kernel"))
    (theirs,) = entry_files(directory, pattern.format("other"))
    return ours, theirs


@pytest.mark.parametrize("pattern", ["{}.so", "{}.json", "__grp__{}.json"])
def test_a_file_of_another_kernel_is_not_loaded(directory, pattern):
    ours, theirs = a_kernel_and_another(directory, pattern)
    replace(ours, theirs.read_bytes())
    run()


def test_the_files_of_a_kernel_lie_together_whatever_is_said(directory, compilations):
    ours, theirs = a_kernel_and_another(directory, "__grp__{}.json")
    group = json.loads(ours.read_text())
    group["child_paths"]["kernel.so"] = str(theirs.parent / "other.so")
    replace(ours, json.dumps(group).encode())
    run()
    moved = shutil.move(directory, directory.parent / "moved")
    os.symlink(moved, directory)
    run()
    assert len(compilations) == 2


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o700])
def test_a_link_is_trusted_where_nobody_else_can_replace_it(
    directory, compilations, tmp_path, monkeypatch, mode
):
    directory.mkdir()
    for name, target in (("first", "../cache"), ("second", tmp_path / "first" / "first")):
        place = tmp_path / name
        place.mkdir()
        (place / name).symlink_to(target)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "second" / "second"))
    (tmp_path / "first").chmod(mode)
    if mode == 0o777:
        with pytest.warns(RuntimeWarning, match="another user can change .*/first, which"):
            run()
        assert not list(directory.glob("*/*.so"))
    else:
        run()
        assert list(directory.glob("*/*.so"))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a link to another user takes root")
def test_a_link_of_another_user_is_not_followed(directory, tmp_path, monkeypatch):
    directory.mkdir()
    link = tmp_path / "link"
    link.symlink_to(directory)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(link))
    with pytest.warns(RuntimeWarning, match="another user can change .*/link, which"):
        run()


def test_links_in_a_circle(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(cache.BadEntryError, match="symbolic links"):
        cache.check(str(tmp_path / "link" / "x.so"), "key")


# ---- A cache that cannot be written --------------------------------------------------------------


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch, compilations):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="compiles its kernels again") as warned:
            run()
        assert warned[0].filename == __file__
    assert len(compilations) == 2
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / "file" / "cache")


@pytest.mark.parametrize(("value", "reason"), [("", "is empty"), ("/tmp/\udcff", "is not UTF-8")])
def test_a_cache_without_a_usable_name(monkeypatch, value, reason):
    monkeypatch.setenv("TRITON_CACHE_DIR", value)
    with pytest.warns(RuntimeWarning, match=f"TRITON_CACHE_DIR {reason}"):
        run()


def test_threads_with_a_cache_that_is_not_trusted(directory, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    directory.mkdir()
    directory.chmod(0o777)
    kernel.device_caches.clear()

    def launch(block):
        x = torch.zeros(64)
        kernel[(1,)](x, 64, BLOCK=block)
        assert x.tolist() == [1.0] * 64

    with (
        pytest.warns(RuntimeWarning, match="another user can change"),
        concurrent.futures.ThreadPoolExecutor() as executor,
    ):
        list(executor.map(launch, (64, 128, 256)))
    assert triton.knobs.cache.dir == os.environ["TRITON_CACHE_DIR"] == str(directory)
    assert not triton.knobs.compilation.always_compile
    assert not list(temporary.iterdir())


def test_a_read_only_cache_serves_what_it_holds(directory, compilations, monkeypatch):
    run()
    # Permissions do not stop root, so writing fails by hand.
    manager = triton.runtime.cache.FileCacheManager

    def put(self, data, filename, binary=True):
        if str(self.cache_dir).startswith(str(directory)):
            raise PermissionError(13, "read-only", filename)
        return original(self, data, filename, binary)

    original = manager.put
    monkeypatch.setattr(manager, "put", put)
    run()
    assert len(compilations) == 1
    with pytest.warns(RuntimeWarning, match="read-only"):
        run(block=128)
    assert len(compilations) == 2


def test_a_full_disk(directory, compilations, monkeypatch):
    """Half of an entry is written; the next process finds it, and has room."""
    manager = triton.runtime.cache.FileCacheManager
    original = manager.put

    def put(self, data, filename, binary=True):
        if not str(self.cache_dir).startswith(str(directory)) or not isinstance(data, bytes):
            return original(self, data, filename, binary)
        Path(self.cache_dir, filename).write_bytes(data[:100])
        raise OSError(28, "No space left on device", filename)

    monkeypatch.setattr(manager, "put", put)
    with pytest.warns(RuntimeWarning, match="No space left"):
        run()
    monkeypatch.setattr(manager, "put", original)
    before = len(compilations)
    run()
    run()
    assert len(compilations) == before + 1


def test_a_cache_that_is_deleted_meanwhile(directory, compilations):
    run()
    shutil.rmtree(directory)
    x = torch.zeros(64)
    kernel[(1,)](x, 64, BLOCK=64)
    assert len(compilations) == 1
    for _ in range(2):
        run(block=128)
    assert len(compilations) == 2


def test_a_path_with_spaces(tmp_path, monkeypatch, compilations):
    os.chmod(tmp_path, 0o700)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "a 'cache' $(exit) with spaces"))
    run()
    run()
    assert len(compilations) == 1


def test_no_temporary_files_are_left(directory, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run()
    monkeypatch.setenv("TRITON_CACHE_DIR", "/dev/null/cache")
    with pytest.warns(RuntimeWarning, match="/dev/null"):
        run()
    assert not list(temporary.iterdir())


# ---- Many processes ------------------------------------------------------------------------------


def start(script, directory):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(directory)}
    return subprocess.Popen(
        [sys.executable, str(script)], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_eight_processes_on_a_cold_cache(script, directory):
    processes = [start(script, directory) for _ in range(8)]
    for process in processes:
        _, messages = process.communicate(timeout=300)
        assert process.returncode == 0, messages
    process = start(script, directory)
    output, messages = process.communicate(timeout=100)
    assert process.returncode == 0, messages
    assert output.split() == ["ready", "0"]


def test_a_warm_cache_needs_no_compiler(script, directory, tmp_path, monkeypatch):
    process = start(script, directory)
    _, messages = process.communicate(timeout=100)
    assert process.returncode == 0, messages
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    process = start(script, directory)
    output, messages = process.communicate(timeout=100)
    assert process.returncode == 0, messages
    assert output.split() == ["ready", "0"]
    process = start(script, tmp_path / "cold")
    _, messages = process.communicate(timeout=100)
    assert "NoCompilerError" in messages and "apt install gcc" in messages


@pytest.mark.parametrize("CC", ["/bin/false", "nonsense", "gcc 'never closed"])
def test_a_warm_cache_bears_a_wrong_CC(directory, monkeypatch, forget_compiler, CC):
    run()
    monkeypatch.setenv("CC", CC)
    forget_compiler()
    run()
    with pytest.raises(toolchain.NoCompilerError, match=f"CC is set to.*{CC}"):
        run(block=128)


def test_a_compiler_whose_output_cannot_be_loaded(directory, monkeypatch, forget_compiler):
    monkeypatch.setenv("CC", "gcc -c")
    forget_compiler()
    with pytest.raises(toolchain.CompileError, match="what `gcc -c` compiles cannot be loaded"):
        run()


def test_without_a_compiler_what_the_last_one_compiled_is_found(
    directory, compilations, tmp_path, monkeypatch, forget_compiler
):
    compiler = tmp_path / "cc"
    for version in ("1.0", "2.0"):
        compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {version} || exec gcc "$@"\n')
        compiler.chmod(0o700)
        monkeypatch.setenv("CC", str(compiler))
        forget_compiler()
        run()
    monkeypatch.setenv("CC", "/bin/false")
    forget_compiler()
    run()
    assert len(compilations) == 2


def test_eight_processes_some_of_which_are_killed(script, directory):
    processes = [start(script, directory) for _ in range(8)]
    for number, process in enumerate(processes[:4]):
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05 * number)
        os.killpg(process.pid, signal.SIGKILL)
    for number, process in enumerate(processes):
        _, messages = process.communicate(timeout=300)
        assert number < 4 or process.returncode == 0, messages


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3])
def test_a_kill_at_any_moment(script, directory, delay):
    process = start(script, directory)
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = start(script, directory)
    _, messages = again.communicate(timeout=100)
    assert again.returncode == 0, messages


def test_an_interrupt_during_a_compilation(script, directory, tmp_path):
    slow, started = tmp_path / "slow-cc", tmp_path / "started"
    compiler = shutil.which("gcc") or toolchain.find_compiler()[0]
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec {compiler} --version;; esac\n'
        f"touch {started}\nsleep 60\n"
    )
    slow.chmod(0o700)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(directory),
                   "CC": str(slow)}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=10)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in messages


# ---- The entries themselves ----------------------------------------------------------------------


def test_an_entry_holds_every_stage(directory):
    compiled = run()
    names = {Path(name).suffix for name in compiled.metadata_group}
    assert {".ttir", ".c", ".so", ".json"} <= names
    metadata = json.loads(
        Path(next(p for n, p in compiled.metadata_group.items() if n.endswith(".json"))).read_text()
    )
    assert metadata["target"]["backend"] == "cpu"


def test_a_seal_is_a_digest_of_the_key_and_the_code(tmp_path):
    os.chmod(tmp_path, 0o700)
    path = tmp_path / "x.so"
    path.write_bytes(cache.seal(b"code", "key"))
    assert cache.check(str(path), "key") == cache.seal(b"code", "key")
    with pytest.raises(cache.BadEntryError, match="another kernel"):
        cache.check(str(path), "another key")
    path.write_bytes(cache.seal(b"code", "key")[:-1] + b"?")
    with pytest.raises(cache.BadEntryError, match="damaged"):
        cache.check(str(path), "key")
    with pytest.raises(cache.BadEntryError):
        cache.check(str(tmp_path / "nothing.so"), "key")


def test_errors_of_the_compiler_are_not_taken_for_a_broken_cache(directory, compilations):
    @triton.jit
    def wrong(x_ptr):
        tl.static_assert(False, "never right")

    with pytest.raises(triton.CompilationError):
        wrong[(1,)](torch.zeros(1))
    assert not compilations
    assert not wrong.device_caches[binding.DEVICE][0]
