"""What is stored and does not act says so: in the log, in metrics, and in `drystone status`."""
import json
import re
import subprocess

import pytest
import requests

from conftest import BINARY, PASSWORD, USER, Server

TOKEN = "metrics-token-of-this-test"
ARN = "arn:aws:s3:::one"
TO = {"S3BucketDestination": {"Bucket": ARN, "Format": "CSV"}}
REPORT = {"Id": "r", "IsEnabled": True, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"}, "Destination": TO}
RULES = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}]}
COPIES = {"Role": "arn:aws:iam::000000000000:role/x", "Rules": [{"Status": "Enabled", "Priority": 1, "Filter": {"Prefix": ""},
          "DeleteMarkerReplication": {"Status": "Disabled"}, "Destination": {"Bucket": ARN}}]}
TARGETS = {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:000000000000:q", "Events": ["s3:ObjectCreated:*"]}]}
TIERS = {"Id": "r", "Status": "Enabled", "Tierings": [{"Days": 100, "AccessTier": "ARCHIVE_ACCESS"}]}
# Name in metrics, words, call that sets it, its parameters, and what sets it back.
KINDS = [
    ("lifecycle", "lifecycle rules", "put_bucket_lifecycle_configuration", {"LifecycleConfiguration": RULES}, ("delete_bucket_lifecycle", {})),
    ("notification", "event notifications", "put_bucket_notification_configuration",
     {"NotificationConfiguration": TARGETS, "SkipDestinationValidation": True},
     ("put_bucket_notification_configuration", {"NotificationConfiguration": {}})),
    ("replication", "replication rules", "put_bucket_replication", {"ReplicationConfiguration": COPIES}, ("delete_bucket_replication", {})),
    ("request_payment", "requester-pays settings", "put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}},
     ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "BucketOwner"}})),
    ("accelerate", "acceleration settings", "put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}},
     ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Suspended"}})),
    ("inventory", "inventory reports", "put_bucket_inventory_configuration", {"Id": "r", "InventoryConfiguration": REPORT},
     ("delete_bucket_inventory_configuration", {"Id": "r"})),
    ("analytics", "storage class analyses", "put_bucket_analytics_configuration",
     {"Id": "r", "AnalyticsConfiguration": {"Id": "r", "StorageClassAnalysis": {}}}, ("delete_bucket_analytics_configuration", {"Id": "r"})),
    ("metrics", "request metrics by filter", "put_bucket_metrics_configuration", {"Id": "r", "MetricsConfiguration": {"Id": "r"}},
     ("delete_bucket_metrics_configuration", {"Id": "r"})),
    ("intelligent_tiering", "archive tiers", "put_bucket_intelligent_tiering_configuration",
     {"Id": "r", "IntelligentTieringConfiguration": TIERS}, ("delete_bucket_intelligent_tiering_configuration", {"Id": "r"})),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    drive = tmp_path_factory.mktemp("inactive") / "drive"
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_METRICS_TOKEN": TOKEN}
    server = Server(drive, env=env).wait_ready()
    s3 = server.client()
    for bucket in ("one", "two"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield server, s3, drive
    server.stop()


def said(server, drive):
    """What metrics and status say, as numbers of buckets, and the words of the status."""
    page = requests.get(f"http://127.0.0.1:{server.port}/minio/v2/metrics/cluster", headers={"authorization": f"Bearer {TOKEN}"})
    assert page.status_code == 200, page.text
    gauge = {kind: int(count) for kind, count in re.findall(r'drystone_inactive_buckets\{kind="(\w+)"\} (\d+)', page.text)}
    total = {kind: int(count) for kind, count in re.findall(r'drystone_inactive_documents_stored_total\{kind="(\w+)"\} (\d+)', page.text)}
    status = json.loads(subprocess.run([BINARY, "status", "--json", "--at", drive], capture_output=True, text=True, check=True, timeout=30).stdout)
    text = subprocess.run([BINARY, "status", "--at", drive], capture_output=True, text=True, check=True, timeout=30).stdout
    return gauge, total, status, text


def inactive(status):
    found = status.get("inactive", status.get("status", {}).get("inactive"))
    return {entry["what"]: entry["buckets"] for entry in found}


@pytest.mark.parametrize("name, what, call, parameters, back", KINDS, ids=[kind[0] for kind in KINDS])
def test_what_does_not_act_says_so(store, name, what, call, parameters, back):
    server, s3, drive = store
    before = said(server, drive)
    assert before[0][name] == 0 and what not in inactive(before[2])
    for count, bucket in enumerate(("one", "two"), 1):
        getattr(s3, call)(Bucket=bucket, **parameters)
        gauge, total, status, text = said(server, drive)
        assert (gauge[name], total[name] - before[1][name], inactive(status)[what]) == (count, count, count)
        words = "1 bucket has" if count == 1 else f"{count} buckets have"
        assert f"{words} {what}; this version does not act on them" in text
    for bucket in ("one", "two"):
        getattr(s3, back[0])(Bucket=bucket, **back[1])
    gauge, _, status, text = said(server, drive)
    assert gauge[name] == 0 and what not in inactive(status) and what not in text


def test_each_is_said_once_in_the_log(tmp_path):
    server = Server(tmp_path / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="logged")
    s3.put_bucket_versioning(Bucket="logged", VersioningConfiguration={"Status": "Enabled"})
    for _, _, call, parameters, back in KINDS:
        getattr(s3, call)(Bucket="logged", **parameters)
        getattr(s3, back[0])(Bucket="logged", **back[1])
    s3.put_bucket_cors(Bucket="logged", CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
    lines = [line for line in server.stop()[1].splitlines() if "does not act on" in line]
    assert len(lines) == len(KINDS), lines
    for _, what, *_ in KINDS:
        assert sum(what in line and "logged" in line for line in lines) == 1, what


def test_what_acts_says_nothing(store):
    server, s3, drive = store
    s3.put_bucket_cors(Bucket="one", CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
    s3.put_bucket_website(Bucket="one", WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    gauge, _, status, _ = said(server, drive)
    assert not any(gauge.values()) and not inactive(status)
