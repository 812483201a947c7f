# SPDX-License-Identifier: Apache-2.0
"""Peers that want to cost us more than they pay: floods of frames, heads, streams and connections,
and slowness in every place where somebody could be slow.

Each test shows the attack stopped, the reason counted, and others served meanwhile."""
import pathlib
import re
import select
import socket
import struct
import subprocess
import time
import unittest

import hpack

from harness import DaemonTest, free_port, http_request, wait_for
from test_auth import FIXTURES, basic
from test_otlp_http import A1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Http2:
    """Frames as bytes; nothing is done on its own but reading."""

    def __init__(self, port, settings=b"", address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout=10)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.encoder = hpack.Encoder()
        self.buffer = b""
        self.seen = []
        self.ended = False

    def head(self, path=PATH, more=(), method="POST"):
        return self.encoder.encode([(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path),
                                    ("content-type", "application/grpc"), ("te", "trailers"), *more])

    def send(self, data):
        """False when the server has hung up."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.ended = True
            return False

    def read(self, seconds=0.0):
        """Reads what is there, at least for some seconds or until the end."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                break
            try:
                more = self.socket.recv(1 << 16)
            except OSError:
                more = b""
            self.ended = not more
            self.buffer += more
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            self.seen.append((kind, flags, stream, self.buffer[9:9 + length]))
            self.buffer = self.buffer[9 + length:]
        return self

    def until_end(self, seconds=10):
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:
            self.read(0.2)
        return self

    def goaway(self):
        """The error of the last GOAWAY, None without."""
        errors = [struct.unpack(">I", payload[4:8])[0] for kind, _, _, payload in self.seen if kind == GOAWAY]
        return errors[-1] if errors else None

    def count(self, kind):
        return sum(1 for seen in self.seen if seen[0] == kind)

    def close(self):
        self.socket.close()


