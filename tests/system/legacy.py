# SPDX-License-Identifier: Apache-2.0
"""What the tests of Jaeger's and Zipkin's doors share: spans as plain values, calls by gRPC, metrics."""
import base64

from harness import DaemonTest, http_request, wait_for
from test_otlp_grpc import Call, framed

SPANS = "fermata_receiver_accepted_spans_total"
REFUSED = "fermata_receiver_refused_spans_total"
DROPPED = "fermata_receiver_dropped_datagrams_total"


def plain(value):
    (kind, content), = value.items() if value else (("stringValue", None),)
    if kind == "intValue":
        return int(content)
    return base64.b64decode(content) if kind == "bytesValue" else content


def attributes(owner):
    return {item["key"]: plain(item.get("value", {})) for item in owner.get("attributes", [])}


def hexadecimal(text):
    return base64.b64decode(text).hex()


class LegacyTest(DaemonTest):
    settings = {}

    def setUp(self):
        super().setUp()
        self.node = self.daemon(self.settings).start()

    def tearDown(self):
        if self.node.process:
            self.node.stop()

    def post(self, port, path, body, headers=None, method="POST"):
        return http_request(self.node.ports[port], method, path, body, headers or {})

    def call(self, port, path, message, headers=()):
        """(grpc-status, body) of a unary call."""
        answer, body, _ = Call(self.node.ports[port], path=path, headers=headers).send(framed(message), end=True).finish()
        return answer["grpc-status"], body

    def count(self, name, receiver, *labels):
        text = http_request(self.node.ports["query"], "GET", "/metrics")[2].decode()
        wanted = [f'receiver="{receiver}"', *labels]
        return sum(int(line.split()[-1]) for line in text.splitlines()
                   if line.startswith(name + "{") and all(label in line for label in wanted))

    def wait_count(self, wanted, *what):
        wait_for(lambda: self.count(*what) >= wanted, 10, f"{what} to be {wanted}")
        self.assertEqual(self.count(*what), wanted)

    def spans(self, trace_id):
        """Spans of the trace as dicts with hex ids and plain attributes, ordered by id."""
        found = []
        for resource in self.node.trace(trace_id)["trace"].get("resourceSpans", []):
            for scope in resource.get("scopeSpans", []):
                for span in scope.get("spans", []):
                    found.append({
                        "id": hexadecimal(span["spanId"]), "parent": hexadecimal(span.get("parentSpanId", "")),
                        "name": span.get("name", ""), "kind": span.get("kind", "SPAN_KIND_UNSPECIFIED"),
                        "start": int(span.get("startTimeUnixNano", 0)), "end": int(span.get("endTimeUnixNano", 0)),
                        "status": span.get("status", {}).get("code", "STATUS_CODE_UNSET"),
                        "attributes": attributes(span), "resource": attributes(resource.get("resource", {})),
                        "events": [(int(e["timeUnixNano"]), e.get("name", ""), attributes(e))
                                   for e in span.get("events", [])],
                        "links": len(span.get("links", [])),
                    })
        return sorted(found, key=lambda span: span["id"])

    def span(self, trace_id):
        found = self.spans(trace_id)
        self.assertEqual(len(found), 1, found)
        return found[0]
