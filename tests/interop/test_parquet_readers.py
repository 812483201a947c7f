# SPDX-License-Identifier: Apache-2.0
"""Blocks opened by two Parquet readers that share no code with ours: pyarrow and DuckDB."""
import json
import pathlib
import subprocess
import unittest

import pyarrow.parquet

from harness import DaemonTest, run_tool

HERE = pathlib.Path(__file__).resolve().parent
TOTAL = 20000


def entries(node):
    """A LIST-annotated column, however pyarrow presents it."""
    if isinstance(node, dict):
        node = node["list"]
    return [n["element"] if isinstance(n, dict) and set(n) == {"element"} else n for n in node]


class ParquetReaderTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({"block.max_block_bytes": "64MiB"}).start()
        run_tool("emit", "--protocol", "otlp_http", "--endpoint", f"127.0.0.1:{self.node.ports['http']}",
                 "--total", TOTAL, "--seed", 11, check=0)
        self.node.flush()
        self.blocks = self.node.blocks()
        dump = run_tool("block", "dump", self.blocks[0], check=0).stdout
        self.traces = [json.loads(line) for line in dump.splitlines()]
        self.accepted = int(self.node.metric("fermata_receiver_accepted_spans_total"))

    def tearDown(self):
        self.node.stop()

    def test_pyarrow(self):
        self.assertEqual(len(self.blocks), 1)
        file = pyarrow.parquet.ParquetFile(self.blocks[0] / "data.parquet", page_checksum_verification=True)
        meta = json.loads((self.blocks[0] / "meta.json").read_text())
        self.assertEqual(file.metadata.num_rows, meta["totalObjects"])
        self.assertEqual(file.metadata.num_columns, 103)
        table = file.read()
        ids = table["TraceID"].to_pylist()
        self.assertEqual(ids, sorted(set(ids)))
        spans = 0
        names = []
        for row in table["rs"].to_pylist():
            for resource in entries(row):
                for scope in entries(resource["ss"]):
                    found = entries(scope["Spans"])
                    spans += len(found)
                    names += [s["Name"] for s in found]
        self.assertEqual(spans, self.accepted)
        ours = [s["name"] for t in self.traces for r in t["resourceSpans"] for sc in r["scopeSpans"]
                for s in sc["spans"]]
        self.assertEqual(sorted(names), sorted(ours))

    def test_duckdb(self):
        done = subprocess.run(["node", str(HERE / "read_block.js"), str(self.blocks[0] / "data.parquet")],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        facts = json.loads(done.stdout)
        meta = json.loads((self.blocks[0] / "meta.json").read_text())
        self.assertEqual(int(facts["counts"]["traces"]), meta["totalObjects"])
        self.assertEqual(int(facts["counts"]["ids"]), meta["totalObjects"])
        self.assertEqual(int(facts["counts"]["spans"]), self.accepted)
        ours = {a["value"]["stringValue"] for t in self.traces for r in t["resourceSpans"]
                for a in r["resource"]["attributes"] if a["key"] == "service.name"}
        self.assertEqual(set(facts["services"]), ours)


if __name__ == "__main__":
    unittest.main()
