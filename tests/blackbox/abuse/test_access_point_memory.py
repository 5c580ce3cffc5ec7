"""What a request by the name of an access point holds, before anything is known of its client."""
import time

from people import signed
from pressure import held
from raw_h2 import END_HEADERS, HEADERS, Connection, block, frame
from surfaces import document, field

MIB = 1 << 20
ACCOUNT = {"x-amz-account-id": "000000000000"}
LONG = "\U00020000"


def grown(server, bucket, connections=4, streams=100):
    """Bytes that requests hold whose bodies never come."""
    before, opened, most = held(server), [], 0
    for _ in range(connections):
        connection = Connection(server.port)
        opened.append(connection)
        for _ in range(streams):
            head = [(":method", "PUT"), (":scheme", "http"), (":authority", "x"),
                    (":path", f"/{bucket}/k?tagging"), ("content-length", "100")]
            connection.socket.sendall(frame(HEADERS, END_HEADERS, connection.next_stream, block(head)))
            connection.next_stream += 2
    for _ in range(20):
        time.sleep(0.05)
        most = max(most, held(server) - before)
    for connection in opened:
        connection.close()
    return most


def test_requests_share_what_is_known_of_an_access_point(start):
    """Method: the largest access point; strangers name it, or its bucket, in requests whose bodies do not come."""
    server = start("--memory-budget", "64MiB")
    server.client().create_bucket(Bucket="bkt")
    tags = "".join(f"<Tag><Key>{n:02}{LONG * 126}</Key><Value>{LONG * 256}</Value></Tag>" for n in range(50))
    body = f"<CreateAccessPointRequest><Bucket>bkt</Bucket><Tags>{tags}</Tags></CreateAccessPointRequest>".encode()
    made = signed(server, "PUT", "/v20180820/accesspoint/team", body, headers=ACCOUNT)
    assert made.status_code == 200, made.text
    arn = "arn:aws:s3:us-east-1:000000000000:accesspoint/team"
    policy = document({"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "s3:GetObject",
                       "Resource": [f"{arn}/object/{n:03}{'p' * 40}*" for n in range(180)]})
    policy = policy.replace('"', "&quot;")
    body = f"<PutAccessPointPolicyRequest><Policy>{policy}</Policy></PutAccessPointPolicyRequest>".encode()
    put = signed(server, "PUT", "/v20180820/accesspoint/team/policy", body, headers=ACCOUNT)
    assert put.status_code == 200, put.text
    of_bucket = grown(server, "bkt")
    of_point = grown(server, field(made.text, "Alias"))
    assert of_point < of_bucket + 12 * MIB, (of_bucket / MIB, of_point / MIB)


def test_an_access_point_counts_as_it_is_by_now(start):
    """Method: what was kept of an access point is used, then its policy and it are changed."""
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bkt")
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    body = b"<CreateAccessPointRequest><Bucket>bkt</Bucket></CreateAccessPointRequest>"
    made = signed(server, "PUT", "/v20180820/accesspoint/team", body, headers=ACCOUNT)
    alias = field(made.text, "Alias")
    arn = "arn:aws:s3:us-east-1:000000000000:accesspoint/team"

    def read():
        return signed(server, "GET", f"/{alias}/k").status_code

    def put_policy(effect):
        policy = document({"Effect": effect, "Principal": {"AWS": "000000000000"}, "Action": "s3:GetObject",
                           "Resource": [f"{arn}/object/*"]}).replace('"', "&quot;")
        body = f"<PutAccessPointPolicyRequest><Policy>{policy}</Policy></PutAccessPointPolicyRequest>".encode()
        assert signed(server, "PUT", "/v20180820/accesspoint/team/policy", body, headers=ACCOUNT).status_code == 200

    for effect, status in (("Allow", 200), ("Deny", 403), ("Allow", 200)):
        put_policy(effect)
        assert [read(), read()] == [status, status], effect
    assert signed(server, "DELETE", "/v20180820/accesspoint/team", headers=ACCOUNT).status_code == 204
    assert read() == 404
