# SPDX-License-Identifier: Apache-2.0
"""What the black-box tests share: a real daemon on free ports, OTLP requests, questions.

Python's standard library only.  Everything lives in one temporary directory per test and on
loopback; every wait is bounded.
"""
import base64
import functools
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
FERMATA = pathlib.Path(os.environ.get("FERMATA", TOP / "build" / "fermata"))
# A sanitizer keeps freed memory for a while and shadows the rest: its process's size says nothing.
SIZE_COUNTS = not any(name in FERMATA.read_bytes() for name in (b"__asan_init", b"__tsan_init"))


PORTS_EACH = 256


class Ports:
    """Ports for the daemons and servers of this process, one after another.

    They are outside of what the kernel gives to whoever asks for any, if there is room, and no other
    process of these tests has them: a slice of ports belongs to whom its first one is bound by.
    """

    def __init__(self):
        low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        slices = list(range(48 * PORTS_EACH, 65536, PORTS_EACH))  # browsers go to no lower ones
        random.shuffle(slices)
        slices.sort(key=lambda first: low < first + PORTS_EACH and first <= high)  # rather not the kernel's
        self.first = next(first for first in slices if self.own(first))
        self.last = self.first

    def own(self, first):
        self.owner = socket.socket()
        try:
            self.owner.bind(("127.0.0.1", first))
            return True
        except OSError:
            self.owner.close()
            return False

    def next(self):
        for _ in range(PORTS_EACH):
            self.last = self.first + (self.last - self.first) % (PORTS_EACH - 1) + 1
            try:
                with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                    tcp.bind(("127.0.0.1", self.last))
                    udp.bind(("127.0.0.1", self.last))
                    return self.last
            except OSError:
                continue
        raise AssertionError("no free port")


@functools.cache
def ports():
    return Ports()


def free_port():
    return ports().next()


