/* SPDX-License-Identifier: Apache-2.0 */
/* config_named - sections that may come any number of times, each with a name of its own:
 * [processor.filter.healthz].  Part of config.
 *
 * A kind is a row of CONFIG_KINDS and a table of its keys; from these come its struct, the parser
 * and the print.  Sections are kept in the order of their first appearance; one that comes again,
 * in a drop-in or in the environment, goes on where it was.  Names are 1 to 63 of a-z 0-9 _ -.
 */
#ifndef FERMATA_CONFIG_NAMED_H
#define FERMATA_CONFIG_NAMED_H

#include "fermata/config.h"
#include "fermata/process.h"

#define CONFIG_NAMED_MAX 256u /* sections in all */

/* X(index, field, what stands in front of the name).  The keys: CONFIG_<index>_KEYS below. */
#define CONFIG_KINDS(X)                                                                            \
    X(EXPORTER_OTLP, exporter_otlp, "exporter.otlp")                                               \
    X(PROCESSOR_ATTRIBUTES, processor_attributes, "processor.attributes")                          \
    X(PROCESSOR_FILTER, processor_filter, "processor.filter")                                      \
    X(PROCESSOR_REDACTION, processor_redaction, "processor.redaction")                             \
    X(PROCESSOR_RENAME, processor_rename, "processor.rename")

/* X(type, key, field, default, help) as in config_keys.h. */
#define CONFIG_MATCH_KEYS(X)                                                                       \
    X(LINES, "match_service", match_service, "", "VALUE, or OP VALUE with = != =~ !~")             \
    X(LINES, "match_name", match_name, "", "of the span; as above")                                \
    X(LINES, "match_kind", match_kind, "",                                                         \
      "unspecified, internal, server, client, producer or consumer; = !=")                         \
    X(LINES, "match_status", match_status, "", "unset, ok or error; = !=")                         \
    X(LINES, "match_duration", match_duration, "", "> 2s, < 10ms, >=, <=")                         \
    X(LINES, "match_attribute", match_attribute, "",                                               \
      "KEY, or KEY OP VALUE with = != =~ !~ > < >= <=; resource.KEY: not the span's")

#define CONFIG_PROCESSOR_ATTRIBUTES_KEYS(X)                                                        \
    X(CHOICE, "action", action, "upsert", "insert, update, upsert, delete, hash, rename")          \
    X(CHOICE, "on", on, "span", "span, resource, scope, event or link: whose attribute")           \
    X(TEXT, "key", key, "", "of the attribute; of delete and hash also a pattern with * and ?")    \
    X(TEXT, "new_key", new_key, "", "with action = rename")                                        \
    X(TEXT, "value", value, "", "of insert, update, upsert: this, or one of the two below")        \
    X(TEXT, "from_attribute", from_attribute, "", "copied from this key")                          \
    X(TEXT, "from_environment", from_environment, "", "the variable's value at start")             \
    X(CHOICE, "type", type, "string", "string, int, double or bool: of value")                     \
    CONFIG_MATCH_KEYS(X)

#define CONFIG_PROCESSOR_FILTER_KEYS(X)                                                            \
    X(CHOICE, "action", action, "drop", "drop what matches, or keep only that")                    \
    CONFIG_MATCH_KEYS(X)

#define CONFIG_PROCESSOR_REDACTION_KEYS(X)                                                         \
    X(LIST, "keys", keys, "", "patterns with * and ?; their values go as a whole")                 \
    X(LIST, "ignored_keys", ignored_keys, "", "patterns; these stay as they are")                  \
    X(LIST, "presets", presets, "", "any of email, card, address, token: that part of a value")    \
    X(LINES, "patterns", patterns, "", "a value in which one is found goes as a whole")            \
    X(CHOICE, "mode", mode, "mask", "mask, hash or delete")                                        \
    X(TEXT, "mask", mask, "****", "what is put in its place")                                      \
    X(BOOL, "names", names, "true", "also in names of spans and events, in status messages")

