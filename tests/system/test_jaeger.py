# SPDX-License-Identifier: Apache-2.0
"""Jaeger's doors on the live daemon: datagrams, HTTP, gRPC, sampling strategies.  jN in a name is the
row of the protocol checklist that it covers; the messages are public sample vectors."""
import gzip
import json
import signal
import socket
import struct
import time
import unittest

from harness import http_request, run_tool, wait_for
from legacy import DROPPED, REFUSED, SPANS, LegacyTest
from test_otlp_grpc import field

TRACE = "00000000000000000102030405060708"
COMPACT = bytes.fromhex(  # emitBatch, ONEWAY, by the compact protocol
    "82810009656d697442617463681c1c1803737663191c1808686f73746e616d651500180268310000191c16909cb0d080"
    "c181820216001603160018026f70191c150016909cb0d080c18182021600160a001502168080f2818389850616b81719"
    "3c18056572726f7215043100180164150227000000000000f83f0018016e1506460500191c16e887f28183898506191c"
    "18056576656e741500180265310000000000")
BINARY = bytes.fromhex(  # the same by the binary protocol
    "8001000400000009656d69744261746368000000000c00010c00010b0001000000037376630f00020c000000010b0001"
    "00000008686f73746e616d65080002000000000b000300000002683100000f00020c000000010a000101020304050607"
    "080a000200000000000000000a0003fffffffffffffffe0a000400000000000000000b0005000000026f700f00060c00"
    "000001080001000000000a000201020304050607080a000300000000000000000a000400000000000000050008000700"
    "0000010a000800060a24181e40000a000900000000000005dc0f000a0c000000030b0001000000056572726f72080002"
    "0000000202000501000b00010000000164080002000000010400043ff8000000000000000b0001000000016e08000200"
    "0000030a0006fffffffffffffffd000f000b0c000000010a000100060a24181e41f40f00020c000000010b0001000000"
    "056576656e74080002000000000b00030000000265310000000000")
BATCH = bytes.fromhex(  # the bare Batch of HTTP
    "0c00010b0001000000037376630f00020c000000010b000100000008686f73746e616d65080002000000000b00030000"
    "0002683100000f00020c000000010a000101020304050607080a000200000000000000000a0003fffffffffffffffe0a"
    "000400000000000000000b0005000000026f700f00060c00000001080001000000000a000201020304050607080a0003"
    "00000000000000000a0004000000000000000500080007000000010a000800060a24181e40000a000900000000000005"
    "dc0f000a0c000000030b0001000000056572726f720800020000000202000501000b0001000000016408000200000001"
    "0400043ff8000000000000000b0001000000016e080002000000030a0006fffffffffffffffd000f000b0c000000010a"
    "000100060a24181e41f40f00020c000000010b0001000000056576656e74080002000000000b00030000000265310000"
    "0000")
POST_SPANS = bytes.fromhex(  # PostSpansRequest: the same without d and n
    "0a8f010a760a10000000000000000001020304050607081208fffffffffffffffe1a026f70221c0a1000000000000000"
    "00010203040506070812080000000000000005280132060880e2cfaa063a0410e0c65b420b0a056572726f7210012001"
    "4a190a0a0880e2cfaa0610a0c21e120b0a056576656e741a02653112150a03737663120e0a08686f73746e616d651a02"
    "6831")
THRIFT = {"Content-Type": "application/x-thrift"}
POST = "/jaeger.api_v2.CollectorService/PostSpans"
STRATEGY = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"


class JaegerTest(LegacyTest):
    def send(self, port, *datagrams):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, ("127.0.0.1", self.node.ports[port]))

    def assert_sample(self, attributes=None):
        span = self.span(TRACE)
        start = 1_700_000_000_000_000_000
        self.assertEqual((span["id"], span["parent"], span["name"], span["start"], span["end"], span["status"]),
                         ("fffffffffffffffe", "0000000000000005", "op", start, start + 1_500_000, "STATUS_CODE_ERROR"))
        self.assertEqual(span["attributes"], {"d": 1.5, "n": -3} if attributes is None else attributes)
        self.assertEqual(span["resource"], {"service.name": "svc", "host.name": "h1"})
        self.assertEqual(span["events"], [(start + 500_000, "e1", {})])
        self.assertEqual((span["links"], span["kind"]), (0, "SPAN_KIND_UNSPECIFIED"))