def own_address():
    """An address of this host that is not loopback; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


class HostileNetTest(DaemonTest):
    def start(self, **settings):
        return self.daemon({key.replace("__", "."): value for key, value in settings.items()}).start()

    def refused(self, node, listener, reason):
        return node.metric("fermata_listener_refused_total", f'listener="{listener}",reason="{reason}"')

    def assert_serves(self, node):
        begin = time.monotonic()
        status = http_request(node.ports["http"], "POST", "/v1/traces", A1, {"Content-Type": "application/x-protobuf"})[0]
        self.assertEqual(status, 200)
        self.assertLess(time.monotonic() - begin, 2)

    def memory(self, node):
        text = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    # ---- floods on HTTP/2 ----

    def flood(self, peer, pieces, pause=50):
        """Sends pieces until the server has had enough; how many it took."""
        sent = 0
        for piece in pieces:
            if not peer.send(piece):
                break
            sent += 1
            if sent % pause == 0:
                peer.read()
                if peer.ended or peer.goaway() is not None:
                    break
        peer.until_end(5)
        return sent

    def test_rapid_reset(self):
        node = self.start()
        peer = Http2(node.ports["grpc"])
        block = peer.head()

        def streams():
            for i in range(20000):
                stream = 2 * i + 1
                yield frame(HEADERS, END_HEADERS, stream, block if i == 0 else peer.head()) + \
                    frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        sent = self.flood(peer, streams())
        self.assertLess(sent, 2000)
        self.assertTrue(peer.ended)
        self.assertEqual(peer.goaway(), ENHANCE_YOUR_CALM)
        self.assertEqual(self.refused(node, "otlp_grpc", "flood"), 1)
        self.assert_serves(node)
        node.stop()

    def test_made_you_reset(self):
        """The server is made to reset: windows that overflow, by its own count of RST_STREAM."""
        node = self.start()
        peer = Http2(node.ports["grpc"])

        def streams():
            for i in range(20000):
                stream = 2 * i + 1
                yield frame(HEADERS, END_HEADERS, stream, peer.head()) + \
                    frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0x7fffffff))
        sent = self.flood(peer, streams())
        self.assertLess(sent, 2000)
        self.assertTrue(peer.ended)
        self.assertEqual(peer.goaway(), ENHANCE_YOUR_CALM)
        self.assertEqual(self.refused(node, "otlp_grpc", "flood"), 1)
        self.assert_serves(node)
        node.stop()

    def test_honest_clients_may_hurry(self):
        """Thousands of streams a second that are answered are no flood."""
        node = self.start()
        peer = Http2(node.ports["grpc"])
        body = b"\0" + len(A1).to_bytes(4, "big") + A1
        done = 0
        for i in range(3000):
            stream = 2 * i + 1
            self.assertTrue(peer.send(frame(HEADERS, END_HEADERS, stream, peer.head()) + frame(DATA, END_STREAM, stream, body)))
            while 2 * (i - done) > 100:
                peer.read(0.01)
                done = sum(1 for kind, flags, _, _ in peer.seen if kind == HEADERS and flags & END_STREAM)
            if i % 100 == 0:
                peer.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 16)))
        wait_for(lambda: sum(1 for kind, flags, _, _ in peer.read(0.1).seen
                             if kind == HEADERS and flags & END_STREAM) == 3000, 20, "all answers")
        self.assertIsNone(peer.goaway())
        peer.close()
        node.stop()

    def test_goaway_with_more_behind_it(self):
        """What crosses our end on the wire is read and dropped: no reset takes the answer away."""
        client = Http2(self.start().ports["grpc"])
        client.read(0.2)
        client.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 255)))
        client.until_end(1)
        self.assertTrue(client.ended)
        for _ in range(3):
            client.socket.sendall(frame(PING, 0, 0, b"12345678"))  # raises once it was reset
            time.sleep(0.1)
        client.close()

    def test_continuation_flood(self):
        node = self.start()
        peer = Http2(node.ports["grpc"])
        peer.send(frame(HEADERS, 0, 1, peer.head()))
        sent = self.flood(peer, (frame(CONTINUATION, 0, 1, peer.encoder.encode([(f"x{i}", "y" * 50)]))
                                 for i in range(20000)))
        self.assertLess(sent, 10000)
        self.assertTrue(peer.ended)
        self.assertGreaterEqual(self.refused(node, "otlp_grpc", "flood") + self.refused(node, "otlp_grpc", "protocol"), 1)
        self.assert_serves(node)
        node.stop()

    def test_hpack_bomb(self):
        """A field of 4,000 bytes in the table, then thousands of references of one byte each."""
        node = self.start()
        before = self.memory(node)
        peer = Http2(node.ports["grpc"])
        first = peer.head(more=[("x-bomb", "b" * 3900)])
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, first))
        bomb = peer.head() + b"\xbe" * 15000  # index 62: the newest entry of the table
        for i in range(1, 300):
            if not peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, bomb)):
                break
        peer.until_end(5)
        self.assertTrue(peer.ended)
        self.assert_grew_less(before, self.memory(node), 16 << 20)
        self.assertEqual(self.refused(node, "otlp_grpc", "flood"), 1)
        self.assert_serves(node)
        node.stop()

    def test_control_frames(self):
        node = self.start()
        floods = {
            "ping": lambda i: frame(PING, 0, 0, b"12345678"),
            "settings": lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 + i % 2)),
            "priority": lambda i: frame(PRIORITY, 0, 2 * i + 1, struct.pack(">IB", 0, 1)),
            "window": lambda i: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
            "empty data": None,
        }
        for count, (name, make) in enumerate(floods.items()):
            peer = Http2(node.ports["grpc"])
            if name == "empty data":
                peer.send(frame(HEADERS, END_HEADERS, 1, peer.head()))
                make = lambda i: frame(DATA, 0, 1)  # noqa: E731
            sent = self.flood(peer, (make(i) * 100 for i in range(20000)), pause=1)
            self.assertLess(sent, 10000, name)
            self.assertTrue(peer.ended, name)
            self.assertEqual(self.refused(node, "otlp_grpc", "flood"), count + 1, name)
        self.assert_serves(node)
        node.stop()

    # ---- slowness ----

    def test_slow_heads(self):
        node = self.start(limits__header_timeout="1s", limits__idle_timeout="3s")
        one = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        one.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\n")
        begin, answer = time.monotonic(), b""
        while time.monotonic() - begin < 8:
            try:
                one.sendall(b"X-Slow: y\r\n")
            except OSError:
                break
            if select.select([one], [], [], 0.2)[0]:
                more = one.recv(4096)
                answer += more
                if not more:
                    break
        self.assertLess(time.monotonic() - begin, 5)
        self.assertIn(b" 408 ", answer)
        two = Http2(node.ports["grpc"])  # a head in pieces that never ends
        two.send(frame(HEADERS, 0, 1, two.head()))
        silent = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        two.until_end(8)
        self.assertTrue(two.ended)
        self.assertEqual(silent.recv(100), b"")  # never said anything at all
        self.assertGreaterEqual(self.refused(node, "otlp_http", "timeout"), 1)
        self.assertGreaterEqual(self.refused(node, "otlp_grpc", "timeout"), 1)
        node.stop()

    def test_slow_bodies(self):
        node = self.start(limits__body_timeout="2s")
        one = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        one.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
                    b"Content-Length: 100000\r\n\r\n")
        two = Http2(node.ports["grpc"])
        two.send(frame(HEADERS, END_HEADERS, 1, two.head()))
        begin, answer = time.monotonic(), b""
        while time.monotonic() - begin < 10 and not (b" 408 " in answer and two.count(RST_STREAM)):
            try:
                one.sendall(b"x")
            except OSError:
                pass
            two.send(frame(DATA, 0, 1, b"x"))
            two.read(0.2)
            if select.select([one], [], [], 0)[0]:
                answer += one.recv(4096)
        self.assertIn(b" 408 ", answer)
        self.assertEqual(two.count(RST_STREAM), 1)
        self.assertGreaterEqual(self.refused(node, "otlp_http", "timeout"), 1)
        self.assertGreaterEqual(self.refused(node, "otlp_grpc", "timeout"), 1)
        node.stop()

    def test_windows_that_never_open(self):
        """A hundred answers that nobody takes are not made at once, and not kept."""
        node = self.start(limits__body_timeout="2s")
        closed = struct.pack(">HI", 4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE
        peer = Http2(node.ports["query"], closed)
        for i in range(100):
            head = peer.encoder.encode([(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/metrics")])
            peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, head))
        begin = time.monotonic()
        while peer.count(RST_STREAM) < 100 and not peer.ended and time.monotonic() - begin < 40:
            peer.send(frame(PING, 0, 0, b"12345678"))  # lively, and hungry for nothing
            peer.read(0.5)
        self.assertTrue(peer.ended or peer.count(RST_STREAM) == 100, peer.count(RST_STREAM))
        self.assertGreaterEqual(self.refused(node, "query", "timeout"), 1)
        self.assert_serves(node)
        node.stop()

    def test_handshakes_that_do_not_come(self):
        node = self.start(**{"receiver.otlp_http.tls_cert_file": str(FIXTURES / "server.pem"),
                             "receiver.otlp_http.tls_key_file": str(FIXTURES / "server.key"),
                             "limits.header_timeout": "1s"})
        peers = [socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) for _ in range(40)]
        for peer in peers:
            peer.sendall(b"\x16\x03\x01\x02\x00\x01")  # begins as a ClientHello does
        for peer in peers:
            self.assertEqual(peer.recv(100), b"")
            peer.close()
        done = subprocess.run(["curl", "-sS", "--cacert", str(FIXTURES / "ca.pem"), "-o", "/dev/null", "-w",
                               "%{http_code}", f"https://localhost:{node.ports['http']}/nowhere"],
                              capture_output=True, text=True, timeout=20)
        self.assertEqual(done.stdout, "404", done.stderr)
        node.stop()

    # ---- sizes ----

    def test_heads_that_are_too_large(self):
        node = self.start()
        for head, status in ((b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b" 414 "),
                             (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20000 + b"\r\n\r\n", b" 431 "),
                             (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 150 + b"\r\n", b" 431 ")):
            with socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) as peer:
                peer.sendall(head)
                self.assertIn(status, peer.recv(4096))
        peer = Http2(node.ports["grpc"])
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, peer.head(more=[(f"x{i}", "y" * 30) for i in range(120)])))
        wait_for(lambda: peer.read(0.1).count(HEADERS), 10, "an answer")
        status = hpack.Decoder().decode(next(payload for kind, _, _, payload in peer.seen if kind == HEADERS))[0]
        self.assertEqual(tuple(status), (":status", "431"))
        self.assertEqual(self.refused(node, "otlp_http", "head"), 3)
        self.assertEqual(self.refused(node, "otlp_grpc", "head"), 1)
        peer.close()
        node.stop()

    def test_what_is_sent_ahead_is_bounded(self):
        """Requests behind one that is not answered yet wait in the kernel, but for one read."""
        users = self.directory / "users"
        users.write_text("dora:$2b$14$abcdefghijklmnopqrstuu" + "A" * 31 + "\n")
        node = self.start(**{"receiver.otlp_http.htpasswd_file": str(users)})
        before = self.memory(node)
        peers = [socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) for _ in range(15)]
        for i, peer in enumerate(peers):  # each waits for the hash of those before it, a second long
            peer.sendall(f"GET /nowhere HTTP/1.1\r\nHost: a\r\nAuthorization: "
                         f"{basic('dora', str(i))['Authorization']}\r\n\r\n".encode())
            peer.setblocking(False)
        time.sleep(0.1)
        chunk, sent, deadline = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 2000, 0, time.monotonic() + 2
        while time.monotonic() < deadline and sent < 200 << 20:
            for peer in select.select([], peers, [], 0.1)[1]:
                sent += peer.send(chunk)
        self.assert_grew_less(before, self.memory(node), 16 << 20)
        for peer in peers:
            peer.close()
        node.kill()

    # ---- connections ----

    def test_connections_are_limited(self):
        node = self.start(limits__max_connections="20")
        peers = [socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10) for _ in range(60)]
        wait_for(lambda: self.refused(node, "otlp_http", "connections") == 40, 10, "40 refusals")
        ended = sum(1 for peer in peers if select.select([peer], [], [], 0.1)[0])
        self.assertEqual(ended, 40)
        for peer in peers:
            peer.close()
        wait_for(lambda: node.metric("fermata_listener_connections", 'listener="otlp_http"') == 0, 10, "room")
        self.assert_serves(node)
        node.stop()

    def test_connections_of_one_host_are_limited(self):
        address = own_address()
        if not address:
            self.skipTest("this host has only loopback addresses")
        port = free_port()
        node = self.start(**{"receiver.otlp_http.endpoint": f"0.0.0.0:{port}", "receiver.otlp_http.auth": "none",
                             "limits.max_connections_per_ip": "5"})
        peers = [socket.create_connection((address, port), timeout=10) for _ in range(12)]
        wait_for(lambda: self.refused(node, "otlp_http", "connections_per_ip") == 7, 10, "7 refusals")
        local = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
        local[-1].sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b" 404 ", local[-1].recv(4096))
        for peer in peers + local:
            peer.close()
        node.stop()

    def test_wrong_passwords_of_one_host(self):
        """Another host's guesses: ten, then it waits; whoever was known before does not notice."""
        address = own_address()
        if not address:
            self.skipTest("this host has only loopback addresses")
        users = self.directory / "users"
        users.write_text("alice:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n")
        port = free_port()
        section = "receiver.otlp_http"
        node = self.start(**{f"{section}.endpoint": f"0.0.0.0:{port}", f"{section}.htpasswd_file": str(users),
                             f"{section}.tls_cert_file": str(FIXTURES / "server.pem"),
                             f"{section}.tls_key_file": str(FIXTURES / "server.key")})
        statuses = []
        for i in range(16):
            done = subprocess.run(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                                   "Authorization: " + basic("alice", f"guess {i}")["Authorization"],
                                   f"https://{address}:{port}/"], capture_output=True, text=True, timeout=20)
            statuses.append(done.stdout)
        self.assertEqual(statuses[:10], ["401"] * 10)
        self.assertIn("503", statuses[10:12])
        self.assertGreaterEqual(self.refused(node, "otlp_http", "auth_busy"), 3)
        node.stop()

    # ---- age ----

    def test_old_connections_are_told_to_go(self):
        node = self.start(limits__max_connection_age="2s")
        one = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        two = Http2(node.ports["grpc"])
        body = b"\0" + len(A1).to_bytes(4, "big") + A1
        begin, stream, answers, last = time.monotonic(), 1, 0, b""
        while time.monotonic() - begin < 8 and not (two.ended and b"connection: close" in last.lower()):
            if b"connection: close" not in last.lower():
                one.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
                last = one.recv(4096)
                self.assertIn(b" 404 ", last)
            two.read(0.05)
            if two.goaway() is None and two.send(frame(HEADERS, END_HEADERS, stream, two.head()) +
                                                 frame(DATA, END_STREAM, stream, body)):
                stream += 2
        two.until_end(5)
        self.assertIn(b"connection: close", last.lower())
        self.assertGreater(time.monotonic() - begin, 1.7)
        self.assertTrue(two.ended)
        self.assertEqual(two.goaway(), 0)
        answers = sum(1 for kind, flags, _, _ in two.seen if kind == HEADERS and flags & END_STREAM)
        self.assertEqual(answers, stream // 2)  # nothing was lost
        self.assertGreaterEqual(node.metric("fermata_listener_connections_aged_total", 'listener="otlp_grpc"'), 1)
        one.close()
        node.stop()


if __name__ == "__main__":
    unittest.main()
