"""What comes with a copy or a new name is what was decided on. The key service of the deployment is a Vault that answers when the
test lets it, so that tags and lists can be changed between the decision and the effect. Found by a review (7)."""
import time

import pytest

from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_ended_while_it_waits import Later
from test_silent_vault import KEY, server, vault  # noqa: F401

SEALED = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "remote"}
# All that a renaming needs; tags and lists are denied.
NARROW = [{"Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"},
          {"Effect": "Deny", "Action": ["s3:*Tagging", "s3:PutObjectAcl"], "Resource": "*"}]
OPEN = b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"


def tagging(value):
    return f"<Tagging><TagSet><Tag><Key>class</Key><Value>{value}</Value></Tag></TagSet></Tagging>".encode()


def tags_of(s3, key):
    return [tag["Value"] for tag in s3.get_object_tagging(Bucket="bucket", Key=key)["TagSet"]]


class Held:
    """A call that waits for Vault once it has begun."""

    def __init__(self, vault, call):
        vault.answers.clear()
        before, self.vault = vault.asked, vault
        self.later, deadline = Later(call), time.monotonic() + 20
        while vault.asked == before:
            assert time.monotonic() < deadline and self.later.waits(0.02), self.later.result

    def end(self):
        self.vault.answers.set()
        return self.later.end()


def tag(surfaces, s3):
    assert surfaces.s3(ROOT, "PUT", "/bucket/source?tagging", tagging("secret")).status_code == 200


def grant(surfaces, s3):
    s3.put_object_acl(Bucket="bucket", Key="source", ACL="authenticated-read")


def nothing(surfaces, s3):
    pass


@pytest.mark.parametrize("change,status", [(tag, 403), (grant, 403), (nothing, 200)])
def test_a_renaming_takes_along_what_it_was_decided_on(server, vault, change, status):  # noqa: F811
    surfaces, s3 = Surfaces(server), server.client()
    assert surfaces.s3(ROOT, "PUT", "/bucket?ownershipControls", OPEN).status_code == 200
    s3.put_object(Bucket="bucket", Key="source", Body=b"x", **KEY)
    sender = surfaces.user("renames", *NARROW)
    rename = {"x-amz-rename-source": "source"}
    held = Held(vault, lambda: Surfaces(server).send(sender, "s3", "PUT", "/bucket/target?renameObject", b"", rename))
    change(surfaces, s3)
    answer = held.end()
    assert answer.status_code == status, answer.text
    there, gone = ("target", "source") if status == 200 else ("source", "target")
    assert surfaces.s3(ROOT, "GET", f"/bucket/{there}").text == "x"
    assert surfaces.s3(ROOT, "GET", f"/bucket/{gone}").status_code == 404


def test_a_renaming_takes_along_changes_that_are_allowed(server, vault):  # noqa: F811
    surfaces, s3 = Surfaces(server), server.client()
    s3.put_object(Bucket="bucket", Key="source", Body=b"x", **KEY)
    sender = surfaces.user("renames", ALLOW_ALL)
    rename = {"x-amz-rename-source": "source"}
    held = Held(vault, lambda: Surfaces(server).send(sender, "s3", "PUT", "/bucket/target?renameObject", b"", rename))
    tag(surfaces, s3)
    answer = held.end()
    assert answer.status_code == 200, answer.text
    assert tags_of(s3, "target") == ["secret"]


def test_an_object_that_comes_before_it_is_renamed_is_decided_on(start):
    """Method: the source comes and goes all the time, always with tags; whoever renames it may not have them."""
    server, deadline = start(), time.monotonic() + 3  # noqa: F811
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket="bucket")
    sender = surfaces.user("renames", *NARROW)

    def come_and_go():
        own = server.client()
        while time.monotonic() < deadline:
            own.put_object(Bucket="bucket", Key="source", Body=b"x", Tagging="class=secret")
            own.delete_object(Bucket="bucket", Key="source")

    later = Later(come_and_go)
    own, found = Surfaces(server), set()
    while time.monotonic() < deadline:
        found.add(own.send(sender, "s3", "PUT", "/bucket/target?renameObject", b"", {"x-amz-rename-source": "source"}).status_code)
    later.end()
    assert found <= {403, 404, 409} and 403 in found, found
    assert surfaces.s3(ROOT, "GET", "/bucket/target").status_code == 404


def test_a_copy_onto_itself_undoes_no_change_of_tags(server, vault):  # noqa: F811
    """Method: an object gets other metadata by a copy onto itself, and its tags are changed meanwhile."""
    surfaces, s3 = Surfaces(server), server.client()
    sender = surfaces.user("copies", ALLOW_ALL)
    headers = {"x-amz-copy-source": "bucket/k", "x-amz-metadata-directive": "REPLACE", "x-amz-meta-new": "yes", **SEALED}
    for before, after in (("", "secret"), ("public", "secret"), ("secret", "")):
        tags = {"Tagging": f"class={before}"} if before else {}
        s3.put_object(Bucket="bucket", Key="k", Body=b"x", **KEY, **tags)
        held = Held(vault, lambda: Surfaces(server).send(sender, "s3", "PUT", "/bucket/k", b"", headers))
        if after:
            assert surfaces.s3(ROOT, "PUT", "/bucket/k?tagging", tagging(after)).status_code == 200
        else:
            assert surfaces.s3(ROOT, "DELETE", "/bucket/k?tagging").status_code == 204
        answer = held.end()
        assert answer.status_code == 200, answer.text
        assert tags_of(s3, "k") == ([after] if after else [])
        assert s3.get_object(Bucket="bucket", Key="k")["Metadata"] == {"new": "yes"}


def test_a_copy_has_no_tags_that_its_sender_could_not_read(server, vault):  # noqa: F811
    """Method: the sender may not read tags while they say that they are secret. They say something else when the source has been
    opened."""
    surfaces, s3 = Surfaces(server), server.client()
    secret = {"Effect": "Deny", "Action": "s3:GetObjectTagging", "Resource": "*",
              "Condition": {"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}}
    sender = surfaces.user("copies", ALLOW_ALL, secret)
    s3.put_object(Bucket="bucket", Key="source", Body=b"x", Tagging="class=secret", **KEY)
    headers = {"x-amz-copy-source": "bucket/source"}
    assert surfaces.send(sender, "s3", "PUT", "/bucket/copy", b"", headers).status_code == 403
    held = Held(vault, lambda: Surfaces(server).send(sender, "s3", "PUT", "/bucket/copy", b"", headers))
    assert surfaces.s3(ROOT, "PUT", "/bucket/source?tagging", tagging("public")).status_code == 200
    answer = held.end()
    assert answer.status_code == 200, answer.text
    assert tags_of(s3, "copy") == ["public"]
