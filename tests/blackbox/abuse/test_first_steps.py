"""What a new user gets wrong is answered with what is wrong and what to do, and changes nothing."""
import json
import os
import pathlib
import re
import socket
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider

from conftest import BINARY, PASSWORD, USER, drystone, free_port


def refused(tmp_path, *arguments, env=None, directory="drive"):
    """What a server says that does not start; nothing may have been made."""
    command = [BINARY, "server", str(tmp_path / directory), *arguments]
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / directory).exists(), "a start that cannot succeed makes no drive"
    return done.stderr


@pytest.mark.parametrize("command", [["fsck"], ["fsck", "--json"], ["rebuild"], ["rebuild", "--salvage"]])
def test_a_path_that_is_not_there_is_not_made(tmp_path, command):
    done = drystone(*command, tmp_path / "nope")
    assert done.returncode == 1 and f"{tmp_path / 'nope'} does not exist" in done.stderr
    (tmp_path / "empty").mkdir()
    done = drystone(*command, tmp_path / "empty")
    assert done.returncode == 1 and "is an empty directory" in done.stderr and "not empty" not in done.stderr
    (tmp_path / "file").write_text("x")
    done = drystone(*command, tmp_path / "file")
    assert done.returncode == 1 and "is not a directory" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"] and os.listdir(tmp_path / "empty") == []


def test_a_server_that_expects_a_drive_makes_no_directory(tmp_path):
    assert "does not exist" in refused(tmp_path, "--expect-drive", "00" * 16, "--address", "127.0.0.1:0",
                                       "--console-address", "127.0.0.1:0")


@pytest.mark.parametrize("option", ["--address", "--console-address"])
@pytest.mark.parametrize("address, said", [
    ("127.0.0.1:99999", "not an address"),
    ("nonsense", "not an address"),
    (":port", "not an address"),
    ("192.0.2.1:9000", "this machine does not have this address"),
])
def test_a_wrong_address_makes_no_drive(tmp_path, option, address, said):
    other = "--console-address" if option == "--address" else "--address"
    text = refused(tmp_path, option, address, other, "127.0.0.1:0")
    assert f"{option} {address}" in text and said in text


@pytest.mark.parametrize("option", ["--address", "--console-address"])
def test_a_used_port_makes_no_drive(tmp_path, option):
    other = "--console-address" if option == "--address" else "--address"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = refused(tmp_path, option, address, other, "127.0.0.1:0")
    assert f"{option} {address}: the port is in use" in text and f"choose another port with {option}" in text


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_one_port_for_both_makes_no_drive(tmp_path, host):
    port = free_port()
    text = refused(tmp_path, "--address", f"127.0.0.1:{port}", "--console-address", f"{host}:{port}")
    assert "are the same port" in text or "in use" in text


@pytest.mark.parametrize("name", [f"{prefix}_ROOT_{kind}{suffix}" for prefix in ("DRYSTONE", "MINIO")
                                  for kind in ("USER", "PASSWORD") for suffix in ("", "_FILE")])
def test_empty_credentials_are_not_taken_for_none(tmp_path, name):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, name: ""}
    assert f"{name} is set, but empty" in refused(tmp_path, env=env)
    assert f"{name} is set, but empty" in refused(tmp_path, env={name: ""})


def test_a_start_says_where_the_root_keys_are_in_plain_words(start, tmp_path):
    file = tmp_path / "drive" / "root-credentials"
    for env, said in [({}, f"Root keys   made now and kept in {file}\n"), ({}, f"Root keys   in {file}\n"),
                      (None, f"Root keys   from the environment; those in {file} do not count\n")]:
        _, text = start(env=env).stop()
        assert said in text
        for puzzle in ("rebuilt=", "frames=", "sealed=", "term="):
            assert puzzle not in text
    other = tmp_path / "other"
    _, text = start(directory=other).stop()
    assert "Root keys   from the environment\n" in text


