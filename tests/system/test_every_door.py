# SPDX-License-Identifier: Apache-2.0
"""One trace through every door is one trace: written here in nine encodings by nine small encoders of
their own, sent, read back from the head and from a block, and compared after the losses that
docs/formats/translation.md lists for each format (LOSSES below)."""
import copy
import json
import struct
import unittest

import conformance
from conformance import attributes, kind_of, status_of, times_of
from conformance_jaeger import POST_SPANS
from harness import DaemonTest, any_value
from test_otlp_grpc import field, fixed64, framed, varint, Call

T0 = 1_700_000_000_000_000_000
HOSTS = {"front": "h1", "back": "h2"}
SCOPE = ("lib", "1.2")


def golden(trace):
    """The trace: a page asks a service, which asks a queue; one error, events, a link, every type."""
    other = ("ab" * 16, "00000000000000fe")

    def span(number, parent, name, kind, service, start_us, length_us, **more):
        return {"trace": trace, "id": f"{number:016x}", "parent": f"{parent:016x}" if parent else "none", "name": name,
                "kind": kind, "service": service, "host": HOSTS[service], "scope": SCOPE,
                "start": T0 + start_us * 1000, "end": T0 + (start_us + length_us) * 1000, "attributes": {},
                "status": "UNSET", "events": [], "links": [], "state": "", **more}
    return [
        span(1, 0, "get /", 2, "front", 0, 9000, state="a=1", status="OK", attributes={
            "http.method": "GET", "http.status_code": 200, "cached": False, "ratio": 0.5}),
        span(2, 1, "call", 3, "front", 100, 8000, attributes={"peer.service": "back"}),
        span(3, 2, "work", 2, "back", 500, 7000, status="ERROR boom", attributes={"retry": True, "n": -3}, events=[
            (T0 + 600_000, "cache.miss", {"key": "k1"}), (T0 + 700_000, "exception", {"exception.type": "E"})]),
        span(4, 3, "inner", 1, "back", 600, 100),
        span(5, 3, "send", 4, "back", 800, 50, links=[other]),
        span(6, 5, "receive", 5, "front", 900, 60),
    ]


# ---- OTLP ----

def otlp_value(value):
    if isinstance(value, bool):
        return field(2, int(value))
    if isinstance(value, int):
        return field(3, value & (1 << 64) - 1)
    if isinstance(value, float):
        return varint(4 << 3 | 1) + struct.pack("<d", value)
    return field(1, value.encode())


def otlp_attributes(number, values):
    return b"".join(field(number, field(1, key.encode()) + field(2, otlp_value(value)))
                    for key, value in values.items())


def status_parts(span):
    code, _, message = span["status"].partition(" ")
    return {"UNSET": 0, "OK": 1, "ERROR": 2}[code], message


def resource_of(span):
    return {"service.name": span["service"], "host.name": span["host"]}


def otlp_protobuf(spans):
    out = b""
    for s in spans:
        code, message = status_parts(s)
        body = (field(1, bytes.fromhex(s["trace"])) + field(2, bytes.fromhex(s["id"])) +
                (field(3, s["state"].encode()) if s["state"] else b"") +
                (field(4, bytes.fromhex(s["parent"])) if s["parent"] != "none" else b"") +
                field(5, s["name"].encode()) + field(6, s["kind"]) + fixed64(7, s["start"]) + fixed64(8, s["end"]) +
                otlp_attributes(9, s["attributes"]) +
                b"".join(field(11, fixed64(1, at) + field(2, name.encode()) + otlp_attributes(3, values))
                         for at, name, values in s["events"]) +
                b"".join(field(13, field(1, bytes.fromhex(t)) + field(2, bytes.fromhex(i))) for t, i in s["links"]) +
                field(15, (field(2, message.encode()) if message else b"") + field(3, code)))
        scope = field(1, s["scope"][0].encode()) + field(2, s["scope"][1].encode())
        out += field(1, field(1, otlp_attributes(1, resource_of(s))) + field(2, field(1, scope) + field(2, body)))
    return out


