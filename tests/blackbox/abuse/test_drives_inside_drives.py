"""No directory inside a drive becomes another drive, and none that holds one (finding U4)."""
import os
import subprocess

import pytest

from conftest import BINARY, PASSWORD, USER, Server, drystone

ENV = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}


@pytest.mark.parametrize("order", [("zz", "zz/in"), ("zz/in", "zz"), ("zz", "zz/../zz/in"), ("zz", "link/in")])
def test_a_server_refuses_drives_inside_drives(tmp_path, order):
    (tmp_path / "link").symlink_to("zz")
    (tmp_path / "zz").mkdir()
    run = subprocess.run([BINARY, "server", *order, "--address", "127.0.0.1:0", "--console-address", "127.0.0.1:0"], cwd=tmp_path,
                         env={**os.environ, **ENV}, capture_output=True, text=True, timeout=20)
    assert run.returncode != 0
    inner = next(path for path in order if path.endswith("in"))
    outer = next(path for path in order if path != inner)
    assert f"{inner} lies in {outer}" in run.stderr, run.stderr
    assert list((tmp_path / "zz").iterdir()) == []


@pytest.fixture
def drives(tmp_path):
    names = [tmp_path / "top" / name for name in ("a", "b", "c")]
    for name in names:
        name.mkdir(parents=True)
    server = Server(names[0], names[1], names[2], env=ENV).wait_ready()
    yield server, names
    server.stop()


@pytest.mark.parametrize("call", ["add", "replace"])
def test_no_drive_is_added_inside_another(drives, tmp_path, call):
    server, names = drives
    inside = names[1] / "sub"
    inside.mkdir()
    (tmp_path / "link").symlink_to(names[1])
    for place in (inside, tmp_path / "link" / "sub"):
        arguments = [place] if call == "add" else [names[2], place]
        run = drystone("drive", call, *map(str, arguments), "--at", names[0])
        assert run.returncode != 0 and f"{place} lies in {names[1]}" in run.stderr, run.stderr
    arguments = [tmp_path / "top"] if call == "add" else [names[2], tmp_path / "top"]
    run = drystone("drive", call, *map(str, arguments), "--at", names[0])
    assert run.returncode != 0 and f"{names[0]} lies in {tmp_path / 'top'}" in run.stderr, run.stderr
    assert list(inside.iterdir()) == []
