# SPDX-License-Identifier: Apache-2.0
"""Tenants: whose a request is, what each may send, and that nobody sees another's traces."""
import base64
import json
import signal
import socket
import time
import unittest

from harness import TOP, DaemonTest, http_request, request, span, wait_for
from test_otlp_grpc import Call, framed, make_request, make_span

TRACE = "0af7651916cd43dd8448eb211c80319c"
BAD_NAMES = ["", ".", "..", "a/b", "../a", "a\\b", "a b", "%2e%2e", "a%2fb", "x" * 151, "\u00e9", "a:b", "~", "a|b",
             "a,b"]


def export(node, tenant=None, span_id=b"\x0a" * 8, spans=1, port="grpc"):
    """(grpc-status, headers and trailers) of one export."""
    message = make_request(*(make_span(bytes.fromhex(TRACE), span_id=span_id) for _ in range(spans)))
    headers = (("x-scope-orgid", tenant),) if tenant is not None else ()
    answer, _, _ = Call(node.ports[port], headers=headers).send(framed(message), end=True).finish()
    return int(answer["grpc-status"]), answer


def post(node, tenant=None, name="00000000000000aa", count=1, trace=TRACE, headers=None):
    payload = request([span(trace, name) for _ in range(count)])
    status, answer, body = node.send(payload, tenant, headers=headers)
    return status, answer, body.decode(errors="replace")


