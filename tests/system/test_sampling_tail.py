# SPDX-License-Identifier: Apache-2.0
"""Tail sampling over disk: what policies want leaves the node, to the bucket and to exporters; all
of it stays on the node and answers questions, before and after restarts."""
import json
import unittest

from harness import DaemonTest, http_request, request, run_tool, span, wait_for

POLICIES = {
    "sampling.tail.enabled": "true",
    "sampling.tail.default_probability": "0",
    "sampling.policy.errors.type": "status_code",
    "sampling.policy.errors.status_codes": "error",
    "sampling.policy.slow.type": "latency",
    "sampling.policy.slow.threshold": "2s",
}
KEPT, DROPPED = ("error", "slow"), ("plain", "other")


def trace_id(number):
    return f"{number + 1:032x}"


class TailTest(DaemonTest):
    def node(self, settings=None):
        self.bucket = self.directory / "bucket"
        return self.daemon({"upload.dir.path": self.bucket, **POLICIES, **(settings or {})})

    def reader(self, name="reader"):
        """Sees the bucket, as it is now, and nothing else."""
        return self.daemon({"upload.dir.path": self.bucket, "upload.enabled": "false",
                            "query.backend": "bucket"}, name).start()

    def put(self, node, number, kind, first=0, spans=3):
        batch = []
        for i in range(first, first + spans):
            is_last = i == first + spans - 1
            batch.append(span(trace_id(number), f"{i + 1:016x}", name=kind,
                              duration_ms=3000 if kind == "slow" and is_last else 5,
                              status={"code": 2} if kind == "error" and is_last else None))
        status, _, body = node.send(request(batch))
        self.assertEqual(status, 200, body)

    def put_all(self, node, first=0, count=8):
        """Traces number first, first + 1, ...: plain, error, other, slow, plain, ..."""
        kinds = ("plain", "error", "other", "slow")
        for i in range(count):
            self.put(node, first + i, kinds[i % 4])
        return {first + i: kinds[i % 4] for i in range(count)}

    def wait_decided(self, node, blocks):
        def decided():
            return node.metric("fermata_sample_blocks_total") >= blocks and \
                node.metric("fermata_sample_undecided_blocks") == 0 and \
                node.metric("fermata_sample_unbuilt_blocks") == 0 and \
                node.metric("fermata_upload_pending_blocks") == 0
        try:
            wait_for(decided, 30, f"{blocks} blocks to be judged and to leave")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{node.log_text()}") from None

    def ids(self, node, number):
        status, _, body = http_request(node.ports["query"], "GET", f"/api/v2/traces/{trace_id(number)}")
        self.assertEqual(status, 200, body)
        trace = json.loads(body).get("trace") or {}
        return sum(len(scope["spans"]) for resource in trace.get("resourceSpans", [])
                   for scope in resource["scopeSpans"])

    def check(self, node, reader, sent, spans=3):
        for number, kind in sent.items():
            self.assertEqual(self.ids(node, number), spans, (number, kind))
            self.assertEqual(self.ids(reader, number), spans if kind in KEPT else 0, (number, kind))


class WhatLeavesTest(TailTest):
    def test_what_policies_want_leaves_and_all_of_it_stays(self):
        node = self.node({"sampling.tail.decision_wait": "1s"}).start()
        sent = self.put_all(node)
        node.flush()
        self.wait_decided(node, 1)
        self.check(node, self.reader(), sent)
        sampled = "fermata_sampled_spans_total"
        self.assertEqual(node.metric(sampled, 'policy="errors",decision="keep"'), 6)
        self.assertEqual(node.metric(sampled, 'policy="slow",decision="keep"'), 6)
        self.assertEqual(node.metric(sampled, 'policy="default",decision="drop"'), 12)
        node.stop()

    def test_a_restart_in_between(self):
        node = self.node({"sampling.tail.decision_wait": "3s"}).start()
        sent = self.put_all(node)
        node.flush()
        node.kill()
        node.start()
        self.wait_decided(node, 1)
        node.stop()
        node.start()
        for number, kind in sent.items():  # late spans follow their traces
            self.put(node, number, "other" if kind in KEPT else "error", first=3, spans=2)
        sent.update(self.put_all(node, first=100))
        for number in range(100, 108):
            self.put(node, number, "other", first=3, spans=2)
        node.flush()
        self.wait_decided(node, 1)
        self.check(node, self.reader(), sent, spans=5)
        node.stop()

    def test_a_trace_in_two_blocks_and_in_the_log(self):
        node = self.node({"sampling.tail.decision_wait": "3s"}).start()
        self.put(node, 1, "plain")
        self.put(node, 2, "plain")
        self.put(node, 3, "plain")
        node.flush()
        self.put(node, 1, "error", first=3)
        node.flush()
        self.put(node, 2, "error", first=3)
        self.wait_decided(node, 2)
        reader = self.reader()
        self.assertEqual([self.ids(reader, number) for number in (1, 2, 3)], [6, 3, 0])
        node.flush()
        self.wait_decided(node, 3)
        self.assertEqual(self.ids(self.reader("later"), 2), 6)
        node.stop()

    def test_switched_off(self):
        """What was decided stands, the rest leaves."""
        node = self.node({"sampling.tail.decision_wait": "1s"}).start()
        sent = self.put_all(node)
        node.flush()
        self.wait_decided(node, 1)
        node.stop()
        node.settings["sampling.tail.enabled"] = "false"
        node.start()
        self.put(node, 50, "plain")
        node.flush()
        wait_for(lambda: node.metric("fermata_upload_pending_blocks") == 0 and
                 len(list((self.bucket / "single-tenant").iterdir())) == 2, 20, "the second block to leave")
        reader = self.reader()
        self.check(node, reader, sent)
        self.assertEqual(self.ids(reader, 50), 3)
        node.stop()


