# SPDX-License-Identifier: Apache-2.0
"""tempopb.StreamingQuerier on the query port, frame by frame: h2c and TLS."""
import gzip
import pathlib
import socket
import ssl
import struct
import threading
import time
import unittest

import h2.config
import h2.connection

from harness import DaemonTest, request, span, wait_for
from shop import CART, SECOND, TICK, Shop
from test_otlp_grpc import Call as OtlpCall
from test_otlp_grpc import field, framed

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"
SERVICE = "/tempopb.StreamingQuerier/"


class Call(OtlpCall):
    """One stream on one connection to an authority that the query port answers to."""

    def __init__(self, port, path, headers=(), authority="localhost"):
        self.connect(socket.create_connection(("127.0.0.1", port), timeout=10), path, headers, authority)

    def connect(self, connected, path, headers=(), authority="localhost", scheme="http"):
        self.socket = connected
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.headers, self.body, self.ended, self.reset = {}, b"", False, None
        self.h2.initiate_connection()
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, [
            (":method", "POST"), (":scheme", scheme), (":path", path), (":authority", authority),
            ("content-type", "application/grpc"), ("te", "trailers"), *headers])
        self.flush()


class TlsCall(Call):
    """The same over TLS with ALPN."""

    def __init__(self, port, path, context):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        secure = context.wrap_socket(plain, server_hostname="localhost")
        assert secure.selected_alpn_protocol() == "h2"
        self.connect(secure, path, scheme="https")


def messages(body):
    """The messages of a gRPC body."""
    found = []
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        assert flag == 0 and len(body) >= 5 + length, (flag, length, len(body))
        found.append(body[5:5 + length])
        body = body[5 + length:]
    return found


def fields(message):
    """[(number, value)] of a message: numbers as they are, content as bytes."""
    found, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
        elif tag & 7 == 1:
            found.append((tag >> 3, message[at:at + 8]))
            at += 8
        else:
            length = varint()
            found.append((tag >> 3, message[at:at + length]))
            at += length
    return found


def texts(message, number):
    return [value.decode() for n, value in fields(message) if n == number]


def trace_ids(message):
    return [texts(trace, 1)[0] for number, trace in fields(message) if number == 1]


