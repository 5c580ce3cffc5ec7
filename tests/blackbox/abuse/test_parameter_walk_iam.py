"""A parameter that is ignored may be one that narrows. So every input parameter that the service models of IAM and STS
document, nested ones too, is sent to every operation that is implemented here: it is read, or it is refused with 501
before anything is done. The server refuses what an operation has not read; that this holds for an operation is shown by a
name that means nothing, which no operation reads."""
import json
import uuid

import botocore.session
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server

SESSION = botocore.session.get_session()
MODELS = {name: SESSION.get_service_model(name) for name in ("iam", "sts")}
OPERATIONS = [(service, name) for service, model in MODELS.items() for name in sorted(model.operation_names)]
NOTHING = "DrystoneKnowsNoSuchParameter"
# Parameters that are neither read nor refused. There is none.
EXCEPTIONS = set()

ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}]})
ROLE = "arn:aws:iam::000000000000:role/walk-role"
POLICY = "arn:aws:iam::000000000000:policy/walk-policy"
PROVIDER = "arn:aws:iam::000000000000:oidc-provider/walk.example/one"
# Operations whose answer needs another server beside this one are walked for refusals only.
FEDERATED = {"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"}


def send(server, service, action, parameters):
    form = {"Action": action, "Version": MODELS[service].api_version, **parameters}
    body = requests.models.RequestEncodingMixin._encode_params(form)
    request = AWSRequest("POST", server.url, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(USER, PASSWORD), service, "us-east-1").add_auth(request)
    return requests.post(server.url, data=body, headers=dict(request.headers), timeout=20)


def code_of(reply):
    return reply.text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in reply.text else ""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("parameters") / "drive").wait_ready()
    yield server
    server.stop()


def make_world(server):
    """What operations are about, made again where one of them took it away."""
    for action, parameters in [
            ("CreateUser", {"UserName": "walk-user", "Path": "/"}), ("CreateGroup", {"GroupName": "walk-group"}),
            ("CreateRole", {"RoleName": "walk-role", "AssumeRolePolicyDocument": TRUST}),
            ("CreatePolicy", {"PolicyName": "walk-policy", "PolicyDocument": ALLOW}),
            ("UpdateAssumeRolePolicy", {"RoleName": "walk-role", "PolicyDocument": TRUST}),
            ("CreateOpenIDConnectProvider", {"Url": "https://walk.example/one"}),
            ("UpdateUser", {"UserName": "walk-user", "NewPath": "/"})]:
        reply = send(server, "iam", action, parameters)
        assert reply.status_code in (200, 409), reply.text
    listed = send(server, "iam", "ListPolicyVersions", {"PolicyArn": POLICY}).text
    if "<VersionId>v1</VersionId>" not in listed or listed.count("<member>") > 3:
        send(server, "iam", "DetachRolePolicy", {"RoleName": "walk-role", "PolicyArn": POLICY})
    keys = send(server, "iam", "ListAccessKeys", {"UserName": "walk-user"}).text
    for key in keys.split("<AccessKeyId>")[2:]:
        send(server, "iam", "DeleteAccessKey", {"UserName": "walk-user", "AccessKeyId": key.split("<")[0]})
    if "<AccessKeyId>" not in keys:
        keys = send(server, "iam", "CreateAccessKey", {"UserName": "walk-user"}).text
    for number in range(1, 20):
        send(server, "iam", "DeletePolicyVersion", {"PolicyArn": POLICY, "VersionId": f"v{number}"})
    version = send(server, "iam", "GetPolicy", {"PolicyArn": POLICY}).text.split("<DefaultVersionId>")[1].split("<")[0]
    return {"UserName": "walk-user", "GroupName": "walk-group", "RoleName": "walk-role", "PolicyArn": POLICY, "RoleArn": ROLE,
            "PolicyName": "walk-policy", "RoleSessionName": "walk", "PolicyDocument": ALLOW, "VersionId": version,
            "AssumeRolePolicyDocument": TRUST, "Status": "Active", "PermissionsBoundary": POLICY, "Policy": ALLOW, "NewPath": "/",
            "AccessKeyId": keys.split("<AccessKeyId>")[1].split("<")[0], "Path": "/", "PathPrefix": "/", "DurationSeconds": "3600",
            "OpenIDConnectProviderArn": PROVIDER, "Url": "https://walk.example/new", "ThumbprintList": "0" * 40,
            "MaxSessionDuration": "3600", "MaxItems": "10", "Scope": "All", "TokenCode": "123456", "arn": POLICY,
            "EntityFilter": "User", "PolicyUsageFilter": "PermissionsPolicy", "TransitiveTagKeys": "value",
            "SerialNumber": "arn:aws:iam::000000000000:mfa/root-account-mfa-device"}


