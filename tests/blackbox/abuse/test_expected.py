"""What a client keeps back until it is asked for, and does not send after a refusal, is not looked for in its next request."""
import itertools
import socket

import pytest
from conftest import PASSWORD, USER, Server
from raw import Signer

PROBE = b"GET /minio/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTHS = (1, 20, 5000, 2 << 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("expected") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")
    yield server
    server.stop()


def head_of(server, method, path, length, signer=None, host=None, extra=()):
    host = host or f"127.0.0.1:{server.port}"
    headers = {"host": host}
    if signer:
        headers = signer.headers(method, path.partition("?")[0], host, payload="UNSIGNED-PAYLOAD",
                                 query=[(path.partition("?")[2], "")] if "?" in path else ())[0]
    headers |= {"content-length": str(length), "expect": "100-continue", **dict(extra)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.read = self.sock.makefile("rb")

    def answer(self, is_head=False):
        """Status and headers of the next answer; its body is read away."""
        line = self.read.readline()
        if not line:
            return None, {}
        status, headers = int(line.split()[1]), {}
        while (text := self.read.readline().strip()):
            name, _, value = text.partition(b":")
            headers[name.lower().decode()] = value.strip().decode()
        if status != 100 and not is_head:
            self.read.read(int(headers.get("content-length", 0)))
        return status, headers

    def ask(self, head, length):
        """As HTTP says: the body goes out when it is asked for, and not after a last answer."""
        is_head = head.startswith(b"HEAD")
        self.sock.sendall(head)
        status, headers = self.answer(is_head)
        was_asked = status == 100
        if was_asked:
            self.sock.sendall(b"b" * length)
            status, headers = self.answer(is_head)
        return was_asked, status, headers


def refused(server):
    """Requests that end before their body is of use: by surface and reason."""
    known, root = ("GHOST", "x" * 20), Signer(USER, PASSWORD)
    yield "anonymous PUT", "PUT", "/bucket/key", None, {}
    yield "unknown key", "PUT", "/bucket/key", Signer(*known), {}
    yield "no such bucket", "PUT", "/absent/key", root, {}
    yield "wrong digest", "PUT", "/bucket/key", root, {"content-md5": "nonsense"}
    yield "condition not met", "PUT", "/bucket/key", root, {"if-none-match": "*"}
    yield "bad encryption", "PUT", "/bucket/key", root, {"x-amz-server-side-encryption": "nonsense"}
    yield "bad lock", "PUT", "/bucket/key", root, {"x-amz-object-lock-mode": "nonsense"}
    yield "document", "PUT", "/bucket?policy", root, {"content-md5": "nonsense"}
    yield "no upload", "PUT", "/bucket/key?uploadId=absent&partNumber=1", None, {}
    yield "not implemented", "PUT", "/bucket?torrent", root, {}
    yield "form", "POST", "/bucket", None, {"content-type": "multipart/form-data"}
    yield "admin", "PUT", "/minio/admin/v3/add-user?accessKey=a", None, {}
    yield "own admin", "PUT", "/drystone/v1/users", None, {}
    yield "IAM", "POST", "/", None, {"content-type": "application/x-www-form-urlencoded"}
    yield "unnamed host", "PUT", "/bucket/key", None, {"host": ""}
    yield "GET", "GET", "/bucket/key", root, {}
    yield "HEAD", "HEAD", "/bucket/key", root, {}
    yield "DELETE", "DELETE", "/bucket/other", root, {}
    yield "health", "GET", "/minio/health/live", None, {}
    yield "preflight", "OPTIONS", "/bucket/key", None, {"origin": "http://a", "access-control-request-method": "PUT"}


NAMES = [case[0] for case in refused(None)]


@pytest.mark.parametrize("name, length", list(itertools.product(NAMES, LENGTHS)))
def test_the_next_request_is_whole(server, name, length):
    _, method, path, signer, extra = next(case for case in refused(server) if case[0] == name)
    client = Client(server.port)
    was_asked, status, headers = client.ask(head_of(server, method, path, length, signer, extra=extra.items()), length)
    assert status and status != 500, (status, headers)
    if was_asked:
        return
    client.sock.sendall(PROBE)
    later = client.answer()[0]
    is_closed = headers.get("connection") == "close"
    # Whoever is told that the connection ends sends its next request on another one.
    assert later == (None if is_closed else 200), (status, headers, later)


# Those that are refused by their head alone; the others need their body to be answered, or read it to be of use.
BY_HEAD = ("anonymous PUT", "unknown key", "no such bucket", "not implemented", "GET", "HEAD", "DELETE", "no upload", "preflight")


@pytest.mark.parametrize("name, length", list(itertools.product(BY_HEAD, LENGTHS)))
def test_who_is_refused_by_the_head_is_not_asked_for_a_body(server, name, length):
    """RFC 9110, section 10.1.1: the last answer comes at once, however short the body is."""
    _, method, path, signer, extra = next(case for case in refused(server) if case[0] == name)
    was_asked, status, _ = Client(server.port).ask(head_of(server, method, path, length, signer, extra=extra.items()), length)
    assert status and not was_asked, status


def test_the_console_closes_what_it_did_not_ask_for(server):
    client = Client(server.console_port)
    was_asked, status, headers = client.ask(head_of(server, "PUT", "/", 1, host="console"), 1)
    assert not was_asked and status < 500 and headers["connection"] == "close"


@pytest.mark.parametrize("length", LENGTHS)
def test_a_body_that_was_asked_for_leaves_the_connection_as_it_was(server, length):
    server.client().create_bucket(Bucket=f"asked-{length}")
    client = Client(server.port)
    for _ in range(3):
        head = head_of(server, "PUT", f"/asked-{length}/key", length, Signer(USER, PASSWORD))
        was_asked, status, headers = client.ask(head, length)
        assert (was_asked, status) == (True, 200) and "connection" not in headers
