"""What someone meets who starts the server with the arguments, variables and directories of MinIO."""
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import boto3
import pytest
import requests
from botocore.config import Config

from conftest import BINARY, PASSWORD, USER, Server, drystone, free_port

ROOT = pathlib.Path(__file__).parents[2]
KEYS = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD}


class Started:
    """A server of a command line of its own."""

    def __init__(self, *command, env=None, cwd=None):
        self.port = free_port()
        environment = {"PATH": os.environ["PATH"], **(env or {})}
        words = [word.replace("PORT", str(self.port)) for word in map(str, command)]
        environment = {name: str(value).replace("PORT", str(self.port)) for name, value in environment.items()}
        self.process = subprocess.Popen([BINARY, *words], env=environment, cwd=cwd, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def wait_ready(self, scheme="http"):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                url = f"{scheme}://127.0.0.1:{self.port}/minio/health/ready"
                if requests.get(url, timeout=1, verify=False).status_code == 200:
                    return self
            except requests.RequestException:
                time.sleep(0.02)
        raise AssertionError("the server is not ready")

    def client(self, user=USER, password=PASSWORD, region="us-east-1"):
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name=region,
                            aws_access_key_id=user, aws_secret_access_key=password,
                            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))

    def stop(self):
        """What was written to standard output and standard error."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=40)

    def refused(self):
        out = self.process.communicate(timeout=30)
        assert self.process.returncode in (1, 2), out
        return out[1]


@pytest.fixture
def run(tmp_path):
    started = []

    def begin(*command, env=KEYS, wait=True, **more):
        server = Started(*command, env={"DRYSTONE_RUNTIME_DIR": str(tmp_path / "run"), **env}, cwd=tmp_path, **more)
        started.append(server)
        return server.wait_ready() if wait else server

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


LISTEN = ("--address", "127.0.0.1:PORT", "--console-address", "127.0.0.1:0", "--segment-size", "8MiB")


@pytest.mark.parametrize("given", ["http://minio{1...4}.local:9000/data{1...2}", "http://127.0.0.1/data", "https://a:9000/d"])
def test_addresses_of_other_servers_are_refused_before_anything_is_made(run, tmp_path, given):
    text = run("server", *LISTEN, given, wait=False).refused()
    path = "/" + given.split("/", 3)[3]
    assert given in text and "one machine" in text and f"drystone server {path}" in text
    assert os.listdir(tmp_path) == []
    text = run("server", *LISTEN, wait=False, env={**KEYS, "MINIO_VOLUMES": given}).refused()
    assert "one machine" in text and os.listdir(tmp_path) == []


def test_two_pools_of_minio_are_said_to_be_one(run):
    both = run("server", "a{1...2}", "b{1...2}", *LISTEN)
    text = both.stop()[1]
    assert "a{1...2} b{1...2}" in text and "several pools to MinIO" in text
    assert "several pools" not in run("server", "c{1...4}", *LISTEN).stop()[1]


@pytest.mark.parametrize("name", ["MINIO_VOLUMES", "MINIO_ARGS", "MINIO_ENDPOINTS", "DRYSTONE_VOLUMES"])
def test_directories_come_from_variables(run, tmp_path, name):
    server = run("server", *LISTEN, env={**KEYS, name: f"{tmp_path}/d{{1...2}}  {tmp_path}/d3"})
    assert all((tmp_path / f"d{number}" / "super").exists() for number in (1, 2, 3))
    server.stop()
    # The unit file of MinIO gives the same in both ways; another would leave one of them without effect.
    same = run("server", f"{tmp_path}/d{{1...3}}", *LISTEN, env={**KEYS, name: f"{tmp_path}/d{{1...3}}"})
    same.stop()
    other = run("server", f"{tmp_path}/x", *LISTEN, env={**KEYS, name: f"{tmp_path}/d{{1...3}}"}, wait=False)
    text = other.refused()
    assert name in text and f"{tmp_path}/x" in text and not (tmp_path / "x").exists()


def test_without_directories_it_says_how_to_name_them(run):
    text = run("server", *LISTEN, wait=False).refused()
    assert "MINIO_VOLUMES" in text and "drystone server /data" in text


def test_a_file_of_variables_is_read_and_wins(run, tmp_path):
    file = tmp_path / "config.env"
    file.write_text("# of MinIO\nexport MINIO_ROOT_USER=\"file-user\"\nexport MINIO_ROOT_PASSWORD='file-password'\n"
                    f"MINIO_VOLUMES={tmp_path}/drive\nMINIO_REGION=eu-west-1\nexport MINIO_REGOIN=x\n")
    env = {"MINIO_CONFIG_ENV_FILE": str(file), "MINIO_ROOT_USER": "other-user"}
    server = run("server", *LISTEN, env=env)
    client = server.client("file-user", "file-password", "eu-west-1")
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert client.get_bucket_location(Bucket="bucket")["LocationConstraint"] == "eu-west-1"
    assert "MINIO_REGOIN" in server.stop()[1], "names of the file are looked at too"
    for text, said in [(None, "cannot be read"), ("A=1\nnonsense with secret-word\n", "line 2")]:
        file.unlink(missing_ok=True)
        if text:
            file.write_text(text)
        error = run("server", f"{tmp_path}/other", *LISTEN, env=env, wait=False).refused()
        assert "MINIO_CONFIG_ENV_FILE" in error and str(file) in error and said in error and "secret-word" not in error
        assert not (tmp_path / "other").exists()


def test_addresses_come_from_variables_and_errors_name_them(run, tmp_path):
    env = {**KEYS, "MINIO_ADDRESS": "127.0.0.1:PORT", "MINIO_CONSOLE_ADDRESS": "127.0.0.1:0"}
    run("server", "drive", env=env).stop()
    for name, option in [("MINIO_ADDRESS", "--address"), ("MINIO_CONSOLE_ADDRESS", "--console-address")]:
        for value, said in [("9000", ":9000 "), ("x", "HOST:PORT")]:
            ports = {"MINIO_ADDRESS": "127.0.0.1:PORT", "MINIO_CONSOLE_ADDRESS": "127.0.0.1:0", name: value}
            text = run("server", "new", env={**KEYS, **ports}, wait=False).refused()
            assert f"{name} {value}: " in text and said in text
            text = run("server", "new", option, value, wait=False).refused()
            assert f"{option} {value}: " in text and said in text
    assert not (tmp_path / "new").exists()


def test_the_console_listens_where_s3_does(run):
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.7", 9001))
        taken.listen()
        text = run("server", "drive", "--address", f"127.0.0.7:{port}", wait=False).refused()
    assert "--console-address 127.0.0.7:9001: the port is in use" in text


def test_a_browser_that_is_off_has_no_port(run):
    server = run("server", "drive", "--address", "127.0.0.1:PORT", env={**KEYS, "MINIO_BROWSER": "off"})
    assert "Console     none" in server.stop()[1]


@pytest.mark.parametrize("user, password", [("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"), ("MINIO_ROOT_USER", "MINIO_SECRET_KEY")])
def test_credentials_have_the_names_of_older_versions(run, user, password):
    server = run("server", "drive", *LISTEN, env={user: "old-user", password: "old-password"})
    assert server.client("old-user", "old-password").list_buckets()["Buckets"] == []


@pytest.mark.parametrize("env, said", [
    ({"MINIO_ROOT_USER": USER}, "MINIO_ROOT_USER is set, but MINIO_ROOT_PASSWORD is not"),
    ({"MINIO_ACCESS_KEY": USER}, "MINIO_ACCESS_KEY is set, but MINIO_ROOT_PASSWORD is not"),
    ({"MINIO_ROOT_PASSWORD": PASSWORD}, "MINIO_ROOT_PASSWORD is set, but MINIO_ROOT_USER is not"),
    ({"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": "short"}, 'MINIO_ROOT_PASSWORD is "(hidden)"; allowed: 8 or more'),
    ({"MINIO_ROOT_USER": "", "MINIO_ROOT_PASSWORD": ""}, "MINIO_ROOT_USER is set, but empty"),
    ({"MINIO_ACCESS_KEY": "", "MINIO_SECRET_KEY": ""}, "MINIO_ACCESS_KEY is set, but empty"),
    ({"MINIO_ROOT_USER": USER, "MINIO_SECRET_KEY": ""}, "MINIO_SECRET_KEY is set, but empty"),
])
def test_credentials_that_cannot_be_are_refused_by_the_name_that_was_set(run, tmp_path, env, said):
    text = run("server", "drive", *LISTEN, env=env, wait=False).refused()
    assert said in text and not (tmp_path / "drive").exists() and "DRYSTONE_ROOT" not in text


@pytest.mark.parametrize("user, password, is_warned", [("minioadmin", "minioadmin", True), ("minio", "minio123", True),
                                                       ("same-word", "same-word", True), (USER, PASSWORD, False)])
def test_well_known_credentials_are_warned_about(run, user, password, is_warned):
    env = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}
    text = run("server", "drive", *LISTEN, env=env).stop()[1]
    assert ("well known" in text) == is_warned and (not is_warned or "MINIO_ROOT_PASSWORD" in text)


def names_of_minio():
    """Names and what is said of them, from the page that is made of the table."""
    page = (ROOT / "docs/minio-variables.md").read_text()
    return re.findall(r"^\| `(\S+)` \| (acts|no effect|refused|met) \| (.*) \|$", page, re.MULTILINE)


def test_every_name_of_minio_is_acted_on_warned_about_or_refused(run, tmp_path):
    """All variables without effect at once: a line for each, and none for those that are met."""
    rows = [(name, fate, why) for name, fate, why in names_of_minio() if name.startswith("MINIO_")]
    assert len(rows) > 150
    none = {name.replace("*", "THIS"): why for name, fate, why in rows if fate == "no effect"}
    met = [name.replace("*", "THIS") for name, fate, _ in rows if fate == "met"]
    env = {**KEYS, **{name: "secret-value" for name in [*none, *met]}}
    text = run("server", "drive", *LISTEN, env=env).stop()[1]
    lines = [line for line in text.splitlines() if "has no effect" in line]
    said = {re.search(r"name=(\S+)", line)[1]: line for line in lines}
    assert set(said) == set(none) and len(lines) == len(none) and "secret-value" not in text
    assert all(json.dumps(why)[1:-1] in said[name] or why in said[name] for name, why in none.items())
    for name, _, why in (row for row in rows if row[1] == "refused"):
        variable = name.replace("*", "THIS")
        text = run("server", "new", *LISTEN, env={**KEYS, variable: "secret-value"}, wait=False).refused()
        assert f"{variable} cannot be followed: " in text and why.split(": ")[-1] in text and "secret-value" not in text
    assert not (tmp_path / "new").exists()
    run("server", "drive", *LISTEN, env={**KEYS, "MINIO_API_ROOT_ACCESS": "on", "MINIO_WORM": "off", "MINIO_CONFIG": ""}).stop()


VALUES = {"shutdown-timeout": "30s", "idle-timeout": "30s", "read-header-timeout": "30s"}


def test_every_flag_of_minio_is_taken_or_refused(run, tmp_path):
    flags = [(name, fate, why) for name, fate, why in names_of_minio() if name.startswith("--")]
    source = (ROOT / "crates/server/src/config/names.rs").read_text()
    takes = dict(re.findall(r'\("([a-z-]+)", (true|false), Fate', source))
    assert len(flags) == len(takes) >= 18
    words = []
    for name, fate, _ in flags:
        if fate != "refused":
            words += [name, "7"] if takes[name[2:]] == "true" else [name]
    text = run("server", "drive", *LISTEN, *words).stop()[1]
    for name, fate, why in flags:
        if fate == "refused":
            error = run("server", "new", *LISTEN, name, "x", wait=False).refused()
            assert f"{name} cannot be followed: " in error and not (tmp_path / "new").exists()
        else:
            assert (f"name={name} " in text) == (fate == "no effect")
    more = [word for name, value in VALUES.items() for word in (f"--{name}", value)]
    run("server", "drive", *LISTEN, *more, "-C", "conf").stop()


def test_flags_stand_before_the_command_too(run, tmp_path):
    server = run("--quiet", "--json", "-C", "conf", "--anonymous", "server", "drive", *LISTEN)
    assert server.client().list_buckets()["Buckets"] == []
    lines = [json.loads(line) for line in server.stop()[1].splitlines()]
    assert {line["level"] for line in lines} == {"WARN"}, "only that a keyring was made"


@pytest.mark.parametrize("what", ["alone", "one of four"])
def test_a_directory_of_minio_is_named_as_one(run, tmp_path, what):
    drives = ["d1"] if what == "alone" else ["d1", "d2", "d3", "d4"]
    (tmp_path / drives[-1] / ".minio.sys").mkdir(parents=True)
    (tmp_path / drives[-1] / "a-bucket").mkdir()
    text = run("server", *drives, *LISTEN, wait=False).refused()
    assert f"{drives[-1]} holds data of MinIO" in text and "mc mirror" in text
    assert sorted(os.listdir(tmp_path / drives[-1])) == [".minio.sys", "a-bucket"]
    assert all(not (tmp_path / drive / "super").exists() for drive in drives)


@pytest.mark.parametrize("which", ["--address", "--console-address"])
def test_ports_are_had_before_anything_is_made(run, tmp_path, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [word for word in LISTEN]
        words[words.index(which) + 1] = f"127.0.0.1:{port}"
        text = run("server", "drive", *words, wait=False).refused()
    assert "the port is in use" in text and os.listdir(tmp_path) == []


def test_the_banner_is_for_clicking_and_nothing_is_on_standard_output(run):
    server = run("server", "drive", "--address", ":PORT", "--console-address", ":0")
    server.client().list_buckets()
    out, text = server.stop()
    assert out == "", "the access log is off"
    assert f"S3          http://127.0.0.1:{server.port}" in text and "[::]" not in text
    assert f"mc alias set drystone http://127.0.0.1:{server.port} {USER}" in text and PASSWORD not in text
    assert re.search(r"Console     http://127\.0\.0\.1:\d+\n", text)
    env = {**KEYS, "MINIO_SERVER_URL": "https://s3.example.com"}
    assert f"mc alias set drystone https://s3.example.com {USER}" in run("server", "drive", *LISTEN, env=env).stop()[1]


def test_the_access_log_is_on_standard_output_where_it_is_asked_for(run):
    server = run("server", "drive", *LISTEN, "--access-log", "stdout")
    server.client().list_buckets()
    time.sleep(0.3)
    assert json.loads(server.stop()[0].splitlines()[-1])["operation"] == "ListBuckets"


@pytest.mark.parametrize("env", [KEYS, {}, {**KEYS, "MINIO_REGOIN": "x", "MINIO_NOTIFY_WEBHOOK_ENABLE": "on"}])
def test_json_is_json_from_the_first_line_to_the_last(run, env):
    server = run("server", "a{1...2}", "b{1...2}", *LISTEN, "--json", env=env)
    lines = [json.loads(line) for line in server.stop()[1].splitlines()]
    ready = [line["fields"] for line in lines if line["fields"]["message"] == "the server is ready"]
    assert len(ready) == 1 and ready[0]["s3"] == f"http://127.0.0.1:{server.port}"
    assert {line["level"] for line in lines} <= {"INFO", "WARN"}


@pytest.mark.parametrize("words", [["drive", "--region", "x y"], [], ["http://a/b"], ["drive", "--address", "9000"]])
def test_json_says_what_is_wrong_as_json(run, words):
    lines = [json.loads(line) for line in run("server", *words, "--json", wait=False).refused().splitlines()]
    assert lines[-1]["level"] == "ERROR" and lines[-1]["fields"]["error"]


def test_status_finds_the_only_server(run, tmp_path):
    runtime = tmp_path / "run"
    env = {"PATH": os.environ["PATH"], "DRYSTONE_RUNTIME_DIR": str(runtime)}
    status = lambda: subprocess.run([BINARY, "status"], env=env, capture_output=True, text=True, timeout=30)
    assert "no running server of this user was found" in status().stderr
    first = run("server", "one", *LISTEN)
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert "everything is whole" in status().stdout
    second = run("server", "two", *LISTEN)
    done = status()
    assert done.returncode == 1 and f"--at {tmp_path}/one" in done.stderr and f"--at {tmp_path}/two" in done.stderr
    second.process.kill()
    second.process.wait()
    assert "everything is whole" in status().stdout, "what a killed process left leads nowhere"
    first.stop()
    assert "no running server" in status().stderr and os.listdir(runtime) == []


def test_nobody_else_can_lead_status_to_a_server_of_his(run, tmp_path):
    """A directory, or a socket, that another user made, or can write to, is not used."""
    runtime = tmp_path / "run"
    env = {"PATH": os.environ["PATH"], "DRYSTONE_RUNTIME_DIR": str(runtime)}
    status = lambda: subprocess.run([BINARY, "status"], env=env, capture_output=True, text=True, timeout=30)
    run("server", "one", *LISTEN)
    assert status().returncode == 0
    runtime.chmod(0o777)
    assert "no running server" in status().stderr
    runtime.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    runtime.rename(elsewhere)
    runtime.symlink_to(elsewhere)
    assert "no running server" in status().stderr
    runtime.unlink()
    elsewhere.rename(runtime)
    if os.geteuid() == 0:
        os.chown(runtime, 12345, 12345)
        assert "no running server" in status().stderr
        os.chown(runtime, 0, 0)
        os.chown(tmp_path / "one" / "admin.sock", 12345, 12345)
        assert "no running server" in status().stderr


def slow_put(port, begun, results, path="/bucket/slow"):
    """A request whose body takes three seconds; anonymous, so that it needs no signature."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n".encode())
        begun.set()
        for _ in range(30):
            time.sleep(0.1)
            connection.sendall(b"x")
        connection.settimeout(10)
        results.append(connection.recv(4096).decode())


