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
#include "fermata/sample.h"
#include "fermata/sample_head.h"

#define CONFIG_NAMED_MAX          256u /* sections in all */
#define CONFIG_UPLOAD_WINDOWS_MAX 32u

/* X(index, field, what stands in front of the name).  The keys: CONFIG_<index>_KEYS below. */
#define CONFIG_KINDS(X)                                                                            \
    X(EXPORTER_OTLP, exporter_otlp, "exporter.otlp")                                               \
    X(PROCESSOR_ATTRIBUTES, processor_attributes, "processor.attributes")                          \
    X(PROCESSOR_FILTER, processor_filter, "processor.filter")                                      \
    X(PROCESSOR_REDACTION, processor_redaction, "processor.redaction")                             \
    X(PROCESSOR_RENAME, processor_rename, "processor.rename")                                      \
    X(SAMPLING_POLICY, sampling_policy, "sampling.policy")                                         \
    X(UPLOAD_WINDOW, upload_window, "upload.window")

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
    X(UINT, "max_in_flight", max_in_flight, "2",                                                   \
      "requests at a time; 1: a batch leaves when the one before it was taken")                    \
    X(DURATION, "timeout", timeout, "10s", "without progress")                                     \
    X(TEXT, "headers_file", headers_file, "", "lines of NAME: VALUE, read for each connection")    \
    X(TEXT, "proxy", proxy, "", "host:port of an HTTP proxy; empty: none")                         \
    X(TEXT, "proxy_auth_file", proxy_auth_file, "",                                                \
      "one line USER:PASSWORD for it, read for each connection")                                   \
    X(TEXT, "tls_ca_file", tls_ca_file, "", "with https://; empty: the system's store")            \
    X(TEXT, "tls_cert_file", tls_cert_file, "", "PEM, ours; with tls_key_file")                    \
    X(TEXT, "tls_key_file", tls_key_file, "", "")                                                  \
    X(TEXT, "tls_server_name", tls_server_name, "", "in the certificate; empty: the host's name")  \
    X(DURATION, "retry_initial_interval", retry_initial_interval, "1s", "with full jitter")        \
    X(DURATION, "retry_max_interval", retry_max_interval, "5m", "")                                \
    X(DURATION, "retry_max_elapsed_time", retry_max_elapsed_time, "0", "0: never gives up")        \
    X(CHOICE, "start", start, "now", "a new exporter: now sends what comes, oldest all there is")

#define CONFIG_SAMPLING_POLICY_KEYS(X)                                                             \
    X(CHOICE, "type", type, "always_sample",                                                       \
      "always_sample, status_code, latency, string_attribute, numeric_attribute, "                 \
      "boolean_attribute, span_count, traceql, probabilistic, rate_limiting, and, not, drop or "   \
      "composite")                                                                                 \
    X(CHOICE, "priority", priority, "normal", "normal or express: what it wants leaves first")     \
    X(LIST, "status_codes", status_codes, "", "status_code: error, ok, unset")                     \
    X(DURATION, "threshold", threshold, "0", "latency: of the trace, at least")                    \
    X(DURATION, "upper_threshold", upper_threshold, "0", "at most, and more than threshold")       \
    X(TEXT, "key", key, "", "of an attribute of spans or resources")                               \
    X(LINES, "values", values, "", "string_attribute: one a line; boolean_attribute: true, false") \
    X(BOOL, "regex", regex, "false", "values are RE2 patterns, found anywhere in the text")        \
    X(BOOL, "invert_match", invert_match, "false", "wants traces where nothing matches")           \
    X(TEXT, "min_value", min_value, "", "numeric_attribute: at least")                             \
    X(TEXT, "max_value", max_value, "", "at most")                                                 \
    X(UINT, "min_spans", min_spans, "0", "span_count: at least")                                   \
    X(UINT, "max_spans", max_spans, "0", "at most; 0: any number")                                 \
    X(LINES, "query", query, "", "traceql: a query that finds the trace")                          \
    X(TEXT, "probability", probability, "", "probabilistic: 0 to 1 or a percentage")               \
    X(UINT, "spans_per_second", spans_per_second, "0",                                             \
      "rate_limiting, composite: minute by minute")                                                \
    X(LIST, "sub_policies", sub_policies, "",                                                      \
      "and, not, drop, composite: names of other policies")                                        \
    X(LIST, "rate_allocation", rate_allocation, "", "composite: NAME=PERCENT; others: equal shares")

#define CONFIG_UPLOAD_WINDOW_KEYS(X)                                                               \
    X(LINES, "schedule", schedule, "",                                                             \
      "Mon..Fri 22:00..06:00, *-*-01 01:00..05:00, Sat,Sun; any of several lines")                 \
    X(TEXT, "timezone", timezone, "local", "local, UTC, or as Europe/Berlin")                      \
    X(RATE, "rate", rate, "0", "while it is open, instead of [upload.bandwidth]; 0: that")         \
    X(LIST, "applies_to", applies_to, "normal backlog recall",                                     \
      "any of normal, backlog, recall, express: they go while a window of theirs is open")

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
struct config_sampling_policy {
    CONFIG_SAMPLING_POLICY_KEYS(X)
};
struct config_upload_window {
    CONFIG_UPLOAD_WINDOW_KEYS(X)
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

/* Calls on_change for every setting that differs, with its section in full; key NULL: a section
 * with a name that only one of them has. */
typedef void config_on_change(void *self, const char *section, const char *key);
void config_compare(const struct config *a, const struct config *b, config_on_change *on_change,
                    void *self);
/* The processors in their order, compiled; in front of them, what [resource] says and facts are put
 * into each resource.  *ret_process is NULL if there is nothing to do. */
FM_MUST int config_process_new(struct process **ret_process, const struct config *config,
                               const struct process_pair *facts, size_t fact_count,
                               struct fm_why *why);
/* The policies in their order, compiled, with the default probability of [sampling.tail].
 * only_express: those with priority = express, what they are made of and what drops, and nothing by
 * default; *ret_rules is NULL if there are none. */
FM_MUST int config_sample_rules_new(struct sample_rules **ret_rules, const struct config *config,
                                    bool only_express, struct fm_why *why);
struct sample_head_options config_sample_head(const struct config *config);

/* applies_to of a window as bits, from the lowest: express, recall, normal, backlog; 0: wrong. */
uint32_t config_upload_lanes(const char *words);

#endif
