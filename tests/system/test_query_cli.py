# SPDX-License-Identifier: Apache-2.0
"""fermata query: what Tempo answered over its own blocks, answered from the same files; and one
engine behind daemon, dead node and bucket."""
import json
import pathlib
import time
import unittest

from harness import DaemonTest, request, run_tool, span, wait_for

BLOCKS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "blocks"
GOLDEN = json.loads((BLOCKS / "golden.json").read_text())
RANGE = ("--start", GOLDEN["range"]["start"], "--end", GOLDEN["range"]["end"])

# Where this program answers otherwise than Tempo 3.0.3 did, on purpose.  kind, question: why.
DIFFERENCES = {
    ("search", "{ span.db.system = nil }"): "Tempo misses spans without any attribute of this kind",
    ("values", "kind"): "words, as Tempo's own API says them; the block alone has numbers",
    ("values", "status"): "likewise",
    ("metrics", "{} | sum_over_time(span.edge.n)"): "Tempo drops a series when one span lacks the attribute",
}
# The same spans, but what is shown of them: fields of any filter on every span of the answer (Tempo
# shows those that happened to be loaded), arrays whole (Tempo: the element that matched).
SHOWN_OTHERWISE = {
    '{ duration > 10ms || name = "worker" && status = error }',
    '{ name="db" } < { resource.service.name="edge-a" }',
    '{ name="worker" } << { kind=client }',
    "{ span.nums = 2 }",
    '{ span.tags = "b" }',
    '{ status=error } &>> { name="worker" }',
}


def query(kind, text, *arguments, block="v4-by-tempo", check=0):
    result = run_tool("query", kind, "--bucket", f"dir:{BLOCKS}", "--tenant", block, "--json", *arguments, text,
                      check=check)
    return json.loads(result.stdout) if check == 0 else result


def pairs(attributes):
    """Key and value of attributes, without order; a zero may be left out."""
    return sorted(json.dumps([a["key"], a.get("value", {})], sort_keys=True) for a in attributes or [])


def span_set(found):
    spans = {s["spanID"]: (s.get("name"), s["startTimeUnixNano"], s.get("durationNanos", "0"),
                           pairs(s.get("attributes"))) for s in found.get("spans", [])}
    return {"matched": found.get("matched", 0), "attributes": pairs(found.get("attributes")), "spans": spans}


def traces(answer, shows_spans=True):
    found = {}
    for trace in answer.get("traces") or []:
        sets = [span_set(s) for s in trace.get("spanSets", [])]
        if not shows_spans:
            sets = [{**s, "spans": sorted(s["spans"])} for s in sets]
        found[trace["traceID"]] = {
            **{key: trace.get(key) for key in ("rootServiceName", "rootTraceName", "startTimeUnixNano", "durationMs")},
            "services": trace.get("serviceStats"),
            "sets": sorted(sets, key=lambda s: (s["attributes"], sorted(s["spans"])))}
    return found


def series(answer):
    """Samples by labels; which exemplars are taken is chance."""
    return {tuple(pairs(line.get("labels"))): {s["timestampMs"]: s.get("value", 0) for s in line.get("samples", [])}
            for line in answer.get("series") or []}


