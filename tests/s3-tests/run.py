"""Runs ceph/s3-tests (beside the repo, as it is) against a server of its own, over TLS: with accounts and keys of the key service, and
compares what fails with `expected.toml`, where each failure has its class and its reason.

usage: run.py SUITE [-k WORD] [--json FILE] [--page FILE]     DRYSTONE_BINARY names the program
"""
import argparse
import configparser
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

import boto3
import requests

import judge

HERE = pathlib.Path(__file__).parent
BINARY = os.environ["DRYSTONE_BINARY"]
ROOT = ("s3-tests-owner", "s3-tests-password")
# The files that are run, and by which of two configurations.
FILES = {"test_s3.py": "s3", "test_headers.py": "s3", "test_iam.py": "identities", "test_sts.py": "identities"}
# They belong to capabilities that are not there yet, or to RGW alone.
LEFT_OUT = ["lifecycle_expiration", "lifecycle_transition", "cloud_transition", "cloud_restore", "fails_without_logging_rollover",
            "webidentity_test", "sns", "s3select"]
# The provider that test_iam.py makes.
OPENID_ISSUER = "http://s3-tests/example.com"
ACCOUNTS = {"s3 alt": "111111111111", "s3 tenant": "222222222222", "iam root": "333333333333", "iam alt root": "444444444444"}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def drystone(*arguments):
    made = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    if made.returncode:
        raise RuntimeError(f"drystone {' '.join(map(str, arguments))}: {made.stderr}")
    return made.stdout


class Server:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        certs = folder / "certs"
        certs.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", certs / "private.key", "-out", certs / "public.crt"],
                       check=True, capture_output=True)
        env = {"PATH": os.environ["PATH"], "DRYSTONE_ROOT_USER": ROOT[0], "DRYSTONE_ROOT_PASSWORD": ROOT[1]}
        self.drive, log = folder / "drive", open(folder / "server.log", "w")
        self.process = subprocess.Popen(
            [BINARY, "server", self.drive, "--address", f"127.0.0.1:{self.port}", "--console-address", f"127.0.0.1:{free_port()}",
             "--certs-dir", certs, "--bucket-defaults", "open", "--access-log", "off", "--segment-size", "32MiB",
             "--log-delivery-seconds", "2", "--allow-sigv2", "--openid-issuers", OPENID_ISSUER], env=env, stderr=log)
        for _ in range(300):
            try:
                if requests.get(f"https://localhost:{self.port}/minio/health/ready", timeout=1, verify=False).status_code == 200:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError((folder / "server.log").read_text())

    def client(self, service, key):
        return boto3.client(service, endpoint_url=f"https://localhost:{self.port}", region_name="us-east-1", verify=False,
                            aws_access_key_id=key[0], aws_secret_access_key=key[1])

    def owner_of(self, key):
        owner = self.client("s3", key).list_buckets()["Owner"]
        return owner["ID"], owner.get("DisplayName", "")

    def configure(self):
        """The files that the suite reads, for its files of S3 and for those of identities: who there is, and which keys."""
        made = configparser.RawConfigParser()
        made["DEFAULT"] = {"host": "localhost", "port": self.port, "is_secure": "True", "ssl_verify": "False"}
        made["fixtures"] = {"bucket prefix": "test-{random}-", "iam name prefix": "s3-tests-", "iam path prefix": "/s3-tests/"}
        keys = []
        for name in ("testkey-1", "testkey-2"):
            drystone("kms", "add", name, "--at", self.drive)
            keys.append(f"arn:aws:kms:us-east-1:000000000000:key/{name}")
        made["s3 main"] = self.person(ROOT, "main") | {
            "api_name": "us-east-1", "kms_keyid": keys[0], "kms_keyid2": keys[1]}
        for section, account in ACCOUNTS.items():
            name = section.replace(" ", "-")
            said = json.loads(drystone("account", "add", account, name, "--json", "--at", self.drive))
            key = said["secret"]["access_key"], said["secret"]["secret_key"]
            made[section] = self.person(key, name)
            if section.startswith("iam"):
                made[section]["user_id"] = account
        made["s3 tenant"]["tenant"] = ACCOUNTS["s3 tenant"]
        made["iam"] = dict(made["s3 main"])
        of_s3 = self.write("s3.conf", made)
        made["s3 alt"] = self.make_user("s3-tests-alt")
        return {"s3": of_s3, "identities": self.write("identities.conf", made)}

    def write(self, name, configuration):
        with open(self.folder / name, "w") as file:
            configuration.write(file)
        return self.folder / name

    def make_user(self, name):
        """To the files of identities `s3 alt` is a user of the account of `iam`, who may do everything in S3 unless a policy denies."""
        iam = self.client("iam", ROOT)
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/readwrite")
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"], "user_id": name, "display_name": name,
                "email": f"{name}@example.com"}

    def person(self, key, name):
        user, shown = self.owner_of(key)
        return {"access_key": key[0], "secret_key": key[1], "user_id": user, "display_name": shown, "email": f"{name}@example.com"}

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=60)


