"""Each header that is a condition key is read or refused by every operation for which it is one: what a policy demands is done."""
import hashlib
import pathlib
import re
import subprocess

import pytest
import requests

from conftest import Server
from people import allow, deny, document, service, signed, user_with
from test_fourth_attack_facts import EXTRACT, archive

FACTS = (pathlib.Path(__file__).parents[3] / "crates/s3/src/authorize/facts.rs").read_text()
HEADERS = [*re.findall(r'"([\w-]+)"', FACTS.split("const HEADERS: &[&str] = &[")[1].split("];")[0]),
           "x-amz-server-side-encryption-customer-algorithm"]
LOCKS = ["x-amz-object-lock-mode", "x-amz-object-lock-legal-hold", "x-amz-object-lock-retain-until-date"]
KEY = b"k" * 32
B64 = lambda data: subprocess.run(["base64", "-w0"], input=data, capture_output=True, check=True).stdout.decode()
CUSTOMER = {f"x-amz-server-side-encryption-customer-{name}": value
            for name, value in (("algorithm", "AES256"), ("key", B64(KEY)), ("key-MD5", B64(hashlib.md5(KEY).digest())))}
EVERYONE = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
RETENTION = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2199-01-01T00:00:00Z"}
# What is sent with a header of a new object.
SENT = {
    "x-amz-acl": {"x-amz-acl": "public-read"},
    "x-amz-metadata-directive": {"x-amz-metadata-directive": "REPLACE"},
    "x-amz-object-ownership": {"x-amz-object-ownership": "ObjectWriter"},
    "x-amz-server-side-encryption": {"x-amz-server-side-encryption": "AES256"},
    "x-amz-server-side-encryption-aws-kms-key-id": {"x-amz-server-side-encryption": "aws:kms",
                                                    "x-amz-server-side-encryption-aws-kms-key-id": "none-such"},
    "x-amz-server-side-encryption-customer-algorithm": CUSTOMER,
    "x-amz-storage-class": {"x-amz-storage-class": "STANDARD_IA"},
    "x-amz-website-redirect-location": {"x-amz-website-redirect-location": "/elsewhere"},
    "x-amz-copy-source": {"x-amz-copy-source": "data/source"},
    "if-match": {"if-match": '"0123456789abcdef0123456789abcdef"'},
    "if-none-match": {"if-none-match": "*"},
    "x-amz-object-lock-mode": RETENTION,
    "x-amz-object-lock-retain-until-date": RETENTION,
    "x-amz-object-lock-legal-hold": {"x-amz-object-lock-legal-hold": "ON"},
    **{name: {name: EVERYONE} for name in HEADERS if name.startswith("x-amz-grant-")},
}
# What stands in a document says this of what is in it.
IN_BODIES = ("PutObject by a form", "PutObject in an archive")
# A part replaces nothing, and neither does the beginning of an upload: each condition on what is replaced holds.
HOLDS = {(operation, name) for operation in ("UploadPart", "CreateMultipartUpload") for name in ("if-match", "if-none-match")}


