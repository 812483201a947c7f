# SPDX-License-Identifier: Apache-2.0
"""Who hands out keys of S3, scripted: an instance's metadata service (version 2 only), a container's
service, and the token service.  Each set of keys that is handed out is made known to an S3Server, so
that only fresh ones open it."""
import datetime
import http.server
import json
import threading
import time
import urllib.parse
import uuid
from xml.sax.saxutils import escape


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class IdentityServer:
    def __init__(self, s3=None):
        self.s3 = s3
        self.life_s = 3600           # of what is handed out
        self.keep_old = True         # older keys still open the bucket
        self.broken = None           # a status that every answer has instead, or "silent", "garbage"
        self.imds_token = "IMDS-" + uuid.uuid4().hex
        self.container_token = "Bearer c-" + uuid.uuid4().hex
        self.web_token, self.role = "jwt.a+b/c==.sig", "arn:aws:iam::123456789012:role/edge"
        self.log, self.handed, self.secrets = [], [], []
        self.lock = threading.Lock()
        handler = type("BoundHandler", (Handler,), {"identity": self})
        self.httpd = Listener(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()

    def new_keys(self):
        with self.lock:
            serial = len(self.handed) + 1
            keys = {"access": f"ASIA{serial:012d}", "secret": f"secret/{uuid.uuid4().hex}+",
                    "token": f"token=={uuid.uuid4().hex}"}
            self.handed.append(keys["access"])
            self.secrets += [keys["secret"], keys["token"]]
            if self.s3:
                with self.s3.lock:
                    if not self.keep_old:
                        self.s3.credentials.clear()
                    self.s3.credentials[keys["access"]] = keys["secret"]
                    self.s3.session_tokens[keys["access"]] = keys["token"]
            expires = datetime.datetime.fromtimestamp(time.time() + self.life_s, datetime.timezone.utc)
            keys["expires"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
            return keys

    def count(self, path):
        with self.lock:
            return sum(1 for entry in self.log if entry[1].startswith(path))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    identity: IdentityServer = None

    def log_message(self, *_):
        pass

    def answer(self, status, text, kind="application/json"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        identity = self.identity
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        with identity.lock:
            identity.log.append((self.command, self.path))
        if identity.broken == "silent":
            time.sleep(10)
            self.close_connection = True
        elif identity.broken == "garbage":
            self.answer(200, "<html>\x00" + "{" * 2000)
        elif identity.broken:
            self.answer(identity.broken, "not today")
        elif self.path.startswith("/latest/"):
            self.serve_instance()
        elif self.path.startswith("/container"):
            self.serve_container()
        elif self.path == "/" and self.command == "POST":
            self.serve_sts(urllib.parse.parse_qs(body, strict_parsing=True))
        else:
            self.answer(404, "no such thing")

    do_GET = do_PUT = do_POST = serve

    def json_keys(self, extra):
        keys = self.identity.new_keys()
        return json.dumps({**extra, "AccessKeyId": keys["access"], "SecretAccessKey": keys["secret"],
                           "Token": keys["token"], "Expiration": keys["expires"]})

    def serve_instance(self):
        identity = self.identity
        if self.path == "/latest/api/token":
            if self.command != "PUT" or self.headers.get("x-aws-ec2-metadata-token-ttl-seconds") != "21600":
                self.answer(400, "bad")
            else:
                self.answer(200, identity.imds_token, "text/plain")
        elif self.headers.get("x-aws-ec2-metadata-token") != identity.imds_token:
            self.answer(401, "version 1 is off")
        elif self.path == "/latest/meta-data/iam/security-credentials/":
            self.answer(200, "edge-role", "text/plain")
        elif self.path == "/latest/meta-data/iam/security-credentials/edge-role":
            self.answer(200, self.json_keys({"Code": "Success", "Type": "AWS-HMAC"}))
        else:
            self.answer(404, "none")

    def serve_container(self):
        if self.headers.get("authorization") != self.identity.container_token:
            self.answer(401, json.dumps({"code": "AccessDenied", "message": "who are you"}))
        else:
            self.answer(200, self.json_keys({"RoleArn": self.identity.role}))

    def serve_sts(self, form):
        identity = self.identity
        wanted = {"Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"],
                  "RoleArn": [identity.role], "RoleSessionName": ["fermata"],
                  "WebIdentityToken": [identity.web_token]}
        if form != wanted:
            self.answer(400, "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>"
                             "<Message>not the token that is due</Message></Error></ErrorResponse>", "text/xml")
            return
        keys = identity.new_keys()
        self.answer(200, '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                         "<AssumeRoleWithWebIdentityResult><Credentials>"
                         f"<SessionToken>{escape(keys['token'])}</SessionToken>"
                         f"<SecretAccessKey>{escape(keys['secret'])}</SecretAccessKey>"
                         f"<Expiration>{keys['expires']}</Expiration><AccessKeyId>{keys['access']}</AccessKeyId>"
                         "</Credentials></AssumeRoleWithWebIdentityResult>"
                         "</AssumeRoleWithWebIdentityResponse>", "text/xml")