def forms(name, shape, world, prefix="", depth=0):
    """All leaves of a shape, as names of the form with a value each."""
    path = f"{prefix}{name}"
    if depth > 6:
        return
    if shape.type_name == "structure":
        for member, inner in shape.members.items():
            yield from forms(inner.serialization.get("name", member), inner, world, f"{path}.", depth + 1)
    elif shape.type_name == "list":
        yield from forms("member.1", shape.member, world, f"{path}.", depth + 1)
    elif shape.type_name == "map":
        yield from forms("entry.1.key", shape.key, world, f"{path}.", depth + 1)
        yield from forms("entry.1.value", shape.value, world, f"{path}.", depth + 1)
    else:
        default = {"boolean": "true", "integer": "1", "long": "1", "timestamp": "2026-01-01T00:00:00Z"}.get(shape.type_name, "value")
        if getattr(shape, "enum", None):
            default = shape.enum[0]
        yield path, world.get(name, default)


def base_of(model, world, of=None):
    """What an operation needs, without which it reads nothing else."""
    base = {}
    for member in model.input_shape.required_members if model.input_shape else []:
        if member != of:
            base.update(forms(member, model.input_shape.members[member], world))
    return base


def is_implemented(server, service, operation):
    reply = send(server, service, operation, {})
    return code_of(reply) != "InvalidAction" and reply.status_code != 501


def test_the_walk_covers_the_models(server):
    assert len(OPERATIONS) > 160
    done = [name for service, name in OPERATIONS if is_implemented(server, service, name)]
    assert len(done) >= 65 and {"CreateUser", "AssumeRole", "GetSessionToken", "PutRolePolicy"} <= set(done), done


@pytest.mark.parametrize("service, operation", OPERATIONS)
def test_every_parameter_is_read_or_refused(server, service, operation):
    if not is_implemented(server, service, operation):
        return
    model = MODELS[service].operation_model(operation)
    world = make_world(server)
    if operation in FEDERATED:
        return
    base = base_of(model, world)
    if operation.endswith("LoginProfile"):
        base["UserName"] = world["UserName"]
    if operation in ("CreateUser", "CreateGroup", "CreateRole", "CreatePolicy"):
        fresh = {"UserName", "GroupName", "RoleName", "PolicyName"} & set(base)
        base[fresh.pop()] = f"walk-{uuid.uuid4().hex[:8]}"
    if operation == "DeletePolicyVersion":
        send(server, "iam", "CreatePolicyVersion", {"PolicyArn": POLICY, "PolicyDocument": ALLOW})
        listed = send(server, "iam", "ListPolicyVersions", {"PolicyArn": POLICY}).text
        base["VersionId"] = next(v.split("<")[0] for v in listed.split("<VersionId>")[1:] if v.split("<")[0] != world["VersionId"])
    # Twice: what is refused had no effect, so it is refused again for the same reason.
    for _ in range(2):
        reply = send(server, service, operation, {**base, NOTHING: "x"})
        if code_of(reply) in ("NoSuchEntity", "AccessDenied", "DeleteConflict"):
            break  # Refused for another reason before its parameters mattered.
        assert (reply.status_code, code_of(reply)) == (501, "NotImplemented"), reply.text
        assert NOTHING in reply.text or operation == "UpdateGroup", reply.text  # That one is refused as a whole.
    shape = model.input_shape
    for member in shape.members if shape is not None else []:
        for name, value in forms(member, shape.members[member], world):
            if name in base or (operation, name) in EXCEPTIONS:
                continue
            # Beside one that is refused, nothing has an effect. A parameter that is read is not the one named.
            reply = send(server, service, operation, {**base, name: value, "~" + NOTHING: "x"})
            assert reply.status_code >= 400, reply.text


@pytest.mark.parametrize("form, code", [
    ("Action=ListUsers&Version=2010-05-08&MaxItems=1&MaxItems=2", "MalformedQueryString"),
    ("Action=AssumeRole&Action=GetCallerIdentity&Version=2011-06-15", "MalformedQueryString"),
    ("Action=CreateUser&UserName=gap&Tags.member.2.Key=a&Tags.member.2.Value=b", "NotImplemented"),
    ("Action=CreateUser&UserName=gap&Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.member.1.Nope=c", "NotImplemented"),
    ("Action=ListUsers&pathprefix=/a/", "NotImplemented"),
])
def test_what_is_given_twice_or_behind_a_gap_is_refused(server, form, code):
    request = AWSRequest("POST", server.url, data=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(USER, PASSWORD), "iam", "us-east-1").add_auth(request)
    reply = requests.post(server.url, data=form, headers=dict(request.headers), timeout=20)
    assert code_of(reply) == code, reply.text
    assert "gap" not in send(server, "iam", "ListUsers", {}).text


def test_parameters_in_the_address_are_refused(server):
    request = AWSRequest("POST", f"{server.url}/?DurationSeconds=900", data="Action=GetSessionToken",
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(USER, PASSWORD), "sts", "us-east-1").add_auth(request)
    reply = requests.post(request.url, data="Action=GetSessionToken", headers=dict(request.headers), timeout=20)
    assert (reply.status_code, code_of(reply)) == (400, "MalformedQueryString"), reply.text


def test_empty_values_say_nothing(server):
    reply = send(server, "iam", "CreateUser", {"UserName": "empty-user", "Tags": "", "PermissionsBoundary": ""})
    assert reply.status_code == 200, reply.text
