# SPDX-License-Identifier: Apache-2.0
"""Bodies made to cost more than they weigh, through the live daemon: bombs, counts, depths, numbers,
text that is none.  Each is answered in bounded time and memory, leaves nothing of the budget behind,
and the next good request is served."""
import gzip
import json
import pathlib
import socket
import struct
import subprocess
import time
import unittest
import zlib

from harness import DaemonTest, http_request, request, span, wait_for
from test_otlp_grpc import Call, field, framed, make_request, make_span, varint

MIB = 1 << 20
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "00000000000000aa"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
THRIFT = {"Content-Type": "application/x-thrift"}


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, capture_output=True, check=True).stdout


def nested_value(depth):
    """AnyValue in AnyValue: arrays of one."""
    value = field(1, b"x")
    for _ in range(depth):
        value = field(5, field(1, value))
    return value


def nested_json(depth):
    return ('{"arrayValue":{"values":[' * depth + '{"stringValue":"x"}' + "]}}" * depth)


def json_request(value):
    """A request whose one span has an attribute of this JSON text."""
    text = json.dumps(request([span(TRACE, SPAN, attributes={"k": "MARK"})]))
    return text.replace('{"stringValue": "MARK"}', value).encode()


def thrift_binary_batch(spans):
    """The struct Batch: process, then the bytes of its span list."""
    process = b"\x0b\x00\x01" + struct.pack(">i", 1) + b"s" + b"\x00"
    return b"\x0c\x00\x01" + process + b"\x0f\x00\x02" + spans + b"\x00"


def emit_binary(batch):
    return b"\x80\x01\x00\x04" + struct.pack(">i", 9) + b"emitBatch" + bytes(4) + b"\x0c\x00\x01" + batch + b"\x00"


def emit_compact(batch):
    return b"\x82\x81\x00\x09emitBatch" + b"\x1c" + batch + b"\x00"


class HostileTest(DaemonTest):
    settings = {}
    rss_max = 24 * MIB  # more than before the test

    def setUp(self):
        super().setUp()
        self.node = self.daemon(self.settings).start()
        self.good()
        self.before = self.rss()

    def tearDown(self):
        if not self.node.process:
            return
        wait_for(lambda: self.node.metric("fermata_memory_used_bytes") == 0, 10, "the budget")
        self.assert_grew_less(self.before, self.rss(), self.rss_max)
        self.good()
        self.node.stop()

    def rss(self):
        """The most it ever was."""
        text = pathlib.Path(f"/proc/{self.node.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def good(self):
        self.assertEqual(self.node.send(request([span("ee" * 16, SPAN)]))[0], 200)

    def post(self, body, headers=None, port="http", path="/v1/traces", seconds=3.0):
        begin = time.monotonic()
        status, _, answer = http_request(self.node.ports[port], "POST", path, body, headers or PROTOBUF)
        self.assertLess(time.monotonic() - begin, seconds)
        return status, answer.decode(errors="replace")

    def export(self, data, flag=0, headers=()):
        answer, _, _ = Call(self.node.ports["grpc"], headers=headers).send(framed(data, flag), end=True).finish()
        return int(answer["grpc-status"])


class BombTest(HostileTest):
    def test_ratio(self):
        plain = make_request(make_span(bytes.fromhex(TRACE), field(9, field(1, b"k") + field(2, field(1, bytes(60 * MIB))))))
        for name, body in (("gzip", gzip.compress(plain, 9)), ("deflate", zlib.compress(plain, 9)),
                           ("zstd", zstd(plain, "-19", "--long=23"))):
            self.assertLess(len(body), MIB // 8)
            status, text = self.post(body, {**PROTOBUF, "Content-Encoding": name})
            self.assertEqual(status, 400, text)
            self.assertIn("max_decompression_ratio", text)
            if name != "deflate":
                self.assertEqual(self.export(body, 1, (("grpc-encoding", name),)), 8)

    def test_bombs_in_bombs(self):
        inner = gzip.compress(bytes(8 * MIB), 9)
        self.assertEqual(self.post(gzip.compress(inner), {**PROTOBUF, "Content-Encoding": "gzip, gzip"})[0], 400)
        self.assertEqual(self.post(gzip.compress(inner), {**PROTOBUF, "Content-Encoding": "gzip"})[0], 400)

    def test_many_members(self):
        body = gzip.compress(b"", 9) * 40000  # each of 20 bytes, all of nothing
        self.assertIn(self.post(body, {**PROTOBUF, "Content-Encoding": "gzip"})[0], (200, 400))

    def test_zstd_window(self):
        """A frame of 21 bytes that asks its decoder to keep 128 MiB."""
        window = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(27 - 10) << 3])
        frame = window + struct.pack("<I", 0x01 | 0 << 1 | 5 << 3)[:3] + b"hello"
        status, text = self.post(frame, {**PROTOBUF, "Content-Encoding": "zstd"})
        self.assertEqual(status, 400, text)
        self.assertEqual(self.export(frame, 1, (("grpc-encoding", "zstd"),)), 8)
        skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 0xFFFFFFFF)
        self.assertEqual(self.post(skippable, {**PROTOBUF, "Content-Encoding": "zstd"})[0], 400)

    rss_max = 20 * MIB