def test_copies_of_the_root_keys_that_differ_are_named(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(3)]

    def stop_and_read(env):
        return start(*map(str, paths[1:]), directory=paths[0], env=env).stop()[1]

    assert "differ" not in stop_and_read({})
    assert "differ" not in stop_and_read({}), "each drive has a copy by now"
    changed = paths[0] / "root-credentials"
    changed.write_text("ANOTHERKEY\nanother-secret-key\n")
    said = stop_and_read({})
    for stale in paths[1:]:
        assert f"stale={stale}/root-credentials" in said and f"counts={changed}" in said
    assert "differ" not in stop_and_read(None), "keys of the environment count, no file does"
    for stale in paths[1:]:
        (stale / "root-credentials").write_text(changed.read_text())
    assert "differ" not in stop_and_read({})


@pytest.mark.parametrize("option", ["--access-log", "--keyring"])
def test_a_file_that_cannot_be_is_named_and_makes_no_drive(start, tmp_path, option):
    file = tmp_path / "no" / "file"
    text = refused(tmp_path, option, str(file), "--address", "127.0.0.1:0", "--console-address", "127.0.0.1:0")
    assert f"{option} {file}: there is no directory {file.parent}" in text
    # In the directory of the drive, which is made, there can be one.
    start(option, str(tmp_path / "drive" / "file")).stop()
    assert (tmp_path / "drive" / "file").stat().st_size > 0 or option == "--access-log"


def test_an_access_log_that_cannot_be_opened_is_named(start, tmp_path):
    server = start("--access-log", str(tmp_path), wait=False)
    assert server.process.wait(20) == 1
    assert f"--access-log {tmp_path}: cannot be opened" in server.process.stderr.read()


@pytest.mark.parametrize("budget", ["256", "1MiB", "0", "much"])
def test_a_memory_budget_without_its_unit_is_refused(tmp_path, budget):
    text = refused(tmp_path, "--memory-budget", budget)
    assert f'--memory-budget is "{budget}"; allowed: 4MiB or more' in text


def test_commands_say_why_no_server_answers(start, tmp_path):
    done = drystone("status", "--at", tmp_path / "nope")
    assert done.returncode == 1 and "no server was started on this directory" in done.stderr
    server = start()
    server.kill()
    done = drystone("status", "--at", server.directory)
    assert done.returncode == 1 and "no server runs on this directory now" in done.stderr


def test_fsck_names_a_drive_that_is_missing(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(4)]
    server = start(*map(str, paths[1:]), directory=paths[0])
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x" * 300_000)
    server.stop()
    paths[3].rename(tmp_path / "unplugged")
    done = drystone("fsck", *paths)
    assert f"MISSING {paths[3]}" in done.stdout
    assert f"NOT CHECKED {paths[3]}: it is not there" in done.stdout and done.returncode == 1
    assert "everything that was checked holds" in done.stdout and "everything holds" not in done.stdout
    done = drystone("fsck", *paths[:3])
    assert "everything holds on the drives that are here" in done.stdout and done.returncode == 1
    report = json.loads(drystone("fsck", "--json", *paths).stdout)
    assert report["not_checked"] == [{"directory": str(paths[3]), "reason": "it is not there"}]
    assert report["missing_drives"] == [str(paths[3])] and not paths[3].exists()


def test_drives_are_named_by_paths_from_where_the_command_runs(start, tmp_path):
    # With two there is a third one at once; from one to two the server starts itself again.
    server = start(str(tmp_path / "other"), directory=tmp_path / "one")
    (tmp_path / "elsewhere" / "two").mkdir(parents=True)

    def run(*arguments):
        return subprocess.run([BINARY, "drive", *arguments, "--at", "../one"], cwd=tmp_path / "elsewhere",
                              capture_output=True, text=True, timeout=30, check=False)

    added = run("add", "./two")
    assert added.returncode == 0, added.stderr
    assert str(tmp_path / "elsewhere" / "two") in run("list").stdout
    assert run("drain", "./two").returncode == 0
    unknown = run("drain", "./three")
    assert unknown.returncode == 1 and "drystone drive list" in unknown.stderr
    assert server.process.poll() is None


