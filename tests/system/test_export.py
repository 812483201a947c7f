# SPDX-License-Identifier: Apache-2.0
"""OTLP exporters: what is stored goes on to other collectors, over both protocols, past outages of
theirs and ours, and what they answer is taken as OTLP has it."""
import gzip
import http.server
import json
import pathlib
import re
import socketserver
import threading
import time

from harness import DaemonTest, free_port, request, run_tool, span, wait_for

KEYS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"

FAST = {"batch_timeout": "100ms", "retry_initial_interval": "50ms", "retry_max_interval": "300ms"}
SENT = "fermata_exporter_sent_spans_total"
DROPPED = "fermata_spans_dropped_total"


class Scripted:
    """An OTLP/HTTP server that answers by a script: (status, headers, body) each, then 200."""

    def __init__(self, script=(), port=0):
        self.script, self.requests, self.hangs_up = list(script), [], False
        self.delay, self.hold, self.now, self.most, self.lock = 0, None, 0, 0, threading.Lock()
        self.beside = []  # how many requests there were when one came whose answer was scripted
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                with outer.lock:
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                    if outer.script:
                        outer.beside.append(outer.now)
                time.sleep(outer.delay)
                while outer.hold and bytes.fromhex(outer.hold.decode()) in body:
                    time.sleep(0.02)
                with outer.lock:
                    outer.now -= 1
                outer.requests.append((time.monotonic(), self.path, dict(self.headers), body))
                status, headers, answer = outer.script.pop(0) if outer.script else (200, {}, b"")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.close_connection = self.close_connection or outer.hangs_up

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the daemon was killed meanwhile

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def trace_id(number):
    return f"{number + 1:032x}"


class ExportTest(DaemonTest):
    def upstream(self, name="upstream", settings=None):
        return self.daemon(settings, name)

    def node(self, exporters, settings=None):
        """exporters: {name: settings}."""
        all_settings = dict(settings or {})
        for name, own in exporters.items():
            for key, value in {**FAST, **own}.items():
                all_settings[f"exporter.otlp.{name}.{key}"] = value
        return self.daemon(all_settings, "node")

    def scripted(self, script=(), port=0):
        server = Scripted(script, port)
        self.addCleanup(server.close)
        return server

    def send(self, node, first, count, spans=2, tenant=None, text=""):
        for number in range(first, first + count):
            batch = [span(trace_id(number), f"{i + 1:016x}", attributes={"text": text})
                     for i in range(spans)]
            status, _, body = node.send(request(batch), tenant)
            self.assertEqual(status, 200, body)

    def wait_sent(self, node, count, name="a", seconds=20):
        def sent():
            return node.metric(SENT, f'exporter="{name}"') >= count
        try:
            wait_for(sent, seconds, f"{count} spans sent by {name}")
        except AssertionError as error:
            have = node.metric(SENT, f'exporter="{name}"')
            raise AssertionError(f"{error}: {have} were\n{node.log_text()}") from None

    def assert_has(self, upstream, first, count, spans=2, tenant=None):
        expected = [f"{i + 1:016x}" for i in range(spans)]
        for number in range(first, first + count):
            self.assertEqual(upstream.span_ids(trace_id(number), tenant), expected, number)


