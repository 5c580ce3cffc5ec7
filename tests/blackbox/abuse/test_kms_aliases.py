"""Aliases of keys: a right to one key gives no alias of another."""
import pytest

from surfaces import ROOT, Surfaces


@pytest.fixture
def surfaces(start):
    surfaces = Surfaces(start())
    for key in ("prod-key", "mine", "other"):
        assert surfaces.api(ROOT, "kms-add", key=key, description="").status_code == 200
    assert set_alias(surfaces, ROOT, "alias/prod", "prod-key") == 200
    return surfaces


def set_alias(surfaces, key, name, to=None):
    return surfaces.api(key, "kms-alias", name=name, **({"key": to} if to else {})).status_code


def key_of(surfaces, alias):
    keys = surfaces.api(ROOT, "kms-list").json()["kms-keys"]
    return next((key["id"] for key in keys if alias in key["aliases"]), None)


def allow(action, *keys):
    return {"Effect": "Allow", "Action": f"kms:{action}", "Resource": [f"arn:minio:kms:::{key}" for key in keys]}


def test_an_alias_is_taken_from_a_key_with_a_right_to_that_key_only(surfaces):
    """Goal: who may name one key does not get what is written under the name of another. Method: rights to both keys, one by one."""
    eve = surfaces.user("eve", allow("CreateAlias", "mine"), allow("DeleteAlias", "mine", "other"))
    assert set_alias(surfaces, eve, "alias/other", "prod-key") == 403
    assert set_alias(surfaces, eve, "alias/prod", "mine") == 403
    assert key_of(surfaces, "alias/prod") == "prod-key"
    # A new one, the same again, and one of a key that may lose it.
    for to in ("mine", "mine"):
        assert set_alias(surfaces, eve, "alias/new", to) == 200
    assert set_alias(surfaces, ROOT, "alias/other", "other") == 200
    assert set_alias(surfaces, eve, "alias/other", "mine") == 200
    assert key_of(surfaces, "alias/other") == key_of(surfaces, "alias/new") == "mine"
    surfaces.allow("eve", allow("CreateAlias", "mine"), allow("DeleteAlias", "prod-key"))
    assert set_alias(surfaces, eve, "alias/prod", "mine") == 200


def test_an_alias_is_removed_by_a_right_to_the_key_that_has_it(surfaces):
    eve = surfaces.user("eve", allow("DeleteAlias", "mine"))
    everyone = surfaces.user("all", {"Effect": "Allow", "Action": "kms:*", "Resource": "*"},
                             {**allow("DeleteAlias", "prod-key"), "Effect": "Deny"})
    for key in (eve, everyone):
        assert set_alias(surfaces, key, "alias/prod") == 403
    assert set_alias(surfaces, ROOT, "alias/mine", "mine") == 200
    assert set_alias(surfaces, eve, "alias/mine") == 200
    assert key_of(surfaces, "alias/prod") == "prod-key" and key_of(surfaces, "alias/mine") is None
    assert set_alias(surfaces, ROOT, "alias/mine") == 404
