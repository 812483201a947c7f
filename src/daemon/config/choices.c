/* SPDX-License-Identifier: Apache-2.0 */
/* The words of every CHOICE.  Their order is that of the enums in config.h. */
#include "internal.h"

#define CHOICE_ANY_SECTION "*"

#define CONFIG_CHOICES(X)                                                                          \
    X("fermata", "log_level", "error", "warn", "info", "debug")                                    \
    X("fermata", "log_format", "logfmt", "json")                                                   \
    X("wal", "sync", "group", "interval", "none")                                                  \
    X("wal", "compression", "lz4", "none")                                                         \
    X("block", "align", "hour", "none")                                                            \
    X("block", "compression", "zstd", "snappy")                                                    \
    X("storage", "on_full", "reject", "drop_oldest")                                               \
    X("upload", "destination", "dir", "s3", "azure", "gcs")                                        \
    X("upload.azure", "auth", "shared_key", "sas", "workload_identity", "managed_identity")        \
    X("upload.gcs", "auth", "service_account", "metadata", "none")                                 \
    X("upload.s3", "auth", "auto", "static", "shared_file", "web_identity", "container", "imds",   \
      "none")                                                                                      \
    X("upload.s3", "sse", "none", "aes256", "kms")                                                 \
    X("query", "backend", "local", "bucket", "both")                                               \
    X("exporter.otlp", "protocol", "grpc", "http")                                                 \
    X("exporter.otlp", "compression", "zstd", "gzip", "none")                                      \
    X("exporter.otlp", "balance", "failover", "trace_id")                                          \
    X("exporter.otlp", "start", "now", "oldest")                                                   \
    X("processor.attributes", "action", "insert", "update", "upsert", "delete", "hash", "rename")  \
    X("processor.attributes", "on", "span", "resource", "scope", "event", "link")                  \
    X("processor.attributes", "type", "string", "int", "double", "bool")                           \
    X("processor.filter", "action", "drop", "keep")                                                \
    X("processor.redaction", "mode", "mask", "hash", "delete")                                     \
    X("sampling.policy", "type", "always_sample", "status_code", "latency", "string_attribute",    \
      "numeric_attribute", "boolean_attribute", "span_count", "traceql", "probabilistic",          \
      "rate_limiting", "and", "not", "drop", "composite")                                          \
    X("sampling.policy", "priority", "normal", "express")                                          \
    X(CHOICE_ANY_SECTION, "auth", "default", "none")                                               \
    X(CHOICE_ANY_SECTION, "tls_min_version", "1.2", "1.3")

static const struct {
    const char *section, *key;
    const char *words[16];
} config_choice_rows[] = {
#define X(section, key, ...) {section, key, {__VA_ARGS__, NULL}},
    CONFIG_CHOICES(X)
#undef X
};

const char *const *config_choices(const char *section, const char *key)
{
    for (size_t i = 0; i < FM_COUNT(config_choice_rows); i++) {
        const char *own = config_choice_rows[i].section;
        if ((strcmp(own, CHOICE_ANY_SECTION) == 0 || strcmp(own, section) == 0) &&
            strcmp(config_choice_rows[i].key, key) == 0)
            return config_choice_rows[i].words;
    }
    return NULL;
}
