"""Every action that a policy may name (`crates/iam/src/known.rs`) is asked for by what it is the right to, so that a deny of it acts;
or there is no such operation here, for a reason that stands below. Rights on identities are walked by `test_identity_walk.py`."""
import pathlib
import re

import pytest
import test_identity_walk

from conftest import Server
from people import allow, deny, document, service, signed, user_with

ROOT = pathlib.Path(__file__).parents[3]
SERVICES = (ROOT / "crates/iam/src/known.rs").read_text().split("const SERVICES")[1].split("\n];")[0]
KNOWN = {f"{name}:{action}" for name, text in re.findall(r'\(\s*"(\w+)",\s*"([^"]*)"', SERVICES)
         for action in re.sub(r"\\\s*\n\s*", "", text).split()}
OF_IDENTITIES = {name for row in test_identity_walk.DECIDED for name in row.names + row.denied_by}

# Operations that this server does not have: it answers 501, or MinIO's admin API says that it is not supported.
NOT_HERE = {
    # Services of AWS beside S3 itself.
    "s3": r"\w*(AccessGrant|ObjectLambda|StorageLens|MultiRegionAccessPoint|MetadataTable|MetadataInventory|MetadataJournal)\w*|\w*Job\w*"
          r"|(Get|Put)BucketAbac|GetDataAccess"
          # Replication, which is refused; the source side of it has no request of its own.
          r"|Replicate(Object|Delete|Tags)|ObjectOwnerOverrideToBucketOwner|GetObjectVersionForReplication|(Initiate|Pause)Replication"
          r"|ResetBucketReplicationState"
          # MinIO's own: notifications that are listened to, fan-out, quality of service, deletes with all that is in a bucket.
          r"|Listen(Bucket)?Notification|PutObjectFanOut|(Get|Put)BucketQOS|ForceDeleteBucket",
    "iam": r"\w*(DelegationRequests?|DelegationToken|InstanceProfile(?!sForRole)\w*|SAMLProvider\w*|ServiceLinkedRole\w*|ServiceSpecificCredential"
           r"|SigningCertificate|SSHPublicKey|ServerCertificate\w*|CloudFrontPublicKeys?|AccountAlias|AccountPasswordPolicy|AccountEmailAddress|AccountName"
           r"|AccountProperties|Organizations\w*|OutboundWebIdentity\w*|ServiceLastAccessed\w*|CredentialReport|ContextKeys\w*|RoleTemplateVersion"
           r"|STSRegionalEndpoint\w*|SecurityTokenServicePreferences|GetAccountSummary|GetAccountAuthorizationDetails|HumanReadableSummary"
           r"|ListPoliciesGrantingServiceAccess|Simulate\w+Policy|AcquireRole)"
           # Passwords of a console: CreateLoginProfile and its kind answer 501.
           r"|ChangePassword|(Create|Update)LoginProfile"
           # The only device is the owner's, whom no policy of an identity stops; the own API binds it.
           r"|\w*(VirtualMFADevice|MFADevice|MFADeviceTags)"
           # No service takes a role on.
           r"|PassRole",
    "sts": r"AssumeRoleWithSAML|AssumeRoot|DecodeAuthorizationMessage|Get(DelegatedAccessToken|FederationToken|ServiceBearerToken|WebIdentityToken)"
           r"|SetContext|TagGetWebIdentityToken"
           # AWS: no policy stops anyone from asking who they are.
           r"|GetCallerIdentity",
    # The API of AWS's key service, and what is left of the one of MinIO's: only the rights to use keys, and the operations of the doors.
    "kms": r"API|ReEncrypt|AuditLog|ErrorLog|Metrics|Enable|(Assign|Attach|Create|Delete|Describe|Get|Set|List|Detach|Unassign)(Policy|Policies|Identity|Identities|SelfIdentity)"
           r"|\w*CustomKeyStores?|\w*(KeyMaterial|ParametersForImport)|DeleteKey|ImportKey|KeyRotate|DeriveSharedSecret|Sign|Verify|VerifyMac|GenerateMac"
           r"|GenerateDataKeyPair\w*|Get(KeyLastUsage|PublicKey)|UpdatePrimaryRegion|ReplicateKey|SynchronizeMultiRegionKey",
    "admin": r"BandwidthMonitor|\w*Batch\w*|ClusterInfo|ConsoleLog|DeltaSharing\w*|(Drive|Node|Pool)(Info|List)|(Export|Import)(BucketMetadata|IAM)|ForceUnlock"
             r"|(Get|Set)Bucket(Quota|Target)|InspectData|InventoryControl|LicenseInfo|ListTemporaryAccounts|(List|Set)Tier|OBDInfo|Profiling|Rebalance"
             r"|ReplicationDiff|Server(Trace|Update)|Service\w+|SetInfo|SiteReplication\w+|TopLocksInfo"
             # Metrics are read with a token of their own, or by everybody.
             r"|Prometheus",
}
ACCOUNT, BUCKET = "000000000000", "data"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
CONTROL = {"x-amz-account-id": ACCOUNT}
VERSION = "versionId={version}"
TAGGING = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
POINT = "/v20180820/accesspoint"
TAGS = "/v20180820/tags/arn%3Aaws%3As3%3A%3A%3Adata"


