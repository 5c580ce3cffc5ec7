"""A request that means one change makes one commit, so that the end of the process never leaves half of it. Each request of
a walk over all surfaces is sent to a server that does nothing else, and its flushes are counted: a commit makes one."""
import json
import re

import pytest
import requests

from conftest import PASSWORD, USER, Server
from surfaces import ROOT, Surfaces, document
from test_bucket_documents import KINDS

BUCKET = "bkt"
TRUST = document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
ALLOW = document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
POLICY = document({"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/x"})
LOCATION = b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>"
TAGS = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "a"}
OBJECT_TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
VERSIONS = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
ARN = "arn:aws:iam::000000000000:policy/held"


def s3(method, path, data=b"", headers=None):
    return lambda surfaces, n: surfaces.send(
        ROOT, "s3", method, path.format(n=n), data, {k: v.format(n=n) for k, v in (headers or {}).items()})


def iam(action, **parameters):
    return lambda surfaces, n: surfaces.query(ROOT, action, **{k: v.format(n=n) if "{n}" in v else v for k, v in parameters.items()})


def minio(method, operation, body=None, **parameters):
    def send(surfaces, n):
        text = json.dumps(body).replace("@n", str(n)).encode() if body else None
        return surfaces.minio(ROOT, method, operation, text, **{k: v.replace("@n", str(n)) for k, v in parameters.items()})
    return send


def own(op, **fields):
    return lambda surfaces, n: surfaces.api(ROOT, op, **json.loads(json.dumps(fields).replace("@n", str(n))))


def put_document(query, root, content):
    # What is replicated needs versions.
    bucket = "versions" if query == "replication" else BUCKET
    return s3("PUT", f"/{bucket}?{query}", f"<{root}>{content}</{root}>".encode())


#: Each may be sent several times, with another number.
REQUESTS = {
    "CreateBucket": s3("PUT", "/plain-{n}"),
    "CreateBucket with everything": s3("PUT", "/full-{n}", LOCATION, {
        "x-drystone-appends": "true", "x-amz-object-ownership": "ObjectWriter", "x-amz-acl": "public-read"}),
    "CreateBucket with a lock": s3("PUT", "/lock-{n}", LOCATION, {"x-amz-bucket-object-lock-enabled": "true"}),
    "PutBucketLifecycle with a size": s3("PUT", f"/{BUCKET}?lifecycle",
                                         b"<LifecycleConfiguration><Rule><Prefix/><Status>Enabled</Status><Expiration><Days>1</Days>"
                                         b"</Expiration></Rule></LifecycleConfiguration>",
                                         {"x-amz-transition-default-minimum-object-size": "varies_by_storage_class"}),
    "PutBucketPolicy": s3("PUT", f"/{BUCKET}?policy", POLICY.encode()),
    "PutBucketTagging": s3("PUT", f"/{BUCKET}?tagging", OBJECT_TAGS),
    "PutBucketVersioning": s3("PUT", "/versions?versioning", VERSIONS),
    "PutObject": s3("PUT", f"/{BUCKET}/o{{n}}", b"x", {"x-amz-tagging": "a=b", "x-amz-acl": "public-read"}),
    "PutObjectTagging": s3("PUT", f"/{BUCKET}/o?tagging", OBJECT_TAGS),
    "CopyObject": s3("PUT", f"/{BUCKET}/c{{n}}", b"", {"x-amz-copy-source": f"/{BUCKET}/o"}),
    "RenameObject": s3("PUT", f"/{BUCKET}/r{{n}}?renameObject", b"", {"x-amz-rename-source": "o{n}"}),
    "DeleteObject": s3("DELETE", f"/{BUCKET}/c{{n}}"),
    "CreateUser": iam("CreateUser", UserName="u{n}", Path="/p/", PermissionsBoundary=ARN, **TAGS),
    "CreateGroup": iam("CreateGroup", GroupName="g{n}", Path="/p/"),
    "CreateRole": iam("CreateRole", RoleName="r{n}", AssumeRolePolicyDocument=TRUST, PermissionsBoundary=ARN, **TAGS),
    "CreatePolicy": iam("CreatePolicy", PolicyName="p{n}", PolicyDocument=ALLOW, Description="of a test", **TAGS),
    "CreatePolicyVersion": iam("CreatePolicyVersion", PolicyArn=ARN, PolicyDocument=ALLOW, SetAsDefault="true"),
    "PutUserPolicy": iam("PutUserPolicy", UserName="holder", PolicyName="p{n}", PolicyDocument=ALLOW),
    "AttachUserPolicy": iam("AttachUserPolicy", UserName="u{n}", PolicyArn=ARN),
    "AddUserToGroup": iam("AddUserToGroup", UserName="u{n}", GroupName="g{n}"),
    "CreateAccessKey": iam("CreateAccessKey", UserName="u{n}"),
    "DeleteRole": iam("DeleteRole", RoleName="r{n}"),
    "add-user": minio("PUT", "add-user", {"secretKey": "secret-of-@n", "status": "enabled", "policy": "readonly"}, accessKey="minio-@n"),
    "update-group-members": minio("PUT", "update-group-members", {"group": "made-@n", "members": ["holder"], "isRemove": False}),
    "add-canned-policy": minio("PUT", "add-canned-policy", json.loads(ALLOW), name="canned-@n"),
    "set-user-or-group-policy": minio("PUT", "set-user-or-group-policy", None, policyName="readonly,readwrite",
                                      userOrGroup="minio-@n", isGroup="false"),
    "user-add": own("user-add", name="own-@n"),
    "group-add": own("group-add", name="own-@n"),
    "group-members": own("group-members", name="own-@n", users=["own-@n", "holder"], add=True),
    "role-set": own("role-set", name="own-@n", trust=TRUST),
    "kms-key-add": own("kms-add", key="key-@n", description="of a test"),
    "account-add": own("account-add", id="44444444444@n", name="account-@n"),
}
REQUESTS |= {f"document {query.split('&')[0]}": put_document(query, root, content)
             for query, root, content, _ in KINDS if query != "acl" and content}


