"""MinIO's admin API through its own Python client: encrypted bodies, users, groups, policies, service accounts."""
import json
import socket

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException

from conftest import PASSWORD, USER, Server

ALLOW_ALL = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}


def policy(tmp_path, *statements):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("admin") / "drive").wait_ready()
    server.client().create_bucket(Bucket="data")
    yield server
    server.stop()


def admin_of(server, access=USER, secret=PASSWORD, token=None):
    return MinioAdmin(endpoint=f"127.0.0.1:{server.port}", credentials=StaticProvider(access, secret, token), secure=False)


@pytest.fixture
def admin(server):
    return admin_of(server)


def s3_of(server, access, secret, token=None):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, aws_session_token=token)


def refused(code, call, *arguments, **parameters):
    with pytest.raises((MinioAdminException, ClientError)) as caught:
        call(*arguments, **parameters)
    assert code in str(caught.value) + str(getattr(caught.value, "_body", "")), caught.value


def test_a_user_is_a_name_with_a_password(server, admin):
    admin.user_add("alice", "alice-password")
    assert json.loads(admin.user_info("alice"))["status"] == "enabled"
    assert "alice" in json.loads(admin.user_list())
    s3 = s3_of(server, "alice", "alice-password")
    refused("AccessDenied", s3.list_objects_v2, Bucket="data")
    admin.attach_policy(["readwrite"], user="alice")
    s3.put_object(Bucket="data", Key="k", Body=b"")
    refused("XMinioAdminPolicyChangeAlreadyApplied", admin.attach_policy, ["readwrite"], user="alice")
    admin.user_disable("alice")
    refused("InvalidAccessKeyId", s3.list_objects_v2, Bucket="data")
    admin.user_enable("alice")
    admin.user_add("alice", "another-password")
    refused("SignatureDoesNotMatch", s3.list_objects_v2, Bucket="data")
    s3_of(server, "alice", "another-password").list_objects_v2(Bucket="data")
    assert json.loads(admin.user_info("alice"))["policyName"] == "readwrite"
    admin.detach_policy(["readwrite"], user="alice")
    admin.user_remove("alice")
    refused("XMinioAdminNoSuchUser", admin.user_info, "alice")
    refused("InvalidAccessKeyId", s3_of(server, "alice", "another-password").list_buckets)


@pytest.mark.parametrize("name, secret, code", [
    ("ab", "long-enough", "XMinioAdminInvalidArgument"), ("a,b", "long-enough", "XMinioAdminInvalidArgument"),
    (USER, "long-enough", "XMinioAdminInvalidArgument"), ("bob", "short", "XMinioAdminInvalidArgument")])
def test_bad_users_are_refused_whole(admin, name, secret, code):
    refused(code, admin.user_add, name, secret)
    assert name not in json.loads(admin.user_list())


def test_groups(server, admin):
    admin.user_add("carl", "carl-password")
    admin.group_add("readers", ["carl"])
    refused("XMinioAdminNoSuchUser", admin.group_add, "readers", ["nobody"])
    admin.policy_set("readonly", group="readers")
    info = json.loads(admin.group_info("readers"))
    assert (info["members"], info["policy"], info["status"]) == (["carl"], "readonly", "enabled")
    s3 = s3_of(server, "carl", "carl-password")
    s3.get_bucket_location(Bucket="data")
    admin.group_disable("readers")
    refused("AccessDenied", s3.get_bucket_location, Bucket="data")
    admin.group_enable("readers")
    assert json.loads(admin.group_list()) == ["readers"]
    entities = json.loads(admin.get_policy_entities([], [], ["readonly"]))
    assert entities["policyMappings"][0]["groups"] == ["readers"]
    refused("XMinioAdminGroupNotEmpty", admin.group_remove, "readers")
    admin.group_remove("readers", ["carl"])
    admin.group_remove("readers")
    admin.user_remove("carl")


def test_policies(admin, tmp_path):
    admin.policy_add("mine", policy(tmp_path, ALLOW_ALL))
    assert json.loads(admin.policy_info("mine"))["Statement"] == [ALLOW_ALL]
    admin.policy_add("mine", policy(tmp_path, {**ALLOW_ALL, "Effect": "Deny"}))
    assert json.loads(admin.policy_info("mine"))["Statement"][0]["Effect"] == "Deny"
    assert {"mine", "readonly", "consoleAdmin"} <= set(json.loads(admin.policy_list()))
    refused("XMinioAdminInvalidArgument", admin.policy_add, "readonly", policy(tmp_path, ALLOW_ALL))
    refused("XMinioMalformedIAMPolicy", admin.policy_add, "bad", policy(tmp_path, {"Effect": "Maybe"}))
    admin.user_add("dana", "dana-password")
    admin.attach_policy(["mine"], user="dana")
    refused("XMinioAdminPolicyInUse", admin.policy_remove, "mine")
    admin.user_remove("dana")
    admin.policy_remove("mine")
    refused("XMinioAdminNoSuchPolicy", admin.policy_info, "mine")