def otlp_json(spans):
    def listed(values):
        return [{"key": key, "value": any_value(value)} for key, value in values.items()]
    resources = []
    for s in spans:
        code, message = status_parts(s)
        resources.append({"resource": {"attributes": listed(resource_of(s))}, "scopeSpans": [{
            "scope": {"name": s["scope"][0], "version": s["scope"][1]}, "spans": [{
                "traceId": s["trace"], "spanId": s["id"], "name": s["name"], "kind": s["kind"],
                **({"parentSpanId": s["parent"]} if s["parent"] != "none" else {}), "traceState": s["state"],
                "startTimeUnixNano": str(s["start"]), "endTimeUnixNano": str(s["end"]),
                "attributes": listed(s["attributes"]), "status": {"code": code, "message": message},
                "events": [{"timeUnixNano": str(at), "name": name, "attributes": listed(values)}
                           for at, name, values in s["events"]],
                "links": [{"traceId": t, "spanId": i} for t, i in s["links"]]}]}]})
    return json.dumps({"resourceSpans": resources}).encode()


# ---- Thrift: one tree of (id, type, value), two encodings ----

def compact(fields):
    def zigzag(value):
        return varint((value << 1 ^ value >> 63) & (1 << 64) - 1)

    def put(kind, value):
        if kind in ("i16", "i32", "i64"):
            return zigzag(value)
        if kind == "double":
            return struct.pack("<d", value)
        if kind == "text":
            return varint(len(value)) + value
        if kind == "struct":
            return compact(value)
        size = bytes([len(value) << 4 | 12]) if len(value) < 15 else b"\xfc" + varint(len(value))
        return size + b"".join(compact(item) for item in value)
    types = {"byte": 3, "i16": 4, "i32": 5, "i64": 6, "double": 7, "text": 8, "list": 9, "struct": 12}
    out, last = b"", 0
    for identifier, kind, value in fields:
        code = (1 if value else 2) if kind == "bool" else types[kind]
        out += bytes([(identifier - last) << 4 | code]) + (b"" if kind == "bool" else put(kind, value))
        last = identifier
    return out + b"\0"


def binary(fields):
    def put(kind, value):
        if kind == "bool":
            return bytes([value])
        if kind in ("i16", "i32", "i64"):
            return struct.pack({"i16": ">h", "i32": ">i", "i64": ">q"}[kind], value)
        if kind == "double":
            return struct.pack(">d", value)
        if kind == "text":
            return struct.pack(">i", len(value)) + value
        if kind == "struct":
            return binary(value)
        return b"\x0c" + struct.pack(">i", len(value)) + b"".join(binary(item) for item in value)
    types = {"bool": 2, "double": 4, "i16": 6, "i32": 8, "i64": 10, "text": 11, "struct": 12, "list": 15}
    return b"".join(bytes([types[kind]]) + struct.pack(">h", identifier) + put(kind, value)
                    for identifier, kind, value in fields) + b"\0"


def signed(text):
    return struct.unpack(">q", bytes.fromhex(text))[0]


# ---- Jaeger ----

def jaeger_tags(span):
    """What OpenTelemetry's Jaeger exporters make of a span."""
    kinds = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
    code, message = status_parts(span)
    tags = {**span["attributes"], "span.kind": kinds[span["kind"]], "otel.scope.name": span["scope"][0],
            "otel.scope.version": span["scope"][1]}
    if span["state"]:
        tags["w3c.tracestate"] = span["state"]
    if code == 1:
        tags["otel.status_code"] = "OK"
    if code == 2:
        tags.update({"error": True, "otel.status_code": "ERROR", "otel.status_description": message})
    return tags


def jaeger_tag(key, value):
    fields = [(1, "text", key.encode())]
    if isinstance(value, bool):
        return fields + [(2, "i32", 2), (5, "bool", value)]
    if isinstance(value, int):
        return fields + [(2, "i32", 3), (6, "i64", value)]
    if isinstance(value, float):
        return fields + [(2, "i32", 1), (4, "double", value)]
    return fields + [(2, "i32", 0), (3, "text", value.encode())]


