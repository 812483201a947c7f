# SPDX-License-Identifier: Apache-2.0
"""A user interface made by others, in a browser over the daemon's API: its files are served here, its questions
go to the daemon and are kept for the test to look at."""
import functools
import html
import http.client
import http.server
import os
import pathlib
import re
import subprocess
import threading

from harness import free_port

WORK = pathlib.Path(os.environ["INTEROP"])
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json",
         ".png": "image/png", ".svg": "image/svg+xml", ".ico": "image/x-icon"}


def text_of(page):
    """What a reader sees of it; words are often in elements of their own."""
    return html.unescape(re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", "", page, flags=re.S))


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, pages, *arguments):
        self.pages = pages
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def answer(self, status, content_type, body):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if self.pages.is_question(path):
            connection = http.client.HTTPConnection("127.0.0.1", self.pages.api_port, timeout=20)
            connection.request("GET", self.path)
            response = connection.getresponse()
            body = response.read()
            self.pages.asked.append((self.path, response.status, body))
            self.answer(response.status, response.getheader("Content-Type") or "text/plain", body)
            return
        name, content = self.pages.find(path)
        self.answer(200, TYPES.get(pathlib.Path(name).suffix, "application/octet-stream"), content)


class Pages:
    """find(path): name and bytes of a file of the interface; is_question(path): it is for the daemon."""

    def __init__(self, test, api_port, find, is_question):
        self.test, self.api_port, self.find, self.is_question = test, api_port, find, is_question
        self.asked = []  # (path and query, status, body)
        self.port = free_port()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), functools.partial(Handler, self))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)

    def browse(self, path, name):
        """The page as the browser has it at last; a screenshot at build/interop/NAME.png."""
        common = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US",
                  "--window-size=1400,900", f"--user-data-dir={self.test.directory}/profile",
                  "--virtual-time-budget=15000"]
        url = f"http://127.0.0.1:{self.port}{path}"
        shot = subprocess.run([*common, f"--screenshot={WORK}/{name}.png", url], capture_output=True, text=True,
                              timeout=120)
        self.test.assertEqual(shot.returncode, 0, shot.stderr)
        done = subprocess.run([*common, "--dump-dom", url], capture_output=True, text=True, timeout=120)
        failed = [(path, status, body[:200]) for path, status, body in self.asked if status != 200]
        self.test.assertEqual(failed, [])
        return done.stdout
