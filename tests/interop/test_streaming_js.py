# SPDX-License-Identifier: Apache-2.0
"""Grafana's streaming service asked by grpc-js, decoded by a schema."""
import json
import os
import pathlib
import subprocess
import unittest

from harness import DaemonTest
from shop import CART, SECOND, TICK, Shop

HERE = pathlib.Path(__file__).resolve().parent


class StreamingJsTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.shop = Shop(self.daemon().start()).send()

    def ask(self, method, **question):
        done = subprocess.run(
            ["node", str(HERE / "streaming.js"), f"127.0.0.1:{self.shop.daemon.ports['query']}", method,
             json.dumps(question)], capture_output=True, text=True, timeout=60, env=os.environ)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def ok(self, method, **question):
        answer = self.ask(method, **question)
        self.assertEqual(answer["code"], 0, answer["details"])
        return answer["messages"][-1]

    def test_search(self):
        for place in ("head", "block"):
            answer = self.ok("Search", Query="{ status = error } | select(name)", Limit=20, SpansPerSpanSet=3,
                             start=self.shop.start, end=self.shop.end)
            (trace,) = answer["traces"]
            self.assertEqual(trace["traceID"], CART.lstrip("0"), place)
            self.assertEqual(trace["rootTraceName"], "GET /cart")
            self.assertEqual(trace["startTimeUnixNano"], str(self.shop.base_ns))
            self.assertEqual([s["name"] for s in trace["spanSets"][0]["spans"]], ["call cart", "POST /items"])
            self.assertEqual(trace["serviceStats"]["cart"], {"spanCount": 3, "errorCount": 1})
            everything = self.ok("Search", Query="{}", Limit=1)
            self.assertEqual([t["traceID"] for t in everything["traces"]], [TICK.lstrip("0")])
            self.shop.daemon.flush()

    def test_tags_values_and_metrics(self):
        window = {"start": str(self.shop.start * SECOND), "end": str(self.shop.end * SECOND)}
        for place in ("head", "block"):
            scopes = {s["name"]: s["tags"] for s in self.ok("SearchTagsV2")["scopes"]}
            self.assertEqual(scopes["resource"], ["service.name"], place)
            values = self.ok("SearchTagValuesV2", tagName="span.ratio")["tagValues"]
            self.assertEqual(values, [{"type": "float", "value": "0.75"}], place)
            (series,) = self.ok("MetricsQueryRange", query="{} | count_over_time()", step=str(10 * SECOND), **window)["series"]
            self.assertEqual(sum(s.get("value", 0) for s in series["samples"]), 6, place)
            (series,) = self.ok("MetricsQueryInstant", query="{} | count_over_time()", **window)["series"]
            self.assertEqual(series["value"], 6, place)
            self.shop.daemon.flush()

    def test_refusal(self):
        answer = self.ask("Search", Query="{foo}")
        self.assertEqual((answer["code"], answer["details"], answer["messages"]),
                         (3, "invalid TraceQL query: parse error at line 1, col 2: unknown identifier: foo", []))


if __name__ == "__main__":
    unittest.main()
