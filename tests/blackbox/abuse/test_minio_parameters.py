"""MinIO's admin API ignores nothing that a call says, and nothing hides behind switching a key off."""
import pytest
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, opens

READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    from conftest import Server
    server = Server(tmp_path_factory.mktemp("parameters") / "drive").wait_ready()
    yield Surfaces(server)
    server.kill()


def narrow_key(surfaces, name):
    """A user with all rights, and a key of it that may read only."""
    from botocore.credentials import Credentials
    owner = surfaces.user(name, ALLOW_ALL)
    key = Credentials(f"NARROW{name.upper()}", "narrow-secret")
    reply = surfaces.minio(owner, "PUT", "add-service-account", {
        "accessKey": key.access_key, "secretKey": key.secret_key, "policy": document(READ)})
    assert reply.status_code == 200, reply.text
    return owner, key


def may_list_users(surfaces, key):
    return surfaces.query(key, "ListUsers").status_code == 200


@pytest.mark.parametrize("change", [
    {"newPolicy": document(ALLOW_ALL)}, {"newExpiration": "2099-01-01T00:00:00Z"}, {"newName": "n"},
    {"newDescription": "d"}, {"newSecretKey": "another-secret"}], ids=lambda change: next(iter(change)))
def test_switching_a_key_off_carries_no_other_change(surfaces, change):
    name = next(iter(change)).lower()
    owner, key = narrow_key(surfaces, name)
    actions = ["admin:UpdateServiceAccount", "iam:UpdateAccessKey", "admin:ListServiceAccounts", "iam:ListAccessKeys"]
    helper = surfaces.user(f"helper-{name}", {"Effect": "Allow", "Action": actions, "Resource": "*"})

    def update(who, **fields):
        return surfaces.minio(who, "POST", "update-service-account", fields, accessKey=key.access_key)

    assert update(helper, **change).status_code == 403
    assert update(helper, newStatus="off", **change).status_code == 403
    assert opens(surfaces, key), "nothing of it was done"
    assert update(helper, newStatus="off").status_code == 204, "containment alone needs no more"
    assert not opens(surfaces, key)
    assert update(owner, newStatus="on").status_code == 204
    assert opens(surfaces, key) and not may_list_users(surfaces, key)


def test_names_of_fields_count_in_any_case(surfaces):
    from botocore.credentials import Credentials
    owner = surfaces.user("any-case", ALLOW_ALL)
    for number, name in enumerate(["policy", "Policy", "POLICY"]):
        key = Credentials(f"ANYCASE{number}", "any-case-secret")
        reply = surfaces.minio(owner, "PUT", "add-service-account", {
            "accessKey": key.access_key, "secretKey": key.secret_key, name: document(READ)})
        assert reply.status_code == 200, reply.text
        assert opens(surfaces, key) and not may_list_users(surfaces, key), name


FIELDS = {
    "add-service-account": ("PUT", {}, {"accessKey": "UNKNOWNFIELD", "secretKey": "unknown-secret"}),
    "update-service-account": ("POST", {"accessKey": "NARROWUNKNOWN"}, {"newDescription": "d"}),
    "add-user": ("PUT", {"accessKey": "unknown-user"}, {"secretKey": "unknown-secret"}),
    "update-group-members": ("PUT", {}, {"group": "unknown-group", "members": ["unknown"]}),
    "idp/builtin/policy/attach": ("POST", {}, {"policies": ["readonly"], "user": "unknown"}),
}


@pytest.mark.parametrize("operation", FIELDS)
def test_what_is_not_known_is_refused_before_any_effect(surfaces, operation):
    if not surfaces.query(ROOT, "GetUser", UserName="unknown").ok:
        narrow_key(surfaces, "unknown")
    method, query, body = FIELDS[operation]
    for field in ("polcy", "sessionPolicy", "permissionsBoundary", "expires"):
        reply = surfaces.minio(ROOT, method, operation, {**body, field: "x"}, **query)
        assert reply.status_code == 400 and field in reply.text, (field, reply.text)
    reply = surfaces.minio(ROOT, method, operation, body, **query, policy="readonly")
    assert reply.status_code == 400, "a parameter that belongs into the body"
    if query:
        twice = "&".join(f"{name}={value}" for name, value in [*query.items(), *query.items()])
        assert surfaces.minio(ROOT, method, f"{operation}?{twice}", body).status_code == 400
    if operation == "add-user":
        assert not surfaces.query(ROOT, "GetUser", UserName="unknown-user").ok
    if operation == "update-group-members":
        assert not surfaces.query(ROOT, "GetGroup", GroupName="unknown-group").ok
    reply = surfaces.minio(ROOT, method, operation, {**body, "other": None}, **query)
    assert reply.ok, reply.text


def test_a_group_is_named_as_one_or_not(surfaces):
    surfaces.user("no-group")
    for value, status in [("TRUE", 400), ("1", 400), ("yes", 400), ("false", 200)]:
        reply = surfaces.minio(ROOT, "PUT", "set-user-or-group-policy", userOrGroup="no-group", isGroup=value,
                               policyName="readonly")
        assert reply.status_code == status, (value, reply.text)


def test_a_key_that_expires_neither_removes_nor_enables_users(surfaces):
    from botocore.credentials import Credentials
    owner = surfaces.user("lasting", ALLOW_ALL)
    surfaces.user("victim")
    key = Credentials("EXPIRINGKEY", "expiring-secret")
    reply = surfaces.minio(owner, "PUT", "add-service-account", {
        "accessKey": key.access_key, "secretKey": key.secret_key, "expiration": "2099-01-01T00:00:00Z"})
    assert reply.status_code == 200, reply.text
    assert surfaces.minio(key, "DELETE", "remove-user", accessKey="victim").status_code == 403
    assert surfaces.minio(key, "PUT", "set-user-status", accessKey="victim", status="disabled").status_code == 200
    assert surfaces.minio(key, "PUT", "set-user-status", accessKey="victim", status="enabled").status_code == 403
    assert surfaces.api(key, "user-remove", name="victim").status_code == 403
    assert surfaces.query(ROOT, "GetUser", UserName="victim").ok
