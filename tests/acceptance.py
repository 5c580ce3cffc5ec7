"""Runs the shared acceptance tests against the built server: FOLDER EXCEPTIONS DRIVES CAPABILITY...

DRIVES is a number, or `tls` for one drive behind TLS.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "blackbox"))
from conftest import PASSWORD, USER, Server  # noqa: E402

DOMAIN = "s3.drystone.test"
WEBSITE = "web.drystone.test"


def ordinary_user(url):
    """Makes the second user of the tests, who may do everything in S3 and nothing else."""
    import boto3
    iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1",
                       aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="ordinary")
    iam.attach_user_policy(UserName="ordinary", PolicyArn="arn:aws:iam::aws:policy/readwrite")
    key = iam.create_access_key(UserName="ordinary")["AccessKey"]
    return {"S3_ALT_ACCESS_KEY": key["AccessKeyId"], "S3_ALT_SECRET_KEY": key["SecretAccessKey"]}


def make_certificate(directory):
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", f"{directory}/private.key",
                    "-out", f"{directory}/public.crt"], check=True, capture_output=True)


def main():
    folder, exceptions, drives, *capabilities = sys.argv[1:]
    deselected = []
    for line in open(exceptions, encoding="utf-8"):
        name = line.split("#")[0].strip()
        if name:
            deselected += ["--deselect", name]
    with tempfile.TemporaryDirectory() as directory:
        drive = os.path.join(directory, "drive")
        where = drive if drives in ("1", "tls") else f"{drive}{{1...{drives}}}"
        # `aws s3 presign` signs with version 2 by default.
        arguments = ["--domain", DOMAIN, "--website-domain", WEBSITE, "--allow-sigv2"]
        certificate = os.path.join(directory, "public.crt")
        if drives == "tls":
            make_certificate(directory)
            arguments += ["--certs-dir", directory]
        server = Server(where, *arguments).wait_ready()
        try:
            env = {**os.environ, "S3_ENDPOINT": server.url, "S3_ACCESS_KEY": USER, "S3_SECRET_KEY": PASSWORD,
                   "S3_VHOST_DOMAIN": DOMAIN, "S3_WEBSITE_DOMAIN": WEBSITE, "PYTHONDONTWRITEBYTECODE": "1"}
            if drives == "tls":
                env |= {"S3_CA_BUNDLE": certificate, "AWS_CA_BUNDLE": certificate}
                os.environ["AWS_CA_BUNDLE"] = certificate
            env["PATH"] = os.path.dirname(sys.executable) + os.pathsep + env["PATH"]
            chosen = [piece for name in capabilities for piece in ("--capability", name)]
            env |= ordinary_user(server.url)
            # Options need not name modules that cannot be imported: only files of the capabilities are given.
            files = [f"{folder}/test_{name}.py" for name in capabilities]
            command = [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadfile", "-q", "-p", "no:cacheprovider",
                       f"--rootdir={folder}", "-c", f"{folder}/pytest.ini", *chosen, *deselected, *files]
            code = subprocess.run(command, env=env).returncode
        finally:
            server.stop()
    sys.exit(code)


if __name__ == "__main__":
    main()
