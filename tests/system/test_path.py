# SPDX-License-Identifier: Apache-2.0
"""The whole path: a span in, acknowledged, found in the head, in a block, in the bucket."""
import json
import unittest

from harness import DaemonTest, http_request, request, run_tool, span, wait_for

TRACE = "5b8efff798038103d269b633813fc60c"


class PathTest(DaemonTest):
    def test_span_is_found_in_head_block_and_bucket(self):
        daemon = self.daemon().start()
        status, headers, body = daemon.send(request([span(TRACE, "eee19b7ec3c1b174")]))
        self.assertEqual((status, headers["content-type"], body), (200, "application/json", b"{}"))
        self.assertEqual(daemon.span_ids(TRACE), ["eee19b7ec3c1b174"])
        daemon.flush()
        self.assertEqual(len(daemon.blocks()), 1)
        self.assertEqual(daemon.span_ids(TRACE), ["eee19b7ec3c1b174"])
        block = daemon.blocks()[0]
        copy = daemon.data / "bucket" / "single-tenant" / block.name
        wait_for(lambda: (copy / "meta.json").exists(), 10, "the block in the bucket")
        for name in ("data.parquet", "bloom-0", "meta.json"):
            self.assertEqual((copy / name).read_bytes(), (block / name).read_bytes(), name)
        run_tool("block", "verify", copy, check=0)
        daemon.stop()

    def test_trace_continued_after_a_cut_is_whole(self):
        daemon = self.daemon().start()
        daemon.send(request([span(TRACE, "0000000000000001")]))
        daemon.flush()
        daemon.send(request([span(TRACE, "0000000000000002", parent="0000000000000001")]))
        self.assertEqual(daemon.span_ids(TRACE), ["0000000000000001", "0000000000000002"])
        daemon.flush()
        self.assertEqual(len(daemon.blocks()), 2)
        self.assertEqual(daemon.span_ids(TRACE), ["0000000000000001", "0000000000000002"])
        daemon.stop()

    def test_repeated_delivery_shows_once(self):
        daemon = self.daemon().start()
        payload = request([span(TRACE, "0000000000000001", start=1_700_000_000_000_000_000)])
        for _ in range(3):
            self.assertEqual(daemon.send(payload)[0], 200)
        self.assertEqual(daemon.span_ids(TRACE), ["0000000000000001"])
        daemon.flush()
        self.assertEqual(daemon.span_ids(TRACE), ["0000000000000001"])
        daemon.stop()

    def test_tenants_do_not_see_each_other(self):
        daemon = self.daemon().start()
        daemon.send(request([span(TRACE, "00000000000000aa")]), tenant="a")
        daemon.send(request([span(TRACE, "00000000000000bb")]), tenant="b")
        for when in ("head", "blocks"):
            self.assertEqual(daemon.span_ids(TRACE, "a"), ["00000000000000aa"], when)
            self.assertEqual(daemon.span_ids(TRACE, "b"), ["00000000000000bb"], when)
            self.assertEqual(daemon.span_ids(TRACE), [], when)
            daemon.flush()
        for bad in ("..", "../x", "a/b", "%2e%2e", "x" * 151):
            self.assertEqual(daemon.send(request([span(TRACE, "00000000000000cc")]), tenant=bad)[0],
                             400, bad)
        daemon.stop()

    def test_stop_keeps_what_was_not_cut(self):
        daemon = self.daemon().start()
        daemon.send(request([span(TRACE, "0000000000000001")]))
        daemon.stop()
        daemon.start()
        self.assertEqual(daemon.span_ids(TRACE), ["0000000000000001"])
        daemon.stop()

    def test_kill_loses_nothing_acknowledged(self):
        daemon = self.daemon().start()
        sent = []
        for i in range(5):
            span_id = f"{i + 1:016x}"
            self.assertEqual(daemon.send(request([span(TRACE, span_id)]))[0], 200)
            sent.append(span_id)
            daemon.kill()
            daemon.start()
            self.assertEqual(daemon.span_ids(TRACE), sent)
        daemon.stop()

    def test_second_daemon_on_one_directory_is_refused(self):
        daemon = self.daemon().start()
        other = self.daemon({"fermata.data_dir": str(daemon.data)}, "other")
        other.start(wait=False)
        self.assertEqual(other.process.wait(10), 75)
        self.assertIn("LOCK", other.log_text())
        daemon.stop()


class ApiTest(DaemonTest):
    def test_small_endpoints(self):
        daemon = self.daemon().start()
        port = daemon.ports["query"]
        self.assertEqual(http_request(port, "GET", "/api/echo")[2], b"echo")
        self.assertEqual(http_request(port, "GET", "/ready")[0], 200)
        self.assertEqual(http_request(port, "GET", "/nothing")[0], 404)
        self.assertEqual(http_request(port, "GET", "/flush")[0], 405)
        status = json.loads(http_request(port, "GET", "/status?format=json")[2])
        self.assertTrue(status["ready"])
        self.assertIn(b"fermata", http_request(port, "GET", "/status")[2])
        daemon.stop()

    def test_trace_by_id_as_tempo_answers(self):
        daemon = self.daemon().start()
        port = daemon.ports["query"]
        self.assertEqual(daemon.trace("abc"), {"trace": {}, "metrics": {}})
        status, _, body = http_request(port, "GET", "/api/traces/abc")
        self.assertEqual((status, body), (404, b""))
        status, _, body = http_request(port, "GET", "/api/v2/traces/xyz")
        self.assertEqual(status, 400)
        self.assertEqual(body, b"trace IDs can only contain hex characters: "
                               b"invalid character 'x' at position 1")
        status, headers, body = http_request(port, "GET", "/api/v2/traces/abc",
                                             headers={"Accept": "application/protobuf"})
        self.assertEqual((status, headers["content-type"], body),
                         (200, "application/protobuf", b"\x0a\x00\x12\x00"))
        daemon.send(request([span("000000000000000000000000000000ab", "1111111111111111")]))
        self.assertIn("batches", daemon.trace("ab", version="v1"))
        daemon.stop()

    def test_metrics_have_the_promised_names(self):
        daemon = self.daemon().start()
        daemon.send(request([span(TRACE, "0000000000000001"), span("00" * 16, "0000000000000002")]))
        self.assertEqual(daemon.metric("fermata_receiver_accepted_spans_total"), 1)
        self.assertEqual(daemon.metric("fermata_receiver_refused_spans_total",
                                       'reason="invalid_trace_id"'), 1)
        daemon.flush()
        self.assertEqual(daemon.metric("fermata_blocks_total", 'state="sealed"'), 1)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
