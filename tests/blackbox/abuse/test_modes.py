"""Nothing under a drive is open to other users of the machine, whatever the umask and whatever was there."""
import os
import stat
import sys

import pytest

from conftest import drystone

#: Sets a umask that takes nothing away, then becomes the server.
LOOSE = (sys.executable, "-c", "import os, sys; os.umask(0); os.execv(sys.argv[1], sys.argv[1:])")


def below(directory):
    """Every file and directory of a drive, itself included."""
    yield directory
    for folder, folders, files in os.walk(directory):
        for name in folders + files:
            yield os.path.join(folder, name)


def check_closed(*drives):
    open_to_others, kinds = [], set()
    for path in (path for drive in drives for path in below(str(drive))):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            continue
        expected = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        kinds.add(stat.S_IFMT(status.st_mode))
        if stat.S_IMODE(status.st_mode) != expected:
            open_to_others.append((path, oct(status.st_mode)))
    assert not open_to_others
    assert {stat.S_IFREG, stat.S_IFDIR} <= kinds


def write(server, count=40):
    """Enough for segments, index tables and an upload in progress."""
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    for i in range(count):
        s3.put_object(Bucket="bucket", Key=f"k{i}", Body=bytes([i]) * (300 << 10))
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    s3.upload_part(Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * (1 << 20))


@pytest.mark.parametrize("count", [1, 4])
def test_whatever_the_umask_files_are_for_their_owner_only(start, tmp_path, count):
    drives = [tmp_path / f"d{i}" for i in range(count)]
    log = tmp_path / "access.log"
    server = start("--access-log", str(log), *map(str, drives[1:]), directory=drives[0], prefix=LOOSE)
    write(server)
    check_closed(*drives)
    assert any(stat.S_ISSOCK(os.lstat(path).st_mode) for path in below(str(drives[0])))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    server.stop()
    # The commands that open drives make files too.
    again = [*LOOSE, *drystone_command("rebuild", *drives)]
    assert os.spawnv(os.P_WAIT, again[0], again) == 0
    check_closed(*drives)


def drystone_command(*arguments):
    return [os.environ["DRYSTONE_BINARY"], *map(str, arguments)]


def test_a_drive_that_was_open_is_closed_at_the_start_and_nothing_beside_it(start, tmp_path):
    parent = tmp_path / "srv"
    drive, beside = parent / "drive", parent / "beside"
    server = start(directory=drive)
    write(server)
    server.stop()
    beside.write_text("not of the drive")
    (drive / "link").symlink_to(beside)
    for path in (parent, beside):
        path.chmod(0o777)
    for path in below(str(drive)):
        if not os.path.islink(path):
            os.chmod(path, 0o777 if os.path.isdir(path) else 0o666)
    server = start(directory=drive)
    check_closed(drive)
    assert stat.S_IMODE(parent.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode) == 0o777
    assert server.client().get_object(Bucket="bucket", Key="k7")["Body"].read() == bytes([7]) * (300 << 10)
    _, said = server.stop()
    assert said.count("modes set to 0600 and 0700") == 1
    # What is closed is not spoken of again.
    server = start(directory=drive)
    _, said = server.stop()
    assert "modes" not in said and drystone("fsck", drive).returncode == 0
    check_closed(drive)
