# SPDX-License-Identifier: Apache-2.0
"""Recall: traces that stayed on the nodes are asked for through the bucket and arrive there."""
import json
import subprocess
import time

from harness import DaemonTest, FERMATA, request, run_tool, span, wait_for


def trace_id(number):
    return f"{number:032x}"


class RecallTest(DaemonTest):
    def node(self, name, **settings):
        return self.daemon({
            "fermata.node_id": name,
            "upload.dir.path": str(self.directory / "bucket"),
            "recall.poll_interval": "300ms",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }, name)

    def send(self, node, number, service, spans=2):
        payload = request([span(trace_id(number), f"{number:08x}{i:08x}") for i in range(1, spans + 1)], service)
        self.assertEqual(node.send(payload)[0], 200)

    def recall(self, node, *arguments, check=0):
        return run_tool("recall", "--config", node.directory / "fermata.ini", *arguments, check=check).stdout

    def answers(self, request_id=""):
        root = self.directory / "bucket-control" / "recall" / "answers"
        return {f"{path.parent.name}/{path.name}": json.loads(path.read_text())
                for path in root.glob(f"{request_id or '*'}/*") if not path.name.endswith(".part")}

    def ask(self, node, *arguments):
        """Asks without waiting; the request's id."""
        return self.recall(node, "--no-wait", *arguments).split(":")[0]

    def wait_answers(self, request_id, count, state="done"):
        def found():
            rows = [row for row in self.answers(request_id).values() if row["state"] == state]
            return rows if len(rows) == count else None
        return wait_for(found, 30, f"{count} answers {state} to {request_id}: {self.answers(request_id)}")

    def bucket_has(self, number):
        found = run_tool("query", "trace", "--bucket", f"dir:{self.directory / 'bucket'}", trace_id(number))
        return found.returncode == 0

    def test_by_id_what_is_in_no_block_yet(self):
        node = self.node("one").start()
        self.send(node, 1, "cart")
        self.send(node, 2, "cart")
        request_id = self.ask(node, trace_id(1), trace_id(77))
        answer = self.wait_answers(request_id, 1)[0]
        self.assertEqual((answer["traces"], answer["spans"], answer["blocks"]), (1, 2, 1))
        self.assertTrue(self.bucket_has(1))
        self.assertFalse(self.bucket_has(2))
        self.assertEqual(list((node.data / "outbox").glob("*/*")), [])  # it has left
        self.assertEqual(node.metric("fermata_recall_spans_total"), 2)
        found = json.loads(run_tool("why", trace_id(1), "--data-dir", node.data, "--json", check=0).stdout)
        places = {place["place"]: place for place in found["places"]}
        self.assertEqual(places["log"]["state"], "pending")
        self.assertEqual((places["copy"]["lane"], places["copy"]["state"], places["copy"]["certain"]),
                         ("recall", "uploaded", False))
        self.assertIn("a recalled copy", run_tool("why", trace_id(1), "--data-dir", node.data).stdout)
        node.stop()

    def test_a_query_reaches_every_node(self):
        nodes = [self.node(name).start() for name in ("one", "two", "three")]
        for i, node in enumerate(nodes):
            self.send(node, 10 + i, "cart")
            self.send(node, 20 + i, "mail")
        request_id = self.ask(nodes[0], "--query", '{ resource.service.name = "cart" }', "--since", "1h")
        answers = self.wait_answers(request_id, 3)
        self.assertEqual([row["traces"] for row in answers], [1, 1, 1])
        self.assertEqual([self.bucket_has(number) for number in (10, 11, 12, 20, 21, 22)], [True] * 3 + [False] * 3)
        shown = self.recall(nodes[0], "--status", request_id)
        self.assertIn("3 nodes answered, 3 traces, 6 spans uploaded", shown)
        for node in nodes:
            node.stop()

    def test_who_waits_sees_the_answer(self):
        node = self.node("one").start()
        self.send(node, 1, "cart")
        child = subprocess.Popen([str(FERMATA), "recall", "--config", str(node.directory / "fermata.ini"),
                                  "--wait", "60s", trace_id(1)], stdout=subprocess.PIPE, text=True)
        self.assertRegex(child.stdout.readline(), r"^\d{13}-[0-9a-f]{8}: asked for$")
        self.assertIn("done  1 traces, 2 spans", child.stdout.readline())
        child.send_signal(2)
        self.assertIn("1 nodes answered, 1 traces, 2 spans uploaded", child.stdout.readline())
        self.assertEqual(child.wait(30), 0)
        child.stdout.close()
        node.stop()

    def test_what_the_bucket_has_is_not_sent_again(self):
        node = self.node("one").start()
        self.send(node, 1, "cart")
        node.flush()
        wait_for(lambda: node.metric("fermata_blocks_waiting") == 0, 20, "the upload")
        request_id = self.ask(node, trace_id(1))
        answer = self.wait_answers(request_id, 1)[0]
        self.assertEqual((answer["traces"], answer["blocks"]), (0, 0))
        self.assertEqual(len(list((self.directory / "bucket" / "single-tenant").iterdir())), 1)
        node.stop()

    def test_a_node_that_was_away_answers_when_it_is_back(self):
        first, second = self.node("one").start(), self.node("two").start()
        self.send(second, 5, "cart")
        second.kill()
        request_id = self.ask(first, trace_id(5))
        self.assertEqual(self.wait_answers(request_id, 1)[0]["traces"], 0)
        second.start()
        self.assertEqual(sum(row["traces"] for row in self.wait_answers(request_id, 2)), 1)
        self.assertTrue(self.bucket_has(5))
        # What was answered is not done again after another restart.
        before = {key: row["unixNano"] for key, row in self.answers(request_id).items()}
        second.kill()
        second.start()
        wait_for(lambda: second.metric("fermata_recall_looks_total") >= 3, 20, "looks")
        self.assertEqual({key: row["unixNano"] for key, row in self.answers(request_id).items()}, before)
        first.stop()
        second.stop()

    def test_nonsense_in_the_bucket_costs_nothing(self):
        node = self.node("one").start()
        self.send(node, 1, "cart")
        requests = self.directory / "bucket-control" / "recall" / "requests"
        requests.mkdir(parents=True)
        (requests / "0000000000001-00000000").write_text("{")
        (requests / "0000000000002-00000000").write_text(json.dumps({
            "version": 1, "id": "0000000000002-00000000", "tenant": "single-tenant", "query": "{ nonsense = ",
            "startUnixNano": 1, "endUnixNano": 2 ** 62, "expiresUnixNano": 2 ** 62}))
        (requests / "0000000000003-00000000").write_text(json.dumps({
            "version": 1, "id": "0000000000003-00000000", "tenant": "single-tenant", "traceIds": ["1"],
            "expiresUnixNano": 1}))  # too late
        (requests / "no name!").write_text("")
        request_id = self.ask(node, trace_id(1))
        self.assertEqual(self.wait_answers(request_id, 1)[0]["traces"], 1)
        said = {key.split("/")[0]: row for key, row in self.answers().items()}
        self.assertEqual(said["0000000000001-00000000"]["why"], "it is not the JSON of a request")
        self.assertIn("query: ", said["0000000000002-00000000"]["why"])
        self.assertNotIn("0000000000003-00000000", said)
        node.stop()

    def test_limits(self):
        node = self.node("one", recall__max_traces="2").start()
        for number in range(1, 6):
            self.send(node, number, "cart")
        by_id = self.ask(node, *(trace_id(number) for number in range(1, 6)))
        answer = self.wait_answers(by_id, 1)[0]
        self.assertEqual((answer["traces"], answer["partial"]), (2, True))
        node.stop()

    def test_sampled_out_traces_come_back(self):
        node = self.node("one", sampling__tail__enabled="true", sampling__tail__decision_wait="100ms",
                         sampling__tail__default_probability="0",
                         sampling__policy__errors__type="status_code",
                         sampling__policy__errors__status_codes="ERROR").start()
        self.send(node, 1, "cart")
        self.send(node, 2, "cart")
        node.flush()
        block = node.blocks()[0]
        wait_for(lambda: (block / "decision").exists(), 30, "the decision")
        self.assertFalse(self.bucket_has(1))
        request_id = self.ask(node, trace_id(1))
        self.assertEqual(self.wait_answers(request_id, 1)[0]["spans"], 2)
        self.assertTrue(self.bucket_has(1))
        self.assertFalse(self.bucket_has(2))
        node.stop()

    def test_usage(self):
        node = self.node("one")
        node.write_config()
        node.directory.joinpath("bucket").mkdir()
        self.recall(node, check=2)
        self.recall(node, "--query", "{}", trace_id(1), check=2)
        self.recall(node, "xyz", check=2)
        self.recall(node, "--status", "../x", check=2)
        begin = time.monotonic()
        self.recall(node, "--status", "0000000000009-00000000", check=1)  # nobody answered
        self.assertLess(time.monotonic() - begin, 20)


if __name__ == "__main__":
    import unittest
    unittest.main()
