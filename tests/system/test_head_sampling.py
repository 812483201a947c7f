# SPDX-License-Identifier: Apache-2.0
"""Head sampling: the share that was asked for, the same traces everywhere, through every way in."""
import gzip
import json
import random
import subprocess

from harness import FERMATA, DaemonTest, http_request, request, span, wait_for

DROPPED = "fermata_spans_dropped_total"
MARKED = "fermata_head_sampling_marked_spans_total"


def trace_ids(count, seed=7):
    rng = random.Random(seed)
    return [f"{rng.getrandbits(128):032x}" for _ in range(count)]


def is_kept(trace_id, probability):
    return int(trace_id[18:], 16) >= round((1 - probability) * 2 ** 56)


class HeadSamplingTest(DaemonTest):
    def node(self, probability, **settings):
        return self.daemon({"sampling.head.probability": probability, **settings}).start()

    def dropped(self, daemon, reason="probability"):
        return daemon.metric(DROPPED, f'stage="head_sampling",reason="{reason}"')

    def stored(self, daemon, trace_id):
        """The spans of a trace; none: []."""
        status, _, found = http_request(daemon.ports["query"], "GET", f"/api/v2/traces/{trace_id}")
        self.assertIn(status, (200, 404))
        trace = json.loads(found)["trace"] if status == 200 else {}
        return [item for resource in trace.get("resourceSpans", [])
                for scope in resource["scopeSpans"] for item in scope["spans"]]

    def test_share_success_and_counts(self):
        daemon = self.node("0.25")
        ids = trace_ids(400)
        for at in range(0, 400, 100):
            spans = [span(trace, f"{n:016x}", "x") for trace in ids[at:at + 100] for n in (1, 2)]
            status, _, body = daemon.send(request(spans))
            self.assertEqual((status, json.loads(body)), (200, {}))
        kept = [trace for trace in ids if is_kept(trace, 0.25)]
        self.assertTrue(70 < len(kept) < 130, len(kept))
        self.assertEqual(self.dropped(daemon), 2 * (400 - len(kept)))
        self.assertEqual(daemon.metric("fermata_receiver_accepted_spans_total", "otlp_http"), 800)
        self.assertEqual(daemon.metric(MARKED), 2 * len(kept))
        for trace in ids[:40]:
            found = self.stored(daemon, trace)
            self.assertEqual(len(found), 2 if is_kept(trace, 0.25) else 0)
            self.assertTrue(all(item["traceState"] == "ot=th:c" for item in found))
        daemon.kill()
        daemon.start()
        self.assertEqual(len(self.stored(daemon, kept[0])), 2)

    def test_tracestate_of_earlier_samplers(self):
        """Their randomness counts; a stricter threshold stays; a wrong one is mended."""
        daemon = self.node("50%")
        low, high = "a" * 18 + "0" * 14, "a" * 18 + "f" * 14
        cases = [(low, "ot=rv:ffffffffffffff", "ot=rv:ffffffffffffff;th:8"),
                 (high, "ot=rv:00000000000000", None), (low, "a=b", None),
                 (high, "ot=th:c,a=b", "ot=th:c,a=b"), (high, "a=b,ot=th:4", "ot=th:8,a=b"),
                 (high, "ot=th:oops;k:v", "ot=th:8;k:v"),
                 (high, "ot=rv:90000000000000;th:c", "ot=rv:90000000000000;th:8")]
        for n, (trace, state, _) in enumerate(cases):
            item = span(trace, f"{n + 1:016x}", "x")
            item["traceState"] = state
            self.assertEqual(daemon.send(request([item]))[0], 200)
        have = {item["spanId"]: item["traceState"]
                for trace in (low, high) for item in self.stored(daemon, trace)}
        self.assertEqual(sorted(have.values()), sorted(state for _, _, state in cases if state))
        self.assertEqual(self.dropped(daemon), 2)

    def test_jobs_processors_and_nothing_left(self):
        """Large requests are decoded elsewhere; filters see what is left."""
        daemon = self.node("0.5", **{"processor.filter.odd.match_attribute": "n =~ .*[13579]"})
        ids = trace_ids(3000, 9)
        spans = [span(trace, "1" * 16, "x", attributes={"n": n}) for n, trace in enumerate(ids)]
        body = gzip.compress(json.dumps(request(spans)).encode())
        status, _, _ = http_request(daemon.ports["http"], "POST", "/v1/traces", body, {
            "Content-Type": "application/json", "Content-Encoding": "gzip"})
        self.assertEqual(status, 200)
        kept = [n for n, trace in enumerate(ids) if is_kept(trace, 0.5)]
        odd = sum(n % 2 for n in kept)
        self.assertEqual(self.dropped(daemon), 3000 - len(kept))
        self.assertEqual(daemon.metric(DROPPED, 'stage="process",reason="filter.odd"'), odd)
        self.assertEqual(daemon.metric("fermata_processor_spans_total", '"filter.odd"'), len(kept))
        self.assertEqual(daemon.metric("fermata_receiver_accepted_spans_total", "otlp_http"), 3000)

    def test_nothing_comes_in(self):
        daemon = self.node("0")
        self.assertEqual(daemon.send(request([span("b" * 32, "1" * 16)]))[0], 200)
        self.assertEqual(self.stored(daemon, "b" * 32), [])
        self.assertEqual(self.dropped(daemon), 1)

    def test_datagrams(self):
        daemon = self.node("0.5")
        run = subprocess.run([str(FERMATA), "emit", "--protocol", "jaeger_compact", "--endpoint",
                              f"127.0.0.1:{daemon.ports['compact']}", "--total", "200",
                              "--batch", "10", "--rate", "1000"],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 0, run.stderr)
        accepted = "fermata_receiver_accepted_spans_total"
        wait_for(lambda: daemon.metric(accepted, "jaeger_thrift_compact") >= 200,
                 what="datagrams taken")
        wait_for(lambda: self.dropped(daemon) + daemon.metric(MARKED) ==
                 daemon.metric(accepted, "jaeger_thrift_compact"), what="all spans counted")
        self.assertTrue(0 < self.dropped(daemon) < 200, self.dropped(daemon))

    def test_rate(self):
        """A request that is a hundred times what may come loses about that."""
        daemon = self.node("1", **{"sampling.head.max_spans_per_second": "50"})
        spans = [span(trace, "1" * 16, "x") for trace in trace_ids(5000, 3)]
        self.assertEqual(daemon.send(request(spans))[0], 200)
        self.assertTrue(4900 <= self.dropped(daemon, "rate") <= 4990, self.dropped(daemon, "rate"))
        self.assertEqual(self.dropped(daemon), 0)