DOCUMENTS = {"AccelerateConfiguration": "accelerate", "AnalyticsConfiguration": "analytics&id=i", "BucketAcl": "acl", "BucketCORS": "cors",
             "BucketCors": "cors", "BucketLogging": "logging", "BucketNotification": "notification", "BucketObjectLockConfiguration": "object-lock",
             "BucketOwnershipControls": "ownershipControls", "BucketPolicy": "policy", "BucketPublicAccessBlock": "publicAccessBlock",
             "BucketRequestPayment": "requestPayment", "BucketTagging": "tagging", "BucketVersioning": "versioning", "BucketWebsite": "website",
             "EncryptionConfiguration": "encryption", "IntelligentTieringConfiguration": "intelligent-tiering&id=i",
             "InventoryConfiguration": "inventory&id=i", "LifecycleConfiguration": "lifecycle", "MetricsConfiguration": "metrics&id=i",
             "ReplicationConfiguration": "replication"}
# Action: method, path, headers, body. What is not there, or is malformed, is refused in another way when the right is there.
CASES = {
    **{f"s3:{verb}{kind}": ("GET" if verb == "Get" else "PUT", f"/{BUCKET}?{name}", {}, b"") for kind, name in DOCUMENTS.items() for verb in ("Get", "Put")},
    "s3:GetBucketLocation": ("GET", f"/{BUCKET}?location"), "s3:GetBucketPolicyStatus": ("GET", f"/{BUCKET}?policyStatus"),
    "s3:DeleteBucketPolicy": ("DELETE", f"/{BUCKET}?policy"), "s3:DeleteBucketWebsite": ("DELETE", f"/{BUCKET}?website"),
    "s3:DeleteBucketCors": ("DELETE", f"/{BUCKET}?cors"),
    "s3:HeadBucket": ("HEAD", f"/{BUCKET}"), "s3:ListBucket": ("GET", f"/{BUCKET}"), "s3:ListAllMyBuckets": ("GET", "/"),
    "s3:ListBucketVersions": ("GET", f"/{BUCKET}?versions"), "s3:ListBucketMultipartUploads": ("GET", f"/{BUCKET}?uploads"),
    "s3:CreateBucket": ("PUT", "/another"), "s3:DeleteBucket": ("DELETE", f"/{BUCKET}"),
    "s3:PutBucketTagging": ("PUT", f"/{BUCKET}?tagging", {}, TAGGING), "s3:TagResource": ("PUT", f"/{BUCKET}?tagging", {}, TAGGING),
    "s3:UntagResource": ("DELETE", f"{TAGS}?tagKeys=a", CONTROL), "s3:ListTagsForResource": ("GET", f"/{BUCKET}?tagging"),
    "s3:PutObject": ("PUT", f"/{BUCKET}/new"), "s3:GetObject": ("GET", f"/{BUCKET}/k"), "s3:GetObjectVersion": ("GET", f"/{BUCKET}/k?{VERSION}"),
    "s3:DeleteObject": ("DELETE", f"/{BUCKET}/none"), "s3:DeleteObjectVersion": ("DELETE", f"/{BUCKET}/none?{VERSION}"),
    "s3:AbortMultipartUpload": ("DELETE", f"/{BUCKET}/k?uploadId=none"), "s3:ListMultipartUploadParts": ("GET", f"/{BUCKET}/k?uploadId=none"),
    "s3:BypassGovernanceRetention": ("DELETE", f"/{BUCKET}/none?{VERSION}", {"x-amz-bypass-governance-retention": "true"}),
    "s3:GetObjectAttributes": ("GET", f"/{BUCKET}/k?attributes", {"x-amz-object-attributes": "ETag"}),
    "s3:GetObjectVersionAttributes": ("GET", f"/{BUCKET}/k?attributes&{VERSION}", {"x-amz-object-attributes": "ETag"}),
    "s3:PutObjectTagging": ("PUT", f"/{BUCKET}/k?tagging", {}, TAGGING), "s3:PutObjectVersionTagging": ("PUT", f"/{BUCKET}/k?tagging&{VERSION}", {}, TAGGING),
    "s3:RestoreObject": ("POST", f"/{BUCKET}/k?restore"), "s3:UpdateObjectEncryption": ("PUT", f"/{BUCKET}/k?encryption"),
    **{f"s3:{verb}Object{version}{kind}": ({"Get": "GET", "Put": "PUT", "Delete": "DELETE"}[verb], f"/{BUCKET}/k?{name}" + (f"&{VERSION}" if version else ""))
       for kind, name, verbs in (("Acl", "acl", "Get Put"), ("Torrent", "torrent", "Get"), ("Tagging", "tagging", "Get Delete"))
       for verb in verbs.split() for version in ("", "Version")},
    **{f"s3:{verb}Object{kind}": (verb.upper(), f"/{BUCKET}/k?{name}") for verb in ("Get", "Put")
       for kind, name in (("Retention", "retention"), ("LegalHold", "legal-hold"))},
    **{f"s3:{verb}AccountPublicAccessBlock": (verb.upper(), "/v20180820/configuration/publicAccessBlock", CONTROL) for verb in ("Get", "Put")},
    "s3:ListAccessPoints": ("GET", POINT, CONTROL), "s3:GetAccessPointPolicyStatus": ("GET", f"{POINT}/team/policyStatus", CONTROL),
    **{f"s3:{verb}AccessPoint{kind}": ({"Create": "PUT"}.get(verb, verb.upper()), f"{POINT}/team{path}", CONTROL)
       for kind, path, verbs in (("", "", "Create Get Delete"), ("Policy", "/policy", "Get Put Delete"), ("Scope", "/scope", "Get Put Delete"))
       for verb in verbs.split()},
    "s3:PutAccessPointPublicAccessBlock": ("PUT", f"{POINT}/open", CONTROL, f"<CreateAccessPointRequest {NAMESPACE}><Bucket>data</Bucket>"
                                           "<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls></PublicAccessBlockConfiguration>"
                                           "</CreateAccessPointRequest>".encode()),
    "kms:GenerateDataKey": ("PUT", f"/{BUCKET}/sealed", {"x-amz-server-side-encryption": "aws:kms"}), "kms:Decrypt": ("GET", f"/{BUCKET}/kms"),
}
# Rights in trust policies of roles, for which other tests ask.
TRUST = {"sts:AssumeRoleWithWebIdentity": "abuse/test_condition_keys.py::test_a_deny_of_a_policy_that_trusts_a_provider_acts",
         "sts:SetSourceIdentity": "abuse/test_condition_keys.py (sts:SourceIdentity)"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("actions") / "drive", "--bucket-defaults", "open").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    server.version = s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="kms", Body=b"x", ServerSideEncryption="aws:kms")
    signed(server, "PUT", f"{POINT}/team", f"<CreateAccessPointRequest {NAMESPACE}><Bucket>{BUCKET}</Bucket></CreateAccessPointRequest>".encode(), CONTROL)
    server.key = user_with(server, allow("*"))
    server.iam = service(server, "iam")
    server.user = server.iam.list_users()["Users"][-1]["UserName"]
    yield server
    server.stop()


