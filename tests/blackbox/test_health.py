"""Health paths, metrics, `drystone status` and MinIO's admin API are made of one account of the server: in each of
ten states they say the same, and what MinIO would say."""
import datetime
import glob
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider

from conftest import PASSWORD, USER, drystone
from test_faults import body, can_unshare
from wall import BUCKET, pull, wall  # noqa: F401

PUBLIC = {"DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}
ENV = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, **PUBLIC}


def faked(days):
    """The environment of a process whose clock is days ahead."""
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        pytest.skip("libfaketime is not here")
    return {"LD_PRELOAD": library[0], "FAKETIME": f"{days:+}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def status_of(server):
    return json.loads(drystone("status", "--json", "--at", server.directory).stdout)["status"]


def health_of(server, path, method="GET"):
    return requests.request(method, f"{server.url}/minio/health/{path}", timeout=10)


def metrics_of(server):
    text = requests.get(f"{server.url}/metrics", timeout=10).text
    values = {}
    for name, labels, value in re.findall(r"^(drystone_\w+)(?:\{(.*)\})? (\d+)$", text, re.MULTILINE):
        values[name, labels] = int(value)
    return values


def info_of(server):
    admin = MinioAdmin(endpoint=server.url.split("//")[1], credentials=StaticProvider(USER, PASSWORD), secure=False)
    return json.loads(admin.info())


def agree(server):
    """Fails if two of them differ; returns what all say."""
    time.sleep(1.1)
    status, metrics, info = status_of(server), metrics_of(server), info_of(server)
    health = status["health"]
    assert info["health"] == health
    gone, none = health["key_service"] == "gone", health["key_service"] == "none"
    for name, value in health.items():
        if name != "key_service":
            assert metrics["drystone_health", f'of="{name}"'] == value, name
    assert metrics["drystone_health", 'of="is_key_service_gone"'] == gone
    assert metrics["drystone_health", 'of="has_key_service"'] == (not none)
    assert ("kms" in info["services"]) and info["services"]["kms"].get("status") == (None if none else "offline" if gone else "online")
    # Each drive, and their sums.
    states = {drive["path"]: drive["state"] for drive in status["drives"]}
    offline = {path for path, state in states.items() if state in ("missing", "failed", "not-trusted")}
    assert {drive["path"] for drive in info["servers"][0]["drives"] if drive["state"] != "ok"} == offline
    assert {path for path in states if metrics["drystone_drive_up", f'drive="{path}"'] == 0} == offline
    assert status["missing_drives"] == metrics["drystone_drives_missing", ""] == info["backend"]["offlineDisks"] == len(offline)
    assert health["drives_offline"] == len(offline) and health["drives_online"] == len(states) - len(offline)
    assert info["backend"]["onlineDisks"] == health["drives_online"]
    healing = {drive["path"] for drive in info["servers"][0]["drives"] if drive["healing"]}
    assert healing == {path for path, state in states.items() if state == "filling"} and len(healing) == health["drives_filling"]
    assert health["drives_draining"] == list(states.values()).count("draining")
    full = {drive["path"] for drive in status["drives"] if drive["is_full"]}
    assert {path for path in states if metrics["drystone_drive_full", f'drive="{path}"']} == full
    assert health["is_full"] == bool(full) and health["drives_full"] == len(full)
    assert status["is_lock_clock_held"] == health["is_clock_held"] == metrics["drystone_lock_clock_held", ""]
    # What orchestrators ask, as MinIO answers.
    for method in ("GET", "HEAD"):
        assert health_of(server, "live", method).status_code == 200
        assert health_of(server, "ready", method).status_code == (503 if gone else 200)
        for path, well, header, quorum in [("cluster", "takes_writes", "x-minio-write-quorum", "write_quorum"),
                                           ("cluster/read", "is_readable", "x-minio-read-quorum", "read_quorum")]:
            answer = health_of(server, path, method)
            assert answer.status_code == (200 if health[well] else 503), path
            assert answer.headers[header] == str(health[quorum]) and answer.headers["x-minio-storage-class-defaults"] == "false"
            assert answer.headers.get("x-minio-healing-drives") == (str(len(healing)) if healing else None)
            assert health_of(server, path + "?maintenance=true", method).status_code == 412
            assert health_of(server, path + "?maintenance=false", method).status_code == answer.status_code
    text = drystone("status", "--at", server.directory).stdout
    assert ("FULL: " in text) == health["is_full"] and ("KEY SERVICE" in text) == gone
    assert ("READ ONLY" in text) == status["is_read_only"] and "NOT CURRENT" not in text and "STOPPING" not in text
    return health


def said(health, **wanted):
    assert {name: health[name] for name in wanted} == wanted


def test_one_drive_that_is_well(start):
    said(agree(start(env=ENV)), takes_writes=True, is_readable=True, is_full=False, write_quorum=1, read_quorum=1,
         drives_online=1, drives_offline=0, key_service="none", is_current=True)


def test_a_drive_that_is_missing(wall):
    four = wall(count=4)
    four.start(env=PUBLIC)
    said(agree(four.server), write_quorum=3, read_quorum=2, drives_online=4)
    four.stop()
    pull(four.directories[3])
    four.start(env=PUBLIC)
    said(agree(four.server), takes_writes=True, is_readable=True, drives_online=3, drives_offline=1)


def test_a_store_that_is_read_only(wall):
    """Two of four drives: MinIO's write quorum is three."""
    four = wall(count=4)
    four.start(env=PUBLIC)
    four.stop()
    for path in four.directories[2:]:
        pull(path)
    four.start(env=PUBLIC)
    said(agree(four.server), takes_writes=False, is_readable=True, drives_offline=2)


@pytest.mark.timeout(180)
def test_drives_that_are_rebuilt_and_emptied(wall, tmp_path):
    four = wall(count=5)
    four.start("--repair-rate", "64KiB", env=PUBLIC)
    four.fill([900_000] * 8)
    four.stop()
    lost = four.directories[4]
    pull(lost)
    four.start("--repair-rate", "64KiB", env=PUBLIC)
    (tmp_path / "fresh").mkdir()
    four.command("drive", "replace", lost, tmp_path / "fresh")
    said(agree(four.server), drives_filling=1, drives_online=5, drives_offline=0, takes_writes=True)


@pytest.mark.timeout(180)
def test_a_drive_that_is_emptied(wall):
    five = wall(count=5)
    five.start("--repair-rate", "64KiB", env=PUBLIC)
    five.fill([900_000] * 8)
    five.wait_whole()
    five.command("drive", "drain", five.directories[4])
    said(agree(five.server), drives_draining=1, drives_online=5, takes_writes=True)


@pytest.mark.skipif(not can_unshare(), reason="no user namespaces here")
@pytest.mark.timeout(120)
def test_a_full_drive_is_said_everywhere_until_there_is_room(start, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    script = tmp_path / "run.sh"
    script.write_text(f'#!/bin/sh\nmount -t tmpfs -o size=96m tmpfs {mount}\nexec "$@"\n')
    script.chmod(0o755)
    server = start("--segment-size", "1MiB", directory=mount, prefix=("unshare", "-rm", str(script)), env=ENV)
    # The socket is below the mount, which is seen through the process.
    server.directory = f"/proc/{server.process.pid}/root{mount}"
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    said(agree(server), is_full=False)
    for number in range(400):
        try:
            s3.put_object(Bucket="bucket", Key=f"k{number:03}", Body=body(number, 500_000))
        except ClientError:
            break
    said(agree(server), is_full=True, takes_writes=True, is_readable=True, drives_full=1)
    for key in s3.list_objects_v2(Bucket="bucket")["Contents"]:
        s3.delete_object(Bucket="bucket", Key=key["Key"])
    deadline = time.monotonic() + 60
    while status_of(server)["health"]["is_full"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    said(agree(server), is_full=False)
    time.sleep(1.5)
    _, text = server.stop()
    assert text.count("a drive is full: new objects are refused with 507") == 1 and "a drive has room again" in text


class Vault(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()


def test_a_key_service_that_is_gone(start):
    vault = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vault)
    vault.status = 200
    threading.Thread(target=vault.serve_forever, daemon=True).start()
    server = start(env={**ENV, "DRYSTONE_VAULT_URL": f"http://127.0.0.1:{vault.server_port}", "DRYSTONE_VAULT_TOKEN": "t"})
    said(agree(server), key_service="answers", takes_writes=True)
    vault.status = 503
    said(agree(server), key_service="gone", takes_writes=True, is_readable=True)
    vault.status = 429
    said(agree(server), key_service="answers")
    vault.shutdown()
    vault.server_close()
    said(agree(server), key_service="gone")


def test_a_clock_that_is_behind(start):
    server = start(env=ENV)
    s3 = server.client()
    s3.create_bucket(Bucket="locks", ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
    s3.put_object(Bucket="locks", Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    server.stop()
    server = start(env={**ENV, **faked(400)})
    # Signatures of this process are of another year there: the socket and the public paths are asked.
    health = status_of(server)["health"]
    assert health["is_clock_held"] and health["takes_writes"]
    time.sleep(1.1)
    metrics = metrics_of(server)
    assert metrics["drystone_health", 'of="is_clock_held"'] == metrics["drystone_lock_clock_held", ""] == 1
    assert health_of(server, "cluster").status_code == health_of(server, "ready").status_code == 200


def test_a_server_that_stops(start):
    server = start("--bucket-defaults", "open", env=ENV)
    server.client().create_bucket(Bucket="bucket", ACL="public-read-write")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert status_of(server)["health"]["is_stopping"]
        assert "STOPPING" in drystone("status", "--at", server.directory).stdout
        for path in ("minio/health/ready", "minio/health/cluster", "metrics", ""):
            answer = requests.get(f"{server.url}/{path}", timeout=5)
            assert answer.status_code == 503 and answer.headers["Connection"] == "close"
    server.process.wait(timeout=30)


def test_a_server_that_has_not_started_answers_nowhere(start, tmp_path):
    """Nothing listens before everything is ready, so that no path says less than another."""
    server = start(wait=False, env=ENV)
    seen = set()
    while "ready" not in seen:
        done = drystone("status", "--json", "--at", tmp_path / "drive")
        try:
            answer = health_of(server, "cluster")
        except requests.RequestException:
            seen.add("nothing")
            continue
        assert answer.status_code == 200
        assert done.returncode == 0 or "nothing" in seen
        seen.add("ready")
    agree(server)


def lines_of(text):
    return [json.loads(line)["fields"] for line in text.splitlines() if "administration: " in line]


def test_each_change_by_the_administration_has_a_line(start, tmp_path):
    """Who, what, from where, and what came of it; no secret, and nothing of what only looks."""
    server = start("--json", env=ENV)
    at = ("--at", server.directory)
    drystone("user", "add", "anna", *at)
    drystone("user", "list", *at)
    drystone("status", *at)
    drystone("user", "add", "anna", *at)
    admin = MinioAdmin(endpoint=server.url.split("//")[1], credentials=StaticProvider(USER, PASSWORD), secure=False)
    admin.user_add("bert", "secret-of-bert")
    admin.user_list()
    admin.policy_set("readonly", user="bert")
    import boto3
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER,
                       aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="carl")
    iam.list_users()
    kms = boto3.client("kms", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER,
                       aws_secret_access_key=PASSWORD)
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=made)
    kms.describe_key(KeyId=made)
    key = iam.create_access_key(UserName="carl")["AccessKey"]
    carl = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"])
    with pytest.raises(ClientError):
        carl.delete_user(UserName="anna")
    _, text = server.stop()
    lines = lines_of(text)
    short = [(line["operation"], line["subjects"], line["from"], line["message"].split()[-1]) for line in lines]
    assert short[0] == ("user-add", "name=anna", "socket", "changed")
    assert short[1][3] == "refused" and lines[1]["status"] == 409
    assert ("add-user", "accessKey=bert", "127.0.0.1", "changed") in short
    assert ("CreateUser", "UserName=carl", "127.0.0.1", "changed") in short
    assert ("CreateAccessKey", "UserName=carl", "127.0.0.1", "changed") in short
    assert short[-1] == ("DeleteUser", "UserName=anna", "127.0.0.1", "refused")
    assert lines[-1]["principal"].endswith("user/carl") and lines[-1]["access_key"] == key["AccessKeyId"]
    assert ("DisableKey", f"KeyId={made}", "127.0.0.1", "changed") in short
    assert len(lines) == 9, short
    assert "secret-of-bert" not in text and key["SecretAccessKey"] not in text


def certificate(folder, days=0):
    """A certificate for two days, made as if it were some days later."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout",
                    folder / "private.key", "-out", folder / "public.crt"], check=True, capture_output=True,
                   env={**os.environ, **(faked(days) if days else {})})
    (folder / "private.key").chmod(0o600)


@pytest.mark.parametrize("days, said", [(0, None), (-400, "expired at 20"), (400, "is not valid before 20")])
def test_a_certificate_out_of_its_time_is_said_at_the_start(start, tmp_path, days, said):
    certificate(tmp_path / "certs", days)
    _, text = start("--certs-dir", str(tmp_path / "certs"), env=ENV).stop()
    assert (said in text and "clients will refuse" in text) if said else "clients will refuse" not in text
    assert "private key" not in text


def test_a_key_that_others_can_read_or_that_is_encrypted_is_said(start, tmp_path):
    certs = tmp_path / "certs"
    certificate(certs)
    (certs / "private.key").chmod(0o644)
    _, text = start("--certs-dir", str(certs), env=ENV).stop()
    assert "every user of the machine can read the private key" in text
    for form in (["pkcs8", "-topk8"], ["rsa", "-aes128", "-traditional"]):
        done = subprocess.run(["openssl", *form, "-in", certs / "private.key", "-passout", "pass:secret", "-out", certs / "sealed"],
                              capture_output=True)
        if done.returncode:
            continue
        other = tmp_path / form[0]
        other.mkdir()
        (other / "public.crt").write_bytes((certs / "public.crt").read_bytes())
        (other / "private.key").write_bytes((certs / "sealed").read_bytes())
        server = start("--certs-dir", str(other), env=ENV, wait=False)
        assert server.process.wait(20) == 1
        assert "private.key is encrypted" in server.process.stderr.read()


def test_certificates_where_minio_has_them_serve_both_ports(start, tmp_path):
    (tmp_path / ".minio").mkdir()
    certificate(tmp_path / ".minio" / "certs")
    server = start(env={**ENV, "HOME": str(tmp_path)}, wait=False)
    server.url = server.url.replace("http:", "https:")
    server.wait_ready()
    assert requests.get(f"https://127.0.0.1:{server.console_port}/", verify=False, timeout=5).status_code == 200
    for port in (server.port, server.console_port):
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=5)
        assert answer.status_code == 400 and "https://" in answer.text
