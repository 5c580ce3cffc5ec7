"""A drive that was drained keeps neither the keyring nor the root credentials (finding U6)."""
import json
import time

import pytest

from conftest import Server, drystone


@pytest.mark.parametrize("which", [0, 2])
def test_a_drained_drive_has_no_secrets(tmp_path, which):
    homes = [tmp_path / name for name in "abcd"]
    for home in homes:
        home.mkdir()
    # Root credentials of the files, not of the environment.
    server = Server(*homes, env={})
    try:
        server.wait_ready()
        secrets = ["keyring", "root-credentials"]
        before = {name: (homes[1] / name).read_bytes() for name in secrets}
        assert all((home / name).exists() for home in homes for name in secrets)
        assert drystone("drive", "drain", homes[which], "--at", homes[1]).returncode == 0
        deadline = time.monotonic() + 30
        while any((homes[which] / name).exists() for name in secrets):
            assert time.monotonic() < deadline, drystone("status", "--at", homes[1]).stdout
            time.sleep(0.1)
        server.wait_ready()
        deadline = time.monotonic() + 20
        status = drystone("status", "--json", "--at", homes[1])
        while status.returncode and time.monotonic() < deadline:
            time.sleep(0.1)
            status = drystone("status", "--json", "--at", homes[1])
        assert len(json.loads(status.stdout)["status"]["drives"]) == 3
        stay = [home for number, home in enumerate(homes) if number != which]
        assert all((home / name).read_bytes() == before[name] for home in stay for name in secrets)
    finally:
        server.kill()