class WayTest(ExportTest):
    def test_every_way(self):
        """Both protocols, every compression, side by side; nothing twice."""
        for protocol, port in (("grpc", "grpc"), ("http", "http")):
            for compression in ("none", "gzip", "zstd"):
                with self.subTest(protocol=protocol, compression=compression):
                    name = f"{protocol}-{compression}"
                    upstream = self.upstream(f"upstream-{name}").start()
                    node = self.daemon({f"exporter.otlp.a.{key}": value for key, value in {
                        **FAST, "endpoint": f"http://127.0.0.1:{upstream.ports[port]}", "protocol": protocol,
                        "compression": compression}.items()}, f"node-{name}").start()
                    self.send(node, 0, 20)
                    self.wait_sent(node, 40)
                    self.assert_has(upstream, 0, 20)
                    self.assertEqual(upstream.metric("fermata_store_appended_spans_total"), 40)
                    self.assertEqual(node.metric("fermata_exporter_lag_spans"), 0)
                    self.assertEqual(node.metric(DROPPED), 0)
                    node.kill()
                    upstream.kill()

    def test_status_says_how_far_it_is(self):
        upstream = self.upstream().start()
        gone = free_port()
        node = self.node({"a": {"endpoint": f"http://127.0.0.1:{upstream.ports['http']}", "protocol": "http"},
                          "b": {"endpoint": f"http://127.0.0.1:{gone}", "protocol": "http"}}).start()
        self.send(node, 0, 10)
        self.wait_sent(node, 20)
        url = f"http://127.0.0.1:{node.ports['query']}"

        def rows():
            found = json.loads(run_tool("status", "--url", url, "--json").stdout)["exporters"]
            return {row["name"]: row for row in found}
        wait_for(lambda: rows()["a"]["lag_spans"] == 0 and rows()["b"]["problem"], 10, "both said how they are")
        self.assertEqual(rows()["a"]["sent_spans"], 20)
        self.assertEqual((rows()["b"]["sent_spans"], rows()["b"]["lag_spans"]), (0, 20))
        text = run_tool("status", "--url", url).stdout
        self.assertIn("export      a: 20 spans sent, 0 waiting", text)
        self.assertIn("export      b: 0 spans sent, 20 waiting", text)

    def test_unix_socket_and_headers(self):
        server = self.scripted()
        headers = self.directory / "headers"
        headers.write_text("# for the gateway\nAuthorization: Bearer secret-1\n\nX-Site: plant-7\n")
        node = self.node({"a": {"endpoint": f"http://127.0.0.1:{server.port}/otlp", "protocol": "http",
                                "compression": "gzip", "headers_file": str(headers)}}).start()
        self.send(node, 0, 1)
        self.wait_sent(node, 2)
        _, path, seen, _ = server.requests[0]
        self.assertEqual(path, "/otlp/v1/traces")
        self.assertEqual(seen["authorization"], "Bearer secret-1")
        self.assertEqual(seen["x-site"], "plant-7")
        self.assertEqual(seen["x-scope-orgid"], "single-tenant")
        self.assertEqual(seen["content-encoding"], "gzip")
        self.assertNotIn("secret-1", node.log_text())

    def test_unix_upstream(self):
        path = self.directory / "otlp.sock"
        upstream = self.upstream(settings={"receiver.otlp_grpc.endpoint": f"unix:{path}"}).start()
        node = self.node({"a": {"endpoint": f"unix:{path}"}}).start()
        self.send(node, 0, 3)
        self.wait_sent(node, 6)
        self.assert_has(upstream, 0, 3)

    def test_tenants(self):
        upstream = self.upstream().start()
        node = self.node({
            "a": {"endpoint": f"127.0.0.1:{upstream.ports['grpc']}"},
            "b": {"endpoint": f"127.0.0.1:{upstream.ports['grpc']}", "tenant": "everybody"},
        }).start()
        self.send(node, 0, 5, tenant="red")
        self.send(node, 10, 5, tenant="blue")
        self.wait_sent(node, 20)
        self.wait_sent(node, 20, "b")
        self.assert_has(upstream, 0, 5, tenant="red")
        self.assert_has(upstream, 10, 5, tenant="blue")
        self.assert_has(upstream, 0, 5, tenant="everybody")
        self.assert_has(upstream, 10, 5, tenant="everybody")


