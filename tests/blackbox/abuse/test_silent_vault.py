"""A Vault that does not answer, or answers slowly: who uses its keys waits or is refused, and nobody else."""
import base64
import http.server
import json
import os
import pathlib
import socket
import threading
import time

import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, drystone
from people import allow, service, user_with
from pressure import MIB, watched
from raw import Signer

KEY = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "remote"}


class Handler(http.server.BaseHTTPRequestHandler):
    """A transit engine that keeps nothing back, if it answers at all."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        vault = self.server
        vault.asked += 1
        vault.answers.wait(60)
        time.sleep(vault.seconds)
        data = {}
        if "plaintext" in body:
            data = {"ciphertext": "vault:v1:" + body["plaintext"]}
        if "ciphertext" in body:
            data = {"plaintext": body["ciphertext"].split(":")[2]}
        text = vault.odd or json.dumps({"data": data}).encode()
        try:
            self.send_response(vault.status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except OSError:
            pass


class Vault(http.server.ThreadingHTTPServer):
    request_queue_size, daemon_threads = 2000, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.seconds, self.answers = 0, 0, threading.Event()
        self.odd, self.status = None, 200
        self.answers.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """The server has left meanwhile."""


@pytest.fixture
def vault():
    vault = Vault()
    yield vault
    vault.answers.set()
    vault.shutdown()
    vault.server_close()


@pytest.fixture
def server(start, vault):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_VAULT_TOKEN": "t"}
    server = start("--vault-url", f"http://127.0.0.1:{vault.server_address[1]}", env=env)
    done = drystone("kms", "add", "remote", "--at", server.directory)
    assert done.returncode == 0, done.stderr
    server.client().create_bucket(Bucket="bucket")
    return server


def many_puts(server, count, key=(USER, PASSWORD)):
    """Writes that need Vault, all sent, none read."""
    extra = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "remote"}
    host, socks = f"127.0.0.1:{server.port}", []
    headers, _ = Signer(*key).headers("PUT", "/bucket/many", host, payload="UNSIGNED-PAYLOAD", extra=extra)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", server.port), 20)
        sock.sendall(f"PUT /bucket/many HTTP/1.1\r\n{head}content-length: 1\r\n\r\nx".encode())
        socks.append(sock)
    return socks


def forget_pages(server):
    """What is read next comes from the drive, on a thread that may block."""
    os.sync()
    for path in pathlib.Path(server.directory).glob("seg-*"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def refusal(s3):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="bucket", Key="k", Body=b"x", **KEY)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_a_silent_vault_holds_up_nobody_else(server, vault):
    s3, body = server.client(), os.urandom(4 << 20)
    s3.put_object(Bucket="bucket", Key="sealed", Body=b"x", **KEY)
    s3.put_object(Bucket="bucket", Key="plain", Body=body)
    vault.answers.clear()
    vault.asked = 0
    socks, begun = many_puts(server, 700), time.monotonic()
    while time.monotonic() < begun + 4:
        forget_pages(server)
        asked = time.monotonic()
        assert s3.get_object(Bucket="bucket", Key="plain")["Body"].read() == body
        assert time.monotonic() - asked < 3
    # What is asked for clients that are gone is not asked as well.
    for sock in socks:
        sock.close()
    for sock in many_puts(server, 300):
        sock.close()
    assert vault.asked <= 32
    # Once it is known to be silent, nothing waits for it: the first requests had 10 s.
    deadline = begun + 30
    while True:
        asked = time.monotonic()
        status, code, message = refusal(s3)
        assert (status, code) == (503, "ServiceUnavailable") and time.monotonic() < deadline
        if time.monotonic() - asked < 1:
            break
    assert "Vault does not answer" in message and "remote" in message
    # Nor once it is asked again, by one request at a time, until it answers.
    vault.answers.set()
    while True:
        try:
            assert s3.get_object(Bucket="bucket", Key="sealed")["Body"].read() == b"x"
            break
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ServiceUnavailable" and time.monotonic() < deadline + 20
            time.sleep(0.2)
    s3.put_object(Bucket="bucket", Key="after", Body=b"x", **KEY)


def test_callers_take_turns_at_a_slow_vault(server, vault):
    vault.seconds = 0.3
    greedy = user_with(server, allow("s3:*", "kms:*"))
    other = service(server, "s3", user_with(server, allow("s3:*", "kms:*")))
    socks = many_puts(server, 600, greedy)
    time.sleep(0.5)
    begun = time.monotonic()
    other.put_object(Bucket="bucket", Key="other", Body=b"x", **KEY)
    assert time.monotonic() - begun < 2.5
    for sock in socks:
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.close()


# What it says on the wire is short beside what it was in memory.
NESTED = '[' + '{"":0},' * 140_000 + '0]'
ODD = {
    "many values": f'{{"data":{{"ciphertext":"vault:v1:eA=="}},"x":{NESTED}}}',
    "a long sealed key": json.dumps({"data": {"ciphertext": "vault:v1:" + "A" * 900_000}}),
    "a sealed key of some length": json.dumps({"data": {"ciphertext": "vault:v1:" + "A" * 2000}}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_vault_answers_is_bounded(server, vault, name):
    s3 = server.client()
    s3.put_object(Bucket="bucket", Key="sealed", Body=b"x", **KEY)
    vault.odd = ODD[name].encode()
    with watched(server) as watch:
        socks = many_puts(server, 32)
        for sock in socks:
            with sock, sock.makefile("rb") as file:
                line = file.readline()
                assert b" 503 " in line or b" 500 " in line or b" 400 " in line, line
    assert watch.grown < 40 * MIB, watch.grown / MIB
    code = refusal(s3)
    assert len(code[2]) < 400, code
    vault.odd = None
    assert s3.get_object(Bucket="bucket", Key="sealed")["Body"].read() == b"x"


@pytest.mark.parametrize("plain", ["", "A" * 40 + "A===", base64.b64encode(b"k" * 31).decode(), base64.b64encode(b"k" * 33).decode(),
                                   base64.b64encode(b"k" * 9000).decode()])
def test_a_key_of_another_length_is_none(server, vault, plain):
    s3 = server.client()
    s3.put_object(Bucket="bucket", Key="sealed", Body=b"x", **KEY)
    vault.odd = json.dumps({"data": {"plaintext": plain}}).encode()
    with pytest.raises(ClientError):
        s3.get_object(Bucket="bucket", Key="sealed")
    vault.odd = None
    assert s3.get_object(Bucket="bucket", Key="sealed")["Body"].read() == b"x"


def test_what_vault_says_of_a_refusal_is_cut(server, vault):
    vault.status, vault.odd = 403, json.dumps({"errors": ["permission denied" + "z" * 12_000]}).encode()
    code = refusal(server.client())
    assert len(code[2]) < 400, code
    done = drystone("kms", "rotate", "remote", "--at", server.directory)
    assert done.returncode != 0 and "permission denied" in done.stderr and len(done.stderr) < 600, done.stderr


def test_a_key_that_was_rotated_often_has_a_long_answer(server, vault):
    vault.odd = json.dumps({"data": {"keys": {str(number): 1_700_000_000 for number in range(5000)}}}).encode()
    done = drystone("kms", "rotate", "remote", "--at", server.directory)
    assert done.returncode == 0, done.stderr
