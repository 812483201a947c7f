# SPDX-License-Identifier: Apache-2.0
"""Blocks to a directory laid out as Tempo's local backend."""
import os
import pathlib
import shutil
import unittest

from harness import DaemonTest, request, run_tool, span, wait_for


class DirTest(DaemonTest):
    serial = 0

    def make_block(self, daemon, spans=3):
        for _ in range(spans):
            DirTest.serial += 1
            status, _, body = daemon.send(request([span(f"{DirTest.serial:032x}", "00000000000000aa")]))
            self.assertEqual(status, 200, body)
        daemon.flush()

    def wait_uploaded(self, daemon, seconds=15):
        wait_for(lambda: daemon.metric("fermata_upload_pending_blocks") == 0, seconds,
                 "the backlog to drain")

    def check_bucket(self, daemon, bucket):
        found = sorted(path.name for path in (bucket / "single-tenant").iterdir())
        self.assertEqual(found, [block.name for block in daemon.blocks()])
        for block in daemon.blocks():
            copy = bucket / "single-tenant" / block.name
            self.assertEqual(sorted(os.listdir(copy)), ["bloom-0", "data.parquet", "meta.json"])
            for name in os.listdir(copy):
                self.assertEqual((copy / name).read_bytes(), (block / name).read_bytes(), name)
            run_tool("block", "verify", copy, check=0)

    def test_blocks_are_linked_on_the_same_file_system(self):
        bucket = self.directory / "bucket"
        daemon = self.daemon({"upload.dir.path": bucket}).start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, bucket)
        block = daemon.blocks()[0]
        self.assertEqual((bucket / "single-tenant" / block.name / "data.parquet").stat().st_ino,
                         (block / "data.parquet").stat().st_ino)
        daemon.stop()

    @unittest.skipUnless(os.path.isdir("/dev/shm") and
                         os.stat("/dev/shm").st_dev != os.stat("/tmp").st_dev,
                         "needs a second file system")
    def test_blocks_are_copied_across_file_systems(self):
        bucket = pathlib.Path("/dev/shm", self.directory.name)
        self.addCleanup(shutil.rmtree, bucket, True)
        daemon = self.daemon({"upload.dir.path": bucket}).start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, bucket)
        daemon.stop()

    def test_a_directory_that_goes_away_and_comes_back(self):
        bucket = self.directory / "bucket"
        daemon = self.daemon({"upload.dir.path": bucket,
                              "upload.retry_max_interval": "200ms"}).start()
        shutil.rmtree(bucket)
        bucket.write_text("in the way")
        self.make_block(daemon)
        wait_for(lambda: daemon.metric("fermata_upload_failures_total") > 1, 10, "failures")
        daemon.kill()
        bucket.unlink()
        daemon.start()
        self.make_block(daemon)
        self.wait_uploaded(daemon)
        self.check_bucket(daemon, bucket)
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
