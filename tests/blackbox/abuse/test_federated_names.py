"""The name that another directory gives is no name of a user here, and as a folder it is one folder."""
import pathlib

import pytest
from botocore.exceptions import ClientError

import test_ldap
from conftest import drystone
from people import allow, code_of, deny, document, service
from surfaces import ALLOW_ALL, Surfaces
from test_federated_sessions import openid, unsigned  # noqa: F401

NAMES = ["victim", "a", "a/b", "a%2Fb", "*", "?ictim", "../victim", "victim/", "/", "%", "b"]


@pytest.fixture(scope="module")
def homes(openid):  # noqa: F811
    """A bucket of homes, and policies that give and keep them by each variable that has a name."""
    iam, s3 = service(openid, "iam"), openid.client()
    s3.create_bucket(Bucket="home")
    for name in NAMES:
        s3.put_object(Bucket="home", Key=f"{folder(name)}/own", Body=name.encode())
    for key in ("victim/own", "a/b/own", "a/c"):
        s3.put_object(Bucket="home", Key=key, Body=key.encode())
    for variable in ("jwt:sub", "jwt:preferred_username", "aws:username"):
        home = f"arn:aws:s3:::home/${{{variable}}}/*"
        short = variable.split(":")[1]
        iam.create_policy(PolicyName=f"gives-{short}", PolicyDocument=document(allow("s3:GetObject", resource=home)))
        iam.create_policy(PolicyName=f"keeps-{short}", PolicyDocument=document(
            ALLOW_ALL, {"Effect": "Deny", "Action": "s3:GetObject", "NotResource": home}))
        iam.create_policy(PolicyName=f"lists-{short}", PolicyDocument=document(allow(
            "s3:ListBucket", StringLike={"s3:prefix": f"${{{variable}}}/*"})))
    Surfaces(openid).user("victim")
    return openid


def folder(name):
    return name.replace("%", "%25").replace("/", "%2F")


def login(server, name, policy):
    token = server.provider.token(name, policy=policy, preferred_username=name)
    return unsigned(server, "AssumeRoleWithWebIdentity", WebIdentityToken=token)


def readable(s3):
    """The keys that may be read."""
    keys = {f"{folder(name)}/own" for name in NAMES} | {"victim/own", "a/b/own", "a/c"}
    return {key for key in keys if not code_of(s3.get_object, Bucket="home", Key=key)}


@pytest.mark.parametrize("variable", ["sub", "preferred_username"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_one_folder_and_no_part_of_another(homes, variable, name):
    own = {key for key in {f"{folder(n)}/own" for n in NAMES} | {"a/b/own", "a/c"} if key.startswith(f"{folder(name)}/")}
    assert readable(login(homes, name, f"gives-{variable}")) == own
    assert readable(login(homes, name, f"keeps-{variable}")) == own
    s3 = login(homes, name, f"lists-{variable}")
    assert code_of(s3.list_objects_v2, Bucket="home", Prefix=f"{folder(name)}/x") == ""
    for other in NAMES:
        if other != name:
            assert code_of(s3.list_objects_v2, Bucket="home", Prefix=f"{folder(other)}/x") == "AccessDenied", other
    if name != "a":
        assert code_of(s3.list_objects_v2, Bucket="home", Prefix="a/b/x") == "AccessDenied"


def test_who_is_vouched_for_is_no_user_of_the_name(homes):
    for policy in ("gives-username", "lists-username"):
        s3 = login(homes, "victim", policy)
        assert readable(s3) == set()
        assert code_of(s3.list_objects_v2, Bucket="home", Prefix="victim/x") == "AccessDenied"
    assert readable(login(homes, "victim", "keeps-username")) == set(), "no home: all is denied that is in none"
    iam = service(homes, "iam")
    iam.create_policy(PolicyName="named", PolicyDocument=document(
        allow("s3:GetObject"), deny("s3:GetObject", Null={"aws:username": "true"})))
    assert readable(login(homes, "victim", "named")) == set()
    key = iam.create_access_key(UserName="victim")["AccessKey"]
    iam.attach_user_policy(UserName="victim", PolicyArn="arn:aws:iam::000000000000:policy/gives-username")
    assert readable(service(homes, "s3", (key["AccessKeyId"], key["SecretAccessKey"]))) == {"victim/own"}


def test_an_ldap_user_has_one_name_however_it_is_typed(tmp_path):
    directory = test_ldap.Directory(pathlib.Path(tmp_path))
    try:
        filters = {"USER_DN_SEARCH_FILTER": "(|(uid=%s)(cn=%s))", "GROUP_SEARCH_FILTER": "(&(objectClass=groupOfNames)(cn=team)(!(description=%s)))"}
        server = test_ldap.begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on", **filters)
        iam = service(server, "iam")
        iam.create_policy(PolicyName="own", PolicyDocument=document(
            allow("s3:*", resource="arn:aws:s3:::lake/${ldap:username}/*"), allow("s3:ListAllMyBuckets"),
            deny("s3:ListAllMyBuckets", StringEquals={"ldap:username": ["ana", "bob"]})))
        for name in ("uid=ana", "uid=b(o)b"):
            name = f"{name},ou=people,{test_ldap.BASE}"
            assert drystone("policy", "attach", "own", "--ldap-name", name, "--at", server.directory).returncode == 0
        for typed, password, own in [("ana", "ana", "ana"), ("ANA", "ana", "ana"), (" Ana ", "ana", "ana"), ("a\u00adna", "ana", "ana"),
                                     ("B(O)B", "bob", "b(o)b"), ("bob", "bob", "b(o)b")]:
            try:
                s3 = unsigned(server, "AssumeRoleWithLDAPIdentity", LDAPUsername=typed, LDAPPassword=f"{password}-password")
            except ClientError:
                assert typed == "a\u00adna", typed  # A directory may take it for the same name, or not.
                continue
            s3.put_object(Bucket="lake", Key=f"{own}/k", Body=b"")
            assert code_of(s3.list_buckets) == ("AccessDenied" if own == "ana" else ""), typed
            for other in {typed, "ana", "bob", "b(o)b"} - {own}:
                assert code_of(s3.put_object, Bucket="lake", Key=f"{other}/k", Body=b"") == "AccessDenied", (typed, other)
        server.stop()
    finally:
        directory.stop()
