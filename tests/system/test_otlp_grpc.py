# SPDX-License-Identifier: Apache-2.0
"""OTLP/gRPC on the wire, frame by frame, with python3-h2 as the client.  gN in a name
is the row of the protocol checklist that it covers."""
import base64
import gzip
import socket
import struct
import subprocess
import unittest

import h2.config
import h2.connection
import h2.events
import h2.settings

from harness import DaemonTest, http_request, wait_for
from test_otlp_http import A1, TRACE

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def framed(message, flag=0):
    return struct.pack(">BI", flag, len(message)) + message


class Call:
    """One stream on one connection; data may be sent in pieces."""

    def __init__(self, port, path=EXPORT, headers=(), method="POST", content_type="application/grpc",
                 end_stream=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.headers, self.body, self.ended, self.reset = {}, b"", False, None
        self.h2.initiate_connection()
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, [
            (":method", method), (":scheme", "http"), (":path", path), (":authority", "x"),
            ("content-type", content_type), ("te", "trailers"), *headers], end_stream=end_stream)
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def receive(self):
        """Takes in what the server sent; False at the end of the connection."""
        data = self.socket.recv(65536)
        for event in self.h2.receive_data(data) if data else ():
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                self.headers.update(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.ended, self.reset = True, event.error_code
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
        self.flush()
        return bool(data)

    def send(self, data, end=False, pieces=None):
        for i in range(0, len(data), pieces or 16384):
            part = data[i:i + (pieces or 16384)]
            while not self.ended and self.h2.local_flow_control_window(self.stream) < len(part):
                self.receive()
            if self.ended:  # the server answered without waiting for the rest
                return self
            self.h2.send_data(self.stream, part)
            if pieces:
                self.h2.send_data(self.stream, b"")
            self.flush()
        if end:
            self.h2.end_stream(self.stream)
            self.flush()
        return self

    def finish(self):
        """Returns (headers and trailers in one dict, body, reset code or None)."""
        while not self.ended:
            if not self.receive():
                self.ended, self.reset = True, "closed"
        self.socket.close()
        return self.headers, self.body, self.reset


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, value):
    """A protobuf field: bytes are length-delimited, numbers are varints."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def fixed32(number, value):
    return varint(number << 3 | 5) + struct.pack("<I", value)


def string_attribute(key, text):
    return field(1, key) + field(2, field(1, text))


SERVICE = field(1, field(1, string_attribute(b"service.name", b"svc")))
UNKNOWN = (field(200, 7) + fixed64(201, 7) + field(202, b"seven") + fixed32(203, 7) +
           varint(204 << 3 | 3) + field(1, 1) + varint(205 << 3 | 3) + varint(205 << 3 | 4) +
           varint(204 << 3 | 4))


def make_span(trace, *fields, span_id=b"\x0a" * 8):
    return field(1, trace) + field(2, span_id) + field(5, b"n") + b"".join(fields)


def make_request(*spans, resource=SERVICE, number=2):
    return field(1, resource + field(number, b"".join(field(2, span) for span in spans)))


class PaddedCall(Call):
    """Sends HEADERS padded and cut into CONTINUATION frames, DATA padded."""

    def flush(self):
        data, out = self.h2.data_to_send(), b""
        if data.startswith(b"PRI"):
            data, out = data[24:], data[:24]
        while data:
            length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            stream, payload, data = data[5:9], data[9:9 + length], data[9 + length:]

            def frame(kind, flags, payload, stream=stream):
                return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream + payload
            if kind == 1:
                out += frame(1, flags & 1 | 8, b"\x05" + payload[:9] + bytes(5))
                out += frame(9, 0, payload[9:20]) + frame(9, 4, payload[20:])
            elif kind == 0:
                out += frame(0, flags | 8, b"\x09" + payload + bytes(9))
            else:
                out += frame(kind, flags, payload)
        self.socket.sendall(out)


class OtlpGrpcTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({"limits.max_body_bytes": "1MiB",
                                 "limits.max_decompressed_bytes": "1MiB"}).start()
        self.port = self.node.ports["grpc"]

    def tearDown(self):
        self.node.stop()

    def export(self, data, **keywords):
        return Call(self.port, **keywords).send(data, end=True).finish()

    def assert_status(self, result, code):
        self.assertEqual(result[0].get("grpc-status"), str(code), result)

    def test_g1_plain_export(self):
        for port in (self.port, self.node.ports["http"]):
            headers, body, reset = Call(port).send(framed(A1), end=True).finish()
            self.assertEqual((headers[":status"], headers["grpc-status"], body, reset),
                             ("200", "0", b"\0\0\0\0\0", None))
            self.assertEqual(headers["content-type"], "application/grpc")
        self.assertEqual(self.node.span_ids(TRACE), ["eee19b7ec3c1b174"])

    def test_g2_g3_empty(self):
        for message in (b"", b"\x0a\x00", b"\x0a\x02\x12\x00"):
            self.assert_status(self.export(framed(message)), 0)

    def test_g4_to_g10_compression(self):
        encoding = (("grpc-encoding", "gzip"),)
        self.assert_status(self.export(framed(gzip.compress(A1), 1), headers=encoding), 0)
        two = gzip.compress(A1[:40]) + gzip.compress(A1[40:])
        self.assert_status(self.export(framed(two, 1), headers=encoding), 0)
        zstd = subprocess.run(["zstd", "-q", "-c"], input=A1, capture_output=True, check=True).stdout
        self.assert_status(self.export(framed(zstd, 1), headers=(("grpc-encoding", "zstd"),)), 0)
        self.assert_status(self.export(framed(A1, 1)), 13)
        result = self.export(framed(A1, 1), headers=(("grpc-encoding", "br"),))
        self.assert_status(result, 12)
        self.assertIn("gzip", result[0]["grpc-accept-encoding"])
        self.assert_status(self.export(framed(A1, 2)), 13)
        self.assert_status(self.export(framed(b"not gzip", 1), headers=encoding), 13)
        bomb = self.export(framed(gzip.compress(b"\0" * (64 << 20)), 1), headers=encoding)
        self.assert_status(bomb, 8)
        self.assertNotIn("grpc-status-details-bin", bomb[0])

    def test_g11_g12_sizes(self):
        self.assert_status(self.export(b"\0\xff\xff\xff\xff" + A1), 8)

    def test_g13_split_prefix_and_empty_frames(self):
        self.assert_status(Call(self.port).send(framed(A1), end=True, pieces=1).finish(), 0)

    def test_g15_to_g17_cardinality(self):
        self.assert_status(self.export(framed(A1)[:-1]), 13)
        self.assert_status(self.export(framed(A1) * 2), 13)
        self.assert_status(Call(self.port, end_stream=True).finish(), 13)

    def test_g18_to_g21_routes_and_types(self):
        self.assert_status(self.export(framed(b""), path="/x.y/Z"), 12)
        for signal in ("metrics.v1.MetricsService", "logs.v1.LogsService"):
            path = f"/opentelemetry.proto.collector.{signal}/Export"
            self.assert_status(self.export(framed(b""), path=path), 12)
        result = self.export(framed(A1), content_type="text/plain")
        self.assertEqual((result[0][":status"], result[0]["grpc-status"]), ("415", "3"))
        for content_type in ("application/grpc+proto", "application/grpc;x=y"):
            self.assert_status(self.export(framed(A1), content_type=content_type), 0)

    def test_g22_timeouts(self):
        self.assert_status(self.export(framed(A1), headers=(("grpc-timeout", "99999999H"),)), 0)
        for bad in ("12x", "123456789S"):
            result = self.export(framed(A1), headers=(("grpc-timeout", bad),))
            self.assertEqual((result[0][":status"], result[0]["grpc-status"]), ("400", "13"))

    def test_g23_g24_bad_messages(self):
        self.assert_status(self.export(framed(b"\xff\xfe\xfd")), 3)
        for cut in range(3, len(A1), 7):
            self.assert_status(self.export(framed(A1[:cut])), 3)

    def test_g28_g32_bad_spans_are_refused_one_by_one(self):
        def one(trace_id, span_id):
            inner = b"\x0a%c%s\x12%c%s" % (len(trace_id), trace_id, len(span_id), span_id)
            return b"\x12%c%s" % (len(inner), inner)
        spans = one(bytes(16), b"\1" * 8) + one(b"\2" * 16, b"\3" * 8) + one(b"\2" * 16, b"\4" * 8)
        scope = b"\x12%c%s" % (len(spans), spans)
        message = b"\x0a%c%s" % (len(scope), scope)
        headers, body, _ = self.export(framed(message))
        self.assertEqual(headers["grpc-status"], "0")
        self.assertTrue(body[5:].startswith(b"\x0a"), body)
        self.assertIn(b"\x08\x01", body)  # rejected_spans = 1
        self.assertEqual(self.node.span_ids("02" * 16), ["03" * 8, "04" * 8])

    def test_g46_many_streams_at_once(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        connection.sendall(client.data_to_send())
        open_streams = set()
        for _ in range(80):
            stream = client.get_next_available_stream_id()
            client.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", EXPORT),
                                         (":authority", "x"), ("content-type", "application/grpc"),
                                         ("te", "trailers")])
            open_streams.add(stream)
        connection.sendall(client.data_to_send())
        for stream in sorted(open_streams, reverse=True):
            client.send_data(stream, framed(A1), end_stream=True)
        connection.sendall(client.data_to_send())
        statuses = []
        while open_streams:
            data = connection.recv(65536)
            self.assertTrue(data, "the connection was closed")
            for event in client.receive_data(data):
                if isinstance(event, h2.events.TrailersReceived):
                    statuses.append(dict(event.headers)["grpc-status"])
                elif isinstance(event, h2.events.StreamEnded):
                    open_streams.discard(event.stream_id)
            connection.sendall(client.data_to_send())
        connection.close()
        self.assertEqual(statuses, ["0"] * 80)

    def stored(self, trace, *fields, **keywords):
        """Sends one span with those fields and returns (span, resource) as the API shows them."""
        self.assert_status(self.export(framed(make_request(make_span(trace, *fields), **keywords))), 0)
        found = self.node.trace(trace.hex())["trace"]["resourceSpans"][0]
        return found["scopeSpans"][0]["spans"][0], found["resource"]

    def test_g12_message_limit_to_the_byte(self):
        limit = 1 << 20  # of the body, with gRPC's prefix
        for size, code in ((limit, 0), (limit + 1, 8)):
            fill = size - 5 - len(A1) - 2 - 3
            message = A1 + varint(100 << 3 | 2) + varint(fill) + bytes(fill)
            self.assertEqual(len(framed(message)), size)
            self.assert_status(self.export(framed(message)), code)

    def test_g14_padding_and_continuation(self):
        self.assert_status(PaddedCall(self.port).send(framed(A1), end=True).finish(), 0)

    def test_g22_shortest_timeout(self):
        result = self.export(framed(A1), headers=(("grpc-timeout", "1n"),))
        self.assertIn(result[0]["grpc-status"], ("0", "4"))

    def test_g25_unknown_fields_everywhere(self):
        span = make_span(b"\x25" * 16, UNKNOWN, field(9, string_attribute(b"k", b"v") + UNKNOWN),
                         field(11, field(2, b"e") + UNKNOWN), field(15, field(3, 1) + UNKNOWN))
        scope = field(1, field(1, b"scope") + UNKNOWN) + field(2, span) + UNKNOWN
        message = field(1, SERVICE + field(2, scope) + UNKNOWN) + UNKNOWN
        self.assert_status(self.export(framed(message)), 0)
        self.assertEqual(self.node.span_ids("25" * 16), ["0a" * 8])

    def test_g26_g27_wire_types_and_varints(self):
        self.assert_status(self.export(framed(field(1, field(1, 5)))), 0)
        for bad in (b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"):
            span = make_span(b"\x27" * 16, b"\x30" + bad)  # kind
            self.assert_status(self.export(framed(make_request(span))), 3)

    def test_g29_g30_ids_of_wrong_length(self):
        good = b"\x29" * 16
        bad = [make_span(b"\x29" * 8), make_span(b""), make_span(good, span_id=b"\1" * 7),
               make_span(good, span_id=bytes(8)), field(1, good) + field(5, b"no span id")]
        headers, body, _ = self.export(framed(make_request(*bad, make_span(good))))
        self.assertEqual(headers["grpc-status"], "0")
        self.assertIn(b"\x08\x05", body)  # rejected_spans = 5
        self.assertEqual(self.node.span_ids(good.hex()), ["0a" * 8])

    def test_g31_bad_parents_make_roots(self):
        for trace, parent in ((b"\x31" * 16, bytes(8)), (b"\x32" * 16, b"\1\2\3")):
            span, _ = self.stored(trace, field(4, parent))
            self.assertFalse(span.get("parentSpanId"), span)

    def test_g33_g34_values(self):
        nested = field(5, field(1, field(6, field(1, field(1, b"k") + field(2, field(5, field(
            1, field(1, b"deep"))))))))
        span, _ = self.stored(b"\x33" * 16, field(9, field(1, b"empty") + field(2, b"")),
                              field(9, field(1, b"nested") + field(2, nested)),
                              field(9, field(1, b"bytes") + field(2, field(7, b"\0\xff"))),
                              field(9, field(1, b"no") + field(2, field(2, 0))))
        values = {a["key"]: a.get("value", {}) for a in span["attributes"]}
        self.assertEqual(values["empty"], {})
        self.assertEqual(values["bytes"], {"bytesValue": "AP8="})
        self.assertEqual(values["no"], {"boolValue": False})
        pair = values["nested"]["arrayValue"]["values"][0]["kvlistValue"]["values"][0]
        self.assertEqual(pair["value"], {"arrayValue": {"values": [{"stringValue": "deep"}]}})
        deep = b""
        for _ in range(10_000):
            deep = field(5, field(1, deep))
        span, _ = self.stored(b"\x34" * 16, field(9, field(1, b"deep") + field(2, deep)))
        self.assertEqual(span["attributes"][0]["key"], "deep")

    def test_g35_to_g37_repeated_and_indexed(self):
        both = field(1, b"text") + field(3, 5)
        resource = SERVICE + field(1, field(1, string_attribute(b"more", b"yes")))
        span, found = self.stored(b"\x35" * 16, field(9, field(1, b"k") + field(2, both)),
                                  resource=resource)
        self.assertEqual(span["attributes"][0]["value"], {"intValue": "5"})
        self.assertEqual({a["key"] for a in found["attributes"]}, {"service.name", "more"})
        span, _ = self.stored(b"\x37" * 16, field(9, field(3, 1) + field(2, field(8, 1))))
        self.assertEqual(len(span["attributes"]), 1)

    def test_g38_g39_odd_names_and_numbers(self):
        span, _ = self.stored(b"\x38" * 16, field(5, b"a\xffb\0c"), field(6, 99),
                              field(15, field(3, 7)))
        self.assertEqual(span["name"], "a\ufffdb\0c")
        self.assertEqual((span["kind"], span["status"]["code"]), (99, 7))

    def test_g40_legacy_scope_spans(self):
        old, new = make_span(b"\x40" * 16), make_span(b"\x41" * 16)
        self.assert_status(self.export(framed(make_request(old, number=1000))), 0)
        self.assertEqual(self.node.span_ids("40" * 16), ["0a" * 8])
        both = field(1, SERVICE + field(1000, field(2, make_span(b"\x42" * 16))) +
                     field(2, field(2, new)))
        self.assert_status(self.export(framed(both)), 0)
        self.assertEqual(self.node.span_ids("41" * 16), ["0a" * 8])
        self.assertEqual(self.node.span_ids("42" * 16), [])

    def test_g41_to_g44_extreme_numbers(self):
        top = 0xFFFFFFFF
        far = 9_223_000_000_000_000_000  # the year 2262
        entity = field(3, field(2, b"host") + field(3, b"host.id"))
        resource = field(1, field(1, string_attribute(b"service.name", b"svc")) + field(2, top) + entity)
        trace = b"\x43" * 16
        self.stored(trace, fixed32(16, top), field(10, top), field(12, top), field(14, top),
                    fixed64(7, far), fixed64(8, 1), resource=resource)
        body = http_request(self.node.ports["query"], "GET", f"/api/traces/{trace.hex()}",
                            headers={"Accept": "application/protobuf"})[2]
        for expected in (fixed32(16, top), field(10, top), field(12, top), field(14, top),
                         fixed64(7, far), fixed64(8, 1), field(2, top)):
            self.assertIn(expected, body)
        span, _ = self.stored(b"\x44" * 16, fixed64(7, 0), fixed64(8, 0))
        self.assertEqual(span["spanId"], base64.b64encode(b"\x0a" * 8).decode())

    def test_g45_long_values_are_cut_on_a_character(self):
        text = "\u00e4" * 100_000
        span, _ = self.stored(b"\x45" * 16, field(9, string_attribute(b"k", b"x" + text.encode())))
        kept = span["attributes"][0]["value"]["stringValue"]
        self.assertTrue(0 < len(kept) < 100_000)
        self.assertEqual(kept, "x" + text[:len(kept) - 1])
        self.assertGreaterEqual(self.node.metric("fermata_receiver_mended_values_total"), 1)

    def test_g46_answer_through_a_tiny_window(self):
        call = Call(self.port)
        call.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1})
        call.flush()
        self.assert_status(call.send(framed(A1), end=True).finish(), 0)

    def test_g47_ping_flood(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as flood:
            client = h2.connection.H2Connection()
            client.initiate_connection()
            for _ in range(5000):
                client.ping(b"12345678")
            answer = b""
            try:
                flood.sendall(client.data_to_send())
                while chunk := flood.recv(65536):
                    answer += chunk
            except ConnectionError:
                pass
        goaway = answer.find(b"\0\0\x08\x07\0\0\0\0\0")
        self.assertIn(b"\x0b", answer[goaway + 16:goaway + 17] if goaway >= 0 else b"\x0b")
        self.assert_status(self.export(framed(A1)), 0)

    def test_g48_reset_gives_the_memory_back(self):
        call = Call(self.port).send(framed(bytes(600_000))[:500_000])
        wait_for(lambda: self.node.metric("fermata_memory_used_bytes") >= 500_000, 10, "the body")
        call.h2.reset_stream(call.stream)
        call.flush()
        wait_for(lambda: self.node.metric("fermata_memory_used_bytes") == 0, 10, "the budget")
        call.socket.close()

    def test_health(self):
        headers, body, _ = self.export(framed(b""), path="/grpc.health.v1.Health/Check")
        self.assertEqual((headers["grpc-status"], body), ("0", framed(b"\x08\x01")))


class IdleTest(DaemonTest):
    def test_g49_idle_connections_are_told_to_go(self):
        node = self.daemon({"limits.idle_timeout": "1s"}).start()
        before = node.metric("process_open_fds")
        calls = [Call(node.ports["grpc"]).send(framed(A1), end=True) for _ in range(50)]
        for call in calls:
            while not call.ended:
                self.assertTrue(call.receive())
        for call in calls:
            rest = b""
            while chunk := call.socket.recv(4096):
                rest += chunk
            self.assertIn(b"\0\0\x08\x07\0\0\0\0\0", rest)  # GOAWAY
            call.socket.close()
        wait_for(lambda: node.metric("process_open_fds") <= before + 2, 10, "the sockets to go")
        node.stop()


class OverloadTest(DaemonTest):
    """A client that holds bytes of an unfinished request uses the budget up; others are told to
    come back in a second, in the words that SDKs understand."""

    def test_g50_h38_overload_is_retryable(self):
        node = self.daemon({"limits.memory_limit": "1MiB", "limits.max_body_bytes": "1MiB",
                            "limits.max_decompressed_bytes": "1MiB"}).start()
        holder = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        holder.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"Content-Length: 1000000\r\n\r\n" + bytes(900_000))
        wait_for(lambda: node.metric("fermata_memory_used_bytes") > 900_000, 10, "the held bytes")
        big = A1 * 2000
        headers, _, _ = Call(node.ports["grpc"]).send(framed(big), end=True).finish()
        self.assertEqual(headers["grpc-status"], "14", headers)
        self.assertEqual(headers["google.rpc.retryinfo-bin"], "CgIIAQ")
        details = headers["grpc-status-details-bin"]
        details = base64.b64decode(details + "=" * (-len(details) % 4))
        self.assertIn(b"type.googleapis.com/google.rpc.RetryInfo", details)
        status, headers, _ = http_request(node.ports["http"], "POST", "/v1/traces", big,
                                          {"Content-Type": "application/x-protobuf"})
        self.assertEqual((status, headers["retry-after"]), (503, "1"))
        holder.close()
        wait_for(lambda: http_request(node.ports["http"], "POST", "/v1/traces", big, {
            "Content-Type": "application/x-protobuf"})[0] == 200, 10, "the budget to be given back")
        node.stop()


if __name__ == "__main__":
    unittest.main()
