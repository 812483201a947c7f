# SPDX-License-Identifier: Apache-2.0
"""What Jaeger's user interface asks, as its source of 2026 asks it, and what it demands of the answers: its
requests (search page, trace page, dependencies page) and the rules of its run-time validation.  And the newest
build of it that a package registry has, in a browser; with JAEGER_UI=DIRECTORY that build."""
import json
import os
import pathlib
import re
import time
import unittest
import urllib.parse

from harness import DaemonTest, http_request, request, span
from pages import WORK, Pages, text_of

NOW = time.time_ns()
TRACE = "f1" * 16
DECIMAL, HEX32, HEX16 = re.compile(r"\d+"), re.compile(r"(?!0+$)[0-9a-f]{32}"), re.compile(r"(?!0+$)[0-9a-f]{16}")
VALUES = {"stringValue": str, "boolValue": bool, "intValue": str, "doubleValue": (int, float), "arrayValue": dict,
          "kvlistValue": dict, "bytesValue": str}


class JaegerUiTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()
        spans = [span(TRACE, "00000000000000f1", "GET /", start=NOW - 10**9, attributes={"n": 1, "list": ["a", "b"]}),
                 span(TRACE, "00000000000000f2", "query", "00000000000000f1", start=NOW - 10**9 + 10**6, kind=3)]
        spans[0]["attributes"].append({"key": "nothing", "value": {}})
        self.assertEqual(self.node.send(request(spans, "front"))[0], 200)

    def tearDown(self):
        self.node.stop()

    def get(self, path):
        status, headers, body = http_request(self.node.ports["query_jaeger"], "GET", path)
        self.assertEqual(status, 200, (path, body))
        return json.loads(body)

    def matches(self, pattern, text):
        self.assertIsInstance(text, str)
        self.assertIsNotNone(pattern.fullmatch(text), text)

    def check_value(self, value):
        (name, content), = value.items()  # exactly one member
        self.assertIsInstance(content, VALUES[name])
        for item in content.get("values", []) if isinstance(content, dict) else []:
            self.check_value(item["value"] if name == "kvlistValue" else item)

    def test_the_search_page(self):
        self.assertEqual(self.get("/api/v3/services")["services"], ["front"])
        operations = self.get("/api/v3/operations?service=front")["operations"]
        self.assertEqual({(item["name"], item["spanKind"]) for item in operations}, {("GET /", "server"), ("query", "client")})

        def iso(ns):
            return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(ns // 10**9))
        summaries = self.get("/api/v3/trace-summaries?" + urllib.parse.urlencode({
            "query.service_name": "front", "query.span_name": "GET /", "query.start_time_min": iso(NOW - 3600 * 10**9),
            "query.start_time_max": iso(NOW + 10 * 10**9), "query.num_traces": "20",
            "query.duration_min": "1ms", "query.attributes": '{"n":"1"}'}))["summaries"]
        self.assertEqual(len(summaries), 1)
        for key in ("minStartTimeUnixNano", "maxEndTimeUnixNano"):
            self.matches(DECIMAL, summaries[0][key])
        self.matches(HEX32, summaries[0]["traceId"])
        for key in ("spanCount", "errorSpanCount", "orphanSpanCount"):
            self.assertIsInstance(summaries[0][key], int)

    def test_the_search_page_of_released_versions(self):
        self.assertEqual(self.get("/api/services")["data"], ["front"])
        self.assertEqual(self.get("/api/services/front/operations")["data"], ["GET /", "query"])
        found = self.get("/api/traces?" + urllib.parse.urlencode({
            "end": NOW // 1000 + 10**6, "start": NOW // 1000 - 3600 * 10**6, "limit": 20, "lookback": "1h",
            "maxDuration": "", "minDuration": "", "operation": "GET /", "service": "front", "tags": '{"n":"1"}'}))
        self.assertEqual([trace["traceID"] for trace in found["data"]], [TRACE])

    def test_the_trace_page(self):
        trace, = self.get(f"/api/traces/{TRACE}")["data"]
        for item in trace["spans"]:
            self.assertIn(item["processID"], trace["processes"])
            self.assertIsInstance(item["startTime"], int)
        result = self.get(f"/api/v3/traces/{TRACE}")["result"]
        for resource in result["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for item in scope["spans"]:
                    self.matches(HEX32, item["traceId"])
                    self.matches(HEX16, item["spanId"])
                    self.matches(DECIMAL, item["startTimeUnixNano"])
                    self.assertIsInstance(item["kind"], int)
                    for attribute in item.get("attributes", []):
                        self.assertIsInstance(attribute["key"], str)
                        self.check_value(attribute["value"])

    def test_the_dependencies_page(self):
        answer = self.get(f"/api/dependencies?endTs={NOW // 10**6}&lookback={7 * 86_400_000}")
        self.assertEqual(answer["data"], [])


UI = pathlib.Path(os.environ.get("JAEGER_UI") or WORK / "jaeger-ui")


def ui_file(path):
    name = UI / path.lstrip("/")
    if not name.is_file():
        name = UI / "index.html"  # routes of the page
    return name.name, name.read_bytes()


class JaegerUiPageTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()
        front = [span(TRACE, "00000000000000f1", "GET /checkout", start=NOW - 60 * 10**9, duration_ms=250,
                      attributes={"http.route": "/checkout"}),
                 span(TRACE, "00000000000000f2", "charge", "00000000000000f1", start=NOW - 60 * 10**9 + 10**7, kind=3,
                      duration_ms=180)]
        back = [span(TRACE, "00000000000000f3", "POST /charge", "00000000000000f2", start=NOW - 60 * 10**9 + 2 * 10**7,
                     duration_ms=150, status={"code": 2, "message": "card declined"})]
        self.assertEqual(self.node.send(request(front, "storefront"))[0], 200)
        self.assertEqual(self.node.send(request(back, "billing"))[0], 200)
        self.pages = Pages(self, self.node.ports["query_jaeger"], ui_file, lambda path: path.startswith("/api/"))

    def tearDown(self):
        self.node.stop()

    def test_a_trace(self):
        page = text_of(self.pages.browse(f"/trace/{TRACE}", "ui_jaeger_trace"))
        for text in ("storefront", "billing", "GET /checkout", "POST /charge"):
            self.assertIn(text, page)

    def test_search(self):
        page = text_of(self.pages.browse("/search?service=storefront&limit=20&lookback=1h&start=%d&end=%d" %
                                         (NOW // 1000 - 3600 * 10**6, NOW // 1000 + 10**6), "ui_jaeger_search"))
        self.assertIn("GET /checkout", page)
        for text in ("billing (1)", "storefront (2)"):
            self.assertIn(text, page)

    def test_dependencies(self):
        page = self.pages.browse("/dependencies", "ui_jaeger_dependencies")
        answers = [body for path, _, body in self.pages.asked if "/dependencies?" in path]
        self.assertTrue(answers, page[:2000])
        self.assertIn(b"billing", answers[0])


if __name__ == "__main__":
    unittest.main()