#define CONFIG_PROCESSOR_RENAME_KEYS(X)                                                            \
    X(TEXT, "template", template, "{http.request.method|http.method} {http.route}",                \
      "the span's name; {KEY|KEY}: the first of these attributes; one missing: unchanged")         \
    CONFIG_MATCH_KEYS(X)

#define CONFIG_EXPORTER_OTLP_KEYS(X)                                                               \
    X(BOOL, "enabled", enabled, "true", "")                                                        \
    X(LIST, "endpoint", endpoint, "", "URLs, host:port or unix:PATH; several: see balance")        \
    X(CHOICE, "protocol", protocol, "grpc", "grpc or http: protobuf over either")                  \
    X(CHOICE, "compression", compression, "zstd",                                                  \
      "zstd, gzip or none; weaker if the other side cannot read it")                               \
    X(CHOICE, "balance", balance, "failover",                                                      \
      "failover: the first that works; trace_id: a trace always goes to the same")                 \
    X(TEXT, "tenant", tenant, "forward",                                                           \
      "X-Scope-OrgID: forward sends the data's own, none no header, else this name")               \
    X(UINT, "batch_max_spans", batch_max_spans, "8192", "in one request")                          \
    X(BYTES, "batch_max_bytes", batch_max_bytes, "3MiB", "in one request, uncompressed")           \
    X(DURATION, "batch_timeout", batch_timeout, "1s", "a smaller one is sent when it is that old") \
    X(DURATION, "timeout", timeout, "10s", "without progress")                                     \
    X(TEXT, "headers_file", headers_file, "", "lines of NAME: VALUE, read for each connection")    \
    X(TEXT, "tls_ca_file", tls_ca_file, "", "with https://; empty: the system's store")            \
    X(TEXT, "tls_cert_file", tls_cert_file, "", "PEM, ours; with tls_key_file")                    \
    X(TEXT, "tls_key_file", tls_key_file, "", "")                                                  \
    X(TEXT, "tls_server_name", tls_server_name, "", "in the certificate; empty: the host's name")  \
    X(DURATION, "retry_initial_interval", retry_initial_interval, "1s", "with full jitter")        \
    X(DURATION, "retry_max_interval", retry_max_interval, "5m", "")                                \
    X(DURATION, "retry_max_elapsed_time", retry_max_elapsed_time, "0", "0: never gives up")        \
    X(CHOICE, "start", start, "now", "a new exporter: now sends what comes, oldest all there is")

enum config_kind {
#define X(index, field, prefix) CONFIG_KIND_##index,
    CONFIG_KINDS(X)
#undef X
        CONFIG_KIND_COUNT
};

#define X(type, key, field, value, help) CONFIG_FIELD_##type field;
struct config_exporter_otlp {
    CONFIG_EXPORTER_OTLP_KEYS(X)
};
struct config_processor_attributes {
    CONFIG_PROCESSOR_ATTRIBUTES_KEYS(X)
};
struct config_processor_filter {
    CONFIG_PROCESSOR_FILTER_KEYS(X)
};
struct config_processor_redaction {
    CONFIG_PROCESSOR_REDACTION_KEYS(X)
};
struct config_processor_rename {
    CONFIG_PROCESSOR_RENAME_KEYS(X)
};
#undef X

/* One section.  for (const struct config_named *n = config->named; n; n = n->next) */
struct config_named {
    const struct config_named *next;
    enum config_kind kind;
    const char *section, *name; /* "processor.filter.healthz", "healthz" */
    union {
        const void *fields;
#define X(index, field, prefix) const struct config_##field *field;
        CONFIG_KINDS(X)
#undef X
    };
};

/* The processors in their order, compiled; in front of them, what [resource] says and facts are put
 * into each resource.  *ret_process is NULL if there is nothing to do. */
FM_MUST int config_process_new(struct process **ret_process, const struct config *config,
                               const struct process_pair *facts, size_t fact_count,
                               struct fm_why *why);

#endif
