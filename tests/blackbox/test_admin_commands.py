"""`drystone user|group|policy|key|role|account|explain` over the server's unix socket, as the README shows them."""
import json
import os
import stat
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import BINARY, Server

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
READ = {"Version": "2012-10-17", "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
    {"Sid": "NoSecrets", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::shop/secret/*"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("commands") / "drive").wait_ready()
    server.client().create_bucket(Bucket="shop")
    yield server
    server.stop()


@pytest.fixture
def run(server):
    def call(*arguments, stdin="", code=0, at=None):
        done = subprocess.run([BINARY, *arguments, "--at", str(at or server.directory)], input=stdin, text=True,
                              capture_output=True, timeout=30, env={"PATH": os.environ["PATH"]})
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr
    return call


def made_key(text):
    lines = dict(line.split("  ", 1) for line in text.splitlines() if line.startswith(("Access", "Secret")))
    return lines["Access key"].strip(), lines["Secret key"].strip()


def s3_of(server, access, secret):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret)


def test_a_user_from_nothing_to_gone(server, run):
    run("user", "add", "anna")
    run("policy", "set", "read-shop", "-", stdin=json.dumps(READ))
    assert run("policy", "attach", "read-shop", "--user", "anna") == "changed: read-shop\n"
    assert run("policy", "attach", "read-shop", "--user", "anna") == "nothing to change\n"
    access, secret = made_key(run("key", "add", "--user", "anna", "--description", "laptop"))
    assert access in run("key", "list", "--user", "anna") and "laptop" in run("key", "list", "--user", "anna")
    server.client().put_object(Bucket="shop", Key="k", Body=b"1")
    s3 = s3_of(server, access, secret)
    assert s3.get_object(Bucket="shop", Key="k")["Body"].read() == b"1"
    users = json.loads(run("user", "list", "--json"))["users"]
    assert [(u["name"], u["policies"]) for u in users] == [("anna", ["read-shop"])]
    assert json.loads(run("policy", "info", "read-shop")) == READ
    assert "attached to entities" in run("policy", "remove", "read-shop", code=1)
    run("key", "disable", access)
    with pytest.raises(ClientError):
        s3.get_object(Bucket="shop", Key="k")
    run("key", "enable", access)
    s3.get_object(Bucket="shop", Key="k")
    run("user", "remove", "anna")
    run("policy", "remove", "read-shop")
    assert run("user", "list") == "none\n"
    assert "cannot be found" in run("user", "info", "anna", code=1)


def test_refusals_are_explained_to_the_administrator_only(server, run):
    run("user", "add", "bob")
    run("policy", "set", "read-shop", "-", stdin=json.dumps(READ))
    run("policy", "attach", "read-shop", "--user", "bob")
    s3 = s3_of(server, *made_key(run("key", "add", "--user", "bob")))
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="shop", Key="secret/plan")
    answer = caught.value.response
    assert answer["Error"]["Message"] == "Access Denied" and "read-shop" not in str(answer)
    text = run("explain", answer["ResponseMetadata"]["RequestId"])
    assert "user/bob" in text and "s3:GetObject" in text and "arn:aws:s3:::shop/secret/plan" in text
    assert "a statement denies it" in text and "read-shop, statement 1 (NoSecrets)" in text
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="shop", Key="k", Body=b"")
    refusal = json.loads(run("explain", caught.value.response["ResponseMetadata"]["RequestId"], "--json"))["refusals"][0]
    assert (refusal["action"], refusal["reason"], refusal["policy"]) == ("s3:PutObject", "no statement allows it", None)
    assert "no refusal" in run("explain", "0000000000000000", code=1)
    run("user", "remove", "bob")


def test_groups_roles_and_secrets_from_files(server, run, tmp_path):
    run("user", "add", "cleo")
    run("group", "add", "team")
    run("group", "join", "team", "cleo")
    run("policy", "attach", "readwrite", "--group", "team")
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-her-own\n", encoding="utf-8")
    run("key", "add", "--user", "cleo", "--access-key", "cleo-key", "--secret-file", str(secret))
    s3_of(server, "cleo-key", "a-secret-of-her-own").put_object(Bucket="shop", Key="c", Body=b"")
    assert "already exists" in run("key", "add", "--user", "cleo", "--access-key", "cleo-key", code=1)
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(TRUST), encoding="utf-8")
    run("role", "set", "trainer", str(trust))
    run("policy", "attach", "readonly", "--role", "trainer")
    assert "arn:aws:iam::000000000000:role/trainer" in run("role", "list")
    sts = boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="cleo-key",
                       aws_secret_access_key="a-secret-of-her-own")
    sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/trainer", RoleSessionName="cleo")
    session = sts.get_session_token()["Credentials"]
    after = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=session["AccessKeyId"],
                         aws_secret_access_key=session["SecretAccessKey"], aws_session_token=session["SessionToken"])
    after.list_buckets()
    run("key", "rotate-signing")
    after.list_buckets()
    run("user", "end-sessions", "cleo")
    with pytest.raises(ClientError, match="InvalidToken"):
        after.list_buckets()
    assert "must remove users" in run("group", "remove", "team", code=1)
    run("group", "leave", "team", "cleo")
    run("group", "remove", "team")
    run("policy", "detach", "readonly", "--role", "trainer")
    run("role", "remove", "trainer")
    run("user", "remove", "cleo")


def test_accounts_keep_apart(server, run):
    access, secret = made_key(run("account", "add", "111122223333", "other"))
    other = s3_of(server, access, secret)
    assert other.list_buckets()["Buckets"] == []
    for call in (lambda: other.list_objects_v2(Bucket="shop"), lambda: other.delete_bucket(Bucket="shop"),
                 lambda: other.put_bucket_policy(Bucket="shop", Policy="{}")):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
    with pytest.raises(ClientError, match="BucketAlreadyExists"):
        other.create_bucket(Bucket="shop")
    other.create_bucket(Bucket="theirs")
    mine = server.client()
    assert "theirs" not in [b["Name"] for b in mine.list_buckets()["Buckets"]]
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.list_objects_v2(Bucket="theirs")
    # Both sides must allow; the account's owner is the identity side by himself.
    other.put_bucket_policy(Bucket="theirs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::theirs"}]}))
    mine.list_objects_v2(Bucket="theirs")
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.put_object(Bucket="theirs", Key="k", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.list_objects_v2(Bucket="theirs", ExpectedBucketOwner="000000000000")
    mine.list_objects_v2(Bucket="theirs", ExpectedBucketOwner="111122223333")
    # The owner of another account is no administrator of the server.
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                       aws_secret_access_key=secret)
    assert iam.get_user()["User"]["Arn"] == "arn:aws:iam::111122223333:root"
    iam.create_user(UserName="theirs")
    assert run("user", "list") == "none\n"
    assert "111122223333" in run("account", "list")
    other.delete_bucket(Bucket="theirs")


def test_the_socket_is_for_this_user_only_and_needs_a_server(server, run, tmp_path):
    path = server.directory / "admin.sock"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "no server answers" in run("user", "list", code=1, at=tmp_path)
    if os.geteuid() == 0:
        os.chmod(path, 0o777)
        for parent in path.parents:
            if str(parent).startswith("/tmp/") and os.stat(parent).st_uid == 0:
                os.chmod(parent, 0o755)
        done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", BINARY, "user", "list", "--at",
                               str(server.directory)], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and "USER" not in done.stdout
        os.chmod(path, 0o600)
