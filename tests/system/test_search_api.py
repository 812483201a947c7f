# SPDX-License-Identifier: Apache-2.0
"""Tempo's query API: search, tags, values and metrics, in the head, in a block and in both."""
import json
import socket
import unittest

from harness import DaemonTest, request, span, wait_for
from shop import CART, SECOND, TICK, Shop, spans_of_shop

CART_SHORT, TICK_SHORT = CART.lstrip("0"), TICK.lstrip("0")

# What each asks for, and the spans that answer.
SEARCHES = [
    ("{}", {CART_SHORT: ["b7ad6b7169203331", "c000000000000001", "d000000000000001", "e000000000000001",
                         "e000000000000002"], TICK_SHORT: ["1111111111111111"]}),
    ('{ resource.service.name = "cart" }',
     {CART_SHORT: ["d000000000000001", "e000000000000001", "e000000000000002"]}),
    ("{ span.http.status_code >= 500 }", {CART_SHORT: ["c000000000000001", "d000000000000001"]}),
    ("{ status = error && kind = client }", {CART_SHORT: ["c000000000000001"]}),
    ('{ name =~ ".*items" }', {CART_SHORT: ["d000000000000001", "e000000000000001"]}),
    ("{ duration > 200ms }", {CART_SHORT: ["b7ad6b7169203331"]}),
    ('{ .note = "fast \\"quoted\\"" }', {TICK_SHORT: ["1111111111111111"]}),
    ('{ span.http.status_code = 500 } >> { span.db.system = "postgresql" }', {CART_SHORT: ["e000000000000001"]}),
    ('{ event.cache.key = "cart:42" }', {CART_SHORT: ["b7ad6b7169203331"]}),
    ("{ rootServiceName = \"shop-frontend\" } | count() > 4",
     {CART_SHORT: ["b7ad6b7169203331", "c000000000000001", "d000000000000001", "e000000000000001",
                   "e000000000000002"]}),
    ("{ .nothing = 1 }", {}),
]

# Path, parameters, the text of the refusal: Tempo 3.0's words.
REFUSALS = [
    ("/api/search", {"q": "{}", "tags": "a=b"}, "invalid request: can't specify tags and q in the same query"),
    ("/api/search", {"q": "{}", "limit": "0"}, "invalid limit: must be a positive number"),
    ("/api/search", {"q": "{}", "limit": "262145"}, "limit 262145 exceeds max limit 262144"),
    ("/api/search", {"q": "{}", "limit": "x"}, 'invalid limit: strconv.ParseUint: parsing "x": invalid syntax'),
    ("/api/search", {"q": "{}", "spss": "101"}, "spans per span set exceeds 100. received 101"),
    ("/api/search", {"q": "{}", "start": "200", "end": "100"},
     "http parameter start must be before end. received start=200 end=100"),
    ("/api/search", {"q": "{}", "start": "1", "end": "604802"},
     "range specified by start and end exceeds 168h0m0s. received start=1 end=604802"),
    ("/api/search", {"q": "{}", "start": "2026-11-21T00:00:00Z", "end": "2"},
     'invalid start: strconv.ParseUint: parsing "2026-11-21T00:00:00Z": invalid syntax'),
    ("/api/search", {"q": "{}", "since": "abc"},
     "error parsing date range: could not parse 'since' parameter: not a valid duration string: \"abc\""),
    ("/api/search", {"q": "{foo}"},
     "invalid TraceQL query: parse error at line 1, col 2: unknown identifier: foo"),
    ("/api/search", {"tags": 'a="b'}, "invalid tags: unterminated quoted value at pos 5"),
    ("/api/search", {"tags": "a=b", "minDuration": "5"},
     'invalid minDuration: time: missing unit in duration "5"'),
    ("/api/search/tags", {"scope": "bogus"}, "invalid scope: bogus"),
    ("/api/v2/search/tags", {"scope": "bogus"}, "invalid scope: bogus"),
    ("/api/v2/search/tags", {"start": "1"},
     "error parsing date range: only one of start and end provided: must provide both or neither"),
    ("/api/v2/search/tag/http.method/values", {},
     "please provide a valid tagName: failed to parse identifier http.method: parse error at line 1, col 2: "
     "unknown identifier: http"),
    ("/api/metrics/query_range", {"q": "{}|rate()", "start": "abc"},
     "rpc error: code = Code(400) desc = could not parse 'start' parameter: strconv.ParseInt: parsing \"abc\": "
     "invalid syntax"),
    ("/api/metrics/query_range", {"q": "{}|rate()", "step": "abc"},
     'rpc error: code = Code(400) desc = cannot parse "abc" to a valid duration'),
    ("/api/metrics/query_range", {"q": "{}|rate()", "start": "1000", "end": "1060", "step": "1ms"},
     "step of 1ms is too small, minimum step for given range is 6ms"),
    ("/api/metrics/query_range", {"q": "{}|rate()", "start": "100", "end": "50"}, "end must be greater than start"),
    ("/api/metrics/query_range", {"q": "{}|rate()", "start": "1000", "end": "90000", "step": "60"},
     "metrics query time range exceeds the maximum allowed duration of 24h0m0s"),
    ("/api/metrics/query_range", {"q": "{}"}, "not a metrics query"),
    ("/api/metrics/query", {"q": "{}"}, "not a metrics query"),
    ("/api/v2/traces/xyz", {}, "trace IDs can only contain hex characters: invalid character 'x' at position 1"),
    ("/api/traces/" + "1" * 33, {}, "trace IDs can't be larger than 128 bits"),
    ("/api/v2/traces/abc", {"start": "20", "end": "10"},
     "http parameter start must be before end. received start=20 end=10"),
    ("/api/v2/traces/abc", {"mode": "x"}, "invalid value for mode x"),
]


