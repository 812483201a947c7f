# SPDX-License-Identifier: Apache-2.0
"""OTLP/gRPC on the wire, frame by frame, with python3-h2 as the client.  Row numbers:
docs/conformance.md, "OTLP/gRPC"."""
import base64
import gzip
import socket
import struct
import subprocess
import unittest

import h2.config
import h2.connection
import h2.events

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

    def test_health(self):
        headers, body, _ = self.export(framed(b""), path="/grpc.health.v1.Health/Check")
        self.assertEqual((headers["grpc-status"], body), ("0", framed(b"\x08\x01")))


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