class World:
    def __init__(self, directory):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", f"{directory}/private.key", "-out", f"{directory}/public.crt"],
                       check=True, capture_output=True)
        self.server = Server(directory / "drive", "--bucket-defaults", "open", "--certs-dir", str(directory)).wait_ready()
        self.s3, self.number = service(self.server, "s3"), 0
        for name in ("data", "locked", "appends"):
            headers = {"x-drystone-appends": "true"} if name == "appends" else {}
            headers |= {"x-amz-bucket-object-lock-enabled": "true"} if name == "locked" else {}
            signed(self.server, "PUT", f"/{name}", headers=headers)
            signed(self.server, "PUT", f"/{name}?ownershipControls", b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter"
                   b"</ObjectOwnership></Rule></OwnershipControls>")
        self.s3.put_object(Bucket="data", Key="source", Body=b"source", Metadata={"of": "source"})
        self.iam = service(self.server, "iam")
        self.key = user_with(self.server, allow("*"))
        self.name = self.iam.list_users()["Users"][-1]["UserName"]

    def policy(self, *statements):
        self.iam.put_user_policy(UserName=self.name, PolicyName="p", PolicyDocument=document(*statements))

    def ask(self, method, path, body=b"", headers=None, key=None):
        return signed(self.server, method, path, body, headers, *([key] if key else []))

    def new(self):
        self.number += 1
        return f"k{self.number}"

    def upload(self, path, headers=None, key=None):
        made = self.ask("POST", f"{path}?uploads", b"", headers, key)
        return made, "".join(re.findall("<UploadId>(.*)</UploadId>", made.text))

    def complete(self, path, upload, headers=None, key=None, part=True):
        if part:
            customer = {name: value for name, value in (headers or {}).items() if "customer" in name}
            tag = self.ask("PUT", f"{path}?partNumber=1&uploadId={upload}", b"bytes", customer).headers.get("ETag", '"x"')
        body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>".encode()
        return self.ask("POST", f"{path}?uploadId={upload}", body, headers, key)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("conditions"))
    yield world
    world.server.stop()


# Each operation that writes an object or reads one: the request with these headers, and the path of what it made.
def put(world, headers, key, bucket="data"):
    path = f"/{bucket}/{world.new()}"
    return world.ask("PUT", path, b"bytes", headers, key), path


def put_over(world, headers, key):
    path = f"/data/{world.new()}"
    world.ask("PUT", path, b"before")
    return world.ask("PUT", path, b"bytes", headers, key), path


def append(world, headers, key, offset=6):
    path = f"/appends/{world.new()}"
    if offset:
        world.ask("PUT", path, b"before")
    return world.ask("PUT", path, b"bytes", {"x-amz-write-offset-bytes": str(offset), **headers}, key), path


def copy(world, headers, key):
    path = f"/data/{world.new()}"
    return world.ask("PUT", path, b"", {"x-amz-copy-source": "data/source", **headers}, key), path


def create(world, headers, key):
    path = f"/data/{world.new()}"
    made, upload = world.upload(path, headers, key)
    if made.status_code == 200:
        assert world.complete(path, upload, {n: v for n, v in headers.items() if "customer" in n}).status_code == 200
    return made, path


def part(world, headers, key):
    path = f"/data/{world.new()}"
    _, upload = world.upload(path, {n: v for n, v in headers.items() if "customer" in n})
    return world.ask("PUT", f"{path}?partNumber=1&uploadId={upload}", b"bytes", headers, key), path


def part_copy(world, headers, key):
    path = f"/data/{world.new()}"
    _, upload = world.upload(path, {n: v for n, v in headers.items() if "customer" in n})
    return world.ask("PUT", f"{path}?partNumber=1&uploadId={upload}", b"", {"x-amz-copy-source": "data/source", **headers}, key), path


def complete(world, headers, key):
    path = f"/data/{world.new()}"
    if "if-none-match" in headers:
        world.ask("PUT", path, b"before")
    _, upload = world.upload(path, {n: v for n, v in headers.items() if "customer" in n})
    return world.complete(path, upload, headers, key), path


def rename(world, headers, key):
    source, path = world.new(), f"/data/{world.new()}"
    world.ask("PUT", f"/data/{source}", b"bytes")
    if "if-none-match" in headers:
        world.ask("PUT", path, b"before")
    return world.ask("PUT", f"{path}?renameObject", b"", {"x-amz-rename-source": source, **headers}, key), path


def delete(world, headers, key):
    path = f"/data/{world.new()}"
    world.ask("PUT", path, b"before")
    return world.ask("DELETE", path, b"", headers, key), path


def delete_many(world, headers, key):
    path = f"/data/{world.new()}"
    world.ask("PUT", path, b"before")
    body = f"<Delete><Object><Key>{path[6:]}</Key></Object></Delete>".encode()
    answer = world.ask("POST", "/data?delete", body, headers, key)
    answer.status_code = 403 if "<Code>AccessDenied<" in answer.text else answer.status_code
    return answer, path


