/* SPDX-License-Identifier: Apache-2.0 */
/* config - one table of every setting: name, type, default, one line of help.  From it come the
 * struct, the parser, `fermata config --defaults` and config/fermata.ini.
 *
 * Order, later wins: defaults, the file, conf.d/NAME.ini beside it, FERMATA__SECTION__KEY in the
 * environment (dots as double underscores), --set section.key=value.
 */
#ifndef FERMATA_CONFIG_H
#define FERMATA_CONFIG_H

#include "fermata/base.h"

/* X(type, section, key, field, default, help).  Types: TEXT, LIST (words joined by blanks; indented
 * lines continue it), BOOL, UINT, BYTES, DURATION (ns), CHOICE (the index, see config_choices). */
#define CONFIG_KEYS(X)                                                                             \
    X(TEXT, "fermata", "node_id", node_id, "machine-id", "machine-id, hostname, or a literal")     \
    X(TEXT, "fermata", "data_dir", data_dir, "/var/lib/fermata", "log, blocks, state")             \
    X(CHOICE, "fermata", "log_level", log_level, "info", "error, warn, info or debug")             \
    X(CHOICE, "fermata", "log_format", log_format, "logfmt", "logfmt or json")                     \
    X(UINT, "fermata", "worker_threads", worker_threads, "1", "block building and queries")        \
    X(DURATION, "fermata", "shutdown_timeout", shutdown_timeout, "10s", "drain limit on stop")     \
    CONFIG_RECEIVER(X, "receiver.otlp_grpc", otlp_grpc, "127.0.0.1:4317")                          \
    CONFIG_RECEIVER(X, "receiver.otlp_http", otlp_http, "127.0.0.1:4318")                          \
    X(LIST, "receiver.otlp_http", "cors_allowed_origins", cors_allowed_origins, "",                \
      "list of origins, or *; empty: off")                                                         \
    CONFIG_DATAGRAMS(X, "receiver.jaeger_thrift_compact", jaeger_compact, "127.0.0.1:6831")        \
    CONFIG_DATAGRAMS(X, "receiver.jaeger_thrift_binary", jaeger_binary, "127.0.0.1:6832")          \
    CONFIG_RECEIVER(X, "receiver.jaeger_thrift_http", jaeger_http, "127.0.0.1:14268")              \
    CONFIG_RECEIVER(X, "receiver.jaeger_grpc", jaeger_grpc, "127.0.0.1:14250")                     \
    CONFIG_RECEIVER(X, "receiver.jaeger_sampling", jaeger_sampling, "127.0.0.1:5778")              \
    X(TEXT, "receiver.jaeger_sampling", "strategies_file", sampling_strategies_file, "",           \
      "JSON; empty: sample everything")                                                            \
    CONFIG_RECEIVER(X, "receiver.zipkin", zipkin, "127.0.0.1:9411")                                \
    X(LIST, "receiver.zipkin", "cors_allowed_origins", zipkin_cors_allowed_origins, "",            \
      "list of origins, or *; empty: off")                                                         \
    X(BOOL, "receiver.zipkin", "query_enabled", zipkin_query_enabled, "true",                      \
      "also answers Zipkin's query API: to this host, and to identities")                          \
    X(TEXT, "tenants", "overrides_file", tenants_overrides_file, "", "rates and identities")       \
    X(BYTES, "tenants", "rate_bytes", tenants_rate_bytes, "0", "a second, each; 0: unlimited")     \
    X(BYTES, "tenants", "burst_bytes", tenants_burst_bytes, "0", "0: two seconds' worth")          \
    X(UINT, "tenants", "rate_spans", tenants_rate_spans, "0", "a second, each; 0: unlimited")      \
    X(UINT, "tenants", "burst_spans", tenants_burst_spans, "0", "0: two seconds' worth")           \
    X(UINT, "tenants", "max_active", tenants_max_active, "64", "at once")                          \
    X(BYTES, "limits", "memory_limit", memory_limit, "64MiB", "bodies held for clients, bytes")    \
    X(BYTES, "limits", "max_body_bytes", max_body_bytes, "16MiB", "request as received")           \
    X(BYTES, "limits", "max_decompressed_bytes", max_decompressed_bytes, "64MiB",                  \
      "request after decompression")                                                               \
    X(UINT, "limits", "max_spans_per_request", max_spans_per_request, "100000", "")                \
    X(UINT, "limits", "max_decompression_ratio", max_decompression_ratio, "250",                   \
      "after the first MiB of a body")                                                             \
    X(BYTES, "limits", "max_attribute_bytes", max_attribute_bytes, "2KiB",                         \
      "keys and string values; longer ones are cut")                                               \
    X(BYTES, "limits", "max_bytes_per_trace", max_bytes_per_trace, "50MiB", "in one answer")       \
    X(UINT, "limits", "max_connections", max_connections, "1024", "per listener")                  \
    X(UINT, "limits", "max_connections_per_ip", max_connections_per_ip, "128", "not of this host") \
    X(DURATION, "limits", "max_connection_age", max_connection_age, "30m", "then GOAWAY or close") \
    X(UINT, "limits", "max_concurrent_streams", max_concurrent_streams, "100", "HTTP/2")           \
    X(DURATION, "limits", "header_timeout", header_timeout, "10s", "")                             \
    X(DURATION, "limits", "body_timeout", body_timeout, "60s", "")                                 \
    X(DURATION, "limits", "idle_timeout", idle_timeout, "120s", "keep-alive")                      \
    X(DURATION, "limits", "retry_after", retry_after, "1s", "hint in retryable refusals")          \
    X(CHOICE, "wal", "sync", wal_sync, "group", "group (ack after fdatasync), interval, none")     \
    X(DURATION, "wal", "sync_interval", wal_sync_interval, "200ms", "with sync = interval")        \
    X(BYTES, "wal", "segment_size", wal_segment_size, "16MiB", "")                                 \
    X(CHOICE, "wal", "compression", wal_compression, "lz4", "lz4 or none")                         \
    X(BYTES, "wal", "max_pending", wal_max_pending, "16MiB", "received, not yet durable")          \
    X(DURATION, "block", "max_block_duration", max_block_duration, "15m", "cut by age")            \
    X(BYTES, "block", "max_block_bytes", max_block_bytes, "16MiB", "cut by size of the log")       \
    X(BYTES, "block", "memory_limit", block_memory_limit, "40MiB", "of one block build")           \
    X(CHOICE, "block", "compression", block_compression, "zstd", "zstd or snappy")                 \
    X(UINT, "block", "compression_level", block_compression_level, "3", "of zstd, 1 to 19")        \
    X(BYTES, "storage", "quota", storage_quota, "0", "all of data_dir; 0: only min_free")          \
    X(BYTES, "storage", "min_free", storage_min_free, "256MiB", "kept free on the file system")    \
    X(DURATION, "storage", "retention_uploaded", retention_uploaded, "72h",                        \
      "uploaded blocks stay this long")                                                            \
    X(CHOICE, "storage", "on_full", storage_on_full, "reject", "reject or drop_oldest")            \
    X(BOOL, "upload", "enabled", upload_enabled, "true", "")                                       \
    X(CHOICE, "upload", "destination", upload_destination, "dir", "dir or s3")                     \
    X(TEXT, "upload", "tenant", upload_tenant, "single-tenant", "of requests without a header")    \
    X(UINT, "upload", "concurrency", upload_concurrency, "2", "")                                  \
    X(DURATION, "upload", "request_timeout", upload_request_timeout, "60s", "without progress")    \
    X(DURATION, "upload", "retry_max_interval", upload_retry_max_interval, "5m", "")               \
    X(BYTES, "upload", "multipart_size", upload_multipart_size, "16MiB", "part size")              \
    X(TEXT, "upload.dir", "path", upload_dir_path, "", "empty: bucket/ below data_dir")            \
    X(TEXT, "upload.s3", "endpoint", s3_endpoint, "", "URL; empty: AWS of the region")             \
    X(TEXT, "upload.s3", "region", s3_region, "us-east-1", "")                                     \
    X(TEXT, "upload.s3", "bucket", s3_bucket, "", "")                                              \
    X(TEXT, "upload.s3", "prefix", s3_prefix, "", "")                                              \
    X(BOOL, "upload.s3", "path_style", s3_path_style, "false", "")                                 \
    X(TEXT, "upload.s3", "access_key_file", s3_access_key_file, "", "")                            \
    X(TEXT, "upload.s3", "secret_key_file", s3_secret_key_file, "", "")                            \
    X(TEXT, "upload.s3", "session_token_file", s3_session_token_file, "", "")                      \
    X(TEXT, "upload.s3", "tls_ca_file", s3_tls_ca_file, "", "empty: the system's store")           \
    CONFIG_RECEIVER(X, "query", query, "127.0.0.1:3200")                                           \
    X(TEXT, "query", "http_api_prefix", http_api_prefix, "", "path in front of /api")              \
    X(UINT, "query", "concurrency", query_concurrency, "4", "queries at once")                     \
    X(DURATION, "query", "timeout", query_timeout, "60s", "of a search or metrics query")          \
    X(BYTES, "query", "max_memory_bytes", query_memory, "128MiB", "of one of them")                \
    X(DURATION, "query", "max_search_duration", query_search_range, "168h", "end - start")         \
    X(DURATION, "query", "max_metrics_duration", query_metrics_range, "24h", "end - start")        \
    X(UINT, "query", "metrics_max_series", query_series, "0", "of an answer; 0: unlimited")        \
    CONFIG_RECEIVER(X, "query.jaeger", query_jaeger, "127.0.0.1:16686")