class ConnectionTest(ExportTest):
    def test_mutual_tls(self):
        settings = {}
        for section in ("receiver.otlp_http", "receiver.otlp_grpc"):
            settings[f"{section}.tls_cert_file"] = str(KEYS / "server.pem")
            settings[f"{section}.tls_key_file"] = str(KEYS / "server.key")
            settings[f"{section}.tls_client_ca_file"] = str(KEYS / "ca.pem")
        upstream = self.upstream(settings=settings).start()
        trust = {"tls_ca_file": str(KEYS / "ca.pem")}
        ours = {"tls_cert_file": str(KEYS / "client.pem"), "tls_key_file": str(KEYS / "client.key")}
        grpc, web = (f"https://localhost:{upstream.ports[name]}" for name in ("grpc", "http"))
        node = self.node({
            "grpc": {"endpoint": grpc, **trust, **ours},
            "http": {"endpoint": web, "protocol": "http", **trust, **ours},
            "nobody": {"endpoint": grpc, **trust},
            "distrust": {"endpoint": web, "protocol": "http", **ours},
            "other-name": {"endpoint": grpc, **trust, **ours, "tls_server_name": "other.example"},
        }).start()
        self.send(node, 0, 5)
        self.wait_sent(node, 10, "grpc")
        self.wait_sent(node, 10, "http")
        self.assert_has(upstream, 0, 5)
        for name in ("nobody", "distrust", "other-name"):
            wait_for(lambda: node.metric("fermata_exporter_up", f'"{name}"') == 0, what=f"{name} to fail")
            self.assertEqual(node.metric(SENT, f'"{name}"'), 0)
            self.assertEqual(node.metric(DROPPED, f'"{name}"'), 0)

    def test_kept_connection_that_was_closed(self):
        """A server that hangs up between two requests costs no failure."""
        server = self.scripted()
        server.hangs_up = True
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http"}}).start()
        for number in range(5):
            self.send(node, number, 1)
            self.wait_sent(node, 2 * (number + 1))
        self.assertEqual(node.metric("fermata_exporter_failures_total"), 0)

    def test_silent_server(self):
        """Accepts, and never says a word."""
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler,
                                    bind_and_activate=True) as silent:
            live = self.scripted()
            node = self.node({"a": {
                "endpoint": f"127.0.0.1:{silent.server_address[1]} 127.0.0.1:{live.port}",
                "protocol": "http", "timeout": "300ms"}}).start()
            self.send(node, 0, 1)
            self.wait_sent(node, 2)
            self.assertGreaterEqual(node.metric("fermata_exporter_failures_total", "timeout"), 1)

    def test_headers_file_that_is_not_there(self):
        server = self.scripted()
        headers = self.directory / "headers"
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http",
                                "headers_file": str(headers)}}).start()
        self.send(node, 0, 1)
        wait_for(lambda: node.metric("fermata_exporter_up") == 0, what="the failure")
        self.assertEqual(server.requests, [])
        headers.write_text("Authorization: Bearer x\n")
        self.wait_sent(node, 2)
        self.assertEqual(server.requests[0][2]["authorization"], "Bearer x")

    def test_busy_upstream(self):
        """Another fermata whose tenants may not send as fast: RetryInfo, nothing lost."""
        upstream = self.upstream(settings={"tenants.rate_spans": 100, "tenants.burst_spans": 100}).start()
        node = self.node({"a": {"endpoint": f"127.0.0.1:{upstream.ports['grpc']}", "batch_max_spans": 50}}).start()
        self.send(node, 0, 150)
        self.wait_sent(node, 300)
        self.assertGreaterEqual(node.metric("fermata_exporter_failures_total", "busy"), 1)
        self.assertEqual(node.metric(DROPPED), 0)
        self.assert_has(upstream, 0, 150)

    def test_wrong_settings(self):
        for settings, words in (
                ({"endpoint": ""}, "has no endpoint"),
                ({"endpoint": "ftp://x"}, "neither http:// nor https://"),
                ({"endpoint": "x", "batch_max_spans": 0}, "out of its range"),
                ({"endpoint": "https://x:4317 http://localhost:PORT/v1/traces"}, "own receiver"),
                ({"endpoint": "127.0.0.1:PORT"}, "own receiver"),
                ({"endpoint": "x", "tls_cert_file": "/x"}, "only one of"),
                ({"endpoint": "x", "max_in_flight": 0}, "out of its range"),
                ({"endpoint": "x", "max_in_flight": 9}, "out of its range"),
                ({"endpoint": "x", "proxy": "unix:/x"}, "is not host:port"),
                ({"endpoint": "x", "proxy": "http://x"}, "is not host:port"),
                ({"endpoint": "https://x", "tls_ca_file": "/nonexistent"}, "nonexistent")):
            with self.subTest(settings=settings):
                node = self.node({"a": settings})
                port = str(node.ports["http"])
                node.settings["exporter.otlp.a.endpoint"] = settings["endpoint"].replace("PORT", port)
                node.start(wait=False)
                self.assertEqual(node.process.wait(10), 78)
                self.assertIn(words, node.log_text())
                node.process = None
                node.log.unlink()


