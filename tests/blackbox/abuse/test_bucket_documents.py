"""How long the configuration documents of a bucket may be, and what lists of them hold."""
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Server
from people import allow, deny, document, signed, user_with
from pressure import MIB, watched

KIB = 1 << 10
BLOCK = "<BlockPublicAcls>true</BlockPublicAcls>"
ARN = "arn:aws:s3:::bkt"
RULE = ("<Rule><ID>{0}</ID><Priority>{0}</Priority><Prefix/><Status>Enabled</Status>"
        f"<Destination><Bucket>{ARN}</Bucket></Destination></Rule>")
#: Query, root, content, bytes at most.
KINDS = [
    ("cors", "CORSConfiguration", "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>", 64 * KIB),
    ("lifecycle", "LifecycleConfiguration",
     "<Rule><Prefix/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>", MIB),
    ("notification", "NotificationConfiguration", "", 256 * KIB),
    ("replication", "ReplicationConfiguration", f"<Role>r</Role>{RULE.format(1)}", 2 * MIB),
    ("website", "WebsiteConfiguration", "<IndexDocument><Suffix>i</Suffix></IndexDocument>", 128 * KIB),
    ("acl", "AccessControlPolicy", "<Owner><ID>{owner}</ID></Owner><AccessControlList/>", 64 * KIB),
    ("publicAccessBlock", "PublicAccessBlockConfiguration", BLOCK, 8 * KIB),
    ("ownershipControls", "OwnershipControls", "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>", 8 * KIB),
    ("requestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>", 8 * KIB),
    ("accelerate", "AccelerateConfiguration", "<Status>Enabled</Status>", 8 * KIB),
    ("logging", "BucketLoggingStatus", "", 16 * KIB),
    ("encryption", "ServerSideEncryptionConfiguration", "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>", 16 * KIB),
    ("metrics&id=a", "MetricsConfiguration", "<Id>a</Id>", 64 * KIB),
    ("analytics&id=a", "AnalyticsConfiguration", "<Id>a</Id><StorageClassAnalysis/>", 64 * KIB),
    ("inventory&id=a", "InventoryConfiguration",
     f"<Destination><S3BucketDestination><Bucket>{ARN}</Bucket><Format>CSV</Format></S3BucketDestination></Destination>"
     "<IsEnabled>true</IsEnabled><Id>a</Id><IncludedObjectVersions>All</IncludedObjectVersions>"
     "<Schedule><Frequency>Daily</Frequency></Schedule>", 64 * KIB),
    ("intelligent-tiering&id=a", "IntelligentTieringConfiguration",
     "<Id>a</Id><Status>Enabled</Status><Tiering><Days>90</Days><AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering>", 64 * KIB),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("documents") / "drive", "--memory-budget", "64MiB").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="bkt")
    s3.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    yield server
    server.kill()


def code(answer):
    found = re.search("<Code>([^<]*)", answer.text)
    return answer.status_code, found and found.group(1)


@pytest.mark.parametrize("query,root,content,len_max", KINDS, ids=lambda value: value if isinstance(value, str) and "<" not in value else "")
def test_a_document_has_so_many_bytes_and_no_more(server, query, root, content, len_max):
    """Method: blanks between the elements, so that the document says the same at each length."""
    s3 = server.client()
    content = content.replace("{owner}", s3.get_bucket_acl(Bucket="bkt")["Owner"]["ID"])
    parts = f"<{root}>{content}", f"</{root}>"

    def put(length):
        blanks = " " * (length - sum(map(len, parts)))
        return code(signed(server, "PUT", f"/bkt?{query}", blanks.join(parts).encode()))

    assert put(len_max)[0] == 200
    assert put(len_max + 1) == (400, "MaxMessageLengthExceeded")


def test_a_policy_has_so_many_bytes_and_no_more(server):
    policy = document(deny("s3:GetObject", resource=f"{ARN}/*") | {"Principal": "*"}).encode()
    assert code(signed(server, "PUT", "/bkt?policy", policy.ljust(20 * KIB))) == (204, None)
    assert code(signed(server, "PUT", "/bkt?policy", policy.ljust(20 * KIB + 1))) == (400, "MalformedPolicy")


def test_rules_and_notifications_are_counted(server):
    rules = "".join(RULE.format(number) for number in range(1001))
    put = lambda rules: code(signed(server, "PUT", "/bkt?replication", (
        f"<ReplicationConfiguration><Role>r</Role>{rules}</ReplicationConfiguration>").encode()))
    assert put(rules) == (400, "InvalidRequest")
    assert put(rules[:-len(RULE.format(1000))]) == (200, None)
    topic = "<TopicConfiguration><Topic>arn:t</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration>"
    for count, expected in ((100, (200, None)), (101, (400, "InvalidRequest"))):
        body = f"<NotificationConfiguration>{topic * count}</NotificationConfiguration>".encode()
        skip = {"x-amz-skip-destination-validation": "true"}
        assert code(signed(server, "PUT", "/bkt?notification", body, headers=skip)) == expected


def test_pages_of_named_documents_read_what_they_hold(server):
    """Goal: neither a list nor a put reads all documents of a kind. Method: documents as large as they may be; lists of a
    page, lists of nothing, and puts, on several connections."""
    count, prefix = 120, "p" * (63 * KIB)
    key = user_with(server, allow("s3:PutMetricsConfiguration", "s3:GetMetricsConfiguration"))

    def put(number, key=key):
        body = f"<MetricsConfiguration><Id>m{number:03}</Id><Filter><Prefix>{prefix}</Prefix></Filter></MetricsConfiguration>"
        return code(signed(server, "PUT", f"/bkt?metrics&id=m{number:03}", body.encode(), key=key))

    signed(server, "DELETE", "/bkt?metrics&id=a")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(put, range(count))) == {(200, None)}
    names, token, pages = [], "", 0
    while token is not None:
        answer = signed(server, "GET", f"/bkt?metrics&continuation-token={token}", key=key)
        assert answer.status_code == 200 and len(answer.content) < 2 * MIB
        names += re.findall("<Id>([^<]*)", answer.text)
        pages += 1
        found = re.search("<NextContinuationToken>([^<]*)", answer.text)
        token = found and found.group(1)
    assert names == [f"m{number:03}" for number in range(count)] and pages > 5

    def ask(number):
        if number % 2:
            return put(number % count)[0]
        return signed(server, "GET", "/bkt?metrics&continuation-token=zzz", key=key).status_code

    assert [ask(0), ask(1)] == [200, 200]
    with watched(server) as watch, ThreadPoolExecutor(12) as pool:
        assert set(pool.map(ask, range(96))) == {200}
    assert watch.grown < 24 * MIB, watch.grown
    assert not watch.failed and watch.waited < 3, (watch.failed, watch.waited)


def test_a_bucket_has_a_thousand_named_documents_of_a_kind(server):
    """Method: of small documents; one that is there can still be changed, and each kind has its own room."""
    def put(number, query="analytics", root="AnalyticsConfiguration", inner="<StorageClassAnalysis/>"):
        body = f"<{root}><Id>n{number}</Id>{inner}</{root}>".encode()
        return code(signed(server, "PUT", f"/bkt?{query}&id=n{number}", body))

    signed(server, "DELETE", "/bkt?analytics&id=a")
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(put, range(1010)))
    assert made.count((200, None)) == 1000 and made.count((400, "TooManyConfigurations")) == 10
    assert put(made.index((200, None))) == (200, None)
    assert put(0, "metrics", "MetricsConfiguration", "") == (200, None)
