"""Pages of websites that wait for room: their readers make the wait as long as they like, and get what is public at its end. Found by
a review (12)."""
import os
import socket
import time

import pytest
import requests

from conftest import Server
from surfaces import ROOT, Surfaces, document
from test_ended_while_it_waits import UNREAD, Later

HOST = "pages.s3-website.s3.test"
SITE = b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"
ERRORS = SITE.replace(b"</IndexDocument>", b"</IndexDocument><ErrorDocument><Key>oops.html</Key></ErrorDocument>")
PUBLIC = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pages/*"}
PAGE = b"the secret " * 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("pages") / "drive", "--domain", "s3.test", "--memory-budget", "8MiB").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="pages")
    s3.put_object(Bucket="pages", Key="big", Body=os.urandom(20 << 20))
    for key in ("page", "index.html", "oops.html"):
        s3.put_object(Bucket="pages", Key=key, Body=PAGE)
    yield server
    server.stop()


def unread(server):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(f"GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("path,site", [("/page", SITE), ("/", SITE), ("/none", ERRORS)])
@pytest.mark.parametrize("end", ["nothing", "policy", "deny"])
def test_a_page_that_waits_for_room_is_sent_to_those_who_may_read_it_at_its_end(server, path, site, end):
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/pages?policy", document(PUBLIC).encode()).status_code == 204
    assert surfaces.s3(ROOT, "PUT", "/pages?website", site).status_code == 200
    held = [unread(server) for _ in range(UNREAD)]
    time.sleep(1)
    later = Later(lambda: requests.get(server.url + path, headers={"Host": HOST}, timeout=30))
    assert later.waits(), later.result.status_code
    if end == "policy":
        assert surfaces.s3(ROOT, "DELETE", "/pages?policy").status_code == 204
    if end == "deny":
        deny = {**PUBLIC, "Effect": "Deny", "Resource": "arn:aws:s3:::pages/*.html"}
        other = {**deny, "Resource": "arn:aws:s3:::pages/page"}
        assert surfaces.s3(ROOT, "PUT", "/pages?policy", document(PUBLIC, deny, other).encode()).status_code == 204
    for client in held:
        client.close()
    answer = later.end()
    is_page = PAGE[:20] in answer.content
    assert is_page == (end == "nothing"), (answer.status_code, answer.content[:200])
    if end == "nothing":
        # Whether a page is missing is not said without the right to list.
        assert answer.status_code == (403 if path == "/none" else 200)
    else:
        assert answer.status_code in (403, 404)
