"""The table of rights (docs/identity-actions.md, which a unit test keeps equal to the one in the code), walked:
every operation of every surface, as a caller who may do everything but has one name of a right denied, as one who
has one name of it allowed and nothing else, and with denies and allows by path."""
import pathlib
import re
import time
import uuid

import botocore.session
import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, STS, Surfaces, document, field, secret_of

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "identity-actions.md"
COLUMNS = ("query", "minio", "api", "kms")
TRUST = document({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
                  "Action": ["sts:AssumeRole", "sts:TagSession"]})
READ = document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})


class Row:
    def __init__(self, line):
        self.right, names, denied_by, self.rule, *columns = [cell.strip() for cell in line.strip("| \n").split("|")]
        self.names, self.denied_by = re.findall("`([^`]*)`", names), re.findall("`([^`]*)`", denied_by)
        # Operation to whether only a deny counts.
        self.operations = [(surface, name, bool(only)) for surface, cell in zip(COLUMNS, columns)
                           for name, only in re.findall(r"`([^`]*)`( \(deny only\))?", cell)]


# A row ends with empty cells: the blanks between bars stay.
ROWS = [Row(line) for line in (re.sub(r"\| +(?=\|)", "|  ", text) for text in PAGE.read_text(encoding="utf-8").splitlines())
        if line.startswith("| ") and not line.startswith(("| right", "| ---"))]
BY_RIGHT = {row.right: row for row in ROWS}
DECIDED = [row for row in ROWS if row.names and row.operations]
MODELS = {name: botocore.session.get_session().get_service_model(name) for name in ("iam", "sts")}


class World:
    """What the requests are about, made when it is first asked for. `used` tells whether something that exists,
    or a path, was asked for: only then can a path decide."""

    def __init__(self, surfaces, path="/"):
        self.surfaces, self.path, self.used, self.made = surfaces, path, False, {}
        self.id = uuid.uuid4().hex[:12]

    def new(self, kind):
        return f"new-{kind}-{self.id}"

    def _once(self, kind, make):
        self.used = True
        if kind not in self.made:
            self.made[kind] = f"{kind}-{self.id}"
            make(self.made[kind])
        return self.made[kind]

    @property
    def user(self):
        return self._once("user", lambda name: self.surfaces.root("CreateUser", UserName=name, Path=self.path))

    @property
    def key(self):
        """Id of an access key of the user."""
        user = self.user
        if "key" not in self.made:
            self.made["key"] = self.surfaces.key(user).access_key
        return self.made["key"]

    @property
    def service(self):
        """Id of a service account of the user."""
        user = self.user
        if "service" not in self.made:
            reply = self.surfaces.api(ROOT, "key-add", user=user, expires_ms=int(time.time() * 1000) + 10**8)
            self.made["service"] = secret_of(reply).access_key
        return self.made["service"]

    @property
    def named(self):
        """A user with a key of its name."""
        def make(name):
            reply = self.surfaces.minio(ROOT, "PUT", "add-user", {"secretKey": "long-enough-secret"}, accessKey=name)
            assert reply.status_code == 200, reply.text
            if self.path != "/":
                self.surfaces.root("UpdateUser", UserName=name, NewPath=self.path)
        return self._once("named", make)

    @property
    def group(self):
        return self._once("group", lambda name: self.surfaces.root("CreateGroup", GroupName=name, Path=self.path))

    @property
    def role(self):
        return self._once("role", lambda name: self.surfaces.root(
            "CreateRole", RoleName=name, Path=self.path, AssumeRolePolicyDocument=TRUST))

    @property
    def role_arn(self):
        return f"arn:aws:iam::000000000000:role{self.path}{self.role}"

    @property
    def policy(self):
        return self._once("policy", lambda name: self.surfaces.root(
            "CreatePolicy", PolicyName=name, Path=self.path, PolicyDocument=READ))

    @property
    def policy_arn(self):
        return f"arn:aws:iam::000000000000:policy{self.path}{self.policy}"

    @property
    def kms_key(self):
        return self._once("kms", lambda name: self.surfaces.api(ROOT, "kms-add", key=name))

    @property
    def provider_arn(self):
        """Resource name of an OpenID provider, which has no path: the path is the first part of its name."""
        name = self._once("provider", lambda name: self.surfaces.root(
            "CreateOpenIDConnectProvider", Url=f"https://issuer{self.path}{name}"))
        return f"arn:aws:iam::000000000000:oidc-provider/issuer{self.path}{name}"

    def holder(self, right):
        kind = re.search("User|Group|Role|Name", right).group(0).lower()
        return {"name": {"ldap-name": "cn=someone"}}.get(kind) or {kind: getattr(self, kind)}

    def held(self, right):
        """A policy that the holder of a right has, for taking it away."""
        kind = re.search("User|Group|Role", right).group(0)
        self.surfaces.root(f"Attach{kind}Policy", **{f"{kind}Name": getattr(self, kind.lower())}, PolicyArn=self.policy_arn)
        return self.policy


