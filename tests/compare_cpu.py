"""Server CPU per request of two binaries, in interleaved pairs:

    python3 tests/compare_cpu.py OLD NEW DIRECTORY [--pairs 10] [--bursts 3] [--clients 16] [--size 4KiB]

A pair is two servers on new stores that run at the same time and get their load in turn, in bursts of a second: what else
the machine does then meets both. Prints each pair and, for each workload, the median ratio new / old with the interval of
the medians of 10,000 bootstrap samples (2.5 to 97.5 %), and the highest resident memory. Servers listen on loopback and end
with it."""
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
        """Seconds of processor time of all threads, as the scheduler counts them: to the nanosecond."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as stat:
                    total += int(stat.read().split()[0])
            except OSError:
                pass  # It ended meanwhile.
        return total / 1e9

    def highest_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) >> 10

    def stop(self):
        self.process.terminate()
        self.process.wait()


def burst(bench, server, workload, options, run):
    """Requests of one second, and seconds of server CPU. Reads find what the burst of the same run has prepared."""
    before = server.cpu()
    command = [bench, "bench", workload, "--host", f"127.0.0.1:{server.port}", "--access-key", USER, "--size", options.size,
               "--concurrency", str(options.clients), "--duration", "1", "--objects", "2000", "--bucket", f"bench-{workload}",
               "--run", str(run), "--json"]
    result = subprocess.run(command, env={"DRYSTONE_ROOT_PASSWORD": PASSWORD}, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return int(re.search(r'"requests":\s*(\d+)', result.stdout)[1]), server.cpu() - before


def measure(servers, workload, options):
    """Microseconds of server CPU for each request, of both servers."""
    sums = {name: [0, 0.0] for name in servers}
    for number in range(options.bursts + 1):
        # Writers get new keys in each burst.
        run = 1 + number if workload == "put" else 1
        for name in sorted(servers, key=lambda _: random.random()):
            count, seconds = burst(options.old, servers[name], workload, options, run)
            if number:  # The first one prepares and warms up.
                sums[name][0] += count
                sums[name][1] += seconds
    return {name: seconds / count * 1e6 for name, (count, seconds) in sums.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("directory", type=pathlib.Path)
    for name, default in [("--pairs", 10), ("--bursts", 3), ("--clients", 16)]:
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--size", default="4KiB")
    parser.add_argument("--workloads", default="get,put")
    options = parser.parse_args()
    ratios = {workload: [] for workload in options.workloads.split(",")}
    highest = {"old": 0, "new": 0}
    for pair in range(options.pairs):
        servers, found = {}, {}
        try:
            for name, binary in [("old", options.old), ("new", options.new)]:
                servers[name] = Server(binary, options.directory / f"{name}-{pair}")
            for workload in ratios:
                found[workload] = measure(servers, workload, options)
            for name, server in servers.items():
                highest[name] = max(highest[name], server.highest_mib())
        finally:
            for name, server in servers.items():
                server.stop()
                shutil.rmtree(options.directory / f"{name}-{pair}")
        for workload, into in ratios.items():
            old, new = found[workload]["old"], found[workload]["new"]
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