#define CONFIG_RECEIVER(X, section, name, endpoint)                                                \
    X(BOOL, section, "enabled", name##_enabled, "true", "")                                        \
    X(TEXT, section, "endpoint", name##_endpoint, endpoint, "host:port or unix:PATH")              \
    X(TEXT, section, "tls_cert_file", name##_tls_cert_file, "", "PEM; with tls_key_file: TLS")     \
    X(TEXT, section, "tls_key_file", name##_tls_key_file, "", "")                                  \
    X(TEXT, section, "tls_client_ca_file", name##_tls_client_ca_file, "", "demand client certs")   \
    X(LIST, section, "tls_client_allowed_names", name##_tls_client_allowed_names, "",              \
      "of client certificates (DNS name, URI or CN); empty: all that the CA signed")               \
    X(CHOICE, section, "tls_min_version", name##_tls_min_version, "1.2", "1.2 or 1.3")             \
    X(CHOICE, section, "auth", name##_auth, "default",                                             \
      "default: what the files here ask for; none: nobody is asked, also off loopback")            \
    X(TEXT, section, "htpasswd_file", name##_htpasswd_file, "", "users; bcrypt or SHA-crypt")      \
    X(TEXT, section, "bearer_tokens_file", name##_bearer_tokens_file, "", "lines of NAME:TOKEN")   \
    X(TEXT, section, "unix_mode", name##_unix_mode, "0660", "of a unix:PATH endpoint")             \
    X(LIST, section, "unix_allowed_users", name##_unix_allowed_users, "",                          \
      "names or numbers of those behind a unix socket; empty: all whom the mode lets in")

#define CONFIG_DATAGRAMS(X, section, name, endpoint)                                               \
    X(BOOL, section, "enabled", name##_enabled, "true", "")                                        \
    X(TEXT, section, "endpoint", name##_endpoint, endpoint, "host:port, UDP")                      \
    X(CHOICE, section, "auth", name##_auth, "default",                                             \
      "default, or none: allow datagrams from other hosts")                                        \
    X(BYTES, section, "socket_buffer", name##_socket_buffer, "8MiB", "asked of the kernel")

#define CONFIG_FIELD_TEXT     const char *
#define CONFIG_FIELD_LIST     const char *
#define CONFIG_FIELD_BOOL     bool
#define CONFIG_FIELD_UINT     uint64_t
#define CONFIG_FIELD_BYTES    uint64_t
#define CONFIG_FIELD_DURATION uint64_t
#define CONFIG_FIELD_CHOICE   unsigned

struct config { /* immutable after load */
#define X(type, section, key, field, value, help) CONFIG_FIELD_##type field;
    CONFIG_KEYS(X)
#undef X
    struct fm_arena arena; /* owns the texts */
};

/* Values of the CHOICE fields, in the order of their help. */
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOGFMT, CONFIG_LOG_JSON };
enum config_sync { CONFIG_SYNC_GROUP, CONFIG_SYNC_INTERVAL, CONFIG_SYNC_NONE };
enum config_wal_compression { CONFIG_WAL_LZ4, CONFIG_WAL_NONE };
enum config_block_compression { CONFIG_BLOCK_ZSTD, CONFIG_BLOCK_SNAPPY };
enum config_on_full { CONFIG_FULL_REJECT, CONFIG_FULL_DROP_OLDEST };
enum config_destination { CONFIG_TO_DIR, CONFIG_TO_S3 };
enum config_auth { CONFIG_AUTH_DEFAULT, CONFIG_AUTH_NONE };
enum config_tls_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

/* What listeners of one kind have in common, gathered from their sections. */
#define CONFIG_LISTENERS(X)                                                                        \
    X(OTLP_GRPC, "otlp_grpc", "receiver.otlp_grpc", otlp_grpc)                                     \
    X(OTLP_HTTP, "otlp_http", "receiver.otlp_http", otlp_http)                                     \
    X(JAEGER_HTTP, "jaeger_thrift_http", "receiver.jaeger_thrift_http", jaeger_http)               \
    X(JAEGER_GRPC, "jaeger_grpc", "receiver.jaeger_grpc", jaeger_grpc)                             \
    X(JAEGER_SAMPLING, "jaeger_sampling", "receiver.jaeger_sampling", jaeger_sampling)             \
    X(ZIPKIN, "zipkin", "receiver.zipkin", zipkin)                                                 \
    X(QUERY, "query", "query", query)                                                              \
    X(QUERY_JAEGER, "query_jaeger", "query.jaeger", query_jaeger)
enum config_listener_index {
#define X(index, name, section, field) CONFIG_LISTENER_##index,
    CONFIG_LISTENERS(X)
#undef X
        CONFIG_LISTENER_COUNT
};
struct config_listener {
    const char *name, *section; /* "otlp_grpc" for logs and labels, "receiver.otlp_grpc" */
    bool enabled;
    const char *endpoint, *tls_cert_file, *tls_key_file, *tls_client_ca_file;
    const char *tls_client_allowed_names;
    enum config_tls_version tls_min_version;
    enum config_auth auth;
    const char *htpasswd_file, *bearer_tokens_file, *unix_mode, *unix_allowed_users;
};
struct config_listener config_listener(const struct config *config, enum config_listener_index i);

/* The words of a CHOICE, NULL at the end; NULL if the key is no choice. */
const char *const *config_choices(const char *section, const char *key);

/* Fills messages with "FILE:LINE:COL: error: ..." and the line itself, for every error, and returns
 * FM_ECONFIG if there was any.
 * file NULL: defaults only (and environment, settings).  settings: "section.key=value". */
FM_MUST int config_load(struct config **ret_config, const char *file, const char *const *settings,
                        size_t setting_count, const char *const *environment,
                        struct fm_buf *messages);
/* The same for one text in memory, called name in messages, on top of the defaults. */
FM_MUST int config_load_text(struct config **ret_config, const char *name, struct fm_slice text,
                             struct fm_buf *messages);
struct config *config_free(struct config *config);
FM_DEFINE_AUTO(config)
/* The whole table as an ini file with every setting commented out: config/fermata.ini. */
void config_put_defaults(struct fm_buf *out);
/* What is in force, as an ini file. */
void config_put_effective(const struct config *config, struct fm_buf *out);

#endif
