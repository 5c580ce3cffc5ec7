"""Every condition key that a document may name acts, at every place where it may stand; every other is refused (finding 17)."""
import base64
import datetime
import json
import pathlib
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

import test_ldap
from conftest import PASSWORD, USER, Server, drystone, free_port
from test_mfa import Device
from people import allow, code_of, deny, document, service, signed

ACCOUNT, BUCKET = "000000000000", "data"
TABLE = pathlib.Path(__file__).parents[3] / "crates/iam/src/keys.rs"
ROWS = re.findall(r'^    (key|resource_key|part_key)\(\s*"([^"]+)",\s*K::(\w+),\s*F::(\w+)', TABLE.read_text(), re.M)
KEYS = {name: (made == "resource_key", kind, filled) for made, name, kind, filled in ROWS}

# Documented by AWS, and nothing that a request to this server has. From the IAM user guide ("AWS global condition
# context keys") and the Service Authorization Reference (S3, STS, IAM).
NEVER = """aws:CalledVia aws:CalledViaFirst aws:CalledViaLast aws:ChatbotSourceArn aws:Ec2InstanceSourcePrivateIPv4
    aws:Ec2InstanceSourceVpc aws:FederatedProvider aws:PrincipalOrgID aws:PrincipalOrgPaths aws:ResourceOrgID
    aws:ResourceOrgPaths aws:SourceOrgID aws:SourceOrgPaths aws:SourceOwner aws:SourceVpc aws:SourceVpcArn aws:SourceVpce
    aws:VpceAccount aws:VpceOrgID aws:VpceOrgPaths aws:VpcSourceIp aws:AssumedRoot aws:SignInSessionArn
    s3:AccessGrantsInstanceArn s3:ExistingJobOperation s3:ExistingJobPriority s3:JobSuspendedCause s3:RequestJobOperation
    s3:RequestJobPriority s3:x-amz-object-annotation-directive s3:destinationRegion s3:isReplicationPauseRequest
    s3:no-such-key aws:NoSuchKey ec2:Region iam:AWSServiceName iam:AssociatedResourceArn iam:OrganizationsPolicyId
    iam:PassedToService sts:AWSServiceName saml:sub saml:aud kms:ViaService jwt:nonce ldap:mail""".split()


class Provider:
    """An OpenID provider that says what it is told to."""

    def __init__(self, directory):
        self.key, self.port = directory / "provider.pem", free_port()
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True, text=True)
        self.url = f"http://127.0.0.1:{self.port}"
        jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k", "e": "AQAB",
               "n": self.b64(bytes.fromhex(modulus.stdout.strip().split("=")[1]))}
        pages = {"/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
                 "/keys": {"keys": [jwk]}}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(pages.get(self.path, {})).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def token(self, **claims):
        now = int(time.time())
        claims = {"iss": self.url, "aud": "client", "sub": "ana", "iat": now, "exp": now + 3600, **claims}
        text = ".".join(self.b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k", "typ": "JWT"}, claims))
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True, capture_output=True)
        return f"{text}.{self.b64(made.stdout)}"