class DatagramTest(JaegerTest):
    def test_j1_compact(self):
        self.send("compact", COMPACT)
        self.wait_count(1, SPANS, "jaeger_thrift_compact")
        self.assert_sample()

    def test_j2_binary(self):
        self.send("binary", BINARY)
        self.wait_count(1, SPANS, "jaeger_thrift_binary")
        self.assert_sample()

    def test_j3_to_j5_other_encoding_call_and_sequence(self):
        self.send("binary", COMPACT)
        self.send("compact", BINARY, b"\x82\x21\x05" + COMPACT[3:])
        self.wait_count(1, SPANS, "jaeger_thrift_binary")
        self.wait_count(2, SPANS, "jaeger_thrift_compact")
        self.assert_sample()

    def test_j6_to_j8_what_is_dropped_is_counted(self):
        endless = bytes.fromhex("82810009") + b"emitBatch" + bytes.fromhex("1c1c1801730019fcffffffff07")
        other = b"\x82\x81\0\6unlike\0"
        reply = b"\x82\x41" + COMPACT[2:]
        self.send("compact", endless, reply, b"", b"\x82", bytes(100))
        self.send("compact", *(COMPACT[:n] for n in range(1, len(COMPACT) - 1)))
        self.send("compact", other, other, COMPACT)
        self.wait_count(1, SPANS, "jaeger_thrift_compact")
        self.assertEqual(self.count(DROPPED, "jaeger_thrift_compact", 'reason="unknown_method"'), 2)
        self.assertEqual(self.count(DROPPED, "jaeger_thrift_compact"), 5 + len(COMPACT) - 2 + 2)
        self.assertEqual(self.count("fermata_receiver_datagrams_total", "jaeger_thrift_compact"),
                         5 + len(COMPACT) - 2 + 3)
        self.assert_sample()

    def test_j9_the_largest_datagram(self):
        name = b"x" * 60_000
        big = BATCH.replace(b"\0\5\0\0\0\2op", b"\0\5" + struct.pack(">I", len(name)) + name)
        head = BINARY[:len(BINARY) - len(BATCH) - 1]
        self.send("binary", head + big + b"\0")
        self.wait_count(1, SPANS, "jaeger_thrift_binary")
        self.assertGreaterEqual(self.span(TRACE)["name"].count("x"), 2000)

    def test_spans_with_bad_ids_are_refused_alone(self):
        nobody = BINARY.replace(bytes.fromhex("0a0003fffffffffffffffe"), bytes.fromhex("0a00030000000000000000"))
        self.send("binary", nobody, BINARY, nobody)
        self.wait_count(1, SPANS, "jaeger_thrift_binary")
        self.wait_count(2, REFUSED, "jaeger_thrift_binary", 'reason="invalid_span_id"')

    def test_every_datagram_is_stored_or_counted(self):
        sent = 20_000
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", self.node.ports["compact"]))
            for number in range(sent):
                sender.send(COMPACT)
        receiver = "jaeger_thrift_compact"

        def accounted():
            return (self.count(SPANS, receiver) + self.count(REFUSED, receiver) + self.count(DROPPED, receiver) +
                    self.count("fermata_receiver_kernel_dropped_datagrams_total", receiver))
        wait_for(lambda: accounted() >= sent, 20, "every datagram to be accounted for")
        self.assertEqual(accounted(), sent)
        self.assertGreater(self.count(SPANS, receiver), sent // 2)

    def test_what_arrived_before_the_stop_is_stored(self):
        self.node.process.send_signal(signal.SIGSTOP)
        self.send("compact", *[COMPACT] * 100)
        self.node.process.send_signal(signal.SIGTERM)
        self.node.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.node.process.wait(15), 0)
        self.node.start()
        self.assertEqual(self.node.metric("fermata_head_spans"), 100)
        self.assert_sample()

    def test_a_full_budget_drops_and_recovers(self):
        node = self.daemon({"limits.memory_limit": "1MiB", "limits.max_body_bytes": "1MiB",
                            "limits.max_decompressed_bytes": "1MiB"}, "tight").start()
        self.node.stop()
        self.node = node
        holder = socket.create_connection(("127.0.0.1", node.ports["http"]), timeout=10)
        holder.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"Content-Length: 1048576\r\n\r\n" + bytes(1_040_000))
        wait_for(lambda: node.metric("fermata_memory_used_bytes") == 1 << 20, 10, "the held bytes")
        self.send("compact", *[COMPACT] * 10)
        wait_for(lambda: self.count(REFUSED, "jaeger_thrift_compact", 'reason="unavailable"'), 10, "a refusal")
        holder.close()
        wait_for(lambda: node.metric("fermata_memory_used_bytes") == 0, 10, "the budget")
        self.send("compact", COMPACT)
        wait_for(lambda: self.count(SPANS, "jaeger_thrift_compact") >= 1, 10, "a span")
        wait_for(lambda: self.count(SPANS, "jaeger_thrift_compact") +
                 self.count(REFUSED, "jaeger_thrift_compact") == 11, 10, "all of them")


