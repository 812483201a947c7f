# SPDX-License-Identifier: Apache-2.0
"""A real S3 server for tests: OpenStack Swift with its s3api, from Debian's packages.

It checks every signature with code that nobody of ours wrote.  One account, container and object
server, memcached and as many proxies as asked for, all on loopback and free ports, all files in
one temporary directory, no root.  A proxy may be killed and started again; what it stored stays.

    server = SwiftServer().start()
    client = server.client()
    client.request("PUT", "/bucket")

By hand: `python3 tests/system/swift_server.py` runs one until it is interrupted.
"""
import ctypes
import datetime
import getpass
import hashlib
import hmac
import http.client
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree

PYTHON = "/usr/bin/python3"
PACKAGES = "swift-proxy swift-account swift-container swift-object memcached"
ACCESS, SECRET = "test:tester", "testing"
STORES = ("account", "container", "object")

# Debian's programs read /etc/swift/swift.conf; the same entry points with our directory do not.
RUN = """import sys
from swift.common.utils import set_swift_dir
set_swift_dir(sys.argv[1])
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[2], sys.argv[3]))
"""

RINGS = """import sys
from swift.common.ring import RingBuilder
for store, port in zip(sys.argv[2::2], sys.argv[3::2]):
    ring = RingBuilder(2, 1, 0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "d1", "meta": "",
                  "ip": "127.0.0.1", "port": int(port),
                  "replication_ip": "127.0.0.1", "replication_port": int(port)})
    ring.rebalance()
    ring.get_ring().save(f"{sys.argv[1]}/{store}.ring.gz")
"""

SWIFT_CONF = """[swift-hash]
swift_hash_path_suffix = fermata
swift_hash_path_prefix = test
[storage-policy:0]
name = only
default = yes
"""

COMMON_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_level = WARNING
{tls}
"""

STORE_CONF = COMMON_CONF + """[pipeline:main]
pipeline = {store}-server
[app:{store}-server]
use = egg:swift#{store}
"""

PROXY_CONF = COMMON_CONF + """[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth slo dlo \
proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""


def missing():
    """Why there is no Swift here, or an empty text."""
    programs = [f"swift-{store}-server" for store in (*STORES, "proxy")] + ["memcached"]
    absent = [name for name in programs if not shutil.which(name)]
    return f"not installed: {' '.join(absent)} (packages {PACKAGES})" if absent else ""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed test leaves nothing


class SwiftServer:
    def __init__(self, region="us-east-1"):
        self.region = region
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fermata-swift-"))
        self.processes = {}
        self.proxies = {}
        self.memcached = free_port()

    def start(self):
        """Starts all and waits until the first proxy, called "http", answers."""
        (self.folder / "devices" / "d1").mkdir(parents=True)
        (self.folder / "swift.conf").write_text(SWIFT_CONF)
        probe = self.folder / "devices" / "xattr"
        probe.touch()
        os.setxattr(probe, "user.fermata", b"1")  # a clear failure here rather than 503 later
        ports = {store: free_port() for store in STORES}
        arguments = [str(text) for pair in ports.items() for text in pair]
        subprocess.run([PYTHON, "-c", RINGS, str(self.folder), *arguments], check=True, timeout=60)
        self.run("memcached", "memcached", "-l", "127.0.0.1", "-p", str(self.memcached), "-U", "0",
                 "-m", "16", "-u", getpass.getuser())
        for store, port in ports.items():
            self.write_conf(store, STORE_CONF, store=store, port=port)
            self.run(store, PYTHON, "-c", RUN, str(self.folder), f"{self.folder}/{store}.conf",
                     f"{store}-server")
        self.add_proxy("http")
        for name, port in (*ports.items(), ("memcached", self.memcached)):
            self.wait(name, lambda p=port: socket.create_connection(("127.0.0.1", p), 1).close())
        self.wait_proxy("http")
        return self

    def stop(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)
        self.processes = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_conf(self, name, text, tls="", **values):
        (self.folder / f"{name}.conf").write_text(text.format(
            folder=self.folder, user=getpass.getuser(), memcached=self.memcached,
            region=self.region, tls=tls, **values))

    def run(self, name, *command):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent)

    def wait(self, name, attempt, seconds=30):
        """Until attempt() raises no OSError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return attempt()
            except (OSError, http.client.HTTPException) as error:
                code = self.processes[name].poll()
                if code is not None or time.monotonic() > deadline:
                    log = (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]
                    raise AssertionError(f"swift {name}: {error}, exit {code}\n{log}") from None
                time.sleep(0.05)

    # ---- proxies ----

    def add_proxy(self, name, tls=None):
        """A further door to the same store; tls: paths of "cert" and "key"."""
        port = free_port()
        lines = f"cert_file = {tls['cert']}\nkey_file = {tls['key']}" if tls else ""
        self.proxies[name] = (port, tls)
        self.write_conf(name, PROXY_CONF, tls=lines, port=port)
        self.start_proxy(name, wait=False)

    def start_proxy(self, name="http", wait=True):
        self.run(name, PYTHON, "-c", RUN, str(self.folder), f"{self.folder}/{name}.conf",
                 "proxy-server")
        if wait:
            self.wait_proxy(name)

    def wait_proxy(self, name="http"):
        def attempt():
            status, _, body = self.client(name).request("GET", "/healthcheck")
            if status != 200:
                raise OSError(f"healthcheck {status} {body[:100]}")
        self.wait(name, attempt)

    def kill_proxy(self, name="http"):
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def freeze_proxy(self, name="http"):
        """It accepts connections and answers nothing, until it thaws or is killed."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw_proxy(self, name="http"):
        self.processes[name].send_signal(signal.SIGCONT)

    def url(self, name="http"):
        port, tls = self.proxies[name]
        return f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"

    def client(self, name="http", access=ACCESS, secret=SECRET):
        port, tls = self.proxies[name]
        return S3Client(port, tls, access, secret, self.region)


