"""What one identity costs: before its signature was checked, and in all."""
import json
import statistics
import time

from botocore.credentials import Credentials
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, field

POLICIES = 20


def long_policy(number):
    """A document of nearly the longest text, which takes a while to compile."""
    names = [f"arn:aws:s3:::b{number}-{n}*" for n in range(800)]
    return document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": names})


def dense_policy(number):
    """A document that takes the most memory for its text."""
    sid = {"Sid": f"S{number}", "Effect": "Allow", "Action": "s3:GetObject", "Resource": ["*"] * 5000}
    return json.dumps({"Version": "2012-10-17", "Statement": [sid]}, separators=(",", ":"))


def policy_arn(surfaces, name, text):
    return field(surfaces.root("CreatePolicy", PolicyName=name, PolicyDocument=text), "Arn")


def groups_of(surfaces, user, arns, count):
    """Puts a user into groups that hold the policies."""
    for group in range(count):
        surfaces.root("CreateGroup", GroupName=f"g{group}")
        for arn in arns:
            surfaces.root("AttachGroupPolicy", GroupName=f"g{group}", PolicyArn=arn)
        surfaces.root("AddUserToGroup", GroupName=f"g{group}", UserName=user)


def seconds(surfaces, credentials, status):
    """How long a request takes, as the median of five."""
    took = []
    for _ in range(5):
        # A change of the directory: nothing that was remembered of the identity is used.
        surfaces.root("TagUser", UserName="light", **{"Tags.member.1.Key": "k", "Tags.member.1.Value": str(len(took))})
        begun = time.monotonic()
        assert surfaces.s3(credentials, "GET", "/bucket/key").status_code == status
        took.append(time.monotonic() - begun)
    return statistics.median(took)


def test_a_wrong_signature_costs_the_row_of_its_key(start):
    """Goal: who knows the id of a key makes the server compile nothing. Method: a user with many long policies beside one
    with none; requests with the ids of their keys and a wrong secret; sessions likewise."""
    server = start()
    surfaces = Surfaces(server)
    light, heavy = surfaces.user("light"), surfaces.user("heavy")
    arns = [policy_arn(surfaces, f"p{n}", long_policy(n)) for n in range(POLICIES)]
    groups_of(surfaces, "heavy", arns, 2)
    session = surfaces.session(heavy)
    forged = [Credentials(key.access_key, "wrong-secret", key.token) for key in (light, heavy, session)]
    of_light, of_heavy, of_session = (seconds(surfaces, key, 403) for key in forged)
    assert of_heavy < 3 * of_light + 0.03 and of_session < 3 * of_light + 0.03, (of_light, of_heavy, of_session)


def test_policies_of_one_identity_are_bounded_together(start):
    """Goal: an identity whose policies take too much may do nothing, costs a bounded amount, and others go on. Method: groups
    with policies of the densest text, up to more than one identity may take."""
    server = start()
    surfaces = Surfaces(server)
    client = server.client()
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="key", Body=b"x")
    user = surfaces.user("user", ALLOW_ALL)
    arns = [policy_arn(surfaces, f"p{n}", dense_policy(n)) for n in range(POLICIES)]
    groups_of(surfaces, "user", arns[:3], 1)
    session = surfaces.session(user)
    assert surfaces.s3(user, "GET", "/bucket/key").status_code == 200
    for arn in arns[3:]:
        surfaces.root("AttachGroupPolicy", GroupName="g0", PolicyArn=arn)
    for who in (user, session):
        refused = surfaces.s3(who, "GET", "/bucket/key")
        assert (refused.status_code, field(refused.text, "Code")) == (403, "AccessDenied"), refused.text
        refused = surfaces.query(who, "CreateAccessKey", UserName="user")
        assert (refused.status_code, field(refused.text, "Code")) == (403, "AccessDenied"), refused.text
    assert surfaces.s3(ROOT, "GET", "/bucket/key").status_code == 200
    for arn in arns[3:]:
        surfaces.root("DetachGroupPolicy", GroupName="g0", PolicyArn=arn)
    assert surfaces.s3(user, "GET", "/bucket/key").status_code == 200
    code, said = server.stop()
    assert code == 0 and "its policies take too much memory" in said