def form(world, headers, key):
    path = f"/data/{world.new()}"
    names = {name: value for name, value in headers.items()}
    made = service(world.server, "s3", key or ("blackbox-user", "blackbox-password")).generate_presigned_post(
        "data", path[6:], Fields=names, Conditions=[{name: value} for name, value in names.items()])
    return requests.post(made["url"], data=made["fields"], files={"file": b"bytes"}, timeout=20, verify=False), path


def extract(world, headers, key):
    path = f"/data/{world.new()}"
    return world.ask("PUT", "/data/a.tar", archive(path[6:], {}), {**EXTRACT, **headers}, key), path


def entry(world, headers, key):
    path = f"/data/{world.new()}"
    answer = world.ask("PUT", "/data/a.tar", archive(path[6:], headers), EXTRACT, key)
    return answer, path


def read(method, query=""):
    def ask(world, headers, key):
        path = f"/data/{world.new()}"
        world.ask("PUT", path, b"bytes")
        extra = {"x-amz-object-attributes": "ETag"} if query else {}
        return world.ask(method, path + query, b"", {**extra, **headers}, key), path
    return ask


def bucket(world, headers, key):
    path = f"/made-{world.new()}"
    return world.ask("PUT", path, b"", headers, key), path


def bucket_list(world, headers, key):
    return world.ask("PUT", "/data?acl", b"" if any("acl" in n or "grant" in n for n in headers) else LIST, headers, key), "/data"


def object_list(world, headers, key):
    path = f"/data/{world.new()}"
    world.ask("PUT", path, b"bytes")
    return world.ask("PUT", f"{path}?acl", b"" if any("acl" in n or "grant" in n for n in headers) else LIST, headers, key), path


LIST = b"<AccessControlPolicy><AccessControlList/></AccessControlPolicy>"
OPERATIONS = {
    "PutObject": put, "PutObject over another": put_over, "PutObject with a lock": lambda w, h, k: put(w, h, k, "locked"),
    "PutObject that appends": append, "PutObject that begins by appending": lambda w, h, k: append(w, h, k, 0),
    "PutObject by a form": form, "PutObject of an archive": extract, "PutObject in an archive": entry,
    "CopyObject": copy, "CreateMultipartUpload": create, "UploadPart": part, "UploadPartCopy": part_copy,
    "CompleteMultipartUpload": complete, "RenameObject": rename, "DeleteObject": delete, "DeleteObjects": delete_many,
    "GetObject": read("GET"), "HeadObject": read("HEAD"), "GetObjectAttributes": read("GET", "?attributes"),
    "CreateBucket": bucket, "PutBucketAcl": bucket_list, "PutObjectAcl": object_list,
}


def done(world, operation, name, path):
    """Whether what a header says was done to what a request made."""
    if name == "x-amz-copy-source":
        return "Copy" in operation
    if name == "x-amz-acl" or name.startswith("x-amz-grant-"):
        permission = {"x-amz-acl": "READ"}.get(name, name.removeprefix("x-amz-grant-").replace("-", "_").upper())
        grants = re.findall(r"AllUsers</URI></Grantee><Permission>(\w+)<", world.ask("GET", f"{path}?acl").text)
        return permission in grants
    if name == "x-amz-object-ownership":
        return "ObjectWriter" in world.ask("GET", f"{path}?ownershipControls").text
    if "customer" in name:
        return world.ask("HEAD", path).status_code == 400 or operation in ("UploadPart", "UploadPartCopy")
    head = world.ask("HEAD", path).headers
    if name == "x-amz-metadata-directive":
        return operation == "CopyObject" and "x-amz-meta-of" not in head
    if name in ("if-match", "if-none-match"):
        # That none holds: a request that was done with it did not read it. `*` holds for what is new.
        return name == "if-none-match" and operation not in ("PutObject over another", "CompleteMultipartUpload", "RenameObject")
    return head.get(name, "")[:10] == SENT[name][name][:10]


