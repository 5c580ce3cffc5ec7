"""Nothing that a client writes makes a line or a field of a log: each request is one line, with the fields it
should have, whatever bytes are in it."""
import io
import json
import re
import socket
import tarfile
import time
import urllib.parse

import pytest
import requests

from conftest import PASSWORD, USER, Server
from raw import Signer

#: Fields of a line of the access log of a bucket (AWS: 26, and the region that came last).
FIELD = re.compile(r'"[^"]*"|\[[^\]]*\]|[^ "\[\]]+')
LINE = re.compile(r'(?:"[ -!#-~]*"|\[[ -~]*\]|[!-~]+)(?: (?:"[ -!#-~]*"|\[[ -~]*\]|[!-~]+)){26}')
FORGED = " FORGED owner bucket [06/Feb/2019:00:00:38 +0000] 6.6.6.6 root "
#: What is tried in each place: line ends of all kinds, quotes, blanks, escapes of terminals, bytes that are no text.
NASTY = [b"\n", b"\r", b"\r\n", b'"', b" ", b"\t", b"\x00", b"\x1b[2J", b"\x7f", b"\x80", b"\xff", b"\\", b"%", b"]",
         "\u0085".encode(), "\u2028".encode(), "\u202e".encode(), b"\n" + FORGED.encode(), b"x" * 3000, b"\n" * 1500]


def encoded(data):
    return "".join(f"%{byte:02X}" for byte in data)


def send(server, head, body=b"", pause=5):
    """Sends bytes as they are; the status of the answer, or nothing if there was none."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=pause) as sock:
        sock.sendall(head + body)
        sock.settimeout(pause)
        try:
            reply = sock.recv(64)
        except OSError:
            return None
    return int(reply.split()[1]) if reply.startswith(b"HTTP/1.1 ") else None


def plain(target, name="Host", value=b"127.0.0.1", host=True, method=b"GET"):
    lines = [method + b" " + target + b" HTTP/1.1", b"Connection: close"]
    if name != "Host" and host:
        lines.append(b"Host: 127.0.0.1")
    return b"\r\n".join([*lines, name.encode() + b": " + value, b"", b""])


@pytest.fixture(scope="module", params=["text", "json"])
def setup(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    arguments = ["--access-log", str(folder / "access.log"), "--log-delivery-seconds", "1", "--domain", "s3.test"]
    if request.param == "json":
        arguments.append("--json")
    server = Server(folder / "drive", *arguments).wait_ready()
    server.folder = folder
    yield server
    if server.process.poll() is None:
        server.kill()


def log_to(s3, source, target):
    for bucket in (source, target):
        s3.create_bucket(Bucket=bucket)
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}}
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=status)


def delivered(s3, target, is_there, timeout=20):
    deadline = time.monotonic() + timeout
    while True:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=target).get("Contents", [])]
        text = b"".join(s3.get_object(Bucket=target, Key=key)["Body"].read() for key in keys)
        if is_there(text) or time.monotonic() > deadline:
            return text
        time.sleep(0.2)


def anonymous_requests(bucket):
    """Requests with each of the bytes in each place that the log of a bucket writes down."""
    path = f"/{bucket}".encode()
    for bad in NASTY:
        inside = encoded(b"a" + bad + b"z").encode()
        yield plain(path + b"/" + inside)
        yield plain(path + b"/x?versionId=" + inside)
        yield plain(path + b"/x?" + inside + b"=1")
        yield plain(path + b"/x?" + inside)
        yield plain(path + b"/x?prefix=" + inside)
        yield plain(path + b"/x?uploadId=" + inside)
        yield plain(path + b"/x?response-content-type=" + inside)
        # As it is, where the protocol does not end there.
        yield plain(path + b"/x" + bad)
        yield plain(path + b"/x?versionId=" + bad)
        for name in ("User-Agent", "Referer", "X-Forwarded-For", "X-Amz-Version-Id", "Range", "X-Amz-Date", "Content-Type"):
            yield plain(path + b"/x", name, b"a" + bad + b"z")
        yield plain(path + b"/x", "Host", b"a" + bad + b"z")
        yield plain(path + b"/x", "Host", inside)
        yield plain(path + b"/x", method=b"G" + bad + b"T")
        yield plain(path + b"/x", "X-Http-Method-Override", b"G" + bad)


def signed_requests(server, s3, bucket):
    for bad in NASTY:
        text = "a" + bad.decode("latin-1") + "z"
        key = "".join(c for c in text if ord(c) >= 32)[:900]
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        # XML 1.0 has no other controls; what is not allowed is refused, and is a line all the same.
        escaped = "".join(f"&#{ord(c)};" for c in text)
        body = f"<Delete><Object><Key>{escaped}</Key><VersionId>{escaped}</VersionId></Object></Delete>".encode()
        signer = Signer(USER, PASSWORD)
        host, digest = f"127.0.0.1:{server.port}", __import__("hashlib").sha256(body).hexdigest()
        md5 = __import__("base64").b64encode(__import__("hashlib").md5(body).digest()).decode()
        headers, _ = signer.headers("POST", f"/{bucket}", host, digest, [("delete", "")], {"content-md5": md5})
        requests.post(f"{server.url}/{bucket}?delete", data=body, headers=headers, timeout=10)
        form = s3.generate_presigned_post(bucket, "form/${filename}", Conditions=[["starts-with", "$key", ""]])
        requests.post(form["url"], data=form["fields"], files={"file": (text, b"x")}, timeout=10)


def archive():
    """An archive whose entries have names of all kinds, and some that are left out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number, bad in enumerate(NASTY * 20):
            for name in (f"../{bad.decode('latin-1')}", f"e{number}{bad.decode('latin-1')[:200]}"):
                entry = tarfile.TarInfo(name.replace("\x00", "0"))
                entry.size = 1
                tar.addfile(entry, io.BytesIO(b"x"))
    return out.getvalue()


