# SPDX-License-Identifier: Apache-2.0
"""Azure Blob Storage, Google Cloud Storage and their token endpoints, scripted: strict about what
they are sent, and as unreliable as a test asks them to be.

They know nothing of fermata's code: signatures, tokens and checksums are verified from the public
descriptions.  What a client of ours must never do is recorded in `violations`: meta.json before its
data, an object replaced by other content once meta.json is there, a deletion.
"""
import base64
import email.utils
import hashlib
import hmac
import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from s3_server import Drop, Listener
from s3_server import crc32c as crc32c_of_any

# The public half of the key in tests/golden/cloud.
MODULUS = int.from_bytes(base64.urlsafe_b64decode(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL"
    "-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-"
    "KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9"
    "iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ=="), "big")
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


CRC32C_KNOWN = {}


def crc32c(data):
    """Slow in Python, and asked for again and again."""
    name = hashlib.sha256(data).digest()
    if name not in CRC32C_KNOWN:
        CRC32C_KNOWN[name] = crc32c_of_any(data)
    return CRC32C_KNOWN[name]


def unpad(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def rs256_verify(message, signature):
    size = (MODULUS.bit_length() + 7) // 8
    plain = pow(int.from_bytes(signature, "big"), 65537, MODULUS).to_bytes(size, "big")
    tail = b"\x00" + SHA256_INFO + hashlib.sha256(message).digest()
    return plain == b"\x00\x01" + b"\xff" * (size - 2 - len(tail)) + tail


class Refusal(Exception):
    def __init__(self, status, code, message="", headers=None):
        super().__init__(code)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class CloudServer:
    """State and knobs; the services are the subclasses."""

    def __init__(self, bucket="traces", prefix="", port=0, tls=None):
        self.bucket, self.prefix = bucket, prefix
        self.auth = "bearer"
        self.token_lifetime_s = 3600
        self.clock_offset_s = 0  # the server's clock minus the real one
        self.tokens = {}         # token: its end
        self.asked = []          # how tokens were asked for
        self.objects, self.blocks, self.sessions = {}, {}, {}
        self.faults, self.log, self.violations = [], [], []
        self.lock = threading.RLock()
        self.serial = 0
        handler = type("BoundHandler", (Handler,), {"cloud": self})
        self.httpd = Listener(("127.0.0.1", port), handler)
        self.port = self.httpd.server_address[1]
        # mbedtls 2.28 does not know addresses in certificates, so TLS goes by name.
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls["cert"], tls["key"])
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True,
                                                    do_handshake_on_connect=False)

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self.httpd.shutdown()
        self.httpd.server_close()

    def fault(self, action, verb, key="", count=1, skip=0, **options):
        fault = {"action": action, "verb": verb, "key": key, "count": count, "skip": skip, **options}
        with self.lock:
            self.faults.append(fault)
        return fault

    def take_fault(self, verb, key):
        with self.lock:
            for fault in self.faults:
                if fault["count"] > 0 and fault["verb"] == verb and key.endswith(fault["key"]):
                    if fault["skip"] > 0:
                        fault["skip"] -= 1
                        continue
                    fault["count"] -= 1
                    return fault
        return None

    def now(self):
        return time.time() + self.clock_offset_s

    def count(self, verb, status=None):
        return sum(1 for row in self.log if row["verb"] == verb and status in (None, row["status"]))

    # ---- tokens ----

    def issue(self, how):
        with self.lock:
            self.serial += 1
            token = f"token-{self.serial}"
            self.tokens[token] = time.time() + self.token_lifetime_s
            self.asked.append(how)
        return 200, {"Content-Type": "application/json"}, json.dumps(
            {"token_type": "Bearer", "access_token": token, "expires_in": self.token_lifetime_s}).encode()

    def check_bearer(self, headers):
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0) < time.time():
            raise Refusal(401, "InvalidAuthenticationInfo", "the token is unknown or has ended")

    # ---- content ----

    def store(self, name, data, create_only):
        with self.lock:
            old = self.objects.get(name)
            if create_only and old is not None:
                return False
            folder, _, leaf = name.rpartition("/")
            if old is not None and old != data and f"{folder}/meta.json" in self.objects:
                self.violations.append(f"{name} was replaced")
            if leaf == "meta.json" and f"{folder}/data.parquet" not in self.objects:
                self.violations.append(f"{name} came before its data")
            self.objects[name] = data
            return True

    def whole_blocks(self):
        return [name[:-len("/meta.json")] for name in self.objects if name.endswith("/meta.json")]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud = None

    def log_message(self, *unused):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(self.cloud.now(), usegmt=True)

    def answer(self, status, headers, body, entry):
        entry["status"] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_body(self, fault):
        length = int(self.headers.get("Content-Length", "0"))
        if fault and fault["action"] == "drop_mid_body":
            self.rfile.read(length // 2)
            raise Drop
        body = self.rfile.read(length)
        if len(body) != length:
            raise Drop
        return body

    def respond(self):
        cloud = self.cloud
        path, _, query = self.path.partition("?")
        parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        verb, name = cloud.describe(self.command, path, parameters, headers)
        fault = cloud.take_fault(verb, name)
        entry = {"verb": verb, "name": name, "query": query, "status": 0,
                 "fault": fault and fault["action"]}
        with cloud.lock:
            cloud.log.append(entry)
        try:
            if fault and fault["action"] == "drop":
                raise Drop
            body = self.read_body(fault)
            if fault and fault["action"] == "status":
                raise Refusal(fault["status"], fault.get("code", ""), "as the test asked", fault.get("headers"))
            if fault and fault["action"] == "corrupt":  # on its way
                body = body[:len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1:]
            answer = cloud.handle(verb, name, self.path, parameters, headers, body)
            if fault and fault["action"] == "commit_then_drop":
                raise Drop
            if fault and fault["action"] == "commit_then_status":
                raise Refusal(fault["status"], fault.get("code", ""))
        except Refusal as refusal:
            answer = cloud.refuse(refusal)
        except Drop:
            self.close_connection = True
            entry["status"] = -1
            return
        self.answer(*answer, entry)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = respond


# ---- Azure ----

class AzureServer(CloudServer):
    account = "fermatatest"

    def __init__(self, **options):
        super().__init__(**options)
        self.auth = "shared_key"
        self.key = b"0123456789abcdef0123456789abcdef"
        self.sas = "sv=2021-12-02&ss=b&sp=rwlc&sig=c2ln%2Bbmf0dXJl"
        self.federated = "federated.assertion.one"

    def describe(self, method, path, parameters, headers):
        if path.endswith("/oauth2/v2.0/token") or path.startswith("/metadata/"):
            return "token", path
        name = urllib.parse.unquote(path.partition(f"/{self.bucket}")[2].lstrip("/"))
        verbs = {("PUT", None): "put", ("PUT", "block"): "block", ("PUT", "blocklist"): "commit",
                 ("GET", "blocklist"): "progress", ("GET", "list"): "list", ("GET", None): "get",
                 ("HEAD", None): "head"}
        return verbs.get((method, parameters.get("comp")), "strange"), name

    def refuse(self, refusal):
        body = (f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{refusal.code}</Code>'
                f"<Message>{escape(refusal.message)}</Message></Error>").encode()
        return refusal.status, {"x-ms-error-code": refusal.code, "Content-Type": "application/xml",
                                **refusal.headers}, body

    def check_shared_key(self, method, target, headers, body):
        date = email.utils.parsedate_to_datetime(headers["x-ms-date"]).timestamp()
        if abs(date - self.now()) > 900:
            raise Refusal(403, "AuthenticationFailed", "Request date header too old")
        path, _, query = target.partition("?")
        standard = ["content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
                    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"]
        values = [headers.get(name, "") for name in standard]
        if values[2] == "0":
            values[2] = ""
        own = sorted(name for name in headers if name.startswith("x-ms-"))
        resource = f"/{self.account}{path}"
        for name, value in sorted(urllib.parse.parse_qsl(query, keep_blank_values=True)):
            resource += f"\n{name}:{value}"
        text = "\n".join([method, *values, *(f"{name}:{headers[name]}" for name in own), resource])
        digest = base64.b64encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest()).decode()
        if headers.get("authorization") != f"SharedKey {self.account}:{digest}":
            raise Refusal(403, "AuthenticationFailed", "the signature is not ours")

    def check(self, verb, target, headers, body):
        if self.auth == "shared_key":
            methods = {"head": "HEAD", "get": "GET", "list": "GET", "progress": "GET"}
            self.check_shared_key(methods.get(verb, "PUT"), target, headers, body)
        elif self.auth == "sas":
            if not target.endswith(self.sas) or "authorization" in headers:
                raise Refusal(403, "AuthenticationFailed", "Signature did not match")
        else:
            self.check_bearer(headers)
        if "content-md5" in headers and hashlib.md5(body).digest() != base64.b64decode(headers["content-md5"]):
            raise Refusal(400, "Md5Mismatch", "the MD5 value does not match")
        if verb in ("put", "block") and "content-md5" not in headers:
            self.violations.append(f"{verb} without Content-MD5")

    def token(self, path, parameters, headers, body):
        if path.startswith("/metadata/"):
            if headers.get("metadata") != "true" or parameters.get("resource") != "https://storage.azure.com/":
                raise Refusal(400, "invalid_request")
            return self.issue("managed " + parameters.get("client_id", ""))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        expected = {"client_id": "client", "scope": "https://storage.azure.com/.default",
                    "grant_type": "client_credentials", "client_assertion": self.federated,
                    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        if form != expected or path != "/tenant/oauth2/v2.0/token":
            return 401, {}, json.dumps({"error": "invalid_client"}).encode()
        return self.issue("workload")

    def handle(self, verb, name, target, parameters, headers, body):
        path = target.partition("?")[0]
        if verb == "token":
            return self.token(path, parameters, headers, body)
        self.check(verb, target, headers, body)
        create_only = headers.get("if-none-match") == "*"
        md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        if verb == "put":
            if not self.store(name, body, create_only):
                raise Refusal(409, "BlobAlreadyExists")
            return 201, md5, b""
        if verb == "block":
            self.blocks.setdefault(name, {})[parameters["blockid"]] = body
            if len({len(base64.b64decode(key)) for key in self.blocks[name]}) != 1:
                raise Refusal(400, "InvalidBlobOrBlock")
            return 201, md5, b""
        if verb == "commit":
            return self.commit(name, body, create_only)
        if verb == "list":
            return self.list(parameters)
        if verb == "progress" and name in self.blocks:
            rows = "".join(f"<Block><Name>{key}</Name><Size>{len(data)}</Size></Block>"
                           for key, data in sorted(self.blocks[name].items()))
            return 200, {}, (f"<BlockList><CommittedBlocks/><UncommittedBlocks>{rows}</UncommittedBlocks>"
                             "</BlockList>").encode()
        data = self.objects.get(name)
        if data is None or verb == "progress":
            raise Refusal(404, "BlobNotFound")
        if verb in ("get", "head"):
            return 200, {"Content-Length": str(len(data)),
                         "Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode()}, data
        self.violations.append(f"{verb} {name}")
        raise Refusal(405, "UnsupportedHttpVerb")

    def commit(self, name, body, create_only):
        ids = re.findall(r"<Latest>([^<]*)</Latest>", body.decode())
        there = self.blocks.get(name, {})
        if not ids or any(key not in there for key in ids):
            raise Refusal(400, "InvalidBlockList")
        if not self.store(name, b"".join(there[key] for key in ids), create_only):
            raise Refusal(409, "BlobAlreadyExists")
        self.blocks.pop(name)
        return 201, {}, b""

    def list(self, parameters):
        names = sorted(n for n in self.objects if n.startswith(parameters["prefix"]))
        begin = int(parameters.get("marker", 0))
        rows = "".join(f"<Blob><Name>{escape(n)}</Name></Blob>" for n in names[begin:begin + 2])
        more = str(begin + 2) if begin + 2 < len(names) else ""
        return 200, {}, (f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker>{more}</NextMarker>"
                         "</EnumerationResults>").encode()


# ---- Google ----

class GcsServer(CloudServer):
    email = "edge@project.iam.gserviceaccount.com"

    def describe(self, method, path, parameters, headers):
        if path in ("/token", "/computeMetadata/v1/instance/service-accounts/default/token"):
            return "token", path
        if "upload_id" in parameters:
            asks = headers.get("content-range", "").startswith("bytes */")
            name = self.sessions.get(parameters["upload_id"], {}).get("name", "")
            return "progress" if asks else "chunk", name
        kind, _, rest = path.partition(f"/b/{self.bucket}/o")
        if kind == "/upload/storage/v1":
            return {"multipart": "put", "resumable": "begin"}.get(
                parameters.get("uploadType"), "strange"), parameters.get("name", "")
        if method != "GET":
            return "strange", path
        if not rest:
            return "list", parameters.get("prefix", "")
        return "get" if parameters.get("alt") == "media" else "head", urllib.parse.unquote(rest[1:])

    def refuse(self, refusal):
        body = json.dumps({"error": {"code": refusal.status, "message": refusal.message or refusal.code,
                                     "errors": [{"reason": refusal.code}]}}).encode()
        return refusal.status, {"Content-Type": "application/json", **refusal.headers}, body

    def token(self, path, headers, body):
        if path != "/token":
            if headers.get("metadata-flavor") != "Google":
                raise Refusal(403, "forbidden")
            return self.issue("metadata")
        form = dict(urllib.parse.parse_qsl(body.decode()))
        message, _, signature = form["assertion"].rpartition(".")
        claims = json.loads(unpad(message.split(".")[1]))
        good = (form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
                and json.loads(unpad(message.split(".")[0])) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
                and rs256_verify(message.encode(), unpad(signature))
                and claims["iss"] == self.email and claims["aud"] == self.url + "/token"
                and claims["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"
                and abs(claims["iat"] - self.now()) < 120 and claims["exp"] == claims["iat"] + 3600)
        if not good:
            return 400, {}, json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT"}).encode()
        return self.issue("service account")

    @staticmethod
    def resource(name, data):
        return json.dumps({"name": name, "size": str(len(data)), "crc32c": base64.b64encode(
            crc32c(data).to_bytes(4, "big")).decode()}).encode()

    def finish(self, name, data, claimed, create_only):
        have = base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()
        if claimed != have:
            raise Refusal(400, "invalid",
                          f'Provided CRC32C "{claimed}" doesn\'t match calculated CRC32C "{have}".')
        if not self.store(name, data, create_only):
            raise Refusal(412, "conditionNotMet")
        return 200, {}, self.resource(name, data)

    def handle(self, verb, name, target, parameters, headers, body):
        if verb == "token":
            return self.token(target.partition("?")[0], headers, body)
        if self.auth == "bearer":
            self.check_bearer(headers)
        create_only = parameters.get("ifGenerationMatch") == "0"
        if verb == "put":
            boundary = headers["content-type"].partition("boundary=")[2]
            parts = body.split(f"--{boundary}".encode())
            meta = json.loads(parts[1].partition(b"\r\n\r\n")[2])
            data = f"--{boundary}".encode().join(parts[2:-1]).partition(b"\r\n\r\n")[2][:-2]
            return self.finish(name, data, meta["crc32c"], create_only)
        if verb == "begin":
            meta = json.loads(body)
            with self.lock:
                self.serial += 1
                session = f"session-{self.serial}"
                self.sessions[session] = {"name": name, "data": b"", "crc32c": meta["crc32c"],
                                          "create_only": create_only,
                                          "size": int(headers["x-upload-content-length"])}
            # Whoever follows it to that host loses a token.
            path = target.partition("?")[0]
            return 200, {"Location": f"http://elsewhere.invalid{path}?upload_id={session}"}, b""
        if verb in ("chunk", "progress"):
            return self.chunk(parameters["upload_id"], headers, body)
        if verb == "list":
            return self.list(parameters)
        data = self.objects.get(name)
        if verb == "strange":
            self.violations.append(f"{verb} {target}")
            raise Refusal(405, "methodNotAllowed")
        if data is None:
            raise Refusal(404, "notFound", f"No such object: {self.bucket}/{name}")
        if verb == "head":
            return 200, {}, self.resource(name, data)
        return 200, {"x-goog-hash": f"crc32c={base64.b64encode(crc32c(data).to_bytes(4, 'big')).decode()}"}, data

    def chunk(self, session_id, headers, body):
        session = self.sessions.get(session_id)
        if session is None:
            raise Refusal(410, "gone")
        match = re.fullmatch(r"bytes (?:\*|(\d+)-(\d+))/(\d+)", headers["content-range"])
        size = session["size"]
        if not match or int(match[3]) != size:
            raise Refusal(400, "invalid")
        if match[1] is not None:
            first, last = int(match[1]), int(match[2])
            if first != len(session["data"]) or len(body) != last - first + 1:
                raise Refusal(400, "invalid")
            if last + 1 < size and len(body) % 262144:
                raise Refusal(400, "invalid")
            session["data"] += body
        have = len(session["data"])
        if have < size:
            return 308, {"Range": f"bytes=0-{have - 1}"} if have else {}, b""
        if session.get("done"):
            return 200, {}, self.resource(session["name"], session["data"])
        answer = self.finish(session["name"], session["data"], session["crc32c"], session["create_only"])
        session["done"] = True
        return answer

    def list(self, parameters):
        names = sorted(n for n in self.objects if n.startswith(parameters["prefix"])
                       and n >= parameters.get("startOffset", ""))
        begin = int(parameters.get("pageToken", 0))
        answer = {"items": [{"name": n} for n in names[begin:begin + 2]]}
        if begin + 2 < len(names):
            answer["nextPageToken"] = str(begin + 2)
        return 200, {}, json.dumps(answer).encode()
