"""Only a failed write or flush ends writing; that is said in the log, in metrics, in health and in `status`."""
import socket
import time

import botocore.exceptions
import pytest
import requests

from conftest import PASSWORD, USER

MIB = 1 << 20
LIMITED = ("bash", "-c", 'ulimit -n 256 && exec "$@"', "limited")
PUBLIC = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_PROMETHEUS_AUTH_TYPE": "public"}


def idle_sockets(server, count):
    sockets = []
    for _ in range(count):
        sock = socket.socket()
        sock.settimeout(1)
        try:
            sock.connect(("127.0.0.1", server.port))
        except OSError:
            sock.close()
            break
        sockets.append(sock)
    return sockets


def test_writing_goes_on_after_descriptors_were_used_up(start):
    """Segments are filled while idle sockets hold all descriptors that the server gives them."""
    server = start(prefix=LIMITED, env=PUBLIC)
    client = server.client(read_timeout=10)
    client.create_bucket(Bucket="held")
    client.put_object(Bucket="held", Key="before", Body=b"x")
    held = idle_sockets(server, 400)
    refused = 0
    for number in range(5):
        try:
            client.put_object(Bucket="held", Key=f"large-{number}", Body=bytes([number]) * (6 * MIB))
        except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
            refused += 1
    for sock in held:
        sock.close()
    deadline = time.monotonic() + 15
    while True:
        try:
            client.put_object(Bucket="held", Key="after", Body=b"y" * (9 * MIB))
            break
        except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
            assert time.monotonic() < deadline, f"writing has ended ({refused} were refused before)"
            time.sleep(0.2)
    assert client.get_object(Bucket="held", Key="after")["Body"].read() == b"y" * (9 * MIB)
    assert client.get_object(Bucket="held", Key="before")["Body"].read() == b"x"
    for number in range(3):
        client.put_object(Bucket="held", Key=f"small-{number}", Body=bytes(4 * MIB))
    metrics = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=5).text
    assert "drystone_drive_quarantined{" in metrics
    assert " 1" not in [line[-2:] for line in metrics.splitlines() if line.startswith("drystone_drive_quarantined{")]
    assert requests.get(f"{server.url}/minio/health/cluster", timeout=5).status_code == 200


def test_a_failed_write_is_said_everywhere(start, tmp_path):
    """A write beyond the limit of file sizes fails with EFBIG, as one to a broken device does with EIO."""
    directory = tmp_path / "drive"
    server = start(directory=directory, env=PUBLIC)
    server.client().create_bucket(Bucket="broken")
    server.stop()
    # Segments of 8 MiB are there already; from 4 MiB on they cannot be written.
    limited = ("bash", "-c", f'trap "" XFSZ; ulimit -f {4 * 1024} && exec "$@"', "limited")
    server = start(directory=directory, env=PUBLIC, prefix=limited)
    client = server.client()
    with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError)):
        for number in range(60):
            client.put_object(Bucket="broken", Key=str(number), Body=bytes(100_000))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        metrics = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=5).text
        if any(line.startswith("drystone_drive_quarantined{") and line.endswith(" 1") for line in metrics.splitlines()):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("no metric says it")
    health = requests.get(f"{server.url}/minio/health/cluster", timeout=5)
    assert health.status_code == 503 and "status" in health.text
    # What is there can still be read.
    assert client.get_object(Bucket="broken", Key="0")["Body"].read() == bytes(100_000)
    time.sleep(0.4)
    _, log = server.stop()
    told = [line for line in log.splitlines() if "takes no more writes" in line]
    assert len(told) == 1 and str(directory) in told[0] and "os error 27" in told[0], log