def test_each_request_is_one_line_with_all_its_fields(setup):
    server, s3 = setup, setup.client()
    source, target, mark = "lines-source", "lines-target", b"the-last-request"
    log_to(s3, source, target)
    answered = sum(send(server, head) is not None for head in anonymous_requests(source))
    assert answered > 250
    signed_requests(server, s3, source)
    s3.put_object(Bucket=source, Key="archive", Body=archive(),
                  Metadata={"snowball-auto-extract": "true", "minio-snowball-ignore-errors": "true"})
    s3.put_object(Bucket=source, Key=mark.decode(), Body=b"x")
    text = delivered(s3, target, lambda text: mark in text)
    assert mark in text and text.endswith(b"\n")
    lines = text.decode("ascii").split("\n")[:-1]
    wrong = [line for line in lines if not LINE.fullmatch(line)]
    assert not wrong, wrong[:3]
    for line in lines:
        fields = FIELD.findall(line)
        assert len(fields) == 27, fields
        assert re.fullmatch(r"[0-9a-f]{64}", fields[0]) and fields[1] == source and fields[3] == "127.0.0.1"
        assert re.fullmatch(r"[0-9A-F]{16}", fields[5]), fields
        # A key is whole, encoded twice; everything else is cut at 1 KiB.
        assert all(len(field) <= (5 * 1024 if at == 7 else 1024 + 2) for at, field in enumerate(fields))
    # No line is of a request that there was not: the ids of requests differ, but for the lines of batches.
    alone = [line for line in lines if not re.search(r" BATCH\.(DELETE|PUT)\.OBJECT ", line)]
    ids = [FIELD.findall(line)[5] for line in alone]
    assert len(ids) == len(set(ids))


def test_the_access_log_of_the_server_and_its_log_are_lines(setup):
    server, s3 = setup, setup.client()
    bucket = "server-lines"
    s3.create_bucket(Bucket=bucket)
    path, before = server.folder / "access.log", None
    for head in anonymous_requests(bucket):
        send(server, head)
    s3.put_object(Bucket=bucket, Key="archive", Body=archive(),
                  Metadata={"snowball-auto-extract": "true", "minio-snowball-ignore-errors": "true"})
    deadline = time.monotonic() + 10
    while before != path.stat().st_size and time.monotonic() < deadline:
        before = path.stat().st_size
        time.sleep(0.3)
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        assert {"time", "remote", "method", "path", "operation", "status", "micros", "request_id"} <= set(entry)
        assert all(len(str(value)) <= 1030 for value in entry.values())
        assert all(c.isprintable() for c in entry["path"])
    _, said = server.stop()
    is_json = said.lstrip().startswith("{") or '"timestamp"' in said
    lines = [line for line in said.splitlines() if not line.startswith(("Drystone ", "  "))]
    assert lines and sum("left out" in line for line in lines) < 25, "an archive writes a line for each entry"
    for line in lines:
        if is_json:
            assert {"timestamp", "level", "fields", "target"} == set(json.loads(line))
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT\S+Z\s+(ERROR|WARN|INFO)\s", line), line
        assert all(32 <= ord(c) < 127 or c == "…" for c in line), line
