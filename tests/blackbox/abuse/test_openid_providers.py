"""OpenID providers that an account makes by the IAM API: they are kept, bounded, and vouch for tokens where whoever runs the
server lets it ask their issuers (`--openid-issuers`)."""
import base64
import json
import socket
import time

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server, free_port
from surfaces import Surfaces
from test_federation import Provider


ISSUER = "https://issuer.example/realm"
ARN = "arn:aws:iam::000000000000:oidc-provider/issuer.example/realm"
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}


def client(server, service, key=(USER, PASSWORD)):
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key[0],
                        aws_secret_access_key=key[1], config=Config(retries={"max_attempts": 1}))


def code_of(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def test_a_provider_is_kept_as_it_was_made(start):
    server = start()
    iam = client(server, "iam")
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    made = iam.create_open_id_connect_provider(Url=ISSUER + "/", ClientIDList=["a", "b"], ThumbprintList=["0a" * 20],
                                               Tags=[{"Key": "team", "Value": "x"}])
    assert made["OpenIDConnectProviderArn"] == ARN and made["Tags"] == [{"Key": "team", "Value": "x"}]
    assert code_of(iam.create_open_id_connect_provider, Url=ISSUER) == "EntityAlreadyExists"
    name = {"OpenIDConnectProviderArn": ARN}
    for _ in range(2):
        iam.add_client_id_to_open_id_connect_provider(**name, ClientID="c")
        iam.remove_client_id_from_open_id_connect_provider(**name, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(**name, ThumbprintList=["f" * 40, "0" * 40])
    iam.tag_open_id_connect_provider(**name, Tags=[{"Key": "cost", "Value": "1"}])
    iam.untag_open_id_connect_provider(**name, TagKeys=["team"])
    server.kill()
    server = start()
    iam = client(server, "iam")
    found = iam.get_open_id_connect_provider(**name)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == ("issuer.example/realm", ["b", "c"], ["f" * 40, "0" * 40])
    assert found["Tags"] == [{"Key": "cost", "Value": "1"}]
    assert iam.list_open_id_connect_provider_tags(**name)["Tags"] == found["Tags"]
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [{"Arn": ARN}]
    # Both times: the operation is idempotent.
    for _ in range(2):
        iam.delete_open_id_connect_provider(**name)
    assert code_of(iam.get_open_id_connect_provider, **name) == "NoSuchEntity"
    assert code_of(iam.tag_open_id_connect_provider, **name, Tags=[{"Key": "a", "Value": "b"}]) == "NoSuchEntity"
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


@pytest.mark.parametrize("wrong", [
    {"Url": "issuer.example"}, {"Url": "http://issuer.example"}, {"Url": "https://issuer.example/?a=b"}, {"Url": "ftp://issuer.example"},
    {"Url": "https://issuer.example/*"}, {"Url": ISSUER, "ThumbprintList": ["-" * 40]},
    {"Url": ISSUER, "ThumbprintList": ["0" * 40] * 6},
])
def test_what_is_no_provider_is_refused(shared, wrong):
    iam = client(shared, "iam")
    assert code_of(iam.create_open_id_connect_provider, **wrong) == "InvalidInput"
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def test_providers_and_their_clients_are_bounded(shared):
    iam = client(shared, "iam")
    url = "https://many.example/0"
    clients = [f"client-{n}" for n in range(101)]
    assert code_of(iam.create_open_id_connect_provider, Url=url, ClientIDList=clients) == "LimitExceeded"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=clients[:100])["OpenIDConnectProviderArn"]
    assert code_of(iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=arn, ClientID="more") == "LimitExceeded"
    for number in range(1, 100):
        iam.create_open_id_connect_provider(Url=f"https://many.example/{number}")
    assert code_of(iam.create_open_id_connect_provider, Url="https://many.example/100") == "LimitExceeded"
    listed = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert len(listed) == 100
    for provider in listed:
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider["Arn"])
    iam.create_open_id_connect_provider(Url="https://many.example/100")
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn="arn:aws:iam::000000000000:oidc-provider/many.example/100")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("openid") / "drive").wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def provider():
    provider = Provider(free_port())
    yield provider
    provider.stop()