def raw(port, lines, method="GET", path=f"/api/v2/traces/{TRACE}", body=b""):
    """Status of a request whose header lines are bytes, as http.client would not send them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
        s.sendall(head + b"".join(line + b"\r\n" for line in lines) + b"Connection: close\r\n\r\n" + body)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer


def varints(data):
    """Fields of a protobuf message: number to value, of varints and bytes."""
    found, at = {}, 0

    def number():
        nonlocal at
        shift = value = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        tag = number()
        if tag & 7 == 2:
            size = number()
            found[tag >> 3] = data[at:at + size]
            at += size
        else:
            found[tag >> 3] = number()
    return found


def retry_seconds(answer):
    """google.rpc.RetryInfo out of the trailers of a refused export."""
    text = answer["grpc-status-details-bin"]
    status = varints(base64.b64decode(text + "=" * (-len(text) % 4)))
    info = varints(status[3])
    assert info[1] == b"type.googleapis.com/google.rpc.RetryInfo", info
    delay = varints(varints(info[2])[1])
    return delay.get(1, 0) + delay.get(2, 0) / 1e9


class NamesTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({"upload.enabled": "true", "upload.destination": "dir"}).start()

    def tearDown(self):
        self.node.stop()

    def test_each_sees_its_own_before_and_after_a_block(self):
        node = self.node
        self.assertEqual(post(node, "red", "00000000000000a1")[0], 200)
        self.assertEqual(export(node, "blue", b"\0" * 7 + b"\xb1")[0], 0)
        self.assertEqual(post(node, None, "00000000000000c1")[0], 200)

        def check():
            self.assertEqual(node.span_ids(TRACE, "red"), ["00000000000000a1"])
            self.assertEqual(node.span_ids(TRACE, "blue"), ["00000000000000b1"])
            self.assertEqual(node.span_ids(TRACE), ["00000000000000c1"])
            self.assertEqual(node.span_ids(TRACE, "single-tenant"), ["00000000000000c1"])
            self.assertEqual(node.span_ids(TRACE, "green"), [])
        check()
        node.flush()
        check()
        for tenant in ("red", "blue", "single-tenant"):
            self.assertEqual(len(node.blocks(tenant)), 1)
            bucket = node.data / "bucket" / tenant
            wait_for(lambda: list(bucket.glob("*/meta.json")), 20, f"an upload of {tenant}")
            meta = json.loads(next(bucket.glob("*/meta.json")).read_text())
            self.assertEqual(meta["tenantID"], tenant)
            self.assertEqual(meta["totalObjects"], 1)
        node.stop()
        node.start()
        check()

    def test_names_that_are_none(self):
        for bad in BAD_NAMES:
            self.assertEqual(export(self.node, bad)[0], 3, bad)
            value = b"X-Scope-OrgID: " + bad.encode()
            for port, method, path, body in (("http", "POST", "/v1/traces", b""),
                                             ("query", "GET", f"/api/v2/traces/{TRACE}", b""),
                                             ("query", "GET", f"/api/traces/{TRACE}", b""),
                                             ("jaeger_http", "POST", "/api/traces", b"\0"),
                                             ("zipkin", "POST", "/api/v2/spans", b"[]")):
                kind = b"application/x-thrift" if port == "jaeger_http" else b"application/json"
                lines = [value, b"Content-Type: " + kind]
                self.assertEqual(raw(self.node.ports[port], lines, method, path, body)[0], 400, (bad, port))
        self.assertEqual(list((self.node.data / "blocks").glob("*")), [])

    def test_bytes_that_are_no_text(self):
        for name in (b"a\0b", b"\0", b"a\x01", b"\xff\xfe", b"\xc0\xae\xc0\xae"):
            status, _ = raw(self.node.ports["query"], [b"X-Scope-OrgID: " + name])
            self.assertEqual(status, 400, name)

    def test_the_longest_and_the_strangest_name(self):
        for name in ("x" * 150, "...", "-", "a'(b)!*_.", "CON", "meta.json"):
            self.assertEqual(post(self.node, name)[0], 200, name)
            self.assertEqual(self.node.span_ids(TRACE, name), ["00000000000000aa"])
        self.node.flush()
        for name in ("x" * 150, "...", "-", "a'(b)!*_."):
            self.assertEqual(len(self.node.blocks(name)), 1, name)
            self.assertEqual(self.node.span_ids(TRACE, name), ["00000000000000aa"])

    def test_two_headers(self):
        line = b"X-Scope-OrgID: a"
        for lines in ([line, line], [line, b"x-scope-orgid: b"]):
            status, answer = raw(self.node.ports["query"], lines)
            self.assertEqual(status, 400)
            self.assertIn(b"twice", answer)
            body = json.dumps(request([span(TRACE, "00000000000000aa")])).encode()
            lines = [*lines, b"Content-Type: application/json"]
            self.assertEqual(raw(self.node.ports["http"], lines, "POST", "/v1/traces", body)[0], 400)
        headers = (("x-scope-orgid", "a"), ("x-scope-orgid", "b"))
        answer, _, _ = Call(self.node.ports["grpc"], headers=headers).send(framed(b""), end=True).finish()
        self.assertEqual(answer["grpc-status"], "3")

    def test_several_tenants_in_one_query(self):
        status, answer = raw(self.node.ports["query"], [b"X-Scope-OrgID: a|b"])
        self.assertEqual(status, 400)
        self.assertIn(b"several tenants", answer)


class RatesTest(DaemonTest):
    def test_spans_and_hints(self):
        node = self.daemon({"tenants.rate_spans": "2", "tenants.burst_spans": "10"}).start()
        self.assertEqual(post(node, "a", count=10)[0], 200)
        status, headers, text = post(node, "a", count=4)
        self.assertEqual(status, 429, text)
        self.assertIn(int(headers["retry-after"]), (2, 3))
        code, answer = export(node, "a", spans=4)
        self.assertEqual(code, 14)
        self.assertTrue(1 <= retry_seconds(answer) <= 2.5, retry_seconds(answer))
        self.assertEqual(post(node, "b", count=10)[0], 200)  # its own
        self.assertEqual(post(node, "b", count=11)[0], 413)  # never
        self.assertEqual(export(node, "b", spans=11)[0], 8)
        time.sleep(2.1)
        self.assertEqual(post(node, "a", count=4)[0], 200)
        self.assertEqual(node.metric("fermata_tenant_limited_total", 'tenant="<other>",reason="rate_spans"'), 2)
        self.assertEqual(node.metric("fermata_tenant_limited_total", 'tenant="<other>",reason="burst"'), 2)
        self.assertEqual(len(node.span_ids(TRACE, "a")), 1)
        node.stop()

    def test_bytes(self):
        node = self.daemon({"tenants.rate_bytes": "1KiB", "tenants.burst_bytes": "4KiB"}).start()
        admitted = sum(post(node)[0] == 200 for _ in range(100))
        size = node.metric("fermata_tenant_admitted_bytes_total", 'tenant="single-tenant"')
        self.assertTrue(4096 - 200 < size < 8192, size)
        self.assertEqual(node.metric("fermata_tenant_admitted_spans_total", 'tenant="single-tenant"'), admitted)
        node.stop()

    def test_one_tenant_too_many(self):
        node = self.daemon({"tenants.max_active": "2"}).start()
        self.assertEqual([post(node, name)[0] for name in ("a", "b", "c", "a", None)], [200, 200, 413, 200, 200])
        self.assertEqual(export(node, "d")[0], 8)
        self.assertEqual(node.metric("fermata_tenant_names_refused_total"), 2)
        node.stop()


class OverridesTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.file = self.directory / "overrides.ini"
        self.node = self.daemon({"tenants.overrides_file": str(self.file)})

    def hang_up(self, good=True):
        """SIGHUP, and wait until the file was read."""
        said = self.node.log.read_text().count("tenants.overrides")
        self.node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.node.log.read_text().count("tenants.overrides") > said, 10, "the overrides")
        self.assertEqual(self.node.metric("fermata_tenants_overrides_last_reload_successful"), int(good))

    def test_a_rate_changes(self):
        node = self.node
        self.file.write_text("[tenant a]\nrate_spans = 1\n")
        node.start()
        self.assertEqual(post(node, "a", count=2)[0], 200)
        self.assertEqual(post(node, "a", count=2)[0], 429)
        self.file.write_text("[tenant a]\nrate_spans = 1000000\n")
        self.hang_up()
        time.sleep(0.05)
        self.assertEqual(post(node, "a", count=100)[0], 200)
        self.file.write_text("[tenant a]\nrate_spans = 1\n\n[tenant b\n")
        self.hang_up(good=False)
        self.assertIn("overrides.ini:4:1: error: a section needs its closing bracket", node.log_text())
        time.sleep(0.05)
        self.assertEqual(post(node, "a", count=100)[0], 200)  # the last good one
        self.file.unlink()
        self.hang_up(good=False)
        self.assertEqual(post(node, "a", count=100)[0], 200)
        self.file.write_text("")
        self.hang_up()
        node.stop()

    def test_a_change_is_noticed(self):
        self.file.write_text("")
        self.node.start()
        self.file.write_text("[tenant a]\nburst_spans = 1\nrate_spans = 1\n")
        wait_for(lambda: post(self.node, "a", count=2)[0] == 413, 15, "the change")
        self.node.stop()

    def test_a_broken_file_at_the_start(self):
        self.file.write_text("[tenant a]\nrate_byte = 1\n")
        self.node.start(wait=False)
        self.assertEqual(self.node.process.wait(10), 78)
        self.node.process = None
        self.assertIn('overrides.ini:2:1: error: unknown key \\"rate_byte\\" in [tenant a]'.replace("\\", ""),
                      self.node.log_text().replace("\\", ""))

    def test_it_stops_while_it_would_look_again(self):
        self.file.write_text("")
        self.node.start()
        begin = time.monotonic()
        self.node.stop()
        self.assertLess(time.monotonic() - begin, 5)

    def test_anonymous(self):
        self.file.write_text("[default]\nrequire_identity = true\n[tenant a]\nidentities = anonymous\n"
                             "[tenant b]\nidentities = token:b\n")
        node = self.node.start()
        self.assertEqual(post(node)[0], 200)
        self.assertEqual(node.span_ids(TRACE), ["00000000000000aa"])
        self.assertEqual(node.span_ids(TRACE, "a"), ["00000000000000aa"])
        for name in ("b", "c", "single-tenant"):
            self.assertEqual(post(node, name)[0], 403, name)
            self.assertEqual(export(node, name)[0], 7, name)
            self.assertEqual(raw(node.ports["query"], [b"X-Scope-OrgID: " + name.encode()])[0], 403, name)
        self.assertEqual(post(node, "..")[0], 400)
        self.file.write_text("[default]\nrequire_identity = true\n")
        self.hang_up()
        self.assertEqual(post(node)[0], 403)
        node.stop()

    def test_the_example(self):
        text = (TOP / "config" / "overrides.example.ini").read_text()
        self.file.write_text("".join(line[1:] if line.startswith(";") else line
                                     for line in text.splitlines(keepends=True)))
        self.node.start()
        self.assertEqual(post(self.node, "shop")[0], 403)
        self.assertEqual(post(self.node, "batch")[0], 200)
        self.node.stop()


class TokensTest(DaemonTest):
    """Bearer tokens mapped to tenants, for writes and for queries."""

    def setUp(self):
        super().setUp()
        overrides, tokens = self.directory / "overrides.ini", self.directory / "tokens"
        overrides.write_text("[tenant red]\nidentities = token:red token:both\n"
                             "[tenant blue]\nidentities = token:blue token:both\n")
        tokens.write_text("".join(f"{name}:{name}-secret-secret-secret\n" for name in ("red", "blue", "both", "rest")))
        tokens.chmod(0o600)
        settings = {"tenants.overrides_file": str(overrides)}
        for section in ("receiver.otlp_http", "receiver.otlp_grpc", "query"):
            settings[f"{section}.bearer_tokens_file"] = str(tokens)
        self.node = self.daemon(settings).start(wait=False)
        wait_for(lambda: "serve.ready" in self.node.log_text(), 20, "fermata to be ready")

    def tearDown(self):
        self.node.stop()

    def write(self, token, tenant=None, name="00000000000000aa"):
        return post(self.node, tenant, name, headers={"Authorization": f"Bearer {token}-secret-secret-secret"})[0]

    def read(self, token, tenant=None):
        """Span ids, or the status."""
        headers = {"Authorization": f"Bearer {token}-secret-secret-secret"}
        if tenant:
            headers["X-Scope-OrgID"] = tenant
        status, _, body = http_request(self.node.ports["query"], "GET", f"/api/v2/traces/{TRACE}", headers=headers)
        if status != 200:
            return status
        return sorted(base64.b64decode(item["spanId"]).hex()
                      for resource in json.loads(body)["trace"].get("resourceSpans", [])
                      for scope in resource["scopeSpans"] for item in scope["spans"])

    def test_tokens_are_tenants(self):
        self.assertEqual(self.write("red", name="00000000000000a1"), 200)
        self.assertEqual(self.write("blue", "blue", name="00000000000000b1"), 200)
        self.assertEqual(self.write("both", "red", name="00000000000000a2"), 200)
        self.assertEqual(self.write("rest", "green", name="00000000000000c1"), 200)
        self.assertEqual(self.write("red", "blue"), 403)
        self.assertEqual(self.write("rest", "blue"), 403)
        self.assertEqual(self.write("both"), 400)
        self.assertEqual(self.write("red", ".."), 400)
        self.assertEqual(self.write("nobody"), 401)
        red, blue = ["00000000000000a1", "00000000000000a2"], ["00000000000000b1"]
        self.assertEqual(self.read("red"), red)
        self.assertEqual(self.read("blue"), blue)
        self.assertEqual(self.read("both", "blue"), blue)
        self.assertEqual(self.read("rest", "green"), ["00000000000000c1"])
        self.assertEqual(self.read("rest"), [])
        self.assertEqual([self.read("red", "blue"), self.read("rest", "red"), self.read("both"),
                          self.read("nobody")], [403, 403, 400, 401])


if __name__ == "__main__":
    unittest.main()
