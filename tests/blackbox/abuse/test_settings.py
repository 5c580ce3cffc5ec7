"""Every setting is used or refused at the start, by its name; a command says what it did, or what is wrong.

`WRONG` has a value for each setting and option that takes one. A setting without an entry fails the first test."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import requests

from conftest import BINARY, PASSWORD, USER, drystone

ROOT = pathlib.Path(__file__).parents[3]
SWITCHES = ["ALLOW_ROOT_DEVICE", "ALLOW_SIGV2", "BROWSER", "KMS_AUTO_ENCRYPTION"]
LDAP = {f"DRYSTONE_IDENTITY_LDAP_{name}": value for name, value in {
    "SERVER_ADDR": "127.0.0.1:389", "USER_DN_SEARCH_BASE_DN": "dc=x", "USER_DN_SEARCH_FILTER": "(uid=%s)"}.items()}
OPENID = {"DRYSTONE_IDENTITY_OPENID_CONFIG_URL": "http://127.0.0.1:1/x", "DRYSTONE_IDENTITY_OPENID_CLIENT_ID": "c"}
VAULT = {"DRYSTONE_VAULT_URL": "http://127.0.0.1:1", "DRYSTONE_VAULT_TOKEN": "t"}
PAIRED = "alone"
"""Such a setting has any value, and is refused where the one that it belongs to is not set."""

WRONG = {
    **{name: ["y", "enabled", "2"] for name in SWITCHES},
    "ACCESS_LOG": ["on", "none", "/no/such/directory/log"],
    "BUCKET_DEFAULTS": ["public", "COMPAT"],
    "DOMAIN": ["bad domain", "a..b", "s3.example.com:9000", "https://s3.example.com", ","],
    "IDENTITY_LDAP_GROUP_SEARCH_BASE_DN": PAIRED,
    "IDENTITY_LDAP_GROUP_SEARCH_FILTER": PAIRED,
    "IDENTITY_LDAP_LOOKUP_BIND_DN": PAIRED,
    "IDENTITY_LDAP_LOOKUP_BIND_PASSWORD": PAIRED,
    "IDENTITY_LDAP_SERVER_ADDR": ["ldap://host", "two words"],
    "IDENTITY_LDAP_SERVER_INSECURE": ["maybe"],
    "IDENTITY_LDAP_SERVER_STARTTLS": ["maybe"],
    "IDENTITY_LDAP_TLS_SKIP_VERIFY": ["maybe"],
    "IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN": PAIRED,
    "IDENTITY_LDAP_USER_DN_SEARCH_FILTER": ["(uid=x)", "(uid=%s"],
    "IDENTITY_OPENID_CLAIM_NAME": PAIRED,
    "IDENTITY_OPENID_CLAIM_PREFIX": PAIRED,
    "IDENTITY_OPENID_CLAIM_USERINFO": ["maybe"],
    "IDENTITY_OPENID_CLIENT_ID": PAIRED,
    "IDENTITY_OPENID_CONFIG_URL": ["idp.example", "ftp://idp.example/x"],
    "IDENTITY_OPENID_ISSUER": ["idp.example", "ftp://idp.example"],
    "IDENTITY_OPENID_ROLE_POLICY": PAIRED,
    "IDENTITY_OPENID_USER_ID_CLAIM": PAIRED,
    "IDLE_TIMEOUT": ["30", "0s", "2h", "off"],
    "KEYRING": ["/no/such/directory/keyring"],
    "KMS_SECRET_KEY": ["secret-without-a-name", "name:c2hvcnQ="],
    "LOG_DELIVERY_SECONDS": ["0", "5m", "86401"],
    "LOG_FORMAT": ["yaml", "JSON"],
    "MAX_CONNECTIONS": ["0", "-1", "many"],
    "MAX_CONNECTIONS_PER_SOURCE": ["0", "1e3"],
    "MEMORY_BUDGET": ["256", "lots"],
    "METRICS_TOKEN": ["two words"],
    "OPENID_ISSUERS": ["issuer.example", "https://issuer.example/*", ",", "https://a.example,b"],
    "PROMETHEUS_AUTH_TYPE": ["Public", "none"],
    "PUT_LIMIT": ["1GiB", "6TiB"],
    "READ_HEADER_TIMEOUT": ["30", "1d"],
    "REGION": ["eu west", "eu/west", "x" * 65],
    "REHOME_AFTER": ["never", "0", "1y"],
    "REPAIR_RATE": ["5", "fast"],
    "RESTORE_DELAYS": ["slow=1h", "bulk", "bulk=off"],
    "ROOT_PASSWORD": ["short"],
    "ROOT_USER": ["ab"],
    "SCRUB_EVERY": ["weekly", "14"],
    "SCRUB_RATE": ["32", "1MB/s"],
    "SERVER_URL": ["s3.example", "ftp://s3.example"],
    "SHUTDOWN_TIMEOUT": ["30", "2h", "500ms"],
    "TRUSTED_PROXIES": ["10.0.0.0/33", "proxy.example"],
    "VAULT_MOUNT": ["a mount"],
    "VAULT_NAMESPACE": ["a b"],
    "VAULT_TOKEN": ["a token"],
    "VAULT_URL": ["vault.example", "https://"],
    "WEBSITE_DOMAIN": ["bad domain", "*.example.com"],
}
ELSEWHERE = {"AT": "test_commands_say_what_is_wrong_with_at", "BENCH_SECRET_KEY": "any text is a secret",
             **{name: "test_operators.py" for name in ("ADDRESS", "CERTS_DIR", "CONFIG_ENV_FILE", "CONSOLE_ADDRESS",
                                                       "RUNTIME_DIR", "VOLUMES")}}
SECRET = {"IDENTITY_LDAP_LOOKUP_BIND_PASSWORD", "KMS_SECRET_KEY", "METRICS_TOKEN", "ROOT_PASSWORD", "VAULT_TOKEN"}
"""Options of `drystone server` without a variable."""
OPTIONS = {"adopt-unsealed": ["xyz", "00"], "expect-drive": ["xyz", "00"], "segment-size": ["5", "1GiB", "1025KiB"],
           "log-level": ["loud"]}
FLAGS = {"accept-lost-keyring", "allow-root-device", "allow-sigv2", "json", "help", "quiet"}


def settings():
    source = (ROOT / "crates/server/src/config/names.rs").read_text()
    return re.findall(r'"([A-Z0-9_]+)"', source.split("const NAMES: &[&str] = &[")[1].split("];")[0])


def options():
    return set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", drystone("server", "--help").stdout, re.MULTILINE))


def refused(tmp_path, *arguments, env=None):
    """What a server says that does not start; nothing may have been made."""
    command = [BINARY, "server", str(tmp_path / "drive"), *arguments]
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (1, 2), f"{arguments} {env}: {done.stderr}"
    assert not (tmp_path / "drive").exists(), "a start that cannot succeed makes no drive"
    return done.stderr


def companions(name):
    """What else must be set so that the value of a setting is looked at."""
    for prefix, others in (("IDENTITY_LDAP_", LDAP), ("IDENTITY_OPENID_", OPENID), ("VAULT_", VAULT)):
        if name.startswith(prefix):
            return others
    return {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD} if name.startswith("ROOT_") else {}


def test_there_is_a_wrong_value_for_every_setting_and_option():
    assert set(settings()) == set(WRONG) | set(ELSEWHERE)
    named = {name.lower().replace("_", "-") for name in settings()}
    assert options() - FLAGS - named == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_of_a_setting_is_refused_by_its_name(tmp_path, name):
    if WRONG[name] == PAIRED:
        text = refused(tmp_path, env={f"DRYSTONE_{name}": "secret-value"})
        assert f"DRYSTONE_{name} is set, but DRYSTONE_" in text and "is not" in text and "secret-value" not in text
        return
    for value in WRONG[name]:
        file = tmp_path / "value"
        file.write_text(value + "\n")
        others = companions(name)
        ways = [({f"DRYSTONE_{name}": value}, f"DRYSTONE_{name}"),
                ({f"DRYSTONE_{name}_FILE": str(file)}, f"DRYSTONE_{name}_FILE")]
        if f"DRYSTONE_{name}" not in others:
            ways.append(({f"MINIO_{name}": value}, f"MINIO_{name}"))
        for env, given in ways:
            kept = {key: text for key, text in others.items() if key != f"DRYSTONE_{name}"}
            text = refused(tmp_path, env={**kept, **env})
            if value.startswith("/no/such/"):
                assert value in text
                continue
            shown = "(hidden)" if name in SECRET else value
            assert f'{given} is "{shown}"; allowed: ' in text
            assert name not in SECRET or value not in text
    option = f"--{name.lower().replace('_', '-')}"
    if option[2:] in options() - FLAGS:
        text = refused(tmp_path, option, WRONG[name][0], env={"DRYSTONE_VAULT_TOKEN": "t"} if name == "VAULT_URL" else {})
        assert option in text and WRONG[name][0] in text
        text = refused(tmp_path, option, "")
        assert f"{option} is set, but empty" in text or f"a value is required for '{option}" in text


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_a_wrong_value_of_an_option_is_refused_by_its_name(tmp_path, option):
    for value in OPTIONS[option]:
        text = refused(tmp_path, f"--{option}", value)
        assert value in text and f"--{option}" in text


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value, is_on", [("on", True), ("true", True), ("YES", True), ("1", True), ("off", False),
                                          ("False", False), ("no", False), ("0", False)])
def test_switches_take_every_usual_word(tmp_path, name, value, is_on):
    # The port is not an address: the settings were taken when that is what is wrong.
    text = refused(tmp_path, "--address", "x", env={f"MINIO_{name}": value})
    assert "--address x" in text and name not in text


def test_sigv2_is_on_with_yes(start):
    for value, status in (("yes", 200), ("no", 400)):
        server = start(env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_ALLOW_SIGV2": value})
        client = server.client(signature_version="s3")
        if value == "yes":
            server.client().create_bucket(Bucket="bucket")
            server.client().put_object(Bucket="bucket", Key="k", Body=b"x")
        url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
        assert requests.get(url, timeout=20).status_code == status
        server.stop()


@pytest.mark.parametrize("name", ["KEYRING", "KMS_SECRET_KEY", "METRICS_TOKEN", "VAULT_URL", "VAULT_TOKEN"])
@pytest.mark.parametrize("prefix, suffix", [("DRYSTONE", ""), ("MINIO", ""), ("DRYSTONE", "_FILE"), ("MINIO", "_FILE")])
def test_settings_that_protect_must_not_be_empty(tmp_path, name, prefix, suffix):
    variable = f"{prefix}_{name}{suffix}"
    assert f"{variable} is set, but empty" in refused(tmp_path, env={**companions(name), variable: ""})


def test_a_setting_is_not_given_in_two_ways(tmp_path):
    file = tmp_path / "region"
    file.write_text("eu-west-1")
    text = refused(tmp_path, env={"DRYSTONE_REGION": "us-east-1", "DRYSTONE_REGION_FILE": str(file)})
    assert "DRYSTONE_REGION and DRYSTONE_REGION_FILE are both set" in text
    file.write_text("\n")
    assert "the file that DRYSTONE_REGION_FILE names is set, but empty" in refused(tmp_path, env={"DRYSTONE_REGION_FILE": str(file)})
    assert "DRYSTONE_REGION_FILE names /no/such" in refused(tmp_path, env={"DRYSTONE_REGION_FILE": "/no/such"})


def test_a_provider_with_a_suffix_may_have_its_settings_in_files(tmp_path):
    file = tmp_path / "url"
    file.write_text("nonsense")
    env = {"DRYSTONE_IDENTITY_OPENID_CONFIG_URL_GOOGLE_FILE": str(file), "DRYSTONE_IDENTITY_OPENID_CLIENT_ID_GOOGLE": "c"}
    assert 'DRYSTONE_IDENTITY_OPENID_CONFIG_URL_GOOGLE_FILE is "nonsense"' in refused(tmp_path, env=env)


def test_variables_that_are_no_settings_are_named(start):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_REGOIN": "eu", "DRYSTONE_LOG_LEVEL": "info",
           "MINIO_ROOT_USR": "x", "DRYSTONE_SERVICE_HOST": "10.0.0.1", "DRYSTONE_PORT_9000_TCP": "tcp://10.0.0.1:9000",
           "DRYSTONE_WHATEVER_THIS_IS": "x"}
    _, text = start(env=env).stop()
    lines = {line.split("variable=")[1].split()[0].strip('"'): line for line in text.splitlines() if "is not a setting" in line}
    assert set(lines) == {"DRYSTONE_REGOIN", "DRYSTONE_LOG_LEVEL", "MINIO_ROOT_USR", "DRYSTONE_WHATEVER_THIS_IS"}
    assert "DRYSTONE_REGION" in lines["DRYSTONE_REGOIN"] and "--log-level" in lines["DRYSTONE_LOG_LEVEL"]
    assert "MINIO_ROOT_USER" in lines["MINIO_ROOT_USR"]
    assert "WARN" in lines["DRYSTONE_REGOIN"] and "docs/settings.md" in lines["DRYSTONE_WHATEVER_THIS_IS"]


@pytest.mark.parametrize("kind", ["missing", "empty", "strange", "other"])
def test_fsck_does_not_pass_over_a_directory(start, tmp_path, kind):
    server = start()
    server.stop()
    given = tmp_path / kind
    said = "it is not a drystone drive"
    if kind == "missing":
        said = "it is not there"
    elif kind == "other":
        start(directory=given).stop()
        said = "it is a drive, but not one that deployment"
    else:
        given.mkdir()
        (given / "x").write_text("x") if kind == "strange" else None
    for order in ([server.directory, given], [given, server.directory]):
        done = drystone("fsck", *order)
        assert done.returncode == 1 and "everything holds" not in done.stdout, done.stdout
        assert kind == "other" or f"NOT CHECKED {given}: {said}" in done.stdout
    if kind != "other":
        report = json.loads(drystone("fsck", "--json", server.directory, given).stdout)
        assert report["not_checked"] == [{"directory": str(given), "reason": said}]


def test_fsck_says_what_it_cannot_check_without_the_keyring(start, tmp_path):
    server = start()
    server.client().create_bucket(Bucket="bucket")
    server.stop()
    (server.directory / "keyring").rename(tmp_path / "keyring")
    done = drystone("fsck", server.directory)
    assert "NOT CHECKED: who wrote the rows" in done.stdout and "--keyring" in done.stdout
    assert "everything that was checked holds" in done.stdout and "everything holds" not in done.stdout
    assert json.loads(drystone("fsck", "--json", server.directory).stdout)["seals_checked"] is False
    done = drystone("fsck", server.directory, "--keyring", tmp_path / "keyring")
    assert done.returncode == 0 and "everything holds" in done.stdout and "NOT CHECKED" not in done.stdout


def test_explain_fails_for_a_request_that_is_not_remembered(start):
    server = start()
    done = drystone("explain", "NOSUCHREQUEST", "--at", server.directory)
    assert done.returncode == 1 and "NOSUCHREQUEST" in done.stderr
    assert drystone("explain", "NOSUCHREQUEST", "--json", "--at", server.directory).returncode == 1
    assert drystone("explain", "--at", server.directory).returncode == 0


def test_the_confirmation_of_the_clock_says_from_when_to_when(start):
    server = start()
    text = drystone("lock", "confirm-clock", "--at", server.directory).stdout
    times = re.findall(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", text)
    assert len(times) == 2 and "was not held" in text
    clock = json.loads(drystone("lock", "confirm-clock", "--json", "--at", server.directory).stdout)["lock-clock"]
    # They may differ by a millisecond, in either direction.
    assert clock["from"][:17] <= clock["to"][:17] and clock["was_held"] is False


def test_ending_sessions_says_whose_and_from_when(start):
    server = start()
    at = ("--at", server.directory)
    drystone("user", "add", "anna", *at)
    for arguments, said in [(("session", "revoke", "--root"), "the owner of the server"),
                            (("session", "revoke", "--user", "anna"), "user anna"), (("user", "end-sessions", "anna"), "user anna"),
                            (("session", "revoke", "--openid-name", "bob"), "the OpenID name bob"),
                            (("session", "revoke", "--ldap-name", "cn=bob"), "the LDAP name cn=bob")]:
        text = drystone(*arguments, *at).stdout
        assert f"all sessions of {said} that were made until 20" in text
        assert ("check that this one is right" in text) == ("name" in said)
    ended = json.loads(drystone("session", "revoke", "--user", "anna", "--json", *at).stdout)["sessions-ended"]
    assert ended["of"] == {"user": "anna"} and ended["made_until"].startswith("20")
    assert drystone("session", "revoke", "--user", "nope", *at).returncode == 1


def test_the_version_names_the_commit():
    text = drystone("version").stdout
    found = re.fullmatch(r"drystone (\S+) \(commit (unknown|[0-9a-f]{12}|[\w.+~-]+)\)\n", text)
    assert found, text
    assert json.loads(drystone("version", "--json").stdout) == {"version": found[1], "commit": found[2]}
    assert drystone("--version").stdout == text


def test_a_directory_is_not_given_twice(start, tmp_path):
    for again in ("drive", "./drive", "drive/."):
        done = subprocess.run([BINARY, "server", "drive", again], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and f"{again} is given twice" in done.stderr
        assert not (tmp_path / "drive").exists()
    server = start()
    server.stop()
    (tmp_path / "link").symlink_to(server.directory)
    for command in ("server", "fsck", "rebuild"):
        done = drystone(command, server.directory, tmp_path / "link")
        assert done.returncode == 1 and f"{tmp_path}/link is given twice, first as {server.directory}" in done.stderr


def test_a_drive_is_not_added_to_its_own_deployment(start, tmp_path):
    server = start()
    start(directory=tmp_path / "other").stop()
    done = drystone("drive", "add", server.directory, "--at", server.directory)
    assert done.returncode == 1 and "is a drive of this deployment already" in done.stderr
    done = drystone("drive", "add", tmp_path / "other", "--at", server.directory)
    assert done.returncode == 1 and "is a drive of another deployment already" in done.stderr


def test_a_missing_keyring_is_not_called_a_wrong_one(start, tmp_path):
    server = start()
    server.stop()
    (server.directory / "keyring").rename(tmp_path / "moved")
    for more in ([], ["--keyring", str(tmp_path / "nope")]):
        again = start(*more, wait=False)
        assert again.process.wait(20) == 1
        text = again.process.stderr.read()
        path = more[1] if more else f"{server.directory}/keyring"
        assert f"there is no keyring {path}" in text and "--keyring" in text and "is not the keyring" not in text
    start("--keyring", str(tmp_path / "moved")).stop()


def test_a_damaged_catalog_is_named_with_what_to_do(start):
    server = start()
    client = server.client()
    client.create_bucket(Bucket="bucket")
    bodies = [os.urandom(500) for _ in range(6)]
    for number, body in enumerate(bodies):
        client.put_object(Bucket="bucket", Key=f"k{number}", Body=body)
    server.stop()
    shutil.rmtree(server.directory / "catalog-index")
    for path in server.directory.glob("seg-*.log"):
        data = bytearray(path.read_bytes())
        at = data.find(bodies[0])
        if at >= 0:
            data[at + 7] ^= 1
            path.write_bytes(data)
    again = start(wait=False)
    assert again.process.wait(20) == 1
    for text in (again.process.stderr.read(), drystone("fsck", server.directory).stderr):
        assert f"the catalog of the drives {server.directory} cannot be used" in text and "rebuild --salvage" in text


def test_commands_say_what_is_wrong_with_at(tmp_path):
    env = {"DRYSTONE_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([BINARY, "status"], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "DRYSTONE_AT" in done.stderr
    done = subprocess.run([BINARY, "status"], env={"DRYSTONE_AT": str(tmp_path / "nope")}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and str(tmp_path / "nope") in done.stderr