class World:
    def __init__(self, directory):
        self.provider = Provider(directory)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", f"{directory}/private.key",
                        "-out", f"{directory}/public.crt"], check=True, capture_output=True)
        (directory / "ldap").mkdir()
        self.ldap = test_ldap.Directory(directory / "ldap")
        ldap = {"SERVER_ADDR": f"127.0.0.1:{self.ldap.port}", "SERVER_INSECURE": "on", "LOOKUP_BIND_DN": f"cn=reader,{test_ldap.BASE}",
                "LOOKUP_BIND_PASSWORD": "lookup-password", "USER_DN_SEARCH_BASE_DN": f"ou=people,{test_ldap.BASE}",
                "USER_DN_SEARCH_FILTER": "(uid=%s)", "GROUP_SEARCH_BASE_DN": f"ou=groups,{test_ldap.BASE}",
                "GROUP_SEARCH_FILTER": "(&(objectClass=groupOfNames)(member=%d))"}
        env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
               **{f"MINIO_IDENTITY_LDAP_{name}": value for name, value in ldap.items()},
               "MINIO_IDENTITY_OPENID_CONFIG_URL": f"{self.provider.url}/.well-known/openid-configuration",
               "MINIO_IDENTITY_OPENID_CLIENT_ID": "client", "MINIO_IDENTITY_OPENID_ROLE_POLICY": "claimed"}
        self.server = Server(directory / "drive", "--bucket-defaults", "open", "--certs-dir", str(directory), env=env).wait_ready()
        self.s3 = self.service("s3")
        self.s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        self.s3.create_bucket(Bucket="log")
        self.s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
        self.s3.put_bucket_acl(Bucket=BUCKET, ACL="log-delivery-write")
        self.version = self.s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", Tagging="color=red")["VersionId"]
        signed(self.server, "POST", f"/v20180820/tags/arn%3Aaws%3As3%3A%3A%3A{BUCKET}",
               b'<TagResourceRequest xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"><Tags><Tag><Key>team</Key>'
               b"<Value>a</Value></Tag></Tags></TagResourceRequest>", {"x-amz-account-id": ACCOUNT})
        point = signed(self.server, "PUT", "/v20180820/accesspoint/door", b'<CreateAccessPointRequest xmlns="http://awss3control.'
                       b'amazonaws.com/doc/2018-08-20/"><Bucket>data</Bucket></CreateAccessPointRequest>', {"x-amz-account-id": ACCOUNT})
        self.alias = re.search("<Alias>(.*)</Alias>", point.text).group(1)
        self.point = re.search("<AccessPointArn>(.*)</AccessPointArn>", point.text).group(1)
        iam = self.service("iam")
        iam.create_user(UserName="caller", Tags=[{"Key": "dept", "Value": "x"}])
        iam.create_group(GroupName="crew")
        iam.add_user_to_group(GroupName="crew", UserName="caller")
        self.user_id = iam.get_user(UserName="caller")["User"]["UserId"]
        key = iam.create_access_key(UserName="caller")["AccessKey"]
        self.key = (key["AccessKeyId"], key["SecretAccessKey"])
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                 "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}
        self.trust = trust
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=document(trust))
        self.iam, self.sessions = iam, {}
        # Anyone who is no user has this policy: with a claim, from the LDAP server, or in a session of a role.
        self.claimed_arn = iam.create_policy(PolicyName="claimed", PolicyDocument=document(allow("*")))["Policy"]["Arn"]
        iam.create_role(RoleName="claimer", AssumeRolePolicyDocument=document(trust))
        iam.attach_role_policy(RoleName="claimer", PolicyArn=self.claimed_arn)
        vouched = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
                   "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/127.0.0.1:{self.provider.port}"}}
        self.vouched = vouched
        iam.create_role(RoleName="web", AssumeRolePolicyDocument=document(vouched))
        name = f"uid=ana,ou=people,{test_ldap.BASE}"
        assert drystone("policy", "attach", "claimed", "--ldap-name", name, "--at", self.server.directory).returncode == 0

    def stop(self):
        self.server.stop()
        self.ldap.stop()

    def service(self, name, key=(USER, PASSWORD), **config):
        return service(self.server, name, key, **config)

    def spelled(self, name):
        """A key as this provider's claims are named."""
        return name.replace("PROVIDER", f"127.0.0.1:{self.provider.port}")

    def policy_for(self, name, *statements):
        """Sets the policy of the one who makes the request of a case."""
        if name not in CLAIMED:
            return self.policy(*statements)
        self.iam.create_policy_version(PolicyArn=self.claimed_arn, PolicyDocument=document(*statements), SetAsDefault=True)
        for version in self.iam.list_policy_versions(PolicyArn=self.claimed_arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                self.iam.delete_policy_version(PolicyArn=self.claimed_arn, VersionId=version["VersionId"])

    def policy(self, *statements):
        self.iam.put_user_policy(UserName="caller", PolicyName="p", PolicyDocument=document(*statements))

    def client(self, **config):
        return self.service("s3", self.key, **config)

    def session(self):
        found = self.service("sts", self.key).get_session_token()["Credentials"]
        return self.service("s3", (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]))

    def vouch(self, name, **parameters):
        """The answer to a login with what a case needs: with a claim, or at the LDAP server."""
        if name.startswith("ldap:"):
            body = {"Action": "AssumeRoleWithLDAPIdentity", "LDAPUsername": "ana", "LDAPPassword": "ana-password"}
        else:
            claim = name.rsplit(":", 1)[1]
            claims = {} if claim in ("iss", "aud") else {claim: "said"}
            body = {"Action": "AssumeRoleWithWebIdentity", "WebIdentityToken": self.provider.token(**claims)}
        return requests.post(self.server.url, data={**body, "Version": "2011-06-15", **parameters}, timeout=20, verify=False)

    def federated(self, name, **parameters):
        reply = self.vouch(name, **parameters)
        assert reply.status_code == 200, reply.text
        find = lambda name: reply.text.split(f"<{name}>")[1].split(f"</{name}>")[0]
        return self.service("s3", tuple(find(n) for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")))

    def of_role(self, name, parameters):
        """A session of a role; one for each case, since a code counts once."""
        if name not in self.sessions:
            found = self.service("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/claimer", RoleSessionName="run", **parameters(self))
            self.sessions[name] = found["Credentials"]
        found = self.sessions[name]
        return self.service("s3", (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]))

    def factor(self):
        device = Device(self.server)
        assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
        return {"SerialNumber": device.serial, "TokenCode": device.code()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("keys"))
    yield world
    world.stop()


def get(world):
    return code_of(world.client().get_object, Bucket=BUCKET, Key="k")


def put(headers=None, **parameters):
    def ask(world):
        client = world.client()
        client.meta.events.register("before-sign.s3.PutObject", lambda request, **_: [request.headers.add_header(*h) for h in (headers or {}).items()])
        return code_of(client.put_object, Bucket=BUCKET, Key=f"new-{time.monotonic_ns()}", Body=b"", **parameters)
    return ask


def by_session(world):
    return code_of(world.session().get_object, Bucket=BUCKET, Key="k")


def by_role(name, parameters):
    return lambda world: code_of(world.of_role(name, parameters).get_object, Bucket=BUCKET, Key="k")


def by_claim(name):
    return lambda world: code_of(world.federated(name).get_object, Bucket=BUCKET, Key="k")


def bounded(world):
    return code_of(world.service("iam", world.key).create_user, UserName=f"made-{time.monotonic_ns()}", PermissionsBoundary=READONLY)


def attach(world):
    return code_of(world.service("iam", world.key).attach_user_policy, UserName="caller", PolicyArn=READONLY)


def listing(**parameters):
    return lambda world: code_of(world.client().list_objects_v2, Bucket=BUCKET, **parameters)


def by_url(world):
    url = world.client().generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "k"})
    time.sleep(0.01)
    return re.findall("<Code>(.*)</Code>", requests.get(url, timeout=10, verify=False).text)[0:1] == ["AccessDenied"] and "AccessDenied" or ""


