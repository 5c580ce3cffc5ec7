"""Starting and stopping: credentials, identity, health, metrics, TLS."""
import json
import os
import stat
import subprocess

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import BINARY, PASSWORD, USER, drystone


def test_round_trip_and_graceful_stop(start, tmp_path):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"hello")
    code, _ = server.stop()
    assert code == 0
    again = start()
    assert again.client().get_object(Bucket="bucket", Key="k")["Body"].read() == b"hello"


def test_credentials_are_made_once_and_kept_from_others(start, tmp_path):
    server = start(env={})
    path = tmp_path / "drive" / "root-credentials"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    access, secret = path.read_text().split()
    assert len(access) == 20 and len(secret) == 40
    _, log = server.stop()
    assert secret not in log, "not a terminal: the secret is not printed"
    start(env={})
    assert path.read_text().split() == [access, secret]


def test_minio_names_and_files_of_credentials(start, tmp_path):
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    env = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD_FILE": str(tmp_path / "secret")}
    start(env=env).client().list_buckets()


def test_half_of_the_credentials_is_refused(start):
    server = start(env={"DRYSTONE_ROOT_USER": USER}, wait=False)
    assert server.process.wait(10) == 1
    assert "DRYSTONE_ROOT_PASSWORD" in server.process.stderr.read()


def test_second_process_on_the_same_directory_is_refused(start):
    start()
    second = start(wait=False)
    assert second.process.wait(10) == 1
    assert "used by another process" in second.process.stderr.read()


def test_directory_with_other_files_is_refused_and_left_alone(start, tmp_path):
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "thesis.tex").write_text("precious")
    server = start(wait=False)
    assert server.process.wait(10) == 1
    assert "thesis.tex" in server.process.stderr.read()
    assert os.listdir(drive) == ["thesis.tex"]


def test_lost_and_found_does_not_matter(start, tmp_path):
    (tmp_path / "drive" / "lost+found").mkdir(parents=True)
    start().client().list_buckets()


def test_wrong_drive_is_refused(start, tmp_path):
    server = start("--expect-drive", "00" * 16, wait=False)
    assert server.process.wait(10) == 1
    assert not (tmp_path / "drive").exists(), "no other is made where one is expected"
    start().stop()
    server = start("--expect-drive", "00" * 16, wait=False)
    assert server.process.wait(10) == 1
    assert "was expected here" in server.process.stderr.read()


def test_every_other_caller_is_refused(start):
    server = start()
    assert requests.get(server.url, timeout=5).status_code == 403
    import boto3
    from botocore.config import Config
    other = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER,
                         aws_secret_access_key="wrong", config=Config(signature_version="s3v4"))
    with pytest.raises(ClientError) as caught:
        other.list_buckets()
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_health_metrics_and_console(start):
    server = start()
    assert requests.get(f"{server.url}/minio/health/live", timeout=5).status_code == 200
    metrics = f"{server.url}/minio/v2/metrics/cluster"
    assert requests.get(metrics, timeout=5).status_code == 403
    assert requests.get(metrics, headers={"Authorization": "Bearer no"}, timeout=5).status_code == 403
    page = requests.get(f"http://127.0.0.1:{server.console_port}/", timeout=5)
    assert "Drystone 0." in page.text
    server.stop()
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_PROMETHEUS_AUTH_TYPE": "public"}
    open_server = start(env=env)
    open_server.client().list_buckets()
    text = requests.get(f"{open_server.url}/minio/v2/metrics/cluster", timeout=5).text
    assert 'drystone_requests_total{operation="ListBuckets",status="200"} 1' in text


def test_tls_with_both_versions_of_http(start, tmp_path):
    certs = tmp_path / "certs"
    certs.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", certs / "private.key", "-out", certs / "public.crt"], check=True, capture_output=True)
    server = start("--certs-dir", str(certs))
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x" * 300_000)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x" * 300_000
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    for version in ("--http1.1", "--http2"):
        out = subprocess.run(["curl", "-sk", version, "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}", url],
                             capture_output=True, text=True, check=True).stdout
        assert out == f"200 {'2' if version == '--http2' else '1.1'} 300000"
    # The console has the same certificates, and nothing is served in the clear beside them.
    assert "Drystone" in requests.get(f"https://127.0.0.1:{server.console_port}/", timeout=5, verify=False).text
    for port in (server.port, server.console_port):
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=5)
        assert answer.status_code == 400 and answer.text == "This port speaks HTTPS: use https:// instead of http://.\n"
        assert answer.headers["Connection"] == "close"


