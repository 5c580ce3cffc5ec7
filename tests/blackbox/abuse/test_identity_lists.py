"""What lists of identities cost, and how many keys there are (finding F19)."""
import collections
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from botocore.credentials import Credentials

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
    for 64 lists at once, another for one; how many of the 64 are answered meanwhile. The last of the 64 may have waited for
    longer than a request waits for memory."""
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
        for running in floods:
            running.result()
    assert 200 in done and set(done) <= {200, 503}, collections.Counter(done)
    assert meanwhile < 32, meanwhile


def seconds(call, count=9):
    """The time of a call that others of the machine do not hold up: the shortest of some."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        call()
        times.append(time.monotonic() - began)
    return min(times)


def refused(surfaces, who, action, code, **parameters):
    answer = surfaces.query(who, action, **parameters)
    assert answer.status_code == 409 and field(answer.text, "Code") == code, answer.text
    return answer.text


def test_what_a_policy_costs_does_not_grow_with_the_users_of_the_account(start):
    """Goal: no list of identities is read to delete a policy or to count its holders; least of all where all writes
    wait. Method: accounts with one user and with 200 large ones; the holder is the last of them."""
    server = start()
    surfaces = Surfaces(server)
    times = {}
    for account, count in [("222222222222", 0), ("333333333333", 200)]:
        owner = surfaces.account(account)
        names = [f"u{n:03}" for n in range(count)]
        made = each(server, lambda s, name: s.query(owner, "CreateUser", UserName=name, **TAGS).status_code, names)
        assert set(made) <= {200}
        policies = [f"p{n:02}" for n in range(25)]
        for name in policies:
            assert surfaces.query(owner, "CreatePolicy", PolicyName=name, PolicyDocument=POLICY).status_code == 200
        arn = f"arn:aws:iam::{account}:policy/p00"
        assert surfaces.query(owner, "CreateUser", UserName="zz", PermissionsBoundary=f"arn:aws:iam::{account}:policy/p01").status_code == 200
        assert surfaces.query(owner, "AttachUserPolicy", UserName="zz", PolicyArn=arn).status_code == 200

        def listed(action, **parameters):
            answer = surfaces.query(owner, action, **parameters)
            assert answer.status_code == 200, answer.text
            return answer.text

        text = listed("ListPolicies", Scope="Local", MaxItems=1000)
        assert text.count("<AttachmentCount>1<") == text.count("<PermissionsBoundaryUsageCount>1<") == 1
        assert text.count("<PolicyName>") == 25
        assert "<UserName>zz<" in listed("ListEntitiesForPolicy", PolicyArn=arn)
        entities = surfaces.minio(owner, "GET", "idp/builtin/policy-entities", policy="p00")
        assert entities.status_code == 200, entities.text
        times[account] = [
            seconds(lambda: refused(surfaces, owner, "DeletePolicy", "DeleteConflict", PolicyArn=arn)),
            seconds(lambda: listed("GetPolicy", PolicyArn=arn)),
            seconds(lambda: listed("ListPolicies", Scope="Local", OnlyAttached="true", MaxItems=1000)),
            seconds(lambda: listed("ListEntitiesForPolicy", PolicyArn=arn)),
        ]
        boundary = f"arn:aws:iam::{account}:policy/p01"
        refused(surfaces, owner, "DeletePolicy", "DeleteConflict", PolicyArn=boundary)
        assert surfaces.query(owner, "DeleteUserPermissionsBoundary", UserName="zz").status_code == 200
        assert surfaces.query(owner, "DeletePolicy", PolicyArn=boundary).status_code == 200
        assert surfaces.query(owner, "DetachUserPolicy", UserName="zz", PolicyArn=arn).status_code == 200
        assert surfaces.query(owner, "DeletePolicy", PolicyArn=arn).status_code == 200
    few, many = times.values()
    assert all(large < 5 * small + 0.015 for small, large in zip(few, many)), times