def test_a_stop_lets_requests_end_and_answers_503_meanwhile(run):
    server = run("server", "drive", *LISTEN, "--shutdown-timeout", "20s", "--bucket-defaults", "open")
    client = server.client()
    client.create_bucket(Bucket="bucket", ACL="public-read-write")
    begun, results = threading.Event(), []
    thread = threading.Thread(target=slow_put, args=(server.port, begun, results))
    thread.start()
    begun.wait(5)
    time.sleep(0.3)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    for path in ("/", "/minio/health/ready", "/minio/health/cluster"):
        answer = requests.get(f"http://127.0.0.1:{server.port}{path}", timeout=5)
        assert answer.status_code == 503 and answer.headers["Connection"] == "close" and answer.headers["Retry-After"]
    thread.join()
    text = server.process.communicate(timeout=20)[1]
    assert server.process.returncode == 0 and results[0].startswith("HTTP/1.1 200"), (results, text)
    assert time.monotonic() - began < 15, "it does not wait for longer than for what is in progress"


def test_a_stop_says_what_it_waits_for_and_ends_in_time(run):
    server = run("server", "drive", *LISTEN, "--bucket-defaults", "open", env={**KEYS, "MINIO_SHUTDOWN_TIMEOUT": "7s"})
    server.client().create_bucket(Bucket="bucket", ACL="public-read-write")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.3)
        began = time.monotonic()
        text = server.stop()[1]
    assert 6 < time.monotonic() - began < 12, text
    assert "stopping: requests in progress are let end" in text and "connections=1" in text and "were cut off" in text