def test_every_header_and_operation_is_walked():
    assert len(HEADERS) > 15 and set(HEADERS) | set(LOCKS) == set(SENT)
    reading = FACTS.split("fn reads(")[1].split("\n}\n")[0]
    for function in ("fn sent_lock", "fn sent_tags"):
        reading += FACTS.split(function)[1].split("\n}\n")[0]
    assert set(re.findall(r"O::(\w+)", reading)) == {name.split()[0] for name in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", SENT)
def test_what_counts_is_done_or_refused(world, operation, name):
    """Method: a deny of what has a header says whether it counts for an operation. If it does, the owner's request is refused, or
    what the header says is done. Users who are allowed only what has it are held to the same."""
    if name == "x-amz-copy-source" and operation.startswith(("PutObject", "UploadPart")) and operation not in IN_BODIES:
        pytest.skip("With it this is a copy.")
    sent = dict(SENT[name])
    if operation in ("CopyObject", "UploadPartCopy") and name == "x-amz-copy-source":
        sent = {}
    key = name.replace("x-amz-object-lock", "object-lock") if name in LOCKS else name
    world.policy(allow("*"), deny("s3:*", Null={f"s3:{key}": "false"}))
    refused, _ = OPERATIONS[operation](world, sent, world.key)
    in_archive = operation == "PutObject in an archive"
    counts = refused.status_code == 403
    answer, path = OPERATIONS[operation](world, sent, None)
    is_done = answer.status_code in (200, 204)
    if in_archive:
        is_done &= world.ask("HEAD", path).status_code in (200, 400)
    if counts and is_done and (operation, name) not in HOLDS:
        assert done(world, operation, name, path), (operation, name)
    if not counts and is_done and name not in ("if-match", "if-none-match") and not operation.startswith(("Get", "Head", "Delete")):
        assert not done(world, operation, name, path), f"{operation} does what {name} says, and it is no condition key"


NONE = '"http://acs.amazonaws.com/groups/global/AuthenticatedUsers"'
GRANTS = {
    "bare": EVERYONE.replace('"', ""), "quoted": EVERYONE, "spaces": EVERYONE.replace("=", " = "), "twice": f"{EVERYONE},{EVERYONE}",
    "behind another": f"uri={NONE}, {EVERYONE}", "behind blanks": f"uri={NONE}{' ' * 5000},{EVERYONE}",
}


@pytest.mark.parametrize("wanted", ["bare", "quoted"])
@pytest.mark.parametrize("sent", GRANTS)
def test_a_grant_meets_a_condition_in_each_spelling_and_beside_others(world, sent, wanted):
    """Goal: who may not give something to all does not by another spelling, also of an upload in parts; and who may give it to some
    does not give it to more. Method: the four polarities of a condition."""
    key, value, headers = "s3:x-amz-grant-read", GRANTS[wanted], {"x-amz-grant-read": GRANTS[sent]}
    is_one = sent in ("bare", "quoted", "spaces")
    statuses = {
        "deny": (allow("*"), deny("s3:PutObject", StringEquals={key: value})),
        "deny-like": (allow("*"), deny("s3:PutObject", StringLike={key: "*AllUsers*"})),
        "allow-not": (allow("s3:PutObject", "s3:PutObjectAcl", StringNotEquals={key: value}),),
        "allow": (allow("s3:PutObject", "s3:PutObjectAcl", StringEquals={key: value}),),
        "deny-not": (allow("*"), deny("s3:PutObject", StringNotEquals={key: value})),
    }
    for case, statements in statuses.items():
        world.policy(*statements)
        expected = 200 if is_one and case in ("allow", "deny-not") else 403
        path = f"/data/{world.new()}"
        assert world.ask("PUT", path, b"x", headers, world.key).status_code == expected, case
        begun, upload = world.upload(path, headers)
        assert begun.status_code == 200
        part = world.ask("PUT", f"{path}?partNumber=1&uploadId={upload}", b"x", {}, world.key)
        assert part.status_code == expected, case