def test_service_accounts_narrow_and_die_with_their_parent(server, admin, tmp_path):
    admin.user_add("erik", "erik-password")
    admin.attach_policy(["readwrite"], user="erik")
    own = admin_of(server, "erik", "erik-password")
    narrow = policy(tmp_path, {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::data/*"]})
    made = json.loads(own.add_service_account(policy_file=narrow, name="reader", description="reads"))["credentials"]
    s3_of(server, "erik", "erik-password").put_object(Bucket="data", Key="k", Body=b"1")
    s3 = s3_of(server, made["accessKey"], made["secretKey"])
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"1"
    refused("AccessDenied", s3.put_object, Bucket="data", Key="k", Body=b"2")
    info = json.loads(own.get_service_account(made["accessKey"]))
    assert (info["parentUser"], info["impliedPolicy"], info["name"]) == ("erik", False, "reader")
    assert [a["accessKey"] for a in json.loads(own.list_service_account("erik"))["accounts"]] == [made["accessKey"]]
    # A key with a policy widens neither itself nor others; other users' keys are not for him.
    of_key = admin_of(server, made["accessKey"], made["secretKey"])
    refused("AccessDenied", of_key.add_service_account)
    refused("AccessDenied", of_key.update_service_account, access_key=made["accessKey"], description="x")
    refused("AccessDenied", own.list_service_account, USER)
    own.update_service_account(access_key=made["accessKey"], status="off")
    refused("InvalidAccessKeyId", s3.get_object, Bucket="data", Key="k")
    own.update_service_account(access_key=made["accessKey"], status="on", secret_key="a-new-secret-key")
    s3_of(server, made["accessKey"], "a-new-secret-key").get_object(Bucket="data", Key="k")
    refused("XMinioAdminInvalidArgument", own.add_service_account, expiration="2001-01-01T00:00:00.000Z")
    admin.user_remove("erik")
    refused("InvalidAccessKeyId", s3_of(server, made["accessKey"], "a-new-secret-key").get_object, Bucket="data", Key="k")
    refused("XMinioAdminNoSuchAccessKey", admin.get_service_account, made["accessKey"])


def test_rights_are_per_action(server, admin, tmp_path):
    admin.user_add("fay", "fay-password")
    admin.policy_add("lister", policy(tmp_path, {"Effect": "Allow", "Action": ["admin:ListUsers", "admin:ServerInfo"]}))
    admin.attach_policy(["lister"], user="fay")
    fay = admin_of(server, "fay", "fay-password")
    assert "fay" in json.loads(fay.user_list())
    assert json.loads(fay.info())["mode"] == "online"
    for call, arguments in ((fay.user_add, ("gil", "gil-password")), (fay.user_remove, ("fay",)), (fay.policy_list, ()),
                            (fay.attach_policy, (["consoleAdmin"], "fay")), (fay.group_list, ()), (fay.get_data_usage_info, ())):
        refused("AccessDenied", call, *arguments)
    # Everybody may change his own password, and by that nothing else.
    fay.user_add("fay", "fay-password-2")
    fay = admin_of(server, "fay", "fay-password-2")
    fay.user_list()
    admin.attach_policy(["consoleAdmin"], user="fay")
    fay.user_add("gil", "gil-password")
    fay.user_remove("gil")
    admin.user_remove("fay")
    admin.policy_remove("lister")


def test_info_counts_what_is_there(server, admin):
    info = json.loads(admin.info())
    assert info["buckets"]["count"] == 1 and info["servers"][0]["drives"][0]["state"] == "ok"
    usage = json.loads(admin.get_data_usage_info())
    assert usage["bucketsCount"] == 1 and usage["bucketsUsageInfo"]["data"]["objectsCount"] == usage["objectsCount"]


def signed(server, method, path, body=b"", secret=PASSWORD):
    request = AWSRequest(method, f"{server.url}{path}", data=body)
    request.headers["x-amz-content-sha256"] = __import__("hashlib").sha256(body).hexdigest()
    SigV4Auth(Credentials(USER, secret), "s3", "eu-anywhere-1").add_auth(request)
    return requests.request(method, request.url, data=body, headers=dict(request.headers), timeout=10)


def test_what_is_not_there_says_so_and_broken_bodies_are_refused(server):
    reply = signed(server, "POST", "/minio/admin/v3/heal/data")
    assert (reply.status_code, reply.json()["Code"]) == (426, "XMinioAdminVersionMismatch")
    for body in (b"", b"not sealed", b"\0" * 60, bytes(range(32)) + b"\1" + b"x" * 40):
        reply = signed(server, "PUT", "/minio/admin/v3/add-user?accessKey=someone", body)
        assert (reply.status_code, reply.json()["Code"]) == (400, "XMinioAdminConfigBadJSON"), body
    assert signed(server, "GET", "/minio/admin/v3/list-users", secret="wrong").status_code == 403
    assert requests.get(f"{server.url}/minio/admin/v3/list-users", timeout=10).status_code == 403
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"PUT /minio/admin/v3/add-user HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert b" 400 " in raw.recv(200) or b" 403 " in raw.recv(200)
