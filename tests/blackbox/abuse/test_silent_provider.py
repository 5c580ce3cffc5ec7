"""An OpenID provider that does not answer holds up its own users only, and what one answers is bounded."""
import http.server
import json
import threading
import time

import pytest
import requests

from conftest import PASSWORD, USER, Server
from pressure import MIB, ask, watched
from test_federated_sessions import Provider
from test_federation_floods import Silent, part


def settings(provider, suffix=""):
    return {f"DRYSTONE_IDENTITY_OPENID_CONFIG_URL{suffix}": f"{provider.url}/.well-known/openid-configuration",
            f"DRYSTONE_IDENTITY_OPENID_CLIENT_ID{suffix}": "drystone"}


def begin(folder, **more):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, **more}
    return Server(folder / "drive", env=env).wait_ready()


def login(server, token, timeout=60, **parameters):
    """Code (empty for success), message and seconds of a sign-in."""
    begun = time.monotonic()
    data = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token, **parameters}
    reply = requests.post(server.url, data=data, timeout=timeout)
    found = lambda name: reply.text.split(f"<{name}>")[1].split(f"</{name}>")[0]
    code, text = ("", "") if reply.status_code == 200 else (found("Code"), found("Message"))
    return code, text, time.monotonic() - begun


@pytest.fixture
def provider():
    made = []

    def make():
        made.append(Provider())
        return made[-1]

    yield make
    for each in made:
        each.answers.set()
        each.server.shutdown()


@pytest.mark.parametrize("first", ["silent", "good"])
def test_a_silent_provider_holds_up_its_own_users_only(tmp_path, provider, first):
    """Whichever is first in the settings, and beside a silent LDAP server; the start waits for none of them."""
    silent, good, ldap = provider(), provider(), Silent()
    silent.answers.clear()
    a, b = (silent, good) if first == "silent" else (good, silent)
    begun = time.monotonic()
    server = begin(tmp_path, **settings(a), **settings(b, "_B"), DRYSTONE_IDENTITY_OPENID_ROLE_POLICY_B="readonly",
                   DRYSTONE_IDENTITY_LDAP_SERVER_ADDR=f"127.0.0.1:{ldap.port}", DRYSTONE_IDENTITY_LDAP_SERVER_INSECURE="on",
                   DRYSTONE_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN="dc=x", DRYSTONE_IDENTITY_LDAP_USER_DN_SEARCH_FILTER="(uid=%s)")
    try:
        assert time.monotonic() - begun < 5, "the start asks nobody"
        own, ended = [], []
        by_ldap = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": "ana", "LDAPPassword": "x"}
        threads = [threading.Thread(target=lambda: own.append(login(server, silent.token("ana", policy="readonly"))), daemon=True),
                   threading.Thread(target=lambda: ended.append(requests.post(server.url, data=by_ldap, timeout=60)), daemon=True)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while time.monotonic() - begun < 7:
            code, text, seconds = login(server, good.token("ana", policy="readonly"))
            assert code == "" and seconds < 2, (code, text, seconds)
            # Nor does one that is refused wait for others.
            code, text, seconds = login(server, good.token("ana", exp=1))
            assert "Expired" in code, (code, text)
            assert seconds < 2, seconds
            time.sleep(0.3)
        threads[0].join(30)
        assert own[0][0] == "IDPCommunicationError" and own[0][2] < 13, own
    finally:
        server.kill()
        ldap.close()


def test_a_token_of_nobody_makes_nobody_be_asked(tmp_path, provider):
    a, b = provider(), provider()
    server = begin(tmp_path, **settings(a), **settings(b, "_B"), DRYSTONE_IDENTITY_OPENID_ROLE_POLICY_B="readonly")
    try:
        a.asked.clear(), b.asked.clear()
        for claims in ({"iss": "http://127.0.0.1:1"}, {"iss": [a.url]}, {"iss": None}, {"iss": f"{a.url}/x"}):
            code, text, _ = login(server, a.token("ana", policy="readonly", **claims))
            assert code == "InvalidIdentityToken" and "issuer" in text, (code, text)
        for token in ("x", "a.b.c", f"{part({'alg': 'RS256'})}.{part([])[:1]}.c2ln"):
            assert login(server, token)[0] == "InvalidIdentityToken", token
        assert not a.asked.is_set() and not b.asked.is_set()
        # A slash at the end is not another issuer until the provider has said how it calls itself.
        code, text, _ = login(server, a.token("ana", policy="readonly", iss=f"{a.url}/"))
        assert code == "InvalidIdentityToken" and a.asked.is_set() and not b.asked.is_set(), (code, text)
        assert login(server, a.token("ana", policy="readonly"))[0] == ""
        assert login(server, b.token("ana"))[0] == ""
    finally:
        server.kill()


class Odd:
    """A provider whose documents are what a test makes them."""

    def __init__(self, good):
        self.documents, self.moved, self.asked, self.pause, self.good = {}, {}, [], 0, good

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                time.sleep(self.pause)
                self.asked.append(handler.path)
                if handler.path in self.moved:
                    handler.send_response(302)
                    handler.send_header("Location", self.moved[handler.path])
                    handler.send_header("Content-Length", "0")
                    return handler.end_headers()
                body = self.documents.get(handler.path, b"{}")
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                try:
                    handler.wfile.write(body)
                except OSError:
                    pass

            def log_message(handler, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        good.url = self.url
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.documents["/.well-known/openid-configuration"] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys",
                                                               "userinfo_endpoint": f"{self.url}/info"}
        public = good.key.public_key().public_numbers()
        number = lambda n: __import__("base64").urlsafe_b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).decode().rstrip("=")
        self.key = {"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": number(public.n), "e": number(public.e)}
        self.documents["/keys"] = {"keys": [self.key]}


