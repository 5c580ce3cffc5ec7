"""Lists of identities and keys have a share of the byte budget from their first row until they are sent, also while
they wait to be sealed; one that would take more than the share of its caller is refused before it is made."""
import collections
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import PASSWORD, USER
from pressure import until, used
from raw import Signer
from surfaces import ROOT, Surfaces

KIB, MIB = 1 << 10, 1 << 20
COUNT = 900


def begin(start, budget):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}
    return start("--memory-budget", str(budget), env=env)


def each(server, work, items):
    """Runs work on each item, on a few connections."""
    local = threading.local()

    def run(item):
        if not hasattr(local, "surfaces"):
            local.surfaces = Surfaces(server)
        return work(local.surfaces, item).status_code

    with ThreadPoolExecutor(6) as pool:
        counts = collections.Counter(pool.map(run, items))
    assert set(counts) <= {200}, counts


def names(count):
    return [f"{number:04}".ljust(120, "n") for number in range(count)]


def hold_some(server):
    """Two readers of the same caller that read nothing."""
    s3, host = server.client(), f"127.0.0.1:{server.port}"
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="large", Body=bytes(4 * MIB))
    target = Signer(USER, PASSWORD).presigned("GET", "/bucket/large", host, expires=600)
    sockets = []
    for _ in range(2):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        sockets.append(sock)
    until(lambda: used(server, "read") >= 2 * 256 * KIB)
    return sockets


def test_lists_that_wait_to_be_sealed_are_counted(start):
    server = begin(start, 16 * MIB)
    each(server, lambda s, name: s.api(ROOT, "user-add", name=name), names(300))
    peak, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], used(server, "answer"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(12) as pool:
        lists = [pool.submit(lambda: Surfaces(server).minio(ROOT, "GET", "list-users")) for _ in range(12)]
        answers = [running.result() for running in lists]
    stop.set()
    watcher.join()
    statuses = collections.Counter(answer.status_code for answer in answers)
    assert statuses[200] > 0 and set(statuses) <= {200, 503}, statuses
    # A sealed list has some 80 KiB; one alone is sealed at a time, and the others waited uncounted.
    assert peak[0] > MIB, peak[0]
    until(lambda: used(server, "answer") == 0)


# What the walk below asks for: who lists what, on which surface.
LISTS = {
    "users": [("minio", "GET", "list-users"), ("api", "user-list"),
              ("minio", "GET", "list-access-keys-bulk?all=true&listType=all"),
              ("minio", "GET", "idp/builtin/policy-entities")],
    "group": [("minio", "GET", "group?group=all"), ("api", "group-info"), ("api", "group-list")],
    "keys": [("minio", "GET", "kms:key/list?pattern=%2A"), ("api", "kms-list")],
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_beyond_the_share_of_its_caller_is_refused(start, kind):
    """Method: the smallest budget, of which a caller gets 900 KiB. Old servers made these lists whatever they took. A
    budget that has room for them serves the same."""
    server = begin(start, 4 * MIB)
    surfaces, known = Surfaces(server), names(2100 if kind == "group" else COUNT)
    if kind == "keys":
        each(server, lambda s, name: s.api(ROOT, "kms-add", key=name, description="d" * 250), known)
    else:
        each(server, lambda s, name: s.api(ROOT, "user-add", name=name), known)
        if kind == "group":
            assert surfaces.api(ROOT, "group-add", name="all").status_code == 200
            for some in (known[:700], known[700:1400], known[1400:]):
                added = surfaces.api(ROOT, "group-members", name="all", users=some, add=True)
                assert added.status_code == 200, added.text
        elif kind == "users":
            # Policies make users part of the entities.
            each(server, lambda s, name: s.api(ROOT, "policy-attach", policies=["readonly"], holder={"user": name}, attach=True), known)

    def ask(surface, *call):
        if surface == "minio":
            method, target = call
            return surfaces.send(ROOT, "s3", method, ("/minio/kms/v1/" if target.startswith("kms:") else "/minio/admin/v3/")
                                 + target.removeprefix("kms:"))
        return surfaces.api(ROOT, call[0], **({"name": "all"} if call[0] == "group-info" else {}))

    # Members of a group are bounded: what they take is too much for a caller who reads something else as well.
    held = hold_some(server) if kind == "group" else []
    for call in LISTS[kind]:
        answer = ask(*call)
        assert answer.status_code == 503 and len(answer.content) < KIB, (call, answer.status_code, len(answer.content))
        until(lambda: used(server, "answer") == 0)
    # What is small is answered.
    assert surfaces.minio(ROOT, "GET", "groups").status_code == 200
    assert surfaces.api(ROOT, "policy-list").status_code == 200
    for sock in held:
        sock.close()
    server.stop()
    server = begin(start, 64 * MIB)
    surfaces = Surfaces(server)
    for call in LISTS[kind]:
        answer = ask(*call)
        assert answer.status_code == 200, (call, answer.text[:200])
        assert call[1] == "GET" and "kms:" not in call[2] or len(answer.content) > 100 * KIB, call
