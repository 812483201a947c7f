# SPDX-License-Identifier: Apache-2.0
"""Zipkin's query API: what was posted comes back, on the port it was posted to and on Jaeger's."""
import json
import time
import unittest
import urllib.parse

from harness import DaemonTest, http_request

NOW = time.time_ns() // 1000
START = NOW - 60_000_000
TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "d2" * 16

SPANS = [
    {"traceId": TRACE, "id": "b7ad6b7169203331", "kind": "SERVER", "name": "get /cart", "timestamp": START,
     "duration": 250000, "localEndpoint": {"serviceName": "frontend", "ipv4": "10.0.0.1", "port": 8080},
     "annotations": [{"timestamp": START + 1000, "value": "cache.miss"}],
     "tags": {"http.method": "GET", "error": "boom"}},
    {"traceId": TRACE, "parentId": "b7ad6b7169203331", "id": "c000000000000001", "kind": "CLIENT",
     "name": "call cart", "timestamp": START + 10000, "duration": 180000,
     "localEndpoint": {"serviceName": "frontend"}, "remoteEndpoint": {"serviceName": "cart", "ipv6": "2001:db8::1"}},
    {"traceId": TRACE, "parentId": "b7ad6b7169203331", "id": "c000000000000001", "kind": "SERVER",
     "name": "call cart", "timestamp": START + 20000, "duration": 100000,
     "localEndpoint": {"serviceName": "cart"}, "shared": True},
    {"traceId": TRACE, "parentId": "c000000000000001", "id": "c000000000000002", "kind": "CLIENT",
     "name": "select", "timestamp": START + 30000, "duration": 1,
     "localEndpoint": {"serviceName": "cart"}, "remoteEndpoint": {"serviceName": "items-db"}},
]
LATER = {"traceId": OTHER, "id": "d000000000000001", "name": "tick", "timestamp": START + 5_000_000, "duration": 7,
         "localEndpoint": {"serviceName": "Cart"}, "tags": {"retries": "3"}}


class ZipkinApiTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()
        status, _, body = http_request(self.node.ports["zipkin"], "POST", "/api/v2/spans",
                                       json.dumps([*SPANS, LATER]).encode(), {"Content-Type": "application/json"})
        self.assertEqual(status, 202, body)

    def tearDown(self):
        self.node.stop()

    def ask(self, path, port="zipkin", prefix="/api/v2", **parameters):
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        status, _, body = http_request(self.node.ports[port], "GET", prefix + path + query)
        return status, body

    def get(self, path, **parameters):
        status, body = self.ask(path, **parameters)
        self.assertEqual(status, 200, (path, body))
        return json.loads(body)

    def found(self, **parameters):
        return [trace[0]["traceId"] for trace in self.get("/traces", **parameters)]

    @staticmethod
    def sorted(spans):
        return sorted(spans, key=lambda item: (item["id"], item.get("kind", "")))

    def test_what_was_sent_comes_back(self):
        for port, prefix in (("zipkin", "/api/v2"), ("zipkin", "/zipkin/api/v2"), ("query_jaeger", "/zipkin/api/v2"),
                             ("query_jaeger", "/api/v2")):
            trace = self.get(f"/trace/{TRACE}", port=port, prefix=prefix)
            self.assertEqual(self.sorted(trace), self.sorted(SPANS), (port, prefix))
        self.assertEqual(self.get(f"/trace/{OTHER.upper()}"), [LATER])

    def test_ids_that_are_not_there(self):
        self.assertEqual(self.ask("/trace/" + "9" * 32), (404, b"ID not found"))
        self.assertEqual(self.ask("/trace/xyz")[0], 400)
        self.assertEqual(len(self.get("/traceMany", traceIds=f"{TRACE},{OTHER},{'9' * 32}")), 2)
        self.assertEqual(self.get("/traceMany", traceIds="8" * 32 + "," + "9" * 32), [])
        for ids, text in (("", b"empty"), (TRACE, b"single"), (f"{TRACE},{TRACE}", b"redundant traceId: ")):
            status, body = self.ask("/traceMany", traceIds=ids)
            self.assertEqual(status, 400)
            self.assertIn(text, body)

    def test_names(self):
        self.assertEqual(self.get("/services"), ["Cart", "cart", "frontend"])
        self.assertEqual(self.get("/spans", serviceName="frontend"), ["call cart", "get /cart"])
        self.assertEqual(self.get("/spans", serviceName="CART"), ["call cart", "select", "tick"])
        self.assertEqual(self.get("/remoteServices", serviceName="cart"), ["items-db"])
        self.assertEqual(self.get("/spans"), [])
        self.assertIn("service.name", self.get("/autocompleteKeys"))
        self.assertEqual(self.get("/autocompleteValues", key="service.name"), ["Cart", "cart", "frontend"])

    def test_search(self):
        self.assertEqual(self.found(), [OTHER, TRACE])  # newest first
        self.assertEqual(self.found(limit=1), [OTHER])
        self.assertEqual(self.found(serviceName="FRONTEND"), [TRACE])
        self.assertEqual(self.found(serviceName="cart"), [OTHER, TRACE])
        self.assertEqual(self.found(serviceName="cart", spanName="Tick"), [OTHER])
        self.assertEqual(self.found(serviceName="cart", spanName="all"), [OTHER, TRACE])
        self.assertEqual(self.found(serviceName="c.rt"), [])  # not a pattern
        self.assertEqual(self.found(remoteServiceName="items-db"), [TRACE])
        self.assertEqual(self.found(serviceName="frontend", minDuration=200000, maxDuration=250000), [TRACE])
        self.assertEqual(self.found(serviceName="frontend", minDuration=250001), [])
        self.assertEqual(self.found(endTs=START // 1000 + 1000, lookback=10000), [TRACE])
        for query in ("error", "error=boom", "http.method=GET", "cache.miss", "error and http.method=GET"):
            self.assertEqual(self.found(annotationQuery=query), [TRACE], query)
        self.assertEqual(self.found(annotationQuery="retries=3"), [OTHER])
        self.assertEqual(self.found(annotationQuery='x" || true || name = "'), [])
        self.assertEqual(self.found(annotationQuery="error and retries=3"), [])
        for name, value in (("limit", "x"), ("limit", "0"), ("endTs", "x"), ("minDuration", "1s"), ("lookback", "-1")):
            self.assertEqual(self.ask("/traces", **{name: value})[0], 400, name)

    def test_dependencies(self):
        links = self.get("/dependencies", endTs=NOW // 1000 + 1000, lookback=3_600_000)
        self.assertEqual(links, [{"parent": "cart", "child": "items-db", "callCount": 1},
                                 {"parent": "frontend", "child": "cart", "callCount": 1}])
        self.assertEqual(self.ask("/dependencies")[0], 400)

    def test_for_lens(self):
        self.assertEqual(self.get("/config.json", prefix="/zipkin")["dependency"]["enabled"], True)
        self.assertEqual(self.ask("/none")[0], 404)

    def test_reading_can_be_turned_off(self):
        self.node.stop()
        self.node.settings["receiver.zipkin.query_enabled"] = "false"
        self.node.start()
        self.assertNotEqual(self.ask(f"/trace/{TRACE}")[0], 200)
        self.assertEqual(self.ask(f"/trace/{TRACE}", port="query_jaeger")[0], 200)

    def test_pages_of_strangers_cannot_read(self):
        for port in ("zipkin", "query_jaeger"):
            status, _, body = http_request(self.node.ports[port], "GET", "/api/v2/services",
                                           headers={"Host": "evil.example:9411"})
            self.assertEqual((status, body), (403, b"host not allowed\n"))


if __name__ == "__main__":
    unittest.main()
