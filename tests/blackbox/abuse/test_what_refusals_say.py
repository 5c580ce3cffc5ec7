"""Refusals say what is wrong, and to strangers no more than before."""
import pytest
import requests
from botocore.credentials import Credentials

from conftest import BINARY, PASSWORD, USER, Server, drystone
from surfaces import ALLOW_ALL, ROOT, Surfaces, field


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("says") / "drive").wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize("method,target,headers,named", [
    ("PUT", "/bucket?newthing", {}, "newthing"),
    ("GET", "/bucket?metadataTable", {}, "GetBucketMetadataTableConfiguration"),
    ("PUT", "/bucket/key", {"x-amz-server-side-encryption": "aws:kms:dsse"}, "aws:kms:dsse"),
])
def test_what_is_not_implemented_is_named(server, method, target, headers, named):
    surfaces = Surfaces(server)
    surfaces.s3(ROOT, "PUT", "/bucket")
    answer = surfaces.send(ROOT, "s3", method, target, b"", headers)
    assert answer.status_code == 501 and field(answer.text, "Code") == "NotImplemented"
    assert named in field(answer.text, "Message"), answer.text


@pytest.mark.parametrize("name,rule", [
    ("ab", "3 to 63"), ("Upper", "lower-case"), ("-begins", "begins and ends"), ("a..b", "beside"), ("192.168.0.1", "IP address"),
    ("xn--name", "xn--"), ("name-s3alias", "-s3alias"), ("under_score", "lower-case"),
])
def test_the_rule_of_a_name_is_said(server, name, rule):
    answer = Surfaces(server).s3(ROOT, "PUT", f"/{name}")
    assert answer.status_code == 400 and field(answer.text, "Code") == "InvalidBucketName"
    assert rule in field(answer.text, "Message"), answer.text


def test_a_disabled_key_is_said_to_its_owner_only(server):
    surfaces = Surfaces(server)
    for number, disable in enumerate(["key", "user"]):
        key = surfaces.user(f"disabled{number}", ALLOW_ALL)
        if disable == "key":
            surfaces.root("UpdateAccessKey", UserName=f"disabled{number}", AccessKeyId=key.access_key, Status="Inactive")
        else:
            assert surfaces.api(ROOT, "user-enable", name=f"disabled{number}", enabled=False).status_code == 200
        answer = surfaces.s3(key, "GET", "/")
        assert answer.status_code == 403 and field(answer.text, "Code") == "InvalidAccessKeyId"
        assert "disabled" in field(answer.text, "Message"), answer.text
        stranger = surfaces.s3(Credentials(key.access_key, "w" * 40), "GET", "/")
        assert stranger.status_code == 403 and "disabled" not in stranger.text, stranger.text
        assert field(stranger.text, "Code") == "SignatureDoesNotMatch"
        answer = surfaces.query(key, "GetCallerIdentity")
        assert answer.status_code == 403 and field(answer.text, "Code") == "InvalidClientTokenId" and "disabled" in answer.text


def test_a_revoked_session_is_said_to_its_holder_only(server):
    surfaces = Surfaces(server)
    session = surfaces.session(surfaces.user("revoked", ALLOW_ALL))
    assert surfaces.s3(session, "GET", "/").status_code == 200
    assert surfaces.api(ROOT, "user-end-sessions", name="revoked").status_code == 200
    answer = surfaces.s3(session, "GET", "/")
    assert field(answer.text, "Code") == "InvalidToken" and "revoked" in field(answer.text, "Message"), answer.text
    stranger = surfaces.s3(Credentials(session.access_key, "w" * 40, session.token), "GET", "/")
    assert "revoked" not in stranger.text, stranger.text


def test_policies_that_are_built_in_say_so(server):
    surfaces, text = Surfaces(server), '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    arn = "arn:aws:iam::000000000000:policy/readonly"
    for answer in (surfaces.api(ROOT, "policy-set", name="readonly", document=text),
                   surfaces.api(ROOT, "policy-remove", name="readonly"),
                   surfaces.minio(ROOT, "PUT", "add-canned-policy", text.encode(), name="readonly"),
                   surfaces.minio(ROOT, "DELETE", "remove-canned-policy", name="readonly"),
                   surfaces.query(ROOT, "CreatePolicy", PolicyName="readonly", PolicyDocument=text)):
        assert 400 <= answer.status_code < 500 and ("built in" in answer.text or "comes with the server" in answer.text), answer.text


def test_the_setting_of_the_metrics_token_is_named(server):
    answer = requests.get(f"{server.url}/metrics", timeout=20)
    assert answer.status_code == 403 and "DRYSTONE_METRICS_TOKEN" in answer.text


def test_missing_certificates_are_said_to_be_missing(start, tmp_path):
    for made in (False, True):
        directory = tmp_path / f"certs{made}"
        if made:
            directory.mkdir()
        server = start("--certs-dir", str(directory), wait=False)
        assert server.process.wait(timeout=20) != 0
        said = server.process.stderr.read()
        assert f"{directory / 'public.crt' if made else directory} is missing" in said and "PEM" not in said, said


def test_sizes_of_terabytes_are_understood(start):
    assert start("--put-limit", "1TiB").process.poll() is None
    refused = start("--put-limit", "1XiB", wait=False)
    assert refused.process.wait(timeout=20) != 0