class ReloadTest(ExportTest):
    def test_other_settings_without_a_restart(self):
        """A client certificate, headers, a place, a compression: from the next request on."""
        settings = {f"receiver.otlp_grpc.{key}": str(KEYS / file) for key, file in (
            ("tls_cert_file", "server.pem"), ("tls_key_file", "server.key"), ("tls_client_ca_file", "ca.pem"))}
        strict, plain = self.upstream(settings=settings).start(), self.scripted()
        node = self.node({
            "a": {"endpoint": f"https://localhost:{strict.ports['grpc']}", "tls_ca_file": KEYS / "ca.pem"},
            "b": {"endpoint": f"127.0.0.1:{free_port()}", "protocol": "http"},
        }).start()
        self.send(node, 0, 3)
        wait_for(lambda: all(node.metric("fermata_exporter_failures_total", f'"{name}"') for name in "ab"),
                 what="both to fail")
        headers = self.directory / "headers"
        headers.write_text("X-Site: plant-7\n")
        said = node.reload({
            "exporter.otlp.a.tls_cert_file": KEYS / "client.pem", "exporter.otlp.a.tls_key_file": KEYS / "client.key",
            "exporter.otlp.b.endpoint": f"127.0.0.1:{plain.port}", "exporter.otlp.b.headers_file": headers,
            "exporter.otlp.b.compression": "gzip"})
        self.assertNotIn("result=restart", said)
        for name in "ab":
            self.wait_sent(node, 6, name)
        self.assert_has(strict, 0, 3)
        self.assertEqual({head["x-site"] for _, _, head, _ in plain.requests}, {"plant-7"})
        self.assertEqual({head["content-encoding"] for _, _, head, _ in plain.requests}, {"gzip"})
        headers.write_text("X-Site: plant-8\n")
        node.reload({"exporter.otlp.b.headers_file": headers})
        self.send(node, 3, 1)
        self.wait_sent(node, 8, "b")
        self.assertEqual(plain.requests[-1][2]["x-site"], "plant-8")

    def test_what_needs_a_restart_is_said(self):
        server = self.scripted()
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http"}}).start()
        said = node.reload({
            "exporter.otlp.a.protocol": "grpc", "exporter.otlp.a.max_in_flight": 4, "exporter.otlp.a.timeout": "5s",
            "exporter.otlp.a.endpoint": f"127.0.0.1:{server.port} 127.0.0.1:1",
            "exporter.otlp.new.endpoint": "127.0.0.1:1", "wal.segment_size": "1MiB", "fermata.log_level": "debug"})
        keys = re.findall(r'result=restart count=5 keys="([^"]*)"', said)
        self.assertEqual(set(keys[0].split()), {
            "exporter.otlp.a.protocol", "exporter.otlp.a.max_in_flight", "exporter.otlp.a.endpoint",
            "exporter.otlp.new", "wal.segment_size"})
        self.send(node, 0, 1)
        self.wait_sent(node, 2)  # goes on as it was

    def test_a_certificate_that_cannot_be_read_changes_nothing(self):
        upstream = self.upstream(settings={
            "receiver.otlp_http.tls_cert_file": KEYS / "server.pem", "receiver.otlp_http.tls_key_file": KEYS / "server.key"}).start()
        node = self.node({"a": {"endpoint": f"https://localhost:{upstream.ports['http']}", "protocol": "http",
                                "tls_ca_file": KEYS / "ca.pem"}}).start()
        self.assertIn("event=export.reload result=refused exporter=a",
                      node.reload({"exporter.otlp.a.tls_ca_file": "/nonexistent"}))
        self.send(node, 0, 1)
        self.wait_sent(node, 2)