@pytest.fixture
def odd(provider):
    odd = Odd(provider())
    yield odd
    odd.server.shutdown()


def test_the_documents_of_a_provider_take_their_time_together(tmp_path, odd):
    odd.pause = 8
    server = begin(tmp_path, **settings(odd))
    try:
        code, _, seconds = login(server, odd.good.token("ana", policy="readonly"))
        assert code == "IDPCommunicationError" and seconds < 13, (code, seconds)
    finally:
        server.kill()


LONG = "y" * 900_000
KEYS = {
    "long text": lambda key: json.dumps(LONG).encode(),
    "long text in a key": lambda key: {"keys": LONG},
    "many keys": lambda key: {"keys": [key] + [{"kty": "oct", "k": ""}] * 400},
    "many values": lambda key: {"keys": [key, {"x": [0] * 300_000}]},
}
# Short on the wire, long in memory if all of it were kept.
SMALL = [{"": 0}] * 6_000


@pytest.mark.parametrize("name", KEYS)
def test_keys_without_bound_are_refused_in_few_words(tmp_path, odd, name):
    odd.documents["/keys"] = KEYS[name](odd.key)
    server = begin(tmp_path, **settings(odd))
    try:
        ask(server)
        with watched(server) as watch:
            code, text, seconds = login(server, odd.good.token("ana", policy="readonly"))
        assert code == "IDPCommunicationError" and len(text) < 400 and seconds < 5, (code, text[:500], len(text), seconds)
        assert watch.grown < 24 * MIB, watch.grown / MIB
        server.process.terminate()
        longest = max(map(len, server.said().splitlines()), default=0)
        assert longest < 2000, longest
    finally:
        server.kill()


def test_redirects_are_not_followed(tmp_path, odd):
    """Whoever may answer for one address does not choose which other one is asked."""
    odd.moved["/keys"], odd.documents["/other"] = f"{odd.url}/other", odd.documents["/keys"]
    server = begin(tmp_path, **settings(odd))
    try:
        assert login(server, odd.good.token("ana", policy="readonly"))[0] == "IDPCommunicationError"
        assert "/other" not in odd.asked, odd.asked
    finally:
        server.kill()


def test_a_key_id_of_any_length_is_compared_and_no_more(tmp_path, odd):
    server = begin(tmp_path, **settings(odd))
    try:
        token = odd.good.token("ana", policy="readonly")
        assert login(server, token)[0] == ""
        longer = f"{part({'alg': 'RS256', 'kid': 'k' * 40_000})}.{token.split('.', 1)[1]}"
        asked = len(odd.asked)
        with watched(server) as watch:
            for _ in range(100):
                code, text, _ = login(server, longer)
                assert code == "InvalidIdentityToken" and len(text) < 400, (code, len(text))
        assert watch.grown < 16 * MIB, watch.grown / MIB
        # Two documents each five seconds at most, whatever ids are made up.
        assert len(odd.asked) - asked <= 4 + 2 * 6, len(odd.asked) - asked
        assert login(server, token)[0] == ""
    finally:
        server.kill()


def test_keys_of_kinds_that_are_not_known_are_left_out(tmp_path, odd):
    """RFC 7517, section 5: a key of a new kind beside the others does not end sign-ins."""
    odd.documents["/keys"] = {"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"}, {"kty": "EC", "crv": "secp256k1", "x": "AQ", "y": "AQ"},
                                       {"kty": "RSA"}, odd.key]}
    server = begin(tmp_path, **settings(odd))
    try:
        assert login(server, odd.good.token("ana", policy="readonly"))[:2] == ("", "")
    finally:
        server.kill()


def test_what_is_said_of_users_is_bounded(tmp_path, odd):
    """Several at a time, each a document that is short on the wire and many values in memory."""
    odd.documents["/info"] = {"sub": "ana", "x": [0] * 300_000}
    server = begin(tmp_path, **settings(odd), DRYSTONE_IDENTITY_OPENID_CLAIM_USERINFO="on")
    try:
        token = odd.good.token("ana", policy="readonly")
        login(server, token)
        with watched(server) as watch:
            found = []
            threads = [threading.Thread(target=lambda: found.append(login(server, token, WebIdentityAccessToken="x"))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert {code for code, *_ in found} == {"IDPCommunicationError"}, found
        assert watch.grown < 24 * MIB, watch.grown / MIB
    finally:
        server.kill()


def test_of_what_is_said_only_what_counts_is_kept(tmp_path, odd):
    """Documents and tokens of a length that is taken, full of small values."""
    odd.documents["/info"] = {"sub": "ana", "x": SMALL}
    odd.documents["/keys"] = {"keys": [odd.key, {"kty": "RSA", "x": SMALL * 3}]}
    server = begin(tmp_path, **settings(odd), DRYSTONE_IDENTITY_OPENID_CLAIM_USERINFO="on")
    try:
        ask(server)
        token = odd.good.token("ana", policy="readonly")
        with watched(server) as watch:
            found = []
            threads = [threading.Thread(target=lambda: found.append(login(server, token, WebIdentityAccessToken="x"))) for _ in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert {code for code, *_ in found} == {""}, found
        assert watch.grown < 16 * MIB, watch.grown / MIB
    finally:
        server.kill()
