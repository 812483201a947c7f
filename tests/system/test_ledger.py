# SPDX-License-Identifier: Apache-2.0
"""The ledger: every span is accounted for, across kill -9; manifests; fermata why."""
import datetime
import json
import random
import threading
import time

from harness import DaemonTest, http_request, request, run_tool, span, wait_for
from s3_case import S3Case

TENANTS = ("single-tenant", "team-a", "team-b")


def trace_id(number):
    return f"{number:032x}"


def batch(first, count):
    return request([span(trace_id(first + i), f"{first + i + 1:016x}") for i in range(count)])


def status(daemon):
    code, _, body = http_request(daemon.ports["query"], "GET", "/status?format=json")
    if code != 200:
        raise AssertionError(f"status: {code}")
    return json.loads(body)


def ledger_of(daemon):
    return status(daemon)["ledger"]


def total(account, name):
    value = account[name]
    return sum(value.values()) if isinstance(value, dict) else value


class LedgerTest(DaemonTest):
    number = 1000

    def send_spans(self, daemon, count, tenant=None):
        LedgerTest.number += count
        code, _, body = daemon.send(batch(LedgerTest.number, count), tenant)
        self.assertEqual(code, 200, body)
        return trace_id(LedgerTest.number)

    def check_account(self, account):
        self.assertEqual(account["received"], account["stored"] + total(account, "rejected"), account)
        self.assertEqual(account["stored"], sum(total(account, name) for name in (
            "uploaded", "sampled_out", "expired", "pending", "dropped")), account)

    def check_ledger(self, ledger):
        self.assertTrue(ledger["balanced"], ledger)
        self.check_account(ledger)
        for account in ledger["tenants"] + ledger["hours"]:
            self.check_account(account)
        for parts in ("tenants", "hours"):
            for name in ("received", "stored", "uploaded", "expired"):
                self.assertEqual(sum(part[name] for part in ledger[parts]), ledger[name], parts)
        return {account["tenant"]: account for account in ledger["tenants"]}

    def wait_account(self, daemon, condition, what):
        found = []

        def holds():
            found[:] = [ledger_of(daemon)]
            return condition(found[0])
        wait_for(holds, 30, what)
        return found[0]


class BalanceTest(LedgerTest):
    def test_tenants_receivers_and_refusals(self):
        daemon = self.daemon({"upload.enabled": "false"}).start()
        for count, tenant in enumerate(TENANTS, 1):
            self.send_spans(daemon, 10 * count, tenant)
        broken = request([span(trace_id(1), "0" * 16), span(trace_id(2), "1" * 16)])
        self.assertEqual(daemon.send(broken, "team-a")[0], 200)
        zipkin = [{"traceId": "f" * 32, "id": "a" * 16, "name": "z", "timestamp": 1, "duration": 1}]
        code, _, body = http_request(daemon.ports["zipkin"], "POST", "/api/v2/spans",
                                     json.dumps(zipkin).encode(),
                                     {"Content-Type": "application/json"})
        self.assertEqual(code, 202, body)
        for trace, tenant, receiver in (("f" * 32, "single-tenant", "zipkin"),
                                        (trace_id(2), "team-a", "otlp_http")):
            found = json.loads(run_tool("why", trace, "--data-dir", daemon.data, "--tenant", tenant,
                                        "--json", check=0).stdout)
            self.assertEqual(found["places"][0]["receivers"], [receiver])
        tenants = self.check_ledger(ledger_of(daemon))
        self.assertEqual(tenants["single-tenant"]["stored"], 11)
        self.assertEqual(tenants["team-a"]["stored"], 21)
        self.assertEqual(tenants["team-a"]["rejected"]["invalid_span_id"], 1)
        self.assertEqual(tenants["team-b"]["pending"]["log"], 30)
        daemon.flush()
        tenants = self.check_ledger(ledger_of(daemon))
        self.assertEqual(tenants["team-b"]["pending"], {"log": 0, "deciding": 0, "express": 0, "fresh": 30,
                                                         "backlog": 0})
        self.assertEqual(daemon.metric("fermata_ledger_spans", 'state="stored"'), 62)
        self.assertEqual(daemon.metric("fermata_ledger_spans", 'state="received"'), 63)
        self.assertEqual(daemon.metric("fermata_ledger_balanced"), 1)
        text = run_tool("status", "--url", f"http://127.0.0.1:{daemon.ports['query']}", check=0).stdout
        self.assertIn("63 received = 62 stored + 1 rejected", text)
        daemon.stop()
        daemon.start()  # what was refused is saved at the stop
        tenants = self.check_ledger(ledger_of(daemon))
        self.assertEqual(tenants["team-a"]["rejected"]["invalid_span_id"], 1)
        self.assertEqual(tenants["team-b"]["stored"], 30)
        daemon.stop()

    def test_repeated_spans_are_duplicates(self):
        daemon = self.daemon({"upload.enabled": "false"}).start()
        payload = batch(77, 5)
        for _ in range(3):
            self.assertEqual(daemon.send(payload)[0], 200)
        daemon.flush()
        ledger = ledger_of(daemon)
        self.check_ledger(ledger)
        self.assertEqual((ledger["stored"], ledger["pending"]["fresh"],
                          ledger["dropped"]["duplicate"]), (15, 5, 10))
        daemon.stop()

    def test_killed_again_and_again(self):
        daemon = self.daemon({"upload.dir.path": self.directory / "bucket",
                              "storage.retention_uploaded": "1s",
                              "block.max_block_duration": "1s"})
        sent, stored, lock = {name: 0 for name in TENANTS}, {name: 0 for name in TENANTS}, threading.Lock()
        chance = random.Random(5)

        def feed(tenant, until):
            while time.monotonic() < until:
                count = chance.randint(1, 20)
                with lock:
                    LedgerTest.number += count
                    sent[tenant] += count
                    payload = batch(LedgerTest.number, count)
                try:
                    if daemon.send(payload, tenant)[0] != 200:
                        continue
                except OSError:
                    return
                with lock:
                    stored[tenant] += count

        for _ in range(5):
            daemon.start()
            tenants = self.check_ledger(ledger_of(daemon))
            for name in TENANTS:
                known = tenants.get(name, {"stored": 0})["stored"]
                self.assertGreaterEqual(known, stored[name], name)
                self.assertLessEqual(known, sent[name], name)
            feeders = [threading.Thread(target=feed, args=(name, time.monotonic() + 2.5))
                       for name in TENANTS]
            for feeder in feeders:
                feeder.start()
            time.sleep(chance.uniform(0.5, 2.0))
            daemon.kill()
            for feeder in feeders:
                feeder.join()
        daemon.start()
        daemon.flush()
        ledger = self.wait_account(daemon, lambda one: not total(one, "pending"), "all to leave")
        tenants = self.check_ledger(ledger)
        for name in TENANTS:
            self.assertGreaterEqual(tenants[name]["stored"], stored[name])
            self.assertLessEqual(tenants[name]["stored"], sent[name])
        wait_for(lambda: not daemon.blocks(), 60, "blocks to be deleted")
        self.assertEqual(ledger_of(daemon)["tenants"], ledger["tenants"])
        daemon.kill()
        daemon.start()
        self.assertEqual(ledger_of(daemon)["tenants"], ledger["tenants"])
        daemon.stop()