def query(world, right, action):
    """Parameters of a call, by the service model: what exists is named, what is made gets a new name."""
    model = MODELS["sts" if action in STS else "iam"].operation_model(action)
    members = set(model.input_shape.members) if model.input_shape is not None else set()
    is_new = action.startswith("Create")
    tagged = right.startswith("Tag")
    values = {
        "UserName": lambda: world.new("user") if action == "CreateUser" else world.user,
        "GroupName": lambda: world.new("group") if action == "CreateGroup" else world.group,
        "RoleName": lambda: world.new("role") if action == "CreateRole" else world.role,
        "PolicyName": lambda: world.new("policy") if action == "CreatePolicy" else "inline",
        "PolicyArn": lambda: world.policy_arn, "AccessKeyId": lambda: world.key, "RoleArn": lambda: world.role_arn,
        "PolicyDocument": lambda: TRUST if action == "UpdateAssumeRolePolicy" else READ,
        "AssumeRolePolicyDocument": lambda: TRUST, "Status": lambda: "Inactive", "VersionId": lambda: "v1",
        "OpenIDConnectProviderArn": lambda: world.provider_arn, "Url": lambda: f"https://issuer{world.path}{world.new('provider')}",
        "ClientID": lambda: "client",
        "NewPath": lambda: world.path, "RoleSessionName": lambda: "walk", "PermissionsBoundary": lambda: None if is_new else world.policy_arn, "Description": lambda: "walk",
    }
    wanted = {name: values[name]() for name in values if name in members}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if is_new and "Path" in members:
        world.used = True
        wanted["Path"] = world.path
    if tagged and "Tags" in members:
        wanted |= {"Tags.member.1.Key": "team", "Tags.member.1.Value": "a"}
    if action == "UpdateOpenIDConnectProviderThumbprint":
        wanted["ThumbprintList.member.1"] = "0" * 40
    if "Url" in wanted:
        world.used = True
    if "TagKeys" in members:
        wanted["TagKeys.member.1"] = "team"
    return lambda caller: world.surfaces.query(caller, action, **wanted)


