"""Finding and running the C compiler."""

import importlib.util
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import time

import pytest

from minitorch_triton.cpu import backend, toolchain

pytestmark = pytest.mark.usefixtures("forget_compiler")


def script(path, text, version="echo a compiler 1.0"):
    """A program that answers --version, and does what the text says with anything else."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then {version}; exit; fi\n{text}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("present", "expected"),
    [({"gcc", "clang", "cc"}, "gcc"), ({"clang", "cc"}, "clang"), ({"cc"}, "cc")],
)
def test_the_first_of_gcc_clang_cc_is_taken(monkeypatch, present, expected):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in present else None)
    assert toolchain.find_compiler() == (f"/bin/{expected}",)


def test_CC_comes_first_and_may_hold_arguments(monkeypatch):
    monkeypatch.setenv("CC", f"{sys.executable} -m 'a compiler'")
    assert toolchain.find_compiler() == (sys.executable, "-m", "a compiler")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("gcc 'never closed", "No closing quotation"),
        ("no-such-compiler -O2", "'no-such-compiler' is not an executable"),
        ("/bin/false", "`/bin/false --version` fails"),
        ("silent", "prints nothing"),
    ],
)
def test_CC_that_is_no_compiler_is_an_error(monkeypatch, tmp_path, command, reason):
    script(tmp_path / "silent", "", version="true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CC", command)
    for function in (toolchain.compiler_version, lambda: toolchain.compile_c("int x;")):
        with pytest.raises(toolchain.NoCompilerError) as caught:
            function()
        for text in ("CC is set to", command.split()[0], reason, "apt install gcc"):
            assert text in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 0", "wrote no machine code"),
        ('while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "wrote no machine code"),
        ("kill -SEGV $$", "failed with status -11 .Segmentation fault"),
        ("echo internal compiler error >&2; exit 4", "internal compiler error"),
    ],
)
def test_a_compiler_that_does_not_compile(monkeypatch, tmp_path, body, message):
    monkeypatch.setenv("CC", script(tmp_path / "cc", body))
    with pytest.raises(toolchain.CompileError, match=message):
        toolchain.compile_c("int x;")


def test_a_compiler_that_cannot_be_started(monkeypatch, tmp_path):
    path = tmp_path / "cc"
    path.write_bytes(b"\x7fELF and nothing more")
    path.chmod(0o700)
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(toolchain.NoCompilerError, match="Exec format error"):
        toolchain.compile_c("int x;")


def test_a_compiler_that_prints_warnings(monkeypatch, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    path = tmp_path / "a path with spaces"
    path.mkdir()
    talker = script(path / "cc", f'echo warning: all is well >&2; echo so; exec {compiler} "$@"')
    monkeypatch.setenv("CC", f"'{talker}'")
    assert toolchain.compile_c("int x;").startswith(b"\x7fELF")


@pytest.mark.parametrize(
    ("version", "given"),
    [("cc (Debian 12.2.0) Free Software Foundation, Inc.", True), ("clang 19", False)],
)
def test_flags_that_only_gcc_knows(monkeypatch, version, given):
    monkeypatch.setattr(toolchain, "compiler_version", lambda: version)
    assert ("-fno-tree-loop-distribution" in toolchain.workaround_flags()) == given


def test_no_room_for_temporary_files(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    with pytest.raises(toolchain.CompileError, match="cannot compile my_kernel"):
        toolchain.compile_c("int x;", name="my_kernel")


def test_a_full_disk_names_the_directory_to_change(monkeypatch, tmp_path):
    text = "echo /tmp/x.s: No space left on device >&2; exit 1"
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    with pytest.raises(toolchain.CompileError, match=f"go to {tempfile.gettempdir()}.*TMPDIR"):
        toolchain.compile_c("int x;")


@pytest.mark.parametrize(("size", "message"), [(100, "File too large"), (1, "ile size limit")])
def test_a_limit_of_the_size_of_files(size, message):
    toolchain.compiler_version()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(toolchain.CompileError, match=rf"(?s){message}.*TMPDIR.*ulimit -f"):
            toolchain.compile_c("int x;" * size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_compiler_that_leaves_a_child(monkeypatch, tmp_path):
    pid_file = tmp_path / "pid"
    compiler = shutil.which("gcc") or shutil.which("cc")
    path = tmp_path / "cc"
    path.write_text(f'#!/bin/sh\nsleep 60 & echo $! >> {pid_file}\nexec {compiler} "$@"\n')
    path.chmod(0o700)
    monkeypatch.setenv("CC", str(path))
    start = time.monotonic()
    assert toolchain.compile_c("int x;").startswith(b"\x7fELF")
    for pid in pid_file.read_text().split():
        os.kill(int(pid), 9)  # it is left alone: it may serve other compilations
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("version", ["echo a compiler", "head -c 99999 /dev/zero >&2; exit 1"])
def test_noise_is_not_repeated(monkeypatch, tmp_path, version):
    noise = "head -c 99999 /dev/zero >&2; exit 1"
    monkeypatch.setenv("CC", script(tmp_path / "cc", noise, version))
    with pytest.raises(RuntimeError, match="no text") as caught:
        toolchain.compile_c("int x;")
    assert len(str(caught.value)) < 2000 and "\0" not in str(caught.value)


def test_ziglang_serves_where_nothing_else_is_installed(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert toolchain.find_compiler() == (sys.executable, "-m", "ziglang", "cc")


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(toolchain.NoCompilerError) as caught:
        toolchain.find_compiler()
    for advice in ("apt install gcc", "pip install ziglang", "TRITON_INTERPRET=1"):
        assert advice in str(caught.value)


def test_a_shared_object_comes_out():
    code = toolchain.compile_c("int answer(void) { return 42; }")
    assert code.startswith(b"\x7fELF")


def test_the_compilers_message_is_in_the_error():
    with pytest.raises(toolchain.CompileError) as caught:
        toolchain.compile_c("int f(void) { return undeclared_name; }", name="my_kernel")
    assert "undeclared_name" in str(caught.value)
    assert "my_kernel.c" in str(caught.value)


def test_no_shell_sees_the_command(tmp_path):
    mark = tmp_path / "mark"
    code = toolchain.compile_c("int x;", name="k$(touch mark)", flags=(f"-DX=$(touch {mark})",))
    assert code.startswith(b"\x7fELF")
    assert not mark.exists()


def test_a_stuck_compiler_is_ended_with_its_children(monkeypatch, tmp_path):
    pid_file = tmp_path / "pid"
    stuck = script(tmp_path / "cc", f"sleep 60 & echo $! > {pid_file}; wait")
    monkeypatch.setenv("CC", stuck)
    monkeypatch.setattr(toolchain, "TIME_LIMIT_S", 1.0)
    with pytest.raises(toolchain.CompileError, match=r"longer than 1.0 s"):
        toolchain.compile_c("int x;")
    child = int(pid_file.read_text())
    for _ in range(100):
        ps = ["ps", "-o", "stat=", str(child)]
        state = subprocess.run(ps, capture_output=True, text=True, check=False).stdout
        if state.strip() in ("", "Z"):
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("the compiler's child is still running")


def test_the_fingerprint_changes_with_the_compiler(monkeypatch, tmp_path, forget_compiler):
    before = toolchain.fingerprint()
    monkeypatch.setenv("CC", script(tmp_path / "cc", ""))
    forget_compiler()
    assert toolchain.fingerprint() != before


@pytest.mark.parametrize("part", ["processor", "sources_hash", "compiler_version"])
def test_the_fingerprint_changes_with_each_part(monkeypatch, part):
    before = toolchain.fingerprint()
    toolchain.fingerprint.cache_clear()
    monkeypatch.setattr(toolchain, part, lambda: "something else")
    assert toolchain.fingerprint() != before


def test_c_and_python_files_are_in_the_sources_hash(monkeypatch, tmp_path):
    include = tmp_path / "include"
    include.mkdir()
    (include / "a.h").write_text("int a;")
    (include / "c.c").write_text("int c;")
    (tmp_path / "b.py").write_text("b = 1")
    monkeypatch.setattr(toolchain, "PACKAGE_DIR", tmp_path)
    monkeypatch.setattr(toolchain, "INCLUDE_DIR", include)
    toolchain.sources_hash.cache_clear()
    seen = {toolchain.sources_hash()}
    changes = {include / "a.h": "int a2;", include / "c.c": "int c2;", tmp_path / "b.py": "b = 2"}
    for path, text in changes.items():
        path.write_text(text)
        toolchain.sources_hash.cache_clear()
        seen.add(toolchain.sources_hash())
    toolchain.sources_hash.cache_clear()
    assert len(seen) == 4


@pytest.mark.parametrize(("lines", "level"), [(100, []), (5000, ["-O2"])])
def test_long_files_are_compiled_faster(monkeypatch, lines, level):
    backend.common_object("mt_launch")  # not by what takes the place of the compiler
    seen = []

    def compiled(text, name, flags, objects):
        seen.extend(flags)
        return b""

    monkeypatch.setattr(backend, "compiled", compiled)
    metadata = {"name": "kernel", "hash": "key", "products": ()}
    backend.make_so(lines * "\n", metadata, backend.CPUOptions())
    assert [flag for flag in seen if flag.startswith("-O")] == level
