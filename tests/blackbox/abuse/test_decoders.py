"""What a decoder holds for what a client sends: bounded in sum, and not only for each piece."""
import bz2
import io
import socket
import tarfile
import urllib.parse

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER
from pressure import MIB, held, lines_of, watched

EXTRACT = {"x-amz-meta-snowball-auto-extract": "true"}
END = bytes(1024)


def header(name, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name, kind, data):
    return header(name, kind, len(data)) + data + bytes(-len(data) % 512)


def url_of(server, key, headers):
    request = AWSRequest("PUT", f"{server.url}/bucket/{key}", headers=headers)
    S3SigV4QueryAuth(Credentials(USER, PASSWORD), "s3", "us-east-1", expires=600).add_auth(request)
    return request.url.removeprefix(server.url)


def begin(server, body, left=1, key="archive"):
    """Sends an archive but for its last bytes; the request stays open."""
    head = {**EXTRACT, "Host": f"127.0.0.1:{server.port}"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    sock = socket.create_connection(("127.0.0.1", server.port), 20)
    sock.sendall(f"PUT {url_of(server, key, head)} HTTP/1.1\r\n{lines}Content-Length: {len(body) + left}\r\n\r\n".encode() + body)
    return sock


def status_of(sock):
    return int(sock.recv(4096).split()[1])


def bucket_of(start):
    server = start()
    server.client().create_bucket(Bucket="bucket")
    return server


def test_a_form_of_empty_fields(start):
    server = start()
    field = b"--b\r\nContent-Disposition:a;name=\r\n\r\n\r\n"
    body = field * (64 * MIB // len(field))
    head = (f"POST /nobodys-bucket HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(body) + 100}\r\n\r\n")
    with watched(server) as watch, socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        try:
            sock.sendall(head.encode() + body)
        except OSError:
            pass  # It was refused meanwhile.
        answer = sock.recv(4096)
    # A field that is given twice is refused at once; `test_fields_are_counted_with_what_each_costs` has others.
    assert b" 400 " in answer and b"InvalidArgument" in answer, answer
    assert watch.grown < 24 * MIB, watch.grown / MIB


def fields(count, size=0):
    field = "--b\r\nContent-Disposition: form-data; name=\"x-ignore-{}\"\r\n\r\n{}\r\n"
    body = "".join(field.format(n, "x" * size) for n in range(count))
    return f"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n{body}".encode()


def test_fields_are_counted_with_what_each_costs(start):
    """100 fields are taken; one more is not, and neither is what comes to 20 KiB with 40 bytes for each."""
    server = start("--bucket-defaults", "open")
    s3 = server.client()
    s3.create_bucket(Bucket="bucket", ACL="public-read-write")
    file = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ndata\r\n--b--\r\n"

    def post(body):
        import requests
        return requests.post(f"{server.url}/bucket", data=body + file, timeout=20,
                             headers={"Content-Type": "multipart/form-data; boundary=b"}).status_code

    assert post(fields(99)) == 204
    assert post(fields(100)) == 400
    assert post(fields(90, 150)) == 204
    assert post(fields(90, 180)) == 400


def test_records_that_pile_up(start):
    server = bucket_of(start)
    record = b"6 a=b\n"
    one = member("pax", b"x", record * (MIB // 2 // len(record)))
    packed = bz2.compress(one * 60, 9)
    assert len(packed) < 64 << 10
    with watched(server) as watch:
        sock = begin(server, packed)
        assert status_of(sock) == 400
        sock.close()
    assert watch.grown < 48 * MIB, watch.grown / MIB


def zstd(window_log, megabytes):
    """A frame of zeros with a window of its own: blocks of 128 KiB that are one byte repeated."""
    block = lambda is_last: (is_last | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    count = megabytes * 8
    blocks = b"".join(block(n == count - 1) for n in range(count))
    return bytes.fromhex("28b52ffd") + bytes([0, (window_log - 10) << 3]) + blocks


def test_windows_of_zstd(start):
    server = bucket_of(start)
    with watched(server) as watch:
        wide = [begin(server, zstd(27, 60), key=f"wide-{n}") for n in range(8)]
        assert [status_of(sock) for sock in wide] == [400] * 8
    assert watch.grown < 64 * MIB, watch.grown / MIB
    with watched(server) as watch:
        usual = [begin(server, zstd(23, 60), key=f"usual-{n}") for n in range(8)]
        for sock in usual:
            sock.sendall(b"\0")
            status_of(sock)
    assert watch.grown < 112 * MIB, watch.grown / MIB
    for sock in wide + usual:
        sock.close()


def test_few_bytes_that_unpack_to_many(start):
    """Eight at once, each of which gives megabytes for each packed byte."""
    server = bucket_of(start)
    packed = bz2.compress(bytes(60 * MIB), 9)
    with watched(server) as watch:
        socks = [begin(server, packed, key=f"bomb-{n}") for n in range(8)]
        for sock in socks:
            sock.sendall(b"\0")
            status_of(sock)
            sock.close()
    assert watch.grown < 96 * MIB, watch.grown / MIB
    assert watch.waited < 3, watch.waited


def test_entries_that_are_left_out_fill_no_log(start):
    server = bucket_of(start)
    lines = lines_of(server)
    out = io.BytesIO()
    for number in range(10_000):
        out.write(member(f"../{number}", b"0", b""))
    metadata = {"snowball-auto-extract": "true", "minio-snowball-ignore-errors": "true"}
    with watched(server) as watch:
        server.client().put_object(Bucket="bucket", Key="a", Body=bz2.compress(out.getvalue() + END), Metadata=metadata)
    assert watch.waited < 3, watch.waited
    server.process.terminate()
    server.process.wait(timeout=40)
    told = [line for line in lines if "an entry of an archive is left out" in line]
    assert 1 <= len(told) < 50, len(told)


def test_a_header_signed_a_thousand_times(start):
    """The canonical request is as long as what was sent, not its square."""
    server = start()
    names, value = ";".join(["h"] * 2000), "x" * 2000
    query = urllib.parse.urlencode({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{USER}/20260101/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20260101T000000Z", "X-Amz-Expires": "604800", "X-Amz-SignedHeaders": f"host;{names}",
        "X-Amz-Signature": "0" * 64})
    import datetime
    today = datetime.datetime.now(datetime.timezone.utc)
    query = query.replace("20260101T000000Z", today.strftime("%Y%m%dT%H%M%SZ")).replace("20260101", today.strftime("%Y%m%d"))
    before = held(server)
    with watched(server) as watch, socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(f"GET /b?{query} HTTP/1.1\r\nHost: x\r\nh: {value}\r\nConnection: close\r\n\r\n".encode())
        length = 0
        while piece := sock.recv(1 << 20):
            length += len(piece)
    assert length < 256 << 10, length
    assert watch.grown < 24 * MIB, (watch.grown / MIB, before / MIB)


def test_large_documents_fit_into_the_smallest_budget(start):
    """What a document holds once it is read is waited for, and never more than there is."""
    server = start("--memory-budget", "4MiB")
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    for length in (1, 1000):
        keys = [{"Key": f"{n:04}".ljust(length, "k")} for n in range(1000)]
        answer = s3.delete_objects(Bucket="bucket", Delete={"Objects": keys})
        assert len(answer["Deleted"]) == 1000, answer
    parts = [{"PartNumber": n, "ETag": "0" * 32} for n in range(1, 10_001)]
    upload = s3.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    try:
        s3.complete_multipart_upload(Bucket="bucket", Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidPart", error
