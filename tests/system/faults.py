# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of faults: what the bucket or the network does, and what came of it.

A row is (name, fault, counted as, what followed, end, function).  The function gets a Fault, which has
a daemon and a scripted server of its own, and plays the fault; then the same is read off for each row:
the outcomes that were counted, the repairs, features given up, how often objects were sent, whether an
error was logged, what the bucket holds and what is still here.  In every row spans are sent while the
fault lasts, and must be taken.  test_faults.py runs the rows and writes docs/faults.md.
"""
import re
import socket
import threading

from harness import free_port, http_request, wait_for

MENDED = "kept here until mended, then whole"
REPAIRS = {"clock": "signed with the bucket's time", "region": "signed for the bucket's region",
           "credentials": "keys looked for again"}
DATA, META = "data.parquet", "meta.json"


class Fault:
    """One node, one bucket, one row."""

    def __init__(self, case, name):
        self.case, self.name, self.extra = case, name, []
        self.s3 = case.server()
        self.daemon = None
        self.end = "whole"
        self.counted = set()

    # ---- playing ----

    def start(self, settings=None, **keywords):
        self.daemon = self.case.s3_daemon({"fermata.log_level": "debug", **(settings or {})}, self.name)
        self.daemon.start(**keywords)
        return self

    def play(self, action, count=1, settings=None, **options):
        """The fault comes some times, then the bucket is well."""
        self.s3.fault(action, count=count, **options)
        if not self.daemon:
            self.start(settings)
        self.block()
        self.case.wait_uploaded(self.daemon, 60)
        self.case.assertTrue(all(fault.count == 0 for fault in self.s3.faults), "the fault did not come")
        return self

    def hold(self, mend, alarm=None, settings=None):
        """The fault lasts until mend(): blocks stay here, whole, and nothing is lost."""
        if not self.daemon:
            self.start(settings)
        self.block()
        wait_for(lambda: self.daemon.metric("fermata_upload_failures_total") >= 2, 60, "two attempts")
        if alarm:
            wait_for(lambda: alarm in self.status(), 60, f"'{alarm}' in the status")
        self.block()
        self.case.assertEqual(self.daemon.metric("fermata_upload_pending_blocks"), 2)
        self.case.assertEqual(len(self.daemon.blocks()), 2)
        self.case.assertEqual(self.s3.whole_blocks(), [])
        mend()
        self.case.wait_uploaded(self.daemon, 60)
        self.end = MENDED
        return self

    def block(self, spans=2):
        """Spans are taken, whatever the bucket does."""
        self.case.make_block(self.daemon, spans)

    def status(self):
        return http_request(self.daemon.ports["query"], "GET", "/status")[2].decode()

    def sends(self, key=DATA, method="PUT", query=""):
        return len([e for e in self.s3.requests(method, key) if query in e["query"]])

    def say(self, text):
        self.extra.append(text)
        return self

    def say_sent(self, key=DATA, query=""):
        count = self.sends(key, query=query)
        return self.say(f"{'a part' if query else key} sent {'once' if count == 1 else f'{count} times'}")

    # ---- what came of it ----

    def outcomes(self):
        text = http_request(self.daemon.ports["query"], "GET", "/metrics")[2].decode()
        found = re.findall(r'fermata_upload_requests_total\{outcome="(\w+)"[^}]*\} ([1-9]\d*)', text)
        return sorted({name for name, _ in found} - {"done", "absent"})

    def followed(self):
        log, words = self.daemon.log.read_text(), []
        for kind, text in REPAIRS.items():
            if self.daemon.metric("fermata_upload_repairs_total", f'kind="{kind}"'):
                words.append(text)
        for feature in ("conditional_writes", "checksums", "multipart"):
            if f"{feature}=off" in log:
                words.append(f"goes on without {feature.replace('_', ' ')}")
        words += self.extra
        if "upload.problem" in log:
            words.append("an error is logged")
        return "; ".join(words) or "tried again"

    def finish(self):
        if self.end in ("whole", MENDED):
            self.case.check_bucket(self.daemon)
        seen = (", ".join(self.outcomes()) or "-", self.followed(), self.end)
        self.daemon.stop()
        return seen


# ---- throttling and errors ----

def slow_down(fault):
    fault.play("status", 3, status=503, code="SlowDown", method="PUT", key=DATA).say_sent()


def retry_after(fault):
    fault.play("status", status=429, code="TooManyRequests", headers={"Retry-After": "2"}, method="PUT",
               key=DATA, settings={"upload.retry_max_interval": "10s"})
    refused = next(e for e in fault.s3.log if e["status"] == 429)
    later = next(e for e in fault.s3.log if e["time"] > refused["time"] and "/single-tenant/" in e["path"])
    fault.case.assertGreaterEqual(later["time"] - refused["time"], 2)
    fault.say("nothing is asked for as long as it said")


def error_before(fault):
    fault.play("status", status=500, method="PUT", key=DATA).say_sent()


def error_after_data(fault):
    fault.play("commit_then_status", status=500, method="PUT", key=DATA).say_sent()


def error_after_meta(fault):
    fault.play("commit_then_status", status=500, method="PUT", key=META).say_sent(META)


def gateway(fault):
    page = b"<html><body>Bad Gateway</body></html>"
    fault.play("raw", bytes=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(page) + page,
               method="PUT", key=DATA).say_sent()


def outage(fault):
    fault.start()
    port = fault.s3.port
    fault.s3.__exit__()

    def mend():
        fault.case.server(port=port)
        fault.s3 = fault.case.s3
    fault.hold(mend)


# ---- credentials ----

def denied_once(fault):
    fault.play("status", status=403, code="AccessDenied", method="PUT", key=DATA).say_sent()


def denied(fault):
    fault.s3.fault("status", count=10**6, status=403, code="AccessDenied")
    fault.hold(fault.s3.faults.clear, "AccessDenied")


def expired(fault):
    fault.start()
    fault.s3.credentials = {"AKIASECOND": "second/secret"}
    fault.s3.fault("status", status=400, code="ExpiredToken", method="PUT", key=DATA)
    fault.case.access_file.write_text("AKIASECOND")
    fault.case.secret_file.write_text("second/secret")
    fault.block()
    fault.case.wait_uploaded(fault.daemon, 60)


def unknown_key(fault):
    fault.start()
    fault.s3.credentials = {"AKIASECOND": "second/secret"}

    def mend():
        fault.case.access_file.write_text("AKIASECOND")
        fault.case.secret_file.write_text("second/secret")
    fault.hold(mend, "InvalidAccessKeyId")


def wrong_secret(fault):
    fault.start()
    right = fault.case.secret_file.read_text()
    fault.case.secret_file.write_text("wrong")
    fault.daemon.stop()
    fault.daemon.start()
    fault.hold(lambda: fault.case.secret_file.write_text(right), "SignatureDoesNotMatch")


# ---- routes and clocks ----

def moved(fault):
    fault.s3.region = "eu-north-1"
    fault.play("status", status=301, code="PermanentRedirect", headers={"x-amz-bucket-region": "eu-north-1"},
               method="GET", key=META).say_sent()


def malformed(fault):
    fault.s3.region = "eu-north-1"
    fault.start()
    fault.block()
    fault.case.wait_uploaded(fault.daemon, 60)
    fault.say_sent()


def elsewhere(fault):
    """Who asks there would get our signature."""
    with socket.create_server(("127.0.0.1", free_port())) as other:
        visits = []
        threading.Thread(target=lambda: visits.append(other.accept()), daemon=True).start()
        fault.play("status", status=307, code="TemporaryRedirect", method="PUT", key=DATA,
                   headers={"Location": f"http://127.0.0.1:{other.getsockname()[1]}/traces"})
        fault.say("not followed" if not visits else "FOLLOWED")


def skewed(fault):
    fault.s3.clock_offset_s = -3 * 3600
    fault.start()
    fault.block()
    fault.case.wait_uploaded(fault.daemon, 60)
    fault.case.assertLess(fault.daemon.metric("fermata_clock_offset_seconds"), -10000)
    fault.say_sent()


def years_off(fault):
    fault.s3.clock_offset_s = 10 * 365 * 86400

    def mend():
        fault.s3.clock_offset_s = 0
    fault.hold(mend, "RequestTimeTooSkewed")
    fault.say("not believed")


def clock_unset(fault):
    flag, shim = fault.case.fake_clock()
    fault.start(env=shim)
    fault.hold(flag.unlink, "clock was never set")
    fault.case.assertEqual(fault.daemon.metric("fermata_clock_unset"), 0)
    fault.say("nothing is asked of the bucket while it lasts")


# ---- connections ----

def reset(fault):
    fault.play("drop_mid_body", method="PUT", key=DATA).say_sent()


def lost_after_data(fault):
    fault.play("commit_then_drop", method="PUT", key=DATA).say_sent()


def lost_after_meta(fault):
    fault.play("commit_then_drop", method="PUT", key=META).say_sent(META)


def stall(fault):
    fault.play("stall_mid_body", seconds=30, method="PUT", key=DATA).say_sent()


def silence(fault):
    fault.play("delay", seconds=30, method="GET", key=META).say_sent()


def trickle(fault):
    fault.play("trickle", seconds=5, method="PUT", key=DATA).say_sent()


def slow_reader(fault):
    """22 MiB that take three times as long as a request may take without progress."""
    fault.s3 = fault.case.server(receive_buffer=64 << 10)
    fault.s3.fault("slow_body", seconds=15, method="PUT", key=DATA)
    fault.start({"block.max_block_bytes": "128MiB", "upload.request_timeout": "5s"})
    fault.case.make_large_block(fault.daemon)
    fault.case.wait_uploaded(fault.daemon, 120)
    put = next(e for e in fault.s3.requests("PUT", DATA))
    fault.case.assertGreater(put["length"], 20 << 20)
    fault.say_sent()


def torn_head(fault):
    fault.play("torn", method="PUT", key=DATA).say_sent()


def torn_body(fault):
    fault.s3.fault("commit_then_drop", method="PUT", key=META)
    fault.play("torn_body", method="GET", key=META, skip=1).say_sent(META)


def garbage(fault):
    fault.play("raw", bytes=b"SSH-2.0-OpenSSH_9.2\r\n" * 50, method="PUT", key=DATA).say_sent()


def garbage_error(fault):
    body = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>'
    fault.play("raw", bytes=b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
               method="PUT", key=DATA).say_sent()


def endless(fault):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n"
    before = fault.start().daemon.metric("process_resident_memory_bytes")
    fault.play("raw", bytes=head + b"x" * (8 << 20), method="GET", key=META).say_sent()
    fault.case.assert_grew_less(before, fault.daemon.metric("process_resident_memory_bytes"), 24 << 20)


def stranger(fault):
    """TLS whose certificate no authority that we know has signed."""
    fault.s3 = fault.case.tls_server()
    fault.start()
    fault.block()
    wait_for(lambda: "upload.problem" in fault.daemon.log.read_text(), 60, "the alarm")
    fault.block()
    fault.case.assertEqual(fault.daemon.metric("fermata_upload_pending_blocks"), 2)
    fault.case.assertEqual(fault.s3.log, [])
    fault.say("nothing is sent")
    fault.end = "kept here"


# ---- what the bucket says about objects ----

def wrong_etag(fault):
    fault.play("wrong_etag", method="PUT", key=DATA).say_sent()


def no_bucket(fault):
    fault.s3.bucket_exists = False

    def mend():
        fault.s3.bucket_exists = True
    fault.hold(mend, "NoSuchBucket")


def exists_equal(fault):
    """Our own meta.json, of an attempt whose answer was lost, and a bucket that hides it at first."""
    fault.s3.fault("commit_then_drop", method="PUT", key=META)
    fault.play("status", status=404, code="NoSuchKey", method="GET", key=META, skip=1).say_sent(META)


def exists_other(fault):
    fault.s3.bucket_exists = False
    fault.start()
    fault.block()
    block = fault.daemon.blocks()[0]
    foreign = f"single-tenant/{block.name}/{META}"
    fault.s3.objects[foreign] = b'{"blockID":"somebody else\'s"}'
    fault.s3.bucket_exists = True
    wait_for(lambda: fault.daemon.metric("fermata_upload_conflicting_blocks") == 1, 60, "the alarm")
    fault.block()
    wait_for(lambda: len(fault.s3.whole_blocks()) == 2, 60, "the next block")
    fault.case.assertTrue((block / DATA).exists())
    fault.case.assertEqual(fault.s3.objects[foreign], b'{"blockID":"somebody else\'s"}')
    fault.case.assertEqual(fault.s3.violations, [])
    fault.say("nothing there is touched, other blocks go on")
    fault.end = "kept here"


def conflict(fault):
    fault.play("status", status=409, code="ConditionalRequestConflict", method="PUT", key=META).say_sent(META)


def exists_409(fault):
    fault.s3.conditional = "409"
    fault.play("commit_then_drop", method="PUT", key=META).say_sent(META)


def too_large(fault):
    fault.s3.fault("status", count=10**6, status=413, code="EntityTooLarge", method="PUT", key=DATA)
    fault.hold(fault.s3.faults.clear, "EntityTooLarge")


def no_conditions(fault):
    fault.s3.conditional = "501"
    fault.start()
    for _ in range(2):
        fault.block()
        fault.case.wait_uploaded(fault.daemon, 60)
    fault.case.assertEqual(len(fault.s3.requests(status=501)), 1)


def no_checksums(fault):
    fault.s3 = fault.case.tls_server()
    fault.s3.checksum_support = False
    fault.start({"upload.s3.tls_ca_file": fault.s3.tls["ca"]})
    fault.block()
    fault.case.wait_uploaded(fault.daemon, 60)


def unknown_answer(fault):
    fault.s3.fault("status", count=10**6, status=418, code="ImATeapot", method="PUT", key=DATA)
    fault.hold(fault.s3.faults.clear, "ImATeapot")


# ---- multipart ----

PARTS = {"upload.multipart_size": "5MiB", "block.max_block_bytes": "128MiB", "upload.request_timeout": "10s"}


def multipart(fault, action, count=1, **options):
    """A block of more than four parts, which is what it takes."""
    fault.s3.fault(action, count=count, **options)
    fault.start(PARTS)
    fault.case.make_large_block(fault.daemon)
    fault.case.wait_uploaded(fault.daemon, 120)
    fault.case.assertTrue(all(one.count == 0 for one in fault.s3.faults), "the fault did not come")
    parts = {e["query"] for e in fault.s3.requests("PUT", DATA) if "partNumber" in e["query"]}
    fault.case.assertGreaterEqual(len({re.search(r"partNumber=(\d+)", q)[1] for q in parts}), 5)
    return fault


def begun_again(fault):
    return "begun again" if len(fault.s3.requests("POST", DATA)) and len(
        [e for e in fault.s3.requests("POST", DATA) if "uploads=" in e["query"]]) > 1 else "begun once"


def part_reset(fault):
    multipart(fault, "drop_mid_body", method="PUT", key=DATA, query="partNumber=3")
    fault.case.assertGreaterEqual(fault.daemon.metric("fermata_upload_resumed_parts_total"), 2)
    fault.say("the parts that are there are not sent again").say(begun_again(fault))


def part_etag(fault):
    multipart(fault, "wrong_etag", method="PUT", key=DATA, query="partNumber=2").say(begun_again(fault))


def part_gone(fault):
    multipart(fault, "status", status=404, code="NoSuchUpload", method="PUT", key=DATA,
              query="partNumber=3").say(begun_again(fault))


def complete_error(fault):
    multipart(fault, "error_in_200", method="POST", key=DATA, query="uploadId=").say(begun_again(fault))


def complete_error_after(fault):
    multipart(fault, "commit_error_in_200", method="POST", key=DATA, query="uploadId=").say(begun_again(fault))


def complete_gone(fault):
    multipart(fault, "commit_then_status", status=404, code="NoSuchUpload", method="POST", key=DATA,
              query="uploadId=").say(begun_again(fault))


def complete_cut(fault):
    multipart(fault, "truncated_xml", method="POST", key=DATA, query="uploadId=").say(begun_again(fault))


def begin_cut(fault):
    multipart(fault, "truncated_xml", method="POST", key=DATA, query="uploads=").say(begun_again(fault))


def no_multipart(fault):
    fault.s3.fault("status", count=10**6, status=501, code="NotImplemented", method="POST", key=DATA)
    fault.start(PARTS)
    fault.case.make_large_block(fault.daemon)
    fault.case.wait_uploaded(fault.daemon, 120)
    fault.say_sent()


ROWS = [
    ("Throttling and errors", [
        ("503 SlowDown, three times", "slow_down",
         "data.parquet sent 4 times", "whole", slow_down),
        ("429 with Retry-After: 2", "slow_down",
         "nothing is asked for as long as it said", "whole", retry_after),
        ("500 before anything was stored", "ambiguous",
         "data.parquet sent 2 times", "whole", error_before),
        ("500 after data.parquet was stored", "ambiguous",
         "data.parquet sent once", "whole", error_after_data),
        ("500 after meta.json was stored", "ambiguous",
         "meta.json sent once", "whole", error_after_meta),
        ("502 with a page of HTML, by something in between", "ambiguous",
         "data.parquet sent 2 times", "whole", gateway),
        ("nobody listens", "transient",
         "tried again", MENDED, outage),
    ]),
    ("Credentials", [
        ("403 AccessDenied once", "-",
         "keys looked for again; data.parquet sent 2 times", "whole", denied_once),
        ("403 AccessDenied until the policy is changed", "auth",
         "keys looked for again; an error is logged", MENDED, denied),
        ("400 ExpiredToken, new keys are in the files", "-",
         "keys looked for again", "whole", expired),
        ("403 InvalidAccessKeyId until the files hold others", "auth",
         "keys looked for again; an error is logged", MENDED, unknown_key),
        ("403 SignatureDoesNotMatch until the files hold others", "auth",
         "keys looked for again; an error is logged", MENDED, wrong_secret),
    ]),
    ("Routes and clocks", [
        ("301 PermanentRedirect with another region", "-",
         "signed for the bucket's region; data.parquet sent once", "whole", moved),
        ("400 AuthorizationHeaderMalformed with another region", "-",
         "signed for the bucket's region; data.parquet sent once", "whole", malformed),
        ("307 to another host", "redirect",
         "not followed; an error is logged", "whole", elsewhere),
        ("RequestTimeTooSkewed, three hours apart", "-",
         "signed with the bucket's time; data.parquet sent once", "whole", skewed),
        ("RequestTimeTooSkewed, the bucket is ten years ahead", "clock",
         "not believed", MENDED, years_off),
        ("our clock was never set (1970)", "clock",
         "nothing is asked of the bucket while it lasts", MENDED, clock_unset),
    ]),
    ("Connections", [
        ("reset in the middle of a body", "-",
         "data.parquet sent 2 times", "whole", reset),
        ("closed without an answer, data.parquet was stored", "-",
         "data.parquet sent 2 times", "whole", lost_after_data),
        ("closed without an answer, meta.json was stored", "exists",
         "meta.json sent 2 times", "whole", lost_after_meta),
        ("stops reading in the middle of a body", "ambiguous",
         "data.parquet sent 2 times", "whole", stall),
        ("never answers", "transient",
         "data.parquet sent once", "whole", silence),
        ("an answer that trickles in, longer than request_timeout", "-",
         "data.parquet sent once", "whole", trickle),
        ("reads so slowly that a body takes longer than request_timeout", "-",
         "data.parquet sent once", "whole", slow_reader),
        ("half a status line", "ambiguous",
         "data.parquet sent 2 times", "whole", torn_head),
        ("half of meta.json, where its size says more", "exists, transient",
         "meta.json sent 2 times", "whole", torn_body),
        ("bytes that are no HTTP", "ambiguous",
         "data.parquet sent 2 times", "whole", garbage),
        ("400 with a DTD full of entities", "refused",
         "data.parquet sent 2 times; an error is logged", "whole", garbage_error),
        ("a certificate that no known authority signed", "auth",
         "nothing is sent; an error is logged", "kept here", stranger),
        ("an answer of 4 GiB to a question", "transient",
         "data.parquet sent once", "whole", endless),
    ]),
    ("What the bucket says of objects", [
        ("another ETag than the MD5 of what was sent", "-",
         "data.parquet sent once", "whole", wrong_etag),
        ("404 NoSuchBucket until it is made", "no_bucket",
         "an error is logged", MENDED, no_bucket),
        ("412, meta.json is there and equal", "exists",
         "meta.json sent 3 times", "whole", exists_equal),
        ("409 for what exists, meta.json is there and equal", "conflict",
         "meta.json sent 2 times", "whole", exists_409),
        ("412, meta.json is there and somebody else's", "-",
         "nothing there is touched, other blocks go on; an error is logged", "kept here", exists_other),
        ("409 ConditionalRequestConflict", "conflict",
         "meta.json sent 2 times", "whole", conflict),
        ("413 EntityTooLarge until its limit is raised", "unsupported",
         "an error is logged", MENDED, too_large),
        ("501 for If-None-Match", "-",
         "goes on without conditional writes", "whole", no_conditions),
        ("400 for x-amz-checksum-crc32c", "-",
         "goes on without checksums", "whole", no_checksums),
        ("an answer that nobody knows, for a while", "refused",
         "an error is logged", MENDED, unknown_answer),
    ]),
    ("Multipart uploads", [
        ("reset in the middle of a part", "transient",
         "the parts that are there are not sent again; begun once", "whole", part_reset),
        ("another ETag for a part than it has", "ambiguous",
         "begun again", "whole", part_etag),
        ("404 NoSuchUpload for a part: a rule aborted it", "transient",
         "begun again", "whole", part_gone),
        ("200 with an error in it, for Complete", "ambiguous",
         "begun once", "whole", complete_error),
        ("the same, but the object was stored", "ambiguous",
         "begun once", "whole", complete_error_after),
        ("404 NoSuchUpload for Complete, the object was stored", "ambiguous",
         "begun once", "whole", complete_gone),
        ("half the answer of Complete", "ambiguous",
         "begun once", "whole", complete_cut),
        ("half the answer of Begin", "transient",
         "begun again", "whole", begin_cut),
        ("501 for multipart", "-",
         "goes on without multipart; data.parquet sent once", "whole", no_multipart),
    ]),
]