class CountTest(HostileTest):
    settings = {"limits.memory_limit": "256MiB", "limits.max_decompressed_bytes": "64MiB",
                "limits.max_decompression_ratio": "100000"}
    rss_max = 120 * MIB  # the 64 MiB of the test themselves, and room that was guessed for them

    def test_millions_of_empty_spans(self):
        count = 33_000_000
        spans = bytes([0x12, 0]) * count
        plain = field(1, field(2, spans))
        body = zstd(plain)
        status, text = self.post(body, {**PROTOBUF, "Content-Encoding": "zstd"})
        self.assertEqual(status, 413, text)
        self.assertIn("spans", text)
        self.assertEqual(self.export(body, 1, (("grpc-encoding", "zstd"),)), 8)

    def test_millions_of_empty_messages(self):
        """Resources, scopes, attributes, events, links: two bytes each on the wire."""
        for plain in (bytes([0x0a, 0]) * (8 * MIB - 1), field(1, bytes([0x12, 0]) * (7 * MIB)),
                      make_request(make_span(bytes.fromhex(TRACE), bytes([0x4a, 0]) * (7 * MIB))),
                      make_request(make_span(bytes.fromhex(TRACE), bytes([0x5a, 0]) * (7 * MIB))),
                      make_request(make_span(bytes.fromhex(TRACE), bytes([0x6a, 0]) * (7 * MIB)))):
            self.assertIn(self.post(plain[:16 * MIB])[0], (200, 400, 413))
            self.assertEqual(self.node.span_ids("ee" * 16), [SPAN])  # it answers others

    def test_many_empty_spans_in_json(self):
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 5_000_000 + b"{}]}]}]}"
        self.assertEqual(self.post(body, JSON)[0], 413)


