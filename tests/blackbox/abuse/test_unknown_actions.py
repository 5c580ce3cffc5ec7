"""Actions that do not exist, of services that are here, are refused where a policy is put: a typing error in a deny would
deny nothing. What common tools write is taken."""
import json

import pytest

from conftest import Server
from surfaces import ROOT, Surfaces, document, field

UNKNOWN = ["s3:GetObjet", "S3:getobjet", "s3:GetObjet*", "iam:Nope", "sts:AssumeRol", "kms:Decrpyt", "admin:Nope", "s3:HeadObject"]
TRUST = document({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("actions") / "drive").wait_ready()
    yield server
    server.stop()


def puts(surfaces, text):
    """Every way to put a policy of identities: a call that does it, and the code of its refusal."""
    surfaces.query(ROOT, "CreateUser", UserName="holder")
    surfaces.query(ROOT, "CreateGroup", GroupName="holders")
    surfaces.query(ROOT, "CreateRole", RoleName="held", AssumeRolePolicyDocument=TRUST)
    yield surfaces.query(ROOT, "CreatePolicy", PolicyName="unknown", PolicyDocument=text), "MalformedPolicyDocument"
    yield surfaces.query(ROOT, "PutUserPolicy", UserName="holder", PolicyName="p", PolicyDocument=text), "MalformedPolicyDocument"
    yield surfaces.query(ROOT, "PutGroupPolicy", GroupName="holders", PolicyName="p", PolicyDocument=text), "MalformedPolicyDocument"
    yield surfaces.query(ROOT, "PutRolePolicy", RoleName="held", PolicyName="p", PolicyDocument=text), "MalformedPolicyDocument"
    yield surfaces.query(ROOT, "AssumeRole", RoleArn="arn:aws:iam::000000000000:role/held", RoleSessionName="session", Policy=text), "MalformedPolicyDocument"
    yield surfaces.minio(ROOT, "PUT", "add-canned-policy", text.encode(), name="unknown"), "XMinioMalformedIAMPolicy"
    yield surfaces.minio(ROOT, "PUT", "add-service-account", {"policy": json.loads(text)}), "XMinioMalformedIAMPolicy"
    yield surfaces.api(ROOT, "policy-set", name="unknown", document=text), "invalid"
    yield surfaces.api(ROOT, "key-add", user="holder", policy=text), "invalid"


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
@pytest.mark.parametrize("element", ["Action", "NotAction"])
def test_no_policy_names_an_action_that_is_not_there(server, effect, element):
    surfaces = Surfaces(server)
    for action in UNKNOWN:
        text = document({"Effect": effect, element: ["s3:PutObject", action], "Resource": "*"})
        for answer, code in puts(surfaces, text):
            assert answer.status_code == 400 and code in answer.text and action in answer.text, (action, answer.status_code, answer.text)
    surfaces.s3(ROOT, "PUT", "/bucket")
    for action in ("s3:GetObjet", "s3:GetObjet*"):
        text = document({"Effect": effect, "Principal": "*", "Action": action, "Resource": "arn:aws:s3:::bucket/*"})
        answer = surfaces.s3(ROOT, "PUT", "/bucket?policy", text.encode())
        assert answer.status_code == 400 and field(answer.text, "Code") == "MalformedPolicy" and action in answer.text, answer.text
    trust = document({"Effect": effect, "Principal": "*", "Action": "sts:AssumeRol"})
    answer = surfaces.query(ROOT, "CreateRole", RoleName="wrong", AssumeRolePolicyDocument=trust)
    assert answer.status_code == 400 and field(answer.text, "Code") == "MalformedPolicyDocument" and "sts:AssumeRol" in answer.text


# Action lists as Terraform, CDK, mc and documents of common programs have them.
COMMON = {
    "CDK grantRead": ["s3:GetObject*", "s3:GetBucket*", "s3:List*"],
    "CDK grantWrite": ["s3:DeleteObject*", "s3:PutObject", "s3:PutObjectLegalHold", "s3:PutObjectRetention",
                       "s3:PutObjectTagging", "s3:PutObjectVersionTagging", "s3:Abort*"],
    "CDK key": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant"],
    "Terraform state": ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
    "Terraform lock table": ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"],
    "logs": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
    "machines": ["ec2:Describe*", "autoscaling:Describe*", "elasticloadbalancing:*"],
    "backups of clusters": ["s3:GetObject", "s3:DeleteObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload",
                            "s3:ListMultipartUploadParts", "s3:ListBucket", "ec2:CreateSnapshot"],
    "registry": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
    "replication": ["s3:GetReplicationConfiguration", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl",
                    "s3:GetObjectVersionTagging", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags",
                    "s3:ObjectOwnerOverrideToBucketOwner", "s3:InitiateReplication"],
    "people manage themselves": ["iam:GetUser", "iam:ChangePassword", "iam:CreateVirtualMFADevice", "iam:EnableMFADevice",
                                 "iam:ResyncMFADevice", "iam:GetAccountPasswordPolicy", "iam:*AccessKey*", "iam:*ServiceSpecificCredential*"],
    "passes roles": ["iam:PassRole", "iam:CreateServiceLinkedRole", "iam:ListAttachedRolePolicies", "iam:SimulatePrincipalPolicy"],
    "sessions": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity", "sts:AssumeRoleWithWebIdentity", "sts:GetCallerIdentity",
                 "sts:DecodeAuthorizationMessage", "sts:GetServiceBearerToken"],
    "lens and points": ["s3:GetStorageLensConfiguration", "s3:CreateMultiRegionAccessPoint", "s3:ListAccessGrants",
                        "s3:PutAccessPointPublicAccessBlock", "s3express:CreateSession", "s3-object-lambda:Get*"],
    "tables": ["s3tables:GetTable", "glue:GetDatabase", "athena:StartQueryExecution", "lakeformation:GetDataAccess"],
    "console admin": ["s3:*", "admin:*", "kms:*"],
    "diagnostics": ["admin:ServerTrace", "admin:Profiling", "admin:ConsoleLog", "admin:ServerInfo", "admin:TopLocksInfo",
                    "admin:OBDInfo", "admin:BandwidthMonitor", "admin:Prometheus"],
    "incumbent's users": ["admin:CreateServiceAccount", "admin:ListServiceAccounts", "admin:RemoveServiceAccount", "admin:SetTier",
                          "admin:SiteReplicationInfo", "admin:ExportIAM"],
    "notifications": ["s3:ListenNotification", "s3:ListenBucketNotification", "s3:GetBucketNotification", "s3:PutBucketNotification"],
    "configuration of buckets": ["s3:GetAccelerateConfiguration", "s3:GetLifecycleConfiguration", "s3:GetEncryptionConfiguration",
                                 "s3:GetBucketCORS", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketPublicAccessBlock",
                                 "s3:GetBucketOwnershipControls", "s3:GetInventoryConfiguration", "s3:GetBucketMetadataTableConfiguration"],
    "any": ["*"],
    "other case": ["S3:GETOBJECT", "s3:listbucket"],
}


def test_what_common_tools_write_is_taken_and_acts(server):
    surfaces = Surfaces(server)
    for number, (name, actions) in enumerate(COMMON.items()):
        for effect in ("Allow", "Deny"):
            text = document({"Effect": effect, "Action": actions, "Resource": "*"})
            answer = surfaces.query(ROOT, "CreatePolicy", PolicyName=f"common-{effect}-{number}", PolicyDocument=text)
            assert answer.status_code == 200, (name, answer.text)
    # Actions of services that are not here give nothing, and take nothing away.
    surfaces.s3(ROOT, "PUT", "/mixed")
    key = surfaces.user("mixed", {"Effect": "Allow", "Action": ["ec2:*", "s3:ListBucket"], "Resource": "*"},
                        {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"})
    assert surfaces.s3(key, "GET", "/mixed").status_code == 200
    assert surfaces.s3(key, "PUT", "/mixed/key", b"x").status_code == 403