class InFlightTest(ExportTest):
    """Several requests at a time."""

    def slow(self, seconds):
        server = self.scripted()
        server.delay = seconds
        return server

    def test_at_a_time(self):
        """As many as are allowed, and what comes of each is its own."""
        for most in (1, 3):
            with self.subTest(most=most):
                server = self.slow(0.3)
                node = self.daemon({f"exporter.otlp.a.{key}": value for key, value in {
                    **FAST, "endpoint": f"127.0.0.1:{server.port}", "protocol": "http", "max_in_flight": most,
                    "batch_max_spans": 2, "start": "oldest"}.items()}, f"node-{most}").start()
                self.send(node, 0, 12)
                self.wait_sent(node, 24)
                self.assertEqual(server.most, most)
                self.assertEqual(len(server.requests), 12)
                self.assertEqual(node.metric("fermata_exporter_lag_spans"), 0)
                node.kill()

    def test_the_place_waits_for_the_oldest(self):
        """Killed while the first of three is not answered: it is sent again, and so are those behind it."""
        server = self.slow(0)
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http", "max_in_flight": 3,
                                "batch_max_spans": 2, "compression": "none"}}).start()
        self.send(node, 0, 1)
        self.wait_sent(node, 2)  # it flows
        server.hold = trace_id(1).encode()
        self.send(node, 1, 6)
        self.wait_sent(node, 6)  # two overtake the one that is held
        self.assertGreaterEqual(node.metric("fermata_exporter_lag_spans"), 10)
        time.sleep(1.3)  # a place that moved would be on disk
        node.kill()
        server.hold = None
        before = len(server.requests)
        node.start()
        self.wait_sent(node, 12)
        bodies = b"".join(body for _, _, _, body in server.requests[before:])
        for number in range(1, 7):
            self.assertIn(bytes.fromhex(trace_id(number)), bodies)
        self.assertNotIn(bytes.fromhex(trace_id(0)), bodies)

    def test_an_outage_is_asked_about_once_at_a_time(self):
        server = self.slow(0)
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http", "max_in_flight": 4,
                                "batch_max_spans": 2}}).start()
        self.send(node, 0, 1)
        self.wait_sent(node, 2)
        server.delay = 0.2
        server.script = [(503, {}, b"")] * 12
        self.send(node, 1, 20)
        self.wait_sent(node, 42)
        self.assertEqual(len(server.beside), 12)
        self.assertEqual(server.beside[4:], [1] * 8)
        self.assertEqual(node.metric(DROPPED), 0)
        self.assertEqual(node.metric("fermata_exporter_failures_total", "busy"), 12)


