"""Keys of the key service are made and changed by those only who have the right when that is committed. The key service of the
deployment is a Vault that answers when the test lets it."""
import threading

import pytest

from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_ended_while_it_waits import Later
from test_kms import ROOT as OWNER, Transit, transit  # noqa: F401


class Held:
    """When the key service was asked for material, and when it may answer."""

    asked, let_go = threading.Event(), threading.Event()


CALLS = {
    "own-add": lambda surfaces, key: surfaces.api(key, "kms-add", key="late", description=""),
    "minio-create": lambda surfaces, key: surfaces.minio(key, "POST", "kms:key/create", **{"key-id": "late"}),
    "own-rotate": lambda surfaces, key: surfaces.api(key, "kms-rotate", key="there"),
}
ENDS = {
    "nothing": lambda surfaces, key: None,
    "another": lambda surfaces, key: surfaces.user(f"another-{key.access_key.lower()}"),
    "key": lambda surfaces, key: surfaces.root("DeleteAccessKey", UserName="keeper", AccessKeyId=key.access_key),
    "policy": lambda surfaces, key: surfaces.root("DeleteUserPolicy", UserName="keeper", PolicyName="own"),
}


def state_of(surfaces):
    keys = surfaces.api(ROOT, "kms-list")
    assert keys.status_code == 200, keys.text
    return sorted((key["id"], key["versions"]) for key in keys.json()["kms-keys"])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_key_is_changed_with_the_rights_at_its_commit(start, transit, call, end, monkeypatch):  # noqa: F811
    server = start("--vault-url", transit, env={**OWNER, "DRYSTONE_VAULT_TOKEN": "vault-token"})
    surfaces = Surfaces(server)
    assert surfaces.api(ROOT, "kms-add", key="there", description="").status_code == 200
    key = surfaces.user("keeper", ALLOW_ALL)
    before = state_of(surfaces)
    Held.asked, Held.let_go = threading.Event(), threading.Event()
    monkeypatch.setattr(Transit, "do_POST", held(Transit.do_POST))
    later = Later(lambda: CALLS[call](Surfaces(server), key))
    assert Held.asked.wait(20)
    ENDS[end](surfaces, key)
    Held.let_go.set()
    answer = later.end()
    if end in ("nothing", "another"):
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code in (401, 403), answer.text
    assert state_of(surfaces) == before


def held(answer):
    def do_POST(self):
        if "/keys/" in self.path:
            Held.asked.set()
            Held.let_go.wait(20)
        answer(self)

    return do_POST
