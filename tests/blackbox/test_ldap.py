"""Sessions from an LDAP server: Debian's slapd, started here on loopback."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials import StaticProvider

from conftest import PASSWORD, USER, Server, drystone, free_port

SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
BASE = "dc=example,dc=org"
LDIF = f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups

dn: cn=reader,{BASE}
objectClass: person
cn: reader
sn: reader
userPassword: lookup-password

dn: uid=ana,ou=people,{BASE}
objectClass: inetOrgPerson
uid: ana
cn: Ana
sn: A
userPassword: ana-password

dn: uid=b(o)b,ou=people,{BASE}
objectClass: inetOrgPerson
uid: b(o)b
cn: Bob
sn: B
userPassword: bob-password

dn: cn=team,ou=groups,{BASE}
objectClass: groupOfNames
cn: team
member: uid=ana,ou=people,{BASE}
"""


class Directory:
    def __init__(self, folder):
        self.port, self.tls_port = free_port(), free_port()
        (folder / "data").mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
        schema = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
        (folder / "slapd.conf").write_text(
            f"{schema}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {folder}/pid\nargsfile {folder}/args\n"
            f"TLSCertificateFile {folder}/cert.pem\nTLSCertificateKeyFile {folder}/key.pem\n"
            f"database mdb\nmaxsize 10485760\nsuffix \"{BASE}\"\nrootdn \"cn=admin,{BASE}\"\nrootpw admin\ndirectory {folder}/data\n"
            "access to attrs=userPassword by anonymous auth by * none\naccess to * by users read by anonymous auth\n")
        (folder / "data.ldif").write_text(LDIF)
        subprocess.run([SLAPD, "-T", "add", "-f", folder / "slapd.conf", "-l", folder / "data.ldif"], check=True, capture_output=True)
        self.process = subprocess.Popen([SLAPD, "-f", folder / "slapd.conf", "-d", "0", "-h",
                                         f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"])
        self.wait()

    def wait(self):
        import socket
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("slapd does not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = Directory(pathlib.Path(tmp_path_factory.mktemp("slapd")))
    yield directory
    directory.stop()


def begin(folder, address, **settings):
    settings = {"SERVER_ADDR": address, "LOOKUP_BIND_DN": f"cn=reader,{BASE}", "LOOKUP_BIND_PASSWORD": "lookup-password",
                "USER_DN_SEARCH_BASE_DN": f"ou=people,{BASE}", "USER_DN_SEARCH_FILTER": "(uid=%s)",
                "GROUP_SEARCH_BASE_DN": f"ou=groups,{BASE}", "GROUP_SEARCH_FILTER": "(&(objectClass=groupOfNames)(member=%d))", **settings}
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           **{f"MINIO_IDENTITY_LDAP_{name}": value for name, value in settings.items()}}
    server = Server(folder / "drive", env=env).wait_ready()
    server.client().create_bucket(Bucket="lake")
    return server


def session(server, user, password, **more):
    body = {"Action": "AssumeRoleWithLDAPIdentity", "Version": "2011-06-15", "LDAPUsername": user, "LDAPPassword": password, **more}
    reply = requests.post(server.url, data=body, timeout=30)
    if reply.status_code != 200:
        code = reply.text.split("<Code>")[1].split("</Code>")[0]
        raise ClientError({"Error": {"Code": code, "Message": reply.text}}, "AssumeRoleWithLDAPIdentity")
    find = lambda name: reply.text.split(f"<{name}>")[1].split(f"</{name}>")[0]
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=find("AccessKeyId"),
                        aws_secret_access_key=find("SecretAccessKey"), aws_session_token=find("SessionToken"))


def refused(code, call, *arguments, **parameters):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value


def admin_of(server):
    return MinioAdmin(endpoint=f"127.0.0.1:{server.port}", credentials=StaticProvider(USER, PASSWORD), secure=False)


def test_policies_of_names_and_groups(tmp_path, directory):
    server = begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on")
    try:
        admin = admin_of(server)
        refused("AccessDenied", session, server, "ana", "ana-password")
        admin.attach_policy_ldap(["readonly"], group=f"CN=Team, OU=groups,{BASE}")
        server.client().put_object(Bucket="lake", Key="k", Body=b"1")
        s3 = session(server, "ana", "ana-password")
        assert s3.get_object(Bucket="lake", Key="k")["Body"].read() == b"1"
        refused("AccessDenied", s3.put_object, Bucket="lake", Key="k", Body=b"")
        own = tmp_path / "own.json"
        own.write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::lake/${ldap:username}/*"}]}))
        admin.policy_add("own", str(own))
        admin.attach_policy_ldap(["own"], user=f"uid=ana,ou=people,{BASE}")
        s3 = session(server, "ana", "ana-password")
        s3.put_object(Bucket="lake", Key="ana/k", Body=b"")
        refused("AccessDenied", s3.put_object, Bucket="lake", Key="bob/k", Body=b"")
        with pytest.raises(Exception, match="XMinioAdminPolicyInUse"):
            admin.policy_remove("own")
        admin.detach_policy_ldap(["own"], user=f"uid=ana,ou=people,{BASE}")
        refused("AccessDenied", session(server, "ana", "ana-password").put_object, Bucket="lake", Key="ana/k", Body=b"")
        # The same from the command line.
        command = ["policy", "attach", "own", "--ldap-name", f"UID=ana, ou=people,{BASE}", "--at", server.directory]
        assert "own" in drystone(*command).stdout
        session(server, "ana", "ana-password").put_object(Bucket="lake", Key="ana/k", Body=b"")
        assert drystone(command[0], "detach", *command[2:]).returncode == 0
        refused("AccessDenied", session(server, "ana", "ana-password").put_object, Bucket="lake", Key="ana/k", Body=b"")
        # Names with characters that mean something in filters are names, and nothing else.
        admin.attach_policy_ldap(["readonly"], user=f"uid=b(o)b,ou=people,{BASE}")
        session(server, "b(o)b", "bob-password").get_object(Bucket="lake", Key="k")
    finally:
        server.stop()


def test_who_is_not_let_in(tmp_path, directory):
    server = begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on")
    try:
        admin_of(server).attach_policy_ldap(["readonly"], group=f"cn=team,ou=groups,{BASE}")
        for user, password in (("ana", "wrong"), ("ana", ""), ("nobody", "x"), ("*", "ana-password"), ("ana)(uid=*", "ana-password"),
                               ("b*", "bob-password")):
            refused("ValidationError" if password == "" else "AccessDenied", session, server, user, password)
        session(server, "ana", "ana-password")
        for _ in range(5):
            refused("AccessDenied", session, server, "ana", "wrong")
        refused("AccessDenied", session, server, "ana", "ana-password")
    finally:
        server.stop()


def test_passwords_travel_under_tls(tmp_path, directory):
    for number, (port, settings, works) in enumerate([
            (directory.tls_port, {"TLS_SKIP_VERIFY": "on"}, True), (directory.port, {"SERVER_STARTTLS": "on", "TLS_SKIP_VERIFY": "on"}, True),
            (directory.tls_port, {}, False), (directory.port, {}, False)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        server = begin(folder, f"127.0.0.1:{port}", **settings)
        try:
            admin_of(server).attach_policy_ldap(["readonly"], group=f"cn=team,ou=groups,{BASE}")
            if works:
                session(server, "ana", "ana-password").get_bucket_location(Bucket="lake")
            else:
                refused("IDPCommunicationError", session, server, "ana", "ana-password")
        finally:
            server.stop()


def test_without_a_server_there_is_no_such_call(tmp_path):
    server = Server(tmp_path / "drive").wait_ready()
    try:
        refused("NotImplemented", session, server, "ana", "x")
    finally:
        server.stop()
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_IDENTITY_LDAP_SERVER_ADDR": "127.0.0.1:1"}
    assert Server(tmp_path / "drive", env=env).process.wait(20) == 1
