"""Keys of SSE-KMS: their administration, who may use them, and their providers."""
import base64
import http.server
import json
import os
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from Crypto.Cipher import AES
from minio import MinioAdmin
from minio.credentials import StaticProvider

from conftest import PASSWORD, USER, drystone
from test_encryption import KMS, code_of

BODY = b"sealed under a key " * 5000
ROOT = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}


def kms(server, *arguments):
    done = drystone("kms", *arguments, "--at", server.directory, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def keys(server):
    return {key["id"]: key for key in kms(server, "list")["kms-keys"]}


def put(s3, key, name=None, **arguments):
    more = {"SSEKMSKeyId": name} if name else {}
    return s3.put_object(Bucket="bucket", Key=key, Body=BODY, **KMS, **more, **arguments)


def got(s3, key):
    return s3.get_object(Bucket="bucket", Key=key)["Body"].read()


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket="bucket")
    return server


def test_keys_by_all_their_names(server):
    s3 = server.client()
    made = kms(server, "add", "datasets", "--description", "for data")["kms-keys"][0]
    kms(server, "alias", "alias/data", "datasets")
    chosen = kms(server, "add")["kms-keys"][0]["id"]
    assert len(chosen) == 36 and made["arn"] == "arn:aws:kms:us-east-1:000000000000:key/datasets"
    for number, name in enumerate(["datasets", "alias/data", made["arn"], "arn:aws:kms:us-east-1:000000000000:alias/data",
                                   "arn:minio:kms:::datasets"]):
        answer = put(s3, f"k{number}", name)
        assert answer["SSEKMSKeyId"] == made["arn"] and got(s3, f"k{number}") == BODY
    # Without a name there is a default key, which is made when it is first needed.
    assert put(s3, "default")["SSEKMSKeyId"].endswith("key/aws-s3")
    listed = keys(server)
    assert listed["datasets"]["aliases"] == ["alias/data"] and listed["aws-s3"]["is_default"]
    assert put(s3, "default2", "alias/aws/s3")["SSEKMSKeyId"].endswith("key/aws-s3")
    # An alias that points elsewhere changes what is written, not what was.
    kms(server, "alias", "alias/data", chosen)
    assert put(s3, "k9", "alias/data")["SSEKMSKeyId"].endswith(chosen) and got(s3, "k1") == BODY
    kms(server, "unalias", "alias/data")
    assert code_of(put, s3=s3, key="k", name="alias/data") == "KMS.NotFoundException"
    readable = drystone("kms", "list", "--at", server.directory).stdout
    assert "datasets" in readable and "for data" in readable and "(default)" in readable
    for wrong in (["add", "a/b"], ["add", "datasets"], ["alias", "data", "datasets"], ["alias", "alias/aws/x", "datasets"],
                  ["alias", "alias/x", "missing"], ["disable", "missing"], ["unalias", "alias/none"]):
        assert drystone("kms", *wrong, "--at", server.directory).returncode == 1, wrong


def test_a_disabled_key_opens_nothing_at_once(server):
    s3 = server.client()
    kms(server, "add", "k")
    put(s3, "direct", "k")
    put(s3, "bucket-key", "k", BucketKeyEnabled=True)
    s3.put_object(Bucket="bucket", Key="other", Body=BODY, **KMS)
    upload = s3.create_multipart_upload(Bucket="bucket", Key="m", SSEKMSKeyId="k", **KMS)["UploadId"]
    assert got(s3, "direct") == got(s3, "bucket-key") == BODY
    kms(server, "disable", "k")
    for key in ("direct", "bucket-key"):
        assert code_of(s3.get_object, Bucket="bucket", Key=key) == "KMS.DisabledException"
        # What is known without the key is still told.
        assert s3.head_object(Bucket="bucket", Key=key)["ContentLength"] == len(BODY)
        assert code_of(s3.head_object, Bucket="bucket", Key=key, ChecksumMode="ENABLED") == "400"
        assert code_of(s3.copy_object, Bucket="bucket", Key="t", CopySource=f"bucket/{key}") == "KMS.DisabledException"
    assert code_of(put, s3=s3, key="new", name="k") == "KMS.DisabledException"
    assert code_of(s3.upload_part, Bucket="bucket", Key="m", UploadId=upload, PartNumber=1, Body=b"x") == "KMS.DisabledException"
    assert code_of(s3.get_object, Bucket="bucket", Key="other") == "done"
    assert "new" not in [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    kms(server, "enable", "k")
    assert got(s3, "direct") == got(s3, "bucket-key") == BODY


def test_a_rotated_key_opens_what_it_sealed_before(server, start):
    s3 = server.client()
    kms(server, "add", "k")
    put(s3, "first", "k")
    put(s3, "first-bucket-key", "k", BucketKeyEnabled=True)
    assert kms(server, "rotate", "k")["kms-keys"][0]["versions"] == 2
    put(s3, "second", "k")
    put(s3, "second-bucket-key", "k", BucketKeyEnabled=True)
    server.kill()
    s3 = start().client()
    for key in ("first", "second", "first-bucket-key", "second-bucket-key"):
        assert got(s3, key) == BODY, key


def test_an_encryption_context_is_part_of_the_seal(server):
    s3 = server.client()
    context = base64.b64encode(json.dumps({"run": "7", "team": "ml"}).encode()).decode()
    put(s3, "k", SSEKMSEncryptionContext=context, BucketKeyEnabled=True)
    assert got(s3, "k") == BODY
    s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/k", SSEKMSEncryptionContext=context, **KMS)
    assert got(s3, "copy") == BODY


def user(server, name, policy):
    """A user with these statements, as an S3 client."""
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName=name)
    statements = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, *policy]
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))


