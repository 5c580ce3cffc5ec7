"""Users with exactly these policies, and what happens when they ask."""
import itertools
import json

import boto3
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER

NUMBERS = itertools.count()


def allow(*actions, resource="*", **condition):
    return statement("Allow", actions, resource, condition)


def deny(*actions, resource="*", **condition):
    return statement("Deny", actions, resource, condition)


def statement(effect, actions, resource, condition):
    made = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return {**made, "Condition": condition} if condition else made


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def service(server, name, key=(USER, PASSWORD), **config):
    options = {"retries": {"max_attempts": 1}, "signature_version": "s3v4" if name == "s3" else "v4", **config}
    if name == "s3":
        options["s3"] = {"addressing_style": "path"}
    token = {"aws_session_token": key[2]} if len(key) > 2 else {}
    return boto3.client(name, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key[0],
                        aws_secret_access_key=key[1], verify=False, config=Config(**options), **token)


def user_with(server, *statements):
    """The key of a new user with a policy of these statements."""
    iam, name = service(server, "iam"), f"user-{next(NUMBERS)}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def signed(server, method, path, body=b"", headers=None, key=(USER, PASSWORD)):
    """Any request with a signature in its headers. `path` is encoded, with its query."""
    request = AWSRequest(method=method, url=server.url + path, data=body, headers=dict(headers or {}))
    S3SigV4Auth(Credentials(*key), "s3", "us-east-1").add_auth(request)
    return requests.request(method, server.url + path, data=body, headers=dict(request.headers), timeout=20,
                            verify=False, allow_redirects=False)


def signed_headers(server, method, path, key, headers):
    """Those of a signed request whose body is not covered, in lower case and without its host: for a connection made by hand."""
    request = AWSRequest(method=method, url=server.url + path, headers={**headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    S3SigV4Auth(Credentials(*key), "s3", "us-east-1").add_auth(request)
    return [(name.lower(), value) for name, value in request.headers.items() if name.lower() != "host"]


def code_of(call, *arguments, **parameters):
    """The error code of a call; empty if it succeeds."""
    try:
        call(*arguments, **parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""