def wait_for(condition, seconds=10.0, what="condition"):
    """Returns the first true value of condition(); fails after seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {seconds} s waiting for {what}")
        time.sleep(0.02)


def http_request(port, method, path, body=b"", headers=None, timeout=20):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read()
    finally:
        connection.close()


def span(trace_id, span_id, name="op", parent="", service_attributes=None, start=None, duration_ms=5,
         attributes=None, kind=2, status=None):
    start = start if start is not None else time.time_ns() - 1_000_000_000
    result = {
        "traceId": trace_id, "spanId": span_id, "name": name, "kind": kind,
        "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + duration_ms * 1_000_000),
        "attributes": [{"key": k, "value": any_value(v)} for k, v in (attributes or {}).items()],
    }
    if parent:
        result["parentSpanId"] = parent
    if status:
        result["status"] = status
    return result


def any_value(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(v) for v in value]}}
    return {"stringValue": value}


def request(spans, service="test", scope="scope"):
    return {"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]}


# Receivers whose ports the kernel chooses at every start: their sections, by the keys of ports.
OTHER_RECEIVERS = {
    "compact": "jaeger_thrift_compact", "binary": "jaeger_thrift_binary", "jaeger_http": "jaeger_thrift_http",
    "jaeger_grpc": "jaeger_grpc", "sampling": "jaeger_sampling", "zipkin": "zipkin",
}


class Daemon:
    """One fermata process over one data directory; may be killed and started again."""

    def __init__(self, directory, settings=None, config_text=None):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.ports = {name: free_port() for name in ("grpc", "http", "query")}
        self.settings = {
            "fermata.data_dir": str(self.data),
            "receiver.otlp_grpc.endpoint": f"127.0.0.1:{self.ports['grpc']}",
            "receiver.otlp_http.endpoint": f"127.0.0.1:{self.ports['http']}",
            "query.endpoint": f"127.0.0.1:{self.ports['query']}",
            "query.jaeger.endpoint": "127.0.0.1:0",
            "storage.min_free": "1MiB",
            **{f"receiver.{name}.endpoint": "127.0.0.1:0" for name in OTHER_RECEIVERS.values()},
        }
        self.settings.update(settings or {})
        self.process = None
        self.log = self.directory / "daemon.log"

    def write_config(self):
        sections = {}
        for key, value in self.settings.items():
            section, _, name = key.rpartition(".")
            sections.setdefault(section, []).append(f"{name} = {value}\n")
        path = self.directory / "fermata.ini"
        path.write_text("".join(f"[{s}]\n{''.join(lines)}\n" for s, lines in sections.items()))
        return path

    def start(self, wrapper=(), wait=True, env=None):
        config = self.write_config()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, str(FERMATA), "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(env or {})})
        if wait:
            self.wait_ready()
        return self

    def reload(self, settings):
        """Other settings, and SIGHUP; returns what it logged about them."""
        self.settings.update(settings)
        self.settings = {key: value for key, value in self.settings.items() if value is not None}
        self.write_config()
        begin = self.log.stat().st_size
        self.process.send_signal(signal.SIGHUP)

        def said():
            return self.log.read_text(errors="replace")[begin:]
        wait_for(lambda: re.search(r"event=serve\.reload result=(done|refused)", said()), 20, "the reload")
        return said()

    def wait_ready(self, seconds=20):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"fermata exited with {self.process.returncode}:\n{self.log_text()}")
            try:
                return http_request(self.ports["query"], "GET", "/ready", timeout=2)[0] == 200
            except OSError:
                return False
        wait_for(ready, seconds, "fermata to be ready")
        self.find_ports()

    def find_ports(self):
        """Ports that were given as 0, from what the daemon says about its listeners."""
        opened = dict(re.findall(r"listener\.open.*?name=(\w+) endpoint=\S*:(\d+)", self.log.read_text(errors="replace")))
        for key, name in OTHER_RECEIVERS.items():
            if name in opened:
                self.ports[key] = self.ports[name] = int(opened[name])
        self.ports["query_jaeger"] = int(opened.get("query_jaeger", 0))

    def log_text(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def stop(self, expect=0, seconds=15):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.process = None
        if expect is not None and code != expect:
            raise AssertionError(f"fermata exited with {code}, not {expect}:\n{self.log_text()}")
        return code

    def kill(self):
        if self.process and self.process.poll() not in (None, 0):
            print(f"fermata had ended with {self.process.returncode}:\n{self.log_text()}", flush=True)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def send(self, payload, tenant=None, port="http", headers=None):
        head = {"Content-Type": "application/json", **(headers or {})}
        if tenant:
            head["X-Scope-OrgID"] = tenant
        return http_request(self.ports[port], "POST", "/v1/traces", json.dumps(payload).encode(), head)

    def trace(self, trace_id, tenant=None, version="v2"):
        head = {"X-Scope-OrgID": tenant} if tenant else {}
        path = f"/api/{'v2/' if version == 'v2' else ''}traces/{trace_id}"
        status, _, body = http_request(self.ports["query"], "GET", path, headers=head)
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {body[:200]}")
        return json.loads(body)

    def span_ids(self, trace_id, tenant=None):
        """Hex span ids of the trace as the daemon answers it, sorted, repeats kept."""
        found = []
        for resource in self.trace(trace_id, tenant)["trace"].get("resourceSpans", []):
            for scope in resource.get("scopeSpans", []):
                for item in scope.get("spans", []):
                    found.append(base64.b64decode(item["spanId"]).hex())
        return sorted(found)

    def flush(self):
        status, _, body = http_request(self.ports["query"], "POST", "/flush", timeout=60)
        if status != 204:
            raise AssertionError(f"POST /flush: {status} {body[:200]}")

    def metric(self, name, labels=""):
        text = http_request(self.ports["query"], "GET", "/metrics")[2].decode()
        total, found = 0.0, False
        for line in text.splitlines():
            match = re.match(rf"{re.escape(name)}(\{{[^}}]*\}})? ([0-9.e+-]+)$", line)
            if match and labels in (match.group(1) or ""):
                total += float(match.group(2))
                found = True
        if not found:
            raise AssertionError(f"no metric {name} {labels}")
        return total

    def blocks(self, tenant="single-tenant"):
        root = self.data / "blocks" / tenant
        return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


class DaemonTest(unittest.TestCase):
    """Gives each test a directory and daemons that are gone afterwards."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="fermata-test-"))
        self.daemons = []
        self.addCleanup(self.clean_up)

    def daemon(self, settings=None, name="node"):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        daemon = Daemon(directory, settings)
        self.daemons.append(daemon)
        return daemon

    def assert_grew_less(self, before, after, bytes_max):
        if SIZE_COUNTS:
            self.assertLess(after - before, bytes_max)

    def clean_up(self):
        for daemon in self.daemons:
            daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def run_tool(*arguments, check=None, **keywords):
    """Runs build/fermata with arguments; returns the CompletedProcess with text output."""
    result = subprocess.run([str(FERMATA), *map(str, arguments)], capture_output=True, text=True,
                            timeout=120, **keywords)
    if check is not None and result.returncode != check:
        raise AssertionError(f"fermata {' '.join(map(str, arguments))}: exit {result.returncode}\n"
                             f"{result.stdout}{result.stderr}")
    return result