def flushes(server):
    text = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=10).text
    return sum(int(float(count)) for count in re.findall(r"^drystone_drive_flushes_total(?:\{[^}]*\})? (\S+)", text, re.M))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("one-commit") / "drive", env={
        "DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_PROMETHEUS_AUTH_TYPE": "public"}).wait_ready()
    surfaces = Surfaces(server)
    for bucket in (BUCKET, "versions"):
        assert surfaces.s3(ROOT, "PUT", f"/{bucket}").status_code == 200
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/o", b"x").status_code == 200
    surfaces.root("CreateUser", UserName="holder")
    surfaces.root("CreatePolicy", PolicyName="held", PolicyDocument=ALLOW)
    yield server, surfaces
    server.stop()


def test_one_change_is_one_commit(world):
    server, surfaces = world
    wrong = {}
    for name, send in REQUESTS.items():
        counts = []
        for number in range(4):
            before = flushes(server)
            answer = send(surfaces, number)
            if answer.status_code not in (200, 201, 204):
                wrong[name, "refused"] = answer.text[:200]
                break
            counts.append(flushes(server) - before)
            # What the server does by itself may come between: least of all it does so each time.
            if counts[-1] <= 1:
                break
        if counts and min(counts) > 1:
            wrong[name] = counts
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def test_a_group_that_gets_no_members_is_not_made(world):
    _, surfaces = world
    long = [f"member-{n}" for n in range(3)]
    for name in long:
        surfaces.root("CreateUser", UserName=name)
        for number in range(10):
            group = f"of-{name}-{number}"
            surfaces.root("CreateGroup", GroupName=group)
            surfaces.root("AddUserToGroup", UserName=name, GroupName=group)
    body = {"group": "too-many", "members": long, "isRemove": False}
    answer = surfaces.minio(ROOT, "PUT", "update-group-members", body)
    assert answer.status_code == 400, answer.text
    assert "too-many" not in surfaces.query(ROOT, "ListGroups").text
