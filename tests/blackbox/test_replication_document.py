"""The replication document: stored and returned as AWS does, refused where AWS refuses it."""
import pytest
from botocore.exceptions import ClientError

from conftest import Server

ROLE = "arn:aws:iam::000000000000:role/replicator"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("replication") / "drive").wait_ready()
    yield server
    server.stop()


def refused(code, call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value


def test_round_trip(server):
    s3 = server.client()
    for name in ("source", "target"):
        s3.create_bucket(Bucket=name)
    rule = {"ID": "all", "Priority": 1, "Status": "Enabled", "Filter": {"Prefix": "a/"},
            "DeleteMarkerReplication": {"Status": "Disabled"}, "Destination": {"Bucket": "arn:aws:s3:::target"}}
    document = {"Role": ROLE, "Rules": [rule]}
    refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket="source")
    refused("InvalidRequest", s3.put_bucket_replication, Bucket="source", ReplicationConfiguration=document)
    for name in ("source", "target"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_replication(Bucket="source", ReplicationConfiguration=document)
    assert s3.get_bucket_replication(Bucket="source")["ReplicationConfiguration"] == document
    s3.delete_bucket_replication(Bucket="source")
    refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket="source")
