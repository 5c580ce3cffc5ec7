"""A policy of a bucket or an access point takes no condition that can never apply to its actions (finding U9)."""
import re

import pytest

from conftest import PASSWORD, USER, Server
from people import allow, code_of, deny, document, service, signed

ACCOUNT, BUCKET = "000000000000", "data"
HERE, INSIDE = f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'

# Key, actions, and whether AWS lists the key for one of them or the server fills it in.
CASES = [
    ("s3:prefix", ["s3:PutObject"], False), ("s3:prefix", ["s3:ListBucket"], True), ("s3:prefix", ["s3:List*"], True),
    ("s3:prefix", ["s3:PutObject", "s3:ListBucket"], True), ("s3:prefix", ["s3:ListBucketMultipartUploads"], True),
    ("s3:max-keys", ["s3:GetObject"], False), ("s3:delimiter", ["s3:ListBucketVersions"], True),
    ("s3:VersionId", ["s3:PutObject"], False), ("s3:VersionId", ["s3:GetObject*"], True), ("s3:VersionId", ["s3:DeleteObjectVersion"], True),
    ("s3:x-amz-acl", ["s3:ListBucket"], False), ("s3:x-amz-acl", ["s3:GetObject"], False), ("s3:x-amz-acl", ["s3:PutBucketAcl"], True),
    ("s3:x-amz-acl", ["s3:PutObject"], True), ("s3:x-amz-grant-read", ["s3:PutObjectVersionAcl"], True),
    ("s3:x-amz-server-side-encryption", ["s3:GetObject"], False), ("s3:x-amz-server-side-encryption", ["s3:PutObject"], True),
    ("s3:x-amz-server-side-encryption-customer-algorithm", ["s3:GetObject"], True),
    ("s3:ExistingObjectTag/a", ["s3:ListBucket"], False), ("s3:ExistingObjectTag/a", ["s3:GetObject"], True),
    ("s3:RequestObjectTagKeys", ["s3:GetObject"], False), ("s3:RequestObjectTag/a", ["s3:PutObjectTagging"], True),
    ("s3:if-none-match", ["s3:ListBucket"], False), ("s3:if-match", ["s3:DeleteObject"], True),
    ("s3:object-lock-mode", ["s3:GetObject"], False), ("s3:object-lock-mode", ["s3:PutObjectRetention"], True),
    ("s3:InventoryAccessibleOptionalFields", ["s3:PutObject"], False),
    ("s3:InventoryAccessibleOptionalFields", ["s3:PutInventoryConfiguration"], True),
    ("s3:authType", ["s3:GetBucketPolicy"], True), ("s3:TlsVersion", ["s3:ListBucket"], True), ("aws:SourceIp", ["s3:GetObject"], True),
    ("sts:ExternalId", ["s3:*"], False), ("iam:PolicyARN", ["s3:*"], False), *((f"s3:{key}", ["s3:*"], True) for key in
    ("prefix", "VersionId", "x-amz-acl", "x-amz-object-ownership", "LocationConstraint", "if-none-match", "ObjectCreationOperation")),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}
    server = Server(tmp_path_factory.mktemp("apply") / "drive", env=env).wait_ready()
    service(server, "s3").create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


def refusal(run, **parameters):
    with pytest.raises(Exception) as caught:
        run(**parameters)
    return caught.value.response["Error"]


def resources_of(actions):
    """What these actions apply to: where one does not, that is refused for itself."""
    of_bucket = any(re.match("s3:(List|PutBucket|GetBucket|PutInventory)", action) for action in actions)
    whole = any("*" in action for action in actions)
    of_object = any(not re.match("s3:(List|PutBucket|GetBucket|PutInventory)", action) for action in actions)
    return ([HERE] if whole or of_bucket else []) + ([INSIDE] if whole or of_object else [])


