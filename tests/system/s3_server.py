# SPDX-License-Identifier: Apache-2.0
"""A scripted S3 server: strict about what it is sent, and as unreliable as a test asks it to be.

It knows nothing of fermata's code: signatures, hashes and checksums are verified from the public
description.  Everything that a client of ours must never do is recorded in `violations`:
meta.json before its data, an object replaced by different content, a deletion, a body without a
length, an unsigned payload without TLS, a key outside TENANT/UUID/OBJECT.

Use it in a test:

    with S3Server() as s3:
        s3.fault("status", method="PUT", key="data.parquet", status=503, code="SlowDown", count=2)

or by hand: `python3 tests/system/s3_server.py --port 9000`, faults by POST /_control/fault (JSON of
the same names), state by GET /_control/state.
"""
import argparse
import base64
import email.utils
import hashlib
import hmac
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid
from xml.sax.saxutils import escape

STORAGE = ("x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-tagging")
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
KEY_FORM = re.compile(
    r"^[A-Za-z0-9!_.*'()-]{1,150}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"/(data\.parquet|bloom-\d+|meta\.json)$")


def crc32c_table():
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC32C[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class Refusal(Exception):
    def __init__(self, status, code, message="", headers=None, extra=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.headers, self.extra = headers or {}, extra

    def body(self):
        return (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code>'
                f"<Message>{escape(self.message)}</Message>{self.extra}"
                f"<RequestId>{uuid.uuid4().hex}</RequestId></Error>").encode()


class Drop(Exception):
    """Close the connection without another byte."""


class Fault:
    def __init__(self, action, method=None, key="", query="", count=1, skip=0, **options):
        self.action, self.method, self.key, self.query = action, method, key, query
        self.count, self.skip, self.options = count, skip, options

    def matches(self, method, path, query):
        return ((self.method is None or self.method == method) and path.endswith(self.key)
                and self.query in query)


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # peers that hang up are part of the play


class Trickle:
    """Writes so slowly that the first hundred bytes take that long."""

    def __init__(self, file, seconds):
        self.file, self.pause = file, seconds / 100

    def write(self, data):
        for index, byte in enumerate(data):
            self.file.write(bytes([byte]))
            self.file.flush()
            if index < 100:
                time.sleep(self.pause)

    def __getattr__(self, name):
        return getattr(self.file, name)


class S3Server:
    """State and knobs; HTTP is in Handler."""

    def __init__(self, bucket="traces", prefix="", region="us-east-1", port=0, tls=None,
                 receive_buffer=0):
        self.bucket, self.prefix, self.region = bucket, prefix, region
        self.credentials = {"AKIAFERMATA": "secret/of+fermata"}
        self.session_token = None      # demanded if set
        self.session_tokens = {}       # of access keys that have one of their own
        self.conditional = "412"       # 412, 409, 501 or ignore
        self.clock_offset_s = 0        # the server's clock minus the real one
        self.of_request = threading.local()
        self.page = 2                  # listings are cut here
        self.part_min = 0              # of all parts but the last
        self.control_prefix = "fermata-control"  # what is below it is no block
        self.checksum_support = True   # False: 400 for x-amz-checksum-*
        self.bucket_exists = True
        self.objects, self.uploads, self.written, self.digests = {}, {}, {}, {}
        self.faults, self.log, self.violations = [], [], []
        self.lock = threading.RLock()
        self.tls = tls
        handler = type("BoundHandler", (Handler,), {"s3": self})
        self.httpd = Listener(("127.0.0.1", port), handler, bind_and_activate=False)
        if receive_buffer:  # small: who sends notices that nobody reads
            self.httpd.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.httpd.server_bind()
        self.httpd.server_activate()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls["cert"], tls["key"])
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True,
                                                    do_handshake_on_connect=False)
        self.port = self.httpd.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()

    @property
    def url(self):
        # mbedtls 2.28 does not know addresses in certificates, so TLS goes by name.
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def fault(self, action, **options):
        with self.lock:
            self.faults.append(Fault(action, **options))

    def violation(self, text):
        with self.lock:
            self.violations.append(text)

    def take_fault(self, method, path, query):
        with self.lock:
            for fault in self.faults:
                if fault.count and fault.matches(method, path, query):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.count -= 1
                    return fault
        return None

    def keys(self, suffix=""):
        with self.lock:
            return sorted(key for key in self.objects if key.endswith(suffix))

    def whole_blocks(self):
        """Names (TENANT/UUID) of the blocks that a reader would see."""
        return [key[:-len("/meta.json")] for key in self.keys("/meta.json")]

    def requests(self, method=None, key="", status=None):
        with self.lock:
            return [entry for entry in self.log if (method is None or entry["method"] == method)
                    and entry["path"].endswith(key)
                    and (status is None or entry["status"] == status)]

    def now(self):
        """A request has one clock, also if the test sets it meanwhile."""
        return time.time() + getattr(self.of_request, "clock_offset_s", self.clock_offset_s)

    def put(self, key, body):
        with self.lock:
            self.objects[key] = body
            self.written[key] = self.now()

    def digest(self, content):
        """MD5, once for each of the last objects."""
        with self.lock:
            known = self.digests.get(id(content))
            if not known or known[0] is not content:
                if len(self.digests) > 1000:
                    self.digests.clear()
                known = self.digests[id(content)] = content, hashlib.md5(content).hexdigest()
            return known[1]

    def modified(self, key):
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.written.get(key, self.now())))

    def sent(self, key=""):
        """Bytes of the objects whose keys end so."""
        return sum(entry.get("sent", 0) for entry in self.requests("GET", key))

    # ---- rules of the house ----

    def check_write(self, key, body):
        bare = key
        if key.startswith(self.control_prefix + "/"):
            return
        if self.prefix:
            if not key.startswith(self.prefix + "/"):
                self.violation(f"{key}: outside the prefix")
                return
            bare = key[len(self.prefix) + 1:]
        if not KEY_FORM.match(bare):
            self.violation(f"{key}: not the key of a block's object")
        known = self.objects.get(key)
        block = key.rsplit("/", 1)[0]
        if known is not None and known != body and block + "/meta.json" in self.objects:
            self.violation(f"{key}: replaced by different content after meta.json")
        if not key.endswith("/meta.json"):
            return
        if known is not None and (known != body or self.conditional in ("412", "409")):
            self.violation(f"{key}: written again")
        meta = json.loads(body)
        data = self.objects.get(block + "/data.parquet")
        if data is None or len(data) != int(meta["size"]):
            self.violation(f"{key}: before its data.parquet was whole")
        for shard in range(int(meta["bloomShards"])):
            if f"{block}/bloom-{shard}" not in self.objects:
                self.violation(f"{key}: before bloom-{shard}")

    def commit(self, key, body, create_only):
        with self.lock:
            if create_only and self.conditional == "501":
                raise Refusal(501, "NotImplemented",
                              "A header you provided implies functionality that is not implemented",
                              extra="<Header>If-None-Match</Header>")
            if create_only and key in self.objects and self.conditional != "ignore":
                if self.conditional == "409":
                    raise Refusal(409, "ConditionalRequestConflict", "try again")
                raise Refusal(412, "PreconditionFailed", "the key exists",
                              extra="<Condition>If-None-Match</Condition>")
            self.check_write(key, body)
            self.put(key, body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: S3Server = None

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(timestamp or self.s3.now(), usegmt=True)

    # ---- signature, from scratch ----

    def verify_signature(self, body):
        s3 = self.s3
        authorization = self.headers.get("authorization", "")
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,"
                             r"\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})",
                             authorization)
        if not match:
            raise Refusal(403, "AccessDenied", "no signature")
        access, day, region, names, signature = match.groups()
        if access not in s3.credentials:
            raise Refusal(403, "InvalidAccessKeyId", "unknown access key")
        token = s3.session_tokens.get(access, s3.session_token)
        if token and self.headers.get("x-amz-security-token") != token:
            raise Refusal(400, "ExpiredToken", "the provided token has expired")
        if region != s3.region:
            raise Refusal(400, "AuthorizationHeaderMalformed",
                          f"the region '{region}' is wrong; expecting '{s3.region}'",
                          extra=f"<Region>{s3.region}</Region>")
        stamp = self.headers["x-amz-date"]
        sent = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
        if abs(sent - s3.now()) > 900:
            raise Refusal(403, "RequestTimeTooSkewed", "the difference is too large")
        names = names.split(";")
        for name in self.headers:
            if (name.lower() == "host" or name.lower().startswith("x-amz-")) \
                    and name.lower() not in names:
                raise Refusal(403, "AccessDenied", f"{name} is not signed")
        path, _, query = self.path.partition("?")
        pairs = sorted(tuple(urllib.parse.quote(urllib.parse.unquote(part), safe="-_.~")
                             for part in pair.partition("=")[::2])
                       for pair in query.split("&") if pair)
        canonical = "\n".join([
            self.command,
            urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names),
            ";".join(names),
            self.headers["x-amz-content-sha256"],
        ])
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{day}/{region}/s3/aws4_request",
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + s3.credentials[access]).encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        if hmac.new(key, text.encode(), "sha256").hexdigest() != signature or stamp[:8] != day:
            raise Refusal(403, "SignatureDoesNotMatch", "the signature does not match")
        self.verify_body(body)

    def verify_body(self, body):
        claimed = self.headers["x-amz-content-sha256"]
        if claimed == "UNSIGNED-PAYLOAD":
            if not self.s3.tls:
                self.s3.violation(f"{self.path}: unsigned payload without TLS")
        elif claimed != hashlib.sha256(body).hexdigest():
            raise Refusal(400, "XAmzContentSHA256Mismatch", "the body's hash differs")
        md5 = self.headers.get("content-md5")
        if md5 and base64.b64decode(md5) != hashlib.md5(body).digest():
            raise Refusal(400, "BadDigest", "Content-MD5 differs")
        checksum = self.headers.get("x-amz-checksum-crc32c")
        if checksum and not self.s3.checksum_support:
            raise Refusal(400, "InvalidRequest", "unsupported checksum header")
        if checksum and base64.b64decode(checksum) != crc32c(body).to_bytes(4, "big"):
            raise Refusal(400, "BadDigest", "the CRC32C differs")

    # ---- reading and answering ----

    def handle_expect_100(self):
        fault = self.peek_early_fault()
        if fault:
            self.refuse_early(fault)
            return False
        return super().handle_expect_100()

    def peek_early_fault(self):
        path, _, query = self.path.partition("?")
        with self.s3.lock:
            early = [f for f in self.s3.faults if f.options.get("early")]
        if any(f.matches(self.command, path, query) and f.count for f in early):
            return self.s3.take_fault(self.command, path, query)
        return None

    def refuse_early(self, fault):
        refusal = self.fault_refusal(fault)
        self.close_connection = True
        self.answer(refusal.status, refusal.body(), refusal.headers, close=True)

    def read_body(self, fault):
        if self.headers.get("transfer-encoding"):
            self.s3.violation(f"{self.path}: chunked body")
            raise Refusal(501, "NotImplemented", "chunked bodies")
        length = self.headers.get("content-length")
        if length is None:
            if self.command in ("PUT", "POST"):
                self.s3.violation(f"{self.command} {self.path}: no content-length")
            return b""
        length = int(length)
        if fault and fault.action in ("drop_mid_body", "stall_mid_body"):
            self.rfile.read(min(length, fault.options.get("after", length // 2)))
            if fault.action == "stall_mid_body":
                time.sleep(fault.options.get("seconds", 5))
            raise Drop
        if fault and fault.action == "slow_body":
            body = self.read_slowly(length, fault.options.get("seconds", 4))
        else:
            body = self.rfile.read(length)
        if len(body) != length:
            raise Drop
        return body

    def read_slowly(self, length, seconds):
        body, piece = b"", max(1, length // 40)
        while len(body) < length:
            more = self.rfile.read(min(piece, length - len(body)))
            if not more:
                break
            body += more
            time.sleep(seconds / 40)
        return body

    def answer(self, status, body=b"", headers=None, close=False):
        self.entry["status"] = status
        self.entry["sent"] = len(body)
        self.entry["range"] = self.headers.get("range")
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not (headers and "Content-Length" in headers):
            self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    @staticmethod
    def fault_refusal(fault):
        options = fault.options
        extra = "".join(f"<{name}>{value}</{name}>" for name, value in
                        options.get("extra", {}).items())
        return Refusal(options.get("status", 500), options.get("code", "InternalError"),
                       "a scripted fault", options.get("headers"), extra)

    def serve(self):
        self.s3.of_request.clock_offset_s = self.s3.clock_offset_s
        path, _, query = self.path.partition("?")
        if path.startswith("/_control/"):
            self.entry = {}
            self.control(path)
            return
        self.entry = {"method": self.command, "path": urllib.parse.unquote(path), "query": query,
                      "status": 0, "time": time.time(), "fault": None,
                      "storage": {name.lower(): value for name, value in self.headers.items()
                                  if name.lower().startswith(STORAGE)}}
        with self.s3.lock:
            self.s3.log.append(self.entry)
        try:
            self.serve_with_faults(path, query)
        except Drop:
            self.close_connection = True
        except Refusal as refusal:
            self.answer(refusal.status, refusal.body(), refusal.headers)
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve

    def serve_with_faults(self, path, query):
        fault = self.s3.take_fault(self.command, path, query)
        action = fault.action if fault else None
        self.entry["fault"] = action
        if action == "drop":
            raise Drop
        if action == "delay":
            time.sleep(fault.options.get("seconds", 1))
        body = self.read_body(fault)
        self.entry["length"] = len(body)
        if action == "status":
            raise self.fault_refusal(fault)
        if action == "error_in_200":
            self.answer(200, self.fault_refusal(fault).body())
            return
        if action == "torn":
            self.wfile.write(b"HTTP/1.1 20")
            raise Drop
        if action == "raw":  # bytes instead of an answer
            self.wfile.write(fault.options["bytes"])
            raise Drop
        self.verify_signature(body)
        if not self.s3.bucket_exists:
            raise Refusal(404, "NoSuchBucket", "no such bucket")
        status, content, headers = self.route(path, urllib.parse.parse_qs(query, True), body)
        if action == "commit_then_drop":
            raise Drop
        if action == "commit_then_status":
            raise self.fault_refusal(fault)
        if action == "wrong_etag":
            headers = {**headers, "ETag": '"00000000000000000000000000000000"'}
        if action == "trickle":
            self.wfile = Trickle(self.wfile, fault.options.get("seconds", 3))
            self.answer(status, content, headers)
            self.wfile = self.wfile.file
            return
        if action == "commit_error_in_200":
            self.answer(200, self.fault_refusal(fault).body())
        elif action == "truncated_xml":
            self.answer(status, content[:len(content) // 2], headers)
        elif action == "torn_body":
            self.answer(status, content[:len(content) // 2],
                        {**headers, "Content-Length": str(len(content))})
            raise Drop
        else:
            self.answer(status, content, headers)

    # ---- S3 ----

    def route(self, path, query, body):
        s3 = self.s3
        bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
        if bucket != s3.bucket:
            raise Refusal(404, "NoSuchBucket", bucket)
        if self.command == "PUT" and "uploadId" in query:
            return self.put_part(key, query, body)
        if self.command == "PUT":
            s3.commit(key, body, self.headers.get("if-none-match") == "*")
            return 200, b"", {"ETag": '"%s"' % hashlib.md5(body).hexdigest()}
        if self.command in ("GET", "HEAD") and key and "uploadId" not in query:
            return self.get_object(key)
        if self.command == "GET" and "uploadId" in query:
            return self.list_parts(key, query)
        if self.command == "GET" and "uploads" in query:
            return self.list_uploads(query)
        if self.command == "GET":
            return self.list_objects(query)
        if self.command == "POST" and "uploads" in query:
            upload_id = base64.b64encode(uuid.uuid4().bytes + b"+/").decode()
            with s3.lock:
                s3.uploads[upload_id] = {"key": key, "parts": {}}
            return 200, (f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket>"
                         f"<Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
                         f"</InitiateMultipartUploadResult>").encode(), {}
        if self.command == "POST" and "uploadId" in query:
            return self.complete(key, query, body)
        if self.command == "DELETE" and "uploadId" in query:
            self.upload(key, query)
            with s3.lock:
                del s3.uploads[query["uploadId"][0]]
            return 204, b"", {}
        if self.command == "DELETE":
            s3.violation(f"{key}: deleted")
            return 204, b"", {}
        raise Refusal(405, "MethodNotAllowed")

    def get_object(self, key):
        with self.s3.lock:
            content = self.s3.objects.get(key)
        if content is None:
            raise Refusal(404, "NoSuchKey", key)
        headers = {"ETag": '"%s"' % self.s3.digest(content)}
        if self.headers.get("if-match") not in (None, headers["ETag"]):
            raise Refusal(412, "PreconditionFailed", "another version", extra="<Condition>If-Match</Condition>")
        if self.command == "HEAD":
            headers["Content-Length"] = str(len(content))
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        if not match:
            return 200, content, headers
        first, last = int(match[1]), int(match[2])
        if first >= len(content):
            raise Refusal(416, "InvalidRange", "beyond the end")
        part = content[first:last + 1]
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return 206, part, headers

    def upload(self, key, query):
        upload = self.s3.uploads.get(query["uploadId"][0])
        if upload is None or upload["key"] != key:
            raise Refusal(404, "NoSuchUpload", "the upload does not exist")
        return upload

    def put_part(self, key, query, body):
        with self.s3.lock:
            upload = self.upload(key, query)
            number = int(query["partNumber"][0])
            upload["parts"][number] = body
        return 200, b"", {"ETag": '"%s"' % hashlib.md5(body).hexdigest()}

    def complete(self, key, query, body):
        s3 = self.s3
        with s3.lock:
            upload = self.upload(key, query)
            listed = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag>",
                                body.decode())
            parts = []
            for number, etag in listed:
                part = upload["parts"].get(int(number))
                if part is None or etag.replace("&quot;", "").strip('"') != \
                        hashlib.md5(part).hexdigest():
                    raise Refusal(400, "InvalidPart", number)
                parts.append(part)
            if len({len(part) for part in parts[:-1]}) > 1:
                s3.violation(f"{key}: parts of different sizes")
            if any(len(part) < s3.part_min for part in parts[:-1]):
                raise Refusal(400, "EntityTooSmall", "a part is too small")
            s3.commit(key, b"".join(parts), self.headers.get("if-none-match") == "*")
            del s3.uploads[query["uploadId"][0]]
        return 200, (f'<?xml version="1.0"?>\n<CompleteMultipartUploadResult><Key>{escape(key)}'
                     f"</Key><ETag>&quot;x-{len(parts)}&quot;</ETag>"
                     f"</CompleteMultipartUploadResult>").encode(), {}

    def list_parts(self, key, query):
        with self.s3.lock:
            parts = sorted(self.upload(key, query)["parts"].items())
        after = int(query.get("part-number-marker", ["0"])[0])
        rest = [part for part in parts if part[0] > after]
        page = rest[:self.s3.page]
        cut = len(rest) > len(page)
        inner = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;"
                        f"{hashlib.md5(part).hexdigest()}&quot;</ETag><Size>{len(part)}</Size>"
                        f"</Part>" for number, part in page)
        marker = f"<NextPartNumberMarker>{page[-1][0]}</NextPartNumberMarker>" if cut else ""
        return 200, (f"<ListPartsResult><IsTruncated>{str(cut).lower()}</IsTruncated>{marker}"
                     f"{inner}</ListPartsResult>").encode(), {}

    def list_uploads(self, query):
        prefix = query.get("prefix", [""])[0]
        with self.s3.lock:
            inner = "".join(f"<Upload><Key>{escape(upload['key'])}</Key><UploadId>{upload_id}"
                            f"</UploadId></Upload>" for upload_id, upload in
                            self.s3.uploads.items() if upload["key"].startswith(prefix))
        return 200, f"<ListMultipartUploadsResult>{inner}</ListMultipartUploadsResult>".encode(), {}

    def list_objects(self, query):
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = [key for key in self.s3.keys() if key.startswith(prefix) and key > after]
        page = keys[:self.s3.page]
        cut = len(keys) > len(page)
        inner = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{self.s3.modified(key)}</LastModified>"
            f"<ETag>&quot;{self.s3.digest(self.s3.objects[key])}&quot;</ETag>"
            f"<Size>{len(self.s3.objects[key])}</Size></Contents>" for key in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if cut else ""
        return 200, (f"<ListBucketResult><IsTruncated>{str(cut).lower()}</IsTruncated>{token}"
                     f"{inner}</ListBucketResult>").encode(), {}

    # ---- control ----

    def control(self, path):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if path == "/_control/fault":
            self.s3.fault(**json.loads(body))
        with self.s3.lock:
            state = {"violations": self.s3.violations, "keys": self.s3.keys(),
                     "uploads": len(self.s3.uploads), "log": self.s3.log}
        self.answer(200, json.dumps(state).encode(), {"Content-Type": "application/json"})


def make_certificates(folder):
    """A CA and a certificate for localhost, by the openssl program."""
    def run(*command):
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=fermata test CA", "-keyout", "ca.key", "-out", "ca.crt")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout",
        "server.key", "-out", "server.csr")
    with open(f"{folder}/server.ext", "w", encoding="ascii") as extensions:
        extensions.write("subjectAltName=DNS:localhost\n")
    run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", "server.ext", "-out", "server.crt")
    return {"ca": f"{folder}/ca.crt", "cert": f"{folder}/server.crt", "key": f"{folder}/server.key"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--bucket", default="traces")
    arguments = parser.parse_args()
    server = S3Server(bucket=arguments.bucket, port=arguments.port)
    print(f"{server.url} bucket {server.bucket}; keys {server.credentials}")
    server.httpd.serve_forever()


if __name__ == "__main__":
    main()
