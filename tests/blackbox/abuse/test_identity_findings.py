"""Who may act on identities and keys of others: the findings of the security review, each as it was reproduced, and
what they were an instance of."""
import datetime
import json
import time
import uuid

import pytest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, field, opens, secret_of

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
CONSOLE_ADMIN = "arn:aws:iam::aws:policy/consoleAdmin"


def deny(action, resource="*"):
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def allow(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("identity") / "drive").wait_ready()
    server.client().create_bucket(Bucket="private")
    server.client().put_object(Bucket="private", Key="k", Body=b"secret")
    yield Surfaces(server)
    server.kill()


@pytest.fixture
def name():
    return f"u-{uuid.uuid4().hex[:12]}"


def end_in(seconds):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


# Finding 1: ids of keys are global, and setting a secret looked at the id only.

def test_the_key_of_another_account_is_not_taken_over_by_a_user_of_its_name(surfaces, name):
    tenant = surfaces.account("111122223301")
    victim = surfaces.user(name, ALLOW_ALL)
    created = surfaces.query(tenant, "CreateUser", UserName=victim.access_key)
    taken = surfaces.minio(tenant, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=victim.access_key)
    assert taken.status_code in (400, 403, 409), taken.text
    assert created.status_code in (200, 409)
    assert opens(surfaces, victim), "the true owner is locked out"
    assert not opens(surfaces, Credentials(victim.access_key, "chosen-by-attacker"))


@pytest.mark.parametrize("who", ["user", "owner of another account"])
def test_a_service_account_of_the_owner_is_not_taken_over(surfaces, name, who):
    victim = secret_of(surfaces.api(ROOT, "key-add", access_key=f"VICTIM{uuid.uuid4().hex[:8]}", description="x"))
    caller = surfaces.user(name, allow("admin:CreateUser"))
    if who != "user":
        caller = surfaces.account("111122223302")
    created = surfaces.query(caller, "CreateUser", UserName=victim.access_key)
    assert created.status_code == (409 if who == "user" else 200), created.text
    for status in ("enabled", "disabled"):
        body = {"secretKey": "chosen-by-attacker", "status": status}
        reply = surfaces.minio(caller, "PUT", "add-user", body, accessKey=victim.access_key)
        assert reply.status_code in (400, 403, 409), reply.text
    assert opens(surfaces, victim) and not opens(surfaces, Credentials(victim.access_key, "chosen-by-attacker"))


def test_the_key_of_a_user_of_the_same_account_is_not_taken_over(surfaces, name):
    victim = surfaces.user(name, ALLOW_ALL)
    assert surfaces.query(ROOT, "CreateUser", UserName=victim.access_key).status_code == 409
    reply = surfaces.minio(ROOT, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=victim.access_key)
    assert reply.status_code in (400, 409), reply.text
    assert opens(surfaces, victim)


def test_the_root_credentials_are_nobodys_name(surfaces):
    tenant = surfaces.account("111122223303")
    for caller in (ROOT, tenant):
        assert surfaces.query(caller, "CreateUser", UserName=USER).status_code == 409
        assert surfaces.api(caller, "user-add", name=USER).status_code == 409
        reply = surfaces.minio(caller, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=USER)
        assert reply.status_code in (400, 409), reply.text
        assert surfaces.api(caller, "key-add", access_key=USER).status_code == 409
        # Nor is the key of the owner of an account the name of someone.
        reply = surfaces.minio(caller, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=tenant.access_key)
        assert reply.status_code in (400, 409), reply.text
    assert opens(surfaces, ROOT) and opens(surfaces, tenant)


def test_no_key_gets_the_name_of_another_user(surfaces, name):
    surfaces.user(name)
    other = surfaces.user(name + "-b")
    for caller, user in ((ROOT, name + "-b"), (other, name + "-b")):
        assert surfaces.api(caller, "key-add", user=user, access_key=name).status_code == 409
        reply = surfaces.minio(caller, "PUT", "add-service-account", {"accessKey": name, "targetUser": user})
        assert reply.status_code == 400, reply.text
    # Names are per account: the same one elsewhere is no obstacle, and no way in either.
    tenant = surfaces.account("111122223304")
    assert surfaces.query(tenant, "CreateUser", UserName=name).status_code == 200
    made = surfaces.minio(tenant, "PUT", "add-user", {"secretKey": "password-of-tenant"}, accessKey=name)
    assert made.status_code == 200, made.text
    late = surfaces.minio(ROOT, "PUT", "add-user", {"secretKey": "password-of-owner"}, accessKey=name)
    assert late.status_code in (400, 409), late.text
    account = field(surfaces.query(Credentials(name, "password-of-tenant"), "GetCallerIdentity").text, "Account")
    assert account == "111122223304"