def test_who_may_use_which_key(server):
    owner = server.client()
    for key in ("mine", "other"):
        kms(server, "add", key)
        put(owner, f"by-{key}", key)
    put(owner, "by-default")
    owner.put_object(Bucket="bucket", Key="s3", Body=BODY, ServerSideEncryption="AES256")
    arn = "arn:aws:kms:us-east-1:000000000000:key/mine"
    plain = user(server, "plain", [])
    writer = user(server, "writer", [{"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": arn}])
    reader = user(server, "reader", [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:minio:kms:::mine"}])
    denied = user(server, "denied", [{"Effect": "Deny", "Action": "kms:*", "Resource": "*"}])
    refused, done = "AccessDenied", "done"
    for s3, name, puts, gets in [
        (plain, "mine", refused, refused), (plain, "default", done, done),
        (writer, "mine", done, refused), (writer, "other", refused, refused), (writer, "default", done, done),
        (reader, "mine", refused, done), (reader, "other", refused, refused), (reader, "default", done, done),
        (denied, "default", refused, refused), (denied, "mine", refused, refused),
    ]:
        key = None if name == "default" else name
        assert code_of(put, s3=s3, key=f"new-{name}", name=key) == puts, (name, puts)
        assert code_of(s3.get_object, Bucket="bucket", Key=f"by-{name}") == gets, (name, gets)
        assert code_of(s3.copy_object, Bucket="bucket", Key="t", CopySource=f"bucket/by-{name}") == gets
        assert code_of(s3.create_multipart_upload, Bucket="bucket", Key="m", **KMS, **({"SSEKMSKeyId": key} if key else {})) == puts
        assert code_of(s3.head_object, Bucket="bucket", Key=f"by-{name}") == done
    # SSE-S3 asks for no key; no one without a name uses one.
    assert code_of(denied.get_object, Bucket="bucket", Key="s3") == done
    owner.put_public_access_block(Bucket="bucket", PublicAccessBlockConfiguration={"BlockPublicPolicy": False})
    owner.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}]}))
    nobody = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version=__import__("botocore").UNSIGNED))
    assert code_of(nobody.get_object, Bucket="bucket", Key="s3") == done
    assert code_of(nobody.get_object, Bucket="bucket", Key="by-default") == refused
    # The bucket's default is decided as what a request says itself.
    owner.put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration={"Rules": [{
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "mine"}}]})
    assert code_of(plain.put_object, Bucket="bucket", Key="d", Body=b"x") == refused
    assert code_of(writer.put_object, Bucket="bucket", Key="d", Body=b"x") == done


def test_the_key_of_a_setting(start):
    given = base64.b64encode(os.urandom(32)).decode()
    server = start(env={**ROOT, "MINIO_KMS_SECRET_KEY": f"my-minio-key:{given}"})
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    assert put(s3, "k")["SSEKMSKeyId"].endswith("key/my-minio-key")
    assert keys(server)["my-minio-key"]["provider"] == "static"
    assert drystone("kms", "rotate", "my-minio-key", "--at", server.directory).returncode == 1
    kms(server, "disable", "my-minio-key")
    assert code_of(s3.get_object, Bucket="bucket", Key="k") == "KMS.DisabledException"
    kms(server, "enable", "my-minio-key")
    server.stop()
    # Without the setting, or with another key of this name, the object does not open.
    server = start()
    assert code_of(server.client().get_object, Bucket="bucket", Key="k") == "KMS.NotFoundException"
    server.stop()
    other = base64.b64encode(os.urandom(32)).decode()
    server = start(env={**ROOT, "MINIO_KMS_SECRET_KEY": f"my-minio-key:{other}"})
    with pytest.raises(ClientError) as error:
        got(server.client(), "k")
    assert "my-minio-key" in error.value.response["Error"]["Message"]