@pytest.mark.parametrize("key,actions,applies", CASES, ids=str)
@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEqualsIfExists", "Null"])
def test_a_bucket_policy_takes_what_can_apply(server, key, actions, applies, operator):
    s3, value = service(server, "s3"), {"Null": "true"}.get(operator, "x")
    if key == "aws:SourceIp":
        operator, value = "IpAddress", "10.0.0.0/8"
    statement = {**deny(*actions, resource=resources_of(actions), **{operator: {key: value}}), "Principal": {"AWS": [ACCOUNT]}}
    put = lambda: s3.put_bucket_policy(Bucket=BUCKET, Policy=document(statement))
    if applies:
        assert code_of(put) == ""
        s3.delete_bucket_policy(Bucket=BUCKET)
    else:
        error = refusal(put)
        assert error["Code"] == "MalformedPolicy" and key.lower() in error["Message"].lower(), error
    # A policy of an identity never matches then, as in IAM, and is taken where the key is one of requests.
    policy = document(allow(*actions, **{operator: {key: value}}))
    iam = service(server, "iam")
    made = iam.create_policy(PolicyName="taken", PolicyDocument=policy)["Policy"]["Arn"]
    iam.delete_policy(PolicyArn=made)


def test_the_resources_count_and_what_is_left_out_is_taken(server):
    s3, condition = service(server, "s3"), {"StringEquals": {"s3:prefix": "x"}}
    put = lambda statement: code_of(s3.put_bucket_policy, Bucket=BUCKET, Policy=document({**statement, "Principal": ACCOUNT_ONLY}))
    assert put(deny("s3:*", resource=INSIDE, **condition)) == "MalformedPolicy"
    assert put(deny("s3:*", resource=[HERE, INSIDE], **condition)) == ""
    assert put(deny("s3:*", resource=HERE + "*", **condition)) == ""
    left_out = {"Effect": "Deny", "NotAction": "s3:ListBucket", "Resource": [HERE, INSIDE], "Condition": condition}
    assert put(left_out) == ""
    s3.delete_bucket_policy(Bucket=BUCKET)


ACCOUNT_ONLY = {"AWS": [ACCOUNT]}


def test_a_policy_of_an_access_point_takes_what_can_apply(server):
    account = {"x-amz-account-id": ACCOUNT}
    made = signed(server, "PUT", "/v20180820/accesspoint/door",
                  f"<CreateAccessPointRequest {NAMESPACE}><Bucket>{BUCKET}</Bucket></CreateAccessPointRequest>".encode(), account)
    point = re.search("<AccessPointArn>(.*)</AccessPointArn>", made.text).group(1)

    def put(action, resource, key):
        policy = document({**deny(action, resource=resource, StringEquals={key: "x"}), "Principal": ACCOUNT_ONLY})
        body = f"<PutAccessPointPolicyRequest {NAMESPACE}><Policy><![CDATA[{policy}]]></Policy></PutAccessPointPolicyRequest>"
        return signed(server, "PUT", "/v20180820/accesspoint/door/policy", body.encode(), account)

    objects = point + "/object/*"
    refused = put("s3:PutObject", objects, "s3:prefix")
    assert refused.status_code == 400 and "s3:prefix" in refused.text, refused.text
    assert put("s3:*", objects, "s3:prefix").status_code == 400
    for taken in [("s3:ListBucket", point, "s3:prefix"), ("s3:*", point + "*", "s3:prefix"), ("s3:PutObject", objects, "s3:x-amz-acl")]:
        assert put(*taken).ok, taken


@pytest.mark.parametrize("kind,name,is_taken", [
    ("Service", "logging.s3.amazonaws.com", True), ("Service", "cloudtrail.amazonaws.com", True), ("Service", ".amazonaws.com", False),
    ("Service", "a b.amazonaws.com", False), ("Service", "logging.s3.example.com", False),
    ("Federated", f"arn:aws:iam::{ACCOUNT}:oidc-provider/login.example.com", True),
    ("Federated", f"arn:aws:iam::{ACCOUNT}:saml-provider/idp", True), ("Federated", "accounts.google.com", True),
    ("Federated", "nope", False), ("Federated", "login.example.com", False), ("Federated", f"arn:aws:iam::{ACCOUNT}:user/ana", False),
    ("Federated", "arn:aws:iam::999999999999:saml-provider/idp", False)])
def test_a_bucket_policy_names_services_and_providers_that_there_can_be(server, kind, name, is_taken):
    s3 = service(server, "s3")
    policy = document({**allow("s3:GetObject", resource=INSIDE), "Principal": {kind: name}})
    if is_taken:
        assert code_of(s3.put_bucket_policy, Bucket=BUCKET, Policy=policy) == ""
    else:
        error = refusal(s3.put_bucket_policy, Bucket=BUCKET, Policy=policy)
        assert error["Code"] == "MalformedPolicy" and name in error["Message"], error
