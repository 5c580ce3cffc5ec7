"""Every header of every operation of S3 is read in whatever form it comes, or refused (the kinds of field report 7 and 8).

The headers come from botocore's model of the service. Each is sent, signed, with a byte beyond ASCII, in two lines, empty, with 8 KiB, and with
a control character. What is answered as the request without the header is, and leaves the same behind, was not looked at.
"""
import email.utils
import hashlib
import http.client
import io
import socket
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.awsrequest import AWSResponse

import test_parameter_walk_s3 as base
from conftest import PASSWORD, USER, Server
from raw import Signer

FORMS = ("beyond ASCII", "no UTF-8", "two lines", "empty", "8 KiB", "control character")
KEPT = {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}

# Forms that are answered as if the header was not there, and why that is right.
JUSTIFIED = {
    **{(name, "empty"): "A field may be empty (RFC 9110, section 5.5): there is nothing to keep" for name in KEPT},
    ("x-amz-tagging", "empty"): "It is the empty set of tags",
    **{("range", form): "A Range that is no range is left out (RFC 9110, section 14.2)" for form in ("empty", "8 KiB")},
    **{(f"if-{kind}-since", form): "A date that is none is left out of the conditions of a read (RFC 9110, sections 13.1.3 and 13.1.4)"
       for kind in ("modified", "unmodified") for form in ("empty", "8 KiB")},
}


def lines_of(name, form):
    """Lines of a header, as bytes."""
    good = base.VALUES.get(name, ["walk"])[0]
    good = (email.utils.formatdate(usegmt=True) if good == base.NOW else good).encode()
    return {"beyond ASCII": [good + "ü".encode()], "no UTF-8": [good + b"\xff"], "two lines": [good, good], "empty": [b""],
            "8 KiB": [b"a" * 8192], "control character": [good + b"\x01"]}[form]


class Raw(io.BytesIO):
    def stream(self, *_):
        yield self.read()


class RawWalk(base.Walk):
    """A walk whose further header is sent as it is, which clients refuse to do."""

    def call(self, f, operation, extra=None):
        if extra is None:
            return super().call(f, operation)
        event = f"before-send.s3.{operation}"

        def send(request, **_):
            return self.send(request, *extra)

        self.s3.meta.events.register_first(event, send, unique_id="raw")
        try:
            return super().call(f, operation)
        except ElementTree.ParseError:  # botocore reads answers of `GetBucketLocation` even if they are none.
            return {"ResponseMetadata": {"HTTPStatusCode": self.status}}
        finally:
            self.s3.meta.events.unregister(event, unique_id="raw")

    def send(self, request, name, lines):
        url = urllib.parse.urlsplit(request.url)
        query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        body = request.body or b""
        body = body if isinstance(body, (bytes, bytearray)) else body.read()
        left_out = {"authorization", "x-amz-date", "x-amz-content-sha256", "host", "content-length", "expect", name}
        text = lambda value: value.decode() if isinstance(value, bytes) else value
        extra = {key.lower(): text(value) for key, value in request.headers.items() if key.lower() not in left_out}
        signed = ",".join(line.decode(errors="replace").strip() for line in lines)
        path = urllib.parse.unquote(url.path)
        headers, _ = Signer(USER, PASSWORD).headers(request.method, path, url.netloc, payload=hashlib.sha256(body).hexdigest(), query=query,
                                                    extra={**extra, name: signed})
        del headers[name]
        head = f"{request.method} {url.path}{'?' if url.query else ''}{url.query} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        raw = b"".join(name.encode() + b": " + line + b"\r\n" for line in lines)
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as sock:
            sock.sendall(head.encode() + raw + f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
            answer = http.client.HTTPResponse(sock, method=request.method)
            answer.begin()
            self.status = answer.status
            return AWSResponse(request.url, answer.status, dict(answer.getheaders()), Raw(answer.read()))


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("forms") / "drive", "--bucket-defaults", "open").wait_ready()
    yield RawWalk(server)
    server.stop()


# A header that means nothing to anyone.
NOTHING = ("walk", [b"1"])
OPERATIONS = [name for name in base.MODEL.operation_names if name not in base.OLD_NAMES | {"WriteGetObjectResponse"}
              and any(place != "querystring" for place, _ in base.members(name))]


def status(answer):
    return answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_form_of_a_header_is_taken_for_none(walk, operation):
    plain = walk.run(operation, NOTHING)
    if "'NotImplemented'" in plain:
        return
    assert plain == walk.run(operation, NOTHING), "the comparison itself is not steady"
    f = walk.fixture()
    walk.add(f, operation)
    ignored = []
    for place, name in base.members(operation):
        name = (name + "walk" if place == "headers" else name).lower()
        if place == "querystring" or name == "content-length":
            continue
        for form in FORMS:
            if (name, form) in JUSTIFIED:
                continue
            answer = walk.call(f, operation, (name, lines_of(name, form)))
            code = answer.get("Error", {}).get("Code")
            assert code not in ("SignatureDoesNotMatch",), (name, form, answer)
            if status(answer) in (400, 501):
                # The header, or what it holds, is what the answer is about: the request without it is no such error.
                if str(status(answer)) in plain and f"'{code}'" in plain:
                    ignored.append((name, form))
                continue
            if walk.run(operation, (name, lines_of(name, form))) == plain:
                ignored.append((name, form))
            f = walk.fixture()
            walk.add(f, operation)
    assert not ignored
