# SPDX-License-Identifier: Apache-2.0
"""Our parquet files read by pyarrow, pyarrow's files read by us; values compared, both ways.

Our half is the built tests/interop/parquet_sample.c.
"""
import glob
import itertools
import os
import random
import subprocess
import tempfile
import unittest
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE = os.environ.get("PARQUET_SAMPLE", "build/tests/interop/parquet_sample")
ROWS = 5000
MASK = (1 << 64) - 1


def splitmix(state):
    """The generator of include/fermata/hash.h."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def expected_rows():
    """What parquet_sample.c writes."""
    for group in range(2):
        numbers = splitmix(42 + group)
        for row in range(ROWS):
            count = next(numbers) % 6
            if 2000 < row < 3000:
                count = 1
            values = [next(numbers) % 101 for _ in range(count)]
            yield {
                "id": f"id-{group}-{row}".encode(),
                "number": signed(row * 1000003 * (row % 7) - (0 if row % 13 else 1 << 63), 64),
                "real": row * 0.5 if row % 3 else None,
                "list": [None if v == 100 else f"value-{v}" for v in values],
                "flag": row % 2 == 1 if row % 5 else None,
                "small": signed(row * 2654435761, 32),
                "absent": None,
            }


def arrow_table():
    random.seed(3)
    n = 3000
    nested = [[[j * k for k in range(j)] for j in range(i % 4)] for i in range(n)]
    lists = [
        None if i % 9 == 0 else [None if j == 2 else f"e{j}" for j in range(i % 5)]
        for i in range(n)
    ]
    return pa.table({
        "i32": pa.array([random.randint(-2**31, 2**31 - 1) for _ in range(n)], pa.int32()),
        "i64": pa.array([None if i % 7 == 0 else i * 1000 for i in range(n)], pa.int64()),
        "d": pa.array([i * 0.25 for i in range(n)], pa.float64()),
        "b": pa.array([None if i % 11 == 0 else bool(i & 4) for i in range(n)]),
        "s": pa.array([None if i % 5 == 0 else f"text {i % 37}" for i in range(n)]),
        "n": pa.array([None] * n, pa.string()),
        "l": pa.array(lists, pa.list_(pa.string())),
        "ll": pa.array(nested, pa.list_(pa.list_(pa.int64()))),
    })


ENCODINGS = {
    "dictionary": {"use_dictionary": ["i32", "i64", "d", "s", "n", "l.list.element",
                                      "ll.list.element.list.element"]},
    "plain": {"use_dictionary": False},
    "delta": {"use_dictionary": False, "column_encoding": {
        "i32": "DELTA_BINARY_PACKED",
        "i64": "DELTA_BINARY_PACKED",
        "s": "DELTA_LENGTH_BYTE_ARRAY",
        "n": "DELTA_LENGTH_BYTE_ARRAY",
        "l.list.element": "DELTA_LENGTH_BYTE_ARRAY",
        "ll.list.element.list.element": "DELTA_BINARY_PACKED",
        "b": "RLE",
    }},
}


def leaves(value):
    if isinstance(value, list):
        for element in value:
            yield from leaves(element)
    elif value is not None:
        yield value


def text_of(value):
    if isinstance(value, float):
        return "%.17g" % value
    return str(int(value)) if isinstance(value, (bool, int)) else value


class ParquetFilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_pyarrow_reads_ours(self):
        subprocess.run([SAMPLE, "write", self.folder], check=True)
        expected = list(expected_rows())
        files = sorted(glob.glob(self.folder + "/*.parquet"))
        self.assertEqual(len(files), 12)
        for file in files:
            got = pq.read_table(file, page_checksum_verification=True).to_pylist()
            self.assertEqual(len(got), len(expected), file)
            for row, (ours, theirs) in enumerate(zip(expected, got)):
                self.assertEqual(ours, theirs, f"{file}: row {row}")

    def test_we_read_theirs(self):
        table = arrow_table()
        expected = {name: [text_of(v) for v in leaves(column)]
                    for name, column in table.to_pydict().items()}
        for version, codec, encoding in itertools.product(
                ["1.0", "2.0"], ["none", "snappy", "gzip", "zstd", "lz4"], ENCODINGS):
            file = os.path.join(self.folder, f"{version}-{codec}-{encoding}.parquet")
            pq.write_table(table, file, data_page_version=version, compression=codec,
                           data_page_size=2000, row_group_size=1700, write_page_checksum=True,
                           write_page_index=encoding != "dictionary", store_schema=False,
                           **ENCODINGS[encoding])
            done = subprocess.run([SAMPLE, "values", file], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{file}: {done.stderr}")
            got = defaultdict(list)
            for line in done.stdout.splitlines():
                path, value = line.split("\t")
                got[path.split(".")[0]].append(value)
            for name, values in expected.items():
                self.assertTrue(got[name] == values, f"{file}: column {name} differs")


if __name__ == "__main__":
    unittest.main()
