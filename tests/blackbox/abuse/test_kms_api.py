"""The API of AWS's key service, and keys that belong to accounts."""
import datetime
import json

import boto3
import botocore.session
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server, drystone
from people import allow, code_of, deny, document, service, user_with
from surfaces import Surfaces

KMS = {"ServerSideEncryption": "aws:kms"}
MODEL = botocore.session.get_session().get_service_model("kms")
OTHER = "111111111111"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kms") / "drive").wait_ready()
    key = Surfaces(server).account(OTHER)
    server.other = (key.access_key, key.secret_key)
    server.client().create_bucket(Bucket="bucket")
    yield server
    server.stop()


def raw(server, operation, body=b"{}", key=(USER, PASSWORD)):
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"TrentService.{operation}"}
    request = AWSRequest("POST", server.url + "/", data=body, headers=headers)
    SigV4Auth(Credentials(*key), "kms", "us-east-1").add_auth(request)
    return requests.post(server.url + "/", data=body, headers=dict(request.headers), timeout=20)


def user_of(server, owner, name, *statements):
    iam = service(server, "iam", owner)
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_every_operation_is_there_or_refused_before_any_effect(server):
    there, missing = [], []
    for name in MODEL.operation_names:
        reply = raw(server, name)
        kind = reply.json()["__type"] if reply.status_code != 200 else ""
        (missing if kind == "UnsupportedOperationException" else there).append(name)
        assert kind != "UnknownOperationException", name
    assert {"CreateKey", "Encrypt", "ScheduleKeyDeletion", "CreateGrant", "ListResourceTags"} <= set(there)
    assert {"Sign", "ImportKeyMaterial", "CreateCustomKeyStore", "ReplicateKey"} <= set(missing) and len(missing) == 20
    assert raw(server, "MakeKey").json()["__type"] == "UnknownOperationException"
    # CreateKey without parameters makes a key; nothing else did anything.
    for key in service(server, "kms").list_keys()["Keys"]:
        assert code_of(service(server, "kms").schedule_key_deletion, KeyId=key["KeyId"]) in ("", "ValidationException")


@pytest.mark.parametrize("operation, fields", [
    ("CreateKey", {"KeyUsage": "SIGN_VERIFY"}), ("CreateKey", {"KeySpec": "RSA_2048"}), ("CreateKey", {"MultiRegion": True}),
    ("CreateKey", {"Origin": "EXTERNAL"}), ("CreateKey", {"NoSuchField": "x"}), ("ListKeys", {"NoSuchField": 1}),
])
def test_what_is_not_implemented_of_an_operation_is_refused(server, operation, fields):
    before = len(service(server, "kms").list_keys()["Keys"])
    reply = raw(server, operation, json.dumps(fields).encode())
    assert (reply.status_code, reply.json()["__type"]) == (400, "UnsupportedOperationException")
    assert len(service(server, "kms").list_keys()["Keys"]) == before