class ExpressTest(TailTest):
    def test_what_is_urgent_does_not_wait(self):
        node = self.node({"sampling.tail.decision_wait": "1h", "sampling.tail.express_interval": "1s",
                          "sampling.policy.errors.priority": "express"}).start()
        sent = self.put_all(node)
        wait_for(lambda: node.metric("fermata_sample_express_spans_total") == 6 and
                 node.metric("fermata_upload_pending_blocks") == 0, 20, "the errors to leave")
        reader = self.reader()
        for number, kind in sent.items():
            self.assertEqual(self.ids(reader, number), 3 if kind == "error" else 0, (number, kind))
            self.assertEqual(self.ids(node, number), 3)
        node.stop()

    def copies(self, number):
        """In how many blocks of the bucket the trace is."""
        count = 0
        for meta in self.bucket.glob("single-tenant/*/meta.json"):
            found = run_tool("block", "dump", meta.parent)
            count += trace_id(number) in found.stdout
        return count

    def pending(self, node):
        return json.loads(http_request(node.ports["query"], "GET", "/status?format=json")[2])["ledger"]["pending"]

    def test_killed_after_it_was_sent_and_not_sent_again(self):
        node = self.node({"sampling.tail.decision_wait": "8s", "sampling.tail.express_interval": "1s",
                          "sampling.policy.errors.priority": "express"}).start()
        sent = self.put_all(node)
        wait_for(lambda: node.metric("fermata_sample_express_spans_total") == 6 and
                 node.metric("fermata_upload_pending_blocks") == 0, 20, "the errors to leave")
        wait_for(lambda: list(node.data.glob("ahead/*/*")), 20, "what left to be remembered")
        node.kill()
        node.start()
        wait_for(lambda: node.metric("fermata_sample_verdicts") >= 2, 20, "what left to be known")
        node.flush()
        self.assertEqual(self.pending(node)["deciding"], 24)
        node.kill()
        node.start()
        self.wait_decided(node, 1)
        self.assertEqual(node.metric("fermata_sample_express_spans_total"), 0)
        self.assertEqual(node.metric("fermata_sample_ahead_spans_total"), 6)
        self.assertEqual(node.metric("fermata_ledger_balanced"), 1)
        for number, kind in sent.items():
            self.assertEqual(self.copies(number), 1 if kind in KEPT else 0, (number, kind))
        self.check(node, self.reader(), sent)
        error = next(number for number, kind in sent.items() if kind == "error")
        found = json.loads(run_tool("why", trace_id(error), "--data-dir", node.data, "--json", check=0).stdout)
        places = {place["place"]: place for place in found["places"]}
        self.assertEqual((places["block"]["policy"], places["block"]["went_ahead"], places["block"]["state"]),
                         ("express", True, "uploaded"))
        self.assertEqual((places["copy"]["lane"], places["copy"]["state"]), ("express", "uploaded"))
        text = run_tool("why", trace_id(error), "--data-dir", node.data, check=0).stdout
        self.assertIn("an express copy, ahead of its block", text)
        self.assertIn("left ahead, in an express block", text)
        wait_for(lambda: not list(node.data.glob("ahead/*/*")), 30, "the list to go")
        node.stop()

    def test_told_and_counted(self):
        """Who decided, late spans, and the row of the status."""
        node = self.node({"sampling.tail.decision_wait": "2s"}).start()
        sent = self.put_all(node)
        node.flush()
        self.wait_decided(node, 1)
        for number, policy in ((1, "errors"), (3, "slow"), (0, "default")):
            found = json.loads(run_tool("why", trace_id(number), "--data-dir", node.data, "--json", check=0).stdout)
            self.assertEqual([place["policy"] for place in found["places"] if place["place"] == "block"],
                             [policy], number)
        self.assertIn("by policy errors", run_tool("why", trace_id(1), "--data-dir", node.data).stdout)
        self.put(node, 1, "other", first=3, spans=2)
        node.flush()
        self.wait_decided(node, 2)
        text = run_tool("why", trace_id(1), "--data-dir", node.data).stdout
        self.assertIn("spans that came late follow the trace", text)
        url = f"http://127.0.0.1:{node.ports['query']}"
        row = json.loads(run_tool("status", "--url", url, "--json", check=0).stdout)["sampling"]
        self.assertEqual((row["kept_spans"], row["sampled_out_spans"], row["deciding_spans"]), (14, 12, 0))
        policies = {policy["name"]: (policy["kept_spans"], policy["sampled_out_spans"])
                    for policy in row["policies"]}
        self.assertEqual((policies["errors"], policies["slow"], policies["default"], policies["late"]),
                         ((6, 0), (6, 0), (0, 12), (2, 0)))
        for text in (run_tool("status", "--url", url, check=0).stdout,
                     http_request(node.ports["query"], "GET", "/status")[2].decode()):
            self.assertIn("14 spans kept, 12 sampled out", text)
            self.assertIn("errors: 6 kept, 0 sampled out", text)
        node.stop()

    def test_what_waits_is_told_by_lane(self):
        node = self.node({"sampling.tail.decision_wait": "3s", "sampling.tail.express_interval": "1s",
                          "sampling.policy.errors.priority": "express"})
        self.bucket.mkdir()
        way = self.bucket / "single-tenant"
        way.write_text("in the way")
        node.start()
        self.put_all(node)
        self.assertEqual(self.pending(node)["log"], 24)
        wait_for(lambda: node.metric("fermata_sample_express_spans_total") == 6, 20, "the errors to be cut")
        node.flush()
        wait_for(lambda: self.pending(node) == {"log": 0, "deciding": 0, "express": 6, "fresh": 6, "backlog": 0},
                 30, "the decision")
        node.kill()
        node.start()
        wait_for(lambda: self.pending(node) == {"log": 0, "deciding": 0, "express": 6, "fresh": 6, "backlog": 0},
                 30, "the same after a restart")
        url = f"http://127.0.0.1:{node.ports['query']}"
        self.assertIn("pending: 6 express, 6 fresh", run_tool("status", "--url", url).stdout)
        way.unlink()
        wait_for(lambda: not any(self.pending(node).values()), 60, "all of it to leave")
        self.assertEqual(node.metric("fermata_ledger_spans", 'state="uploaded"'), 12)
        self.assertEqual(node.metric("fermata_ledger_balanced"), 1)
        node.stop()


class ExporterTest(TailTest):
    def test_exporters_get_what_is_kept(self):
        upstream = self.daemon(None, "upstream").start()
        node = self.node({
            "sampling.tail.decision_wait": "1s",
            "exporter.otlp.a.endpoint": f"http://127.0.0.1:{upstream.ports['http']}",
            "exporter.otlp.a.protocol": "http",
            "exporter.otlp.a.batch_timeout": "100ms",
        }).start()
        sent = self.put_all(node)
        node.flush()
        self.wait_decided(node, 1)
        name = "fermata_exporter_sent_spans_total"
        wait_for(lambda: node.metric(name) == 12, 20, "what is kept to arrive")
        node.stop()
        node.start()
        sent.update(self.put_all(node, first=20))
        node.flush()
        self.wait_decided(node, 1)
        wait_for(lambda: node.metric(name) == 12, 20, "what is kept to arrive")
        self.assertEqual(node.metric("fermata_exporter_sampled_out_spans_total"), 12)
        self.assertEqual(node.metric("fermata_exporter_lag_spans"), 0)
        self.check(node, upstream, sent)
        self.assertEqual(upstream.metric("fermata_store_appended_spans_total"), 24)
        node.stop()


if __name__ == "__main__":
    unittest.main()