class OutageTest(ExportTest):
    def run_outage(self, settings, flush):
        """The upstream is away, the node dies, comes back, and then the upstream."""
        upstream = self.upstream().start()
        live = self.upstream("live").start()
        node = self.node({
            "a": {"endpoint": f"127.0.0.1:{upstream.ports['grpc']}"},
            "live": {"endpoint": f"127.0.0.1:{live.ports['http']}", "protocol": "http"},
        }, settings).start()
        self.send(node, 0, 10)
        self.wait_sent(node, 20)
        upstream.kill()
        self.send(node, 10, 40)
        if flush:
            node.flush()
        self.send(node, 50, 10)
        self.wait_sent(node, 120, "live")  # is not held up
        self.assertEqual(node.metric("fermata_exporter_lag_spans", '"a"'), 100)
        self.assertGreater(node.metric("fermata_exporter_lag_bytes", '"a"'), 0)
        self.assertGreater(node.metric("fermata_exporter_lag_seconds", '"a"'), 0)
        time.sleep(1.2)  # the place of what was sent is on disk
        node.kill()
        node.start()
        self.send(node, 60, 10)
        if flush:
            node.flush()
        self.assertEqual(node.metric("fermata_exporter_lag_spans", '"a"'), 120)
        upstream.start()
        self.wait_sent(node, 120)
        self.assert_has(upstream, 0, 70)
        wait_for(lambda: node.metric("fermata_exporter_lag_spans", '"a"') == 0, what="no lag")
        self.assertEqual(node.metric(SENT, '"a"'), 120)
        self.assertEqual(node.metric(DROPPED), 0)
        self.assert_has(live, 0, 70)
        self.assertEqual(node.metric("fermata_exporter_up", '"a"'), 1)

    def test_from_the_log(self):
        self.run_outage({}, flush=False)

    def test_from_blocks(self):
        self.run_outage({"wal.segment_size": "64KiB"}, flush=True)

    def test_kill_in_the_middle_of_catching_up(self):
        upstream = self.upstream().start()
        upstream.kill()
        node = self.node({"a": {"endpoint": f"127.0.0.1:{upstream.ports['grpc']}", "batch_max_spans": 20}},
                         {"wal.segment_size": "64KiB"}).start()
        run_tool("emit", "--endpoint", f"127.0.0.1:{node.ports['http']}", "--total", 20000, "--seed", 3,
                 "--ledger", self.directory / "acked", check=0)
        node.flush()
        upstream.start()
        for _ in range(4):
            time.sleep(0.4)
            node.kill()
            node.start()
        wait_for(lambda: node.metric("fermata_exporter_lag_spans") == 0, 60, "no lag")
        traces = {}
        for line in (self.directory / "acked").read_text().splitlines():
            trace, span_id = line.split()[:2]
            traces.setdefault(trace, set()).add(span_id)
        for trace, expected in traces.items():
            self.assertEqual(set(upstream.span_ids(trace)), expected, trace)

    def test_new_exporter(self):
        """One that is new begins with what comes, or with all there is; the place outlives both."""
        upstream = self.upstream().start()
        first = self.node({}).start()
        self.send(first, 0, 5)
        first.flush()
        self.send(first, 5, 5)
        first.stop()
        endpoint = f"127.0.0.1:{upstream.ports['grpc']}"
        node = self.node({"a": {"endpoint": endpoint, "tenant": "now"},
                          "b": {"endpoint": endpoint, "tenant": "all", "start": "oldest"}}).start()
        self.send(node, 10, 5)
        self.wait_sent(node, 10, "a")
        self.wait_sent(node, 30, "b")
        self.assert_has(upstream, 0, 15, tenant="all")
        self.assert_has(upstream, 10, 5, tenant="now")
        node.stop()
        node.start()
        self.send(node, 15, 1)
        self.wait_sent(node, 2, "a")
        self.wait_sent(node, 2, "b")
        time.sleep(0.3)
        self.assertEqual(node.metric(SENT, '"a"'), 2)
        self.assertEqual(node.metric(SENT, '"b"'), 2)

    def test_expired(self):
        node = self.node({"a": {"endpoint": f"127.0.0.1:{free_port()}"}},
                         {"storage.quota": "1MiB", "storage.on_full": "drop_oldest",
                          "wal.segment_size": "64KiB", "upload.enabled": "false"}).start()
        for number in range(40):
            run_tool("emit", "--endpoint", f"127.0.0.1:{node.ports['http']}", "--total", 5000,
                     "--seed", number, check=0)
            node.flush()
            if node.metric(DROPPED, "expired"):
                break
        wait_for(lambda: node.metric(DROPPED, "expired") > 0, what="expired spans")


