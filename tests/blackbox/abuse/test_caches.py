"""What is remembered is bounded in bytes, and nothing of what was not verified is kept."""
import json
import socket

from people import service, signed

from conftest import USER
from pressure import MIB, held, watched


def test_regions_of_wrong_signatures(start):
    """Signing keys of services are derived for any region: none is kept for a signature that is wrong."""
    server = start()
    import datetime
    now = datetime.datetime.now(datetime.timezone.utc)
    before = held(server)
    with watched(server) as watch, socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        answers = sock.makefile("rb")
        for number in range(1500):
            region = f"{number}-" + "r" * 50_000
            credential = f"{USER}/{now:%Y%m%d}/{region}/iam/aws4_request"
            sock.sendall((
                f"POST / HTTP/1.1\r\nHost: x\r\nx-amz-date: {now:%Y%m%dT%H%M%SZ}\r\nContent-Length: 15\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, "
                f"Signature={'0' * 64}\r\n\r\nAction=GetUser&").encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = answers.readline()
                assert line, f"closed after {number}"
                head += line
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.read(length)
            assert head.split()[1] in (b"400", b"403"), head
    assert watch.grown < 32 * MIB, (watch.grown / MIB, before / MIB)


def test_identities_with_large_policies(start):
    """Each of many users has the largest policy there may be, of the shortest values: what it compiles to is weighed."""
    server = start()
    iam = service(server, "iam")
    values = ["a"] * 4800
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": {"StringEquals": {"aws:UserAgent": values}}}]},
        separators=(",", ":"))
    assert len(policy) <= 20_480
    keys = []
    for number in range(160):
        name = f"user-{number}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys.append((key["AccessKeyId"], key["SecretAccessKey"]))
    with watched(server) as watch:
        for key in keys:
            assert signed(server, "GET", "/", key=key).status_code == 403
    assert watch.grown < 72 * MIB, watch.grown / MIB