class SearchApiTest(DaemonTest):
    def each_place(self, shop):
        """Head, then block, then a trace whose pieces lie in both."""
        yield "head"
        shop.daemon.flush()
        yield "block"

    def test_searches_find_the_same_in_head_and_block(self):
        shop = Shop(self.daemon().start()).send()
        for place in self.each_place(shop):
            for query, spans in SEARCHES:
                self.assertEqual(shop.span_ids(query), spans, (place, query))

    def test_a_trace_in_several_places_is_judged_whole(self):
        daemon = self.daemon().start()
        shop = Shop(daemon)
        for payload in spans_of_shop(shop.base_ns):
            daemon.send(payload)
            if payload["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] == CART:
                daemon.flush()  # each service in a block of its own
        self.assertEqual(len(daemon.blocks()), 2)
        for query, spans in SEARCHES:
            self.assertEqual(shop.span_ids(query), spans, query)
        everything = {trace["traceID"]: trace for trace in shop.search("{}")["traces"]}
        self.assertEqual(everything[CART_SHORT]["serviceStats"],
                         {"shop-frontend": {"spanCount": 2, "errorCount": 1}, "cart": {"spanCount": 3, "errorCount": 1}})

    def test_members_of_a_search(self):
        shop = Shop(self.daemon().start()).send()
        answers = []
        for place in self.each_place(shop):
            answer = shop.search("{ status = error } | select(name)", spss=1)
            self.assertEqual(set(answer), {"traces", "metrics"}, place)
            answers.append(answer["traces"])
            (trace,) = answer["traces"]
            self.assertEqual(trace["spanSet"], trace["spanSets"][0])
            self.assertEqual(trace["spanSet"]["matched"], 2)
            (one,) = trace["spanSet"]["spans"]
            self.assertEqual(one["startTimeUnixNano"], str(shop.base_ns + 20_000_000))
            self.assertEqual(one["durationNanos"], "180000000")
            self.assertEqual(one["name"], "call cart")
            self.assertEqual({a["key"]: a["value"] for a in one["attributes"]}.get("status"), {"stringValue": "error"})
            del trace["spanSet"], trace["spanSets"]
            self.assertEqual(trace, {
                "traceID": CART_SHORT, "rootServiceName": "shop-frontend", "rootTraceName": "GET /cart",
                "startTimeUnixNano": str(shop.base_ns), "durationMs": 250,
                "serviceStats": {"shop-frontend": {"spanCount": 2, "errorCount": 1},
                                 "cart": {"spanCount": 3, "errorCount": 1}}})
        self.assertEqual(answers[0], answers[1])

    def test_newest_first_and_limits(self):
        daemon = self.daemon().start()
        shop = Shop(daemon)
        for i in range(30):
            daemon.send(request([span(f"{i + 1:032x}", f"{i + 1:016x}", start=shop.base_ns + i * SECOND)]))
            if i == 14:
                daemon.flush()
        default = [trace["traceID"] for trace in shop.search("{}")["traces"]]
        self.assertEqual(default, [f"{i + 1:x}" for i in range(29, 9, -1)])
        self.assertEqual([t["traceID"] for t in shop.search("{}", limit=3)["traces"]], ["1e", "1d", "1c"])
        window = shop.ask("/api/search", q="{}", start=shop.base_ns // SECOND + 3, end=shop.base_ns // SECOND + 5)
        self.assertEqual({t["traceID"] for t in window["traces"]}, {"4", "5", "6"})
        self.assertEqual(len(shop.ask("/api/search", q="{}")["traces"]), 20)
        self.assertEqual(len(shop.ask("/api/search", q="{}", since="1h")["traces"]), 20)
        self.assertEqual(shop.ask("/api/search", q="{}", since="1s")["traces"], [])
        self.assertEqual(shop.ask("/api/search", q="{}", start=1000, end=2000)["traces"], [])

    def test_search_by_tags(self):
        shop = Shop(self.daemon().start()).send()
        for place in self.each_place(shop):
            for tags, durations, traces in (
                    ("service.name=shop", {}, [CART_SHORT]),
                    ("service.name=shop db.system=gres", {}, [CART_SHORT]),
                    ("http.status_code=500", {}, [CART_SHORT]),
                    ("flag=true", {}, [CART_SHORT]),
                    ("note=\"t \\\"q\"", {}, [TICK_SHORT]),
                    ("name=tick", {}, [TICK_SHORT]),
                    ("status.code=error", {}, [CART_SHORT]),
                    ("error=true", {}, [CART_SHORT]),
                    ("service.name=shop note=fast", {}, []),
                    ("service.name=s.op", {}, []),
                    (None, {"minDuration": "100ms"}, [CART_SHORT]),
                    (None, {"maxDuration": "100ms"}, [TICK_SHORT]),
                    ("service.name=a", {"minDuration": "1ms", "maxDuration": "1s"}, [TICK_SHORT, CART_SHORT])):
                parameters = {**({"tags": tags} if tags else {}), **durations}
                answer = shop.ask("/api/search", start=shop.start, end=shop.end, **parameters)
                self.assertEqual([t["traceID"] for t in answer["traces"]], traces, (place, tags, durations))
                for trace in answer["traces"]:
                    self.assertLessEqual(set(trace), {"traceID", "rootServiceName", "rootTraceName",
                                                      "startTimeUnixNano", "durationMs"})

    def test_tags(self):
        shop = Shop(self.daemon().start()).send()
        resource, event = ["service.name"], ["cache.key"]
        spans = ["db.system", "flag", "http.method", "http.status_code", "list", "note", "peer.service", "ratio"]
        for place in self.each_place(shop):
            self.assertEqual(shop.ask("/api/search/tags")["tagNames"], sorted(resource + spans + event), place)
            scopes = {s["name"]: s["tags"] for s in shop.ask("/api/v2/search/tags", limit=5000)["scopes"]}
            self.assertEqual(scopes.pop("intrinsic")[:3], ["duration", "event:name", "event:timeSinceStart"])
            self.assertEqual(scopes, {"resource": resource, "span": spans, "event": event}, place)
            answer = shop.ask("/api/v2/search/tags", scope="resource", start=shop.start, end=shop.end)
            self.assertEqual(answer["scopes"], [{"name": "resource", "tags": resource}])
            filtered = shop.ask("/api/v2/search/tags", scope="span", q='{ resource.service.name = "batch" }')
            self.assertEqual(filtered["scopes"], [{"name": "span", "tags": ["note"]}], place)
            self.assertIn("traceDuration", shop.ask("/api/search/tags", scope="intrinsic")["tagNames"])

    def test_values(self):
        shop = Shop(self.daemon().start()).send()
        for place in self.each_place(shop):
            for field, kind, values in (
                    ("resource.service.name", "string", {"shop-frontend", "cart", "batch"}),
                    (".service.name", "string", {"shop-frontend", "cart", "batch"}),
                    ("span.http.status_code", "int", {"200", "500"}),
                    ("span.ratio", "float", {"0.75"}),
                    ("span.flag", "bool", {"true"}),
                    ("span.list", "string", {"a", "b"}),
                    ("name", "string", {"GET /cart", "call cart", "POST /items", "SELECT items", "render", "tick"}),
                    ("rootServiceName", "string", {"shop-frontend", "batch"}),
                    ("status", "keyword", {"ok", "error", "unset"}),
                    ("event:name", "string", {"cache.miss"}),
                    ("event.cache.key", "string", {"cart:42"}),
                    ("duration", None, set()),
                    ("span.not/there at all", None, set())):
                path = "/api/v2/search/tag/" + field.replace("/", "%2F").replace(" ", "%20") + "/values"
                if field.startswith("span.not"):
                    path = "/api/v2/search/tag/span.%22not%2Fthere%20at%20all%22/values"
                found = shop.ask(path, limit=5000, tag=field).get("tagValues", [])
                self.assertEqual({v["value"] for v in found}, values, (place, field))
                self.assertEqual(len(found), len(values), (place, field))
                self.assertLessEqual({v["type"] for v in found}, {kind}, (place, field))
            old = shop.ask("/api/search/tag/http.status_code/values")["tagValues"]
            self.assertEqual(sorted(old), ["200", "500"], place)
            some = shop.ask("/api/v2/search/tag/name/values", q='{ resource.service.name = "batch" && name= }')
            self.assertEqual([v["value"] for v in some["tagValues"]], ["tick"], place)
            self.assertEqual(len(shop.ask("/api/v2/search/tag/name/values", limit=2)["tagValues"]), 2)
            none = shop.ask("/api/v2/search/tag/name/values", start=1000, end=2000)
            self.assertEqual(none.get("tagValues", []), [], place)

    def test_metrics(self):
        shop = Shop(self.daemon().start()).send()
        for place in self.each_place(shop):
            answer = shop.ask("/api/metrics/query_range", q="{} | count_over_time() by (resource.service.name)",
                              start=shop.start, end=shop.end, step=10)
            totals = {}
            for series in answer["series"]:
                ((label, value),) = [(x["key"], x["value"]["stringValue"]) for x in series["labels"]]
                self.assertEqual(label, "resource.service.name")
                totals[value] = sum(s.get("value", 0) for s in series["samples"])
            self.assertEqual(totals, {"shop-frontend": 2, "cart": 3, "batch": 1}, place)
            now = shop.ask("/api/metrics/query", q="{ status = error } | count_over_time()", start=shop.start,
                           end=shop.end)
            self.assertEqual([s["value"] for s in now["series"]], [2], place)
            self.assertEqual(shop.ask("/api/metrics/query_range", query="{ .nothing = 1 } | rate()",
                                      start=shop.start, end=shop.end).get("series", []), [])
            self.assertTrue(shop.ask("/api/metrics/query_range", q="{} | rate()", since="10m")["series"])

    def test_every_refusal_has_tempos_words(self):
        shop = Shop(self.daemon().start())
        for path, parameters, text in REFUSALS:
            status, headers, body = shop.get(path, parameters)
            self.assertEqual((status, body.decode()), (400, text), (path, parameters))
            self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(shop.get("/api/search/tag//values")[0], 404)
        status, _, body = shop.get("/api/search", {"q": "{ .a = \"" + "x" * 200_000 + "\" }"})
        self.assertIn(status, (400, 414, 431), body)

    def test_answers_in_protobuf_and_for_language_models(self):
        shop = Shop(self.daemon().start()).send()
        protobuf = {"Accept": "application/protobuf"}
        for path in ("/api/search?q={}", "/api/search/tags", "/api/v2/search/tags", "/api/search/tag/service.name/values",
                     "/api/v2/search/tag/resource.service.name/values"):
            status, headers, body = shop.get(path, headers=protobuf)
            self.assertEqual((status, headers["content-type"]), (200, "application/protobuf"), path)
            self.assertEqual(body[:1], b"\x0a", path)
        status, headers, body = shop.get("/api/metrics/query_range", {"q": "{}|rate()"}, headers=protobuf)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        model = {"Accept": "application/vnd.grafana.llm"}
        status, headers, body = shop.get("/api/v2/search/tag/resource.service.name/values", headers=model)
        self.assertEqual((status, headers["content-type"]), (200, "application/vnd.grafana.llm+json"))
        self.assertEqual(sorted(json.loads(body)["tagValues"]["string"]), ["batch", "cart", "shop-frontend"])
        status, headers, body = shop.get("/api/v2/traces/" + TICK, headers=model)
        self.assertEqual((status, headers["content-type"]), (200, "application/vnd.grafana.llm+json"))
        answer = json.loads(body)
        answer.pop("metrics", None)
        start = shop.base_ns + 5 * SECOND
        self.assertEqual(answer, {"trace": {"traceId": TICK, "services": [{"serviceName": "batch", "scopes": [{
            "name": "scope", "spans": [{
                "spanId": "1111111111111111", "name": "tick", "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + 2_000_000), "durationMs": 2, "attributes": {"note": 'fast "quoted"'},
                "status": {"code": "STATUS_CODE_UNSET", "message": ""}}]}]}]}})
        self.assertEqual(shop.get("/api/v2/traces/abc", headers=model)[2], b"{}")
        self.assertEqual(shop.get("/api/search?q={}", headers=model)[1]["content-type"], "application/json")

    def test_tenants_do_not_see_each_other(self):
        daemon = self.daemon().start()
        one, other = Shop(daemon, "one").send(), Shop(daemon, "two")
        for place in self.each_place(one):
            self.assertEqual(len(one.search("{}")["traces"]), 2, place)
            self.assertEqual(other.search("{}")["traces"], [], place)
            self.assertEqual(other.ask("/api/v2/search/tag/name/values").get("tagValues", []), [], place)
            self.assertEqual(other.ask("/api/search/tags").get("tagNames", []), [], place)
        self.assertEqual(one.get("/api/search", {"q": "{}"}, headers={"X-Scope-OrgID": "a/b"})[0], 400)

    def test_prefix_methods_and_unknown_paths(self):
        shop = Shop(self.daemon({"query.http_api_prefix": "/tempo"}).start()).send()
        self.assertEqual(shop.get("/tempo/api/search", {"q": "{}"})[0], 200)
        self.assertEqual(shop.get("/api/search", {"q": "{}"})[0], 404)
        self.assertEqual(shop.get("/tempo/api/echo")[2], b"echo")
        status, headers, body = shop.get("/tempo/api/search", {"q": "{}"}, method="HEAD")
        self.assertEqual((status, body, headers["content-type"]), (200, b"", "application/json"))
        for method in ("POST", "OPTIONS", "DELETE"):
            self.assertEqual(shop.get("/tempo/api/search", {"q": "{}"}, method=method)[0], 405, method)
        self.assertEqual(shop.get("/tempo/api/metrics/summary")[0], 404)

    def test_a_client_that_leaves_cancels_its_query(self):
        daemon = self.daemon().start()
        shop = Shop(daemon).send()
        before = daemon.metric("fermata_api_clients_gone_total")
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", daemon.ports["query"]), timeout=10)
            connection.sendall(b"GET /api/search?q={} HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
            connection.close()
        wait_for(lambda: shop.get("/api/search", {"q": "{}"})[0] == 200, 20, "an answer after all that")
        self.assertGreaterEqual(daemon.metric("fermata_api_clients_gone_total"), before)
        daemon.stop()

    def test_counters(self):
        shop = Shop(self.daemon().start()).send()
        shop.search("{}")
        shop.get("/api/search", {"q": "{}", "limit": 0})
        self.assertEqual(shop.daemon.metric("fermata_api_questions_total", 'question="search"'), 2)
        self.assertEqual(shop.daemon.metric("fermata_api_questions_wrong_total"), 1)


if __name__ == "__main__":
    unittest.main()