class S3Client:
    """Signature version 4 as its public description has it; the tests' own eyes and hands."""

    def __init__(self, port, tls, access, secret, region):
        self.port, self.tls = port, tls
        self.access, self.secret, self.region = access, secret, region

    def sign(self, method, path, query, body):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": f"localhost:{self.port}", "x-amz-date": now,
                   "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join((method, path, query, lines, names, headers["x-amz-content-sha256"]))
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(("AWS4-HMAC-SHA256", now, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()))
        key = ("AWS4" + self.secret).encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), "sha256").digest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={names}, "
            f"Signature={key.hex()}")
        return headers

    def request(self, method, path, query=None, body=b""):
        """Returns status, headers (lower case), body.  path is plain text, query a dict."""
        path = urllib.parse.quote(path, safe="/-_.~")
        query = urllib.parse.urlencode(sorted((query or {}).items()), safe="-_.~",
                                       quote_via=urllib.parse.quote)
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls["ca"])
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the test CA names no key usage
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=20,
                                                     context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path + ("?" + query if query else ""), body=body,
                               headers=self.sign(method, path, query, body))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def must(self, method, path, query=None, body=b"", status=200):
        got = self.request(method, path, query, body)
        if got[0] != status:
            raise AssertionError(f"{method} {path} {query}: {got[0]}, not {status}: {got[2][:300]}")
        return got

    def keys(self, bucket):
        """Every key of the bucket, sorted; None if there is no such bucket."""
        status, _, body = self.request("GET", "/" + bucket, {"list-type": "2"})
        if status == 404:
            return None
        if status != 200:
            raise AssertionError(f"list {bucket}: {status} {body[:300]}")
        found = xml.etree.ElementTree.fromstring(body)
        if found.findtext("{*}IsTruncated") == "true":
            raise AssertionError("more than one page of keys")
        return sorted(item.findtext("{*}Key") for item in found.iterfind("{*}Contents"))

    def objects(self, bucket):
        """Key to bytes of everything in the bucket."""
        return {key: self.must("GET", f"/{bucket}/{key}")[2] for key in self.keys(bucket) or ()}


def main():
    server = SwiftServer().start()
    print(f"{server.url()}  access {ACCESS}  secret {SECRET}  files {server.folder}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