def trusting(host, account="000000000000"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {f"{host}:sub": "ana", f"{host}:aud": "drystone"}}}]})


def role(iam, host, account="000000000000"):
    arn = iam.create_role(RoleName=f"web-{time.monotonic_ns()}", AssumeRolePolicyDocument=trusting(host, account))["Role"]["Arn"]
    iam.put_role_policy(RoleName=arn.rsplit("/", 1)[1], PolicyName="read", PolicyDocument=json.dumps(READ))
    return arn


def unsigned(**claims):
    """A token with a signature that no key made."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return f"{part({'alg': 'RS256', 'kid': 'a'})}.{part(claims)}.c2lnbmF0dXJl"


def take_on(server, arn, token):
    sts = boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED))
    return sts.assume_role_with_web_identity(WebIdentityToken=token, RoleArn=arn, RoleSessionName="test")


def session(server, found):
    keys = found["Credentials"]
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=keys["AccessKeyId"],
                        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])


def test_a_provider_vouches_for_its_tokens(start, provider):
    server = start("--openid-issuers", f"https://elsewhere.example,{provider.url}")
    iam, s3, host = client(server, "iam"), server.client(), provider.url.split("://")[1]
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"x")
    arn = role(iam, host)
    # Nobody made the provider yet: what the operator lets the server ask vouches for no one by itself.
    assert code_of(take_on, server=server, arn=arn, token=provider.token()) == "InvalidIdentityToken"
    made = iam.create_open_id_connect_provider(Url=provider.url, ClientIDList=["another"])["OpenIDConnectProviderArn"]
    assert code_of(take_on, server=server, arn=arn, token=provider.token()) == "InvalidIdentityToken"
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=made, ClientID="drystone")
    found = take_on(server, arn, provider.token())
    assert (found["Provider"], found["Audience"], found["SubjectFromWebIdentityToken"]) == (host, "drystone", "ana")
    own = session(server, found)
    assert own.get_object(Bucket="lake", Key="k")["Body"].read() == b"x"
    assert code_of(own.put_object, Bucket="lake", Key="k", Body=b"") == "AccessDenied"
    assert code_of(take_on, server=server, arn=arn, token=provider.token(sub="bob")) == "AccessDenied"
    forged = provider.token()[:-8] + "AAAAAAAA"
    assert code_of(take_on, server=server, arn=arn, token=forged) == "InvalidIdentityToken"
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=made)
    assert code_of(take_on, server=server, arn=arn, token=provider.token()) == "InvalidIdentityToken"


def test_a_provider_vouches_in_its_own_account_only(start, provider):
    server = start("--openid-issuers", provider.url)
    host = provider.url.split("://")[1]
    other = Surfaces(server).account("111111111111")
    theirs, ours = client(server, "iam", (other.access_key, other.secret_key)), client(server, "iam")
    theirs.create_open_id_connect_provider(Url=provider.url, ClientIDList=["drystone"])
    # A role of another account, whatever it trusts.
    for account in ("000000000000", "111111111111"):
        assert code_of(take_on, server=server, arn=role(ours, host, account), token=provider.token()) == "InvalidIdentityToken"
    # A role of the account that trusts a provider of another one.
    assert code_of(take_on, server=server, arn=role(theirs, host, "000000000000"), token=provider.token()) == "AccessDenied"
    assert take_on(server, role(theirs, host, "111111111111"), provider.token())["Provider"] == host


def test_the_server_asks_no_issuer_that_its_operator_did_not_name(start):
    """Goal: an account cannot make the server send requests wherever it likes. Method: the issuer is a socket that would see it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(1)
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        server = start()
        iam = client(server, "iam")
        iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=["drystone"])
        token = unsigned(iss=f"https://{host}", aud="drystone", sub="ana", exp=int(time.time()) + 600)
        with pytest.raises(ClientError) as caught:
            take_on(server, role(iam, host), token)
        assert caught.value.response["Error"]["Code"] == "IDPCommunicationError" and "--openid-issuers" in str(caught.value)
        with pytest.raises(TimeoutError):
            listening.accept()
    _, log = server.stop()
    assert "does not act" in log
