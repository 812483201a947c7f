# SPDX-License-Identifier: Apache-2.0
"""Traces whose spans lie in several blocks and in the head are judged whole, and nothing else is."""
import random
import time
import unittest

from harness import DaemonTest, request, span
from shop import Shop

MS = 10**6
TRACES, PLACES = 240, 4


class Whole:
    """A trace as it was sent, all of it."""

    def __init__(self, number, base, chance):
        self.id = f"{number + 1:032x}"
        self.spans = []
        at = base + chance.randrange(0, 600_000) * MS
        for i in range(chance.randrange(1, 7)):
            parent = chance.choice(self.spans) if self.spans else None
            begin = at if not parent else parent["begin"] + chance.randrange(0, 3000) * MS
            one = {"id": f"{number + 1:08x}{i + 1:08x}", "parent": parent["id"] if parent else "",
                   "name": chance.choice(["get", "put", "list"]), "begin": begin, "ms": chance.randrange(1, 2000),
                   "n": chance.randrange(0, 20), "place": chance.randrange(0, PLACES),
                   "service": chance.choice(["shop", "cart", "mail"])}
            self.spans.append(one)
        if chance.random() < 0.6:  # most lie in one place
            for one in self.spans:
                one["place"] = self.spans[0]["place"]
        self.begin = min(s["begin"] for s in self.spans)
        self.end = max(s["begin"] + s["ms"] * MS for s in self.spans)

    def above(self, one):
        while one["parent"]:
            one = next(s for s in self.spans if s["id"] == one["parent"])
            yield one


QUERIES = {
    "{}": lambda t: len(t.spans),
    "{ span.n > 15 }": lambda t: sum(s["n"] > 15 for s in t.spans),
    '{ resource.service.name = "cart" && name = "put" }':
        lambda t: sum(s["service"] == "cart" and s["name"] == "put" for s in t.spans),
    '{ name = "get" } >> { name = "put" }':
        lambda t: sum(s["name"] == "put" and any(a["name"] == "get" for a in t.above(s)) for s in t.spans),
    "{} | count() > 4": lambda t: len(t.spans) if len(t.spans) > 4 else 0,
    "{ span.n > 18 } && { span.n < 2 }":
        lambda t: sum(s["n"] > 18 or s["n"] < 2 for s in t.spans)
        if any(s["n"] > 18 for s in t.spans) and any(s["n"] < 2 for s in t.spans) else 0,
    '{ rootName = "list" && span.n = 3 }': lambda t: sum(s["n"] == 3 for s in t.spans) * (t.spans[0]["name"] == "list"),
    "{ traceDuration > 4s }": lambda t: len(t.spans) if t.end - t.begin > 4000 * MS else 0,
    "{ span.n = 77 }": lambda t: 0,
}


class PartsTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.chance = random.Random(20261121)
        self.base = (time.time_ns() // 10**9 - 1800) * 10**9
        self.node = self.daemon({"block.max_block_duration": "1h"}).start()
        self.traces = [Whole(i, self.base, self.chance) for i in range(TRACES)]
        for place in range(PLACES):
            for service in ("shop", "cart", "mail"):
                spans = [span(t.id, s["id"], s["name"], parent=s["parent"], start=s["begin"], duration_ms=s["ms"],
                              attributes={"n": s["n"]})
                         for t in self.traces for s in t.spans if s["place"] == place and s["service"] == service]
                self.assertEqual(self.node.send(request(spans, service=service))[0], 200)
            if place < PLACES - 1:
                self.node.flush()

    def expected(self, matches, limit, start=None, end=None):
        found = [(t.begin, t.id.lstrip("0"), matches(t)) for t in self.traces
                 if matches(t) and (start is None or (t.begin <= end * 10**9 and t.end >= start * 10**9))]
        found.sort(key=lambda f: (-f[0], f[1].zfill(32)))
        return [(id, begin, count) for begin, id, count in found[:limit]]

    def found(self, query, limit, **window):
        answer = Shop(self.node).ask("/api/search", q=query, limit=limit, spss=100, **window)
        return [(t["traceID"], int(t["startTimeUnixNano"]), t["spanSets"][0]["matched"]) for t in answer["traces"]]

    def test_each_trace_is_judged_whole(self):
        for query, matches in QUERIES.items():
            for limit in (1, 7, 1000):
                with self.subTest(query=query, limit=limit):
                    self.assertEqual(self.found(query, limit), self.expected(matches, limit))
        self.assertGreater(self.node.metric("fermata_query_joined_traces_total"), 0)

    def test_windows_are_of_the_whole_trace(self):
        for query, matches in QUERIES.items():
            for _ in range(6):
                start = self.base // 10**9 + self.chance.randrange(0, 600)
                end = start + self.chance.randrange(1, 120)
                with self.subTest(query=query, start=start, end=end):
                    self.assertEqual(self.found(query, 1000, start=start, end=end),
                                     self.expected(matches, 1000, start, end))

    def test_only_what_may_matter_is_put_together(self):
        before = self.node.metric("fermata_query_joined_traces_total")
        self.found("{ span.n = 77 }", 20)
        self.found('{ span.n = 77 } >> { name = "put" } | count() > 100', 20)
        self.assertEqual(self.node.metric("fermata_query_joined_traces_total") - before,
                         sum(any(s["name"] == "put" for s in t.spans) and len({s["place"] for s in t.spans}) > 1
                             for t in self.traces))
        before = self.node.metric("fermata_query_joined_traces_total")
        self.found("{}", 3)
        self.assertLess(self.node.metric("fermata_query_joined_traces_total") - before, 40)


if __name__ == "__main__":
    unittest.main()
