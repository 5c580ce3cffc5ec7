"""What an LDAP server answers: it is bounded, in bytes, entries and time, and nothing that it says ends the server. The server
here is one that does what no server should; a real one is in test_ldap.py."""
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
import requests

from conftest import PASSWORD, USER, Server, drystone
from people import allow, code_of, deny, document, service
from pressure import MIB, ask, watched

BIND, SEARCH, ENTRY, DONE, REFERENCE = 0x60, 0x63, 0x64, 0x65, 0x73


def element(tag, *content):
    content = b"".join(content)
    head = bytes([tag, len(content)]) if len(content) < 128 else struct.pack(">BBI", tag, 0x84, len(content))
    return head + content


def message(number, *operation):
    return element(0x30, element(2, bytes([number])), *operation)


def result(tag, code=0):
    return element(tag, element(10, bytes([code])), element(4), element(4))


def entry(dn, *attributes):
    return element(ENTRY, element(4, dn.encode()), element(0x30, *attributes))


def elements(content):
    found = []
    while content:
        tag, length, start = content[0], content[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(content[2:start], "big")
        found.append((tag, content[start:start + length]))
        content = content[start + length:]
    return found


class Directory:
    """Takes any password, knows one user, and answers a search for his groups as it is told."""

    def __init__(self, groups, context=None):
        self.groups, self.context = groups, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            sock = self.context.wrap_socket(sock, server_side=True) if self.context else sock
            with sock, sock.makefile("rb") as file:
                while head := file.read(2):
                    length = head[1]
                    if length & 0x80:
                        length = int.from_bytes(file.read(length & 0x7F), "big")
                    (_, number), (tag, content) = elements(file.read(length))[:2]
                    self.answer(sock, int.from_bytes(number, "big"), tag, content)
        except OSError:
            pass

    def answer(self, sock, number, tag, content):
        if tag == BIND:
            sock.sendall(message(number, result(BIND + 1)))
        elif tag == SEARCH and elements(content)[0][1] == b"ou=people":
            sock.sendall(message(number, entry("uid=ana,ou=people")) + message(number, result(DONE)))
        elif tag == SEARCH:
            self.groups(sock, number)

    def close(self):
        self.listener.close()


def begin(folder, directory, **settings):
    settings = {"SERVER_ADDR": f"127.0.0.1:{directory.port}", "SERVER_INSECURE": "on", "USER_DN_SEARCH_BASE_DN": "ou=people",
                "USER_DN_SEARCH_FILTER": "(uid=%s)", "GROUP_SEARCH_BASE_DN": "ou=groups", "GROUP_SEARCH_FILTER": "(member=%d)", **settings}
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           **{name if name.startswith("SSL_") else f"DRYSTONE_IDENTITY_LDAP_{name}": value for name, value in settings.items()}}
    return Server(folder / "drive", env=env).wait_ready()


def login(server, timeout=40):
    """Code, message and seconds of a sign-in, which has no policies: that is what it is refused for if all else went well."""
    begun = time.monotonic()
    data = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": "ana", "LDAPPassword": "right"}
    text = requests.post(server.url, data=data, timeout=timeout).text
    found = lambda name: text.split(f"<{name}>")[1].split(f"</{name}>")[0]
    return found("Code"), found("Message"), time.monotonic() - begun


def one_endless_message(sock, number):
    head = struct.pack(">BBI", 0x30, 0x84, 0x7FFFFFFF) + element(2, bytes([number])) + struct.pack(">BBI", ENTRY, 0x84, 0x7FFFFF00)
    sock.sendall(head + struct.pack(">BBI", 4, 0x84, 0x7FFFFE00))
    for _ in range(300):
        sock.sendall(bytes(MIB))