class DepthTest(HostileTest):
    def test_protobuf(self):
        def body(depth):
            return make_request(make_span(bytes.fromhex(TRACE), field(9, field(1, b"k") + field(2, nested_value(depth)))))

        def answered(value):
            depth = 0
            while "arrayValue" in value:
                value, depth = value["arrayValue"]["values"][0], depth + 1
            return depth, value
        for number, depth in enumerate((10, 64, 65, 500, 10_000)):
            trace = bytes([number + 1]) * 16
            message = body(depth).replace(bytes.fromhex(TRACE), trace)
            status, text = self.post(message)
            self.assertEqual(status, 200, (depth, text))
            self.assertEqual(self.export(message), 0)
            for _ in ("head", "block"):
                found = self.node.trace(trace.hex())["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
                stored, leaf = answered(found["attributes"][0]["value"])
                self.assertEqual((stored, leaf), (10, {"stringValue": "x"}) if depth == 10 else (stored, {}))
                self.assertLessEqual(stored, 64)
                _, _, raw = http_request(self.node.ports["query"], "GET", f"/api/traces/{trace.hex()}",
                                         headers={"Accept": "application/protobuf"})
                self.assertLess(len(raw), 1500)  # the deeper ones are not stored either
                self.node.flush()

    def test_groups(self):
        for depth in (64, 10_000, 1_000_000):
            self.assertEqual(self.post(varint(300 << 3 | 3) * depth + varint(300 << 3 | 4) * depth)[0], 400)

    def test_json(self):
        self.assertEqual(self.post(json_request(nested_json(8)), JSON)[0], 200)
        for depth in (64, 10_000):
            self.assertEqual(self.post(json_request(nested_json(depth)), JSON)[0], 400)
        for depth in (200, 1_000_000):
            for opening in (b"[", b'{"a":'):
                self.assertEqual(self.post(opening * depth, JSON)[0], 400)
                unknown = b'{"unknown":' + opening * depth
                self.assertEqual(self.post(unknown, JSON)[0], 400)
                self.assertEqual(self.post(b"[" + unknown, JSON, "zipkin", "/api/v2/spans")[0], 400)
        self.assertEqual(self.post(b'{"unknown":' + b"[" * 30 + b"]" * 30 + b"}", JSON)[0], 200)
        for depth in (65, 10_000, 1_000_000):  # without a fault but their depth
            whole = b'{"unknown":' + b"[" * depth + b"]" * depth + b"}"
            self.assertEqual(self.post(whole, JSON)[0], 400)
            self.assertEqual(self.post(b"[" + whole + b"]", JSON, "zipkin", "/api/v2/spans")[0], 400)

    def test_thrift(self):
        """Structs in structs, lists in lists, maps in maps, in fields that nobody knows."""
        for unit in (b"\x0c\x00\x63", b"\x0f\x00\x63\x0f\x00\x00\x00\x01", b"\x0d\x00\x63\x08\x0d\x00\x00\x00\x01"):
            for depth in (100, 10_000, 200_000):
                status, text = self.post(unit * depth, THRIFT, "jaeger_http", "/api/traces")
                self.assertIn(status, (400, 413), (unit, depth, text))
        for depth, statuses in ((10, (202,)), (100, (400, 413)), (10_000, (400, 413)), (1_000_000, (400, 413))):
            whole = thrift_binary_batch(b"\x0c" + bytes(4))[:-1] + b"\x0c\x00\x63" * depth + b"\x00" * (depth + 1)
            self.assertIn(self.post(whole, THRIFT, "jaeger_http", "/api/traces")[0], statuses, depth)


class ThriftTest(HostileTest):
    def send(self, port, datagram):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(datagram, ("127.0.0.1", self.node.ports[port]))

    def dropped(self):
        return self.node.metric("fermata_receiver_dropped_datagrams_total")

    def test_counts_and_lengths(self):
        huge = (0x7FFFFFFF, 0x40000000, 0x00FFFFFF, -1, -0x80000000)
        batches = []
        for count in huge:
            for element in (0x0c, 0x0b, 0x03, 0x0a, 0x00):  # structs, strings, bytes, i64, nothing
                batches.append(thrift_binary_batch(bytes([element]) + struct.pack(">i", count)))
            tags = b"\x0f\x00\x0a\x0c" + struct.pack(">i", count)
            batches.append(thrift_binary_batch(b"\x0c" + struct.pack(">i", 1) + tags))
            name = b"\x0b\x00\x05" + struct.pack(">i", count)
            batches.append(thrift_binary_batch(b"\x0c" + struct.pack(">i", 1) + name))
            unknown_map = b"\x0d\x00\x63\x0b\x0b" + struct.pack(">i", count)
            batches.append(thrift_binary_batch(b"\x0c" + struct.pack(">i", 1) + unknown_map))
        for batch in batches:
            status, text = self.post(batch, THRIFT, "jaeger_http", "/api/traces")
            self.assertEqual(status, 400, (batch, text))
        before = self.dropped()
        for batch in batches:
            self.send("binary", emit_binary(batch))
        wait_for(lambda: self.dropped() == before + len(batches), 10, "the drops")

    def test_compact(self):
        process = b"\x1c\x18\x01s\x00"
        before, sent = self.dropped(), 0
        for count in (b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80" * 20):
            for element in (0xFC, 0xF8, 0xF3, 0xF6, 0xF0, 0xF1):
                self.send("compact", emit_compact(process + b"\x19" + bytes([element]) + count))
                sent += 1
            self.send("compact", emit_compact(process + b"\x19\x1c\x58" + count))  # a span's name
            self.send("compact", b"\x82\x81\x00" + count)  # the method's name
            sent += 2
        for depth in (100, 60_000):
            self.send("compact", emit_compact(b"\x1c" * depth))
            sent += 1
        wait_for(lambda: self.dropped() == before + sent, 10, "the drops")

    def test_zipkin_lists(self):
        for element, count in ((0x0c, 0x7FFFFFFF), (0x0c, -1), (0x0f, 0x10000000), (0x00, 0x7FFFFFFF)):
            body = bytes([element]) + struct.pack(">i", count)
            self.assertEqual(self.post(body, THRIFT, "zipkin", "/api/v1/spans")[0], 400)


class TextTest(HostileTest):
    def test_numbers(self):
        bad = ["NaN", "Infinity", "-Infinity", "nan", "0x10", "1e", "--1", "01", "1.", ".5", "+1", "1e+", "1_0"]
        for number in bad:
            self.assertEqual(self.post(json_request('{"doubleValue": %s}' % number), JSON)[0], 400, number)
        self.assertEqual(self.post(json_request('{"doubleValue": "NaN"}'), JSON)[0], 200)  # protobuf's spelling
        for number in ("9" * 1_000_000, "1" + "0" * 1_000_000 + "e-999999", "0." + "0" * 2_000_000 + "1",
                       "1e" + "9" * 1_000_000, "-" * 1_000_000):
            for kind in ("doubleValue", "intValue"):
                self.assertIn(self.post(json_request('{"%s": %s}' % (kind, number)), JSON)[0], (200, 400))
                quoted = self.post(json_request('{"%s": "%s"}' % (kind, number)), JSON)[0]
                self.assertIn(quoted, (200, 400))
        for i, number in enumerate(("9223372036854775808", "-9223372036854775809", "1e400", "1.5")):
            trace = f"{i + 1:032x}"
            text = json_request('{"intValue": "%s"}' % number).replace(TRACE.encode(), trace.encode())
            self.assertEqual(self.post(text, JSON)[0], 200, number)
            found = self.node.trace(trace)["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
            self.assertEqual(found["attributes"], [{"key": "k", "value": {}}])  # as otlp.md says
        zipkin = '[{"traceId":"%s","id":"%s","timestamp":%s}]'
        for number in ("NaN", "1" * 1_000_000, "1e999999999"):
            self.assertIn(self.post((zipkin % (TRACE, SPAN, number)).encode(), JSON, "zipkin", "/api/v2/spans")[0],
                          (202, 400))

    def test_text_that_is_none(self):
        """Repaired where protobuf carries it, refused or repaired in JSON, and never an answer that is
        not UTF-8."""
        for number, bad in enumerate((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82", b"\x80" * 1000)):
            trace = bytes([number + 1]) * 16
            body = field(1, trace) + field(2, b"\x0a" * 8) + field(5, bad)
            body += field(9, field(1, bad) + field(2, field(1, bad)))
            self.assertEqual(self.post(make_request(body))[0], 200, bad)
            status, _, answer = http_request(self.node.ports["query"], "GET", f"/api/v2/traces/{trace.hex()}")
            self.assertEqual(status, 200)
            self.assertIn("\ufffd", json.dumps(json.loads(answer.decode("utf-8")), ensure_ascii=False))
            text = json_request('{"stringValue": "MARK"}').replace(b"MARK", bad)
            self.assertIn(self.post(text, JSON)[0], (200, 400))

    def test_escapes(self):
        for text in ('"\\ud800"', '"\\u12"', '"\\x"', '"\\'):
            self.assertIn(self.post(json_request('{"stringValue": %s}' % text), JSON)[0], (200, 400), text)
        long = '{"stringValue": "' + "\\u0000" * 500_000 + '"}'
        self.assertIn(self.post(json_request(long), JSON)[0], (200, 400))
        keys = "{" + ",".join(f'"k{i}":0' for i in range(300_000)) + "}"
        self.assertIn(self.post(keys.encode(), JSON)[0], (200, 400, 413))


if __name__ == "__main__":
    unittest.main()
