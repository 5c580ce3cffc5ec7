"""Whoever writes one drive puts a named pipe, a device, a link or a file without end in the place of a file there. The drive is
refused and named, the others serve; an index is built again. Nothing waits, fills memory, or copies a file of the machine."""
import os
import shutil
import socket
import stat

import pytest

SECRET = "hash-of-a-password-of-the-machine\na second line\n"
FILES = ["super", "root-credentials", "keyring", "drives", "drive-index.rebuild", "seg-00000001.log", "seg-00000009.log"]


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def pipe(path):
    os.mkfifo(path)


def device(path):
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no right to make devices")


def link(path):
    path.symlink_to(path.parents[2] / "secret" if path.parent.name == "tables" else path.parents[1] / "secret")


def link_to_zeros(path):
    path.symlink_to("/dev/zero")


def bound_socket(path):
    # The path is longer than the address of a socket may be.
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(before)


def folder(path):
    path.mkdir()


def without_end(path):
    with open(path, "ab") as file:
        file.truncate(20 << 30)


def second_name(path):
    os.link(next(base / "secret" for base in path.parents if (base / "secret").exists()), path)


KINDS = [pipe, device, link, link_to_zeros, bound_socket, folder, without_end, second_name]


@pytest.fixture
def store(tmp_path, start):
    """A store of three drives that was stopped, whose keyring lies elsewhere, and the means to start it again."""
    base = tmp_path / "store"
    base.mkdir()
    (base / "secret").write_text(SECRET)
    os.chmod(base / "secret", 0o600)

    def begin(**kw):
        return start(str(base / "d2"), str(base / "d3"), "--keyring", str(base / "keyring"), "--segment-size", "1MiB",
                     directory=base / "d1", **kw)
    server = begin()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="long", Body=b"y" * 300_000)
    s3.put_object(Bucket="bucket", Key="short", Body=b"z")
    assert server.stop()[0] == 0
    return base, begin


def must_serve(server):
    s3 = server.client()
    assert s3.get_object(Bucket="bucket", Key="long")["Body"].read() == b"y" * 300_000
    assert s3.get_object(Bucket="bucket", Key="short")["Body"].read() == b"z"
    s3.put_object(Bucket="bucket", Key="more", Body=b"x" * 300_000)
    assert server.resident() < 400 << 20


def no_copy_of_the_secret(base):
    for path in base.rglob("*"):
        if path.is_file() and not path.is_symlink() and not path.samefile(base / "secret") and path.stat().st_size < 1 << 16:
            assert b"hash-of-a-password" not in path.read_bytes(), path
    assert (base / "secret").read_text() == SECRET


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_drive_with_something_else_in_the_place_of_a_file_is_refused(store, name, kind):
    if kind is without_end and name.startswith(("super", "seg-")):
        pytest.skip("only its beginning is read")
    base, begin = store
    place = base / "d2" / name
    if kind is not without_end:
        remove(place)
    kind(place)
    server = begin()
    must_serve(server)
    code, said = server.stop()
    assert code == 0 and f"path={base / 'd2'}" in said and f"{place} is " in said and "a drive is missing" in said, said
    no_copy_of_the_secret(base)
    # Without it, the drive is one of the others again.
    if not name.startswith(("super", "seg-00000001")):
        remove(place)
        server = begin()
        must_serve(server)
        assert "a drive is missing" not in server.stop()[1]


@pytest.mark.parametrize("name", ["root-credentials", "drives", "keyring", "super"])
def test_a_store_of_one_drive_does_not_start_and_names_the_file(start, tmp_path, name):
    server = start("--segment-size", "1MiB")
    server.stop()
    place = server.directory / name
    remove(place)
    pipe(place)
    server = start(wait=False)
    assert server.process.wait(20) == 1
    assert f"{place} is a named pipe, not a file" in server.process.stderr.read()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("index", ["drive-index", "catalog-index"])
def test_an_index_with_something_else_in_it_is_built_again(store, index, kind):
    base, begin = store
    number = next(n for n in (1, 2, 3) if (base / f"d{n}" / index).is_dir())
    root = base / f"d{number}" / index
    files = [path for path in root.rglob("*") if path.is_file()]
    assert root / "current" in files
    for path in files:
        if kind is not without_end:
            remove(path)
            kind(path)
        elif path.parent.name != "tables":
            kind(path)
    server = begin()
    must_serve(server)
    said = server.stop()[1]
    assert "index is rebuilt" in said and "a drive is missing" not in said
    no_copy_of_the_secret(base)


