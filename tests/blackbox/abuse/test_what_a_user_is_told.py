"""What a new user of the server is told: whose a key is, why a code or a name does not count, what is missing."""
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import BINARY, PASSWORD, USER, drystone, free_port
from people import code_of, service
from test_mfa import Device, code_at


def refused(run, **parameters):
    with pytest.raises(Exception) as caught:
        run(**parameters)
    return caught.value.response["Error"]


def test_a_key_says_whose_it_is(start):
    server = start()
    at = ("--at", server.directory)
    drystone("user", "add", "anna", *at)
    none = drystone("key", "add", *at)
    assert none.returncode == 2 and "--user" in none.stderr and "--root" in none.stderr, none.stderr
    both = drystone("key", "add", "--user", "anna", "--root", *at)
    assert both.returncode == 2
    for option, holder in [(("--user", "anna"), "user anna"), (("--root",), "the owner of the server")]:
        text = drystone("key", "add", *option, *at)
        assert text.stdout.splitlines()[0] == f"Holder      {holder}" and "Secret key" in text.stdout, text
        made = json.loads(drystone("key", "add", *option, "--json", *at).stdout)["secret"]
        assert made["holder"] == holder and made["access_key"] and made["secret_key"]


def test_the_start_counts_other_keys_of_the_owner(start):
    server = start()
    at = ("--at", server.directory)
    keys = [json.loads(drystone("key", "add", "--root", "--json", *at).stdout)["secret"]["access_key"] for _ in range(3)]
    assert drystone("key", "disable", keys[0], *at).returncode == 0
    assert "besides the root keys" not in server.stop()[1]
    assert "Owner       2 keys besides the root keys" in start().stop()[1]


def test_a_code_says_why_it_does_not_count(start):
    server = start()
    s3, at = server.client(), server.directory
    s3.create_bucket(Bucket="bucket")
    ask = lambda header: refused(s3.put_bucket_versioning, Bucket="bucket", MFA=header,
                                 VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"})["Message"]
    device = Device(server)
    serial = device.serial
    assert "mfa confirm" in ask(device.header())
    assert drystone("mfa", "confirm", device.code(), "--at", at).returncode == 0
    used = code_at(device.secret, device.next - 1)
    assert "used already" in ask(f"{serial} {used}")
    assert drystone("mfa", "remove", "--at", at).returncode == 0
    assert "drystone mfa enroll" in ask(f"{serial} 123456")


def test_a_name_of_ldap_is_a_distinguished_one(start):
    server = start()
    at = ("--at", server.directory)
    for name in ("lena", "lena,dc=example", "uid=,dc=x", "=x", "uid=a,,dc=x"):
        for_name = drystone("policy", "attach", "readonly", "--ldap-name", name, *at)
        assert for_name.returncode == 1 and "distinguished name" in for_name.stderr, name
    assert drystone("policy", "attach", "readonly", "--ldap-name", "uid=le\\,na, dc=x", *at).returncode == 0
    assert drystone("policy", "detach", "readonly", "--ldap-name", "lena", *at).returncode == 0


def test_errors_name_what_is_missing(start):
    server = start()
    s3 = server.client()
    for name in ("here", "there", "locked"):
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=name == "locked")
    error = refused(s3.copy_object, Bucket="here", Key="copy", CopySource="there/gone")
    # In the words of S3, with the source in an element of its own.
    assert (error["Code"], error["Key"]) == ("NoSuchKey", "gone"), error
    error = refused(s3.rename_object, Bucket="here", Key="new", RenameSource="old")
    assert (error["Code"], error["Key"]) == ("NoSuchKey", "old"), error
    error = refused(s3.put_object, Bucket="here", Key="k", Body=b"x", WriteOffsetBytes=0)
    assert error["Code"] == "NotImplemented" and "drystone bucket appends here" in error["Message"], error
    error = refused(s3.put_bucket_versioning, Bucket="locked", VersioningConfiguration={"Status": "Suspended"})
    assert error["Code"] == "InvalidBucketState" and "Object Lock" in error["Message"], error
    lock = {"ObjectLockEnabled": "Enabled"}
    error = refused(s3.put_object_lock_configuration, Bucket="here", ObjectLockConfiguration=lock)
    assert error["Code"] == "InvalidBucketState" and "versioning" in error["Message"], error
    account = ("account", "add", "111122223333", "other", "--at", server.directory)
    assert drystone(*account).returncode == 0 and "An account" in drystone(*account).stderr
    explained = drystone("explain", "0123456789ABCDEF", "--at", server.directory)
    assert "wrong signatures" in explained.stderr


@pytest.mark.parametrize("line,text", [(1, " blackbox\nblackbox-password\n"), (2, "blackbox\nblackbox-password \n")])
def test_blanks_around_root_credentials_are_refused(start, line, text):
    server = start(env={})
    server.stop()
    file = server.directory / "root-credentials"
    file.write_text(text)
    run = start(env={}, wait=False)
    assert run.process.wait(20) != 0 and f"root-credentials, line {line}: begins or ends with a blank" in run.process.stderr.read()


def test_blanks_in_the_environment_and_empty_directories_are_refused(tmp_path):
    def run(directory, **env):
        ports = ("--address", f"127.0.0.1:{free_port()}", "--console-address", f"127.0.0.1:{free_port()}")
        return subprocess.run([BINARY, "server", directory, *ports], capture_output=True, text=True, timeout=20, cwd=tmp_path,
                              env={"PATH": os.environ["PATH"], "DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, **env})
    for name in ("DRYSTONE_ROOT_USER", "DRYSTONE_ROOT_PASSWORD"):
        done = run("d", **{name: "blackbox-text "})
        assert done.returncode != 0 and name in done.stderr and "no blanks" in done.stderr, done.stderr
    done = run("")
    assert done.returncode != 0 and "the name of a directory is empty" in done.stderr, done.stderr


def wait_for(what, timeout=10):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hangup_opens_the_access_log_again(start, tmp_path):
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    server = start("--access-log", str(log))
    s3 = service(server, "s3")
    s3.create_bucket(Bucket="first")
    wait_for(lambda: log.exists() and "/first" in log.read_text())
    log.rename(old)
    server.process.send_signal(signal.SIGHUP)
    wait_for(log.exists)
    assert code_of(s3.create_bucket, Bucket="second") == ""
    wait_for(lambda: "/second" in log.read_text())
    assert "/second" not in old.read_text()
    code, said = server.stop()
    assert code == 0 and said.count("SIGHUP") == 1