class HttpTest(JaegerTest):
    def post_batch(self, body, headers=None, path="/api/traces", method="POST"):
        status, _, answer = self.post("jaeger_http", path, body, THRIFT if headers is None else headers, method)
        return status, answer

    def test_j13_batch(self):
        self.assertEqual(self.post_batch(BATCH), (202, b""))
        self.assert_sample()
        self.assertEqual(self.count(SPANS, "jaeger_thrift_http"), 1)

    def test_j14_media_types_and_encodings(self):
        for headers in ({"Content-Type": "application/vnd.apache.thrift.binary; charset=x"},
                        {"Content-Type": "Application/X-Thrift"}):
            self.assertEqual(self.post_batch(BATCH, headers), (202, b""))
        self.assertEqual(self.post_batch(BATCH, path="/api/traces?format=jaeger.thrift"), (202, b""))
        self.assertEqual(self.post_batch(gzip.compress(BATCH), {**THRIFT, "Content-Encoding": "gzip"}), (202, b""))
        self.assertEqual(self.post_batch(BATCH, {**THRIFT, "Content-Encoding": "gzip"})[0], 400)
        self.assertEqual(self.post_batch(BATCH, {**THRIFT, "Content-Encoding": "br"})[0], 400)

    def test_j15_other_media_types(self):
        for headers in ({}, {"Content-Type": "application/json"}):
            status, answer = self.post_batch(BATCH, headers)
            self.assertEqual(status, 400)
            self.assertIn(b"application/x-thrift", answer)

    def test_j16_routes(self):
        status, headers, _ = self.post("jaeger_http", "/api/traces", b"", method="GET")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        self.assertEqual(self.post_batch(BATCH, path="/x")[0], 404)
        self.assertEqual(self.post("jaeger_http", "/", b"", method="GET")[0], 200)
        self.assertEqual(self.post_batch(BATCH, {**THRIFT, "Origin": "http://evil.example"})[0], 403)

    def test_j17_garbage(self):
        status, answer = self.post_batch(b"\xff" * 50)
        self.assertEqual((status, answer[-1:]), (400, b"\n"))
        for cut in (1, 50, len(BATCH) - 1):
            self.assertEqual(self.post_batch(BATCH[:cut])[0], 400)
        self.assertEqual(self.post_batch(BATCH), (202, b""))

    def test_refused_spans_are_still_202(self):
        nobody = BATCH.replace(bytes.fromhex("0a0003fffffffffffffffe"), bytes.fromhex("0a00030000000000000000"))
        self.assertEqual(self.post_batch(nobody), (202, b""))
        self.assertEqual(self.count(REFUSED, "jaeger_thrift_http", 'reason="invalid_span_id"'), 1)
        self.assertEqual(self.count("fermata_receiver_requests_total", "jaeger_thrift_http", 'outcome="partial"'), 1)

    def test_tenant(self):
        status, _, _ = self.post("jaeger_http", "/api/traces", BATCH, {**THRIFT, "X-Scope-OrgID": "blue"})
        self.assertEqual(status, 202)
        self.assertEqual(self.node.span_ids(TRACE, tenant="blue"), ["fffffffffffffffe"])
        self.assertEqual(self.post_batch(BATCH, {**THRIFT, "X-Scope-OrgID": "a/b"})[0], 400)


