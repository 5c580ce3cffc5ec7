"""Policies that name principals mean those who had the names when the policies were set, no matter who has them later."""
import html
import json
import os

import pytest

from conftest import Server
from people import code_of, service, signed
from surfaces import ROOT, Surfaces, credentials_of, document, field

ACCOUNT = "000000000000"
POINT = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/door"
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/team/bob"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/team/bob"
SESSION_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/bob/session"
CONTROL = "http://awss3control.amazonaws.com/doc/2018-08-20/"
TRUST_ALL = document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"})
ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}


class Place:
    """A store with a bucket, an access point and a role, whose policies name someone."""

    def __init__(self, server):
        self.server, self.surfaces = server, Surfaces(server)
        self.s3, self.iam = server.client(), service(server, "iam")
        self.s3.create_bucket(Bucket="lake")
        self.s3.put_object(Bucket="lake", Key="k", Body=b"1")
        made = self.control("PUT", "door", f'<CreateAccessPointRequest xmlns="{CONTROL}"><Bucket>lake</Bucket></CreateAccessPointRequest>')
        self.alias = field(made.text, "Alias")
        self.surfaces.root("CreateRole", RoleName="target", AssumeRolePolicyDocument=TRUST_ALL)
        self.caller = self.surfaces.user("caller", ASSUME)

    def control(self, method, path, body=""):
        return self.surfaces.send(ROOT, "s3", method, f"/v20180820/accesspoint/{path}", body.encode(), {"x-amz-account-id": ACCOUNT})

    # Someone to be named.
    def user(self, *statements):
        return self.surfaces.user("bob", *statements, path="/team/")

    def role(self, *statements):
        self.surfaces.root("CreateRole", RoleName="bob", Path="/team/", AssumeRolePolicyDocument=TRUST_ALL)
        if statements:
            self.surfaces.root("PutRolePolicy", RoleName="bob", PolicyName="p", PolicyDocument=document(*statements))
        reply = self.surfaces.query(self.caller, "AssumeRole", RoleArn=ROLE_ARN, RoleSessionName="session")
        assert reply.status_code == 200, reply.text
        return credentials_of(reply.text)

    def remove_user(self):
        self.surfaces.minio(ROOT, "DELETE", "remove-user", accessKey="bob")
        assert self.surfaces.query(ROOT, "GetUser", UserName="bob").status_code == 404

    def remove_role(self):
        self.surfaces.query(ROOT, "DeleteRolePolicy", RoleName="bob", PolicyName="p")
        self.surfaces.root("DeleteRole", RoleName="bob")

    # Documents that name principals: how each is set and read, and whether its right can be used.
    def set_bucket(self, principal, effect="Allow"):
        return code_of(self.s3.put_bucket_policy, Bucket="lake", Policy=document({
            "Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}))

    def read_bucket(self):
        return self.s3.get_bucket_policy(Bucket="lake")["Policy"]

    def use_bucket(self, key):
        return self.surfaces.s3(key, "GET", "/lake/k").status_code == 200

    def set_point(self, principal, effect="Allow"):
        policy = document({"Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": f"{POINT}/object/*"})
        reply = self.control("PUT", "door/policy", f'<PutAccessPointPolicyRequest xmlns="{CONTROL}"><Policy>{html.escape(policy)}</Policy>'
                             "</PutAccessPointPolicyRequest>")
        return "" if reply.status_code == 200 else field(reply.text, "Code")

    def read_point(self):
        return html.unescape(field(self.control("GET", "door/policy").text, "Policy"))

    def use_point(self, key):
        # The bucket lets everything through that comes by an access point of its account.
        self.s3.put_bucket_policy(Bucket="lake", Policy=document({
            "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/*",
            "Condition": {"StringEquals": {"s3:DataAccessPointAccount": ACCOUNT}}}))
        return self.surfaces.s3(key, "GET", f"/{self.alias}/k").status_code == 200

    def set_trust(self, principal, effect="Allow"):
        return code_of(self.iam.update_assume_role_policy, RoleName="target", PolicyDocument=document({
            "Effect": effect, "Principal": principal, "Action": "sts:AssumeRole"}))

    def read_trust(self):
        return json.dumps(self.iam.get_role(RoleName="target")["Role"]["AssumeRolePolicyDocument"])

    def use_trust(self, key):
        reply = self.surfaces.query(key, "AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/target", RoleSessionName="session")
        return reply.status_code == 200


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("ids") / "drive").wait_ready()
    yield Place(server)
    server.kill()


NAMED = {"user": (USER_ARN, "user"), "role": (ROLE_ARN, "role"), "session": (SESSION_ARN, "role")}
REFUSED = {"bucket": "MalformedPolicy", "point": "MalformedPolicy", "trust": "MalformedPolicyDocument"}


def principal_in(text):
    """The principal that a document shows."""
    statement = json.loads(text)["Statement"]
    return (statement[0] if isinstance(statement, list) else statement)["Principal"]["AWS"]


@pytest.fixture
def emptied(place):
    yield place
    for name, remove in (("GetUser", place.remove_user), ("GetRole", place.remove_role)):
        if place.surfaces.query(ROOT, name, **{f"{name[3:]}Name": "bob"}).status_code == 200:
            remove()


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("where", REFUSED)
def test_one_made_later_under_the_name_has_nothing_of_what_the_name_was_given(emptied, where, kind):
    place, (arn, entity) = emptied, NAMED[kind]
    put, read, use = (getattr(place, f"{what}_{where}") for what in ("set", "read", "use"))
    if where == "trust" and entity == "role":
        # A session takes on no role here, whatever is trusted: what is shown says whom the policy means.
        use = lambda key: principal_in(read()) == arn  # noqa: E731
    key = getattr(place, entity)()
    assert put({"AWS": arn}) == ""
    assert principal_in(read()) == arn and use(key)
    getattr(place, f"remove_{entity}")()
    gone = principal_in(read())
    assert gone.startswith("AIDA" if entity == "user" else "AROA") and gone.endswith(":session") == (kind == "session")
    another = getattr(place, entity)()
    assert not use(another)
    assert principal_in(read()) == gone
    # What is shown of one who is gone cannot be set, nor what is stored.
    for text in (gone, f"{gone} {arn}"):
        assert put({"AWS": text}) == REFUSED[where]
    assert principal_in(read()) == gone and not use(another)
    assert put({"AWS": arn}) == ""
    assert use(another)


@pytest.mark.parametrize("where", REFUSED)
def test_a_deny_stays_with_the_user_who_moves_and_does_not_reach_another(emptied, where):
    place = emptied
    put, read, use = (getattr(place, f"{what}_{where}") for what in ("set", "read", "use"))
    key = place.user({"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"})
    assert put({"AWS": USER_ARN}, "Deny") == "" and not use(key)
    place.surfaces.root("UpdateUser", UserName="bob", NewPath="/elsewhere/")
    assert not use(key)
    assert principal_in(read()) == USER_ARN.replace("team", "elsewhere")


@pytest.mark.parametrize("where", REFUSED)
def test_a_principal_that_does_not_exist_is_refused(place, where):
    put = getattr(place, f"set_{where}")
    for name in (f"arn:aws:iam::{ACCOUNT}:user/caller2", f"arn:aws:iam::{ACCOUNT}:user/other/caller", "123456789012",
                 f"arn:aws:iam::{ACCOUNT}:role/none", "arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/caller",
                 f"arn:aws:sts::{ACCOUNT}:assumed-role/none/s", "arn:aws:sts::123456789012:federated-user/ann",
                 "arn:minio:iam:::role/x", "caller", "AIDAAAAAAAAAAAAAAAAA"):
        assert put({"AWS": name}, "Deny") == REFUSED[where], name
        assert put({"AWS": ["*", name]}, "Deny") == REFUSED[where], name
    assert put({"CanonicalUser": "0" * 64}, "Deny") == REFUSED[where]
    for principal in ("*", {"AWS": "*"}, {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/caller"]},
                      {"CanonicalUser": place.s3.list_buckets()["Owner"]["ID"]}):
        assert put(principal, "Deny") == "", principal


def test_a_role_is_made_with_ids_whichever_way(emptied):
    place = emptied
    place.user()
    trust = document({"Effect": "Allow", "Principal": {"AWS": USER_ARN}, "Action": "sts:AssumeRole"})
    wrong = document({"Effect": "Allow", "Principal": {"AWS": USER_ARN + "2"}, "Action": "sts:AssumeRole"})
    assert code_of(place.iam.create_role, RoleName="new", AssumeRolePolicyDocument=wrong) == "MalformedPolicyDocument"
    assert place.surfaces.api(ROOT, "role-set", name="new", trust=wrong).status_code == 400
    assert place.surfaces.api(ROOT, "role-set", name="own", trust=trust).status_code == 200
    place.surfaces.root("CreateRole", RoleName="query", AssumeRolePolicyDocument=trust)
    shown = {role["RoleName"]: role["AssumeRolePolicyDocument"] for role in place.iam.list_roles()["Roles"]}
    assert shown["own"] == shown["query"] == json.loads(trust)
    place.remove_user()
    key = place.user()
    for name in ("own", "query"):
        reply = place.surfaces.query(key, "AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="session")
        assert reply.status_code == 403, reply.text
    listed = place.surfaces.api(ROOT, "role-list").text
    assert listed.count("AIDA") == 2 and USER_ARN not in listed


@pytest.mark.skipif("DRYSTONE_OLD_BINARY" not in os.environ, reason="DRYSTONE_OLD_BINARY, of commit c9ead26, is not set")
def test_roles_and_access_points_of_an_earlier_binary_mean_those_who_had_the_names(start, monkeypatch):
    arn = f"arn:aws:iam::{ACCOUNT}:user/bob"
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": {"AWS": [arn, arn + "2"]}, "Action": "s3:GetObject", "Resource": f"{POINT}/object/*"}]})

    def control(server, method, path, body=""):
        return signed(server, method, f"/v20180820/accesspoint/{path}", body.encode(), {"x-amz-account-id": ACCOUNT}).text

    with monkeypatch.context() as patch:
        patch.setattr("conftest.BINARY", os.environ["DRYSTONE_OLD_BINARY"])
        server = start()
    iam = service(server, "iam")
    bob = iam.create_user(UserName="bob")["User"]
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))
    server.client().create_bucket(Bucket="lake")
    control(server, "PUT", "door", f'<CreateAccessPointRequest xmlns="{CONTROL}"><Bucket>lake</Bucket></CreateAccessPointRequest>')
    control(server, "PUT", "door/policy", f'<PutAccessPointPolicyRequest xmlns="{CONTROL}"><Policy>{html.escape(policy)}</Policy></PutAccessPointPolicyRequest>')
    server.stop()
    server = start(directory=server.directory)
    iam = service(server, "iam")
    assert iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"] == trust
    assert arn in control(server, "GET", "door/policy")
    iam.delete_user(UserName="bob")
    iam.create_user(UserName="bob")
    shown = iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"]["AWS"] == bob["UserId"]
    shown = html.unescape(control(server, "GET", "door/policy"))
    assert bob["UserId"] in shown and f'{arn}2"' in shown and f'{arn}"' not in shown
