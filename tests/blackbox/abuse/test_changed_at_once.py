"""Several who change parts of one thing at the same time: no one undoes what another has set, and no one who may change little keeps
those out who may change more. Found by the eighth attack."""
import urllib.parse

import pytest

from conftest import Server
from surfaces import ROOT, Surfaces, document
from test_turns import Loops, most_meanwhile

ACCOUNT = "000000000000"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
RESOURCES = {"bucket": "arn:aws:s3:::shared", "access point": f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/shared-point"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("at-once") / "drive").wait_ready()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/shared").status_code == 200
    assert control(surfaces, ROOT, "PUT", "accesspoint/shared-point",
                   f"<CreateAccessPointRequest {NAMESPACE}><Bucket>shared</Bucket></CreateAccessPointRequest>").status_code == 200
    yield server
    server.stop()


def control(surfaces, key, method, path, body=""):
    return surfaces.send(key, "s3", method, f"/v20180820/{path}", body.encode(), {"x-amz-account-id": ACCOUNT})


def tags_of(arn):
    return "tags/" + urllib.parse.quote(arn, safe="")


def tag(surfaces, key, arn, name, value):
    body = f"<TagResourceRequest {NAMESPACE}><Tags><Tag><Key>{name}</Key><Value>{value}</Value></Tag></Tags></TagResourceRequest>"
    return control(surfaces, key, "POST", tags_of(arn), body).status_code


def untag(surfaces, key, arn, name):
    return control(surfaces, key, "DELETE", f"{tags_of(arn)}?tagKeys={name}").status_code


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_tag_is_as_it_was_set_whoever_sets_another(server, kind):
    """Goal: who may set one tag undoes no other. Method: users who may do no more do it all the time; each value that the owner
    sets of another tag is there as long as it is not set again."""
    surfaces, arn = Surfaces(server), RESOURCES[kind]
    users = [surfaces.user(f"{kind[:6]}-{number}", {
        "Effect": "Allow", "Action": ["s3:TagResource", "s3:UntagResource"], "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["note"]}}}) for number in range(8)]
    assert tag(surfaces, users[0], arn, "class", "free") == 403
    count = iter(range(1 << 30))

    def ask(surfaces, user):
        number = next(count)
        if number % 5:
            tag(surfaces, user, arn, "note", number)
        else:
            untag(surfaces, user, arn, "note")

    with Loops(server, users, ask) as loops:
        for number in range(60):
            value = f"<Key>class</Key><Value>v{number}</Value>"
            assert tag(surfaces, ROOT, arn, "class", f"v{number}") == 204
            with loops.changed:
                goal = loops.answered + 12
                assert loops.changed.wait_for(lambda: loops.answered >= goal, 20)
            shown = control(surfaces, ROOT, "GET", tags_of(arn)).text
            assert value in shown, shown


SCOPE = (f"<PutAccessPointScopeRequest {NAMESPACE}><Scope><Prefixes><Prefix>a</Prefix></Prefixes></Scope>"
         "</PutAccessPointScopeRequest>")
BLOCK = (f"<PublicAccessBlockConfiguration {NAMESPACE}><BlockPublicAcls>true</BlockPublicAcls>"
         "</PublicAccessBlockConfiguration>")
DENY = document({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"})
CHANGES = {
    "policy": lambda s: s.query(ROOT, "PutUserPolicy", UserName="scopes", PolicyName="no", PolicyDocument=DENY),
    "sessions": lambda s: s.api(ROOT, "user-end-sessions", name="scopes"),
    "minio": lambda s: s.minio(ROOT, "PUT", "set-user-status", accessKey="scopes", status="enabled"),
    "block": lambda s: control(s, ROOT, "PUT", "configuration/publicAccessBlock", BLOCK),
}


def test_who_changes_access_points_all_the_time_keeps_no_one_from_changing_identities(server):
    """Goal: a request waits for one turn of each other caller, at every surface that changes the directory. Method: many connections
    of one user who may change one access point only."""
    surfaces = Surfaces(server)
    user = surfaces.user("scopes", {"Effect": "Allow", "Action": "s3:PutAccessPointScope", "Resource": "*"})

    def ask(surfaces, user):
        control(surfaces, user, "PUT", "accesspoint/shared-point/scope", SCOPE)

    with Loops(server, [user] * 16, ask) as loops:
        for name, change in CHANGES.items():
            # Besides its turn, those that are sent meanwhile.
            assert most_meanwhile(loops, lambda: change(surfaces), 15) < 64, name