def outcome_of(case):
    """What the report says of one test."""
    marked = any(entry.get("name") == "fails_on_aws" for entry in case.iter("property"))
    for kind, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        said = case.find(kind)
        if said is not None:
            text = said.get("message") or ""
            return judge.Case(outcome, text if outcome == "skipped" else f"{text}\n{said.text or ''}", marked)
    return judge.Case("passed", fails_on_aws=marked)


def run_suite(suite, confs, word, folder):
    """Outcome of each test, with what it says."""
    found = {}
    for file, conf in FILES.items():
        report = folder / f"{file}.xml"
        command = [sys.executable, "-m", "pytest", f"s3tests/functional/{file}", "-q", "--timeout=120", "-p", "no:cacheprovider",
                   "-p", "suite_plugin", "-m", " and ".join(f"not {marker}" for marker in LEFT_OUT), f"--junitxml={report}",
                   "--tb=short"]
        command += ["-k", word] if word else []
        with open(folder / f"{file}.log", "w") as log:
            certificate = str(folder / "certs" / "public.crt")
            env = {**os.environ, "S3TEST_CONF": str(confs[conf]), "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
                   "SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate, "AWS_DEFAULT_REGION": "us-east-1"}
            # The other implementation of botocore's client takes no header that is a number, as some tests of headers send.
            env["BOTO_DISABLE_CRT"] = str(file == "test_headers.py").lower()
            subprocess.run(command, cwd=suite, env=env, stdout=log, stderr=log, timeout=3600)
        if not report.exists():
            raise RuntimeError((folder / f"{file}.log").read_text()[-2000:])
        for case in ElementTree.parse(report).iter("testcase"):
            name, outcome = f"{file}::{case.get('name')}", outcome_of(case)
            # A test whose cleaning up fails stands in the report twice: what it said itself counts.
            if name not in found or found[name].outcome == "passed":
                found[name] = outcome
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("suite", type=pathlib.Path)
    arguments.add_argument("-k", dest="word", help="only the tests that pytest chooses by this")
    arguments.add_argument("--json", type=pathlib.Path, help="where the outcomes are written")
    arguments.add_argument("--page", type=pathlib.Path, help="where the page of the whole suite is written")
    asked = arguments.parse_args()
    requests.packages.urllib3.disable_warnings()
    table = judge.load_table((HERE / "expected.toml").read_text())
    with tempfile.TemporaryDirectory(prefix="s3-tests-") as folder:
        folder = pathlib.Path(folder)
        server = Server(folder)
        try:
            found = run_suite(asked.suite, server.configure(), asked.word, folder)
        finally:
            server.stop()
    if asked.json:
        asked.json.write_text(json.dumps({name: dataclasses.astuple(case) for name, case in found.items()}, indent=1))
    counts = {kind: sum(case.outcome == kind for case in found.values()) for kind in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    problems = judge.problems(found, table, whole=not asked.word)
    print("\n".join(problems))
    if asked.page and not asked.word and not problems:
        asked.page.write_text(judge.page(found, table))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
