/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols of emit: where they go, what they call themselves, and who translates. */
#include "emit.h"
#include "jaeger_encode.h"
#include "otlp_json.h"
#include "zipkin_encode.h"

static int translate_otlp_json(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return otlp_json_put(otlp, target);
}

static int translate_jaeger_compact(struct fm_slice otlp, size_t packet_bytes,
                                    struct fm_buf *target)
{
    return jaeger_put_datagrams(otlp, THRIFT_COMPACT, packet_bytes, target);
}

static int translate_jaeger_binary(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    return jaeger_put_datagrams(otlp, THRIFT_BINARY_PROTOCOL, packet_bytes, target);
}

static int translate_jaeger_http(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return jaeger_put_thrift(otlp, THRIFT_BINARY_PROTOCOL, target);
}

static int translate_jaeger_grpc(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return jaeger_put_pb(otlp, target);
}

static int translate_zipkin_json(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return zipkin_put_json(otlp, target);
}

static int translate_zipkin_proto(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return zipkin_put_pb(otlp, target);
}

static int translate_zipkin_v1_json(struct fm_slice otlp, size_t packet_bytes,
                                    struct fm_buf *target)
{
    (void)packet_bytes;
    return zipkin_put_v1_json(otlp, target);
}

static int translate_zipkin_thrift(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target)
{
    (void)packet_bytes;
    return zipkin_put_v1_thrift(otlp, target);
}

/* clang-format off */
const struct emit_protocol emit_protocols[] = {
    {"otlp_http", EMIT_HTTP, "127.0.0.1:4318", "/v1/traces", "application/x-protobuf",
     EMIT_ANSWERS_PB, NULL},
    {"otlp_grpc", EMIT_GRPC, "127.0.0.1:4317",
     "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc",
     EMIT_ANSWERS_PB, NULL},
    {"otlp_http_json", EMIT_HTTP, "127.0.0.1:4318", "/v1/traces", "application/json",
     EMIT_ANSWERS_JSON, translate_otlp_json},
    {"jaeger_compact", EMIT_DATAGRAM, "127.0.0.1:6831", "", "",
     EMIT_ANSWERS_NOTHING, translate_jaeger_compact},
    {"jaeger_binary", EMIT_DATAGRAM, "127.0.0.1:6832", "", "",
     EMIT_ANSWERS_NOTHING, translate_jaeger_binary},
    {"jaeger_http", EMIT_HTTP, "127.0.0.1:14268", "/api/traces", "application/x-thrift",
     EMIT_ANSWERS_NOTHING, translate_jaeger_http},
    {"jaeger_grpc", EMIT_GRPC, "127.0.0.1:14250", "/jaeger.api_v2.CollectorService/PostSpans",
     "application/grpc", EMIT_ANSWERS_NOTHING, translate_jaeger_grpc},
    {"zipkin_json", EMIT_HTTP, "127.0.0.1:9411", "/api/v2/spans", "application/json",
     EMIT_ANSWERS_NOTHING, translate_zipkin_json},
    {"zipkin_proto", EMIT_HTTP, "127.0.0.1:9411", "/api/v2/spans", "application/x-protobuf",
     EMIT_ANSWERS_NOTHING, translate_zipkin_proto},
    {"zipkin_v1_json", EMIT_HTTP, "127.0.0.1:9411", "/api/v1/spans", "application/json",
     EMIT_ANSWERS_NOTHING, translate_zipkin_v1_json},
    {"zipkin_thrift", EMIT_HTTP, "127.0.0.1:9411", "/api/v1/spans", "application/x-thrift",
     EMIT_ANSWERS_NOTHING, translate_zipkin_thrift},
};
/* clang-format on */
const size_t emit_protocol_count = FM_COUNT(emit_protocols);
