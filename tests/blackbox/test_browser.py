"""CORS in Chromium: a page of one origin calls a bucket of another."""
import functools
import http.server
import json
import subprocess
import threading

import pytest

from conftest import Server
from test_federation import NODE


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("browser") / "drive").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def page(tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>", encoding="utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()


def test_a_page_may_what_the_rules_say_and_nothing_else(server, page):
    s3 = server.client()
    for name in ("open", "closed"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_cors(Bucket="open", CORSConfiguration={"CORSRules": [
        {"AllowedOrigins": [page], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["content-type"], "ExposeHeaders": ["ETag"]}]})
    s3.put_object(Bucket="closed", Key="k", Body=b"1")
    sign = lambda call, bucket: s3.generate_presigned_url(call, Params={"Bucket": bucket, "Key": "k"})
    done = subprocess.run(["node", "browser.mjs", f"{page}/index.html", sign("put_object", "open"), sign("get_object", "open"),
                           sign("get_object", "closed")], cwd=NODE, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["put"]["status"] == 200 and seen["put"]["etag"].startswith('"'), seen
    assert (seen["get"]["status"], seen["get"]["text"]) == (200, "from a page")
    assert seen["get"]["secret"] is None, "a header that is not exposed is not seen"
    for name in ("not_allowed_method", "not_allowed_header", "other_bucket"):
        assert "blocked" in seen[name], (name, seen[name])
    assert s3.get_object(Bucket="open", Key="k")["Body"].read() == b"from a page"
