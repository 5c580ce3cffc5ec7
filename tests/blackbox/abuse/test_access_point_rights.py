"""What holds for a bucket holds for its access points, too: blocks of public access, conditions, rights to tags."""
import json

import pytest

from conftest import drystone
from test_access_points import ACCOUNT, client, server, user  # noqa: F401 (a fixture)
from test_encryption import code_of as refusal

OPEN = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], False)
BLOCK = dict.fromkeys(OPEN, True)


def statement(effect, actions, resource, principal="*", **condition):
    made = {"Effect": effect, "Principal": principal, "Action": actions, "Resource": resource}
    return {**made, "Condition": condition} if condition else made


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def delegated(server):  # noqa: F811
    """A bucket that leaves decisions to the access points of its account, with an object, and such a point."""
    s3, control = server.client(), client(server, "s3control")
    s3.put_object(Bucket="data-bucket", Key="key", Body=b"x", Tagging="secret=yes")
    s3.put_public_access_block(Bucket="data-bucket", PublicAccessBlockConfiguration=OPEN)
    s3.put_bucket_policy(Bucket="data-bucket", Policy=document(statement(
        "Allow", "*", ["arn:aws:s3:::data-bucket", "arn:aws:s3:::data-bucket/*"],
        StringEquals={"s3:DataAccessPointAccount": ACCOUNT})))
    made = control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket",
                                       PublicAccessBlockConfiguration=OPEN)
    return s3, control, made["AccessPointArn"], made["Alias"]


@pytest.mark.parametrize("where", ["bucket", "account"])
def test_a_block_of_the_bucket_or_account_blocks_points(server, where):  # noqa: F811
    s3, control, arn, alias = delegated(server)
    public = document(statement("Allow", ["s3:GetObject"], f"{arn}/object/*"))
    control.put_access_point_policy(AccountId=ACCOUNT, Name="team", Policy=public)
    anonymous = client(server, "s3", None, s3={"addressing_style": "path"})
    assert anonymous.get_object(Bucket=alias, Key="key")["Body"].read() == b"x"
    if where == "bucket":
        s3.put_public_access_block(Bucket="data-bucket", PublicAccessBlockConfiguration=BLOCK)
    else:
        control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=BLOCK)
    assert refusal(anonymous.get_object, Bucket=alias, Key="key") == "AccessDenied"
    # The owner goes on; no public policy is taken any more.
    assert s3.get_object(Bucket=alias, Key="key")["Body"].read() == b"x"
    assert refusal(control.put_access_point_policy, AccountId=ACCOUNT, Name="team", Policy=public) == "AccessDenied"


def test_what_every_request_of_a_point_has_makes_its_policy_no_less_public(server):  # noqa: F811
    """Method: a point's own policy for everybody, with conditions that every request through it fulfils."""
    _, control, arn, alias = delegated(server)
    names = {"AccountId": ACCOUNT, "Name": "team"}
    anonymous = client(server, "s3", None, s3={"addressing_style": "path"})
    conditions = [{"StringEquals": {"s3:DataAccessPointAccount": ACCOUNT}}, {"ArnEquals": {"s3:DataAccessPointArn": arn}},
                  {"StringEquals": {"s3:DataAccessPointArn": arn}}]
    for condition in conditions:
        text = document(statement("Allow", "s3:GetObject", f"{arn}/object/*", **condition))
        control.put_access_point_policy(Policy=text, **names)
        assert control.get_access_point_policy_status(**names)["PolicyStatus"]["IsPublic"] is True, condition
        assert anonymous.get_object(Bucket=alias, Key="key")["Body"].read() == b"x"
        control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=BLOCK)
        assert refusal(anonymous.get_object, Bucket=alias, Key="key") == "AccessDenied", condition
        assert refusal(control.put_access_point_policy, Policy=text, **names) == "AccessDenied", condition
        control.delete_public_access_block(AccountId=ACCOUNT)
    # The bucket's own policy, which leaves decisions to points, is not public by them.
    assert server.client().get_bucket_policy_status(Bucket="data-bucket")["PolicyStatus"]["IsPublic"] is False


@pytest.mark.parametrize("condition", [{"s3:ExistingObjectTag/secret": "yes"}, {"aws:ResourceTag/team": "blue"},
                                       {"s3:BucketTag/team": "blue"}])
