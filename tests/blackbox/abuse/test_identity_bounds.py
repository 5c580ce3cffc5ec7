"""What one identity costs: before its signature was checked, and in all."""
import json
import statistics
import time

from botocore.credentials import Credentials
from pressure import watched
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, field
from test_identity_lists import TAGS, each

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


def test_attached_policies_are_bounded_by_all_surfaces(start):
    """Goal: nothing holds more policies than AWS lets it, whichever call attaches them. Method: the same policies by each
    call that can attach more than one; what is held is looked at each time."""
    server = start()
    surfaces = Surfaces(server)
    names = [f"p{n:02}" for n in range(2 * POLICIES + 1)]
    for name in names:
        policy_arn(surfaces, name, document(ALLOW_ALL))
    surfaces.root("CreateUser", UserName="user")
    surfaces.root("CreateGroup", GroupName="group")
    surfaces.root("CreateRole", RoleName="role", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}))
    key = {"secretKey": "password-of-user", "status": "enabled", "policy": ",".join(names)}
    many = ",".join(names)
    refused = [
        surfaces.minio(ROOT, "PUT", "set-user-or-group-policy", userOrGroup="user", isGroup="false", policyName=many),
        surfaces.minio(ROOT, "PUT", "set-user-or-group-policy", userOrGroup="group", isGroup="true", policyName=many),
        surfaces.minio(ROOT, "POST", "idp/builtin/policy/attach", {"user": "user", "policies": names}),
        surfaces.minio(ROOT, "POST", "idp/builtin/policy/attach", {"group": "group", "policies": names}),
        surfaces.minio(ROOT, "PUT", "add-user", key, accessKey="added"),
        *(surfaces.api(ROOT, "policy-attach", policies=names, attach=True, holder={kind: kind}) for kind in ("user", "group", "role")),
    ]
    for number, answer in enumerate(refused):
        assert 400 <= answer.status_code < 500, (number, answer.text)
    for number, name in enumerate(names):
        answer = surfaces.query(ROOT, "AttachUserPolicy", UserName="user",
                                PolicyArn=f"arn:aws:iam::000000000000:policy/{name}")
        assert answer.status_code == (200 if number < POLICIES else 409), answer.text
    for kind, held in (("User", POLICIES), ("Group", 0), ("Role", 0)):
        listed = surfaces.root(f"ListAttached{kind}Policies", **{f"{kind}Name": kind.lower()})
        assert listed.count("<PolicyName>") == held, listed


def took(work):
    begun = time.monotonic()
    answer = work()
    return time.monotonic() - begun, answer


def test_a_name_costs_once_however_often_a_request_has_it(start):
    """Goal: what one request changes is read once, since all changes wait for it. Method: a group of many members with long
    names, and a policy of five long versions; requests that name one of them once and a thousand times."""
    server = start()
    surfaces = Surfaces(server)
    members = [f"u{n:03}" + "x" * 120 for n in range(400)]
    made = each(server, lambda s, name: s.query(ROOT, "CreateUser", UserName=name).status_code, members)
    assert set(made) == {200}
    add = {"group": "group", "members": members, "isRemove": False}
    assert surfaces.minio(ROOT, "PUT", "update-group-members", add).status_code == 200
    arn = policy_arn(surfaces, "long", long_policy(0))
    for number in range(1, 5):
        surfaces.root("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=long_policy(number), SetAsDefault="true")
    calls = [
        lambda count: surfaces.minio(ROOT, "PUT", "update-group-members", {**add, "members": members[:1] * count}),
        lambda count: surfaces.api(ROOT, "group-members", name="group", users=members[:1] * count, add=True),
        lambda count: surfaces.minio(ROOT, "POST", "idp/builtin/policy/attach", {"group": "group", "policies": ["long"] * count}),
        lambda count: surfaces.minio(ROOT, "POST", "idp/builtin/policy/detach", {"group": "group", "policies": ["long"] * count}),
        lambda count: surfaces.api(ROOT, "policy-attach", policies=["long"] * count, attach=True, holder={"group": "group"}),
    ]
    for number, call in enumerate(calls):
        of_many, answer = took(lambda: call(1000))
        assert answer.status_code == 200, (number, answer.text)
        of_one, _ = took(lambda: call(1))
        assert of_many < 2 * of_one + 0.5, (number, of_one, of_many)


def test_a_change_of_members_reads_a_bounded_amount(start):
    """Method: users with as many tags as there may be; some of them may be put into a group by one request, and all of them
    by more than one."""
    server = start()
    surfaces = Surfaces(server)
    names = [f"u{n:03}" for n in range(130)]
    made = each(server, lambda s, name: s.query(ROOT, "CreateUser", UserName=name, **TAGS).status_code, names)
    assert set(made) == {200}
    surfaces.root("CreateGroup", GroupName="group")
    refused = surfaces.api(ROOT, "group-members", name="group", users=names, add=True)
    assert refused.status_code == 409, refused.text
    assert "<UserName>" not in surfaces.root("GetGroup", GroupName="group")
    for part in (names[:40], names[40:80]):
        assert surfaces.api(ROOT, "group-members", name="group", users=part, add=True).status_code == 200
    assert surfaces.root("GetGroup", GroupName="group").count("<UserName>") == 80


def test_many_decisions_let_others_in_between(start):
    """Goal: a request that needs a thousand decisions holds up no one. Method: a user whose policy makes each decision
    costly names a thousand members and policies, on all workers at once; a bystander asks meanwhile."""
    server = start()
    surfaces = Surfaces(server)
    patterns = [f"*{n:04}zb*" for n in range(600)]
    user = surfaces.user("user", {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
                         {"Effect": "Deny", "Action": "iam:*", "Resource": "*",
                          "Condition": {"StringLike": {"aws:UserAgent": patterns}}})
    surfaces.root("CreateGroup", GroupName="group")
    names = [f"m{n}" for n in range(300)]
    bodies = {"update-group-members": ("PUT", {"group": "group", "members": names}),
              "idp/builtin/policy/attach": ("POST", {"group": "group", "policies": names})}

    def ask(asking, operation):
        method, body = bodies[operation]
        path = f"/minio/admin/v3/{operation}"
        return asking.send(user, "s3", method, path, json.dumps(body).encode(), {"User-Agent": "a" * 2040}).status_code

    with watched(server) as watch:
        answers = each(server, ask, list(bodies) * 4)
    assert 200 not in answers and watch.failed is None, answers
    assert watch.waited < 1, watch.waited