def test_the_life_of_a_key(start):
    server = start()
    kms, s3 = service(server, "kms"), server.client()
    s3.create_bucket(Bucket="bucket")
    made = kms.create_key(Description="for data", Tags=[{"TagKey": "team", "TagValue": "a"}])["KeyMetadata"]
    assert (made["KeyState"], made["KeyManager"], made["AWSAccountId"], made["Description"]) == ("Enabled", "CUSTOMER", "000000000000", "for data")
    id, arn = made["KeyId"], made["Arn"]
    assert arn == f"arn:aws:kms:us-east-1:000000000000:key/{id}" and (datetime.datetime.now(datetime.UTC) - made["CreationDate"]).seconds < 60
    kms.create_alias(AliasName="alias/data", TargetKeyId=id)
    assert code_of(kms.create_alias, AliasName="alias/data", TargetKeyId=id) == "AlreadyExistsException"
    kms.tag_resource(KeyId=id, Tags=[{"TagKey": "cost", "TagValue": "1"}])
    kms.untag_resource(KeyId=id, TagKeys=["team"])
    kms.update_key_description(KeyId=id, Description="other")
    kms.enable_key_rotation(KeyId=id, RotationPeriodInDays=90)
    kms.rotate_key_on_demand(KeyId=id)
    policy = document({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"})
    kms.put_key_policy(KeyId=id, PolicyName="default", Policy=policy)
    s3.put_object(Bucket="bucket", Key="k", Body=b"x", SSEKMSKeyId="alias/data", **KMS)
    sealed = kms.encrypt(KeyId="alias/data", Plaintext=b"secret", EncryptionContext={"a": "b"})["CiphertextBlob"]
    server.kill()
    server = start()
    kms, s3 = service(server, "kms"), server.client()
    found = kms.describe_key(KeyId="alias/data")["KeyMetadata"]
    assert (found["Arn"], found["Description"]) == (arn, "other")
    assert kms.list_resource_tags(KeyId=arn)["Tags"] == [{"TagKey": "cost", "TagValue": "1"}]
    assert json.loads(kms.get_key_policy(KeyId=id)["Policy"]) == json.loads(policy)
    assert kms.list_key_policies(KeyId=id)["PolicyNames"] == ["default"]
    status = kms.get_key_rotation_status(KeyId=id)
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 90
    assert len(kms.list_key_rotations(KeyId=id)["Rotations"]) == 1
    assert [(a["AliasName"], a["TargetKeyId"]) for a in kms.list_aliases(KeyId=id)["Aliases"]] == [("alias/data", id)]
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})["Plaintext"] == b"secret"
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
    kms.disable_key(KeyId=id)
    assert code_of(kms.encrypt, KeyId=id, Plaintext=b"x") == "DisabledException"
    assert code_of(s3.get_object, Bucket="bucket", Key="k") == "KMS.DisabledException"
    kms.enable_key(KeyId=id)
    # An object needs it.
    assert code_of(kms.schedule_key_deletion, KeyId=id, PendingWindowInDays=7) == "KMSInvalidStateException"
    assert kms.describe_key(KeyId=id)["KeyMetadata"]["KeyState"] == "Enabled"
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
    s3.delete_object(Bucket="bucket", Key="k")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="m", SSEKMSKeyId=id, **KMS)["UploadId"]
    assert code_of(kms.schedule_key_deletion, KeyId=id, PendingWindowInDays=7) == "KMSInvalidStateException"
    s3.abort_multipart_upload(Bucket="bucket", Key="m", UploadId=upload)
    for days in (6, 31):
        assert code_of(kms.schedule_key_deletion, KeyId=id, PendingWindowInDays=days) == "ValidationException"
    gone = kms.schedule_key_deletion(KeyId=id, PendingWindowInDays=7)
    assert gone["KeyState"] == "PendingDeletion" and 6 <= (gone["DeletionDate"] - datetime.datetime.now(datetime.UTC)).days <= 7
    for call, fields in [(kms.encrypt, {"Plaintext": b"x"}), (kms.enable_key, {}), (kms.schedule_key_deletion, {}), (kms.enable_key_rotation, {})]:
        assert code_of(call, KeyId=id, **fields) == "KMSInvalidStateException", call
    assert code_of(s3.put_object, Bucket="bucket", Key="n", Body=b"x", SSEKMSKeyId=id, **KMS) == "KMS.KMSInvalidStateException"
    kms.cancel_key_deletion(KeyId=id)
    assert kms.describe_key(KeyId=id)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=id)
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})["Plaintext"] == b"secret"
    kms.delete_alias(AliasName="alias/data")
    assert code_of(kms.describe_key, KeyId="alias/data") == "NotFoundException"


