"""A proxy that was not named makes all of its clients one: the server says so, and which setting helps."""
import re

import pytest
import requests

from conftest import PASSWORD, USER, drystone
from pressure import lines_of, until

ENV = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}


def counted(server):
    text = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=20).text
    return int(re.search(r"^drystone_forwarded_untrusted_total(?:\{[^}]*\})? (\d+)$", text, re.M)[1])


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_that_is_not_named_is_noticed(start, header):
    server = start(env=ENV)
    lines = lines_of(server)
    assert counted(server) == 0
    assert "--trusted-proxies" not in drystone("status", "--at", str(server.directory)).stdout
    value = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}[header]
    for _ in range(30):
        assert requests.get(f"{server.url}/bucket", headers={header: value}, timeout=20).status_code == 403
    assert counted(server) == 30
    until(lambda: sum("--trusted-proxies" in line for line in lines) > 0)
    assert sum("--trusted-proxies" in line for line in lines) <= 10, "each request has a line"
    shown = drystone("status", "--at", str(server.directory)).stdout
    assert "30 requests" in shown and "--trusted-proxies" in shown, shown


def test_a_proxy_that_is_named_is_not(start):
    server = start("--trusted-proxies", "127.0.0.0/8", env=ENV)
    lines = lines_of(server)
    for _ in range(5):
        requests.get(f"{server.url}/bucket", headers={"X-Forwarded-For": "192.0.2.1"}, timeout=20)
    assert counted(server) == 0 and not any("--trusted-proxies" in line for line in lines)
