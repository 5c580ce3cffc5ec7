"""Identities that are changed all the time, beside writes of those whom that does not concern: every write is carried out, though
each commit compares what it was decided on."""
import base64
import hashlib
import threading
import time

from surfaces import ALLOW_ALL, ROOT, Surfaces, field

CHANGES_PER_SECOND = 200
SECONDS = 6
WEBSITE = b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"
COMPLETE = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>"


class Churn:
    """Keys that are made and removed at a rate, by as many callers as it takes."""

    def __init__(self, server, callers):
        self.stop, self.made, self.began = threading.Event(), 0, time.monotonic()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(Surfaces(server), caller)) for caller in callers]

    def wait(self):
        with self.lock:
            self.made += 1
            at = self.began + self.made / CHANGES_PER_SECOND
        time.sleep(max(0, at - time.monotonic()))

    def run(self, surfaces, caller):
        while not self.stop.is_set():
            self.wait()
            made = surfaces.query(caller, "CreateAccessKey")
            self.wait()
            surfaces.query(caller, "DeleteAccessKey", AccessKeyId=field(made.text, "AccessKeyId"))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def put(surfaces, key, number):
    return surfaces.s3(key, "PUT", f"/bkt/k{number % 50}", b"x" * 4096)


def tag(surfaces, key, number):
    return surfaces.s3(key, "PUT", "/bkt/kept?tagging", b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")


def delete(surfaces, key, number):
    return surfaces.s3(key, "DELETE", f"/bkt/k{number % 50}")


def delete_many(surfaces, key, number):
    body = ("<Delete>" + "".join(f"<Object><Key>d{n}</Key></Object>" for n in range(40)) + "</Delete>").encode()
    answer = surfaces.send(key, "s3", "POST", "/bkt?delete", body, {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()})
    assert answer.text.count("<Deleted>") == 40, answer.text[:500]
    return answer


def upload(surfaces, key, number):
    begun = surfaces.s3(key, "POST", f"/bkt/u{number % 5}?uploads")
    assert begun.status_code == 200, begun.text
    upload = field(begun.text, "UploadId")
    part = surfaces.s3(key, "PUT", f"/bkt/u{number % 5}?partNumber=1&uploadId={upload}", b"part")
    assert part.status_code == 200, part.text
    return surfaces.s3(key, "POST", f"/bkt/u{number % 5}?uploadId={upload}", COMPLETE.format(part.headers["etag"]).encode())


def configure(surfaces, key, number):
    return surfaces.s3(key, "PUT", f"/bkt-{key.access_key.lower()[-8:]}?website", WEBSITE)


def website(surfaces, key, number):
    return surfaces.s3(key, "PUT", "/bkt?website", WEBSITE)


def work_all(server, writer, calls):
    """Makes each of the calls again and again, beside the others. Returns those that failed, and how many of each were made."""
    wrong, counts, until = [], {}, time.monotonic() + SECONDS

    def work(call):
        own, number = Surfaces(server), 0
        while time.monotonic() < until:
            number += 1
            answer = call(own, writer, number)
            if answer.status_code not in (200, 204):
                wrong.append((call.__name__, answer.status_code, answer.text[:200]))
        counts[call.__name__] = number

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong, counts


def test_every_write_is_carried_out_while_identities_change_all_the_time(start):
    server = start()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/bkt").status_code == 200
    assert surfaces.s3(ROOT, "PUT", "/bkt/kept", b"x").status_code == 200
    churners = [surfaces.user(f"churn{number}", ALLOW_ALL) for number in range(8)]
    writer = surfaces.user("writer", ALLOW_ALL)
    assert surfaces.s3(ROOT, "PUT", f"/bkt-{writer.access_key.lower()[-8:]}").status_code == 200
    with Churn(server, churners) as churn:
        wrong, counts = work_all(server, writer, (put, put, tag, delete, delete_many, upload, configure))
    print(churn.made / SECONDS, counts)
    assert not wrong, wrong[:5]
    # As often as this machine can beside the writes; several in the time of each commit.
    assert churn.made > 20 * SECONDS and len(counts) == 6 and min(counts.values()) > 5, (churn.made, counts)


def test_every_write_is_carried_out_while_its_bucket_is_configured_all_the_time(start):
    """Six change the same bucket as fast as they can: they hinder neither each other nor those who write objects."""
    server = start()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/bkt").status_code == 200
    assert surfaces.s3(ROOT, "PUT", "/bkt/kept", b"x").status_code == 200
    writer = surfaces.user("writer", ALLOW_ALL)
    wrong, counts = work_all(server, writer, [put, put, tag, delete, delete_many, upload] + [website] * 6)
    print(counts)
    assert not wrong, (len(wrong), wrong[:5])
    assert len(counts) == 6 and min(counts.values()) > 5, counts