def test_sealing_and_opening(server):
    kms = service(server, "kms")
    first, second = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    context = {"purpose": "test"}
    made = kms.generate_data_key(KeyId=first, KeySpec="AES_256", EncryptionContext=context)
    assert len(made["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)["Plaintext"] == made["Plaintext"]
    without = kms.generate_data_key_without_plaintext(KeyId=first, NumberOfBytes=64)
    assert "Plaintext" not in without and len(kms.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == 64
    for wrong in ({}, {"purpose": "other"}, {**context, "more": "x"}):
        assert code_of(kms.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=wrong) == "InvalidCiphertextException"
    blob = bytearray(made["CiphertextBlob"])
    blob[-1] ^= 1
    assert code_of(kms.decrypt, CiphertextBlob=bytes(blob), EncryptionContext=context) == "InvalidCiphertextException"
    assert code_of(kms.decrypt, CiphertextBlob=b"no blob") == "InvalidCiphertextException"
    assert code_of(kms.decrypt, CiphertextBlob=made["CiphertextBlob"], KeyId=second, EncryptionContext=context) == "IncorrectKeyException"
    moved = kms.re_encrypt(CiphertextBlob=made["CiphertextBlob"], SourceEncryptionContext=context, DestinationKeyId=second)
    assert moved["SourceKeyId"].endswith(first) and moved["KeyId"].endswith(second)
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])
    assert opened["Plaintext"] == made["Plaintext"] and opened["KeyId"].endswith(second)
    kms.encrypt(KeyId=first, Plaintext=b"x" * 4096)
    assert raw(server, "Encrypt", json.dumps({"KeyId": first, "Plaintext": "QUFB" * 1366}).encode()).json()["__type"] == "ValidationException"
    assert len(kms.generate_random(NumberOfBytes=33)["Plaintext"]) == 33
    assert code_of(kms.encrypt, KeyId="no-such-key", Plaintext=b"x") == "NotFoundException"


def test_keys_belong_to_accounts(server):
    ours, theirs = service(server, "kms"), service(server, "kms", server.other)
    s3 = service(server, "s3", server.other)
    s3.create_bucket(Bucket="theirs")
    done = drystone("kms", "add", "named-theirs", "--account", OTHER, "--at", server.directory, "--json")
    assert done.returncode == 0, done.stderr
    named = json.loads(done.stdout)["kms-keys"][0]["arn"]
    assert named == f"arn:aws:kms:us-east-1:{OTHER}:key/named-theirs"
    assert drystone("kms", "add", "nobodys", "--account", "222222222222", "--at", server.directory).returncode == 1
    made = theirs.create_key()["KeyMetadata"]
    assert made["AWSAccountId"] == OTHER and f":{OTHER}:key/" in made["Arn"]
    assert {key["KeyArn"] for key in theirs.list_keys()["Keys"]} == {named, made["Arn"]}
    assert not {key["KeyArn"] for key in ours.list_keys()["Keys"]} & {named, made["Arn"]}
    for name in ("named-theirs", named, made["KeyId"], made["Arn"]):
        answer = s3.put_object(Bucket="theirs", Key="k", Body=b"x", SSEKMSKeyId=name, **KMS)
        assert answer["SSEKMSKeyId"].startswith(f"arn:aws:kms:us-east-1:{OTHER}:key/")
        assert s3.get_object(Bucket="theirs", Key="k")["Body"].read() == b"x"
    # Names are of one account each.
    theirs.create_alias(AliasName="alias/same", TargetKeyId=made["KeyId"])
    own = ours.create_key()["KeyMetadata"]
    ours.create_alias(AliasName="alias/same", TargetKeyId=own["KeyId"])
    assert theirs.describe_key(KeyId="alias/same")["KeyMetadata"]["KeyId"] == made["KeyId"]
    assert ours.describe_key(KeyId="alias/same")["KeyMetadata"]["KeyId"] == own["KeyId"]
    # Not by others, whatever they call it.
    for kms, key in ((theirs, own), (ours, made)):
        assert code_of(kms.describe_key, KeyId=key["KeyId"]) == "NotFoundException"
        for call, fields in [(kms.describe_key, {}), (kms.encrypt, {"Plaintext": b"x"}), (kms.disable_key, {}), (kms.schedule_key_deletion, {}),
                             (kms.put_key_policy, {"Policy": "{}"}), (kms.get_key_policy, {}), (kms.list_grants, {})]:
            assert code_of(call, KeyId=key["Arn"], **fields) == "AccessDeniedException", call
        assert code_of(kms.create_alias, AliasName="alias/stolen", TargetKeyId=key["Arn"]) == "AccessDeniedException"
    assert code_of(s3.put_object, Bucket="theirs", Key="k", Body=b"", SSEKMSKeyId=own["Arn"], **KMS) == "AccessDenied"
    # The key of the server is for every account.
    s3.put_object(Bucket="theirs", Key="default", Body=b"x", **KMS)
    assert s3.get_object(Bucket="theirs", Key="default")["Body"].read() == b"x"


def test_the_policy_of_a_key_decides(server):
    kms = service(server, "kms")
    id = kms.create_key()["KeyMetadata"]["KeyId"]
    arn = kms.describe_key(KeyId=id)["KeyMetadata"]["Arn"]
    with_rights = user_of(server, (USER, PASSWORD), "with-rights", allow("kms:*"), allow("s3:*"))
    without = user_of(server, (USER, PASSWORD), "without", allow("s3:*"))
    arn_of = lambda name: f"arn:aws:iam::000000000000:user/{name}"
    encrypt = lambda key: code_of(service(server, "kms", key).encrypt, KeyId=arn, Plaintext=b"x")
    put = lambda key: code_of(service(server, "s3", key).put_object, Bucket="bucket", Key="k", Body=b"x", SSEKMSKeyId=arn, **KMS)
    assert (encrypt(with_rights), encrypt(without), put(with_rights), put(without)) == ("", "AccessDeniedException", "", "AccessDenied")
    # Policies of identities count only as far as that of the key lets the account decide.
    kms.put_key_policy(KeyId=id, Policy=document({"Effect": "Allow", "Principal": {"AWS": arn_of("without")},
                                                   "Action": ["kms:Encrypt", "kms:GenerateDataKey"], "Resource": "*"}))
    assert (encrypt(with_rights), encrypt(without), put(with_rights), put(without)) == ("AccessDeniedException", "", "AccessDenied", "")
    assert code_of(service(server, "kms", without).describe_key, KeyId=arn) == "AccessDeniedException"
    everyone = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"}
    refuses = {"Effect": "Deny", "Principal": {"AWS": arn_of("with-rights")}, "Action": "kms:GenerateDataKey", "Resource": "*"}
    kms.put_key_policy(KeyId=id, Policy=document(everyone, refuses))
    assert (encrypt(with_rights), put(with_rights), put(without)) == ("", "AccessDenied", "AccessDenied")
    # Between accounts both sides must allow.
    other = user_of(server, server.other, "across", allow("kms:Encrypt"))
    assert encrypt(other) == "AccessDeniedException"
    kms.put_key_policy(KeyId=id, Policy=document(everyone, {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:*", "Resource": "*"}))
    assert encrypt(other) == "" and code_of(service(server, "kms", other).decrypt, CiphertextBlob=kms.encrypt(
        KeyId=id, Plaintext=b"x")["CiphertextBlob"]) == "AccessDeniedException"
    assert code_of(service(server, "kms", server.other).disable_key, KeyId=arn) == "AccessDeniedException"
    for wrong in ("{}", document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": "*"}),
                  document({"Effect": "Allow", "Principal": {"AWS": arn_of("nobody")}, "Action": "kms:*", "Resource": "*"}), "x" * 33_000):
        assert code_of(kms.put_key_policy, KeyId=id, Policy=wrong) in ("MalformedPolicyDocumentException", "LimitExceededException")


def test_grants_let_single_operations_through(server):
    kms = service(server, "kms")
    id = kms.create_key()["KeyMetadata"]["KeyId"]
    arn = kms.describe_key(KeyId=id)["KeyMetadata"]["Arn"]
    grantee = user_of(server, (USER, PASSWORD), "grantee", allow("s3:*"))
    other = user_of(server, (USER, PASSWORD), "not-grantee", allow("s3:*"))
    name = "arn:aws:iam::000000000000:user/grantee"
    theirs = service(server, "kms", grantee)
    assert code_of(theirs.encrypt, KeyId=arn, Plaintext=b"x") == "AccessDeniedException"
    grant = kms.create_grant(KeyId=id, GranteePrincipal=name, RetiringPrincipal=name, Operations=["Encrypt", "Decrypt"], Name="one",
                             Constraints={"EncryptionContextSubset": {"team": "a"}})["GrantId"]
    assert kms.create_grant(KeyId=id, GranteePrincipal=name, RetiringPrincipal=name, Operations=["Decrypt", "Encrypt"], Name="one",
                            Constraints={"EncryptionContextSubset": {"team": "a"}})["GrantId"] == grant
    sealed = theirs.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext={"team": "a", "more": "b"})["CiphertextBlob"]
    assert theirs.decrypt(CiphertextBlob=sealed, EncryptionContext={"team": "a", "more": "b"})["Plaintext"] == b"x"
    assert code_of(theirs.encrypt, KeyId=arn, Plaintext=b"x") == "AccessDeniedException"
    assert code_of(theirs.generate_data_key, KeyId=arn, KeySpec="AES_256", EncryptionContext={"team": "a"}) == "AccessDeniedException"
    assert code_of(service(server, "kms", other).encrypt, KeyId=arn, Plaintext=b"x", EncryptionContext={"team": "a"}) == "AccessDeniedException"
    listed = kms.list_grants(KeyId=id)["Grants"]
    assert [(g["GrantId"], g["GranteePrincipal"], g["Operations"]) for g in listed] == [(grant, name, ["Decrypt", "Encrypt"])]
    assert [g["GrantId"] for g in kms.list_retirable_grants(RetiringPrincipal=name)["Grants"]] == [grant]
    assert code_of(service(server, "kms", other).retire_grant, KeyId=arn, GrantId=grant) == "AccessDeniedException"
    # What objects are sealed for: another grant.
    s3 = service(server, "s3", grantee)
    assert code_of(s3.put_object, Bucket="bucket", Key="g", Body=b"x", SSEKMSKeyId=arn, **KMS) == "AccessDenied"
    second = kms.create_grant(KeyId=id, GranteePrincipal=name, Operations=["GenerateDataKey", "Decrypt"])["GrantId"]
    s3.put_object(Bucket="bucket", Key="g", Body=b"x", SSEKMSKeyId=arn, **KMS)
    kms.revoke_grant(KeyId=id, GrantId=second)
    assert code_of(s3.get_object, Bucket="bucket", Key="g") == "AccessDenied"
    theirs.retire_grant(KeyId=arn, GrantId=grant)
    assert kms.list_grants(KeyId=id)["Grants"] == []
    assert code_of(kms.revoke_grant, KeyId=id, GrantId=grant) == "NotFoundException"
    for wrong in ({"Operations": ["Sign"]}, {"Operations": []}):
        assert raw(server, "CreateGrant", json.dumps({"KeyId": id, "GranteePrincipal": name, **wrong}).encode()).json()["__type"] == "ValidationException"
    for who in ("*", "arn:aws:iam::000000000000:root", "arn:aws:iam::000000000000:user/nobody"):
        assert code_of(kms.create_grant, KeyId=id, GranteePrincipal=who, Operations=["Encrypt"]) == "InvalidArnException"
    for _ in range(100):
        kms.create_grant(KeyId=id, GranteePrincipal=name, Operations=["Encrypt"])
    assert code_of(kms.create_grant, KeyId=id, GranteePrincipal=name, Operations=["Encrypt"]) == "LimitExceededException"


def test_rights_of_users_are_decided_on_the_key(server):
    kms = service(server, "kms")
    key, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    mine = service(server, "kms", user_with(server, {"Effect": "Allow", "Action": ["kms:Encrypt", "kms:DescribeKey"], "Resource": key}))
    mine.encrypt(KeyId=key, Plaintext=b"x")
    assert code_of(mine.encrypt, KeyId=other, Plaintext=b"x") == "AccessDeniedException"
    assert code_of(mine.list_keys) == code_of(mine.create_key) == code_of(mine.disable_key, KeyId=key) == "AccessDeniedException"
    denied = service(server, "kms", user_with(server, allow("*"), deny("admin:KMSDisableKey")))
    assert code_of(denied.disable_key, KeyId=key) == "AccessDeniedException"
    tagging = service(server, "kms", user_with(server, allow("kms:CreateKey"), deny("kms:TagResource")))
    assert code_of(tagging.create_key, Tags=[{"TagKey": "a", "TagValue": "b"}]) == "AccessDeniedException"
    tagging.create_key()


def test_pages(server):
    kms = service(server, "kms", server.other)
    made = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(5)}
    found, marker = set(), {}
    while True:
        page = kms.list_keys(Limit=2, **marker)
        assert len(page["Keys"]) <= 2
        found |= {key["KeyId"] for key in page["Keys"]}
        if not page["Truncated"]:
            break
        marker = {"Marker": page["NextMarker"]}
    assert made <= found


def test_a_default_of_a_bucket_may_name_a_key_that_is_not_there(server):
    """As S3, which looks at the key when something is written."""
    s3 = server.client()
    s3.create_bucket(Bucket="default")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "no-such-key"}}
    s3.put_bucket_encryption(Bucket="default", ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert code_of(s3.put_object, Bucket="default", Key="k", Body=b"x") == "KMS.NotFoundException"


def test_bad_signatures_and_bodies_are_refused_in_the_words_of_kms(server):
    assert raw(server, "ListKeys", key=(USER, "wrong-password")).json()["__type"] == "InvalidSignatureException"
    assert raw(server, "ListKeys", key=("nobody", "wrong-password")).json()["__type"] == "UnrecognizedClientException"
    assert raw(server, "ListKeys", b"[]").json()["__type"] == "SerializationException"
    unsigned = requests.post(server.url, data=b"{}", headers={"X-Amz-Target": "TrentService.ListKeys"}, timeout=20)
    assert unsigned.json()["__type"] == "MissingAuthenticationTokenException"