# Finding 4: add-user attached policies without the right to attach.

def test_creating_users_attaches_nothing(surfaces, name):
    caller = surfaces.user(name, allow("admin:CreateUser"))
    body = {"secretKey": "long-enough-secret", "policy": "consoleAdmin"}
    reply = surfaces.minio(caller, "PUT", "add-user", body, accessKey=name + "-admin")
    assert reply.status_code == 403, reply.text
    assert surfaces.minio(ROOT, "GET", "user-info", accessKey=name + "-admin").status_code == 404, "made all the same"
    # Nor to itself, which needs no right for its password.
    reply = surfaces.minio(caller, "PUT", "add-user", body, accessKey=name)
    assert reply.status_code == 403, reply.text
    surfaces.allow(name, allow("admin:CreateUser"), allow("admin:AttachUserOrGroupPolicy"))
    reply = surfaces.minio(caller, "PUT", "add-user", body, accessKey=name + "-admin")
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("held", ["attached", "inline", "group", "inline of a group", "disabled group"])
def test_nobody_gets_at_the_rights_of_one_who_holds_more(surfaces, name, held):
    admin = name + "-admin"
    assert surfaces.minio(ROOT, "PUT", "add-user", {"secretKey": "of-the-admin-1"}, accessKey=admin).status_code == 200
    if held == "attached":
        surfaces.root("AttachUserPolicy", UserName=admin, PolicyArn=CONSOLE_ADMIN)
    elif held == "inline":
        surfaces.root("PutUserPolicy", UserName=admin, PolicyName="all", PolicyDocument=document(ALLOW_ALL))
    else:
        surfaces.root("CreateGroup", GroupName=admin)
        surfaces.root("AddUserToGroup", GroupName=admin, UserName=admin)
        if held == "inline of a group":
            surfaces.root("PutGroupPolicy", GroupName=admin, PolicyName="all", PolicyDocument=document(ALLOW_ALL))
        else:
            surfaces.root("AttachGroupPolicy", GroupName=admin, PolicyArn=CONSOLE_ADMIN)
        if held == "disabled group":
            assert surfaces.api(ROOT, "group-enable", name=admin, enabled=False).status_code == 200
    service = secret_of(surfaces.api(ROOT, "key-add", user=admin, expires_ms=int(time.time() * 1000) + 10**7))
    assert surfaces.api(ROOT, "key-enable", access_key=service.access_key, enabled=False).status_code == 200
    assert surfaces.query(ROOT, "UpdateAccessKey", UserName=admin, AccessKeyId=admin, Status="Inactive").status_code == 200
    keys = ["Create", "Update", "Delete", "List"]
    caller = surfaces.user(name, allow(
        ["admin:CreateUser", "admin:EnableUser", "admin:DisableUser", "admin:EnableGroup", "admin:*ServiceAccount*",
         *[f"iam:{verb}AccessKey*" for verb in keys], "admin:ListServiceAccounts"]))
    tries = {
        "password": surfaces.minio(caller, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=admin),
        "key by the query API": surfaces.query(caller, "CreateAccessKey", UserName=admin),
        "enabled key": surfaces.query(caller, "UpdateAccessKey", UserName=admin, AccessKeyId=admin, Status="Active"),
        "key by MinIO's": surfaces.minio(caller, "PUT", "add-service-account", {"targetUser": admin}),
        "new secret": surfaces.minio(caller, "POST", "update-service-account", {"newSecretKey": "chosen-by-attacker"},
                                     accessKey=service.access_key),
        "key by the own": surfaces.api(caller, "key-add", user=admin),
        "enabled key by the own": surfaces.api(caller, "key-enable", access_key=service.access_key, enabled=True),
    }
    assert {what: reply.status_code for what, reply in tries.items()} == dict.fromkeys(tries, 403)
    if "group" in held:
        for reply in (surfaces.api(caller, "group-enable", name=admin, enabled=True),
                      surfaces.minio(caller, "PUT", "set-group-status", group=admin, status="enabled")):
            assert reply.status_code == 403, reply.text
    # Switching off is no way in, and switching on again is one.
    assert surfaces.api(caller, "user-enable", name=admin, enabled=False).status_code == 200
    assert surfaces.api(caller, "user-enable", name=admin, enabled=True).status_code == 403
    reply = surfaces.minio(caller, "PUT", "set-user-status", accessKey=admin, status="enabled")
    assert reply.status_code == 403, reply.text
    # Those who may attach what the user holds may do it.
    surfaces.allow(name, allow(["admin:*", "iam:*"]))
    assert surfaces.api(caller, "user-enable", name=admin, enabled=True).status_code == 200
    reply = surfaces.minio(caller, "PUT", "add-user", {"secretKey": "set-by-an-admin"}, accessKey=admin)
    assert reply.status_code == 200, reply.text


