"""Server CPU per request of two binaries, in interleaved pairs:

    python3 tests/compare_cpu.py OLD NEW DIRECTORY [--pairs 10] [--seconds 4] [--clients 16] [--size 4KiB]

Prints each pair and, for each workload, the median ratio new / old with the interval of the medians of 10,000 bootstrap
samples (2.5 to 97.5 %), and the highest resident memory. Servers listen on loopback and end with it."""
import argparse
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.request

USER, PASSWORD = "compare-user", "compare-password"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    def __init__(self, binary, directory):
        self.binary, self.port = binary, free_port()
        environment = {"PATH": os.environ["PATH"], "DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}
        command = [binary, "server", str(directory), "--address", f"127.0.0.1:{self.port}", "--console-address",
                   f"127.0.0.1:{free_port()}", "--access-log", "off", "--segment-size", "64MiB"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/minio/health/ready", timeout=1)
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{binary} does not start")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def highest_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) >> 10

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(bench, server, workload, options):
    """Microseconds of server CPU for each request, without what preparing the objects takes."""
    def run(seconds):
        before = server.cpu()
        command = [bench, "bench", workload, "--host", f"127.0.0.1:{server.port}", "--access-key", USER, "--size",
                   options.size, "--concurrency", str(options.clients), "--duration", str(seconds), "--objects", "2000",
                   "--bucket", f"bench-{workload}", "--json"]
        result = subprocess.run(command, env={"DRYSTONE_ROOT_PASSWORD": PASSWORD}, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(result.stderr)
        report = result.stdout
        count = int(re.search(r'"requests":\s*(\d+)', report)[1])
        return count, server.cpu() - before

    # The difference of a long and a short run cancels what both prepare.
    short, long = run(1), run(1 + options.seconds)
    return (long[1] - short[1]) / (long[0] - short[0]) * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("directory", type=pathlib.Path)
    for name, default in [("--pairs", 10), ("--seconds", 4), ("--clients", 16)]:
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--size", default="4KiB")
    parser.add_argument("--workloads", default="get,put")
    options = parser.parse_args()
    ratios = {workload: [] for workload in options.workloads.split(",")}
    highest = {"old": 0, "new": 0}
    for pair in range(options.pairs):
        order = [("old", options.old), ("new", options.new)]
        found = {}
        for name, binary in order if pair % 2 else order[::-1]:
            directory = options.directory / f"{name}-{pair}"
            server = Server(binary, directory)
            try:
                for workload in ratios:
                    found[name, workload] = measure(options.old, server, workload, options)
                highest[name] = max(highest[name], server.highest_mib())
            finally:
                server.stop()
                shutil.rmtree(directory)
        for workload, into in ratios.items():
            old, new = found["old", workload], found["new", workload]
            into.append(new / old)
            print(f"pair {pair + 1}: {workload} {old:.1f} -> {new:.1f} us, ratio {new / old:.3f}", flush=True)
    for workload, found in ratios.items():
        chosen = random.Random(1)
        medians = sorted(statistics.median(chosen.choices(found, k=len(found))) for _ in range(10_000))
        print(f"{workload} {options.size}, {options.clients} clients: new / old {statistics.median(found):.3f} "
              f"({medians[250]:.3f} to {medians[9750]:.3f}), {len(found)} pairs")
    print(f"highest resident memory: old {highest['old']} MiB, new {highest['new']} MiB")


if __name__ == "__main__":
    main()
