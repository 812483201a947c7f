# SPDX-License-Identifier: Apache-2.0
"""What the rows of the conformance table share: one node with every door open, senders, and the
words in which an outcome is put.

A row is (name, what is sent, what must come of it, function).  The function sends, looks, and says
what came of it; the row holds when both texts are equal.  test_conformance.py runs the table and
writes docs/conformance.md from what was seen.
"""
import base64
import gzip
import hashlib
import json
import re
import socket
import struct
import subprocess
import time

from harness import free_port, http_request, wait_for
from test_otlp_grpc import Call, framed

KINDS = {"SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3, "SPAN_KIND_PRODUCER": 4,
         "SPAN_KIND_CONSUMER": 5}
CODES = {"STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR", 1: "OK", 2: "ERROR"}


def settings():
    """Every door on a free port of loopback, small limits so that they can be reached."""
    doors = {name: free_port() for name in (
        "jaeger_thrift_compact", "jaeger_thrift_binary", "jaeger_thrift_http", "jaeger_grpc",
        "jaeger_sampling", "zipkin")}
    keys = {f"receiver.{name}.endpoint": f"127.0.0.1:{port}" for name, port in doors.items()}
    return doors, {**keys, "limits.max_body_bytes": "1MiB", "limits.max_decompressed_bytes": "2MiB",
                   "limits.header_timeout": "1s", "limits.idle_timeout": "5s",
                   "receiver.otlp_http.cors_allowed_origins": "https://app.example"}


def trace_of(row, part=0):
    """A trace id of its own for each row, so that rows cannot see each other's spans."""
    return hashlib.sha256(f"{row}/{part}".encode()).hexdigest()[:32]


class Node:
    """The daemon as the rows see it."""

    def __init__(self, daemon, doors):
        self.daemon = daemon
        self.ports = {**daemon.ports, **doors}

    # ---- sending ----

    def http(self, door, path, body, headers=None, method="POST", show=()):
        """ "202", or "400 text/plain" with the headers that are asked for."""
        status, got, answer = http_request(self.ports[door], method, path, body, headers or {})
        words = [str(status)] + [f"{name}: {got.get(name.lower(), '-')}" for name in show]
        return ", ".join(words), answer

    def raw(self, door, data):
        """Sends bytes as they are and reads until the peer closes or is silent for a second."""
        with socket.create_connection(("127.0.0.1", self.ports[door]), timeout=10) as s:
            s.sendall(data)
            s.settimeout(1.0)
            answer = b""
            try:
                while chunk := s.recv(65536):
                    answer += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def grpc(self, message, door="grpc", pieces=None, frame=True, **keywords):
        """ "grpc 0", "grpc 0, rejected 1", "http 415, grpc 3"."""
        data = framed(message) if frame else message
        call = Call(self.ports[door], **keywords)
        if not keywords.get("end_stream"):
            call.send(data, end=True, pieces=pieces)
        headers, body, reset = call.finish()
        return self.say_grpc(headers, body, reset)

    @staticmethod
    def say_grpc(headers, body, reset):
        words = []
        if headers.get(":status") != "200":
            words.append(f"http {headers.get(':status')}")
        words.append(f"grpc {headers.get('grpc-status')}" if not reset else f"reset {reset}")
        found = re.search(rb"\x0a.\x08(.)", body[5:], re.S)
        if found:
            words.append(f"rejected {found[1][0]}")
        return ", ".join(words)

    def datagrams(self, door, *payloads):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for payload in payloads:
                s.sendto(payload, ("127.0.0.1", self.ports[door]))

    def counted(self, name, send, labels=""):
        """What a counter grew by while send() ran and until it had grown (or a second went by)."""
        before = self.daemon.metric(name, labels)
        send()
        deadline = time.monotonic() + 1
        while self.daemon.metric(name, labels) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        return int(self.daemon.metric(name, labels) - before)

    # ---- looking ----

    def resources(self, trace):
        return self.daemon.trace(trace)["trace"].get("resourceSpans", [])

    def spans(self, trace, wait=0):
        """[(span, resource attributes, scope)] in the order of the answer; waits for that many."""
        def look():
            return [(span, attributes(resource.get("resource", {})), scope.get("scope", {}))
                    for resource in self.resources(trace)
                    for scope in resource.get("scopeSpans", []) for span in scope.get("spans", [])]
        if wait:
            try:
                wait_for(lambda: len(look()) >= wait, 3, "the spans")
            except AssertionError:
                pass
        return look()

    def one(self, trace, wait=0):
        found = self.spans(trace, wait)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans of {trace}")
        return found[0]

    def count(self, trace, wait=0):
        return f"{len(self.spans(trace, wait))} stored"


def value_of(value):
    if not value:
        return None
    kind, inner = next(iter(value.items()))
    if kind == "intValue":
        return int(inner)
    if kind == "arrayValue":
        return [value_of(v) for v in inner.get("values", [])]
    if kind == "kvlistValue":
        return {v["key"]: value_of(v.get("value", {})) for v in inner.get("values", [])}
    if kind == "bytesValue":
        return base64.b64decode(inner)
    return inner


def attributes(owner):
    return {a.get("key", ""): value_of(a.get("value", {})) for a in owner.get("attributes", [])}


def kind_of(span):
    kind = span.get("kind", 0)
    return KINDS.get(kind, 0 if kind == "SPAN_KIND_UNSPECIFIED" else kind)


def status_of(span):
    """ "ERROR boom", "OK", "UNSET"."""
    status = span.get("status", {})
    code = status.get("code", 0)
    return " ".join(filter(None, (str(CODES.get(code, code or "UNSET")), status.get("message"))))


def hex_of(text):
    return base64.b64decode(text or "").hex()


def parent_of(span):
    return hex_of(span.get("parentSpanId")) or "none"


def times_of(span):
    return int(span.get("startTimeUnixNano", 0)), int(span.get("endTimeUnixNano", 0))


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def packed(name, data):
    return {"gzip": gzip.compress, "zstd": zstd}[name](data)


def show(value):
    """Values in a fixed form for the table."""
    return json.dumps(value, sort_keys=True, default=lambda b: b.hex() if isinstance(b, bytes) else str(b))


def be(size, value):
    return struct.pack({2: ">h", 4: ">i", 8: ">q"}[size], value)