class RateTest(JaegerTest):
    settings = {"tenants.rate_spans": "1", "tenants.burst_spans": "3"}

    def test_throttled_clients_are_told_when(self):
        answers = [self.post("jaeger_http", "/api/traces", BATCH, THRIFT) for _ in range(6)]
        self.assertEqual([answer[0] for answer in answers[:3]], [202] * 3)
        self.assertEqual(answers[5][0], 429)
        self.assertIn(answers[5][1]["retry-after"], ("1", "2"))
        self.assertEqual(self.call("jaeger_grpc", POST, POST_SPANS)[0], "14")
        self.send("compact", COMPACT)
        self.wait_count(1, REFUSED, "jaeger_thrift_compact", 'reason="rate_limited"')
        refused = sum(answer[0] == 429 for answer in answers)
        self.assertEqual(self.count(REFUSED, "jaeger_thrift_http", 'reason="rate_limited"'), refused)


class GrpcTest(JaegerTest):
    def test_j18_post_spans(self):
        self.assertEqual(self.call("jaeger_grpc", POST, POST_SPANS), ("0", b"\0\0\0\0\0"))
        self.assert_sample(attributes={})
        self.assertEqual(self.count(SPANS, "jaeger_grpc"), 1)

    def test_failures(self):
        self.assertEqual(self.call("jaeger_grpc", POST, POST_SPANS[:-1])[0], "3")
        self.assertEqual(self.call("jaeger_grpc", "/jaeger.api_v2.CollectorService/Other", b"")[0], "12")
        self.assertEqual(self.call("jaeger_grpc", "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                                   b"")[0], "12")
        self.assertEqual(self.call("jaeger_grpc", "/grpc.health.v1.Health/Check", b""), ("0", b"\0\0\0\0\2\x08\x01"))
        self.assertEqual(self.post("jaeger_grpc", POST, b"")[0], 415)

    def test_j40_strategy(self):
        for port in ("jaeger_grpc", "sampling"):
            status, body = self.call(port, STRATEGY, field(1, b"svc"))
            self.assertEqual((status, body[5:].hex()), ("0", "120909000000000000f03f"))
        self.assertEqual(self.call("sampling", POST, POST_SPANS)[0], "12")


class SamplingTest(JaegerTest):
    def setUp(self):
        super().setUp()
        self.node.stop()
        self.file = self.directory / "strategies.json"
        self.write({"type": "probabilistic", "param": 0.5}, [
            {"service": "slow", "type": "ratelimiting", "param": 2},
            {"service": "a", "type": "probabilistic", "param": 0.25, "operation_strategies": [
                {"operation": "GET /", "type": "probabilistic", "param": 0.1}]}])
        self.node.settings["receiver.jaeger_sampling.strategies_file"] = str(self.file)
        self.node.start()

    def write(self, default, services=()):
        self.file.write_text(json.dumps({"default_strategy": default, "service_strategies": list(services)}))

    def ask(self, path, port="sampling"):
        status, headers, body = self.post(port, path, b"", method="GET")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        return json.loads(body)

    def test_j36_j37_strategies(self):
        half = {"probabilisticSampling": {"samplingRate": 0.5}}
        self.assertEqual(self.ask("/sampling?service=x"), {"strategyType": "PROBABILISTIC", **half})
        self.assertEqual(self.ask("/api/sampling?service=x", "jaeger_http"), {"strategyType": "PROBABILISTIC", **half})
        self.assertEqual(self.ask("/?service=x"), {"strategyType": 0, **half})
        self.assertEqual(self.ask("/sampling?service=slow"), {
            "strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": 2}})
        self.assertEqual(self.ask("/?service=slow")["strategyType"], 1)
        self.assertEqual(self.ask("/sampling?service=a")["operationSampling"], {
            "defaultSamplingProbability": 0.25, "defaultLowerBoundTracesPerSecond": 0,
            "perOperationStrategies": [{"operation": "GET /", "probabilisticSampling": {"samplingRate": 0.1}}],
            "defaultUpperBoundTracesPerSecond": 0})

    def test_j38_j39_other_questions(self):
        for path in ("/sampling", "/", "/sampling?service=", "/sampling?service=a&service=b", "/?x=y"):
            status, _, body = self.post("sampling", path, b"", method="GET")
            self.assertEqual((status, body), (400, b"'service' parameter must be provided once\n"), path)
        self.assertEqual(self.ask("/baggageRestrictions?service=a"), [])
        self.assertEqual(self.post("sampling", "/credits?x=1", b"", method="GET")[0], 404)
        self.assertEqual(self.post("sampling", "/sampling?service=a", b"")[0], 405)

    def test_reload_takes_the_good_and_keeps_it_from_the_bad(self):
        self.write({"type": "probabilistic", "param": 0.125})
        self.node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.ask("/sampling?service=x")["probabilisticSampling"]["samplingRate"] == 0.125, 10,
                 "the new strategy")
        self.file.write_text("{")
        self.node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.node.metric("fermata_sampling_file_good") == 0, 10, "the refusal")
        self.assertEqual(self.ask("/sampling?service=x")["probabilisticSampling"]["samplingRate"], 0.125)
        self.assertIn("sampling.refused", self.node.log_text())
        self.write({"type": "probabilistic", "param": 1})
        wait_for(lambda: self.ask("/sampling?service=x")["probabilisticSampling"]["samplingRate"] == 1, 15,
                 "the file to be looked at by itself")
        self.assertEqual(self.node.metric("fermata_sampling_file_good"), 1)