def groups_without_end(sock, number, text=None):
    text = text or b"".join(message(number, entry(f"cn={n:06}-{'x' * 2000},ou=groups")) for n in range(200))
    for _ in range(300 * MIB // len(text)):
        sock.sendall(text)


def small_groups_without_end(sock, number):
    groups_without_end(sock, number, message(number, entry("cn=a")) * 5000)


def references_without_end(sock, number):
    groups_without_end(sock, number, message(number, element(REFERENCE)) * 5000)


def one_group_of_many_values(sock, number):
    """Bytes that are few on the wire and many where each value is one of its own."""
    value = element(0x30, element(4, b"cn"), element(0x31, element(4) * 100_000))
    for _ in range(100):
        sock.sendall(message(number, entry("cn=a", value)))


@pytest.mark.parametrize("answer", [one_endless_message, groups_without_end, small_groups_without_end, references_without_end,
                                    one_group_of_many_values])
def test_what_is_answered_is_bounded(tmp_path, answer):
    directory = Directory(answer)
    server = begin(tmp_path, directory)
    try:
        ask(server)
        with watched(server) as watch:
            code, text, seconds = login(server)
        assert watch.grown < 32 * MIB, watch.grown / MIB
        assert code == "IDPCommunicationError" and "more than one sign-in may take" in text and seconds < 5, (code, text, seconds)
    finally:
        server.kill()
        directory.close()


def test_a_user_of_many_groups_is_one(tmp_path):
    """What is within the bounds is taken: here the sign-in lacks nothing but a policy."""
    def groups(sock, number):
        sock.sendall(b"".join(message(number, entry(f"cn={n:04},ou=groups,dc=example,dc=org")) for n in range(5000)))
        sock.sendall(message(number, result(DONE)))

    directory = Directory(groups)
    server = begin(tmp_path, directory)
    try:
        code, text, _ = login(server)
        assert code == "AccessDenied" and "No policy" in text, (code, text)
    finally:
        server.kill()
        directory.close()


def nested(depth):
    text = b""
    for _ in range(depth):
        text = struct.pack(">BBI", 0x30, 0x84, len(text)) + text
    return text


MALFORMED = {
    "nested": lambda number: message(number, element(ENTRY, element(4, b"cn=a"), nested(20_000))),
    "only nested": lambda number: nested(40_000),
    "no name": lambda number: message(number, element(ENTRY)),
    "no text": lambda number: message(number, element(ENTRY, element(4, b"\xff\xfe"), element(0x30))),
    "other answer": lambda number: message(number, result(0x7F)),
    "no answer": lambda number: element(0x30),
    "no number": lambda number: element(0x30, element(4, b"x"), result(DONE)),
    "other number": lambda number: message(number + 1, result(DONE)),
    "goodbye": lambda number: message(0, element(0x78, element(10, b"\x34"), element(4), element(4))),
    "no length": lambda number: b"\x30\x80\x02\x01" + bytes([number]) + b"\x00\x00",
    "other protocol": lambda number: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


def test_what_is_no_ldap_ends_the_sign_in_and_nothing_else(tmp_path):
    said = {}
    directory = Directory(lambda sock, number: sock.sendall(said["now"](number)))
    server = begin(tmp_path, directory)
    try:
        for name, answer in MALFORMED.items():
            said["now"] = answer
            code, text, seconds = login(server)
            assert code == "IDPCommunicationError" and seconds < 3, (name, code, text, seconds)
        assert ask(server) == 200 and server.process.poll() is None
        server.process.terminate()
        assert "panicked" not in server.said()
    finally:
        server.kill()
        directory.close()


def test_an_answer_that_drips_ends_in_time(tmp_path):
    def drip(sock, number):
        for byte in range(1000):
            sock.sendall(message(number, entry(f"cn={byte}")))
            time.sleep(0.5)

    directory = Directory(drip)
    server = begin(tmp_path, directory)
    try:
        code, _, seconds = login(server)
        assert code == "IDPCommunicationError" and seconds < 15, (code, seconds)
    finally:
        server.kill()
        directory.close()


def test_an_authority_that_is_added_counts_without_a_start(tmp_path):
    """Also one that was not there, or not readable, when it was looked for first."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=directory", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    directory = Directory(lambda sock, number: sock.sendall(message(number, result(DONE))), context)
    server = begin(tmp_path, directory, SERVER_INSECURE="off", SSL_CERT_FILE=str(tmp_path / "authorities.pem"))
    try:
        assert login(server)[0] == "IDPCommunicationError"
        os.rename(tmp_path / "cert.pem", tmp_path / "authorities.pem")
        assert login(server)[0] == "AccessDenied"
    finally:
        server.kill()
        directory.close()


@pytest.mark.parametrize("count", [10, 1015])
def test_a_user_of_many_groups_signs_in(tmp_path, count):
    """A user of Active Directory is in 1,015 groups at most. The rights of the last one count, and so does a deny that names it, in
    headers and in presigned URLs."""
    names = [f"cn=team-{number:04},ou=groups,ou=munich,dc=example,dc=org" for number in range(count)]

    def groups(sock, number):
        sock.sendall(b"".join(message(number, entry(name)) for name in names) + message(number, result(DONE)))

    directory = Directory(groups)
    server = begin(tmp_path, directory)
    try:
        server.client().create_bucket(Bucket="bucket")
        server.client().put_object(Bucket="bucket", Key="open", Body=b"body")
        server.client().put_object(Bucket="bucket", Key="closed", Body=b"body")
        (tmp_path / "policy").write_text(document(
            allow("s3:GetObject", resource="arn:aws:s3:::bucket/*"),
            deny("s3:GetObject", resource="arn:aws:s3:::bucket/closed", StringEquals={"ldap:groups": names[-1]})))
        assert drystone("policy", "set", "own", str(tmp_path / "policy"), "--at", server.directory).returncode == 0
        assert drystone("policy", "attach", "own", "--ldap-name", names[-1], "--at", server.directory).returncode == 0
        data = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": "ana", "LDAPPassword": "right"}
        answer = requests.post(server.url, data=data, timeout=20)
        assert answer.status_code == 200, answer.text
        found = [answer.text.split(f"<{name}>")[1].split("<")[0] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        s3 = service(server, "s3", tuple(found))
        assert s3.get_object(Bucket="bucket", Key="open")["Body"].read() == b"body"
        assert code_of(s3.get_object, Bucket="bucket", Key="closed") == "AccessDenied"
        signed = lambda key: s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": key})
        assert [requests.get(signed(key), timeout=20).status_code for key in ("open", "closed")] == [200, 403]
    finally:
        server.kill()
        directory.close()