def minio(world, right, operation):
    """Method, body and parameters of a call."""
    secret = {"secretKey": "long-enough-secret"}
    if operation == "add-user":
        name = {"UpdateAccessKey": "named", "EnableUser": "named", "DisableUser": "named", "DetachUserPolicy": "user"}.get(right)
        body = {**secret, "status": "disabled" if right == "DisableUser" else "enabled"}
        if right == "EnableUser":
            world.surfaces.api(ROOT, "user-enable", name=world.named, enabled=False)
        if right == "DisableUser":
            world.surfaces.api(ROOT, "user-enable", name=world.named, enabled=True)
        if right in ("AttachUserPolicy", "DetachUserPolicy"):
            body["policy"] = "readonly"
        if right == "DetachUserPolicy":
            world.held(right)
        return "PUT", body, {"accessKey": getattr(world, name) if name else world.new("user")}
    if operation == "update-group-members":
        existing = right != "CreateGroup"
        members = [] if right == "DeleteGroup" else [world.user]
        return "PUT", {"group": world.group if existing else world.new("group"), "members": members,
                       "isRemove": right in ("DeleteGroup", "RemoveUserFromGroup")}, {}
    if operation == "set-user-or-group-policy":
        is_group = "Group" in right
        policy = "" if right.startswith("Detach") else world.policy
        if not policy:
            world.held(right)
        return "PUT", None, {"userOrGroup": world.group if is_group else world.user, "policyName": policy,
                             "isGroup": str(is_group).lower()}
    if operation.startswith("idp/builtin/policy/") and operation != "idp/builtin/policy-entities":
        policy = world.held(right) if right.startswith("Detach") else world.policy
        return "POST", {"policies": [policy], **world.holder(right)}, {}
    if operation.startswith("idp/ldap/policy/"):
        return "POST", {"policies": ["readonly"], "user": "cn=someone"}, {}
    status = "enabled" if right.startswith("Enable") else "disabled"
    # What is listed in full names no one.
    return {
        "user-info": lambda: ("GET", None, {"accessKey": world.user}), "list-users": lambda: ("GET", None, {}),
        "remove-user": lambda: ("DELETE", None, {"accessKey": world.user}),
        "set-user-status": lambda: ("PUT", None, {"accessKey": world.user, "status": status}),
        "add-service-account": lambda: ("PUT", {"targetUser": world.user}, {}),
        "update-service-account": lambda: ("POST", {"newStatus": "off"}, {"accessKey": world.service}),
        "delete-service-account": lambda: ("DELETE", None, {"accessKey": world.service}),
        "info-service-account": lambda: ("GET", None, {"accessKey": world.service}),
        "info-access-key": lambda: ("GET", None, {"accessKey": world.service}),
        "list-service-accounts": lambda: ("GET", None, {"user": world.user}),
        "list-access-keys-bulk": lambda: ("GET", None, {"users": world.user}),
        "group": lambda: ("GET", None, {"group": world.group}), "groups": lambda: ("GET", None, {}),
        "set-group-status": lambda: ("PUT", None, {"group": world.group, "status": status}),
        "add-canned-policy": lambda: ("PUT", READ.encode(), {
            "name": world.new("policy") if right == "CreatePolicy" else world.policy}),
        "remove-canned-policy": lambda: ("DELETE", None, {"name": world.policy}),
        "info-canned-policy": lambda: ("GET", None, {"name": world.policy}),
        "list-canned-policies": lambda: ("GET", None, {}), "idp/builtin/policy-entities": lambda: ("GET", None, {}),
        "info": lambda: ("GET", None, {}), "storageinfo": lambda: ("GET", None, {}), "datausageinfo": lambda: ("GET", None, {}),
        "kms:status": lambda: ("GET", None, {}), "kms:version": lambda: ("GET", None, {}),
        "kms:key/create": lambda: ("POST", None, {"key-id": world.new("kms")}),
        "kms:key/list": lambda: ("GET", None, {"pattern": "*"}),
        "kms:key/status": lambda: ("GET", None, {"key-id": world.kms_key}),
    }[operation]()


def api(world, right, operation):
    """Fields of a request."""
    enabled = right.startswith(("Enable", "KmsEnable"))
    if operation == "policy-attach":
        policy = world.held(right) if re.match("Detach(User|Group|Role)", right) else world.policy
        return {"policies": ["readonly" if "Name" in right else policy], "holder": world.holder(right),
                "attach": right.startswith("Attach")}
    return {
        "user-add": lambda: {"name": world.new("user")}, "user-list": dict, "user-info": lambda: {"name": world.user},
        "user-remove": lambda: {"name": world.user}, "user-enable": lambda: {"name": world.user, "enabled": enabled},
        "session-revoke": lambda: {"of": {"user": world.user}}, "user-end-sessions": lambda: {"name": world.user}, "key-add": lambda: {"user": world.user},
        "key-list": lambda: {"user": world.user}, "key-enable": lambda: {"access_key": world.service, "enabled": False},
        "key-remove": lambda: {"access_key": world.service}, "group-add": lambda: {"name": world.new("group")},
        "group-list": dict, "group-info": lambda: {"name": world.group}, "group-remove": lambda: {"name": world.group},
        "group-enable": lambda: {"name": world.group, "enabled": enabled},
        "group-members": lambda: {"name": world.group, "users": [world.user], "add": right == "AddUserToGroup"},
        "policy-set": lambda: {"name": world.new("policy") if right == "CreatePolicy" else world.policy, "document": READ},
        "policy-list": dict, "policy-info": lambda: {"name": world.policy}, "policy-remove": lambda: {"name": world.policy},
        "role-set": lambda: {"name": world.new("role") if right == "CreateRole" else world.role, "trust": TRUST},
        "role-list": dict, "role-remove": lambda: {"name": world.role},
        "account-add": lambda: {"id": f"{uuid.uuid4().int % 10**12:012}", "name": "walk"}, "account-list": dict,
        "rotate-signing-key": dict, "explain": lambda: {"request_id": "none"}, "drive-list": dict, "status": dict,
        "drive-add": lambda: {"path": "/nowhere/at/all"}, "drive-remove": lambda: {"drive": "none"},
        "drive-drain": lambda: {"drive": "none"}, "drive-replace": lambda: {"old": "none", "path": "/nowhere/at/all"},
        "verify-start": lambda: {"repair": False}, "verify-state": dict,
        "bucket-appends": lambda: {"bucket": "none", "enabled": True},
        "kms-add": lambda: {"key": world.new("kms")}, "kms-list": dict, "kms-rotate": lambda: {"key": world.kms_key},
        "kms-enable": lambda: {"key": world.kms_key, "enabled": enabled},
        "kms-alias": lambda: {"name": f"alias/{world.id}", "key": world.kms_key if right == "KmsCreateAlias" else None},
    }[operation]()


