"""The built server as a process: started on a directory, stopped, killed."""
import os
import pathlib
import queue
import signal
import socket
import subprocess
import threading
import time

import boto3
import pytest
import requests
from botocore.config import Config

BINARY = os.environ["DRYSTONE_BINARY"]
USER, PASSWORD = "blackbox-user", "blackbox-password"


def ports_of_this_process():
    """Ports below those that the kernel hands out, so that no connection of a client takes one between its choice
    and its use; each process of a test run begins at its own place."""
    first, last = 10_000, 32_000
    place = first + os.getpid() * 7919 % (last - first)
    while True:
        yield place
        place = place + 1 if place < last else first


PORTS = ports_of_this_process()


def free_port():
    """A port that nothing listens on and that this process has not given before, until all were given."""
    for port in PORTS:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Drained:
    """What a server says, read as it comes: a pipe that is full would hold the server up."""

    def __init__(self, pipe):
        self.lines, self.pipe = queue.SimpleQueue(), pipe
        self.ended = False
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.pipe:
            self.lines.put(line)
        self.lines.put(None)

    def __iter__(self):
        while not self.ended:
            line = self.lines.get()
            self.ended = line is None
            if line is not None:
                yield line

    def readline(self):
        return next(iter(self), "")

    def read(self):
        """Everything that was not read yet, until the server ends."""
        return "".join(self)

    def close(self):
        self.pipe.close()


class Server:
    def __init__(self, directory, *arguments, env=None, prefix=()):
        self.directory = pathlib.Path(directory)
        self.port, self.console_port = free_port(), free_port()
        self.scheme = "https" if "--certs-dir" in arguments else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        environment = {"PATH": os.environ["PATH"], "DRYSTONE_ROOT_USER": USER,
                       "DRYSTONE_ROOT_PASSWORD": PASSWORD}
        if env is not None:
            environment = {"PATH": os.environ["PATH"], **env}
        command = [*prefix, BINARY, "server", str(directory), "--address", f"127.0.0.1:{self.port}",
                   "--console-address", f"127.0.0.1:{self.console_port}", *arguments]
        if "--access-log" not in arguments:
            command += ["--access-log", "off"]
        if "--segment-size" not in arguments:
            command += ["--segment-size", "8MiB"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.process.stderr = Drained(self.process.stderr)

    def wait_ready(self, timeout=20):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.process.stderr.read()}")
            try:
                if requests.get(f"{self.url}/minio/health/ready", timeout=1, verify=False).status_code == 200:
                    return self
            except requests.RequestException:
                time.sleep(0.02)
        raise AssertionError("the server is not ready")

    def resident(self):
        """Bytes of memory of the process, its program included."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        return code, self.process.stderr.read()

    def said(self, timeout=20):
        """What the server said that was not read yet, once it has ended."""
        self.process.wait(timeout)
        return self.process.stderr.read()

    def client(self, **config):
        options = {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"},
                   "signature_version": "s3v4", "read_timeout": 20, **config}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=USER,
                            aws_secret_access_key=PASSWORD, verify=False, config=Config(**options))


@pytest.fixture
def start(tmp_path):
    servers = []

    def begin(*arguments, directory=None, wait=True, **kw):
        server = Server(directory or tmp_path / "drive", *arguments, **kw)
        servers.append(server)
        return server.wait_ready() if wait else server

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.kill()


def drystone(*arguments):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