class ManifestTest(LedgerTest):
    def objects(self, control):
        return sorted(control.glob("manifest/*/*/*.json"))

    def sums(self, paths):
        found = [json.loads(path.read_text()) for path in paths]
        for manifest in found:
            self.check_account(manifest)
        return {name: sum(total(manifest, name) for manifest in found)
                for name in ("received", "stored", "uploaded", "pending")}

    def test_directory(self):
        bucket = self.directory / "bucket"
        control = self.directory / "bucket-control"
        daemon = self.daemon({"upload.dir.path": bucket, "upload.manifest_interval": "200ms"}).start()
        self.send_spans(daemon, 12)
        self.send_spans(daemon, 3, "team-a")
        wait_for(lambda: self.sums(self.objects(control))["pending"] == 15, 30, "manifests")
        daemon.flush()
        wait_for(lambda: self.sums(self.objects(control))["uploaded"] == 15, 30, "newer ones")
        self.assertEqual(self.sums(self.objects(control)),
                         {"received": 15, "stored": 15, "uploaded": 15, "pending": 0})
        path = self.objects(control)[-1]
        manifest = json.loads(path.read_text())
        hour = datetime.datetime.strptime(manifest["hour"], "%Y-%m-%dT%H:%M:%SZ")
        self.assertEqual(path.parts[-4:], ("manifest", manifest["node"], hour.strftime("%Y-%m-%d"),
                                           hour.strftime("%H.json")))
        self.assertEqual({row["tenant"] for row in manifest["tenants"]} - {"single-tenant", "team-a"},
                         set())
        written = daemon.metric("fermata_manifest_put_total")
        time.sleep(1)  # nothing changes, nothing is written, but for the end of the hour
        self.assertLessEqual(daemon.metric("fermata_manifest_put_total"), written + 1)
        daemon.stop()

    def test_a_bucket_that_is_away_holds_up_nothing(self):
        control = self.directory / "bucket-control"
        control.write_text("in the way")
        daemon = self.daemon({"upload.dir.path": self.directory / "bucket",
                              "upload.manifest_interval": "100ms"}).start()
        self.send_spans(daemon, 4)
        daemon.flush()
        self.wait_account(daemon, lambda one: one["uploaded"] == 4, "the upload")
        wait_for(lambda: daemon.metric("fermata_manifest_failures_total") > 0, 30, "a failure")
        control.unlink()
        wait_for(lambda: self.sums(self.objects(control))["uploaded"] == 4, 60, "the manifest")
        daemon.stop()