def test_conditions_of_points_see_the_object_and_the_bucket(server, condition):  # noqa: F811
    s3, control, arn, alias = delegated(server)
    s3.put_bucket_tagging(Bucket="data-bucket", Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    keys = user(server, "reader", {"Action": "s3:GetObject", "Resource": "*"})
    reader = client(server, "s3", keys, s3={"addressing_style": "path"})
    assert reader.get_object(Bucket=alias, Key="key")["Body"].read() == b"x"
    control.put_access_point_policy(AccountId=ACCOUNT, Name="team", Policy=document(
        statement("Deny", "s3:GetObject", f"{arn}/object/*", StringEquals=condition)))
    assert refusal(reader.get_object, Bucket=alias, Key="key") == "AccessDenied"


def test_tags_need_their_right(server):  # noqa: F811
    keys = user(server, "maker", {"Action": "s3:*", "Resource": "*"},
                {"Effect": "Deny", "Action": ["s3:TagResource", "s3:PutBucketTagging"], "Resource": "*"})
    control = client(server, "s3control", keys)
    tags = [{"Key": "a", "Value": "b"}]
    assert refusal(control.create_access_point, AccountId=ACCOUNT, Name="team", Bucket="data-bucket", Tags=tags) == "AccessDenied"
    control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket")


@pytest.mark.parametrize("denied, call", [("s3:PutBucketTagging", "tag_resource"), ("s3:PutBucketTagging", "untag_resource"),
                                          ("s3:GetBucketTagging", "list_tags_for_resource")])
def test_a_deny_on_tags_of_a_bucket_holds_by_both_names(server, denied, call):  # noqa: F811
    keys = user(server, "maker", {"Action": "s3:*", "Resource": "*"}, {"Effect": "Deny", "Action": denied, "Resource": "*"})
    control = client(server, "s3control", keys)
    more = {"tag_resource": {"Tags": [{"Key": "a", "Value": "b"}]}, "untag_resource": {"TagKeys": ["a"]}}.get(call, {})
    assert refusal(getattr(control, call), AccountId=ACCOUNT, ResourceArn="arn:aws:s3:::data-bucket", **more) == "AccessDenied"


def test_prefixes_of_log_targets_are_bounded(server):  # noqa: F811
    s3 = server.client()
    for length, code in [(768, None), (769, "InvalidRequest")]:
        logging = {"LoggingEnabled": {"TargetBucket": "data-bucket", "TargetPrefix": "p" * length}}
        if code is None:
            s3.put_bucket_logging(Bucket="data-bucket", BucketLoggingStatus=logging)
        else:
            assert refusal(s3.put_bucket_logging, Bucket="data-bucket", BucketLoggingStatus=logging) == code


def test_an_access_point_of_a_deleted_bucket_does_not_act_on_a_new_one(server):  # noqa: F811
    """Those of other accounts do not keep a bucket; a bucket that its account makes again under the name is another."""
    account = "111122223333"
    made = drystone("account", "add", account, "other", "--json", "--at", server.directory)
    assert made.returncode == 0, made.stderr
    secret = json.loads(made.stdout)["secret"]
    keys = secret["access_key"], secret["secret_key"]
    s3 = server.client()
    document = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": account}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data-bucket/*"}]})
    alias = ""
    for is_new in (False, True):
        s3.put_object(Bucket="data-bucket", Key="k", Body=b"1")
        s3.put_bucket_policy(Bucket="data-bucket", Policy=document)
        if not is_new:
            point = client(server, "s3control", keys).create_access_point(
                AccountId=account, Name="far", Bucket="data-bucket", BucketAccountId=ACCOUNT)
            alias = point["Alias"]
        far = client(server, "s3", keys)
        assert far.get_object(Bucket="data-bucket", Key="k")["Body"].read() == b"1"
        if is_new:
            assert refusal(far.get_object, Bucket=alias, Key="k") == "AccessDenied"
            return
        assert far.get_object(Bucket=alias, Key="k")["Body"].read() == b"1"
        s3.delete_object(Bucket="data-bucket", Key="k")
        s3.delete_bucket(Bucket="data-bucket")
        s3.create_bucket(Bucket="data-bucket")