def test_a_role_that_holds_more_is_not_opened_by_its_trust(surfaces, name):
    trust = document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    surfaces.root("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)
    surfaces.root("AttachRolePolicy", RoleName=name, PolicyArn=CONSOLE_ADMIN)
    caller = surfaces.user(name, allow(["iam:UpdateAssumeRolePolicy", "iam:CreateRole"]))
    assert surfaces.query(caller, "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=trust).status_code == 403
    assert surfaces.api(caller, "role-set", name=name, trust=trust).status_code == 403


# Finding 6: denies by path were decided on a made-up path.

def test_denies_by_path_hold_for_all_that_is_done_to_an_administrator(surfaces, name):
    admin = name + "-admin"
    surfaces.user(admin, path="/admins/")
    surfaces.root("PutUserPolicy", UserName=admin, PolicyName="p", PolicyDocument=document(ALLOW_ALL))
    surfaces.root("CreateRole", RoleName=admin, Path="/admins/", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}))
    caller = surfaces.user(name, allow("iam:*"), deny("iam:*", ["arn:aws:iam::*:user/admins/*", "arn:aws:iam::*:role/admins/*"]))
    trust = document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    tries = [
        surfaces.api(caller, "key-add", user=admin),
        surfaces.api(caller, "role-set", name=admin, trust=trust),
        surfaces.query(caller, "PutUserPolicy", UserName=admin, PolicyName="p", PolicyDocument=document(ALLOW_ALL)),
        surfaces.query(caller, "DetachUserPolicy", UserName=admin, PolicyArn=CONSOLE_ADMIN),
        surfaces.query(caller, "DeleteUserPolicy", UserName=admin, PolicyName="p"),
        surfaces.query(caller, "TagUser", UserName=admin, **{"Tags.member.1.Key": "a", "Tags.member.1.Value": "b"}),
        surfaces.query(caller, "UpdateUser", UserName=admin, NewPath="/"),
        surfaces.query(caller, "DeleteUser", UserName=admin),
        surfaces.minio(caller, "PUT", "add-user", {"secretKey": "chosen-by-attacker"}, accessKey=admin),
        surfaces.minio(caller, "PUT", "set-user-or-group-policy", userOrGroup=admin, policyName="readonly"),
        surfaces.minio(caller, "DELETE", "remove-user", accessKey=admin),
        surfaces.api(caller, "user-remove", name=admin),
    ]
    assert [reply.status_code for reply in tries] == [403] * len(tries), [reply.text for reply in tries]
    # Nor are others moved there, or made there by an empty path that is another on paper only.
    surfaces.root("CreateUser", UserName=name + "-c")
    assert surfaces.query(caller, "UpdateUser", UserName=name + "-c", NewPath="/admins/").status_code == 403
    assert surfaces.query(caller, "CreateUser", UserName=name + "-d", Path="/admins/").status_code == 403


def test_an_empty_path_is_the_root_path(surfaces, name):
    caller = surfaces.user(name, allow("iam:*"), deny("iam:*", f"arn:aws:iam::*:user/{name}*"))
    assert surfaces.query(caller, "CreateUser", UserName=name + "-a", Path="").status_code == 403


# Finding 7: a deny at one surface, and not at the next.