class AnswerTest(ExportTest):
    def one(self, script, settings=None, spans=2):
        server = self.scripted(script)
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http",
                                "compression": "none", **(settings or {})}}).start()
        self.send(node, 0, 1, spans)
        return server, node

    def test_statuses(self):
        """status, headers: is it sent again?"""
        table = [(429, {}, True), (502, {}, True), (503, {}, True), (504, {}, True),
                 (400, {}, False), (401, {}, False), (403, {}, False), (404, {}, False),
                 (500, {}, False), (501, {}, False), (301, {"Location": "/x"}, False)]
        server = self.scripted()
        node = self.node({"a": {"endpoint": f"127.0.0.1:{server.port}", "protocol": "http",
                                "compression": "none"}}).start()
        sent = dropped = 0
        for number, (status, headers, again) in enumerate(table):
            with self.subTest(status=status):
                server.script.append((status, headers, b"no"))
                before = len(server.requests)
                self.send(node, number, 1)
                sent, dropped = sent + 2 * again, dropped + 2 * (not again)
                wait_for(lambda: node.metric(SENT) == sent and node.metric(DROPPED, "refused") == dropped,
                         what=f"{status} dealt with")
                self.assertEqual(len(server.requests) - before, 1 + again)
        self.assertEqual(node.metric("fermata_exporter_failures_total", "busy"), 4)

    def test_retry_after(self):
        server, node = self.one([(503, {"Retry-After": "2"}, b"")])
        self.wait_sent(node, 2)
        self.assertGreaterEqual(server.requests[1][0] - server.requests[0][0], 1.9)
        self.assertEqual(server.requests[1][3], server.requests[0][3])

    def test_partial_success(self):
        # ExportTraceServiceResponse{partial_success{rejected_spans: 3, error_message: "old"}}
        server, node = self.one([(200, {}, bytes.fromhex("0a07080312036f6c64"))], spans=5)
        self.wait_sent(node, 2)
        self.assertEqual(node.metric(DROPPED, "rejected"), 3)
        self.assertEqual(len(server.requests), 1)

    def test_too_large(self):
        server, node = self.one([(413, {}, b"")] * 2, spans=8)
        self.wait_sent(node, 8)
        sizes = [len(body) for _, _, _, body in server.requests]
        self.assertEqual(len(sizes), 6)  # 8, 4, then four times 2
        self.assertLess(max(sizes[2:]), sizes[0] / 2)
        server.script[:] = [(413, {}, b"")] * 20
        self.send(node, 1, 1, 1)
        wait_for(lambda: node.metric(DROPPED, "too_large") == 1, what="one span too large")

    def test_weaker_compression(self):
        server, node = self.one([(415, {}, b"")] * 2, {"compression": "zstd"})
        self.wait_sent(node, 2)
        self.assertEqual([head.get("content-encoding") for _, _, head, _ in server.requests],
                         ["zstd", "gzip", None])

    def test_large_record_in_parts(self):
        server, node = self.one([], {"batch_max_spans": 10}, spans=100)
        self.wait_sent(node, 100)
        self.assertEqual(len(server.requests), 10)

    def test_gives_up_if_told_so(self):
        _, node = self.one([(503, {}, b"")] * 50, {"retry_max_elapsed_time": "500ms"})
        wait_for(lambda: node.metric(DROPPED, "gave_up") == 2, what="giving up")


class SeveralTest(ExportTest):
    def test_failover(self):
        first, second = self.upstream("first").start(), self.upstream("second").start()
        node = self.node({"a": {"endpoint": f"127.0.0.1:{first.ports['grpc']} 127.0.0.1:{second.ports['grpc']}"}})
        node.start()
        self.send(node, 0, 5)
        self.wait_sent(node, 10)
        self.assert_has(first, 0, 5)
        first.kill()
        self.send(node, 5, 5)
        self.wait_sent(node, 20)
        self.assert_has(second, 5, 5)
        first.start()
        time.sleep(0.5)
        self.send(node, 10, 5)
        self.wait_sent(node, 30)
        self.assert_has(first, 10, 5)

    def test_by_trace(self):
        upstreams = [self.upstream(f"upstream-{i}").start() for i in range(3)]
        node = self.node({"a": {
            "endpoint": " ".join(f"127.0.0.1:{u.ports['grpc']}" for u in upstreams), "balance": "trace_id"}})
        node.start()

        def owners(first, count):
            found = []
            for number in range(first, first + count):
                where = [i for i, u in enumerate(upstreams) if u.process and u.span_ids(trace_id(number))]
                self.assertEqual(len(where), 1, number)
                found.append(where[0])
            return found

        self.send(node, 0, 60, 1)
        self.wait_sent(node, 60)
        before = owners(0, 60)
        self.assertEqual(set(before), {0, 1, 2})
        for number in range(60):  # the second half of each trace goes where the first one went
            self.assertEqual(node.send(request([span(trace_id(number), "00000000000000ff")]))[0], 200)
        self.wait_sent(node, 120)
        self.assertEqual(owners(0, 60), before)
        upstreams[1].kill()
        self.send(node, 100, 60, 1)
        self.wait_sent(node, 180)
        self.assertEqual(set(owners(100, 60)), {0, 2})
