"""What outlasts a caller's own key is made by no session, no key that a policy narrows and none that expires: every
operation of every surface is walked for answers that hold a secret."""
import json
import re
import time

import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, secret_of
from test_identity_walk import BY_RIGHT, DECIDED, ROWS, World, request, statement

# Operations of rows without names, which the walk has no parameters for.
OF_OWNER = {"mfa-enroll": {}, "mfa-confirm": {"code": "123456"}, "mfa-remove": {}, "keyring-export": {}}
SECRET = re.compile("secret|<SecretAccessKey>|otpauth", re.IGNORECASE)


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("lasting") / "drive").wait_ready()
    surfaces = Surfaces(server)
    surfaces.walker = surfaces.user("walker", ALLOW_ALL)
    yield surfaces
    server.kill()


def weak_keys(surfaces, user, credentials):
    """Keys with all the rights of a user, or of the owner, that do not last or are narrowed."""
    named = {} if user is None else {"user": user}
    soon = int(time.time() * 1000) + 10**8
    return {
        "session": surfaces.session(credentials),
        "narrowed": secret_of(surfaces.api(ROOT, "key-add", policy=document(ALLOW_ALL), **named)),
        "expiring": secret_of(surfaces.api(ROOT, "key-add", expires_ms=soon, **named)),
    }


def test_what_answers_a_secret_answers_none_to_what_does_not_last(surfaces):
    weak = weak_keys(surfaces, "walker", surfaces.walker)
    found = set()
    for row in DECIDED:
        for surface, name, _ in row.operations:
            reply = request(World(surfaces), row, surface, name)(surfaces.walker)
            # What MinIO's API answers with a secret is encrypted under that of the caller.
            is_secret = SECRET.search(reply.text) if surface != "minio" else "service-account" in name or name == "add-user"
            if reply.status_code != 200 or not is_secret or name in ("info-service-account", "list-service-accounts"):
                continue
            found.add(name)
            for kind, caller in weak.items():
                reply = request(World(surfaces), row, surface, name)(caller)
                assert reply.status_code == 403, f"{surface} {name} by a key that is {kind}: {reply.status_code} {reply.text[:200]}"
    assert {"CreateAccessKey", "key-add", "account-add", "add-service-account", "add-user"} <= found


def test_no_deny_of_making_keys_is_passed_by_making_an_account(surfaces):
    row = BY_RIGHT["CreateAccessKey"]
    for denied in row.names + ["iam:*", "admin:Create*"]:
        caller = surfaces.user(f"denied-{re.sub('[^a-zA-Z]', '', denied)}", ALLOW_ALL, statement("Deny", denied))
        reply = surfaces.api(caller, "account-add", id="777777777777", name="none")
        assert reply.status_code == 403, (denied, reply.text)
        narrow = surfaces.api(ROOT, "key-add", user="walker", policy=document(ALLOW_ALL, statement("Deny", denied)))
        reply = surfaces.api(secret_of(narrow), "account-add", id="777777777777", name="none")
        assert reply.status_code == 403, (denied, reply.text)
    assert "777777777777" not in surfaces.api(ROOT, "account-list").text


def test_the_second_factor_is_bound_by_a_lasting_key_of_the_owner_only(surfaces):
    for kind, caller in weak_keys(surfaces, None, ROOT).items():
        for operation, fields in OF_OWNER.items():
            reply = surfaces.api(caller, operation, **fields)
            assert reply.status_code == 403, f"{operation} by a key of the owner that is {kind}: {reply.text[:200]}"
    assert json.loads(surfaces.api(ROOT, "mfa-info").text)["mfa"] == []
    for operation, fields in OF_OWNER.items():
        assert surfaces.api(surfaces.walker, operation, **fields).status_code == 403, operation
    assert SECRET.search(surfaces.api(ROOT, "mfa-enroll").text)


def test_every_operation_of_the_own_api_is_walked():
    walked = {name for row in DECIDED for surface, name, _ in row.operations if surface == "api"}
    every = {name for row in ROWS for surface, name, _ in row.operations if surface == "api"}
    assert every - walked == {*OF_OWNER, "mfa-info", "lock-confirm-clock"}