@pytest.mark.parametrize("kind", [pipe, link, link_to_zeros, bound_socket, without_end], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("index", ["drive-index", "catalog-index"])
def test_what_lies_in_the_place_of_an_index_is_removed(store, index, kind):
    base, begin = store
    for number in (1, 2, 3):
        if (base / f"d{number}" / index).is_dir():
            shutil.rmtree(base / f"d{number}" / index)
            kind(base / f"d{number}" / index)
    must_serve(begin())
    no_copy_of_the_secret(base)


@pytest.mark.parametrize("at", [18, 22, 30])
def test_an_index_that_asks_for_memory_is_built_again(store, at):
    """Files of the index engine say how many entries they have; it makes room for that many first."""
    base, begin = store
    path = base / "d2" / "drive-index" / "v0"
    content = bytearray(path.read_bytes())
    assert content[14:26] == bytes(12) and content[30:34] == b"\x08\0\0\0", "the file has another layout"
    content[at:at + 4] = b"\xff" * 4
    path.write_bytes(content)
    # Where memory is promised without being there, this would be found only when it is used.
    server = begin(prefix=["prlimit", f"--as={32 << 30}"])
    peak = int(open(f"/proc/{server.process.pid}/status").read().split("VmHWM:")[1].split()[0])
    assert peak < 400 << 10
    must_serve(server)
    assert "index is rebuilt" in server.stop()[1]


def test_a_directory_that_a_link_names_in_the_place_of_an_index_is_left_alone(store):
    base, begin = store
    outside = base / "outside"
    outside.mkdir()
    (outside / "thesis.tex").write_text("precious")
    shutil.rmtree(base / "d2" / "drive-index")
    (base / "d2" / "drive-index").symlink_to(outside)
    must_serve(begin())
    assert os.listdir(outside) == ["thesis.tex"] and (outside / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("line", ["/x{1...1000}{1...1000}{1...1000}", "PIPE", "/dev/zero", "/dev/null", "a=/", "x" * 100_000])
def test_the_list_of_drives_on_one_drive_holds_up_nothing(store, line):
    """It names where drives were last, and whoever writes it can name anything."""
    base, begin = store
    os.mkfifo(base / "d2" / "a-pipe")
    (base / "d2" / "drives").write_text(f"{line.replace('PIPE', str(base / 'd2' / 'a-pipe'))}\n" * 3)
    server = begin()
    must_serve(server)
    assert "a drive is missing" not in server.stop()[1]


def test_a_new_drive_brings_nothing_of_that_kind(store):
    from conftest import drystone
    base, begin = store
    server = begin()
    new = base / "new"
    new.mkdir()
    pipe(new / "root-credentials")
    refused = drystone("drive", "add", new, "--at", base / "d1")
    assert refused.returncode == 1 and "is a named pipe, not a file" in refused.stderr
    remove(new / "root-credentials")
    added = drystone("drive", "add", new, "--at", base / "d1")
    assert added.returncode == 0, added.stderr
    must_serve(server)


def test_what_a_drive_has_besides_its_files_does_not_matter(store):
    base, begin = store
    for number, kind in enumerate((pipe, link, bound_socket, folder)):
        kind(base / "d2" / f"another-{number}")
    server = begin()
    must_serve(server)
    assert "a drive is missing" not in server.stop()[1]


def test_no_link_is_written_to(start, tmp_path):
    """Also not while the server runs, when one was put there after the start looked."""
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    directory = tmp_path / "drive"
    server = start(str(tmp_path / "two"), str(tmp_path / "three"), directory=directory)
    (tmp_path / "four").mkdir()
    (directory / "drives").unlink()
    (directory / "drives").symlink_to(outside)
    from conftest import drystone
    added = drystone("drive", "add", tmp_path / "four", "--at", directory)
    assert added.returncode == 0, added.stderr
    assert outside.read_text() == SECRET
    assert "four" in (directory / "drives").read_text() and not (directory / "drives").is_symlink()
    assert server.process.poll() is None


def test_a_file_with_a_name_on_a_drive_is_neither_written_nor_closed(start, tmp_path):
    """One of the same file system, as long as a segment, under the names of free ones; of one drive, which does not start."""
    server = start("--segment-size", "8MiB")
    server.client().create_bucket(Bucket="bucket")
    assert server.stop()[0] == 0
    outside, content = tmp_path / "precious", b"precious " * (1 << 20)
    outside.write_bytes(content)
    os.chmod(outside, 0o644)
    free = [server.directory / f"seg-{number:08}.log" for number in range(20, 25)]
    for name in free:
        os.link(outside, name)
    os.link(outside, server.directory / "any-name")
    refused = start("--segment-size", "8MiB", wait=False)
    assert refused.process.wait(20) == 1
    said = refused.process.stderr.read()
    assert "is a file of 7 names" in said and "seg-0000002" in said, said
    assert outside.read_bytes() == content and outside.stat().st_mode & 0o777 == 0o644
    for name in free:
        name.unlink()
    server = start("--segment-size", "8MiB")
    server.client().put_object(Bucket="bucket", Key="k", Body=b"x")
    assert server.stop()[0] == 0
    assert outside.read_bytes() == content and outside.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_no_segment_is_left_alone(start):
    """It has the name and the length of one, and something else in it: so has a segment whose header rotted."""
    server = start("--segment-size", "8MiB")
    server.client().create_bucket(Bucket="bucket")
    assert server.stop()[0] == 0
    content = b"precious " * (1 << 20)
    taken = {int(path.name[4:12]) for path in server.directory.glob("seg-*")}
    names = [server.directory / f"seg-{number:08}.log" for number in range(1, 12) if number not in taken]
    for number, name in enumerate(names):
        name.write_bytes(content if number else content[:1000])
    server = start("--segment-size", "8MiB")
    s3 = server.client()
    for number in range(6):
        s3.put_object(Bucket="bucket", Key=f"k{number}", Body=os.urandom(6 << 20))
    code, said = server.stop()
    assert code == 0 and all(name.name in said for name in names), said
    assert [name.read_bytes() for name in names] == [content[:1000]] + [content] * (len(names) - 1)