def test_a_boundary_is_shown_and_a_refused_session_names_the_right(start):
    server = start()

    def client(service, access=USER, secret=PASSWORD):
        return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                            aws_secret_access_key=secret)

    iam = client("iam")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    edge = iam.create_policy(PolicyName="edge", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.create_user(UserName="anna", PermissionsBoundary=edge)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {
        "AWS": "arn:aws:iam::000000000000:user/anna"}}]}
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust), PermissionsBoundary=edge)
    for kind in ("user", "role"):
        shown = drystone(kind, "list", "--at", server.directory)
        assert "BOUNDARY" in shown.stdout and "edge" in shown.stdout
        row = json.loads(drystone(kind, "list", "--json", "--at", server.directory).stdout)[f"{kind}s"][0]
        assert row["boundary"] == "edge"
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    sts = client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    role = {"RoleArn": "arn:aws:iam::000000000000:role/reader", "RoleSessionName": "job"}
    sts.assume_role(**role)
    for more, right in [({"SourceIdentity": "anna"}, "sts:SetSourceIdentity"),
                        ({"Tags": [{"Key": "k", "Value": "v"}]}, "sts:TagSession")]:
        with pytest.raises(ClientError) as caught:
            sts.assume_role(**role, **more)
        assert f"not authorized to perform: {right} on" in caught.value.response["Error"]["Message"]
        why = drystone("explain", caught.value.response["ResponseMetadata"]["RequestId"], "--at", server.directory).stdout
        assert f"asked for {right} on {role['RoleArn']}" in why and "user/anna" in why


def test_documents_are_taken_with_what_copying_and_editors_put_before_them(start, tmp_path):
    server = start()
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    for command, statement in [(("policy", "set", "mine"), allow), (("role", "set", "mine"), trust),
                               (("key", "add", "--root", "--policy-file"), allow)]:
        for number, before in enumerate(["    ", "\n\t", "\ufeff", "\ufeff\r\n "]):
            file = tmp_path / f"{number}.json"
            file.write_text(before + json.dumps({"Version": "2012-10-17", "Statement": [statement]}) + "\n")
            done = drystone(*command, file, "--at", server.directory)
            assert done.returncode == 0, (command, before, done.stderr)


def test_a_policy_that_comes_with_the_server_says_so(start):
    server = start()
    done = drystone("policy", "remove", "readonly", "--at", server.directory)
    assert done.returncode == 1 and "comes with the server and cannot be removed" in done.stderr
    assert "one copy of everything: survives no lost drive" in drystone("status", "--at", server.directory).stdout


def test_every_setting_of_the_environment_is_documented():
    root = pathlib.Path(__file__).parents[3]
    source = (root / "crates/server/src/config/names.rs").read_text()
    names = set(re.findall(r'"([A-Z0-9_]+)"', source.split("const NAMES: &[&str] = &[")[1].split("];")[0]))
    assert {"REGION", "ALLOW_SIGV2", "MEMORY_BUDGET", "IDLE_TIMEOUT", "METRICS_TOKEN", "ROOT_USER"} <= names
    listed = (root / "docs/settings.md").read_text()
    assert [name for name in sorted(names) if f"`DRYSTONE_{name}`" not in listed] == []
    documented = (root / "README.md").read_text() + listed + "".join(
        drystone(command, "--help").stdout for command in ("server", "bench", "status"))
    missing = [name for name in sorted(names) if not re.search(rf"\b(DRYSTONE|MINIO)_{name}\b", documented)]
    assert missing == []


def test_minios_tools_see_a_missing_drive(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(4)]
    server = start(*map(str, paths[1:]), directory=paths[0])

    def seen():
        admin = MinioAdmin(endpoint=server.url.split("//")[1], credentials=StaticProvider(USER, PASSWORD), secure=False)
        info = json.loads(admin.info())
        states = sorted(drive["state"] for drive in info["servers"][0]["drives"])
        return states, info["backend"]["onlineDisks"], info["backend"]["offlineDisks"]

    assert seen() == (["ok"] * 4, 4, 0)
    server.stop()
    paths[3].rename(tmp_path / "unplugged")
    server = start(*map(str, paths[1:]), directory=paths[0])
    assert seen() == (["offline"] + ["ok"] * 3, 3, 1)


def test_both_commands_that_end_sessions_of_a_user_say_that_they_are_one():
    assert "the same as `session revoke --user NAME`" in " ".join(drystone("user", "end-sessions", "--help").stdout.split())
    revoke = " ".join(drystone("session", "revoke", "--help").stdout.split())
    assert "the same as `user end-sessions NAME`" in revoke and "Access keys and passwords stay" in revoke
    assert "[default: 300]" in drystone("server", "--help").stdout