class GoldenTest(unittest.TestCase):
    maxDiff = 4000

    def each(self, kind):
        """Questions and Tempo's answers, without those that are answered otherwise on purpose."""
        return [(text, golden["body"]) for text, golden in GOLDEN[kind].items() if (kind, text) not in DIFFERENCES]

    def test_searches(self):
        for text, golden in self.each("search"):
            with self.subTest(text):
                answer = query("search", text, *RANGE, "--limit", 100, "--spss", 100)
                shows = text not in SHOWN_OTHERWISE
                self.assertEqual(traces(answer, shows), traces(golden, shows))
                starts = [int(t["startTimeUnixNano"]) for t in answer["traces"]]
                self.assertEqual(starts, sorted(starts, reverse=True))

    def test_searches_of_vparquet5(self):
        """The same traces at other times: as many of each answer."""
        for text, golden in self.each("search"):
            with self.subTest(text):
                answer = query("search", text, "--limit", 100, "--spss", 100, block="v5-by-tempo")
                count = [len(golden.get("traces") or []), sum(t["spanSet"]["matched"] for t in golden.get("traces") or [])]
                self.assertEqual([len(answer["traces"]), sum(t["spanSet"]["matched"] for t in answer["traces"])], count)

    def test_invalid_queries(self):
        for text, golden in self.each("invalid"):
            with self.subTest(text):
                result = query("search", text, *RANGE, check=1)
                self.assertEqual(result.stderr.strip(), f"fermata query: {golden}")

    def test_names(self):
        for scope, golden in self.each("tags"):
            with self.subTest(scope):
                answer = query("tags", "", *RANGE, *(("--scope", scope) if scope != "all" else ()))
                found = {s["name"]: s["tags"] for s in answer["scopes"]}
                self.assertEqual(found, {s["name"]: s["tags"] for s in golden["scopes"]})

    def test_values(self):
        for field, golden in self.each("values"):
            with self.subTest(field):
                answer = query("values", field, *RANGE)
                self.assertEqual(sorted((v["type"], v["value"]) for v in answer["tagValues"]),
                                 sorted((v["type"], v["value"]) for v in golden["tagValues"]))

    def test_metrics(self):
        for text, golden in self.each("metrics"):
            with self.subTest(text):
                found, wanted = series(query("metrics", text, *RANGE, "--step", "30s")), series(golden)
                self.assertEqual(sorted(found), sorted(wanted))
                for labels, samples in wanted.items():
                    self.assertEqual(sorted(found[labels]), sorted(samples), labels)
                    for at, value in samples.items():
                        self.assertAlmostEqual(found[labels][at], value, 9, f"{labels} at {at}")

    def test_traces(self):
        for trace in GOLDEN["traces"]:
            answer = query("trace", trace)
            spans = [s["spanId"] for r in answer["trace"]["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]
            wanted = [s["spanId"] for r in GOLDEN["traces"][trace]["trace"]["resourceSpans"]
                      for c in r["scopeSpans"] for s in c["spans"]]
            self.assertEqual(sorted(spans), sorted(wanted))


class CommandTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.now = time.time_ns() // 10**9 * 10**9 - 60 * 10**9
        self.node = self.daemon({"block.max_block_duration": "1h"}).start()

    def send(self, number, names, tenant=None):
        trace = f"{number:032x}"
        spans = [span(trace, f"{number:08x}{i + 1:08x}", name, parent=f"{number:08x}{1:08x}" if i else "",
                      start=self.now + number * 10**9 + i * 10**6, attributes={"n": i}) for i, name in names]
        self.assertEqual(self.node.send(request(spans, service=f"service-{number % 2}"), tenant=tenant)[0], 200)

    def fill(self):
        """Trace 1 in one block, 2 in two, 3 in a block and the log, 4 in the log."""
        self.send(1, [(0, "root"), (1, "child")])
        self.send(2, [(0, "root"), (1, "child")])
        self.node.flush()
        self.send(2, [(2, "late"), (3, "later")])
        self.send(3, [(1, "child"), (2, "late")])
        self.node.flush()
        self.send(3, [(0, "root")])
        self.send(4, [(0, "root"), (1, "child")])

    def ask(self, kind, text, *arguments, of=None, check=0):
        return run_tool("query", kind, *(of or self.endpoint()), *arguments, text, check=check).stdout

    def answers(self, of=None):
        search = [
            "{}", '{ name = "late" }', '{ name = "root" } >> { name = "late" }', "{} | count() > 3",
            '{ rootServiceName = "service-1" }', '{ name = "late" && rootName = "root" }',
            "{} | avg(span.n) > 1 | select(span.n)",
        ]
        found = {text: traces(json.loads(self.ask("search", text, "--spss", 10, "--json", of=of))) for text in search}
        found["values"] = json.loads(self.ask("values", "name", "--json", of=of))["tagValues"]
        found["filtered"] = sorted(v["value"] for v in json.loads(
            run_tool("query", "values", *(of or self.endpoint()), "--json", "name", '{ rootServiceName = "service-0" }',
                     check=0).stdout)["tagValues"])
        found["names"] = {s["name"]: s["tags"] for s in json.loads(self.ask("tags", "{}", "--json", of=of))["scopes"]}
        window = ("--start", self.now // 10**9 - 30, "--end", self.now // 10**9 + 30, "--step", "10s")
        found["rate"] = series(json.loads(self.ask("metrics", "{} | count_over_time() by (name)", "--json", *window,
                                                   of=of)))
        return found

    def endpoint(self):
        return ("--endpoint", f"http://127.0.0.1:{self.node.ports['query']}")

    def test_one_answer_from_everywhere(self):
        self.fill()
        online = self.answers()
        self.assertEqual({t: len(f) for t, f in online.items() if t.startswith("{")}, {
            "{}": 4, '{ name = "late" }': 2, '{ name = "root" } >> { name = "late" }': 2, "{} | count() > 3": 1,
            '{ rootServiceName = "service-1" }': 2, '{ name = "late" && rootName = "root" }': 2,
            "{} | avg(span.n) > 1 | select(span.n)": 1})
        self.assertEqual(online["filtered"], ["child", "late", "later", "root"])
        self.assertEqual(sum(sum(s.values()) for s in online["rate"].values()), 11)
        self.assertGreater(self.node.metric("fermata_query_joined_traces_total"), 0)
        self.node.stop()
        self.assertEqual(self.answers(("--data-dir", self.node.data)), online)
        self.node.start()
        self.node.flush()
        wait_for(lambda: self.node.metric("fermata_upload_pending_blocks") == 0, 10, "the upload")
        self.assertEqual(self.answers(("--bucket", f"dir:{self.node.data / 'bucket'}")), online)
        self.assertEqual(self.answers(), online)

    def test_for_people(self):
        self.fill()
        shown = self.ask("search", '{ name = "late" }')
        self.assertEqual(len(shown.splitlines()), 3)
        self.assertIn("service-1: root", shown)
        self.assertEqual(self.ask("values", "name").split(), ["child", "late", "later", "root"])
        self.assertIn("span.n\n", self.ask("tags", "{}", "--scope", "span"))
        shown = self.ask("metrics", "{} | rate() by (name)")
        self.assertIn("name=root", shown)
        self.assertIn("max", shown)
        self.assertNotIn("\x1b", shown)
        self.assertIn("late", self.ask("trace", f"{3:x}"))

    def test_tenants_are_apart(self):
        self.send(1, [(0, "root")], tenant="a")
        self.send(2, [(0, "other")], tenant="b")
        self.assertEqual(self.ask("values", "name", "--tenant", "b").split(), ["other"])
        self.assertEqual(self.ask("values", "name", "--tenant", "c").split(), [])

    def test_mistakes(self):
        self.fill()
        for of in (None, ("--data-dir", self.node.data)):
            result = run_tool("query", "search", *(of or self.endpoint()), "{ foo = 1 }", check=1)
            self.assertIn("invalid TraceQL query: parse error at line 1, col 3: unknown identifier: foo", result.stderr)
            result = run_tool("query", "values", *(of or self.endpoint()), "http.method", check=1)
            self.assertIn("please provide a valid tagName", result.stderr)
        run_tool("query", "search", "--start", "yesterday", "--end", "1", check=2)
        run_tool("query", "search", "--start", "1", check=2)
        run_tool("query", "search", "--bucket", "s3:x", check=2)
        run_tool("query", "lookup", "x", check=2)
        run_tool("query", "search", "--bucket", f"dir:{self.directory}/nowhere", check=4)
        run_tool("query", "search", "--endpoint", "http://127.0.0.1:1", "{}", check=3)

    def test_times(self):
        self.fill()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now // 10**9))
        late = self.now // 10**9 + 3
        self.assertEqual(len(self.ask("search", "{}", "--start", at, "--end", late - 1).splitlines()), 3)
        self.assertEqual(len(self.ask("search", "{}", "--start", late, "--end", late + 60).splitlines()), 3)

    def test_limit_takes_the_newest(self):
        for number in range(1, 31):
            self.send(number, [(0, "root")])
            if number % 10 == 0:
                self.node.flush()
        found = json.loads(self.ask("search", "{}", "--limit", 5, "--json"))["traces"]
        self.assertEqual([int(t["traceID"], 16) for t in found], [30, 29, 28, 27, 26])
        self.assertEqual(len(json.loads(self.ask("search", "{}", "--json"))["traces"]), 20)


if __name__ == "__main__":
    unittest.main()