class ManifestS3Test(S3Case):
    def test_beside_the_blocks(self):
        self.server(prefix="edge")
        daemon = self.s3_daemon({"upload.manifest_interval": "200ms"}).start()
        self.make_block(daemon, spans=3)
        self.wait_uploaded(daemon)

        def manifests():
            return [json.loads(self.s3.objects[key]) for key in self.s3.keys() if "/manifest/" in key]
        wait_for(lambda: sum(manifest["uploaded"] for manifest in manifests()) == 3, 30, "manifests")
        for key in self.s3.keys():
            self.assertIn(key.split("/")[0], ("edge", "fermata-control"), key)
        daemon.stop()


class WhyTest(LedgerTest):
    def why(self, daemon, trace, exit=0, tenant=None):
        """Asks the daemon and the files; both say the same."""
        options = ["--json"] + (["--tenant", tenant] if tenant else [])
        url = f"http://127.0.0.1:{daemon.ports['query']}"
        answer = json.loads(run_tool("why", trace, "--url", url, *options, check=exit).stdout)
        files = json.loads(run_tool("why", trace, "--data-dir", daemon.data, *options, check=exit).stdout)
        self.assertEqual(answer["places"], files["places"])
        return answer["places"]

    def text(self, daemon, trace, exit=0):
        return run_tool("why", trace, "--data-dir", daemon.data, check=exit).stdout

    def test_from_the_log_to_the_bucket(self):
        daemon = self.daemon({"upload.dir.path": self.directory / "bucket"}).start()
        trace = self.send_spans(daemon, 1)
        place, = self.why(daemon, trace)
        self.assertEqual((place["place"], place["state"], place["spans"], place["receivers"]),
                         ("log", "pending", 1, ["otlp_http"]))
        self.assertIn("in the log", self.text(daemon, trace))
        daemon.flush()
        self.wait_account(daemon, lambda one: one["uploaded"] == 1, "the upload")
        place, = self.why(daemon, trace)
        block = daemon.blocks()[0].name
        self.assertEqual((place["place"], place["state"], place["block"], place["destination"]),
                         ("block", "uploaded", block, block))
        self.assertEqual(place["receivers"], ["otlp_http"])
        self.assertIn(f"as block {block}", self.text(daemon, trace))
        self.assertEqual(self.why(daemon, "7" * 32, exit=4), [])
        self.assertIn("never seen", self.text(daemon, "7" * 32, exit=4))
        self.assertEqual(self.why(daemon, trace, exit=4, tenant="team-a"), [])
        daemon.stop()
        self.assertIn("uploaded", self.text(daemon, trace))

    def test_in_a_block_that_waits(self):
        daemon = self.daemon({"upload.enabled": "false"}).start()
        trace = self.send_spans(daemon, 1)
        daemon.flush()
        place, = self.why(daemon, trace)
        self.assertEqual((place["place"], place["state"]), ("block", "pending"))
        self.assertIn("not uploaded yet", self.text(daemon, trace))
        daemon.stop()

    def wait_gone(self, daemon, trace):
        wait_for(lambda: not list(daemon.data.glob("blocks/*/*/meta.json")), 60, "the deletion")
        wait_for(lambda: list(daemon.data.glob("gone/*/*")), 30, "its filter")
        place, = self.why(daemon, trace)
        self.assertEqual((place["place"], place["certain"]), ("gone", False))
        return place

    def test_gone_after_the_upload(self):
        daemon = self.daemon({"upload.dir.path": self.directory / "bucket",
                              "storage.retention_uploaded": "1s"}).start()
        trace = self.send_spans(daemon, 1)
        daemon.flush()
        self.assertEqual(self.wait_gone(daemon, trace)["state"], "uploaded")
        self.assertIn("after it was uploaded", self.text(daemon, trace))
        self.check_ledger(ledger_of(daemon))
        daemon.stop()

    def test_expired(self):
        daemon = self.daemon({"upload.enabled": "false",
                              "storage.retention_unuploaded": "1s"}).start()
        trace = self.send_spans(daemon, 1)
        daemon.flush()
        self.assertEqual(self.wait_gone(daemon, trace)["state"], "expired")
        self.assertIn("expired", self.text(daemon, trace))
        ledger = ledger_of(daemon)
        self.check_ledger(ledger)
        self.assertEqual(ledger["expired"], 1)
        daemon.stop()

    def test_wrong_ids_and_names(self):
        daemon = self.daemon({"upload.enabled": "false"}).start()
        self.assertEqual(http_request(daemon.ports["query"], "GET", "/why/xyz")[0], 400)
        run_tool("why", "xyz", check=2)
        run_tool("why", "1", "--tenant", "../x", check=2)
        run_tool("why", "1", "--data-dir", self.directory / "nothing", check=4)
        daemon.stop()