def test_pages_of_policies_have_all_of_them_in_order(start):
    """Policies of the account and of the server come in one order, whatever the size of a page."""
    server = start()
    surfaces = Surfaces(server)
    for name in ["aa", "consoleB", "mm", "readonlyx", "zz"]:
        surfaces.root("CreatePolicy", PolicyName=name, PolicyDocument=POLICY, Path="/x/" if name == "mm" else "/")
    def pages(**parameters):
        found, marker = [], {}
        while True:
            text = surfaces.root("ListPolicies", **parameters, **marker)
            found.append([piece.split("<")[0] for piece in text.split("<PolicyName>")[1:]])
            if "<IsTruncated>true" not in text:
                return found
            marker = {"Marker": field(text, "Marker")}
    whole = pages(MaxItems=1000)
    assert len(whole) == 1 and whole[0] == sorted(whole[0]) and {"aa", "mm", "zz", "readwrite"} <= set(whole[0])
    for size in (1, 2, 3):
        some = pages(MaxItems=size)
        assert sum(some, []) == whole[0] and max(map(len, some)) == size
    assert sum(pages(MaxItems=1, PathPrefix="/x/"), []) == ["mm"]
    assert sum(pages(MaxItems=1, Scope="Local"), []) == ["aa", "consoleB", "mm", "readonlyx", "zz"]


