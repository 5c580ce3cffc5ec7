"""Requests signed by hand, so that a test can break any part of one."""
import base64
import dataclasses
import datetime
import hashlib
import hmac
import socket
import urllib.parse

REGION, SERVICE = "us-east-1", "s3"
EMPTY = hashlib.sha256(b"").hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-._~")


@dataclasses.dataclass
class Signer:
    access: str
    secret: str
    when: datetime.datetime = None
    region: str = REGION
    service: str = SERVICE
    terminator: str = "aws4_request"
    scope_day: str = None

    def __post_init__(self):
        self.when = self.when or datetime.datetime.now(datetime.timezone.utc)
        self.date = self.when.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.scope_day or self.date[:8]}/{self.region}/{self.service}/{self.terminator}"

    def key(self):
        key = f"AWS4{self.secret}".encode()
        for part in self.scope.split("/"):
            key = mac(key, part)
        return key

    def signature(self, method, path, query, headers, signed, payload):
        pairs = sorted((quote(k), quote(v)) for k, v in query)
        lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
        request = "\n".join([method, quote(path, "/"), "&".join(f"{k}={v}" for k, v in pairs), lines,
                             ";".join(signed), payload])
        digest = hashlib.sha256(request.encode()).hexdigest()
        return mac(self.key(), f"AWS4-HMAC-SHA256\n{self.date}\n{self.scope}\n{digest}").hex()

    def headers(self, method, path, host, payload=EMPTY, query=(), extra=None, unsigned=None, leave_out=(),
                algorithm="AWS4-HMAC-SHA256"):
        """Headers of a request; those in `unsigned` are sent but not signed."""
        headers = {"host": host, "x-amz-date": self.date, "x-amz-content-sha256": payload, **(extra or {})}
        signed = sorted(name for name in headers if name not in leave_out)
        seed = self.signature(method, path, query, headers, signed, payload)
        headers["authorization"] = (f"{algorithm} Credential={self.access}/{self.scope}, "
                                    f"SignedHeaders={';'.join(signed)}, Signature={seed}")
        return {**headers, **(unsigned or {})}, seed

    def presigned(self, method, path, host, expires=60, headers=None, query=()):
        headers = {"host": host, **(headers or {})}
        query = [*query, ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{self.access}/{self.scope}"),
                 ("X-Amz-Date", self.date), ("X-Amz-Expires", str(expires)),
                 ("X-Amz-SignedHeaders", ";".join(sorted(headers)))]
        found = self.signature(method, path, query, headers, sorted(headers), "UNSIGNED-PAYLOAD")
        query.append(("X-Amz-Signature", found))
        return f"{quote(path, '/')}?{urllib.parse.urlencode(query)}"

    def chunks(self, seed, pieces, trailer=None):
        """The pieces, and the empty one that ends them, as signed chunks."""
        out, previous = [], seed
        for piece in [*pieces, b""]:
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.date, self.scope, previous, EMPTY,
                              hashlib.sha256(piece).hexdigest()])
            previous = mac(self.key(), text).hex()
            end = b"" if trailer and not piece else b"\r\n"
            out.append(f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + end)
        if trailer:
            lines = "".join(f"{name}:{value}\n" for name, value in trailer)
            text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.date, self.scope, previous,
                              hashlib.sha256(lines.encode()).hexdigest()])
            ends = "".join(f"{name}:{value}\r\n" for name, value in trailer)
            out.append(f"{ends}x-amz-trailer-signature:{mac(self.key(), text).hex()}\r\n\r\n".encode())
        return out


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    closed: bool

    @property
    def code(self):
        text = self.body.decode(errors="replace")
        return text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else None


def read_answer(stream):
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Answer(status, headers, body, headers.get("connection") == "close")


def send(port, method, target, headers, body=b"", length=True):
    """One request over its own connection. A `content-length` among the headers may say more than is sent."""
    if length and "content-length" not in headers:
        headers = {**headers, "content-length": str(len(body))}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        try:
            sock.sendall(head.encode())
            for at in range(0, len(body), 1 << 16):
                sock.sendall(body[at:at + (1 << 16)])
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has answered before the end of the body.
        return read_answer(sock.makefile("rb"))


def crc32(data):
    import zlib
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