def jaeger_tree(spans):
    """A batch of one service's spans."""
    def one(s):
        parent = signed(s["parent"]) if s["parent"] != "none" else 0
        references = [[(1, "i32", 1), (2, "i64", signed(t[16:])), (3, "i64", signed(t[:16])), (4, "i64", signed(i))]
                      for t, i in s["links"]]
        logs = [[(1, "i64", at // 1000), (2, "list", [jaeger_tag("event", name)] + [
            jaeger_tag(key, value) for key, value in values.items()])] for at, name, values in s["events"]]
        return [(1, "i64", signed(s["trace"][16:])), (2, "i64", signed(s["trace"][:16])), (3, "i64", signed(s["id"])),
                (4, "i64", parent), (5, "text", s["name"].encode()), (6, "list", references), (7, "i32", 1),
                (8, "i64", s["start"] // 1000), (9, "i64", (s["end"] - s["start"]) // 1000),
                (10, "list", [jaeger_tag(*tag) for tag in jaeger_tags(s).items()]), (11, "list", logs)]
    process = [(1, "text", spans[0]["service"].encode()), (2, "list", [jaeger_tag("host.name", spans[0]["host"])])]
    return [(1, "struct", process), (2, "list", [one(s) for s in spans])]


def by_service(spans):
    return [[s for s in spans if s["service"] == service] for service in sorted(HOSTS)]


def jaeger_protobuf(spans):
    def value(key, content):
        out = field(1, key.encode())
        if isinstance(content, bool):
            return out + field(2, 1) + field(4, int(content))
        if isinstance(content, int):
            return out + field(2, 2) + field(5, content & (1 << 64) - 1)
        if isinstance(content, float):
            return out + field(2, 3) + varint(6 << 3 | 1) + struct.pack("<d", content)
        return out + field(3, content.encode())

    def stamp(ns):
        return field(1, ns // 10**9) + field(2, ns % 10**9)

    def one(s):
        references = b"".join(field(4, field(1, bytes.fromhex(t)) + field(2, bytes.fromhex(i)) + field(3, kind))
                              for kind, t, i in [(0, s["trace"], s["parent"])] * (s["parent"] != "none") +
                              [(1, t, i) for t, i in s["links"]])
        return (field(1, bytes.fromhex(s["trace"])) + field(2, bytes.fromhex(s["id"])) + field(3, s["name"].encode()) +
                references + field(5, 1) + field(6, stamp(s["start"])) + field(7, stamp(s["end"] - s["start"])) +
                b"".join(field(8, value(*tag)) for tag in jaeger_tags(s).items()) +
                b"".join(field(9, field(1, stamp(at)) + field(2, value("event", name)) + b"".join(
                    field(2, value(*pair)) for pair in values.items())) for at, name, values in s["events"]))
    return [field(1, b"".join(field(1, one(s)) for s in group) + field(2, field(1, group[0]["service"].encode()) + field(
        2, value("host.name", group[0]["host"])))) for group in by_service(spans)]


# ---- Zipkin ----

def text_of(value):
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


def zipkin_tags(span):
    """What OpenTelemetry's Zipkin exporters and the Collector make of a span."""
    code, message = status_parts(span)
    tags = {key: text_of(value) for key, value in span["attributes"].items() if key != "peer.service"}
    tags.update({"host.name": span["host"], "otel.scope.name": span["scope"][0], "otel.scope.version": span["scope"][1]})
    if span["state"]:
        tags["w3c.tracestate"] = span["state"]
    if code:
        tags["otel.status_code"] = "OK" if code == 1 else "ERROR"
    if code == 2:
        tags["error"] = "true"
        tags["otel.status_description"] = message
    if span["kind"] == 1:
        tags["span.kind"] = "internal"
    for n, (t, i) in enumerate(span["links"]):
        tags[f"otlp.link.{n}"] = f"{t}|{i}||{{}}|0"
    return tags


def zipkin_notes(span):
    return [(at // 1000, f"{name}|{json.dumps(values)}|0") for at, name, values in span["events"]]


ZIPKIN_KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


def zipkin_json(spans):
    out = []
    for s in spans:
        out.append({"traceId": s["trace"], "id": s["id"], "name": s["name"], "timestamp": s["start"] // 1000,
                    "duration": (s["end"] - s["start"]) // 1000, "localEndpoint": {"serviceName": s["service"]},
                    "tags": zipkin_tags(s),
                    "annotations": [{"timestamp": at, "value": value} for at, value in zipkin_notes(s)]})
        if s["parent"] != "none":
            out[-1]["parentId"] = s["parent"]
        if s["kind"] in ZIPKIN_KINDS:
            out[-1]["kind"] = ZIPKIN_KINDS[s["kind"]]
        if "peer.service" in s["attributes"]:
            out[-1]["remoteEndpoint"] = {"serviceName": s["attributes"]["peer.service"]}
    return json.dumps(out).encode()


def zipkin_protobuf(spans):
    numbers = {2: 2, 3: 1, 4: 3, 5: 4}

    def one(s):
        peer = s["attributes"].get("peer.service")
        return (field(1, bytes.fromhex(s["trace"])) +
                (field(2, bytes.fromhex(s["parent"])) if s["parent"] != "none" else b"") +
                field(3, bytes.fromhex(s["id"])) + (field(4, numbers[s["kind"]]) if s["kind"] in numbers else b"") +
                field(5, s["name"].encode()) + fixed64(6, s["start"] // 1000) + field(7, (s["end"] - s["start"]) // 1000) +
                field(8, field(1, s["service"].encode())) + (field(9, field(1, peer.encode())) if peer else b"") +
                b"".join(field(10, fixed64(1, at) + field(2, value.encode())) for at, value in zipkin_notes(s)) +
                b"".join(field(11, field(1, k.encode()) + field(2, v.encode())) for k, v in zipkin_tags(s).items()))
    return b"".join(field(1, one(s)) for s in spans)


def v1_notes(s):
    """Version 1 says the kind by the annotations of its ends."""
    begin, end = s["start"] // 1000, s["end"] // 1000
    ends = {2: [("sr", begin), ("ss", end)], 3: [("cs", begin), ("cr", end)], 4: [("ms", begin), ("ws", end)],
            5: [("wr", begin), ("mr", end)]}.get(s["kind"], [])
    return [(at, value) for value, at in ends] + zipkin_notes(s)


ADDRESSES = {3: "sa", 4: "ma", 5: "ma", 2: "ca"}


def zipkin_v1_json(spans):
    out = []
    for s in spans:
        endpoint = {"serviceName": s["service"]}
        peer = s["attributes"].get("peer.service")
        out.append({"traceId": s["trace"], "id": s["id"], "name": s["name"], "timestamp": s["start"] // 1000,
                    "duration": (s["end"] - s["start"]) // 1000,
                    **({"parentId": s["parent"]} if s["parent"] != "none" else {}),
                    "annotations": [{"timestamp": at, "value": value, "endpoint": endpoint} for at, value in v1_notes(s)],
                    "binaryAnnotations": [{"key": k, "value": v, "endpoint": endpoint} for k, v in zipkin_tags(s).items()] +
                    ([{"key": ADDRESSES[s["kind"]], "value": True, "endpoint": {"serviceName": peer}}] if peer else [])})
    return json.dumps(out).encode()


def zipkin_v1_thrift(spans):
    def endpoint(identifier, service):
        return (identifier, "struct", [(1, "i32", 0), (2, "i16", 0), (3, "text", service.encode())])

    def one(s):
        peer = s["attributes"].get("peer.service")
        notes = [[(1, "i64", at), (2, "text", value.encode()), endpoint(3, s["service"])] for at, value in v1_notes(s)]
        tags = [[(1, "text", k.encode()), (2, "text", v.encode()), (3, "i32", 6), endpoint(4, s["service"])]
                for k, v in zipkin_tags(s).items()]
        if peer:
            tags.append([(1, "text", ADDRESSES[s["kind"]].encode()), (2, "text", b"\1"), (3, "i32", 0), endpoint(4, peer)])
        return binary([(1, "i64", signed(s["trace"][16:])), (3, "text", s["name"].encode()), (4, "i64", signed(s["id"])),
                       *([(5, "i64", signed(s["parent"]))] if s["parent"] != "none" else []), (6, "list", notes),
                       (8, "list", tags), (10, "i64", s["start"] // 1000), (11, "i64", (s["end"] - s["start"]) // 1000),
                       (12, "i64", signed(s["trace"][:16]))])
    return b"\x0c" + struct.pack(">i", len(spans)) + b"".join(one(s) for s in spans)


# ---- what a format cannot say ----


def lose_types(spans):
    """Zipkin: every value is text."""
    for s in spans:
        s["attributes"] = {key: text_of(value) for key, value in s["attributes"].items()}


LOSSES = {"otlp": lambda spans: None, "jaeger": lambda spans: None, "zipkin": lose_types}


class EveryDoorTest(DaemonTest):
    def setUp(self):
        super().setUp()
        doors, settings = conformance.settings()
        self.node = conformance.Node(self.daemon(settings).start(), doors)

    def seen(self, trace):
        spans = []
        for span, resource, scope in self.node.spans(trace, wait=6):
            begin, end = times_of(span)
            spans.append({
                "trace": trace, "id": conformance.hex_of(span["spanId"]), "parent": conformance.parent_of(span),
                "name": span["name"], "kind": kind_of(span), "service": resource.get("service.name"),
                "host": resource.get("host.name"), "scope": (scope.get("name"), scope.get("version")),
                "start": begin, "end": end, "attributes": attributes(span), "status": status_of(span),
                "events": [(int(e["timeUnixNano"]), e["name"], attributes(e)) for e in span.get("events", [])],
                "links": [(conformance.hex_of(link["traceId"]), conformance.hex_of(link["spanId"]))
                          for link in span.get("links", [])], "state": span.get("traceState", "")})
        return sorted(spans, key=lambda s: s["id"])

    def check(self, name, family, send):
        trace = conformance.trace_of("every door " + name)
        spans = golden(trace)
        send(spans)
        expected = copy.deepcopy(spans)
        LOSSES[family](expected)
        self.maxDiff = None
        for place in ("head", "block"):
            found = self.seen(trace)
            self.assertEqual([s["id"] for s in found], [s["id"] for s in expected], place)
            for one, other in zip(found, expected):
                self.assertEqual(one, other, (name, place, one["name"]))
            self.node.daemon.flush()

    def http(self, door, path, body, content_type, status):
        answer, text = self.node.http(door, path, body, {"Content-Type": content_type})
        self.assertEqual(answer, status, text)

    def grpc(self, door, path, message):
        headers, _, _ = Call(self.node.ports[door], path=path).send(framed(message), end=True).finish()
        self.assertEqual(headers.get("grpc-status"), "0", headers)

    def test_otlp_protobuf(self):
        self.check("otlp protobuf", "otlp", lambda spans: self.http(
            "http", "/v1/traces", otlp_protobuf(spans), "application/x-protobuf", "200"))

    def test_otlp_json(self):
        self.check("otlp json", "otlp", lambda spans: self.http(
            "http", "/v1/traces", otlp_json(spans), "application/json", "200"))

    def test_jaeger_compact(self):
        self.check("jaeger compact", "jaeger", lambda spans: self.node.datagrams("jaeger_thrift_compact", *(
            b"\x82\x81\0\x09emitBatch" + compact([(1, "struct", jaeger_tree(group))]) for group in by_service(spans))))

    def test_jaeger_binary(self):
        head = b"\x80\x01\0\x04" + struct.pack(">i", 9) + b"emitBatch" + bytes(4)
        self.check("jaeger binary", "jaeger", lambda spans: self.node.datagrams("jaeger_thrift_binary", *(
            head + binary([(1, "struct", jaeger_tree(group))]) for group in by_service(spans))))

    def test_jaeger_http(self):
        self.check("jaeger http", "jaeger", lambda spans: [self.http(
            "jaeger_thrift_http", "/api/traces?format=jaeger.thrift", binary(jaeger_tree(group)),
            "application/x-thrift", "202") for group in by_service(spans)])

    def test_jaeger_grpc(self):
        self.check("jaeger grpc", "jaeger", lambda spans: [
            self.grpc("jaeger_grpc", POST_SPANS, message) for message in jaeger_protobuf(spans)])

    def test_zipkin_v2_json(self):
        self.check("zipkin v2 json", "zipkin", lambda spans: self.http(
            "zipkin", "/api/v2/spans", zipkin_json(spans), "application/json", "202"))

    def test_zipkin_v2_protobuf(self):
        self.check("zipkin v2 protobuf", "zipkin", lambda spans: self.http(
            "zipkin", "/api/v2/spans", zipkin_protobuf(spans), "application/x-protobuf", "202"))

    def test_zipkin_grpc(self):
        self.check("zipkin grpc", "zipkin", lambda spans: self.grpc(
            "zipkin", "/zipkin.proto3.SpanService/Report", zipkin_protobuf(spans)))

    def test_zipkin_v1_json(self):
        self.check("zipkin v1 json", "zipkin", lambda spans: self.http(
            "zipkin", "/api/v1/spans", zipkin_v1_json(spans), "application/json", "202"))

    def test_zipkin_v1_thrift(self):
        self.check("zipkin v1 thrift", "zipkin", lambda spans: self.http(
            "zipkin", "/api/v1/spans", zipkin_v1_thrift(spans), "application/x-thrift", "202"))


if __name__ == "__main__":
    unittest.main()
