"""Operations of IAM and STS: those that AWS documents and the server does not have are said to be missing (501), and not
to be a mistake of the client; unknown names are."""
import boto3
import pytest

from surfaces import ROOT, STS, Surfaces


def documented(service):
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return client.meta.service_model.operation_names


@pytest.fixture(scope="module")
def answers(server_of_module):
    """Each operation without parameters, signed by the owner, for both services."""
    surfaces = Surfaces(server_of_module)
    return {(service, name): surfaces.query(ROOT, name) for service in ("iam", "sts") for name in documented(service)
            if name in STS or service == "iam" or name.startswith("AssumeRoot")}


@pytest.fixture(scope="module")
def server_of_module(tmp_path_factory):
    from conftest import Server
    server = Server(tmp_path_factory.mktemp("not-there") / "drive").wait_ready()
    yield server
    server.stop()


def test_no_documented_operation_is_said_to_be_unknown(answers):
    wrong = [name for name, answer in answers.items() if "InvalidAction" in answer.text]
    assert len(answers) > 150 and not wrong


def test_what_is_missing_is_not_implemented(answers):
    missing = {name: answer.status_code for name, answer in answers.items() if "<Code>NotImplemented</Code>" in answer.text}
    assert ("iam", "CreateInstanceProfile") in missing and set(missing.values()) == {501}
    assert ("iam", "CreateUser") not in missing


def test_unknown_names_are_mistakes(server_of_module):
    surfaces = Surfaces(server_of_module)
    for name in ("MakeUser", "createuser", "CreateUser ", "x" * 3000):
        answer = surfaces.query(ROOT, name)
        assert answer.status_code == 400 and "<Code>InvalidAction</Code>" in answer.text, (name, answer.text)