def kms(world, right, operation):
    """Fields of a call of the KMS API."""
    if operation in ("CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "ListRetirableGrants"):
        user = "arn:aws:iam::000000000000:user/nobody"
        tags = {"Tags": [{"TagKey": "team", "TagValue": "a"}]} if right == "KmsTagResource" else {}
        return {"GenerateRandom": {"NumberOfBytes": 8}, "ListRetirableGrants": {"RetiringPrincipal": user}}.get(operation, tags)
    key = world.kms_key
    if operation.endswith("Alias"):
        if operation != "CreateAlias":
            world.surfaces.kms(ROOT, "CreateAlias", AliasName=f"alias/{key}", TargetKeyId=key)
        alias = f"alias/{key}" if operation != "CreateAlias" else f"alias/new-{uuid.uuid4().hex}"
        return {"AliasName": alias, **({} if operation == "DeleteAlias" else {"TargetKeyId": key})}
    if operation in ("Decrypt", "ReEncrypt"):
        blob = world.surfaces.kms(ROOT, "Encrypt", KeyId=key, Plaintext="QUFB").json()["CiphertextBlob"]
        return {"CiphertextBlob": blob, **({"DestinationKeyId": key} if operation == "ReEncrypt" else {})}
    return {"KeyId": key, **{
        "PutKeyPolicy": {"Policy": document({"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*"})},
        "Encrypt": {"Plaintext": "QUFB"}, "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]}, "UntagResource": {"TagKeys": ["a"]},
        "GenerateDataKey": {"KeySpec": "AES_256"}, "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
        "CreateGrant": {"GranteePrincipal": "arn:aws:iam::000000000000:user/walker", "Operations": ["GenerateRandom"]},
        "RevokeGrant": {"GrantId": "none"}, "RetireGrant": {"GrantId": "none"}, "UpdateKeyDescription": {"Description": "walk"}}.get(operation, {})}


def request(world, row, surface, operation):
    """A function that sends the request for a caller."""
    if surface == "query":
        return query(world, row.right, operation)
    if surface == "kms":
        fields = kms(world, row.right, operation)
        return lambda caller: world.surfaces.kms(caller, operation, **fields)
    if surface == "minio":
        method, body, parameters = minio(world, row.right, operation)
        return lambda caller: world.surfaces.minio(caller, method, operation, body, **parameters)
    fields = api(world, row.right, operation)
    return lambda caller: world.surfaces.api(caller, operation, **fields)


# Other rights that an operation needs, where its parameters make it do more than one thing.
ALSO = {("ReEncrypt", "KmsReEncryptFrom"): ["kms:ReEncryptTo"], ("ReEncrypt", "KmsReEncryptTo"): ["kms:ReEncryptFrom"],
        ("add-user", "AttachUserPolicy"): ["admin:CreateUser"],
        ("add-user", "DetachUserPolicy"): ["admin:CreateUser", "iam:AttachUserPolicy"],
        ("update-group-members", "CreateGroup"): ["iam:AddUserToGroup"],
        ("update-group-members", "DeleteGroup"): ["iam:RemoveUserFromGroup"]}
# Everybody may do this to themselves, with what the role's trust policy or the caller's key says.
BY_ITSELF = {"GetSessionToken", "AssumeRole", "TagSession"}


def statement(effect, action, resource="*"):
    return {"Effect": effect, "Action": action, "Resource": resource}


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("walk") / "drive").wait_ready()
    surfaces = Surfaces(server)
    surfaces.walker = surfaces.user("walker")
    surfaces.world, surfaces.guarded = World(surfaces), World(surfaces, "/admins/")
    yield surfaces
    server.kill()


