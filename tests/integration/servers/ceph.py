"""An S3 endpoint of one's own: Ceph with one disk in a file and a gateway, on free ports, in a private directory."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tests.integration.servers.debian import found_or_installed
from tests.integration.servers.ports import free_port

REGION = "us-east-1"
SECRETS = {  # of accounts that live as long as the tests
    "owner": "pw-4f1d0b7e93/+owner",
    "party-a": "pw-9a33c5e871/+a",
    "party-b": "pw-27f60d18ac/+b",
}

_AGAIN = 10
_CONFIG = """[global]
fsid = {fsid}
mon initial members = a
mon host = v1:127.0.0.1:{monitor}
ms bind ipv6 = false
ms bind msgr2 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
osd mon heartbeat interval = 1
run dir = {dir}/run
admin socket = {dir}/run/$name.asok
log file = {dir}/log/$name.log
crash dir = {dir}/log
keyring = /dev/null
[mon]
mon data = {dir}/mon
[osd]
osd data = {dir}/osd
osd objectstore = bluestore
bluestore block size = 8589934592
bluestore block create = true
bluestore fsck on mount = false
bluestore cache autotune = false
bluestore cache size = 134217728
osd class update on start = false
[client.rgw]
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 32
rgw override bucket index max shards = 1
rgw dynamic resharding = false
"""


class Ceph:
    """A cluster of one disk, started at once and ended by ``stop``. ``SECRETS`` has its accounts."""

    def __init__(self, programs: dict[str, str], directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._programs = programs
        self._running: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self._monitor = free_port()
        for name in ("run", "log", "mon", "osd", "rgw"):
            (directory / name).mkdir()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def options(self, account: str = "owner", **more: str) -> dict[str, str]:
        """The ``options`` of a party file for this endpoint; the secret is in a file."""
        place = {"endpoint": self.url, "allow_http": "true", "region": REGION, "access_key_id": account}
        return {**place, "secret_access_key": f"file:{self.directory / account}", **more}

    def make_bucket(self, name: str) -> None:
        """A new bucket of the owner."""
        self._request("PUT", f"/{name}")

    def allow(self, bucket: str, policy: str) -> None:
        """Replace the policy of a bucket, a document in JSON."""
        self._request("PUT", f"/{bucket}", "policy=", policy.encode())

    def stop(self) -> None:
        """End all of it, the gateway first, and wait until it is gone."""
        while self._running:
            _, process = self._running.popitem()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # ---- its parts ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        fsid, disk = str(uuid.uuid4()), str(uuid.uuid4())
        config = _CONFIG.format(fsid=fsid, monitor=self._monitor, port=self.port, dir=self.directory)
        (self.directory / "ceph.conf").write_text(config)
        addresses = ["--addv", "a", f"[v1:127.0.0.1:{self._monitor}]", str(self.directory / "monmap")]
        self._call("monmaptool", "--create", "--clobber", "--fsid", fsid, *addresses)
        self._call("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(self.directory / "monmap"))
        self._serve("ceph-mon", "-i", "a")
        self._call("ceph", "osd", "new", disk)
        self._call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._serve("ceph-osd", "-i", "0")
        self._serve("radosgw", "-n", "client.rgw")
        self._wait()
        for account, secret in SECRETS.items():
            (self.directory / account).write_text(secret)
            (self.directory / account).chmod(0o600)
            keys = [f"--access-key={account}", f"--secret-key={secret}"]
            self._call("radosgw-admin", "user", "create", f"--uid={account}", f"--display-name={account}", *keys)

    def _call(self, program: str, *arguments: str) -> None:
        command = [self._programs[program], "-c", str(self.directory / "ceph.conf"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env=self._environment()
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed ({done.returncode}): {(done.stderr or done.stdout)[-2000:]}")

    def _serve(self, program: str, *arguments: str) -> None:
        command = [self._programs[program], "-c", str(self.directory / "ceph.conf"), *arguments, "-f"]
        with (self.directory / "log" / f"{program}.out").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        self._running[program, *arguments] = process

    def _environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith("CEPH")}

    def _wait(self) -> None:
        """Until the gateway answers. A disk that asks the monitor too early ends (wrong fsid): it is run again."""
        deadline, again = time.monotonic() + 90, 0
        while not self._answers():
            ended = [command for command, process in self._running.items() if process.poll() is not None]
            again += len(ended)
            if again > _AGAIN or time.monotonic() > deadline:
                logs = {path.name: path.read_text()[-500:] for path in (self.directory / "log").glob("*.out")}
                raise RuntimeError(f"Ceph did not start (ended: {ended}): {logs}")
            for command in ended:
                self._serve(*command)
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except OSError:
            return False
        return True

    def _request(self, method: str, path: str, query: str = "", body: bytes = b"") -> None:
        """A request of the owner, signed (AWS Signature Version 4): what the object store's own client cannot ask."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = hashlib.sha256(f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}".encode()).hexdigest()
        key = f"AWS4{SECRETS['owner']}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{canonical}".encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential=owner/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        url = f"{self.url}{path}" + (f"?{query}" if query else "")
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path} was answered {error.code}: {error.read().decode()[:500]}") from None


def ceph_programs() -> dict[str, str]:
    """Paths of Ceph's programs, installed if they may be; a skip with the reason where they cannot be had."""
    packages = {
        "ceph-mon": ("ceph-mon", "monmaptool"),
        "ceph-osd": ("ceph-osd",),
        "radosgw": ("radosgw",),
        "ceph-common": ("ceph", "radosgw-admin"),
    }
    return {
        program: found_or_installed(package, program) for package, programs in packages.items() for program in programs
    }
