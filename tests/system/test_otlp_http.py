# SPDX-License-Identifier: Apache-2.0
"""OTLP/HTTP as its clients use and misuse it.  hN in a name is
the row of the protocol checklist that it covers."""
import gzip
import json
import os
import socket
import subprocess
import unittest
import zlib

from harness import DaemonTest, http_request, request, span

# One span "op", trace 5b8e...c60c, span eee1...b174, SERVER, flags 0x101 (public sample ids).
A1 = bytes.fromhex(
    "0a570a170a150a0c736572766963652e6e616d6512050a03737663123c123a0a105b8efff798038103d269b633813fc6"
    "0c1208eee19b7ec3c1b1742a026f70300239004859e3faeb6f15410012f41efbeb6f15850101010000")
TRACE = "5b8efff798038103d269b633813fc60c"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


class OtlpHttpTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({"limits.max_body_bytes": "1MiB", "limits.max_decompressed_bytes": "2MiB",
                                 "limits.header_timeout": "1s",
                                 "receiver.otlp_http.cors_allowed_origins": "https://app.example"}).start()
        self.port = self.node.ports["http"]

    def tearDown(self):
        self.node.stop()

    def post(self, body, headers, path="/v1/traces", method="POST", port=None):
        return http_request(port or self.port, method, path, body, headers)

    def raw(self, data, timeout=10):
        """Sends bytes as they are and reads until the peer closes or nothing comes for a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall(data)
            s.settimeout(1.0)
            answer = b""
            try:
                while chunk := s.recv(65536):
                    answer += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def test_h1_protobuf(self):
        status, headers, body = self.post(A1, PROTOBUF)
        self.assertEqual((status, headers["content-type"], body), (200, "application/x-protobuf", b""))
        self.assertEqual(self.node.span_ids(TRACE), ["eee19b7ec3c1b174"])

    def test_h2_h3_json_with_parameters(self):
        body = json.dumps(request([span("aa" * 16, "00000000000000aa")])).encode()
        for content_type in ("application/json", "Application/JSON; charset=utf-8"):
            status, headers, answer = self.post(body, {"Content-Type": content_type})
            self.assertEqual((status, headers["content-type"], answer), (200, "application/json", b"{}"))

    def test_h4_to_h7_routes(self):
        self.assertEqual(self.post(A1, {"Content-Type": "text/plain"})[0], 415)
        self.assertEqual(self.post(A1, {})[0], 415)
        status, headers, _ = self.post(b"", {}, method="GET")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        for path in ("/v1/trace", "/v1/traces/", "//v1/traces", "/"):
            self.assertEqual(self.post(A1, PROTOBUF, path)[0], 200, path)
        self.assertEqual(self.post(A1, PROTOBUF, "/v2/none")[0], 404)
        self.assertEqual(self.post(A1, PROTOBUF, "/v1/metrics")[0], 404)

    def test_h8_h9_encodings(self):
        zstd = subprocess.run(["zstd", "-q", "-c"], input=A1, capture_output=True, check=True).stdout
        for name, body in (("gzip", gzip.compress(A1)), ("gzip", gzip.compress(A1[:50]) + gzip.compress(A1[50:])),
                           ("deflate", zlib.compress(A1)), ("zstd", zstd), ("identity", A1)):
            status, _, answer = self.post(body, {**PROTOBUF, "Content-Encoding": name})
            self.assertEqual((status, answer), (200, b""), name)
        for name, body in (("br", A1), ("gzip", A1), ("zstd", A1), ("deflate", gzip.compress(A1)),
                           ("gzip", gzip.compress(A1)[:-3]), ("gzip", gzip.compress(A1) + b"junk")):
            status, headers, _ = self.post(body, {**PROTOBUF, "Content-Encoding": name})
            self.assertEqual((status, headers["content-type"]), (400, "application/x-protobuf"), name)

    def test_bombs_stop_at_the_limit(self):
        bomb = gzip.compress(b"\0" * (64 << 20))
        self.assertEqual(self.post(bomb, {**PROTOBUF, "Content-Encoding": "gzip"})[0], 413)
        zstd = subprocess.run(["zstd", "-q", "-c"], input=b"\0" * (64 << 20), capture_output=True,
                              check=True).stdout
        status, _, answer = self.post(zstd, {**PROTOBUF, "Content-Encoding": "zstd"})
        self.assertEqual(status, 400)  # 2 KiB are allowed a MiB, and 250 times their size beyond that
        self.assertIn(b"max_decompression_ratio", answer)

    def test_h10_chunked_with_extensions_and_trailers(self):
        chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in A1)
        answer = self.raw(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                          b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks +
                          b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)

    def test_h11_expect_continue(self):
        head = (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            s.sendall(head % len(A1))
            self.assertEqual(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            s.sendall(A1)
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
        self.assertTrue(self.raw(head % (8 << 20)).startswith(b"HTTP/1.1 413"))

    def test_refusals_before_the_handler_say_a_status(self):
        text = b"request is larger than the limit"
        for kind, body in (("application/x-protobuf", b"\x08\x08\x12\x20" + text),
                           ("application/json; charset=utf-8", b'{"code":8,"message":"%s"}' % text),
                           ("text/plain", b"")):
            head = (f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                    f"Expect: 100-continue\r\nContent-Length: {8 << 20}\r\n\r\n").encode()
            head, _, rest = self.raw(head).partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 413"), head)
            self.assertEqual(rest, body)
            self.assertIn(f"\r\ncontent-length: {len(body)}".encode(), head.lower())
            self.assertEqual(f"\r\ncontent-type: {kind.split(';')[0]}".encode() in head.lower(), body != b"", head)

    def test_h12_smuggling_is_refused(self):
        for extra in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                      b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length : 5\r\n",
                      b"Transfer-Encoding: chunked, identity\r\n", b"X: a\r\n b\r\n"):
            answer = self.raw(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n12345")
            self.assertRegex(answer, rb"^HTTP/1.1 (400|501)", extra)

    def test_h13_too_large_without_reading(self):
        answer = self.raw(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                          b"Content-Length: 99999999\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer)

    def test_h14_to_h16_versions_and_ports(self):
        body = self.directory / "a1.bin"
        body.write_bytes(A1)
        for options, port in ((["--http2-prior-knowledge"], self.port), (["--http2"], self.port),
                              (["--http1.1"], self.node.ports["grpc"])):
            done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *options, "-H",
                                   "Content-Type: application/x-protobuf", "--data-binary", f"@{body}",
                                   f"http://127.0.0.1:{port}/v1/traces"], capture_output=True, text=True)
            self.assertEqual(done.stdout, "200", (options, done.stderr))

    def test_h17_pipelining_answers_in_order(self):
        one = (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
               b"Content-Length: %d\r\n%s\r\n")
        answer = self.raw(one % (len(A1), b"") + A1 + one % (3, b"Connection: close\r\n") + b"abc")
        self.assertEqual([line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")],
                         [b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request"])

    def test_h18_slow_headers_are_cut(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            s.sendall(b"POST /v1/traces HTTP/1.1\r\nHost:")
            answer = s.recv(1000)
            self.assertIn(answer[:12], (b"", b"HTTP/1.1 408"))

    def test_h19_http_1_0_closes(self):
        answer = self.raw(b"POST /v1/traces HTTP/1.0\r\nContent-Type: application/x-protobuf\r\n"
                          b"Content-Length: %d\r\n\r\n" % len(A1) + A1)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertIn(b"connection: close", answer.lower())

    def test_h20_to_h23_empty_and_broken_bodies(self):
        self.assertEqual(self.post(b"", PROTOBUF)[0], 200)
        for body in (b"{}", b'{"resourceSpans":[]}', b"\xef\xbb\xbf{}"):
            self.assertEqual(self.post(body, JSON)[0], 200, body)
        for body in (b"", b"[]", b'"x"', b"{", b"{}x", b'{"resourceSpans":1'):
            status, headers, answer = self.post(body, JSON)
            self.assertEqual((status, headers["content-type"]), (400, "application/json"), body)
            self.assertEqual(json.loads(answer)["code"], 3)
        self.assertEqual(self.post(b"\xff\xff\xff", PROTOBUF)[0], 400)

    def test_h24_to_h33_json_leniency(self):
        body = {"resource_spans": [{"resource": {"attributes": [
            {"key": "service.name", "value": {"string_value": "s"}}]}, "scope_spans": [{"spans": [{
                "trace_id": TRACE.upper(), "span_id": "EEE19B7EC3C1B174", "name": "n\u0000\ud83d\ude00",
                "kind": "SPAN_KIND_SERVER", "start_time_unix_nano": 1544712660000000000,
                "end_time_unix_nano": "1544712661000000000", "unknown": {"deep": [1, {"x": None}]},
                "links": None, "attributes": [
                    {"key": "big", "value": {"intValue": "9223372036854775807"}},
                    {"key": "small", "value": {"intValue": -9223372036854775808}},
                    {"key": "nan", "value": {"doubleValue": "NaN"}},
                    {"key": "bytes", "value": {"bytesValue": "AP8"}}]}]}]}]}
        self.assertEqual(self.post(json.dumps(body).encode(), JSON)[0], 200)
        found = self.node.trace(TRACE)["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        self.assertEqual(found["kind"], "SPAN_KIND_SERVER")
        self.assertEqual(found["name"], "n\u0000\U0001f600")
        values = {a["key"]: a["value"] for a in found["attributes"]}
        self.assertEqual(values["big"], {"intValue": "9223372036854775807"})
        self.assertEqual(values["small"], {"intValue": "-9223372036854775808"})
        self.assertEqual(values["nan"], {"doubleValue": "NaN"})
        self.assertEqual(values["bytes"], {"bytesValue": "AP8="})

    def one_attribute(self, trace, key, value, **more):
        """Stores a span with that attribute and returns what came of the span."""
        item = {**span(trace, "00000000000000aa"), "attributes": [{"key": key, "value": value}], **more}
        status, _, answer = self.node.send(request([item]))
        self.assertEqual((status, answer), (200, b"{}"), value)
        return self.node.trace(trace)["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]

    def test_h8_encodings_of_json(self):
        body = json.dumps(request([span("08" * 16, "00000000000000aa")] * 400)).encode()
        zstd = subprocess.run(["zstd", "-q", "-c"], input=body, capture_output=True, check=True).stdout
        for name, packed in (("gzip", gzip.compress(body, 0)), ("deflate", zlib.compress(body, 0)),
                             ("zstd", zstd), ("gzip", gzip.compress(body))):
            self.assertEqual(self.post(packed, {**JSON, "Content-Encoding": name})[0], 200, name)
        self.assertEqual(self.node.span_ids("08" * 16), ["00000000000000aa"])

    def test_h25_base64_ids_are_refused(self):
        status, _, answer = self.node.send(request([span("W47/95gDgQPSabYzgT/GDA==", "7uGbfsPBsXQ=")]))
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(answer)["partialSuccess"]["rejectedSpans"], "1")

    def test_h28_to_h30_numbers_and_bytes(self):
        for i, (kind, value, expected) in enumerate((
                ("intValue", 1e400, {}), ("intValue", "abc", {}), ("intValue", "9223372036854775808", {}),
                ("doubleValue", "-Infinity", {"doubleValue": "-Infinity"}),
                ("doubleValue", "Infinity", {"doubleValue": "Infinity"}),
                ("bytesValue", "+/8=", {"bytesValue": "+/8="}), ("bytesValue", "-_8", {"bytesValue": "+/8="}))):
            text = json.dumps(value).replace("Infinity", "1e400") if value == 1e400 else json.dumps(value)
            trace = f"{0x2800 + i:032x}"
            body = json.dumps(request([{**span(trace, "00000000000000aa"), "attributes": [
                {"key": "k", "value": {kind: "@"}}]}])).replace('"@"', text).encode()
            self.assertEqual(self.post(body, JSON)[0], 200, text)
            spans = self.node.trace(trace)["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
            self.assertEqual(spans[0]["attributes"][0].get("value", {}), expected, text)

    def test_h32_null_is_absence(self):
        names = ("traceState", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
                 "droppedAttributesCount", "events", "droppedEventsCount", "links", "droppedLinksCount",
                 "status")
        found = self.one_attribute("32" * 16, "k", None, **dict.fromkeys(names))
        self.assertEqual(found["attributes"][0]["key"], "k")
        for body in (b'{"resourceSpans":null}', b'{"resourceSpans":[null]}',
                     b'{"resourceSpans":[{"resource":null,"scopeSpans":null,"schemaUrl":null}]}',
                     b'{"resourceSpans":[{"scopeSpans":[{"scope":null,"spans":null}]}]}'):
            self.assertEqual(self.post(body, JSON)[0], 200, body)

    def test_h33_text_that_is_not_unicode(self):
        found = self.one_attribute("33" * 16, "k", {"stringValue": "a\ud800b"})
        self.assertEqual(found["attributes"][0]["value"], {"stringValue": "a\ufffdb"})
        # Every byte becomes three: more protobuf than there was JSON.
        body = json.dumps(request([span("34" * 16, "00000000000000aa", name="@")])).encode()
        self.assertEqual(self.post(body.replace(b'"@"', b'"' + b"\xff" * 50_000 + b'"'), JSON)[0], 200)
        self.assertEqual(self.node.span_ids("34" * 16), ["00000000000000aa"])

    def test_h34_depth(self):
        deep = b'{"x":' * 10000 + b"1" + b"}" * 10000
        self.assertEqual(self.post(deep, JSON)[0], 400)

    def test_h35_partial_success(self):
        body = request([span("00" * 16, "00000000000000aa"), span("ab" * 16, "00000000000000bb")])
        status, _, answer = self.node.send(body)
        self.assertEqual(status, 200)
        partial = json.loads(answer)["partialSuccess"]
        self.assertEqual(partial["rejectedSpans"], "1")
        self.assertIn("trace", partial["errorMessage"])
        self.assertEqual(self.node.span_ids("ab" * 16), ["00000000000000bb"])

    def test_h36_h37_cors(self):
        origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                  "Access-Control-Request-Headers": "content-type,x-custom"}
        status, headers, _ = self.post(b"", origin, method="OPTIONS")
        self.assertEqual(status, 204)
        self.assertEqual(headers["access-control-allow-origin"], "https://app.example")
        self.assertEqual(headers["access-control-allow-headers"], "content-type,x-custom")
        self.assertIn("POST", headers["access-control-allow-methods"])
        _, headers, _ = self.post(b"{}", {**JSON, "Origin": "https://app.example"})
        self.assertEqual(headers["access-control-allow-origin"], "https://app.example")
        status, headers, _ = self.post(b"", {**origin, "Origin": "https://evil.example"}, method="OPTIONS")
        self.assertEqual(status, 405)
        self.assertNotIn("access-control-allow-origin", headers)

    def test_h39_to_h41_probes_and_absolute_form(self):
        status, _, body = self.post(b"", {}, "/", "GET")
        self.assertEqual(status, 200)
        self.assertTrue(body)
        answer = self.raw(b"POST http://h:4318/v1/traces HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                          b"Content-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n" % len(A1) + A1)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)


class MemoryTest(DaemonTest):
    def test_well_compressed_requests_fit_the_default_budget(self):
        """Spans of one service compress 15 times and more; a refusal here would be repeated for ever."""
        node = self.daemon().start()
        for count in (500, 5000):
            body = json.dumps(request([span(f"{i + 1:032x}", f"{i + 1:016x}", attributes={
                "http.url": "https://example.com/api/users/profile", "text": "x" * 200})
                for i in range(count)])).encode()
            packed = gzip.compress(body)
            self.assertGreater(len(body), 12 * len(packed))
            status, _, answer = http_request(node.ports["http"], "POST", "/v1/traces", packed,
                                             {**JSON, "Content-Encoding": "gzip"})
            self.assertEqual((status, answer), (200, b"{}"))
        filler = os.urandom(2048) + bytes(100_000)  # 50 times smaller when packed
        for size, code in ((40 << 20, 200), (65 << 20, 413)):
            message = b"\xa2\x06" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128,
                                           size >> 21]) + (filler * 1000)[:size]  # an unknown field
            status, _, answer = http_request(node.ports["http"], "POST", "/v1/traces", gzip.compress(message),
                                             {**PROTOBUF, "Content-Encoding": "gzip"})
            self.assertEqual(status, code, answer)
        self.assertEqual(node.metric("fermata_memory_used_bytes"), 0)
        node.stop()


if __name__ == "__main__":
    unittest.main()