def test_every_action_is_walked_or_has_a_reason():
    assert len(KNOWN) > 600 and len(OF_IDENTITIES) > 150
    walked = OF_IDENTITIES | set(CASES) | set(TRUST)
    missing = {name for name in KNOWN - walked if not re.fullmatch(NOT_HERE[name.split(":")[0]], name.split(":")[1])}
    assert not missing, sorted(missing)
    # No reason is given for what is here.
    both = {name for name in KNOWN & walked if re.fullmatch(NOT_HERE[name.split(":")[0]], name.split(":")[1])}
    assert not both, sorted(both)
    assert set(CASES) <= KNOWN


@pytest.mark.parametrize("action", CASES)
def test_a_deny_of_an_action_acts(server, action):
    """Method: somebody who may do everything but this asks, then with this right too."""
    method, path, *rest = CASES[action]
    headers, body = [*rest, *({}, b"")[len(rest):]]
    path = path.replace("{version}", server.version)

    def ask(*statements):
        server.iam.put_user_policy(UserName=server.user, PolicyName="p", PolicyDocument=document(*statements))
        return signed(server, method, path, body, headers, server.key)

    refused = ask(allow("*"), deny(action))
    assert refused.status_code == 403, (refused.status_code, refused.text)
    allowed = ask(allow("*"))
    assert allowed.status_code != 403, allowed.text
