"""Logins by other directories: a directory that is silent, and names and passwords that are guessed."""
import base64
import json
import pathlib
import socket
import threading
import time
import urllib.parse

import pytest
import requests

import test_ldap
from conftest import PASSWORD, USER, Server
from pressure import MIB, ask, watched


class Silent:
    """Takes connections and never says anything."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port, self.taken = self.listener.getsockname()[1], []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self):
        self.listener.close()
        for sock in self.taken:
            sock.close()


@pytest.fixture
def silent():
    silent = Silent()
    yield silent
    silent.close()


def begin(tmp_path, **settings):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, **settings}
    server = Server(tmp_path / "drive", env=env).wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"value")
    return server


def callers(server, count, **parameters):
    """Requests of many that are not signed, all sent, none read."""
    body = urllib.parse.urlencode({"Version": "2011-06-15", **parameters})
    text = (f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
    socks = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", server.port), 20)
        sock.sendall(text)
        socks.append(sock)
    return socks


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_silent_openid_provider(tmp_path, silent):
    url = f"http://127.0.0.1:{silent.port}/.well-known/openid-configuration"
    server = begin(tmp_path, MINIO_IDENTITY_OPENID_CONFIG_URL=url, MINIO_IDENTITY_OPENID_CLIENT_ID="drystone")
    try:
        token = f"{part({'alg': 'RS256', 'kid': 'k'})}.{part({'sub': 'ana'})}.c2ln"
        s3 = server.client()
        with watched(server) as watch:
            socks = callers(server, 700, Action="AssumeRoleWithWebIdentity", WebIdentityToken=token)
            for _ in range(20):
                begun = time.monotonic()
                assert s3.get_object(Bucket="lake", Key="k")["Body"].read() == b"value"
                assert time.monotonic() - begun < 2
                time.sleep(0.1)
        assert watch.waited < 2, watch.waited
        assert watch.grown < 64 * MIB, watch.grown / MIB
        assert len(silent.taken) == 1, "one fetch at a time"
        # Most of them are not kept waiting: they may try again.
        refused = 0
        for sock in socks:
            sock.settimeout(0.01)
            try:
                refused += b"IDPCommunicationError" in sock.recv(4096)
            except TimeoutError:
                pass
            sock.close()
        assert refused > 600, refused
    finally:
        server.kill()


def test_a_silent_ldap_server(tmp_path, silent):
    server = begin(tmp_path, MINIO_IDENTITY_LDAP_SERVER_ADDR=f"127.0.0.1:{silent.port}",
                   MINIO_IDENTITY_LDAP_SERVER_INSECURE="on", MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN="cn=reader",
                   MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD="x", MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN="dc=x",
                   MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER="(uid=%s)")
    try:
        with watched(server) as watch:
            socks = callers(server, 400, Action="AssumeRoleWithLDAPIdentity", LDAPUsername="ana", LDAPPassword="x")
            time.sleep(2)
        assert watch.waited < 2, watch.waited
        assert len(silent.taken) <= 16, len(silent.taken)
        for sock in socks:
            sock.close()
        assert ask(server) == 200
    finally:
        server.kill()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = test_ldap.Directory(pathlib.Path(tmp_path_factory.mktemp("slapd")))
    yield directory
    directory.stop()


def login(server, user, password):
    data = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": user, "LDAPPassword": password}
    return requests.post(server.url, data=data, timeout=20)


def test_names_in_other_spellings_are_one_name(tmp_path, directory):
    server = test_ldap.begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on")
    try:
        spellings = [name for name in ("ana", "ANA", "Ana", "aNa", "anA", "AnA", "aNA")]
        for spelling in spellings[:5]:
            assert "is not right" in login(server, spelling, "guess").text
        for spelling in spellings:
            assert "Too many attempts" in login(server, spelling, "ana-password").text, spelling
    finally:
        server.kill()


def test_names_that_fail_are_not_kept(tmp_path, directory):
    server = test_ldap.begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on")
    try:
        with watched(server) as watch:
            for number in range(300):
                answer = login(server, f"{number}-" + "n" * 60_000, "guess")
                assert answer.status_code == 403, answer.text
        assert watch.grown < 12 * MIB, watch.grown / MIB
        assert "Too many attempts" in login(server, "ana", "ana-password").text
    finally:
        server.kill()