class ListenerTest(JaegerTest):
    def test_a_port_in_use_is_named_with_its_cure(self):
        for section, port in (("receiver.zipkin", "zipkin"), ("receiver.jaeger_thrift_compact", "compact")):
            other = self.daemon({f"{section}.endpoint": f"127.0.0.1:{self.node.ports[port]}"}, f"other-{port}")
            other.start(wait=False)
            self.assertEqual(other.process.wait(10), 69)
            self.assertIn(f"{section}.endpoint", other.log_text())
            self.assertIn(f"enabled = false in [{section}]", other.log_text())

    def test_status_names_the_listeners(self):
        self.assertEqual(self.post("jaeger_http", "/api/traces", BATCH, THRIFT)[0], 202)
        shown = run_tool("status", "--url", f"http://127.0.0.1:{self.node.ports['query']}").stdout
        for name, port in (("jaeger_thrift_compact", "compact"), ("zipkin", "zipkin"), ("jaeger_sampling", "sampling")):
            self.assertRegex(shown, rf"{name} +127\.0\.0\.1:{self.node.ports[port]}")
        self.assertRegex(shown, r"jaeger_thrift_http .* 1 spans accepted, 0 refused")

    def test_disabled_receivers_do_not_listen(self):
        node = self.daemon({"receiver.zipkin.enabled": "false",
                            "receiver.jaeger_thrift_binary.enabled": "false"}, "few").start()
        self.assertNotIn("zipkin", node.ports)
        self.assertNotIn("binary", node.ports)
        node.stop()

    def test_stop_and_start_under_datagrams(self):
        self.send("compact", *[COMPACT] * 50)
        time.sleep(0.05)
        self.node.stop()
        self.node.start()
        self.send("compact", COMPACT)
        self.wait_count(1, SPANS, "jaeger_thrift_compact")
        self.assertEqual(http_request(self.node.ports["query"], "GET", "/ready")[0], 200)


if __name__ == "__main__":
    unittest.main()