def tag_bucket(world):
    tags = {"TagSet": [{"Key": "team", "Value": "a"}]}
    return code_of(world.client().put_bucket_tagging, Bucket=BUCKET, Tagging=tags)


def tag_user(world):
    return code_of(world.service("iam", world.key).tag_user, UserName="caller", Tags=[{"Key": "team", "Value": "a"}])


def create(world):
    # The region's own name is no constraint that boto3 would send.
    body = b"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>"
    answer = signed(world.server, "PUT", f"/made-{time.monotonic_ns()}", body, key=world.key)
    return "" if answer.status_code == 200 else re.search("<Code>(.*)</Code>", answer.text).group(1)


def create_owned(world):
    return code_of(world.client().create_bucket, Bucket=f"made-{time.monotonic_ns()}", ObjectOwnership="ObjectWriter")


def create_granting(world):
    grant = f'id="{world.s3.list_buckets()["Owner"]["ID"]}"'
    return code_of(world.client().create_bucket, Bucket=f"made-{time.monotonic_ns()}", GrantWrite=grant)


def copy(**parameters):
    return lambda world: code_of(world.client().copy_object, Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/k", **parameters)


def by_point(world):
    return code_of(world.client().get_object, Bucket=world.alias, Key="k")


def inventory(world):
    to = {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{BUCKET}", "Format": "CSV"}}
    report = {"Id": "i", "IsEnabled": False, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"},
              "Destination": to, "OptionalFields": ["Size", "ETag"]}
    return code_of(world.client().put_bucket_inventory_configuration, Bucket=BUCKET, Id="i", InventoryConfiguration=report)


def log(world):
    status = {"LoggingEnabled": {"TargetBucket": BUCKET, "TargetPrefix": "log/"}}
    code = code_of(world.s3.put_bucket_logging, Bucket="log", BucketLoggingStatus=status)
    return "AccessDenied" if code == "InvalidTargetBucketForLogging" else code


def assume(**parameters):
    return lambda world: code_of(world.service("sts", world.key).assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/worker",
                                 **{"RoleSessionName": "run", **parameters})


def lock(**parameters):
    return put(ObjectLockRetainUntilDate=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2, hours=1),
               ObjectLockMode="GOVERNANCE", **parameters)


READONLY, WRITEONLY = "arn:aws:iam::aws:policy/readonly", "arn:aws:iam::aws:policy/writeonly"
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
EVERYONE = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
GRANTS = {"full-control": "GrantFullControl", "read": "GrantRead", "read-acp": "GrantReadACP", "write-acp": "GrantWriteACP"}

# Key: operator, a value that the request has, one that it has not, the request. A key that ends in a slash has a name.
CASES = {
    "aws:CurrentTime": ("DateGreaterThan", "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z", get),
    "aws:EpochTime": ("DateGreaterThan", "1600000000", "9600000000", get),
    "aws:PrincipalIsAWSService": ("Bool", "false", "true", get),
    "aws:PrincipalType": ("StringEquals", "User", "Account", get),
    "aws:RequestedRegion": ("StringEquals", "us-east-1", "eu-west-1", get),
    "aws:SecureTransport": ("Bool", "true", "false", get),
    "aws:SourceIp": ("IpAddress", "127.0.0.0/8", "10.0.0.0/8", get),
    "aws:ViaAWSService": ("Bool", "false", "true", get),
    "aws:Referer": ("StringEquals", "http://x/", "http://y/", put({"Referer": "http://x/"})),
    "aws:UserAgent": ("StringLike", "Boto3/*", "curl/*", get),
    "aws:groups": ("StringEquals", "crew", "other", get),
    "aws:PrincipalAccount": ("StringEquals", ACCOUNT, "1" * 12, get),
    "aws:PrincipalArn": ("ArnLike", f"arn:aws:iam::{ACCOUNT}:user/caller", f"arn:aws:iam::{ACCOUNT}:user/other", get),
    "aws:PrincipalTag/dept": ("StringEquals", "x", "y", get),
    "aws:userid": ("StringEquals", lambda world: world.user_id, "AIDA", get),
    "aws:username": ("StringEquals", "caller", "other", get),
    "aws:MultiFactorAuthPresent": ("Bool", "false", "true", by_session),
    "aws:TokenIssueTime": ("DateGreaterThan", "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z", by_session),
    "aws:RequestTag/team": ("StringEquals", "a", "b", tag_bucket),
    "aws:TagKeys": ("ForAnyValue:StringEquals", "team", "other", tag_bucket),
    "aws:ResourceAccount": ("StringEquals", ACCOUNT, "1" * 12, get),
    "aws:ResourceTag/team": ("StringEquals", "a", "b", get),
    "aws:PrincipalServiceName": ("StringEquals", "logging.s3.amazonaws.com", "x.amazonaws.com", log),
    "aws:PrincipalServiceNamesList": ("StringEquals", "logging.s3.amazonaws.com", "x.amazonaws.com", log),
    "aws:SourceAccount": ("StringEquals", ACCOUNT, "1" * 12, log),
    "aws:SourceArn": ("ArnEquals", "arn:aws:s3:::log", "arn:aws:s3:::other", log),
    "sts:DurationSeconds": ("NumericEquals", "900", "901", assume(DurationSeconds=900)),
    "sts:ExternalId": ("StringEquals", "ext", "other", assume(ExternalId="ext")),
    "sts:RoleSessionName": ("StringEquals", "run", "other", assume()),
    "sts:SourceIdentity": ("StringEquals", "ana", "bob", assume(SourceIdentity="ana")),
    "sts:TransitiveTagKeys": ("ForAnyValue:StringEquals", "team", "x", assume(Tags=[{"Key": "team", "Value": "a"}], TransitiveTagKeys=["team"])),
    "s3:AccessPointNetworkOrigin": ("StringEquals", "Internet", "VPC", by_point),
    "s3:authType": ("StringEquals", "REST-QUERY-STRING", "POST", by_url),
    "s3:BucketTag/team": ("StringEquals", "a", "b", get),
    "s3:DataAccessPointAccount": ("StringEquals", ACCOUNT, "1" * 12, by_point),
    "s3:DataAccessPointArn": ("ArnEquals", lambda world: world.point, "arn:aws:s3:us-east-1:1:accesspoint/x", by_point),
    "s3:delimiter": ("StringEquals", "/", "|", listing(Delimiter="/")),
    "s3:ExistingObjectTag/color": ("StringEquals", "red", "blue", get),
    "s3:if-match": ("Null", "false", "true", lambda world: code_of(world.client().put_object, Bucket=BUCKET, Key="k2", IfMatch="*")
                    .replace("PreconditionFailed", "").replace("NoSuchKey", "")),
    "s3:if-none-match": ("StringEquals", "*", "x", put(IfNoneMatch="*")),
    "s3:InventoryAccessibleOptionalFields": ("ForAnyValue:StringEquals", "Size", "Encryption", inventory),
    "s3:LocationConstraint": ("StringEquals", "us-east-1", "eu-west-1", create),
    "s3:max-keys": ("NumericLessThan", "10", "2", listing(MaxKeys=5)),
    "s3:object-lock-legal-hold": ("StringEquals", "ON", "OFF", put(ObjectLockLegalHoldStatus="ON")),
    "s3:object-lock-mode": ("StringEquals", "GOVERNANCE", "COMPLIANCE", lock()),
    "s3:object-lock-remaining-retention-days": ("NumericEquals", "2", "5", lock()),
    "s3:object-lock-retain-until-date": ("DateGreaterThan", "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z", lock()),
    "s3:ObjectCreationOperation": ("Bool", "true", "false", put()),
    "s3:prefix": ("StringEquals", "a/", "b/", listing(Prefix="a/")),
    "s3:RequestObjectTag/team": ("StringEquals", "a", "b", put(Tagging="team=a")),
    "s3:RequestObjectTagKeys": ("ForAnyValue:StringEquals", "team", "x", put(Tagging="team=a")),
    "s3:ResourceAccount": ("StringEquals", ACCOUNT, "1" * 12, get),
    "s3:signatureAge": ("NumericGreaterThan", "0", "60000000", by_url),
    "s3:signatureversion": ("StringEquals", "AWS4-HMAC-SHA256", "AWS", get),
    "s3:TlsVersion": ("NumericGreaterThan", "1.1", "1.3", get),
    "s3:VersionId": ("StringEquals", lambda world: world.version, "null",
                     lambda world: code_of(world.client().get_object, Bucket=BUCKET, Key="k", VersionId=world.version)),
    "s3:x-amz-acl": ("StringEquals", "public-read", "private", put(ACL="public-read")),
    "s3:x-amz-content-sha256": ("StringEquals", "UNSIGNED-PAYLOAD", "x", by_url),
    "s3:x-amz-copy-source": ("StringEquals", f"{BUCKET}/k", "x", copy()),
    "s3:x-amz-metadata-directive": ("StringEquals", "REPLACE", "COPY", copy(MetadataDirective="REPLACE")),
    "s3:x-amz-object-ownership": ("StringEquals", "ObjectWriter", "BucketOwnerEnforced", create_owned),
    "s3:x-amz-server-side-encryption": ("StringEquals", "AES256", "aws:kms", put(ServerSideEncryption="AES256")),
    "s3:x-amz-server-side-encryption-aws-kms-key-id": ("Null", "false", "true", put(ServerSideEncryption="aws:kms", SSEKMSKeyId="none-such")),
    "s3:x-amz-server-side-encryption-customer-algorithm": ("Null", "false", "true", put(**CUSTOMER)),
    "s3:x-amz-storage-class": ("StringEquals", "STANDARD_IA", "GLACIER", put(StorageClass="STANDARD_IA")),
    "s3:x-amz-website-redirect-location": ("StringEquals", "/x", "/y", put(WebsiteRedirectLocation="/x")),
    "s3:x-amz-grant-write": ("StringLike", "id=*", "uri=*", create_granting),
    **{f"s3:x-amz-grant-{name}": ("StringEquals", EVERYONE, "x", put(**{member: EVERYONE})) for name, member in GRANTS.items()},
}
# Claims of a provider, those that are named by it among them.
CLAIMS = [*(key for key in KEYS if key.startswith("jwt:")), "PROVIDER:sub", "PROVIDER:aud"]
VALUES = {"iss": lambda world: world.provider.url, "aud": "client"}
CASES |= {name: ("StringEquals", VALUES.get(name.rsplit(":", 1)[1], "said"), "other", by_claim(name)) for name in CLAIMS}
LDAP = {"ldap:user": f"uid=ana,ou=people,{test_ldap.BASE}", "ldap:username": "ana", "ldap:groups": f"cn=team,ou=groups,{test_ldap.BASE}"}
CASES |= {name: ("StringEquals", value, "other", by_claim(name)) for name, value in LDAP.items()}
CASES |= {
    "aws:SourceIdentity": ("StringEquals", "ana", "bob", by_role("aws:SourceIdentity", lambda world: {"SourceIdentity": "ana"})),
    "aws:MultiFactorAuthAge": ("NumericLessThan", "3600", "0", by_role("aws:MultiFactorAuthAge", World.factor)),
    "iam:PermissionsBoundary": ("ArnEquals", READONLY, WRITEONLY, bounded),
    "iam:PolicyARN": ("ArnEquals", READONLY, WRITEONLY, attach),
}
# Those that no user makes.
CLAIMED = {*CLAIMS, *LDAP, "aws:SourceIdentity", "aws:MultiFactorAuthAge"}
# Requests that are not about the bucket: its policy has no say.
NOT_OF_THE_BUCKET = {"s3:LocationConstraint", "s3:x-amz-object-ownership", "s3:x-amz-grant-write"}


def row_of(name):
    if name.startswith("PROVIDER:"):
        return False, "Text", "Session"
    return KEYS.get(name) or KEYS[name.rsplit("/", 1)[0] + "/"]


def test_every_key_of_the_table_is_tested():
    assert len(KEYS) > 90
    tested = {name if name in KEYS else name.rsplit("/", 1)[0] + "/" for name in CASES if not name.startswith("PROVIDER:")}
    assert tested == set(KEYS)


@pytest.mark.parametrize("name", [name for name in CASES if not row_of(name)[0]])
def test_a_deny_of_a_policy_of_an_identity_acts(world, name):
    operator, has, other, ask = CASES[name]
    has = has(world) if callable(has) else has
    for value, code in [(other, ""), (has, "AccessDenied")]:
        spellings = {world.spelled(name)}
        if code and "/" not in name:
            spellings.add(world.spelled(name).upper())
        for spelled in spellings:
            world.policy_for(name, allow("*"), deny("*", **{operator: {spelled: value}}))
            found = ask(world)
            assert (found == "AccessDenied") == bool(code), (spelled, value, found)


@pytest.mark.parametrize("name", [name for name in CASES if row_of(name)[2] not in ("Role", "Identities") and name not in NOT_OF_THE_BUCKET])
def test_a_deny_of_the_policy_of_a_bucket_acts(world, name):
    operator, has, other, ask = CASES[name]
    has = has(world) if callable(has) else has
    world.policy_for(name, allow("*"))
    try:
        for value, code in [(other, ""), (has, "AccessDenied")]:
            statement = {**deny("s3:*", resource=[f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
                                **{operator: {world.spelled(name): value}}), "Principal": "*"}
            # The owner may be denied too, except to repair this.
            world.s3.put_bucket_policy(Bucket=BUCKET, Policy=document(statement))
            found = ask(world)
            assert (found == "AccessDenied") == bool(code), (name, value, found)
    finally:
        world.s3.delete_bucket_policy(Bucket=BUCKET)


@pytest.mark.parametrize("name", [name for name in CASES if row_of(name)[2] == "Role"])
def test_a_deny_of_a_trust_policy_acts(world, name):
    operator, has, other, ask = CASES[name]
    world.policy(allow("*"))
    for value, code in [(other, ""), (has, "AccessDenied")]:
        refusal = {**world.trust, "Effect": "Deny", "Condition": {operator: {name: value}}}
        world.iam.update_assume_role_policy(RoleName="worker", PolicyDocument=document(world.trust, refusal))
        assert ask(world) == code, (name, value)
    world.iam.update_assume_role_policy(RoleName="worker", PolicyDocument=document(world.trust))


def test_tags_of_identities_are_seen(world):
    for value, code in [("b", ""), ("a", "AccessDenied")]:
        world.policy(allow("*"), deny("iam:TagUser", **{"StringEquals": {"aws:RequestTag/team": value}}))
        assert tag_user(world) == code
    for value, code in [("other", ""), ("team", "AccessDenied")]:
        world.policy(allow("*"), deny("iam:TagUser", **{"ForAnyValue:StringEquals": {"aws:TagKeys": value}}))
        assert tag_user(world) == code


@pytest.mark.parametrize("name", [name for name, (_, _, filled) in KEYS.items() if filled == "Always"])
def test_what_every_request_has_the_administration_sees_too(world, name):
    operator, has, other, _ = CASES[name]
    for value, code in [(other, ""), (has, "AccessDenied")]:
        world.policy(allow("*"), deny("iam:ListUsers", **{operator: {name: value}}))
        assert code_of(world.service("iam", world.key).list_users) == code, (name, value)


@pytest.mark.parametrize("name", [*CLAIMS, *LDAP])
def test_a_deny_of_a_policy_of_a_session_acts(world, name):
    operator, has, other, _ = CASES[name]
    world.policy_for(name, allow("*"))
    for value, code in [(other, ""), (has(world) if callable(has) else has, "AccessDenied")]:
        policy = document(allow("s3:*"), deny("s3:GetObject", **{operator: {world.spelled(name): value}}))
        assert code_of(world.federated(name, Policy=policy).get_object, Bucket=BUCKET, Key="k") == code, (name, value)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_deny_of_a_policy_that_trusts_a_provider_acts(world, name):
    operator, has, other, _ = CASES[name]
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/web", "RoleSessionName": "run"}
    for value, code in [(other, 200), (has(world) if callable(has) else has, 403)]:
        refusal = {**world.vouched, "Effect": "Deny", "Condition": {operator: {world.spelled(name): value}}}
        world.iam.update_assume_role_policy(RoleName="web", PolicyDocument=document(world.vouched, refusal))
        assert world.vouch(name, **role).status_code == code, (name, value)


@pytest.mark.parametrize("holder", [("user", "UserName", "caller"), ("group", "GroupName", "crew"), ("role", "RoleName", "worker")])
@pytest.mark.parametrize("call", ["attach", "detach"])
def test_the_policy_that_is_attached_is_seen(world, holder, call):
    kind, parameter, name = holder
    for value, code in [(WRITEONLY, ""), (READONLY, "AccessDenied")]:
        getattr(world.iam, f"attach_{kind}_policy")(PolicyArn=READONLY, **{parameter: name})
        world.policy(allow("*"), deny("*", ArnEquals={"iam:PolicyArn": value}))
        run = getattr(world.service("iam", world.key), f"{call}_{kind}_policy")
        assert code_of(run, PolicyArn=READONLY, **{parameter: name}) == code, value


@pytest.mark.parametrize("name", [*NEVER, *(name for name, row in KEYS.items() if row[0])])
def test_a_key_without_a_value_is_refused(world, name):
    name = name + "x" if name.endswith("/") else name
    statement = deny("s3:GetObject", resource=f"arn:aws:s3:::{BUCKET}/*", **{"StringEquals": {name: "x"}})
    variable = deny("s3:GetObject", resource=f"arn:aws:s3:::{BUCKET}/${{{name}}}")
    for one in (statement, variable):
        with pytest.raises(world.iam.exceptions.MalformedPolicyDocumentException, match=f"(?i){re.escape(name)}"):
            world.iam.create_policy(PolicyName="never", PolicyDocument=document(one))
        with pytest.raises(world.iam.exceptions.MalformedPolicyDocumentException):
            world.policy(one)
        if name not in {n + ("x" if n.endswith("/") else "") for n in KEYS}:
            refused = code_of(world.s3.put_bucket_policy, Bucket=BUCKET, Policy=document({**one, "Principal": "*"}))
            assert refused == "MalformedPolicy", one
    trust = {**world.trust, "Condition": {"StringEquals": {name: "x"}}}
    with pytest.raises(world.iam.exceptions.MalformedPolicyDocumentException):
        world.iam.update_assume_role_policy(RoleName="worker", PolicyDocument=document(trust))
    # Whatever the tests before left: the form is looked at where the role may be assumed.
    world.policy(allow("*"))
    code = code_of(world.service("sts", world.key).assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/worker", RoleSessionName="run",
                   Policy=document(statement))
    assert code == "MalformedPolicyDocument"


CONDITIONAL = "conditional"


def test_conditional_writes_can_be_enforced(world):
    """The recipe of the S3 user guide, "Enforce conditional writes on Amazon S3 buckets"."""
    s3 = world.s3
    s3.create_bucket(Bucket=CONDITIONAL)
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{CONDITIONAL}/*",
                 "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}}
    s3.put_bucket_policy(Bucket=CONDITIONAL, Policy=document(statement))
    here = {"Bucket": CONDITIONAL}
    assert code_of(s3.put_object, Key="k", Body=b"1", **here) == "AccessDenied"
    assert code_of(s3.put_object, Key="k", Body=b"1", IfNoneMatch="*", **here) == ""
    assert code_of(s3.put_object, Key="k", Body=b"2", IfNoneMatch="*", **here) == "PreconditionFailed"
    # The condition must be one that acts, not a parameter of that name.
    path = f"/{CONDITIONAL}/k?if-none-match=%2A"
    assert signed(world.server, "PUT", path, b"3").status_code == 403
    assert code_of(s3.copy_object, Key="copy", CopySource=f"{CONDITIONAL}/k", **here) == "AccessDenied"
    assert code_of(s3.copy_object, Key="copy", CopySource=f"{CONDITIONAL}/k", IfNoneMatch="*", **here) == ""
    form = s3.generate_presigned_post(CONDITIONAL, "form")
    assert requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10, verify=False).status_code == 403
    # Parts and what begins an upload make no object.
    upload = s3.create_multipart_upload(Key="m", **here)["UploadId"]
    part = s3.upload_part(Key="m", UploadId=upload, PartNumber=1, Body=b"x", **here)["ETag"]
    s3.upload_part_copy(Key="m", UploadId=upload, PartNumber=2, CopySource=f"{CONDITIONAL}/k", **here)
    done = {"Key": "m", "UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}, **here}
    assert code_of(s3.complete_multipart_upload, **done) == "AccessDenied"
    assert code_of(s3.complete_multipart_upload, IfNoneMatch="*", **done) == ""
    assert s3.get_object(Key="k", **here)["Body"].read() == b"1"