def test_a_setting_that_is_no_key_is_refused_without_being_shown(start):
    server = start(env={**ROOT, "MINIO_KMS_SECRET_KEY": "name:c2hvcnQ="}, wait=False)
    assert server.process.wait(timeout=20) != 0
    message = server.process.stderr.read()
    assert "KMS_SECRET_KEY" in message and "c2hvcnQ=" not in message


class Transit(http.server.BaseHTTPRequestHandler):
    """What Vault's transit engine answers, with real seals that are bound to their associated data."""

    token, keys, calls = "vault-token", {}, []

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        *_, mount, verb, name = ["", *self.path.removeprefix("/v1/").removesuffix("/rotate").split("/")]
        self.calls.append(verb)
        if self.headers["x-vault-token"] != self.token or mount != "transit":
            return self.answer(403, {"errors": ["permission denied"]})
        if verb == "keys":
            known = self.keys.setdefault(name, [])
            if self.path.endswith("/rotate") or not known:
                known.append(os.urandom(32))
            return self.answer(204, None)
        if name not in self.keys:
            return self.answer(400, {"errors": ["encryption key not found"]})
        data = base64.b64decode(body["associated_data"])
        if verb == "encrypt":
            cipher = AES.new(self.keys[name][-1], AES.MODE_GCM, nonce=os.urandom(12)).update(data)
            body, tag = cipher.encrypt_and_digest(base64.b64decode(body["plaintext"]))
            sealed, version = cipher.nonce + body + tag, len(self.keys[name])
            return self.answer(200, {"data": {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}"}})
        _, version, text = body["ciphertext"].split(":")
        sealed = base64.b64decode(text)
        try:
            cipher = AES.new(self.keys[name][int(version[1:]) - 1], AES.MODE_GCM, nonce=sealed[:12]).update(data)
            plain = cipher.decrypt_and_verify(sealed[12:-16], sealed[-16:])
        except ValueError:
            return self.answer(400, {"errors": ["cipher: message authentication failed"]})
        return self.answer(200, {"data": {"plaintext": base64.b64encode(plain).decode()}})

    def answer(self, status, body):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def transit():
    Transit.token, Transit.keys, Transit.calls = "vault-token", {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Transit)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_keys_in_vault(start, transit):
    env = {**ROOT, "DRYSTONE_VAULT_TOKEN": "vault-token"}
    server = start("--vault-url", transit, env=env)
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    kms(server, "add", "remote")
    assert keys(server)["remote"]["provider"] == "vault" and list(Transit.keys) == ["remote"]
    put(s3, "direct", "remote")
    put(s3, "layered", "remote", BucketKeyEnabled=True)
    kms(server, "rotate", "remote")
    put(s3, "rotated", "remote")
    server.kill()
    server = start("--vault-url", transit, env=env)
    s3 = server.client()
    assert got(s3, "direct") == got(s3, "layered") == got(s3, "rotated") == BODY
    # A key of the bucket asks Vault once for many objects.
    Transit.calls.clear()
    for number in range(20):
        put(s3, f"many{number}", "remote", BucketKeyEnabled=True)
    assert Transit.calls == ["encrypt"]
    # Vault takes its token back: within seconds nothing opens any more.
    Transit.token = "another"
    assert code_of(s3.get_object, Bucket="bucket", Key="direct") == "ServiceUnavailable"
    deadline = time.monotonic() + 15
    while code_of(s3.get_object, Bucket="bucket", Key="layered") == "done":
        assert time.monotonic() < deadline, "a remembered key of the bucket is used for too long"
        time.sleep(0.2)
    with pytest.raises(ClientError) as error:
        put(s3, "new", "remote")
    told = error.value.response["Error"]
    assert told["Code"] == "ServiceUnavailable" and "remote" in told["Message"] and "permission denied" in told["Message"]
    Transit.token = "vault-token"
    assert got(s3, "direct") == got(s3, "layered") == BODY


def test_the_tool_of_minio_makes_keys(server):
    admin = MinioAdmin(endpoint=f"127.0.0.1:{server.port}", credentials=StaticProvider(USER, PASSWORD), secure=False)
    admin.kms_key_create("from-minio")
    assert json.loads(admin.kms_key_status("from-minio"))["key-id"] == "from-minio"
    assert "from-minio" in keys(server)
    put(server.client(), "k", "from-minio")
    with pytest.raises(Exception, match="XMinioKMSKeyNotFound"):
        admin.kms_key_status("none")
