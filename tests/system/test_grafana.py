# SPDX-License-Identifier: Apache-2.0
"""What Grafana's Tempo data source sends, request by request, and what it is strict about.

Requests are those of Grafana 11 (some by the browser through its proxy) and of the plugin's own
backend in Grafana 12: paths, order of parameters, escaping and headers."""
import base64
import json
import unittest

from harness import DaemonTest, http_request
from shop import CART, TICK, Shop

BACKEND = {"User-Agent": "Grafana/12.3.0", "Accept-Encoding": "gzip"}
BROWSER = {"User-Agent": "Mozilla/5.0", "Accept": "application/json, text/plain, */*",
           "Accept-Encoding": "gzip, deflate, br, zstd", "X-Grafana-Org-Id": "1", "X-Datasource-Uid": "tempo",
           "X-Forwarded-For": "127.0.0.1", "X-Dashboard-Uid": "d"}

# The backend of the data source decodes these strictly: one member more is a failed request.
SEARCH_MEMBERS = {"traces", "metrics"}
TRACE_MEMBERS = {"traceID", "rootServiceName", "rootTraceName", "startTimeUnixNano", "durationMs", "spanSet",
                 "spanSets", "serviceStats"}
SET_MEMBERS = {"spans", "matched", "attributes"}
SPAN_MEMBERS = {"spanID", "name", "startTimeUnixNano", "durationNanos", "attributes"}
METRICS_MEMBERS = {"inspectedTraces", "inspectedBytes", "totalBlocks", "completedJobs", "totalJobs", "totalBlockBytes",
                   "inspectedSpans"}


class GrafanaTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.shop = Shop(self.daemon().start()).send()

    def raw(self, target, headers=None):
        return http_request(self.shop.daemon.ports["query"], "GET", target, headers=headers or BACKEND)

    def json(self, target, headers=None):
        status, head, body = self.raw(target, {**BACKEND, "Accept": "application/json", **(headers or {})})
        self.assertEqual((status, head["content-type"]), (200, "application/json"), body)
        return json.loads(body)

    def test_save_and_test(self):
        for headers in (BACKEND, BROWSER):
            status, _, body = self.raw("/api/echo", headers)
            self.assertEqual((status, body), (200, b"echo"))
            status, _, body = self.raw("/api/status/buildinfo", headers)
            self.assertEqual(status, 200)
            self.assertIn("version", json.loads(body))

    def test_trace_view(self):
        status, head, body = self.raw(f"/api/v2/traces/{CART}", {**BACKEND, "Accept": "application/protobuf"})
        self.assertEqual((status, head["content-type"]), (200, "application/protobuf"))
        self.assertEqual(body[:1], b"\x0a")
        self.assertIn(bytes.fromhex(CART), body)
        status, head, body = self.raw(f"/api/v2/traces/{CART}?start={self.shop.start}&end={self.shop.end}",
                                      {**BACKEND, "Accept": "application/protobuf"})
        self.assertEqual(status, 200)
        status, _, body = self.raw("/api/traces/abc", {**BACKEND, "Accept": "application/protobuf"})
        self.assertEqual((status, body), (404, b""))
        # The short id of a search is what a link opens.
        answer = self.json(f"/api/v2/traces/{TICK.lstrip('0')}")
        (resource,) = answer["trace"]["resourceSpans"]
        (one,) = resource["scopeSpans"][0]["spans"]
        self.assertEqual(base64.b64decode(one["spanId"]).hex(), "1111111111111111")
        self.assertIn("status", one)

    def check_search(self, answer):
        self.assertLessEqual(set(answer), SEARCH_MEMBERS)
        self.assertLessEqual(set(answer["metrics"]), METRICS_MEMBERS)
        for trace in answer["traces"]:
            self.assertLessEqual(set(trace), TRACE_MEMBERS)
            self.assertIsInstance(trace["startTimeUnixNano"], str)
            for one_set in [trace["spanSet"], *trace["spanSets"]]:
                self.assertLessEqual(set(one_set), SET_MEMBERS)
                for one in one_set["spans"]:
                    self.assertLessEqual(set(one), SPAN_MEMBERS)
                    self.assertIsInstance(one["durationNanos"], str)

    def test_search_of_the_builder(self):
        window = f"start={self.shop.start}&end={self.shop.end}"
        for query, traces in (
                ("%7B%7D", 2),
                ("%7Bresource.service.name%3D%22cart%22%7D", 1),
                ("%7Bresource.service.name%3D~%22cart%7Cbatch%22%20%26%26%20name%3D~%22tick%7CPOST.*%22%7D", 2),
                ("%7B%28resource.service.name%3D%22cart%22%20%7C%7C%20resource.service.name%3D%22batch%22%29%7D", 2),
                ("%7Bstatus%3Derror%20%26%26%20kind%3Dserver%20%26%26%20duration%3E10ms%20%26%26%20traceDuration%3C1s%7D",
                 1),
                ("%7Bspan.http.status_code%3E%3D500%7D%20%7C%20select%28status%2C%20span.db.system%29", 1),
                ("%7BnestedSetParent%3C0%20%26%26%20true%20%7D%20%7C%20select%28status%29", 2)):
            for order in (f"q={query}&limit=20&spss=3&{window}", f"end={self.shop.end}&limit=20&q={query}&spss=3&start="
                          f"{self.shop.start}"):
                answer = self.json("/api/search?" + order)
                self.check_search(answer)
                self.assertEqual(len(answer["traces"]), traces, query)
        answer = self.json(f"/api/search?q=%7B%7D&limit=20&spss=3&{window}", BROWSER)
        self.check_search(answer)

    def test_tags_and_values_of_the_builder(self):
        window = f"start={self.shop.start}&end={self.shop.end}"
        for target in ("/api/v2/search/tags?limit=5000", f"/api/v2/search/tags?end={self.shop.end}&limit=5000&start="
                       f"{self.shop.start}", "/api/v2/search/tags"):
            scopes = {s["name"]: s["tags"] for s in self.json(target)["scopes"]}
            self.assertIn("service.name", scopes["resource"])
            self.assertIn("http.method", scopes["span"])
            self.assertIn("rootServiceName", scopes["intrinsic"])
        for target, kind, value in (
                ("/api/v2/search/tag/resource.service.name/values?limit=5000&tag=resource.service.name", "string", "cart"),
                (f"/api/v2/search/tag/name/values?limit=5000&tag=name&{window}", "string", "tick"),
                ("/api/v2/search/tag/status/values?limit=5000&tag=status", "keyword", "error"),
                ("/api/v2/search/tag/span.http.status_code/values?limit=5000&tag=span.http.status_code", "int", "500"),
                ("/api/v2/search/tag/name/values?limit=5000&q=%7Bresource.service.name%3D%22batch%22%20%26%26%20name%3D%7D"
                 "&tag=name", "string", "tick"),
                ("/api/v2/search/tag/.service.name/values", "string", "batch")):
            values = self.json(target)["tagValues"]
            self.assertIn({"type": kind, "value": value}, values, target)
        # Old Grafana: flat names, values as text.
        self.assertIn("service.name", self.json("/api/search/tags", BROWSER)["tagNames"])
        self.assertIn("cart", self.json("/api/search/tag/service.name/values", BROWSER)["tagValues"])
        self.assertEqual(len(self.json("/api/search?tags=service.name%3D%22cart%22&limit=20&start="
                                       f"{self.shop.start}&end={self.shop.end}", BROWSER)["traces"]), 1)

    def test_metrics_of_the_editor_and_of_drilldown(self):
        start, end = self.shop.start, self.shop.end
        for query in ("%7B%7D%20%7C%20rate%28%29",
                      "%7BnestedSetParent%3C0%20%26%26%20true%7D%20%7C%20rate%28%29%20by%28resource.service.name%29",
                      "%7BnestedSetParent%3C0%7D%20%7C%20histogram_over_time%28duration%29",
                      "%7B%7D%20%7C%20quantile_over_time%28duration%2C%20.5%2C%20.99%29",
                      "%7BnestedSetParent%3C0%7D%20%7C%20compare%28%7Bstatus%3Derror%7D%29"):
            answer = self.json(f"/api/metrics/query_range?end={end}&exemplars=100&q={query}&start={start}&step=15s")
            self.assertTrue(answer["series"], query)
            for series in answer["series"]:
                self.assertTrue(all(set(label) == {"key", "value"} for label in series["labels"]), query)
                for sample in series["samples"]:
                    self.assertIsInstance(sample["timestampMs"], str)
                    self.assertLessEqual(set(sample), {"timestampMs", "value"})
                for exemplar in series.get("exemplars", []):
                    self.assertIn("trace:id", [label["key"] for label in exemplar["labels"]])
        answer = self.json(f"/api/metrics/query?end={end}&q=%7B%7D%20%7C%20count_over_time%28%29&start={start}")
        self.assertLessEqual(set(answer), {"series", "metrics"})
        (series,) = answer["series"]
        self.assertEqual((set(series), series["value"]), ({"labels", "value"}, 6))

    def test_texts_that_grafana_decorates(self):
        status, _, body = self.raw("/api/search?q=%7B%7D&start=1&end=1000000")
        self.assertEqual(status, 400)
        self.assertRegex(body.decode(), r"range specified by start and end .*exceeds|range specified by start and end exceeds")
        status, _, body = self.raw("/api/metrics/query_range?q=%7B%7D%7Crate%28%29&start=1&end=1000000&step=1000")
        self.assertEqual(status, 400)
        self.assertIn(b"metrics query time range exceeds the maximum allowed duration of", body)


if __name__ == "__main__":
    unittest.main()
