"""Passwords that are guessed in many requests at once: the directory is asked about no more of them than the limit."""
import concurrent.futures
import socket
import threading
import time

import pytest
import requests

from conftest import PASSWORD, USER

GUESSES = 40


def element(tag, content):
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


class Guessed:
    """A directory that knows every user, and takes a while to say that a password is wrong. One is right."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port, self.asked = self.listener.getsockname()[1], []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(sock.makefile("rwb", buffering=0),), daemon=True).start()

    def talk(self, stream):
        while message := self.message(stream):
            number, tag, content = message
            if tag == 0x63:
                self.say(stream, number, element(0x64, element(0x04, b"uid=ana,dc=x") + element(0x30, b"")))
                self.say(stream, number, element(0x65, b"\x0a\x01\x00\x04\x00\x04\x00"))
            elif tag == 0x60:
                code = b"\x00"
                if b"uid=ana" in content:
                    self.asked.append(content)
                    time.sleep(0.2)
                    code = b"\x00" if content.endswith(b"right") else b"\x31"
                self.say(stream, number, element(0x61, b"\x0a\x01" + code + b"\x04\x00\x04\x00"))
            else:
                return

    def message(self, stream):
        head = stream.read(2)
        if not head or len(head) < 2:
            return None
        count = head[1] & 0x7F
        length = int.from_bytes(stream.read(count), "big") if head[1] & 0x80 else head[1]
        body = b""
        while len(body) < length:
            body += stream.read(length - len(body))
        after = 2 + body[1]
        return body[:after], body[after], body[after:]

    def say(self, stream, number, answer):
        stream.write(element(0x30, number + answer))

    def close(self):
        self.listener.close()


@pytest.fixture
def directory():
    directory = Guessed()
    yield directory
    directory.close()


def test_no_more_than_the_limit_is_asked(start, directory):
    ldap = {"SERVER_ADDR": f"127.0.0.1:{directory.port}", "SERVER_INSECURE": "on", "LOOKUP_BIND_DN": "cn=reader",
            "LOOKUP_BIND_PASSWORD": "x", "USER_DN_SEARCH_BASE_DN": "dc=x", "USER_DN_SEARCH_FILTER": "(uid=%s)"}
    server = start(env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
                        **{f"MINIO_IDENTITY_LDAP_{name}": value for name, value in ldap.items()}})

    def login(password):
        data = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": "ana", "LDAPPassword": password}
        return requests.post(server.url, data=data, timeout=40).text

    with concurrent.futures.ThreadPoolExecutor(GUESSES) as pool:
        right = list(pool.map(login, ["right"] * 12))
        assert not [text for text in right if "Too many attempts" in text], "those that are right wait for each other"
        assert len(directory.asked) == 12
        del directory.asked[:]
        texts = list(pool.map(login, [f"guess-{number}" for number in range(GUESSES)]))
    assert len(directory.asked) == 5
    assert sum("is not right" in text for text in texts) == 5, texts[0]
    assert sum("Too many attempts" in text for text in texts) == GUESSES - 5
