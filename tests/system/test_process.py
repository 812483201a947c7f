# SPDX-License-Identifier: Apache-2.0
"""Processors: what is configured is what is stored, through every way in."""
import gzip
import http.server
import json
import socket
import subprocess
import threading
import time

from harness import FERMATA, DaemonTest, http_request, request, span, wait_for


def value_of(value):
    for key in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if key in value:
            return value[key]
    return value


def attributes(owner):
    return {a["key"]: value_of(a["value"]) for a in owner.get("attributes", [])}


class ProcessTest(DaemonTest):
    def node(self, settings, **keywords):
        return self.daemon(settings).start(**keywords)

    def read(self, daemon, trace_id):
        """(resource attributes, span) of every span of the trace."""
        found = []
        for resource in daemon.trace(trace_id)["trace"].get("resourceSpans", []):
            for scope in resource.get("scopeSpans", []):
                for item in scope.get("spans", []):
                    found.append((attributes(resource.get("resource", {})), item))
        return found

    def one(self, daemon, trace_id):
        found = self.read(daemon, trace_id)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_other_processors_without_a_restart(self):
        daemon = self.node({"resource.attributes": "site=north",
                            "processor.filter.health.action": "drop",
                            "processor.filter.health.match_name": "healthz",
                            "processor.attributes.team.key": "team", "processor.attributes.team.value": "red"})

        def send(number, name="op", service="shop"):
            item = span(f"{number:032x}", f"{number:016x}", name)
            self.assertEqual(daemon.send(request([item], service))[0], 200)
        send(1)
        send(2, "healthz")
        said = daemon.reload({
            "resource.attributes": "site=south", "processor.filter.health.match_name": None,
            "processor.filter.health.match_service": "probe", "processor.attributes.team.value": "blue",
            "processor.attributes.more.key": "more", "processor.attributes.more.value": "1"})
        self.assertNotIn("result=restart", said)
        send(3)
        send(4, "healthz")
        send(5, service="probe")
        for number, site, team, more in ((1, "north", "red", None), (3, "south", "blue", "1"),
                                         (4, "south", "blue", "1")):
            resource, item = self.one(daemon, f"{number:032x}")
            self.assertEqual((resource["site"], attributes(item)["team"], attributes(item).get("more")),
                             (site, team, more))
        self.assertEqual(daemon.metric("fermata_spans_dropped_total", 'reason="filter.health"'), 2)
        self.assertEqual(daemon.metric("fermata_processor_changed_total", '"attributes.team"'), 3)
        self.assertIn("result=refused", daemon.reload({"processor.filter.health.match_service": "=~ ("}))
        send(6, service="probe")
        self.assertEqual(daemon.metric("fermata_spans_dropped_total", 'reason="filter.health"'), 3)
        daemon.reload({key: None for key in daemon.settings if key.startswith(("processor.", "resource."))})
        send(7, service="probe")
        resource, item = self.one(daemon, f"{7:032x}")
        self.assertNotIn("team", attributes(item))
        self.assertNotIn("site", resource)

    def test_reloads_under_load(self):
        """Requests under way end with the processors they began with; nothing is lost or miscounted."""
        daemon = self.node({"processor.attributes.team.key": "team", "processor.attributes.team.value": "0"})
        sender = subprocess.Popen([str(FERMATA), "emit", "--endpoint", f"127.0.0.1:{daemon.ports['http']}",
                                   "--connections", "4", "--total", "60000", "--seed", "5"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        number = 0
        while sender.poll() is None or number < 20:
            number += 1
            more = {f"processor.attributes.n{i}.{key}": (text if i < number % 5 else None)
                    for i in range(5) for key, text in (("key", f"n{i}"), ("value", "x"))}
            daemon.reload({"processor.attributes.team.value": number, **more})
            time.sleep(0.15)  # the log has room for ten lines of a kind a second
        self.assertEqual(sender.returncode, 0)
        accepted = daemon.metric("fermata_receiver_accepted_spans_total")
        self.assertGreaterEqual(accepted, 60000)
        self.assertEqual(daemon.metric("fermata_processor_spans_total", '"attributes.team"'), accepted)
        daemon.stop()

    def test_attributes_redaction_rename(self):
        daemon = self.node({
            "resource.attributes": "site=north\n deployment.environment.name=prod",
            "processor.attributes.password.action": "hash",
            "processor.attributes.password.key": "user.password",
            "processor.attributes.team.key": "team",
            "processor.attributes.team.value": "7",
            "processor.attributes.team.type": "int",
            "processor.attributes.team.match_service": "=~ shop|till",
            "processor.redaction.mail.presets": "email card address token",
            "processor.rename.route.template": "{http.request.method} {http.route}",
        })
        one, other = "a" * 32, "b" * 32
        mine = span(one, "1" * 16, "GET", attributes={
            "http.request.method": "GET", "http.route": "/pay/{id}", "user.password": "hunter2",
            "note": "ask ann@example.org, card 4111 1111 1111 1111, from 10.1.2.3"})
        self.assertEqual(daemon.send(request([mine], "shop"))[0], 200)
        self.assertEqual(daemon.send(request([span(other, "2" * 16, "plain")], "other"))[0], 200)
        resource, item = self.one(daemon, one)
        self.assertEqual(resource, {"service.name": "shop", "site": "north",
                                    "deployment.environment.name": "prod"})
        self.assertEqual(item["name"], "GET /pay/{id}")
        have = attributes(item)
        self.assertEqual(have["note"], "ask ****, card ****, from ****")
        self.assertEqual(have["user.password"],
                         "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7")
        self.assertEqual(str(have["team"]), "7")
        resource, item = self.one(daemon, other)
        self.assertNotIn("team", attributes(item))
        self.assertEqual(item["name"], "plain")
        self.assertEqual(daemon.metric("fermata_processor_redacted_values_total"), 3)
        self.assertEqual(daemon.metric("fermata_processor_changed_total", '"rename.route"'), 1)
        self.assertEqual(daemon.metric("fermata_processor_spans_total", '"rename.route"'), 2)

    def test_filter_in_file_order(self):
        """Dropped spans are acknowledged and counted; a request of which nothing is left succeeds."""
        daemon = self.node({
            "processor.filter.health.match_name": "=~ GET /health.*",
            "processor.filter.slow.action": "keep",
            "processor.filter.slow.match_duration": ">= 5ms",
        })
        trace = "c" * 32
        spans = [span(trace, "1" * 16, "GET /healthz"), span(trace, "2" * 16, "fast", duration_ms=1),
                 span(trace, "3" * 16, "kept")]
        status, _, body = daemon.send(request(spans))
        self.assertEqual((status, json.loads(body)), (200, {}))
        self.assertEqual(daemon.span_ids(trace), ["3" * 16])
        self.assertEqual(daemon.send(request(spans[:1]))[0], 200)
        dropped = "fermata_spans_dropped_total"
        self.assertEqual(daemon.metric(dropped, 'stage="process",reason="filter.health"'), 2)
        self.assertEqual(daemon.metric(dropped, 'stage="process",reason="filter.slow"'), 1)
        self.assertEqual(daemon.metric("fermata_receiver_accepted_spans_total", "otlp_http"), 4)
        daemon.kill()
        daemon.start()
        self.assertEqual(daemon.span_ids(trace), ["3" * 16])

    def test_large_and_compressed_requests(self):
        """Decoded in a job; grown by the processors."""
        daemon = self.node({"processor.attributes.a.key": "note",
                            "processor.attributes.a.value": "x" * 150,
                            "processor.filter.odd.match_attribute": "n =~ .*[13579]"})
        trace = "d" * 32
        spans = [span(trace, f"{i + 1:016x}", attributes={"n": i}) for i in range(3000)]
        body = gzip.compress(json.dumps(request(spans)).encode())
        status, _, _ = http_request(daemon.ports["http"], "POST", "/v1/traces", body, {
            "Content-Type": "application/json", "Content-Encoding": "gzip"})
        self.assertEqual(status, 200)
        found = self.read(daemon, trace)
        self.assertEqual(len(found), 1500)
        self.assertTrue(all(attributes(s)["note"] == "x" * 150 for _, s in found))

    def test_datagrams(self):
        daemon = self.node({"processor.filter.a.match_name": "=~ drop.*",
                            "processor.attributes.a.key": "seen", "processor.attributes.a.value": "yes"})
        run = subprocess.run([str(FERMATA), "emit", "--protocol", "jaeger_compact", "--endpoint",
                              f"127.0.0.1:{daemon.ports['compact']}", "--total", "50", "--batch", "10", "--rate", "1000"],
                             capture_output=True, text=True, timeout=30)
        self.assertEqual(run.returncode, 0, run.stderr)
        seen = "fermata_processor_changed_total"
        wait_for(lambda: daemon.metric(seen, '"attributes.a"') >= 50, what="datagrams processed")

    def test_detection(self):
        """From the environment, mounted files and a metadata service; never over what is there."""
        pod = self.directory / "pod"
        pod.mkdir()
        (pod / "name").write_text("till-7\n")
        (pod / "namespace").write_text("shop")
        (pod / "labels").write_text('app="till"\ntier="a\\"b"\n')

        class Metadata(http.server.BaseHTTPRequestHandler):
            def answer(self, body):
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self):
                good = self.path == "/latest/api/token"
                self.answer(b"secret" if good else b"")

            def do_GET(self):
                good = self.path.startswith("/latest/dynamic/") and \
                    self.headers["X-aws-ec2-metadata-token"] == "secret"
                self.answer(json.dumps({"region": "eu-central-1", "instanceId": "i-1",
                                        "tags": ["x"]}).encode() if good else b"")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        daemon = self.node({
            "resource.detectors": "env host os systemd container k8s cloud",
            "resource.detect_timeout": "5s",
            "resource.k8s_dir": str(pod),
            "resource.cloud_endpoint": f"127.0.0.1:{server.server_port}",
        }, env={"OTEL_RESOURCE_ATTRIBUTES": "team=a%20b,service.name=mine,host.name=from-env"})
        trace = "e" * 32
        self.assertEqual(daemon.send(request([span(trace, "1" * 16)], "shop"))[0], 200)
        resource, _ = self.one(daemon, trace)
        wanted = {"service.name": "shop", "team": "a b", "host.name": "from-env", "os.type": "linux",
                  "k8s.pod.name": "till-7", "k8s.namespace.name": "shop", "k8s.pod.label.app": "till",
                  "k8s.pod.label.tier": 'a"b', "cloud.provider": "aws", "cloud.region": "eu-central-1"}
        self.assertEqual({k: resource.get(k) for k in wanted}, wanted)
        self.assertIn("host.arch", resource)

    def test_a_cloud_that_is_silent(self):
        """Start waits for the limit and no longer."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        before = time.monotonic()
        daemon = self.node({"resource.detectors": "cloud",
                            "resource.cloud_endpoint": f"127.0.0.1:{silent.getsockname()[1]}"})
        self.assertLess(time.monotonic() - before, 3)
        trace = "f" * 32
        self.assertEqual(daemon.send(request([span(trace, "1" * 16)], "shop"))[0], 200)
        self.assertEqual(self.one(daemon, trace)[0], {"service.name": "shop"})

    def test_check_names_what_is_wrong(self):
        path = self.directory / "bad.ini"
        path.write_text("[processor.filter.a]\nmatch_name = =~ (\n[processor.filtre.b]\naction = drop\n")
        run = subprocess.run([str(FERMATA), "check", "--config", str(path)], capture_output=True,
                             text=True, timeout=20)
        self.assertEqual(run.returncode, 78, run.stderr)
        self.assertIn("did you mean [processor.filter.b]?", run.stderr)
        path.write_text("[processor.filter.a]\nmatch_name = =~ (\n")
        run = subprocess.run([str(FERMATA), "check", "--config", str(path)], capture_output=True,
                             text=True, timeout=20)
        self.assertIn("bad.ini:2:14: error: [processor.filter.a] match_name: missing closing )", run.stderr)