def test_keys_of_services_do_not_hide_keys_of_a_user(start):
    """Goal: neither a page of keys nor the count of own ones reads those of services. Method: a user with as many large
    keys of services as come before its own ones."""
    server = start()
    surfaces = Surfaces(server)
    who = surfaces.user("maker")
    large = document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::{n:03}{'x' * 180}/*" for n in range(90)]})
    own = [surfaces.key("maker").access_key, who.access_key]
    least = seconds(lambda: refused(surfaces, ROOT, "CreateAccessKey", "LimitExceeded", UserName="maker"))
    made = each(server, lambda s, n: s.api(ROOT, "key-add", user="maker", policy=large, access_key=f"0000{n:012}").status_code, range(150))
    assert set(made) == {200}, collections.Counter(made)
    for page in (surfaces.root("ListAccessKeys", UserName="maker"), surfaces.root("ListAccessKeys", UserName="maker", MaxItems=2)):
        assert "<IsTruncated>false" in page, page
        assert sorted(piece.split("<")[0] for piece in page.split("<AccessKeyId>")[1:]) == sorted(own)
    first = surfaces.root("ListAccessKeys", UserName="maker", MaxItems=1)
    assert "<IsTruncated>true" in first and field(first, "AccessKeyId") == min(own)
    most = seconds(lambda: refused(surfaces, ROOT, "CreateAccessKey", "LimitExceeded", UserName="maker"))
    assert most < 5 * least + 0.015, (least, most)


def test_quotas_are_those_of_the_largest_service(start):
    """Groups stand for all that is counted: they have the smallest quota. What is removed makes room."""
    server = start()
    surfaces = Surfaces(server)
    owner, other = surfaces.account("222222222222"), surfaces.account("333333333333")
    names = [f"g{n:03}" for n in range(300)]
    made = each(server, lambda s, name: s.query(owner, "CreateGroup", GroupName=name).status_code, names)
    assert set(made) == {200}
    text = refused(surfaces, owner, "CreateGroup", "LimitExceeded", GroupName="more")
    assert field(text, "Message") == "Cannot exceed quota for GroupsPerAccount: 300"
    assert surfaces.query(other, "CreateGroup", GroupName="more").status_code == 200
    server.kill()
    server = start()
    surfaces = Surfaces(server)
    refused(surfaces, owner, "CreateGroup", "LimitExceeded", GroupName="more")
    assert surfaces.query(owner, "DeleteGroup", GroupName="g000").status_code == 200
    assert surfaces.query(owner, "CreateGroup", GroupName="more").status_code == 200
    refused(surfaces, owner, "CreateGroup", "LimitExceeded", GroupName="most")
    assert surfaces.query(owner, "CreateUser", UserName="member").status_code == 200
    for name in names[1:11]:
        assert surfaces.query(owner, "AddUserToGroup", UserName="member", GroupName=name).status_code == 200
    text = refused(surfaces, owner, "AddUserToGroup", "LimitExceeded", UserName="member", GroupName="g011")
    assert field(text, "Message") == "Cannot exceed quota for GroupsPerUser: 10"
    assert surfaces.query(owner, "AddUserToGroup", UserName="member", GroupName="g001").status_code == 200


def test_a_change_of_many_members_stores_the_group_once(start):
    """Goal: what it costs grows with the members, not with their square. Method: a few, and eight times as many."""
    server = start()
    surfaces = Surfaces(server)
    names = [f"{n:03}{'m' * 120}" for n in range(400)]
    made = each(server, lambda s, name: s.query(ROOT, "CreateUser", UserName=name).status_code, names)
    assert set(made) == {200}
    times = []
    for count in (50, 400):
        def change():
            for removes in (False, True):
                body = {"group": "crowd", "members": names[:count], "isRemove": removes}
                assert surfaces.minio(ROOT, "PUT", "update-group-members", body=body).status_code == 200
        times.append(seconds(change))
    assert times[1] < 24 * times[0], times


def test_a_page_of_members_reads_those_of_the_page(start):
    """Method: a group of many large users, in pages of two, against one of two."""
    server = start()
    surfaces = Surfaces(server)
    names = [f"u{n:03}" for n in range(120)]
    made = each(server, lambda s, name: s.query(ROOT, "CreateUser", UserName=name, **TAGS).status_code, names)
    assert set(made) == {200}
    for group, members in (("few", names[:2]), ("many", names)):
        # One change reads a bounded amount of the rows of its members.
        for at in range(0, len(members), 30):
            body = {"group": group, "members": members[at:at + 30]}
            assert surfaces.minio(ROOT, "PUT", "update-group-members", body=body).status_code == 200
    pages = pages_of(surfaces, "GetGroup", GroupName="many", MaxItems=7)
    assert sum(pages, []) == names and max(map(len, pages)) == 7
    few, many = (seconds(lambda: surfaces.root("GetGroup", GroupName=group, MaxItems=2)) for group in ("few", "many"))
    assert many < 5 * few + 0.015, (few, many)


def test_changes_of_one_account_leave_what_is_remembered_of_others(start):
    """Goal: an account that changes its users all the time does not make the policies of others be read each time.
    Method: a user and a bucket with large policies; how long a request takes after a change elsewhere, and after one of
    their own account, which acts at once."""
    server = start()
    surfaces = Surfaces(server)
    busy, owner = surfaces.account("222222222222"), surfaces.account("333333333333")
    large = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{n:03}*"} for n in range(220)]
        + [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    for who in (busy, owner):
        assert surfaces.query(who, "CreateUser", UserName="u").status_code == 200
    for n in range(15):
        assert surfaces.query(owner, "CreatePolicy", PolicyName=f"p{n}", PolicyDocument=large).status_code == 200
        arn = f"arn:aws:iam::333333333333:policy/p{n}"
        assert surfaces.query(owner, "AttachUserPolicy", UserName="u", PolicyArn=arn).status_code == 200
    answer = surfaces.query(owner, "CreateAccessKey", UserName="u")
    user = Credentials(field(answer.text, "AccessKeyId"), field(answer.text, "SecretAccessKey"))
    assert surfaces.s3(owner, "PUT", "/their-bucket").status_code == 200
    assert surfaces.s3(user, "PUT", "/their-bucket/key", b"text").status_code == 200

    def after(who):
        times = []
        for n in range(9):
            tags = {"Tags.member.1.Key": "n", "Tags.member.1.Value": str(n)}
            assert surfaces.query(who, "TagUser", UserName="u", **tags).status_code == 200
            began = time.monotonic()
            assert surfaces.s3(user, "GET", "/their-bucket/key").status_code == 200
            times.append(time.monotonic() - began)
        return min(times)

    elsewhere, own = after(busy), after(owner)
    assert elsewhere < own * 0.8, (elsewhere, own)
    assert surfaces.query(owner, "DeleteAccessKey", UserName="u", AccessKeyId=user.access_key).status_code == 200
    assert surfaces.s3(user, "GET", "/their-bucket/key").status_code == 403
