"""What lists hold that are not in pages: of users, keys and keys of the key service."""
import json
from concurrent.futures import ThreadPoolExecutor

from people import allow, signed, user_with
from pressure import MIB, watched
from surfaces import ROOT, Surfaces
from test_identity_lists import TAGS, each

COUNT = 150


def test_a_list_of_users_holds_what_it_shows(start):
    """Goal: of users with as many tags as there may be, a list holds names. Method: the lists of MinIO's admin API and of
    the own one, on several connections."""
    server = start("--memory-budget", "64MiB")
    policy = json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::" + "x" * 1900}})

    def make(surfaces, number):
        made = surfaces.query(ROOT, "CreateUser", UserName=f"u{number:03}", **TAGS)
        put = surfaces.query(ROOT, "PutUserPolicy", UserName=f"u{number:03}", PolicyName="p", PolicyDocument=policy)
        return made.status_code, put.status_code

    assert set(each(server, make, range(COUNT))) == {(200, 200)}

    def ask(surfaces, number):
        if number % 2:
            return surfaces.minio(ROOT, "GET", "list-users").status_code
        return surfaces.api(ROOT, "user-list").text.count('"name"')

    # The caches of rows, and the keys that seal answers, are bounded by themselves.
    assert each(server, ask, range(4)) == [COUNT, 200] * 2
    listing = [0] * 24
    with watched(server) as watch:
        assert each(server, ask, listing) == [COUNT] * len(listing)
    assert watch.grown < 6 * MIB, watch.grown


def test_a_list_of_policies_holds_their_text(start):
    """Goal: a list holds the bytes of its documents once, not what these are when they are taken apart."""
    server = start("--memory-budget", "64MiB")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement] * 90})
    names = [f"p{number:03}" for number in range(150)]

    def make(surfaces, name):
        return surfaces.query(ROOT, "CreatePolicy", PolicyName=name, PolicyDocument=policy).status_code

    assert set(each(server, make, names)) == {200}

    def ask(surfaces, _):
        answer = surfaces.minio(ROOT, "GET", "list-canned-policies")
        return answer.status_code, len([name for name in answer.json() if name in names])

    assert Surfaces(server).minio(ROOT, "GET", "list-canned-policies").json()["p007"] == json.loads(policy)
    assert Surfaces(server).minio(ROOT, "GET", "info-canned-policy", name="p007").json() == json.loads(policy)
    assert set(each(server, ask, range(4))) == {(200, 150)}
    with watched(server) as watch:
        assert set(each(server, ask, range(24))) == {(200, 150)}
    assert watch.grown < 12 * MIB, watch.grown


def test_keys_of_the_key_service_are_bounded(start):
    server = start()
    surfaces = Surfaces(server)
    made = surfaces.api(ROOT, "kms-add", key="short", description="x" * 256)
    assert made.status_code == 200, made.text
    assert surfaces.api(ROOT, "kms-add", key="long", description="x" * 257).status_code == 400
    assert surfaces.minio(ROOT, "GET", "kms:key/list").text.count('"name"') == 1
    turned = [surfaces.api(ROOT, "kms-rotate", key="short").status_code for _ in range(250)]
    assert turned == [200] * 249 + [409], turned[-3:]


def test_pages_of_access_points_read_what_they_hold(start):
    """Method: points with tags as large as they may be; pages of one, of all, and of a bucket, on several connections."""
    server = start("--memory-budget", "64MiB")
    for bucket in ("one", "two"):
        server.client().create_bucket(Bucket=bucket)
    account = {"x-amz-account-id": "000000000000"}
    key = user_with(server, allow("s3:CreateAccessPoint", "s3:TagResource", "s3:ListAccessPoints"))
    tags = "".join(f"<Tag><Key>{'𐐀' * 124}{n:02}</Key><Value>{'𐐀' * 256}</Value></Tag>" for n in range(50))

    def make(number):
        body = (f"<CreateAccessPointRequest><Bucket>{('one', 'two')[number % 2]}</Bucket><Tags>{tags}</Tags>"
                "</CreateAccessPointRequest>").encode()
        return signed(server, "PUT", f"/v20180820/accesspoint/p{number:03}", body, headers=account, key=key).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(make, range(80))) == {200}

    def page(query):
        answer = signed(server, "GET", f"/v20180820/accesspoint?{query}", headers=account, key=key)
        assert answer.status_code == 200, answer.text
        names = [piece.split("<")[0] for piece in answer.text.split("<Name>")[1:]]
        return names, answer.text.partition("<NextToken>")[2].partition("<")[0]

    for query, expected in (("maxResults=7", range(80)), ("", range(80)), ("bucket=two", range(1, 80, 2))):
        names, token = [], None
        while token != "":
            found, token = page("&".join(filter(None, [query, token and f"nextToken={token}"])))
            names += found
        assert names == [f"p{number:03}" for number in expected]
    with watched(server) as watch, ThreadPoolExecutor(8) as pool:
        assert all(len(names) == 1 for names, _ in pool.map(lambda _: page("maxResults=1"), range(64)))
    assert watch.grown < 5 * MIB, watch.grown
    assert not watch.failed and watch.waited < 2, (watch.failed, watch.waited)
