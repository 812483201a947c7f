# SPDX-License-Identifier: Apache-2.0
"""What becomes of blocks on the node: they expire, are merged, are read again, and go when there is no space."""
import json

from harness import DaemonTest, request, run_tool, span, wait_for

DROPPED = "fermata_spans_dropped_total"


def trace_id(number):
    return f"{number + 1:032x}"


class UpkeepTest(DaemonTest):
    def seal(self, daemon, number):
        """One trace, one block."""
        status = daemon.send(request([span(trace_id(number), f"{number + 1:016x}")]))[0]
        self.assertEqual(status, 200)
        daemon.flush()

    def live_blocks(self, daemon):
        return [path for path in daemon.blocks() if (path / "meta.json").exists()]

    def uploaded(self, daemon):
        return [path for path in self.live_blocks(daemon) if (path / "uploaded").exists()]

    def assert_found(self, daemon, numbers):
        for number in numbers:
            self.assertEqual(daemon.span_ids(trace_id(number)), [f"{number + 1:016x}"])

    def test_uploaded_blocks_expire_and_others_do_not(self):
        settings = {"storage.retention_uploaded": "1s", "storage.retention_unuploaded": "0"}
        gone = self.daemon(settings, "gone").start()
        self.seal(gone, 1)
        wait_for(lambda: not self.live_blocks(gone), 60, "the uploaded block to expire")
        self.assertTrue(list((gone.data / "bucket").rglob("meta.json")))
        stays = self.daemon({**settings, "upload.enabled": "false"}, "stays").start()
        self.seal(stays, 1)
        before = stays.metric("fermata_blocks")
        wait_for(lambda: gone.metric("fermata_blocks_total", 'state="expired"') >= 1, 30, "the counter")
        self.assertEqual(before, 1)
        self.assert_found(stays, [1])

    def test_what_waits_too_long_is_dropped_and_said(self):
        daemon = self.daemon({"storage.retention_unuploaded": "1s", "upload.enabled": "false"}).start()
        self.seal(daemon, 1)
        wait_for(lambda: daemon.metric(DROPPED, 'reason="age"') == 1, 60, "the block to be dropped")
        self.assertIn("event=store.block_dropped tenant=single-tenant", daemon.log.read_text())
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)

    def test_small_blocks_become_one_and_are_not_uploaded_again(self):
        daemon = self.daemon({"block.max_block_duration": "1s", "storage.retention_uploaded": "100h"}).start()
        for number in range(8):
            self.seal(daemon, number)
        wait_for(lambda: daemon.metric("fermata_merged_blocks_total") >= 8, 90, "the merge")
        wait_for(lambda: len(self.live_blocks(daemon)) == 1, 30, "the sources to go")
        self.assertEqual(len(self.uploaded(daemon)), 1)
        in_bucket = {path.parent.name for path in (daemon.data / "bucket").rglob("meta.json")}
        self.assertEqual(len(in_bucket), 8)
        found = json.loads(run_tool("why", trace_id(3), "--data-dir", daemon.data, "--json", check=0).stdout)
        place, = [place for place in found["places"] if place["place"] == "block"]
        self.assertEqual((place["state"], set(place["destinations"])), ("uploaded", in_bucket))
        self.assertLessEqual(place["uploaded"], place.get("uploaded_last", place["uploaded"]))
        self.assertIn("one of the blocks it was merged of", run_tool("why", trace_id(3), "--data-dir", daemon.data).stdout)
        self.assert_found(daemon, range(8))
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
        daemon.kill()
        daemon.start()
        self.assertEqual(len(self.live_blocks(daemon)), 1)
        self.assert_found(daemon, range(8))
        self.seal(daemon, 8)
        wait_for(lambda: len(self.uploaded(daemon)) == 2, 60, "the next upload")
        self.assertEqual(len(list((daemon.data / "bucket").rglob("meta.json"))), 9)
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
        daemon.stop()

    def damage(self, path):
        data = bytearray((path / "data.parquet").read_bytes())
        for at in range(50, len(data) // 2, 50):
            data[at] ^= 1
        (path / "data.parquet").write_bytes(data)

    def damage_log(self, daemon):
        """Records of what is in blocks already."""
        for path in (daemon.data / "wal").glob("*.seg"):
            with path.open("r+b") as segment:
                for at in range(4096 + 40, 4096 + 2000, 40):
                    segment.seek(at)
                    byte = segment.read(1)
                    segment.seek(at)
                    segment.write(bytes([byte[0] ^ 1]))

    def test_rot_is_found_and_the_block_made_again(self):
        daemon = self.daemon({"storage.scrub_interval": "1s", "upload.enabled": "false"}).start()
        self.seal(daemon, 1)
        self.seal(daemon, 2)
        found = {path.name: path for path in self.live_blocks(daemon)}
        self.damage(sorted(found.items())[0][1])
        wait_for(lambda: daemon.metric("fermata_scrub_rebuilt_blocks_total") == 1, 90, "the block to be mended")
        for _ in range(2):
            self.assertEqual({path.name for path in self.live_blocks(daemon)}, set(found))
            self.assert_found(daemon, (1, 2))
            self.assertEqual(daemon.metric(DROPPED, 'reason="corrupt"'), 0)
            self.assertEqual(daemon.metric("fermata_ledger_spans", 'state="pending",lane="fresh"'), 2)
            self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
            daemon.kill()
            daemon.start()
        for name in found:
            run_tool("block", "verify", daemon.data / "blocks" / "single-tenant" / name, check=0)
        daemon.stop()

    def test_rot_is_found_and_counted(self):
        daemon = self.daemon({"storage.scrub_interval": "1s", "upload.enabled": "false"}).start()
        self.seal(daemon, 1)
        self.seal(daemon, 2)
        found = {path.name: path for path in self.live_blocks(daemon)}
        self.assertEqual(len(found), 2)
        name, path = sorted(found.items())[0]
        self.damage_log(daemon)
        self.damage(path)
        wait_for(lambda: daemon.metric(DROPPED, 'reason="corrupt"') == 1, 90, "the damage to be found")
        wait_for(lambda: len(self.live_blocks(daemon)) == 1, 30, "the block to be set aside")
        kept = [p.name for p in (daemon.data / "quarantine").iterdir()]
        self.assertTrue(any(name in entry for entry in kept), kept)
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
        daemon.kill()
        daemon.start()
        self.assertEqual(len(self.live_blocks(daemon)), 1)
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
        daemon.stop()

    def test_rot_of_what_the_bucket_has_costs_nothing(self):
        daemon = self.daemon({"storage.scrub_interval": "1s"}).start()
        self.seal(daemon, 1)
        wait_for(lambda: self.uploaded(daemon), 60, "the upload")
        self.damage(self.uploaded(daemon)[0])
        wait_for(lambda: not self.live_blocks(daemon), 90, "the block to go")
        self.assertEqual(daemon.metric("fermata_scrub_bad_blocks_total"), 1)
        self.assertEqual(daemon.metric(DROPPED, 'reason="corrupt"'), 0)

    def test_quota_as_a_share(self):
        daemon = self.daemon({"storage.quota": "50%", "storage.quota_max": "1GiB"}).start()
        wait_for(lambda: daemon.metric("fermata_store_quota_bytes") > 0, 30, "the disk to be looked at")
        self.assertLessEqual(daemon.metric("fermata_store_quota_bytes"), 1 << 30)

    def test_time_of_a_wrong_clock(self):
        """A span of the year 2100 does not stretch the block, and is found as it is."""
        daemon = self.daemon({"upload.enabled": "false"}).start()
        year_2100 = 4102444800 * 10**9
        spans = [span(trace_id(1), "00000000000000aa", start=year_2100), span(trace_id(1), "00000000000000bb")]
        self.assertEqual(daemon.send(request(spans))[0], 200)
        daemon.flush()
        meta = (self.live_blocks(daemon)[0] / "meta.json").read_text()
        self.assertNotIn("2100-", meta)
        self.assertEqual(daemon.span_ids(trace_id(1)), ["00000000000000aa", "00000000000000bb"])
        self.assertIn(str(year_2100), str(daemon.trace(trace_id(1))))
