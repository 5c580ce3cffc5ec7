"""What lists of identities cost, and how many keys there are (finding F19)."""
import collections
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from surfaces import ROOT, Surfaces, document, field

TAGS = {f"Tags.member.{n}.{part}": text for n in range(1, 51) for part, text in
        [("Key", f"k{n:02}" + "x" * 125), ("Value", "v" * 256)]}

POLICY = document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})


def each(server, work, items):
    """Runs work on each item, on a few connections."""
    local = threading.local()

    def run(item):
        if not hasattr(local, "surfaces"):
            local.surfaces = Surfaces(server)
        return work(local.surfaces, item)

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(run, items))


def pages_of(surfaces, action, **parameters):
    """Names on each page of a list."""
    pages, marker = [], {}
    while True:
        answer = surfaces.query(ROOT, action, **parameters, **marker)
        assert answer.status_code == 200, answer.text
        names = [piece.split("<")[0] for piece in answer.text.split("<UserName>")[1:]]
        pages.append(names)
        if "<IsTruncated>true" not in answer.text:
            return pages
        marker = {"Marker": field(answer.text, "Marker")}


def test_a_list_of_users_reads_what_a_page_holds(start):
    """Goal: a page costs what it holds, and a bounded number of bytes at most. Method: users with as many tags as there
    may be; pages of one and of all; all of them come, in order, and those of a path."""
    server = start()
    surfaces = Surfaces(server)
    names = [f"u{n:03}" for n in range(130)]
    paths = {name: "/even/" if int(name[1:]) % 2 == 0 else "/odd/" for name in names}
    made = each(server, lambda s, name: s.query(ROOT, "CreateUser", UserName=name, Path=paths[name], **TAGS).status_code, names)
    assert collections.Counter(made) == {200: len(names)}
    pages = pages_of(surfaces, "ListUsers", MaxItems=1000)
    assert sum(pages, []) == names
    assert max(len(page) for page in pages) < 100, "a page of megabytes"
    for size in (1, 7):
        pages = pages_of(surfaces, "ListUsers", MaxItems=size)
        assert sum(pages, []) == names and max(map(len, pages)) == size
    even = [name for name in names if paths[name] == "/even/"]
    assert sum(pages_of(surfaces, "ListUsers", PathPrefix="/even/", MaxItems=7), []) == even


def test_keys_of_a_user_are_bounded(start):
    """Method: a user without any right makes keys of his own."""
    server = start()
    surfaces = Surfaces(server)
    who = surfaces.user("maker")
    made = each(server, lambda s, _: s.api(who, "key-add", user="maker", policy=POLICY).status_code, range(520))
    assert collections.Counter(made)[200] == 499, collections.Counter(made)
    refused = surfaces.query(ROOT, "CreateAccessKey", UserName="maker")
    assert (refused.status_code, field(refused.text, "Code")) == (409, "LimitExceeded"), refused.text
    listed = surfaces.api(who, "key-list", user="maker")
    assert listed.status_code == 200 and listed.text.count('"access_key"') == 500, listed.text[:300]


def test_lists_of_one_tenant_do_not_hold_up_those_of_others(start):
    """Goal: who comes late waits for lists in progress, not for all that another caller asked for. Method: one tenant asks
    for 64 lists at once, another for one; how many of the 64 are answered meanwhile."""
    server = start()
    surfaces = Surfaces(server)
    flooder, other = surfaces.account("222222222222"), surfaces.account("333333333333")
    names = [f"u{n:03}" for n in range(60)]
    made = each(server, lambda s, name: s.query(flooder, "CreateUser", UserName=name, **TAGS).status_code, names)
    assert collections.Counter(made) == {200: len(names)}
    done = []

    def flood(_):
        done.append(Surfaces(server).query(flooder, "ListUsers", MaxItems=1000).status_code)

    with ThreadPoolExecutor(64) as pool:
        floods = [pool.submit(flood, n) for n in range(64)]
        while len(done) < 3:
            time.sleep(0.005)
        before = len(done)
        assert surfaces.query(other, "ListUsers").status_code == 200
        meanwhile = len(done) - before
        assert [f.result() for f in floods] and set(done) == {200}
    assert meanwhile < 20, meanwhile
