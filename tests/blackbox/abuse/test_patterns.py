"""Patterns of policies on what a client sends: in linear time, and many decisions let others in between."""
import json
import threading

import pytest

from conftest import PASSWORD, USER
from pressure import watched

WORST = ["*" + "a" * 15_000 + "b", "*a" * 7_000 + "b", "*" + "a?" * 7_000 + "b"]


@pytest.mark.parametrize("pattern", WORST, ids=["literal", "stars", "question-marks"])
def test_bulk_deletes_under_the_worst_pattern(start, pattern):
    server = start()
    s3 = server.client(user_agent="a" * 20_000, read_timeout=60)
    s3.create_bucket(Bucket="bucket")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::bucket/*",
         "Condition": {"StringLike": {"aws:UserAgent": pattern}}}]}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(policy))
    keys = [{"Key": f"k{n}"} for n in range(60)]
    outcomes = []

    def delete():
        outcomes.append(s3.delete_objects(Bucket="bucket", Delete={"Objects": keys}))

    with watched(server) as watch:
        threads = [threading.Thread(target=delete) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(outcome["Deleted"]) for outcome in outcomes] == [60] * 3
    assert watch.waited < 2, watch.waited


def test_values_that_fit_still_match(start):
    """A cut value keeps its beginning: what a policy says of usual agents holds."""
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*",
         "Condition": {"StringLike": {"aws:UserAgent": "crawler*bot/?.0*"}}}]}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(policy))
    for agent, is_let_in in [("crawler of a bot/1.0 (x)", False), ("crawlerbot/2.0" + "x" * 20_000, False), ("aws-cli/2", True)]:
        reader = server.client(user_agent=agent)
        try:
            reader.get_object(Bucket="bucket", Key="k")["Body"].read()
            found = True
        except reader.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            found = False
        assert found == is_let_in, agent[:30]
