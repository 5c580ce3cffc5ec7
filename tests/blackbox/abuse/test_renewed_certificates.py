"""A renewed certificate is served once both of its files are there, however they come in and whatever times they have, and without a
start; a pair that cannot be used is named in the log, now and then, and the one before is served meanwhile."""
import os
import ssl
import subprocess
import threading
import time

import pytest

from conftest import Server

NAMES = ("public.crt", "private.key")


def make(folder, name):
    folder.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-keyout", folder / NAMES[1], "-out", folder / NAMES[0]], check=True, capture_output=True)
    return folder


def age(path, seconds):
    past = time.time() - seconds
    os.utime(path, (past, past))


class Log:
    """Lines of a server's log as they come."""

    def __init__(self, server):
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(server.process.stderr), daemon=True)
        self.reader.start()


@pytest.fixture
def tls(tmp_path):
    certs, new = make(tmp_path / "certs", "old"), make(tmp_path / "new", "new")
    server = Server(tmp_path / "drive", "--certs-dir", str(certs)).wait_ready()
    yield server, certs, new
    server.kill()


def served(server):
    return ssl.get_server_certificate(("127.0.0.1", server.port), timeout=5)


def text(path):
    return path.read_text()


def wait_for(server, certificate, seconds=10):
    deadline = time.monotonic() + seconds
    while served(server) != certificate:
        assert time.monotonic() < deadline, "the old certificate is served"
        time.sleep(0.1)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["certificate-first", "key-first"])
@pytest.mark.parametrize("older", NAMES)
def test_files_that_are_moved_one_after_the_other(tls, names, older):
    server, certs, new = tls
    old, renewed = served(server), text(new / "public.crt")
    age(new / older, 3600)
    for name in names:
        assert served(server) == old
        os.rename(new / name, certs / name)
        if name == names[0]:
            assert served(server) == old, "half of a pair is not served"
    wait_for(server, renewed)


def test_files_that_keep_the_times_of_those_before(tls):
    """As `cp -p` and `rsync -t` have it, in the same file, of the same length where that can be."""
    server, certs, new = tls
    for name in NAMES:
        before = os.stat(certs / name)
        content = (new / name).read_bytes()
        with open(certs / name, "r+b") as file:
            file.write(content)
            file.truncate(len(content))
        os.utime(certs / name, ns=(before.st_atime_ns, before.st_mtime_ns))
        served(server)
    wait_for(server, text(new / "public.crt"))


def test_a_directory_that_is_swapped_by_a_link(tmp_path):
    """As Kubernetes mounts secrets: the files are links into a directory, which is a link that is replaced."""
    first, second = make(tmp_path / "first", "old"), make(tmp_path / "second", "new")
    for name in NAMES:
        for folder in (first, second):
            os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "data").symlink_to(first)
    for name in NAMES:
        (certs / name).symlink_to(f"data/{name}")
    server = Server(tmp_path / "drive", "--certs-dir", str(certs)).wait_ready()
    try:
        assert served(server) == text(first / "public.crt")
        (certs / "next").symlink_to(second)
        os.rename(certs / "next", certs / "data")
        wait_for(server, text(second / "public.crt"))
    finally:
        server.kill()


def test_a_pair_that_cannot_be_used_is_named_now_and_then(tls):
    server, certs, new = tls
    log, old, good = Log(server), served(server), (certs / "private.key").read_bytes()
    for content, said in ((b"no key", "private.key is not readable as PEM"), (None, "private.key is missing"),
                          (b"x" * (2 << 20), "private.key cannot be read"), ((new / "private.key").read_bytes(), "cannot be used together")):
        if content is None:
            (certs / "private.key").unlink()
        else:
            (certs / "private.key").write_bytes(content)
        seen = len(log.lines)
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            assert served(server) == old
        lines = [line for line in log.lines[seen:] if "certificates cannot be used" in line]
        assert any(said in line for line in lines), (said, log.lines[seen:])
        assert len(lines) <= 2, "one line for a state of the files, and one for a half-written one"
    (certs / "private.key").unlink()
    os.mkfifo(certs / "private.key")
    assert served(server) == old, "a pipe holds up nobody"
    (certs / "private.key").unlink()
    (certs / "private.key").write_bytes(good)
    assert served(server) == old
    for name in NAMES:
        os.rename(new / name, certs / name)
    wait_for(server, text(certs / "public.crt"))
