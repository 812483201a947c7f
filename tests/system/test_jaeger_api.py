# SPDX-License-Identifier: Apache-2.0
"""Jaeger's query API, classic and version 3: what its user interface and Grafana ask."""
import base64
import json
import time
import unittest
import urllib.parse

from harness import DaemonTest, http_request, request, span

NOW = time.time_ns()
START = NOW - 60_000_000_000
FRONT, CART = "c1" * 16, "c2" * 16


class JaegerApiTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()
        spans = [
            span(FRONT, "00000000000000a1", "GET /cart", start=START, duration_ms=250,
                 attributes={"http.status_code": 500, "user": 'a"b\\c'},
                 status={"code": 2, "message": "boom"}),
            span(FRONT, "00000000000000a2", "call cart", "00000000000000a1", start=START + 10_000_000,
                 duration_ms=100, kind=3)]
        spans[0]["events"] = [{"timeUnixNano": str(START + 1_000_000), "name": "cache.miss",
                               "attributes": [{"key": "size", "value": {"intValue": "3"}}]}]
        self.send(spans, "front")
        self.send([span(FRONT, "00000000000000a3", "GET /items", "00000000000000a2",
                        start=START + 20_000_000, duration_ms=50)], "cart")
        self.send([span(CART, "00000000000000b1", "tick", start=START + 1_000_000_000, kind=1,
                        attributes={"ratio": 0.5, "hot": True})], "cart")

    def tearDown(self):
        self.node.stop()

    def send(self, spans, service):
        self.assertEqual(self.node.send(request(spans, service))[0], 200)

    def get(self, path, expect=200, **parameters):
        query = "?" + urllib.parse.urlencode(parameters, doseq=True) if parameters else ""
        status, headers, body = http_request(self.node.ports["query_jaeger"], "GET", path + query)
        self.assertEqual(status, expect, (path, parameters, body))
        return json.loads(body)

    def data(self, path, **parameters):
        answer = self.get(path, **parameters)
        self.assertIsNone(answer["errors"])
        return answer["data"]

    def refused(self, code, path, **parameters):
        answer = self.get(path, code, **parameters)
        self.assertIsNone(answer["data"])
        self.assertEqual([error["code"] for error in answer["errors"]], [code])
        return answer["errors"][0]["msg"]

    def found(self, **parameters):
        return [trace["traceID"] for trace in self.data("/api/traces", **parameters)]

    # ---- services, operations

    def test_services_and_operations(self):
        answer = self.get("/api/services")
        self.assertEqual((answer["data"], answer["total"]), (["cart", "front"], 2))
        self.assertEqual(self.data("/api/services/front/operations"), ["GET /cart", "call cart"])
        self.assertEqual(self.data("/api/operations", service="front"),
                         [{"name": "GET /cart", "spanKind": "server"}, {"name": "call cart", "spanKind": "client"}])
        self.assertEqual(self.data("/api/operations", service="cart", spanKind="internal"),
                         [{"name": "tick", "spanKind": "internal"}])
        self.assertEqual(self.data("/api/services/none/operations"), [])
        self.assertEqual(self.refused(400, "/api/operations"), "parameter 'service' is required")

    # ---- a trace

    def test_a_trace_by_its_id(self):
        trace, = self.data(f"/api/traces/{FRONT}")
        self.assertEqual(trace["traceID"], FRONT)
        spans = {item["spanID"]: item for item in trace["spans"]}
        self.assertEqual(len(spans), 3)
        root = spans["00000000000000a1"]
        self.assertEqual((root["operationName"], root["references"], root["startTime"], root["duration"]),
                         ("GET /cart", [], START // 1000, 250000))
        tags = {tag["key"]: (tag["type"], tag["value"]) for tag in root["tags"]}
        self.assertEqual(tags["http.status_code"], ("int64", 500))
        self.assertEqual(tags["error"], ("bool", True))
        self.assertEqual(tags["span.kind"], ("string", "server"))
        self.assertEqual(tags["otel.status_description"], ("string", "boom"))
        self.assertEqual([field["value"] for field in root["logs"][0]["fields"]], ["cache.miss", 3])
        self.assertEqual(spans["00000000000000a2"]["references"],
                         [{"refType": "CHILD_OF", "traceID": FRONT, "spanID": "00000000000000a1"}])
        names = {item["spanID"]: trace["processes"][item["processID"]]["serviceName"] for item in spans.values()}
        self.assertEqual(names["00000000000000a3"], "cart")

    def test_unknown_and_bad_ids(self):
        self.assertEqual(self.refused(404, "/api/traces/" + "9" * 32), "trace not found")
        self.refused(400, "/api/traces/xyz")
        answer = self.get("/api/traces", traceID=[FRONT, "9" * 32])
        self.assertEqual([trace["traceID"] for trace in answer["data"]], [FRONT])
        self.assertEqual(answer["errors"], [{"code": 404, "msg": "trace not found", "traceID": "9" * 32}])

    # ---- search

    def test_search(self):
        self.assertEqual(self.found(service="cart"), [CART, FRONT])  # newest first
        self.assertEqual(self.found(service="cart", limit=1), [CART])
        self.assertEqual(self.found(service="front", operation="GET /cart"), [FRONT])
        self.assertEqual(self.found(service="front", operation="tick"), [])
        self.assertEqual(self.found(service="front", minDuration="200ms"), [FRONT])
        self.assertEqual(self.found(service="front", minDuration="1.5s"), [])
        self.assertEqual(self.found(service="cart", maxDuration="20ms"), [CART])
        self.assertEqual(self.found(service="cart", start=START // 1000 + 500_000, end=NOW // 1000), [CART])
        self.assertEqual(self.found(service="cart", start=START // 1000 - 900_000_000,
                                    end=START // 1000 - 800_000_000), [])

    def test_search_by_tags(self):
        for tags in ({"http.status_code": "500"}, {"error": "true"}, {"span.kind": "server"}, {"user": 'a"b\\c'},
                     {"otel.status_code": "ERROR"}, {"size": "3"}, {"event": "cache.miss"},
                     {"otel.scope.name": "scope"}, {"http.status_code": "500", "error": "true"}):
            self.assertEqual(self.found(service="front", tags=json.dumps(tags)), [FRONT], tags)
        for tags in ({"http.status_code": "404"}, {"user": 'x" || true || ."a" = "'}, {'a" != nil || ."b': "1"},
                     {"http.status_code": "500", "span.kind": "client"}):
            self.assertEqual(self.found(service="front", tags=json.dumps(tags)), [], tags)
        self.assertEqual(self.found(service="cart", tag=["ratio:0.5", "hot:true"]), [CART])

    def test_bad_parameters(self):
        self.assertEqual(self.refused(400, "/api/traces"), "parameter 'service' is required")
        for name, value in (("start", "x"), ("end", "-1"), ("limit", "many"), ("minDuration", "3"), ("maxDuration", "x")):
            self.assertIn(f"unable to parse param '{name}'", self.refused(400, "/api/traces", service="a", **{name: value}))
        self.assertIn("'tags'", self.refused(400, "/api/traces", service="a", tags='{"a":1}'))
        self.assertIn("'tags'", self.refused(400, "/api/traces", service="a", tags='["a"]'))
        self.assertIn("expecting key:value", self.refused(400, "/api/traces", service="a", tag="x"))
        self.assertIn("maxDuration", self.refused(400, "/api/traces", service="a", minDuration="2s", maxDuration="1s"))

    # ---- the rest

    def test_dependencies(self):
        self.assertEqual(self.data("/api/dependencies", endTs=NOW // 1_000_000 + 1000, lookback=3_600_000),
                         [{"parent": "front", "child": "cart", "callCount": 1}])
        self.assertEqual(self.data("/api/dependencies", endTs=NOW // 1_000_000 - 86_400_000, lookback=1000), [])

    def test_what_is_not_there(self):
        self.refused(501, "/api/metrics/latencies")
        self.refused(404, "/api/none")
        port = self.node.ports["query_jaeger"]
        self.assertEqual(http_request(port, "POST", "/api/traces")[0], 405)
        self.assertEqual(http_request(port, "POST", f"/api/archive/{FRONT}")[0], 501)
        self.assertEqual(http_request(port, "GET", "/none")[0], 404)
        self.assertEqual(http_request(port, "GET", "/api/services", headers={"Host": "evil.example"})[0], 403)

    def test_tenants_are_apart(self):
        port = self.node.ports["query_jaeger"]
        status, _, body = http_request(port, "GET", "/api/services", headers={"X-Scope-OrgID": "other"})
        self.assertEqual((status, json.loads(body)["data"]), (200, []))

    # ---- version 3

    def window(self, **more):
        def text(ns):
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 1_000_000_000))
        return {"query.start_time_min": text(START - 10**10), "query.startTimeMax": text(NOW + 10**10),
                **{f"query.{name}": value for name, value in more.items()}}

    def test_v3_names(self):
        self.assertEqual(self.get("/api/v3/services"), {"services": ["cart", "front"]})
        self.assertEqual(self.get("/api/v3/operations", service="cart"), {"operations": [
            {"name": "GET /items", "spanKind": "server"}, {"name": "tick", "spanKind": "internal"}]})

    def test_v3_traces(self):
        for name in (FRONT, base64.b64encode(bytes.fromhex(FRONT)).decode()):
            result = self.get("/api/v3/traces/" + urllib.parse.quote(name, safe=""))["result"]
            spans = [item for resource in result["resourceSpans"] for scope in resource["scopeSpans"]
                     for item in scope["spans"]]
            self.assertEqual({item["traceId"] for item in spans}, {FRONT})
            self.assertEqual(sorted(item["kind"] for item in spans), [2, 2, 3])
        found = self.get("/api/v3/traces", **self.window(serviceName="cart", attributes='{"hot":"true"}'))
        self.assertEqual(found["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"], CART)
        self.assertEqual(self.get("/api/v3/traces", 404, **self.window(serviceName="none")),
                         {"error": {"httpCode": 404, "message": "No traces found"}})
        self.get("/api/v3/traces/" + "9" * 32, 404)

    def test_v3_summaries(self):
        summaries = self.get("/api/v3/trace-summaries", **self.window(service_name="front", num_traces="20"))["summaries"]
        self.assertEqual(summaries, [{
            "traceId": FRONT, "rootServiceName": "front", "rootOperationName": "GET /cart",
            "minStartTimeUnixNano": str(START), "maxEndTimeUnixNano": str(START + 250_000_000),
            "spanCount": 3, "errorSpanCount": 1, "orphanSpanCount": 0,
            "services": [{"name": "cart", "spanCount": 1, "errorSpanCount": 0},
                         {"name": "front", "spanCount": 2, "errorSpanCount": 1}]}])
        self.assertEqual(self.get("/api/v3/trace-summaries", **self.window(service_name="none")), {"summaries": []})
        error = self.get("/api/v3/trace-summaries", 400, **{"query.start_time_min": "x"})["error"]
        self.assertIn("malformed parameter query.start_time_min", error["message"])


if __name__ == "__main__":
    unittest.main()
