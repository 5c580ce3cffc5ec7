"""Lengths that a request over HTTP/2 declares and that are no number, or not the length of what comes: each has an
answer of its own stream, others go on, and nothing is stored in part."""
import pytest

from conftest import PASSWORD, USER
from raw import Signer
from raw_h2 import Connection

HELLO = [b"he", b"llo"]
#: Lengths that are declared, pieces that come, and whether that is an upload.
LENGTHS = {
    "most of 64 bits": (["18446744073709551615"], HELLO, False),
    "most but one": (["18446744073709551614"], HELLO, False),
    "most but two": (["18446744073709551613"], HELLO, False),
    "beyond 64 bits": (["18446744073709551616"], HELLO, False),
    "far beyond": (["9" * 40], HELLO, False),
    "negative": (["-5"], HELLO, False),
    "plus sign": (["+5"], HELLO, False),
    "no number": (["five"], HELLO, False),
    "empty": ([""], HELLO, False),
    "blank": (["5 5"], HELLO, False),
    "list": (["5, 5"], HELLO, False),
    "two that differ": (["5", "6"], HELLO, False),
    "less than comes": (["3"], HELLO, False),
    "more than comes": (["9"], HELLO, False),
    "none comes": (["5"], [b""], False),
    "none is there": (["5"], [], False),
    "none is declared to come": (["0"], HELLO, False),
    "right": (["5"], HELLO, True),
    "zeros before": (["00005"], HELLO, True),
}


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket="bucket")
    return server


def test_each_length_is_answered_and_stores_all_or_nothing(server):
    s3, host = server.client(), f"127.0.0.1:{server.port}"
    for name, (lengths, pieces, is_upload) in LENGTHS.items():
        connection, path = Connection(server.port), "/bucket/" + name.replace(" ", "-")
        signed, _ = Signer(USER, PASSWORD).headers("PUT", path, host, payload="UNSIGNED-PAYLOAD")
        headers = [pair for pair in signed.items() if pair[0] != "host"]
        first = connection.get("/minio/health/live", host)
        probe = connection.ask("PUT", path, host, [*headers, *(("content-length", length) for length in lengths)], pieces)
        # What others ask on the same connection, before and after, is answered.
        last = connection.get("/minio/health/live", host)
        try:
            answers = connection.answers([first, probe, last])
        except EOFError as error:
            raise AssertionError(name) from error
        assert (answers[first], answers[last]) == (200, 200), name
        assert (answers[probe] == 200) == is_upload, (name, answers)
        connection.close()
    stored = {entry["Key"]: entry["Size"] for entry in s3.list_objects_v2(Bucket="bucket").get("Contents", [])}
    assert stored == {"right": 5, "zeros-before": 5}
    assert not s3.list_multipart_uploads(Bucket="bucket").get("Uploads")


def test_a_length_above_any_object_is_refused_before_its_body(server):
    host = f"127.0.0.1:{server.port}"
    connection = Connection(server.port)
    signed, _ = Signer(USER, PASSWORD).headers("PUT", "/bucket/k", host, payload="UNSIGNED-PAYLOAD")
    headers = [(name, value) for name, value in signed.items() if name != "host"]
    streams = [connection.ask("PUT", "/bucket/k", host, [*headers, ("content-length", str(length))], [b"x" * 100] * 3)
               for length in (2**63, 2**64 - 3, 2**64 - 2, 2**64 - 1)]
    answers = connection.answers(streams)
    assert set(answers.values()) <= {400, "reset"}, answers
    connection.close()