class StreamingTest(DaemonTest):
    def start(self, settings=None):
        self.shop = Shop(self.daemon(settings).start())
        return self.shop

    def call(self, method, message, headers=(), **options):
        call = Call(self.shop.daemon.ports["query"], SERVICE + method, headers=headers, **options)
        return call.send(framed(message), end=True).finish()

    def ok(self, method, message, **options):
        headers, body, reset = self.call(method, message, **options)
        self.assertEqual((headers.get("grpc-status"), reset), ("0", None), headers)
        self.assertEqual(headers["content-type"], "application/grpc")
        return messages(body)

    def window(self, start=5, end=6):
        return field(start, self.shop.start) + field(end, self.shop.end)

    def test_search(self):
        shop = self.start().send()
        question = self.window() + field(8, b"{}") + field(4, 10)
        for place in ("head", "block"):
            last = self.ok("Search", question)[-1]
            self.assertEqual(trace_ids(last), [TICK.lstrip("0"), CART.lstrip("0")], place)
            (metrics,) = [value for number, value in fields(last) if number == 2]
            counts = dict(fields(metrics))
            self.assertEqual(counts.get(4), counts.get(5), place)  # jobs done, jobs
            shop.daemon.flush()
        by_tag = field(1, field(1, b"service.name") + field(2, b"shop"))
        self.assertEqual(trace_ids(self.ok("Search", self.window() + by_tag)[-1]), [CART.lstrip("0")])
        self.assertEqual(trace_ids(self.ok("Search", field(8, b"{}") + field(4, 1))[-1]), [TICK.lstrip("0")])
        self.assertEqual(trace_ids(self.ok("Search", b"")[-1]), [TICK.lstrip("0"), CART.lstrip("0")])

    def test_names_and_values(self):
        shop = self.start().send()
        for place in ("head", "block"):
            (tags,) = self.ok("SearchTags", field(1, b"resource"))
            self.assertEqual(texts(tags, 1), ["service.name"], place)
            (scopes,) = self.ok("SearchTagsV2", b"")
            named = {texts(scope, 1)[0]: texts(scope, 2) for n, scope in fields(scopes) if n == 1}
            self.assertEqual(named["event"], ["cache.key"], place)
            self.assertIn("intrinsic", named)
            (values,) = self.ok("SearchTagValues", field(1, b"service.name"))
            self.assertEqual(sorted(texts(values, 1)), ["batch", "cart", "shop-frontend"], place)
            (values,) = self.ok("SearchTagValuesV2", field(1, b"span.http.status_code") + self.window(4, 5))
            pairs = [(texts(v, 1)[0], texts(v, 2)[0]) for n, v in fields(values) if n == 1]
            self.assertEqual(sorted(pairs), [("int", "200"), ("int", "500")], place)
            shop.daemon.flush()

    def test_metrics(self):
        shop = self.start().send()
        window = field(2, shop.start * SECOND) + field(3, shop.end * SECOND)
        for place in ("head", "block"):
            (answer,) = self.ok("MetricsQueryRange", field(1, b"{} | count_over_time()") + window + field(4, 10 * SECOND))
            (series,) = [value for number, value in fields(answer) if number == 1]
            samples = [dict(fields(value)) for number, value in fields(series) if number == 2]
            self.assertEqual(sum(struct.unpack("<d", s[1])[0] for s in samples if 1 in s), 6, place)
            (answer,) = self.ok("MetricsQueryInstant", field(1, b"{ status = error } | count_over_time()") + window)
            (series,) = [dict(fields(value)) for number, value in fields(answer) if number == 1]
            self.assertEqual(struct.unpack("<d", series[2])[0], 2, place)
            shop.daemon.flush()

    def test_refusals(self):
        self.start()
        for method, message, status, text in (
                ("Search", field(8, b"{foo}"), "3",
                 "invalid TraceQL query: parse error at line 1, col 2: unknown identifier: foo"),
                ("Search", field(8, b"{}") + field(4, 300000), "3", "limit 300000 exceeds max limit 262144"),
                ("Search", field(8, b"{}") + field(9, 101), "3", "spans per span set exceeds 100. received 101"),
                ("Search", b"\x08\xff", "3", "the request is no message of its type"),
                ("SearchTags", field(1, b"bogus"), "3", "invalid scope: bogus"),
                ("SearchTagValuesV2", field(1, b"foo"), "3",
                 "please provide a valid tagName: failed to parse identifier foo: parse error at line 1, col 2: "
                 "unknown identifier: foo"),
                ("MetricsQueryRange", field(1, b"{}"), "3", "not a metrics query"),
                ("Nothing", b"", "12", "unknown service or method")):
            headers, body, reset = self.call(method, message)
            self.assertEqual((headers[":status"], headers.get("grpc-status"), headers.get("grpc-message"), body, reset),
                             ("200", status, text, b"", None), method)
        call = Call(self.shop.daemon.ports["query"], SERVICE + "Search")
        self.assertEqual(call.send(framed(b"") * 2, end=True).finish()[0]["grpc-status"], "13")
        call = Call(self.shop.daemon.ports["query"], SERVICE + "Search")
        self.assertEqual(call.send(framed(b"x" * 300_000), end=True).finish()[0]["grpc-status"], "8")
        headers = self.call("Search", field(8, b"{}"), headers=[("x-scope-orgid", "a/b")])[0]
        self.assertEqual(headers["grpc-status"], "3")
        headers = self.call("Search", field(8, b"{}"), authority="rebound.example")[0]
        self.assertEqual((headers["grpc-status"], headers["grpc-message"]), ("7", "host not allowed"))

    def test_compressed_question_health_and_tenants(self):
        shop = self.start()
        other = Shop(shop.daemon, "two").send()
        self.assertEqual(trace_ids(self.ok("Search", field(8, b"{}"))[-1]), [])
        tenant = [("x-scope-orgid", "two")]
        self.assertEqual(len(trace_ids(self.ok("Search", field(8, b"{}"), headers=tenant)[-1])), 2)
        call = Call(shop.daemon.ports["query"], SERVICE + "Search", headers=[*tenant, ("grpc-encoding", "gzip")])
        headers, body, _ = call.send(framed(gzip.compress(field(8, b"{}")), 1), end=True).finish()
        self.assertEqual((headers["grpc-status"], len(trace_ids(messages(body)[-1]))), ("0", 2))
        call = Call(shop.daemon.ports["query"], SERVICE + "Search", headers=[("grpc-encoding", "br")])
        self.assertEqual(call.send(framed(b"x", 1), end=True).finish()[0]["grpc-status"], "12")
        call = Call(shop.daemon.ports["query"], "/grpc.health.v1.Health/Check")
        headers, body, _ = call.send(framed(b""), end=True).finish()
        self.assertEqual((headers["grpc-status"], messages(body)), ("0", [b"\x08\x01"]))
        self.assertEqual(len(other.ask("/api/search", q="{}")["traces"]), 2)

    def test_many_traces_in_many_messages(self):
        """More than a client takes in one message: several, all under the limit, nothing twice."""
        shop = self.start()
        count, long_name = 3000, "n" * 900
        for begin in range(0, count, 500):
            shop.daemon.send(request([span(f"{i + 1:032x}", f"{i + 1:016x}", name=long_name, start=shop.base_ns + i)
                                      for i in range(begin, begin + 500)]))
        for place in ("head", "block"):
            parts = self.ok("Search", self.window() + field(8, b"{} | select(name)") + field(4, count))
            self.assertGreater(len(parts), 1)
            self.assertLess(max(map(len, parts)), 2.1 * 2**20)
            ids = [i for part in parts for i in trace_ids(part)]
            self.assertEqual(set(ids), {f"{i + 1:x}" for i in range(count)}, place)
            for part in parts:
                self.assertEqual(len([1 for number, _ in fields(part) if number == 2]), 1)
            shop.daemon.flush()

    def test_parts_come_before_the_end(self):
        """Several blocks: what a part brings, the last message brings again."""
        shop = self.start()
        for block in range(4):
            shop.daemon.send(request([span(f"{block * 100 + i + 1:032x}", f"{i + 1:016x}",
                                           start=shop.base_ns + block * SECOND + i) for i in range(50)]))
            shop.daemon.flush()
        parts = self.ok("Search", self.window() + field(8, b"{}") + field(4, 300))
        last = trace_ids(parts[-1])
        self.assertEqual(len(last), 200)
        before = [i for part in parts[:-1] for i in trace_ids(part)]
        self.assertEqual(len(before), len(set(before)))
        self.assertLessEqual(set(before), set(last))

    def test_a_client_that_resets_its_stream(self):
        shop = self.start().send()
        for _ in range(20):
            call = Call(shop.daemon.ports["query"], SERVICE + "Search")
            call.send(framed(field(8, b"{}")), end=True)
            call.h2.reset_stream(call.stream)
            call.flush()
            call.socket.close()
        self.assertEqual(len(trace_ids(self.ok("Search", field(8, b"{}"))[-1])), 2)
        shop.daemon.stop()

    def test_a_client_that_does_not_read(self):
        shop = self.start()
        shop.daemon.send(request([span(f"{i + 1:032x}", f"{i + 1:016x}", name="n" * 500, start=shop.base_ns + i)
                                  for i in range(1000)]))
        call = Call(shop.daemon.ports["query"], SERVICE + "Search")
        call.send(framed(field(8, b"{} | select(name)") + field(4, 1000)), end=True)
        time.sleep(0.5)  # the answer is larger than the windows
        self.assertEqual(len(trace_ids(self.ok("Search", field(8, b"{}") + field(4, 5))[-1])), 5)
        headers, body, reset = call.finish()
        self.assertEqual((headers["grpc-status"], reset), ("0", None))
        self.assertEqual(len({i for part in messages(body) for i in trace_ids(part)}), 1000)

    def test_at_once(self):
        shop = self.start().send()
        found = []

        def ask():
            found.append(len(trace_ids(self.ok("Search", field(8, b"{}"))[-1])))
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [2] * 16)
        self.assertEqual(shop.daemon.metric("fermata_api_questions_total", 'question="search"'), 16)

    def test_over_tls(self):
        context = ssl.create_default_context(cafile=str(FIXTURES / "ca.pem"))
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        context.set_alpn_protocols(["h2"])
        node = self.daemon({"query.tls_cert_file": str(FIXTURES / "server.pem"),
                            "query.tls_key_file": str(FIXTURES / "server.key")})
        node.start(wait=False)
        wait_for(lambda: "ready" in node.log_text(), 20, "the daemon")
        wait_for(lambda: self.connects(node.ports["query"]), 20, "the query port")
        self.shop = Shop(node).send()
        call = TlsCall(node.ports["query"], SERVICE + "Search", context)
        headers, body, reset = call.send(framed(field(8, b"{}")), end=True).finish()
        self.assertEqual((headers["grpc-status"], reset), ("0", None))
        self.assertEqual(len(trace_ids(messages(body)[-1])), 2)

    @staticmethod
    def connects(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return True
        except OSError:
            return False


if __name__ == "__main__":
    unittest.main()
