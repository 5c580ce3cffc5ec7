"""How much an access point may hold."""
import re

from people import signed

ACCOUNT = {"x-amz-account-id": "000000000000"}


def code(answer):
    found = re.search("<Code>([^<]*)", answer.text)
    return answer.status_code, found and found.group(1)


def test_each_field_of_an_access_point_is_bounded(start):
    """Method: scopes and tags at their bounds and one beyond, at the making of a point and after it."""
    server = start()
    server.client().create_bucket(Bucket="bkt")

    def scope(prefixes, permissions=("GetObject",)):
        prefixes = "".join(f"<Prefix>{prefix}</Prefix>" for prefix in prefixes)
        permissions = "".join(f"<Permission>{name}</Permission>" for name in permissions)
        return f"<Scope><Prefixes>{prefixes}</Prefixes><Permissions>{permissions}</Permissions></Scope>"

    def tags(count, key="k", value="v"):
        return "<Tags>" + "".join(f"<Tag><Key>{key}{n:02}</Key><Value>{value}</Value></Tag>" for n in range(count)) + "</Tags>"

    def create(name, inner):
        body = f"<CreateAccessPointRequest><Bucket>bkt</Bucket>{inner}</CreateAccessPointRequest>"
        return code(signed(server, "PUT", f"/v20180820/accesspoint/{name}", body.encode(), headers=ACCOUNT))

    def put_scope(name, inner):
        body = f"<PutAccessPointScopeRequest>{inner}</PutAccessPointScopeRequest>"
        return code(signed(server, "PUT", f"/v20180820/accesspoint/{name}/scope", body.encode(), headers=ACCOUNT))

    assert create("widest", scope(["p" * 200, "q" * 55]) + tags(50, "𐐀" * 126, "𐐀" * 256)) == (200, None)
    assert put_scope("widest", scope([])) == (200, None)
    for prefixes in (["p" * 256], ["p" * 200, "q" * 56], [""] * 256):
        assert create("wider", scope(prefixes)) == (400, "InvalidRequest")
        assert put_scope("widest", scope(prefixes)) == (400, "InvalidRequest")
    assert put_scope("widest", scope([], ["GetObject"] * 9)) == (400, "MalformedXML")
    assert create("wider", tags(51))[0] == 400
    assert create("wider", tags(1, "k" * 127)) == (400, "InvalidTag")
    assert create("wider", tags(1, value="v" * 257)) == (400, "InvalidTag")
