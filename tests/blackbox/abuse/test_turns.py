"""Turns at work that few may do at once: no number of callers that ask again and again keeps another out."""
import contextlib
import threading

from surfaces import ROOT, Surfaces, field
from botocore.credentials import Credentials

ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


def users_of(surfaces, owner, count, policy=None):
    """Users of an account, each with a key."""
    users = []
    for number in range(count):
        name = f"u{number}"
        assert surfaces.query(owner, "CreateUser", UserName=name).status_code == 200
        if policy:
            made = surfaces.query(owner, "PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=policy)
            assert made.status_code == 200
        text = surfaces.query(owner, "CreateAccessKey", UserName=name).text
        users.append(Credentials(field(text, "AccessKeyId"), field(text, "SecretAccessKey")))
    return users


class Loops:
    """Callers that ask again as soon as they have their answer."""

    def __init__(self, server, callers, ask):
        self.stop, self.answered, self.lock = threading.Event(), 0, threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.threads = [threading.Thread(target=self.run, args=(Surfaces(server), caller, ask)) for caller in callers]

    def run(self, surfaces, caller, ask):
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                ask(surfaces, caller)
            with self.changed:
                self.answered += 1
                self.changed.notify_all()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        with self.changed:
            assert self.changed.wait_for(lambda: self.answered >= 2 * len(self.threads), 60)
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def most_meanwhile(loops, ask, count):
    """The most answers that the loops had while one request waited for its own."""
    most = 0
    for _ in range(count):
        before = loops.answered
        assert ask().status_code == 200
        most = max(most, loops.answered - before)
    return most


def test_users_without_rights_do_not_keep_the_owner_from_the_administration(start):
    """Goal: accounts take turns, then the users of each. Method: more users of a tenant than answers can be sealed at a
    time list their own keys in loops; the owner of the server lists users."""
    server = start()
    surfaces = Surfaces(server)
    users = users_of(surfaces, surfaces.account("222222222222"), 20)
    with Loops(server, users, lambda s, who: s.minio(who, "GET", "list-service-accounts")) as loops:
        most = most_meanwhile(loops, lambda: surfaces.minio(ROOT, "GET", "list-users"), 3)
    assert most < 3 * len(users), most


def test_users_of_a_tenant_do_not_keep_lists_of_others_out(start):
    """Method: users of a tenant list a bucket of many delete markers in loops; another account lists its own."""
    server = start("--memory-budget", "128MiB")
    surfaces = Surfaces(server)
    owner = surfaces.account("222222222222")
    surfaces.root("CreateUser", UserName="other")
    surfaces.allow("other", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    other = surfaces.key("other")
    assert surfaces.s3(other, "PUT", "/good").status_code == 200
    assert surfaces.s3(owner, "PUT", "/tenant").status_code == 200
    versioned = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert surfaces.s3(owner, "PUT", "/tenant?versioning", versioned).status_code == 200
    import boto3
    from botocore.config import Config
    client = boto3.client(
        "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=owner.access_key,
        aws_secret_access_key=owner.secret_key, config=Config(s3={"addressing_style": "path"}))
    for batch in range(5):
        keys = [{"Key": f"{batch}-{number:04d}"} for number in range(1000)]
        client.delete_objects(Bucket="tenant", Delete={"Objects": keys, "Quiet": True})
    users = users_of(surfaces, owner, 32, ALLOW_ALL)
    with Loops(server, users, lambda s, who: s.s3(who, "GET", "/tenant?list-type=2")) as loops:
        most = most_meanwhile(loops, lambda: surfaces.s3(other, "GET", "/good?list-type=2"), 3)
    assert most < 3 * len(users), most
