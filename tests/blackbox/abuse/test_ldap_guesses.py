"""Passwords that are guessed in many requests at once: the directory is asked about no more of them than the limit, and
others sign in meanwhile."""
import concurrent.futures
import socket
import threading
import time
import urllib.parse

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
        self.port, self.asked, self.searches = self.listener.getsockname()[1], [], 0
        self.answers = threading.Event()
        self.answers.set()
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
                self.searches += 1
                self.answers.wait(60)
                dn = b"uid=bob,dc=x" if b"bob" in content else b"uid=ana,dc=x"
                self.say(stream, number, element(0x64, element(0x04, dn) + element(0x30, b"")))
                self.say(stream, number, element(0x65, b"\x0a\x01\x00\x04\x00\x04\x00"))
            elif tag == 0x60:
                code = b"\x00"
                if b"uid=" in content:
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
    directory.answers.set()
    directory.close()


@pytest.fixture
def server(start, directory):
    ldap = {"SERVER_ADDR": f"127.0.0.1:{directory.port}", "SERVER_INSECURE": "on", "LOOKUP_BIND_DN": "cn=reader",
            "LOOKUP_BIND_PASSWORD": "x", "USER_DN_SEARCH_BASE_DN": "dc=x", "USER_DN_SEARCH_FILTER": "(uid=%s)"}
    return start(env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
                      **{f"MINIO_IDENTITY_LDAP_{name}": value for name, value in ldap.items()}})


def send(server, source, user, password):
    """A sign-in of another address, sent and not read."""
    data = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": user, "LDAPPassword": password}
    body = urllib.parse.urlencode(data)
    sock = socket.create_connection(("127.0.0.1", server.port), 40, source_address=(source, 0))
    sock.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return sock


def answer(sock):
    with sock, sock.makefile("rb") as file:
        return file.read().decode()


def login_from(server, source, user, password):
    return answer(send(server, source, user, password))


def test_no_more_than_the_limit_is_asked(server, directory):
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


# What those are told whose password is right: no policy is attached to anyone here.
RIGHT = "No policy of this server is attached"


def test_guesses_of_one_address_keep_no_other_from_signing_in(server, directory):
    """All that can wait is waiting for one address, for a user that there is, as another address comes."""
    directory.answers.clear()
    guesses = [send(server, "127.0.0.1", "ana", f"guess-{number}") for number in range(100)]
    end = time.monotonic() + 20
    while directory.searches < 16 and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    others = [send(server, "127.0.0.9", "bob", "right") for _ in range(10)]
    time.sleep(0.3)
    directory.answers.set()
    texts = [answer(sock) for sock in others]
    assert [RIGHT in text for text in texts] == [True] * 10, texts
    texts = [answer(sock) for sock in guesses]
    assert sum("is not right" in text for text in texts) == 5
    assert not [text for text in texts if RIGHT in text]


def test_a_guess_at_a_closed_user_costs_the_directory_nothing(server, directory):
    for number in range(5):
        assert "is not right" in login_from(server, "127.0.0.1", "ana", f"guess-{number}")
    searches = directory.searches
    for spelling in ("ana", "ANA", " Ana") * 10:
        assert "Too many attempts" in login_from(server, "127.0.0.1", spelling, "right")
    assert directory.searches == searches
    # Another name of the same entry has to be looked up: what is refused then counts for its address, as a name that is
    # no one's does.
    for number in range(60):
        assert "Too many attempts" in login_from(server, "127.0.0.1", f"ana-{number}", "right")
    assert directory.searches <= searches + 45, directory.searches
    assert "Too many attempts" in login_from(server, "127.0.0.1", "bob", "right")
    for user in ("ana", "bob"):
        assert RIGHT in login_from(server, "127.0.0.9", user, "right")