@pytest.mark.parametrize("denied", ["admin:CreateServiceAccount", "iam:CreateAccessKey"])
def test_whoever_must_not_make_keys_makes_none_anywhere(surfaces, name, denied):
    surfaces.user(name + "-b")
    caller = surfaces.user(name, allow("*"), deny(denied))
    tries = [
        surfaces.query(caller, "CreateAccessKey"), surfaces.query(caller, "CreateAccessKey", UserName=name + "-b"),
        surfaces.api(caller, "key-add", user=name), surfaces.minio(caller, "PUT", "add-service-account", {}),
        surfaces.minio(caller, "PUT", "add-user", {"secretKey": "long-enough-secret"}, accessKey=name + "-c"),
    ]
    assert [reply.status_code for reply in tries] == [403] * len(tries), [reply.text for reply in tries]


def test_a_deny_of_iam_holds_in_the_admin_api_of_minio(surfaces, name):
    caller = surfaces.user(name, allow("*"), deny("iam:*"))
    surfaces.user(name + "-b")
    body = {"secretKey": "long-enough-secret", "policy": "consoleAdmin"}
    tries = [
        surfaces.minio(caller, "PUT", "add-user", body, accessKey=name + "-c"),
        surfaces.minio(caller, "PUT", "set-user-or-group-policy", userOrGroup=name + "-b", policyName="consoleAdmin"),
        surfaces.minio(caller, "POST", "idp/builtin/policy/attach", {"policies": ["readonly"], "user": name + "-b"}),
        surfaces.api(caller, "policy-attach", policies=["readonly"], holder={"user": name + "-b"}, attach=True),
    ]
    assert [reply.status_code for reply in tries] == [403] * len(tries), [reply.text for reply in tries]