def test_the_page_was_read():
    assert len(ROWS) > 100 and len(DECIDED) > 90
    assert BY_RIGHT["CreateAccessKey"].names == ["iam:CreateAccessKey", "admin:CreateAccessKey", "admin:CreateServiceAccount"]
    assert ("minio", "add-user", True) in BY_RIGHT["CreateAccessKey"].operations
    assert ("api", "key-add", False) in BY_RIGHT["CreateAccessKey"].operations


@pytest.mark.parametrize("row", DECIDED, ids=lambda row: row.right)
def test_a_deny_of_any_name_denies_on_every_surface(surfaces, row):
    sends = [(surface, name, request(surfaces.world, row, surface, name)) for surface, name, _ in row.operations]
    for denied in row.names + row.denied_by:
        surfaces.allow("walker", ALLOW_ALL, statement("Deny", denied))
        for surface, name, send in sends:
            reply = send(surfaces.walker)
            assert reply.status_code == 403, f"{surface} {name} with {denied} denied: {reply.status_code} {reply.text}"


@pytest.mark.parametrize("row", DECIDED, ids=lambda row: row.right)
def test_an_allow_of_any_name_allows_on_every_surface(surfaces, row):
    for surface, name, is_deny_only in row.operations:
        for allowed in row.names if not is_deny_only and row.right not in BY_ITSELF else []:
            world = World(surfaces)
            send = request(world, row, surface, name)
            surfaces.allow("walker", statement("Allow", "s3:GetObject"))
            reply = send(surfaces.walker)
            assert reply.status_code == 403, f"{surface} {name} without rights: {reply.status_code} {reply.text}"
            surfaces.allow("walker", statement("Allow", [allowed, *ALSO.get((name, row.right), [])]))
            reply = send(surfaces.walker)
            assert reply.status_code != 403, f"{surface} {name} with {allowed} allowed: {reply.text}"
    # What takes a deny only goes on without one.
    for surface, name, is_deny_only in row.operations:
        if is_deny_only or row.right in BY_ITSELF:
            surfaces.allow("walker", ALLOW_ALL)
            reply = request(World(surfaces), row, surface, name)(surfaces.walker)
            assert reply.status_code != 403, f"{surface} {name}: {reply.text}"


@pytest.mark.parametrize("row", DECIDED, ids=lambda row: row.right)
def test_denies_and_allows_by_path_hold_on_every_surface(surfaces, row):
    anything = "arn:aws:iam::*:*/admins/*"
    for surface, name, is_deny_only in row.operations:
        guarded, open_ = World(surfaces, "/admins/"), World(surfaces, "/others/")
        guarded.used = False
        send, elsewhere = request(guarded, row, surface, name), request(open_, row, surface, name)
        if not guarded.used or surface == "kms" or row.rule.startswith(("server", "a name", "as AttachName")) or "kms" in guarded.made:
            continue
        surfaces.allow("walker", ALLOW_ALL, statement("Deny", "*", anything))
        reply = send(surfaces.walker)
        assert reply.status_code == 403, f"{surface} {name} below a path that is denied: {reply.status_code} {reply.text}"
        reply = elsewhere(surfaces.walker)
        assert reply.status_code != 403, f"{surface} {name} below another path: {reply.text}"
        if row.right in BY_ITSELF or is_deny_only:
            continue
        surfaces.allow("walker", statement("Allow", "*", anything))
        elsewhere = request(World(surfaces, "/others/"), row, surface, name)
        reply = elsewhere(surfaces.walker)
        assert reply.status_code == 403, f"{surface} {name} below a path that is not allowed: {reply.status_code} {reply.text}"
        # What is made on the way has the path `/`, which this statement does not allow.
        if "new-" not in repr(guarded.made) and (name, row.right) not in ALSO:
            reply = send(surfaces.walker)
            assert reply.status_code != 403, f"{surface} {name} below the path that is allowed: {reply.text}"


def test_the_owner_is_told_of_the_name_that_was_denied(surfaces):
    """The reason of a refusal names the right, and is for administrators only."""
    surfaces.allow("walker", ALLOW_ALL, {**statement("Deny", "admin:CreateServiceAccount"), "Sid": "NoKeys"})
    reply = surfaces.query(surfaces.walker, "CreateAccessKey", UserName=surfaces.world.user)
    request_id = field(reply.text, "RequestId")
    told = surfaces.api(ROOT, "explain", request_id=request_id).json()["refusals"]
    assert [(entry["action"], entry["sid"]) for entry in told] == [("iam:CreateAccessKey", "NoKeys")]
