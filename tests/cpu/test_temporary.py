"""Temporary directories, and what killed processes leave of them."""

import os
import time
from pathlib import Path

import pytest

from minitorch_triton.cpu import temporary


@pytest.fixture
def location(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_directory_is_private_and_gone_after_use(location):
    with temporary.temporary_directory() as directory:
        assert Path(directory).parent == location
        assert Path(directory).stat().st_mode & 0o077 == 0
    assert not list(location.iterdir())


def test_what_killed_processes_left_is_removed_after_a_day(location):
    yesterday = time.time() - 100_000
    elsewhere = location / "elsewhere"
    for name in ("old", "new", "another_users", "elsewhere"):
        path = location / (name if name == "elsewhere" else temporary.PREFIX + name)
        path.mkdir()
        (path / "kernel.c").write_text("")
        if name != "new":
            os.utime(path, (yesterday, yesterday))
    if os.geteuid() == 0:
        os.chown(location / f"{temporary.PREFIX}another_users", 12345, 12345)
    else:
        os.utime(location / f"{temporary.PREFIX}another_users")
    link = location / f"{temporary.PREFIX}link"
    link.symlink_to(elsewhere)
    os.utime(link, (yesterday, yesterday), follow_symlinks=False)
    with temporary.temporary_directory():
        left = {path.name.removeprefix(temporary.PREFIX) for path in location.iterdir()}
    assert not (location / f"{temporary.PREFIX}old").exists()
    assert {"new", "another_users", "elsewhere", "link"} <= left
    assert (elsewhere / "kernel.c").exists()


def test_a_location_that_cannot_be_listed(location, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if path == str(location):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with temporary.temporary_directory() as directory:
        assert Path(directory).is_dir()