@pytest.mark.parametrize("statements", [
    [{"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"}],
    [{"Effect": "Allow", "NotAction": "admin:*", "Resource": "*"}],
    [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:iam::*:*"}],
    [ALLOW_ALL, {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}],
    [ALLOW_ALL, {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::*"}],
])
def test_what_a_policy_leaves_out_is_not_there_under_another_name(surfaces, name, statements):
    """AWS's own PowerUserAccess is everything but `iam:*`: it must not make administrators by MinIO's names."""
    caller = surfaces.user(name, *statements)
    tries = [
        surfaces.query(caller, "CreateUser", UserName=name + "-b"), surfaces.api(caller, "user-add", name=name + "-b"),
        surfaces.minio(caller, "PUT", "add-user", {"secretKey": "long-enough-secret"}, accessKey=name + "-b"),
        surfaces.minio(caller, "PUT", "set-user-or-group-policy", userOrGroup=name, policyName="consoleAdmin"),
        surfaces.query(caller, "AttachUserPolicy", UserName=name, PolicyArn=CONSOLE_ADMIN),
    ]
    assert [reply.status_code for reply in tries] == [403] * len(tries), [reply.text for reply in tries]
    assert surfaces.s3(caller, "GET", "/private/k").status_code == 200


def test_a_deny_with_exceptions_excepts_them_under_every_name(surfaces, name):
    """The usual policy that leaves only a few calls to those without a second factor."""
    caller = surfaces.user(name, ALLOW_ALL, {"Effect": "Deny", "NotAction": ["iam:ListUsers", "iam:GetUser"], "Resource": "*"})
    for reply in (surfaces.query(caller, "ListUsers"), surfaces.api(caller, "user-list"), surfaces.minio(caller, "GET", "list-users")):
        assert reply.status_code == 200, reply.text
    assert surfaces.query(caller, "ListGroups").status_code == 403
    surfaces.allow(name, ALLOW_ALL, {"Effect": "Deny", "Action": "iam:*", "NotResource": f"arn:aws:iam::*:user/{name}*"})
    assert surfaces.query(caller, "CreateUser", UserName=name + "-b").status_code == 200
    assert surfaces.query(caller, "CreateUser", UserName="other-" + name).status_code == 403


def test_whoever_must_not_attach_in_the_words_of_minio_puts_no_inline_policy(surfaces, name):
    caller = surfaces.user(name, allow("*"), deny("admin:AttachUserOrGroupPolicy"))
    reply = surfaces.query(caller, "PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=document(ALLOW_ALL))
    assert reply.status_code == 403, reply.text


def test_a_deny_of_a_key_of_the_key_service_holds_whatever_name_it_has(surfaces, name):
    key = f"key-{uuid.uuid4().hex[:8]}"
    assert surfaces.api(ROOT, "kms-add", key=key).status_code == 200
    arn = next(k["arn"] for k in surfaces.api(ROOT, "kms-list").json()["kms-keys"] if k["id"] == key)
    caller = surfaces.user(name, allow("*"), deny("kms:*", arn))
    assert surfaces.api(caller, "kms-enable", key=key, enabled=False).status_code == 403
    assert surfaces.minio(caller, "GET", "kms:key/status", **{"key-id": key}).status_code == 403
    surfaces.allow(name, allow("*"), deny("kms:*", f"arn:minio:kms:::{key}"))
    assert surfaces.api(caller, "kms-enable", key=key, enabled=False).status_code == 403
    assert surfaces.minio(caller, "GET", "kms:key/status", **{"key-id": key}).status_code == 403


# Finding 9: narrow keys, and keys that end.

def kinds_of_keys(surfaces, name):
    """A user with rights to everything, and credentials of it that must not manage keys."""
    user = surfaces.user(name, EVERYTHING)
    narrow = secret_of(surfaces.api(ROOT, "key-add", user=name, policy=document(
        allow(["s3:GetObject", "iam:*", "admin:*", "sts:*"]))))
    ends = secret_of(surfaces.api(ROOT, "key-add", user=name, expires_ms=int((time.time() + 1200) * 1000)))
    return user, {"narrow": narrow, "ends": ends, "session": surfaces.session(user)}


@pytest.mark.parametrize("kind", ["narrow", "ends", "session"])
def test_a_key_that_is_less_than_its_user_manages_no_keys(surfaces, name, kind):
    user, keys = kinds_of_keys(surfaces, name)
    caller, other = keys[kind], surfaces.user(name + "-b")
    leaked = secret_of(surfaces.api(ROOT, "key-add", user=name, policy=document(allow("s3:GetObject"))))
    assert surfaces.api(ROOT, "key-enable", access_key=leaked.access_key, enabled=False).status_code == 200
    tries = {
        "enable a leaked key": surfaces.api(caller, "key-enable", access_key=leaked.access_key, enabled=True),
        "enable it by MinIO's": surfaces.minio(caller, "POST", "update-service-account", {"newStatus": "on"}, accessKey=leaked.access_key),
        "disable": surfaces.query(caller, "UpdateAccessKey", UserName=name, AccessKeyId=user.access_key, Status="Inactive"),
        "delete": surfaces.query(caller, "DeleteAccessKey", UserName=name, AccessKeyId=user.access_key),
        "delete a sibling": surfaces.minio(caller, "DELETE", "delete-service-account", accessKey=leaked.access_key),
        "delete by the own": surfaces.api(caller, "key-remove", access_key=leaked.access_key),
        "make": surfaces.query(caller, "CreateAccessKey", UserName=name),
        "make for another": surfaces.query(caller, "CreateAccessKey", UserName=name + "-b"),
        "make by MinIO's": surfaces.minio(caller, "PUT", "add-service-account", {}),
        "make by the own": surfaces.api(caller, "key-add", user=name + "-b"),
        "never end": surfaces.minio(caller, "POST", "update-service-account", {"newExpiration": "1970-01-01T00:00:00Z"},
                                    accessKey=caller.access_key),
        "end later": surfaces.minio(caller, "POST", "update-service-account", {"newExpiration": end_in(86_400)},
                                    accessKey=caller.access_key),
        "own password": surfaces.minio(caller, "PUT", "add-user", {"secretKey": "long-enough-secret"}, accessKey=name),
        "a new user": surfaces.minio(caller, "PUT", "add-user", {"secretKey": "long-enough-secret"}, accessKey=name + "-c"),
        "list of another": surfaces.query(caller, "ListAccessKeys", UserName=name + "-b"),
        "list of another by MinIO's": surfaces.minio(caller, "GET", "list-service-accounts", user=name + "-b"),
        "list of all": surfaces.minio(caller, "GET", "list-access-keys-bulk", all="true"),
        "list of another by the own": surfaces.api(caller, "key-list", user=name + "-b"),
        "a session": surfaces.query(caller, "GetSessionToken", DurationSeconds=129_600),
    }
    expected = dict.fromkeys(tries, 403)
    if kind == "session":
        # There is no row of it.
        expected["never end"] = expected["end later"] = 403
    assert {what: reply.status_code for what, reply in tries.items()} == expected
    assert opens(surfaces, user) and opens(surfaces, other)
    assert opens(surfaces, caller), "it goes on until it ends"


def test_a_key_whose_policy_does_not_say_so_does_not_list_keys(surfaces, name):
    surfaces.user(name)
    narrow = secret_of(surfaces.api(ROOT, "key-add", user=name, policy=document(allow("s3:GetObject"))))
    for reply in (surfaces.query(narrow, "ListAccessKeys"), surfaces.api(narrow, "key-list", user=name),
                  surfaces.minio(narrow, "GET", "list-service-accounts"),
                  surfaces.minio(narrow, "GET", "info-service-account", accessKey=narrow.access_key)):
        assert reply.status_code == 403, reply.text


def test_a_user_manages_its_own_keys_without_rights(surfaces, name):
    user = surfaces.user(name)
    assert surfaces.query(user, "ListAccessKeys").status_code == 200
    made = surfaces.minio(user, "PUT", "add-service-account", {"accessKey": name + "-svc", "expiration": end_in(900)})
    assert made.status_code == 200, made.text
    changed = surfaces.minio(user, "POST", "update-service-account", {"newExpiration": end_in(1800)}, accessKey=name + "-svc")
    assert changed.status_code == 204, changed.text
    assert surfaces.minio(user, "PUT", "add-user", {"secretKey": "a-password-of-mine"}, accessKey=name).status_code == 200
    assert opens(surfaces, Credentials(name, "a-password-of-mine"))
    assert surfaces.api(user, "key-remove", access_key=name + "-svc").status_code == 200


def test_a_refusal_does_not_tell_what_exists_or_where(surfaces, name):
    surfaces.root("CreateUser", UserName=name + "-b", Path="/hidden/")
    caller = surfaces.user(name)
    for ask in (lambda user: surfaces.query(caller, "GetUser", UserName=user), lambda user: surfaces.api(caller, "user-info", name=user),
                lambda user: surfaces.minio(caller, "GET", "user-info", accessKey=user)):
        known, unknown = ask(name + "-b"), ask(name + "-z")
        without_id = lambda reply: reply.text.replace("-z", "-b").split("RequestId")[0]
        assert (known.status_code, without_id(known)) == (unknown.status_code, without_id(unknown)) and "hidden" not in known.text


def test_a_request_names_a_bounded_number_of_policies_and_users(surfaces, name):
    names = [f"n{number}" for number in range(1001)]
    surfaces.root("CreateGroup", GroupName=name)
    for reply in (surfaces.api(ROOT, "policy-attach", policies=names, holder={"group": name}, attach=True),
                  surfaces.api(ROOT, "group-members", name=name, users=names, add=True),
                  surfaces.minio(ROOT, "POST", "idp/builtin/policy/attach", {"policies": names, "group": name}),
                  surfaces.minio(ROOT, "PUT", "update-group-members", {"group": name, "members": names, "isRemove": True})):
        assert reply.status_code in (400, 409) and "at most 1000" in reply.text, reply.text


# Finding 29: keys of other accounts.

def test_the_last_use_of_a_key_is_told_in_its_account_only(surfaces, name):
    tenant = surfaces.account("111122223305")
    key = surfaces.user(name)
    reply = surfaces.query(tenant, "GetAccessKeyLastUsed", AccessKeyId=key.access_key)
    assert reply.status_code == 404 and name not in reply.text, reply.text
    assert name in surfaces.query(ROOT, "GetAccessKeyLastUsed", AccessKeyId=key.access_key).text


def test_whoever_may_nothing_does_not_learn_which_keys_exist(surfaces, name):
    caller, other = surfaces.user(name), surfaces.user(name + "-b")
    for id in (other.access_key, "NOSUCHKEY"):
        for reply in (surfaces.api(caller, "key-enable", access_key=id, enabled=False), surfaces.api(caller, "key-remove", access_key=id),
                      surfaces.minio(caller, "GET", "info-access-key", accessKey=id),
                      surfaces.minio(caller, "DELETE", "delete-service-account", accessKey=id)):
            assert reply.status_code == 403, reply.text
            assert json.loads(reply.text)
    assert surfaces.minio(Credentials(USER, PASSWORD), "GET", "info-access-key", accessKey="NOSUCHKEY").status_code == 404
