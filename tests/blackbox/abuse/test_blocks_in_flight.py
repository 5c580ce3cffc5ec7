"""What was blocked or denied stays so once that was answered, whatever was on its way: a change that was refused because something else
changed is decided on again, and so is what it depends on besides rights."""
import concurrent.futures
import io
import json
import socket
import tarfile
import threading
import time

import pytest
import requests
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import raw
from conftest import PASSWORD, USER
from people import allow, deny, document, service, user_with
from surfaces import ROOT, Surfaces

ROUNDS, SENDERS = 10, 16
ACCOUNT = "000000000000"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
SWITCHES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
POINT = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/team/object/*"


def public(resource):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}]})


def block_of(switch, is_on):
    return {name: is_on and name == switch for name in SWITCHES}


class World:
    def __init__(self, server):
        self.server, self.s3 = server, service(server, "s3", max_pool_connections=40)
        self.s3.create_bucket(Bucket="bkt", ObjectOwnership="ObjectWriter")
        self.s3.put_object(Bucket="bkt", Key="key", Body=b"")
        key = user_with(server, allow("s3:*"))
        self.eve = service(server, "s3", key, max_pool_connections=40)
        self.surfaces, self.eve_key = Surfaces(server), key

    def control(self, method, path, body="", surfaces=None, key=ROOT):
        return (surfaces or self.surfaces).send(key, "s3", method, f"/v20180820/{path}", body.encode(), {"x-amz-account-id": ACCOUNT})

    def until_done(self, change, *arguments, **parameters):
        """Against others who change the same, an administrator may have to try again."""
        for _ in range(50):
            try:
                answer = change(*arguments, **parameters)
                if getattr(answer, "status_code", 200) < 300:
                    return
            except ClientError as error:
                assert error.response["Error"]["Code"] in ("OperationAborted", "SlowDown"), error
        raise AssertionError("it could not be changed")

    # Blocks: each is set, or lifted.
    def bucket_block(self, switch, is_on):
        self.until_done(self.s3.put_public_access_block, Bucket="bkt", PublicAccessBlockConfiguration=block_of(switch, is_on))

    def account_block(self, switch, is_on):
        body = "".join(f"<{name}>{str(value).lower()}</{name}>" for name, value in block_of(switch, is_on).items())
        body = f"<PublicAccessBlockConfiguration {NAMESPACE}>{body}</PublicAccessBlockConfiguration>"
        self.until_done(self.control, "PUT", "configuration/publicAccessBlock", body)

    # What is blocked: it is sent, cleaned up by an administrator, and looked at.
    def send_policy(self):
        self.eve.put_bucket_policy(Bucket="bkt", Policy=public("arn:aws:s3:::bkt/*"))

    def clean_policy(self):
        self.until_done(self.s3.delete_bucket_policy, Bucket="bkt")

    def has_policy(self):
        try:
            return self.s3.get_bucket_policy_status(Bucket="bkt")["PolicyStatus"]["IsPublic"]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchBucketPolicy"
            return False

    def send_list(self):
        self.eve.put_bucket_acl(Bucket="bkt", ACL="public-read")

    def clean_list(self):
        self.until_done(self.s3.put_bucket_acl, Bucket="bkt", ACL="private")

    def has_list(self):
        return any("URI" in grant["Grantee"] for grant in self.s3.get_bucket_acl(Bucket="bkt")["Grants"])

    def send_object_list(self):
        self.eve.put_object_acl(Bucket="bkt", Key="key", ACL="public-read")

    def clean_object_list(self):
        self.until_done(self.s3.put_object_acl, Bucket="bkt", Key="key", ACL="private")

    def has_object_list(self):
        return any("URI" in grant["Grantee"] for grant in self.s3.get_object_acl(Bucket="bkt", Key="key")["Grants"])

    def send_point_policy(self):
        policy = public(POINT).replace('"', "&quot;")
        body = f"<PutAccessPointPolicyRequest {NAMESPACE}><Policy>{policy}</Policy></PutAccessPointPolicyRequest>"
        self.control("PUT", "accesspoint/team/policy", body, Surfaces(self.server), Credentials(*self.eve_key))

    def clean_point_policy(self):
        self.until_done(self.control, "DELETE", "accesspoint/team/policy")

    def has_point_policy(self):
        return "true" in self.control("GET", "accesspoint/team/policyStatus").text


CASES = {
    "bucket policy, block of the bucket": ("policy", "bucket_block", "BlockPublicPolicy"),
    "bucket policy, block of the account": ("policy", "account_block", "BlockPublicPolicy"),
    "bucket list, block of the bucket": ("list", "bucket_block", "BlockPublicAcls"),
    "bucket list, block of the account": ("list", "account_block", "BlockPublicAcls"),
    "object list, block of the bucket": ("object_list", "bucket_block", "BlockPublicAcls"),
    "access point policy, block of the account": ("point_policy", "account_block", "BlockPublicPolicy"),
    "access point policy, block of the bucket": ("point_policy", "bucket_block", "BlockPublicPolicy"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_on_its_way_does_not_get_past_a_block(start, case):
    what, block, switch = CASES[case]
    world = World(start("--bucket-defaults", "open"))
    if what == "point_policy":
        body = (f"<CreateAccessPointRequest {NAMESPACE}><Bucket>bkt</Bucket><PublicAccessBlockConfiguration><BlockPublicPolicy>false"
                "</BlockPublicPolicy></PublicAccessBlockConfiguration></CreateAccessPointRequest>")
        assert world.control("PUT", "accesspoint/team", body).status_code == 200
    send, clean, has = (getattr(world, f"{verb}_{what}") for verb in ("send", "clean", "has"))
    for _ in range(ROUNDS):
        getattr(world, block)(switch, False)
        has_ended, sent = threading.Event(), []

        def keep_sending():
            while not has_ended.is_set():
                try:
                    send()
                    sent.append(None)
                except ClientError as error:
                    sent.append(error.response["Error"]["Code"])

        with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
            running = [pool.submit(keep_sending) for _ in range(SENDERS)]
            time.sleep(0.25)
            getattr(world, block)(switch, True)
            clean()
            time.sleep(0.4)
            is_back = has()
            has_ended.set()
            [future.result() for future in running]
        assert None in sent and not is_back


def entry(name, acl=None):
    file = io.BytesIO()
    with_acl = {"minio.metadata.x-amz-acl": acl} if acl else {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = 70_000, with_acl
        archive.addfile(info, io.BytesIO(bytes(70_000)))
        length = archive.offset
    return file.getvalue()[:length]


@pytest.mark.parametrize("change", ["block", "encryption", "ownership"])
def test_an_entry_goes_by_what_its_bucket_says_when_it_comes(start, change):
    server = start("--bucket-defaults", "open")
    s3 = service(server, "s3")
    s3.create_bucket(Bucket="bkt", ObjectOwnership="ObjectWriter")
    first, second = entry("one", "public-read"), entry("two", None if change == "encryption" else "public-read")
    rest = second + bytes(10_240)
    head, _ = raw.Signer(USER, PASSWORD).headers("PUT", "/bkt/a.tar", f"127.0.0.1:{server.port}", "UNSIGNED-PAYLOAD",
                                                 extra={"x-amz-meta-snowball-auto-extract": "true"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        sock.sendall(f"PUT /bkt/a.tar HTTP/1.1\r\n{lines}content-length: {len(first + rest)}\r\n\r\n".encode() + first)
        deadline = time.monotonic() + 10
        while not s3.list_objects_v2(Bucket="bkt")["KeyCount"] and time.monotonic() < deadline:
            time.sleep(0.05)
        if change == "block":
            s3.put_public_access_block(Bucket="bkt", PublicAccessBlockConfiguration=block_of("BlockPublicAcls", True))
        elif change == "encryption":
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            s3.put_bucket_encryption(Bucket="bkt", ServerSideEncryptionConfiguration={"Rules": [rule]})
        else:
            s3.put_bucket_ownership_controls(Bucket="bkt", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
        sock.sendall(rest)
        answer = raw.read_answer(sock.makefile("rb"))
    assert requests.get(f"{server.url}/bkt/one", timeout=20).status_code == (403 if change == "ownership" else 200)
    if change == "encryption":
        assert answer.status == 200 and s3.head_object(Bucket="bkt", Key="two")["ServerSideEncryption"] == "AES256"
    else:
        assert answer.code == {"block": "AccessDenied", "ownership": "AccessControlListNotSupported"}[change]
        assert [found["Key"] for found in s3.list_objects_v2(Bucket="bkt")["Contents"]] == ["one"]


def test_the_owner_deletes_nothing_more_once_it_is_denied(start):
    """A bulk delete of the owner's key asks for no right while there is no policy: there may be one by the time it begins."""
    server = start()
    s3, other = service(server, "s3"), service(server, "s3")
    s3.create_bucket(Bucket="bkt")
    keys = [f"k{number:03}" for number in range(300)]
    objects = {"Objects": [{"Key": key} for key in keys]}
    for number in range(16):
        s3.delete_bucket_policy(Bucket="bkt")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket="bkt", Key=key, Body=b""), keys))
            deleting = pool.submit(other.delete_objects, Bucket="bkt", Delete=objects)
            time.sleep(0.0004 * (number % 4))
            s3.put_bucket_policy(Bucket="bkt", Policy=document({**deny("s3:DeleteObject", resource="arn:aws:s3:::bkt/*"), "Principal": "*"}))
            left = s3.list_objects_v2(Bucket="bkt")["KeyCount"]
            deleting.result()
        assert s3.list_objects_v2(Bucket="bkt")["KeyCount"] == left
