"""What a document says counts each time that its request is decided on."""
import pathlib
import re
import time

import pytest

from conftest import Server
from people import allow
from surfaces import ROOT, Surfaces
from test_held_requests import Held

SOURCE = (pathlib.Path(__file__).parents[3] / "crates/s3/src/authorize/said.rs").read_text()
UNTIL = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 5 * 86400))
TAG = "<TagSet><Tag><Key>team</Key><Value>a</Value></Tag></TagSet>"
REPORT = ("<Id>i</Id><IsEnabled>false</IsEnabled><IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily"
          "</Frequency></Schedule><Destination><S3BucketDestination><Bucket>arn:aws:s3:::logged</Bucket><Format>CSV</Format>"
          "</S3BucketDestination></Destination><OptionalFields><Field>Size</Field></OptionalFields>")
# Operation: target, document, action, and the only condition on which it is allowed.
CASES = {
    "PutObjectTagging": ("/logged/k?tagging", f"<Tagging>{TAG}</Tagging>", "s3:PutObjectTagging",
                         {"StringEquals": {"s3:RequestObjectTag/team": "a"}}),
    "PutObjectRetention": ("/logged/k?retention", f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{UNTIL}</RetainUntilDate></Retention>",
                           "s3:PutObjectRetention", {"StringEquals": {"s3:object-lock-mode": "GOVERNANCE"}}),
    "PutObjectLegalHold": ("/logged/k?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>", "s3:PutObjectLegalHold",
                           {"StringEquals": {"s3:object-lock-legal-hold": "OFF"}}),
    "PutBucketTagging": ("/logged?tagging", f"<Tagging>{TAG}</Tagging>", "s3:PutBucketTagging", {"StringEquals": {"aws:RequestTag/team": "a"}}),
    "PutBucketInventoryConfiguration": ("/logged?inventory&id=i", f"<InventoryConfiguration>{REPORT}</InventoryConfiguration>",
                                        "s3:PutInventoryConfiguration",
                                        {"ForAnyValue:StringEquals": {"s3:InventoryAccessibleOptionalFields": "Size"}}),
}
# There is no bucket yet, so that it has no access log.
NOT_LOGGED = {"CreateBucket"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("said") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="logged", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="lines")
    s3.put_object(Bucket="logged", Key="k", Body=b"x")
    s3.put_bucket_logging(Bucket="logged", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "lines", "TargetPrefix": "l/"}})
    yield server
    server.stop()


def test_every_document_that_conditions_look_at_is_tested():
    heard = SOURCE.split("fn is_in(")[1].split("\n    }\n")[0]
    assert set(re.findall(r"O::(\w+)", heard)) == {*CASES, *NOT_LOGGED}


@pytest.mark.parametrize("operation", CASES)
def test_a_change_of_identities_does_not_make_the_server_forget_it(server, operation):
    """Method: all of a request but its last byte, by who may send it only with what it says; then a user is changed who has
    nothing to do with it. Where there is an access log, the request is decided on again when there is room for its line."""
    surfaces, (target, document, action, condition) = Surfaces(server), CASES[operation]
    key = surfaces.user(operation, allow(action, **condition))
    held = Held(server, key, "PUT", target, document.encode())
    surfaces.root("CreateUser", UserName=f"nobody-{operation}")
    status, answer = held.status()
    assert status in (200, 204), answer
    # Of other documents the same user sends none.
    other = document.replace("<Value>a<", "<Value>b<").replace("GOVERNANCE", "COMPLIANCE").replace(">OFF<", ">ON<").replace(">Size<", ">ETag<")
    held = Held(server, key, "PUT", target, other.encode())
    surfaces.root("DeleteUser", UserName=f"nobody-{operation}")
    assert held.status()[0] == 403
    assert surfaces.send(ROOT, "s3", "PUT", target, document.encode()).status_code in (200, 204)
