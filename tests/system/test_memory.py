# SPDX-License-Identifier: Apache-2.0
"""Memory under load that means harm: half-sent bodies, bombs and dear translations, all at once.  What
the daemon holds stays under limits.memory_limit plus BASE, other tenants get through meanwhile, and
afterwards nothing is left."""
import gzip
import json
import pathlib
import socket
import threading
import time
import unittest

from harness import DaemonTest, http_request, request, span, wait_for
from test_otlp_grpc import Call, framed, make_request, make_span

MIB = 1 << 20
LIMIT = 64 * MIB
BASE = 24 * MIB  # the program, its threads, the log's pending bytes, sockets; see docs/OPERATIONS.md
TRACE = "0af7651916cd43dd8448eb211c80319c"
BIG = "00000000000000aa"


def half_sent(port, tenant, announced, sent):
    """A connection that owes the rest of its body; the daemon may have refused it already."""
    s = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        s.sendall(f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Scope-OrgID: {tenant}\r\n"
                  f"Content-Type: application/x-protobuf\r\nContent-Length: {announced}\r\n\r\n".encode())
        s.sendall(bytes(sent))
    except OSError:
        pass
    return s


def json_body(size):
    """OTLP/JSON of about size bytes: spans with many small attributes."""
    attributes = {f"key-{i}": i for i in range(40)}
    one = json.dumps(span(TRACE, BIG, attributes=attributes))
    empty = json.dumps(request([{"here": 1}]))
    return empty.replace('{"here": 1}', ", ".join([one] * max(1, size // len(one)))).encode()


def proto_bomb(size):
    """gzip of a request that is one attribute of blanks: valid, and 1,000 times as large."""
    value = b" " * size
    return gzip.compress(make_request(make_span(bytes.fromhex(TRACE), *_attribute(value))), 9)


def _attribute(value):
    from test_otlp_grpc import field
    return (field(9, field(1, b"k") + field(2, field(1, value))),)


class Watch(threading.Thread):
    """The most resident memory of a process while it is watched."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.peak, self.over = pathlib.Path(f"/proc/{pid}/statm"), 0, threading.Event()

    def run(self):
        while not self.over.is_set():
            self.peak = max(self.peak, int(self.path.read_text().split()[1]) * 4096)
            time.sleep(0.005)

    def stop(self):
        self.over.set()
        self.join()
        return self.peak


class Crowd:
    """Threads that each call something until they are told to stop; statuses are counted."""

    def __init__(self):
        self.over, self.threads, self.statuses, self.lock = threading.Event(), [], {}, threading.Lock()

    def add(self, label, call, count=1):
        def run():
            while not self.over.is_set():
                try:
                    status = call()
                except OSError:
                    status = "closed"
                with self.lock:
                    key = (label, status)
                    self.statuses[key] = self.statuses.get(key, 0) + 1
        for _ in range(count):
            self.threads.append(threading.Thread(target=run, daemon=True))
            self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        return self.statuses


class MemoryTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({
            "limits.memory_limit": str(LIMIT), "limits.max_body_bytes": "8MiB",
            "limits.max_decompressed_bytes": "16MiB", "limits.max_decompression_ratio": "2000",
            "limits.max_connections_per_ip": "1024"}).start()

    def post(self, body, tenant, port="http", path="/v1/traces", **headers):
        head = {"X-Scope-OrgID": tenant, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return http_request(self.node.ports[port], "POST", path, body, head)[0]

    def small(self, tenant="small", name="00000000000000bb"):
        return self.node.send(request([span(TRACE, name)]), tenant)[0]

    def used(self):
        return self.node.metric("fermata_memory_used_bytes")

    def settle(self):
        wait_for(lambda: self.used() == 0, 20, "the budget to be free")

    def test_a_hog_leaves_room(self):
        self.assertEqual(self.small(), 200)
        held = [half_sent(self.node.ports["http"], "hog", 8 * MIB, 4 * MIB) for _ in range(30)]
        time.sleep(0.5)
        used = self.used()
        self.assertTrue(LIMIT * 0.5 < used <= LIMIT * 0.81, used)
        self.assertGreater(self.node.metric("fermata_memory_share_refusals_total"), 0)
        self.assertEqual([self.small() for _ in range(50)], [200] * 50)
        self.assertEqual(self.post(json_body(256 << 10), "other", Content_Type="application/json"), 200)
        for s in held:
            s.close()
        self.settle()
        self.node.stop()

    def test_one_tenant_may_have_all(self):
        held = [half_sent(self.node.ports["http"], "one", 8 * MIB, 8 * MIB - 1) for _ in range(8)]
        wait_for(lambda: self.used() > LIMIT * 0.99, 10, "all of it to be held")
        for s in held:
            s.close()
        self.settle()
        self.node.stop()

    def test_strangers_share_what_a_tenant_gets(self):
        held = [half_sent(self.node.ports["http"], f"no/name/{i}", 8 * MIB, 4 * MIB) for i in range(30)]
        time.sleep(0.5)
        self.assertLess(self.used(), LIMIT * 0.81)
        self.assertEqual([self.small() for _ in range(20)], [200] * 20)
        for s in held:
            s.close()
        self.settle()
        self.node.stop()

    def test_everything_at_once(self):
        node = self.node
        self.assertEqual(self.small(), 200)
        before = int(pathlib.Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * 4096
        bomb, large_json = proto_bomb(6 * MIB), json_body(7 * MIB)
        zipped_json = gzip.compress(json_body(6 * MIB))
        watch, crowd = Watch(node.process.pid), Crowd()
        watch.start()
        held = [half_sent(node.ports["http"], "hog", 8 * MIB, 4 * MIB) for _ in range(3)]
        calls = []
        for _ in range(10):
            call = Call(node.ports["grpc"], headers=(("x-scope-orgid", "hog"),))
            call.send(bytes(512 << 10))
            calls.append(call)
        protobuf, text = "application/x-protobuf", "application/json"
        crowd.add("bomb", lambda: self.post(bomb, "bomber", Content_Type=protobuf, Content_Encoding="gzip"), 4)
        crowd.add("json", lambda: self.post(large_json, "writer", Content_Type=text), 2)
        crowd.add("zip", lambda: self.post(zipped_json, "writer", Content_Type=text, Content_Encoding="gzip"), 2)
        crowd.add("held", lambda: half_sent(node.ports["http"], "hog", 8 * MIB, MIB).close())
        statuses, deadline = [], time.monotonic() + 6
        while time.monotonic() < deadline:
            statuses.append(self.small())
            time.sleep(0.02)
        counts = crowd.stop()
        for s in held:
            s.close()
        for call in calls:
            call.socket.close()
        peak = watch.stop()
        print(f"rss {before >> 20} -> {peak >> 20} MiB; small {len(statuses)}; {counts}", flush=True)
        self.assertEqual(set(statuses), {200})
        self.assertLessEqual(node.metric("fermata_memory_peak_bytes"), LIMIT)
        self.assert_grew_less(0, peak, LIMIT + BASE)
        for label in ("bomb", "json", "zip"):
            self.assertLessEqual({s for name, s in counts if name == label}, {200, 413, 503, "closed"})
        self.settle()
        self.assertEqual(self.post(bomb, "bomber", Content_Type=protobuf, Content_Encoding="gzip"), 200)
        self.assertEqual(len(node.span_ids(TRACE, "small")), 1)
        node.stop()


if __name__ == "__main__":
    unittest.main()
