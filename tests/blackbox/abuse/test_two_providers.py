"""Users to whom two OpenID providers give the same name are two users: for policies, sessions and what ends these."""
import json

import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server
from people import allow, code_of, deny, document, service
from test_federated_sessions import Provider, client, revoke, unsigned
from test_sessions import ended

ACCOUNT = "000000000000"


def settings(a, b=None):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           "DRYSTONE_IDENTITY_OPENID_CONFIG_URL": f"{a.url}/.well-known/openid-configuration",
           "DRYSTONE_IDENTITY_OPENID_CLIENT_ID": "drystone"}
    if b:
        env |= {"DRYSTONE_IDENTITY_OPENID_CONFIG_URL_B": f"{b.url}/.well-known/openid-configuration",
                "DRYSTONE_IDENTITY_OPENID_CLIENT_ID_B": "drystone", "DRYSTONE_IDENTITY_OPENID_ROLE_POLICY_B": "own"}
    return env


def begin(directory, *providers):
    return Server(directory / "drive", env=settings(*providers)).wait_ready()


def fill(server):
    s3 = server.client()
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"1")
    service(server, "iam").create_policy(PolicyName="own", PolicyDocument=document(allow("s3:ListBucket")))


@pytest.fixture(scope="module")
def providers():
    made = Provider(), Provider()
    yield made
    for provider in made:
        provider.server.shutdown()


@pytest.fixture(scope="module")
def two(tmp_path_factory, providers):
    server = begin(tmp_path_factory.mktemp("two"), *providers)
    fill(server)
    yield server
    server.stop()


def login(server, provider, sub="ana", **parameters):
    return unsigned(server, "AssumeRoleWithWebIdentity", WebIdentityToken=provider.token(sub, policy="own"), **parameters)


def whoami(server, s3):
    keys = s3._request_signer._credentials
    sts = client(server, "sts", {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "SessionToken": keys.token})
    found = sts.get_caller_identity()
    return found["Arn"], found["UserId"]


def name_in_policy(server, *statements):
    statements = [{**statement, "Resource": ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"]} for statement in statements]
    server.client().put_bucket_policy(Bucket="lake", Policy=document(*statements))


def user(name):
    return {"AWS": f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"}


def test_a_policy_names_the_user_of_one_provider(two, providers):
    a, b = (login(two, provider) for provider in providers)
    arns = [whoami(two, s3) for s3 in (a, b)]
    for (arn, user_id), provider in zip(arns, providers):
        assert (arn, user_id) == (f"arn:aws:sts::{ACCOUNT}:federated-user/{provider.host}/ana", f"{ACCOUNT}:{provider.host}/ana")
    full = f"{providers[0].host}/ana"
    name_in_policy(two, {**allow("s3:GetObject"), "Principal": user(full)})
    assert (code_of(a.get_object, Bucket="lake", Key="k"), code_of(b.get_object, Bucket="lake", Key="k")) == ("", "AccessDenied")
    for name in (full, full.replace("/", "%2F"), f"x/{full}"):
        hidden = login(two, providers[1], name)
        assert code_of(hidden.get_object, Bucket="lake", Key="k") == "AccessDenied", name
    name_in_policy(two, {**deny("s3:ListBucket"), "Principal": user(full)})
    assert (code_of(a.list_objects_v2, Bucket="lake"), code_of(b.list_objects_v2, Bucket="lake")) == ("AccessDenied", "")
    name_in_policy(two, {**deny("s3:ListBucket", StringEquals={"aws:userid": arns[0][1]}), "Principal": "*"})
    assert (code_of(a.list_objects_v2, Bucket="lake"), code_of(b.list_objects_v2, Bucket="lake")) == ("AccessDenied", "")
    two.client().delete_bucket_policy(Bucket="lake")


@pytest.mark.parametrize("role", [False, True])
def test_sessions_of_one_provider_are_ended(two, providers, role):
    more = {}
    if role:
        trusted = [f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider.host}" for provider in providers]
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": trusted},
                                                         "Action": "sts:AssumeRoleWithWebIdentity"}]}
        iam = service(two, "iam")
        arn = iam.create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="web", PolicyName="all", PolicyDocument=document(allow("s3:*")))
        more = {"RoleArn": arn, "RoleSessionName": "session"}
    a, b, other = login(two, providers[0], **more), login(two, providers[1], **more), login(two, providers[0], "bob", **more)
    revoke(two, "--openid-name", "ana", "--openid-provider", providers[0].url)
    ended(a.list_objects_v2, Bucket="lake")
    b.list_objects_v2(Bucket="lake")
    again = login(two, providers[0], **more)
    again.list_objects_v2(Bucket="lake")
    revoke(two, "--openid-name", "ana")
    for s3 in (again, b):
        ended(s3.list_objects_v2, Bucket="lake")
    other.list_objects_v2(Bucket="lake")
    revoke(two, "--ldap-name", "bob")
    other.list_objects_v2(Bucket="lake")


def test_a_provider_cannot_say_that_it_is_another(tmp_path, providers):
    liar = Provider()
    server = begin(tmp_path, providers[0], liar)
    try:
        fill(server)
        own, liar.url = liar.url, providers[0].url
        for issuer, said in ((own, "IDENTITY_OPENID_ISSUER"), (liar.url, "signature is not right"), (f"{own}/x", "IDENTITY_OPENID_ISSUER")):
            with pytest.raises(ClientError) as caught:
                unsigned(server, "AssumeRoleWithWebIdentity", WebIdentityToken=liar.token("ana", iss=issuer))
            assert said in str(caught.value), caught.value
        login(server, providers[0]).list_objects_v2(Bucket="lake")
    finally:
        server.stop()
        liar.server.shutdown()


def test_a_name_without_a_provider_means_the_one_that_was_the_only_one(tmp_path, providers):
    """Allows of documents of before go to the users of the provider that was there first; denies to those of all."""
    server = begin(tmp_path, providers[0])
    fill(server)
    name_in_policy(server, {**allow("s3:GetObject"), "Principal": user("ana")})
    read = lambda s3: code_of(s3.get_object, Bucket="lake", Key="k")
    assert read(login(server, providers[0])) == ""
    server.stop()
    server = begin(tmp_path, *providers)
    try:
        a, b = (login(server, provider) for provider in providers)
        assert (read(a), read(b)) == ("", "AccessDenied")
        name_in_policy(server, {**deny("s3:ListBucket"), "Principal": user("ana")})
        assert [code_of(s3.list_objects_v2, Bucket="lake") for s3 in (a, b)] == ["AccessDenied"] * 2
    finally:
        server.stop()


def test_a_name_without_a_provider_means_nobody_of_several(two, providers):
    login(two, providers[0])
    name_in_policy(two, {**allow("s3:GetObject"), "Principal": user("ana")})
    assert {code_of(login(two, provider).get_object, Bucket="lake", Key="k") for provider in providers} == {"AccessDenied"}
    two.client().delete_bucket_policy(Bucket="lake")