def test_fsck_and_rebuild(start, tmp_path):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for size in (0, 100, 5000, 400_000):
        for _ in range(2):
            s3.put_object(Bucket="bucket", Key=f"k{size}", Body=b"y" * size)
    busy = drystone("fsck", server.directory)
    assert busy.returncode == 1 and "used by another process" in busy.stderr
    server.stop()
    for command in ("fsck", "rebuild", "fsck"):
        done = drystone(command, server.directory, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert report["problems"] == []
        assert report["counts"]["current_versions"] == 4 and report["counts"]["noncurrent_versions"] == 4
    s3 = start().client()
    assert s3.get_object(Bucket="bucket", Key="k400000")["Body"].read() == b"y" * 400_000


def test_fsck_of_an_empty_directory_changes_nothing(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert drystone("fsck", empty).returncode == 1
    assert os.listdir(empty) == []


def unmounted(tmp_path, mount_point):
    """What runs a program where `/etc/fstab` has a mount point that is not mounted."""
    fstab = tmp_path / "fstab"
    fstab.write_text(f"UUID=1 / ext4 defaults 0 1\nUUID=2 {mount_point} xfs noatime 0 2\n")
    prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {fstab} /etc/fstab && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    return prefix


def test_nothing_becomes_a_drive_where_a_file_system_is_meant_to_be(start, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    prefix = unmounted(tmp_path, one)
    for directory, more in [(one, []), (one / "deeper", []), (other, [str(one)])]:
        server = start(*more, directory=directory, wait=False, prefix=prefix)
        assert server.process.wait(10) == 1
        assert f"{one} is in /etc/fstab and not mounted" in server.process.stderr.read()
        assert os.listdir(one) == os.listdir(other) == []
    # What is a drive already is one, wherever it lies; others that are not mounted are missing.
    start(directory=one, prefix=[]).stop()
    start(directory=one, prefix=prefix).stop()


def test_a_drive_that_is_not_mounted_is_missing_and_none_is_made_in_its_place(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(3)]
    start(*map(str, paths[1:]), directory=paths[0]).stop()
    paths[1].rename(tmp_path / "unplugged")
    paths[1].mkdir()
    prefix = unmounted(tmp_path, paths[1])
    server = start(*map(str, paths[1:]), directory=paths[0], prefix=prefix)
    server.client().create_bucket(Bucket="still-writable")
    refused = drystone("drive", "replace", paths[1], paths[1], "--at", paths[0])
    assert refused.returncode == 1 and "not mounted" in refused.stderr
    code, said = server.stop()
    assert f"{paths[1]} is in /etc/fstab and not mounted" in said
    assert os.listdir(paths[1]) == []


def test_nothing_becomes_a_drive_beside_the_system_where_others_have_devices_of_their_own(start, tmp_path):
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        path.mkdir()
    mount = " && ".join(f"mount -t tmpfs -o size=512m tmpfs {path}" for path in paths[:2])
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0 or tmp_path.stat().st_dev != os.stat("/").st_dev:
        pytest.skip("no mounts here, or nothing on the device of the root directory")
    server = start(*map(str, paths[1:]), directory=paths[0], wait=False, prefix=prefix)
    assert server.process.wait(10) == 1
    assert f"{paths[2]} is not made a drive: it is on the device of the root directory" in server.process.stderr.read()
    assert os.listdir(paths[2]) == []
    # Neither does one that is added to them; if it is what is wanted, it can be said.
    server = start(str(paths[1]), directory=paths[0], prefix=prefix)
    refused = in_namespace_of(server, "drive", "add", paths[2], "--at", paths[0])
    assert refused.returncode == 1 and "--allow-root-device" in refused.stderr
    server.stop()
    server = start(*map(str, paths[1:]), "--allow-root-device", directory=paths[0], prefix=prefix)
    server.client().create_bucket(Bucket="bucket")
    assert "super" in os.listdir(paths[2])


def in_namespace_of(server, *arguments):
    command = ["nsenter", "--mount", "--target", str(server.process.pid), BINARY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_directories_that_fail_together_are_told(start, tmp_path):
    server = start(str(tmp_path / "other"))
    _, said = server.stop()
    assert f"ONE DEVICE  {tmp_path / 'drive'} {tmp_path / 'other'}  (fail together)" in said
