"""What `accountinfo` of MinIO's admin API tells of buckets is what S3 would let its caller do and see."""
import json

import pytest

from conftest import Server
from people import allow, deny
from surfaces import ALLOW_ALL, ROOT, Surfaces, credentials_of, document

ACCOUNT = "000000000000"
BUCKETS = ("plain", "denied", "open", "conditional", "restricted")
BODY = b"x"


def of_bucket(bucket):
    return [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


#: What the policies of buckets say.
POLICIES = {
    "denied": [{**deny("s3:*", resource=of_bucket("denied")), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}}
               for name in ("everything", "listing")],
    "open": [{**allow("s3:ListBucket", resource=of_bucket("open")[0]), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/nothing"}}],
    "conditional": [{**deny("s3:*", resource=of_bucket("conditional"), StringEquals={"s3:authType": "REST-HEADER"},
                            StringLike={"aws:PrincipalArn": "*user*"}), "Principal": "*"}],
    "restricted": [{**deny("s3:PutObject", resource=of_bucket("restricted"), StringNotEquals={"s3:x-amz-acl": "x"},
                           StringLike={"aws:PrincipalArn": "*user*"}), "Principal": "*"}],
}
USERS = {
    "everything": [ALLOW_ALL],
    "listing": [allow("s3:ListBucket")],
    "locating": [allow("s3:GetBucketLocation")],
    "writing": [allow("s3:PutObject")],
    "nothing": [],
    "home": [allow("s3:ListBucket", StringEquals={"s3:prefix": ["", "home/"]})],
    "elsewhere": [allow("s3:ListBucket", StringLike={"s3:prefix": "home/*"})],
    "one": [allow("s3:ListBucket", "s3:PutObject", resource=of_bucket("plain"))],
    "named": [ALLOW_ALL, deny("s3:ListAllMyBuckets")],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("account-info") / "drive").wait_ready()
    surfaces = Surfaces(server)
    keys = {name: surfaces.user(name, *statements) for name, statements in USERS.items()}
    keys["bounded"] = surfaces.user("bounded", ALLOW_ALL)
    surfaces.root("CreatePolicy", PolicyName="bound", PolicyDocument=document(ALLOW_ALL, deny("s3:*", resource=of_bucket("plain"))))
    surfaces.root("PutUserPermissionsBoundary", UserName="bounded", PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/bound")
    trust = document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"})
    surfaces.root("CreateRole", RoleName="narrowed", AssumeRolePolicyDocument=trust)
    surfaces.root("PutRolePolicy", RoleName="narrowed", PolicyName="p", PolicyDocument=document(ALLOW_ALL))
    keys["session"] = session_of(surfaces, document(allow("s3:*", "sts:*", resource=of_bucket("plain"))))
    keys["root"] = ROOT
    for bucket in BUCKETS:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(Bucket=bucket, Key="k", Body=BODY)
    for bucket, statements in POLICIES.items():
        server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    yield surfaces, keys
    server.stop()


def session_of(surfaces, policy):
    answer = surfaces.query(ROOT, "AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/narrowed", RoleSessionName="run", Policy=policy)
    assert answer.status_code == 200, answer.text
    return credentials_of(answer.text)


def told(surfaces, key):
    answer = surfaces.minio(key, "GET", "accountinfo")
    assert answer.status_code == 200, answer.text
    return {bucket["name"]: bucket for bucket in answer.json()["Buckets"]}


@pytest.mark.parametrize("who", [*USERS, "bounded", "session", "root"])
def test_it_tells_what_s3_would(world, who):
    """Method: users whom policies of their own, of buckets, boundaries and sessions allow and deny; each does what the answer
    speaks of."""
    surfaces, keys = world
    found, key = told(surfaces, keys[who]), keys[who]
    for bucket in BUCKETS:
        lists = surfaces.s3(key, "GET", f"/{bucket}?list-type=2&prefix=&delimiter=%2F").status_code == 200
        locates = surfaces.s3(key, "GET", f"/{bucket}?location").status_code == 200
        writes = surfaces.s3(key, "PUT", f"/{bucket}/%2A", BODY).status_code == 200
        if who == "named":
            # Only names that are known are of use where lists of buckets are denied.
            assert surfaces.s3(key, "GET", "/").status_code == 403 and not found and lists == (bucket != "conditional")
            continue
        assert (bucket in found) == (lists or locates or writes), bucket
        if bucket in found:
            assert found[bucket]["access"] == {"read": lists, "write": writes}, bucket
            # How much there is is told to who may list it.
            assert ("size" in found[bucket]) == lists and ("objects" in found[bucket]) == lists
    if who in ("everything", "listing"):
        assert "denied" not in found and "plain" in found
    if who == "root":
        assert set(found) == set(BUCKETS)


def test_a_policy_that_changes_counts_at_once(world):
    surfaces, keys = world
    assert "open" in told(surfaces, keys["nothing"])
    surfaces.s3(ROOT, "DELETE", "/open?policy")
    assert told(surfaces, keys["nothing"]) == {}
