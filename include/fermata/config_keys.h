/* SPDX-License-Identifier: Apache-2.0 */
/* config_keys - the table of settings that there are once.  Part of config; included by config.h.
 * Settings of sections that come with a name of their own: config_named.h; of S3: config_s3.h; of
 * the uplink: config_upload.h.
 */
#ifndef FERMATA_CONFIG_KEYS_H
#define FERMATA_CONFIG_KEYS_H

#include "fermata/config_cloud.h"
#include "fermata/config_s3.h"
#include "fermata/config_upload.h"

/* X(type, section, key, field, default, help).  Types: TEXT, LIST (words joined by blanks; indented
 * lines continue it), LINES (lines joined by line feeds; indented lines, and the key given again,
 * continue it), BOOL, UINT, BYTES, DURATION (ns), RATE (bytes a second), PERCENT, CHOICE (the
 * index, see config_choices). */
#define CONFIG_KEYS(X)                                                                             \
    X(TEXT, "fermata", "node_id", node_id, "machine-id", "machine-id, hostname, or a literal")     \
    X(TEXT, "fermata", "data_dir", data_dir, "/var/lib/fermata", "log, blocks, state")             \
    X(CHOICE, "fermata", "log_level", log_level, "info", "error, warn, info or debug")             \
    X(CHOICE, "fermata", "log_format", log_format, "logfmt", "logfmt or json")                     \
    X(UINT, "fermata", "worker_threads", worker_threads, "1", "block building")                    \
    X(DURATION, "fermata", "shutdown_timeout", shutdown_timeout, "10s", "drain limit on stop")     \
    X(LIST, "resource", "detectors", resource_detectors, "",                                       \
      "any of env, host, os, systemd, container, k8s, cloud; empty: none")                         \
    X(LINES, "resource", "attributes", resource_attributes, "",                                    \
      "key=value, one a line; put where a resource has no such key")                               \
    X(DURATION, "resource", "detect_timeout", resource_detect_timeout, "500ms",                    \
      "for all detectors; what is found later is left out")                                        \
    X(TEXT, "resource", "k8s_dir", resource_k8s_dir, "/etc/podinfo",                               \
      "mounted by the downward API")                                                               \
    X(TEXT, "resource", "cloud_endpoint", resource_cloud_endpoint, "169.254.169.254:80",           \
      "host:port of the instance's metadata")                                                      \
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
    X(TEXT, "sampling.head", "probability", sampling_head_probability, "1",                        \
      "of a trace to come in; 0 to 1 or a percentage, consistent by trace id and tracestate")      \
    X(UINT, "sampling.head", "max_spans_per_second", sampling_head_rate, "0",                      \
      "while more come, the probability falls; 0: unlimited")                                      \
    X(BOOL, "sampling.head", "fail_closed", sampling_head_fail_closed, "false",                    \
      "drop spans whose tracestate is malformed or contradicts itself")                            \
    X(BOOL, "sampling.tail", "enabled", sampling_tail_enabled, "false",                            \
      "off: all that is stored leaves the node")                                                   \
    X(DURATION, "sampling.tail", "decision_wait", sampling_tail_wait, "60s",                       \
      "after a block is sealed, for spans that come late")                                         \
    X(DURATION, "sampling.tail", "express_interval", sampling_tail_express_interval, "30s",        \
      "how often policies with priority = express look at what is fresh")                          \
    X(TEXT, "sampling.tail", "default_probability", sampling_tail_probability, "0.05",             \
      "of traces that no policy wants")                                                            \
    X(BYTES, "sampling.tail", "verdict_memory", sampling_tail_verdict_memory, "1MiB",              \
      "8 bytes a trace: late spans follow its verdict")                                            \
    X(BYTES, "sampling.tail", "memory_limit", sampling_tail_memory, "32MiB",                       \
      "of one look at a block")                                                                    \
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
    X(DURATION, "limits", "future_tolerance", future_tolerance, "24h",                             \
      "span times beyond it do not count for the time range of a block")                           \
    X(CHOICE, "wal", "sync", wal_sync, "group", "group (ack after fdatasync), interval, none")     \
    X(DURATION, "wal", "sync_interval", wal_sync_interval, "200ms", "with sync = interval")        \
    X(BYTES, "wal", "segment_size", wal_segment_size, "16MiB", "")                                 \
    X(CHOICE, "wal", "compression", wal_compression, "lz4", "lz4 or none")                         \
    X(BYTES, "wal", "max_pending", wal_max_pending, "16MiB", "received, not yet durable")          \
    X(DURATION, "block", "max_block_duration", max_block_duration, "15m", "cut by age")            \
    X(CHOICE, "block", "align", block_align, "hour",                                               \
      "hour: none holds what came in two hours; each node's begin some minutes past; or none")     \
    X(BYTES, "block", "max_block_bytes", max_block_bytes, "16MiB", "cut by size of the log")       \
    X(BYTES, "block", "memory_limit", block_memory_limit, "40MiB", "of one block build")           \
    X(CHOICE, "block", "compression", block_compression, "zstd", "zstd or snappy")                 \
    X(UINT, "block", "compression_level", block_compression_level, "3", "of zstd, 1 to 19")        \
    X(TEXT, "storage", "quota", storage_quota, "0",                                                \
      "all of data_dir: bytes, or a share of the file system: 50%; 0: only min_free")              \
    X(BYTES, "storage", "quota_max", storage_quota_max, "0", "with a share: at most; 0: no bound") \
    X(BYTES, "storage", "min_free", storage_min_free, "256MiB", "kept free on the file system")    \
    X(UINT, "storage", "min_free_inodes", storage_min_free_inodes, "1024", "the same of inodes")   \
    X(DURATION, "storage", "retention_uploaded", retention_uploaded, "72h",                        \
      "uploaded blocks stay this long")                                                            \
    X(DURATION, "storage", "retention_sampled_out", retention_sampled_out, "72h",                  \
      "the same of what tail sampling did not keep")                                               \
    X(DURATION, "storage", "retention_unuploaded", retention_unuploaded, "0",                      \
      "the same of what has not left yet; 0: as long as there is space")                           \
    X(CHOICE, "storage", "on_full", storage_on_full, "reject", "reject or drop_oldest")            \
    X(BYTES, "storage", "merge_below", storage_merge_below, "8MiB",                                \
      "neighbouring blocks are joined up to this size; 0: never")                                  \
    X(DURATION, "storage", "scrub_interval", storage_scrub_interval, "168h",                       \
      "every block is read and checked this often; 0: never")                                      \
    X(BYTES, "storage", "scrub_rate", storage_scrub_rate, "2MiB", "read a second for that")        \
    X(BYTES, "storage", "quarantine_quota", storage_quarantine_quota, "256MiB",                    \
      "unreadable data kept for inspection; the oldest goes first")                                \
    X(DURATION, "storage", "quarantine_max_age", storage_quarantine_max_age, "720h",               \
      "then it goes; 0: never")                                                                    \
    X(BOOL, "upload", "enabled", upload_enabled, "true", "")                                       \
    X(CHOICE, "upload", "destination", upload_destination, "dir", "dir, s3, azure or gcs")         \
    X(TEXT, "upload", "control_prefix", upload_control_prefix, "fermata-control",                  \
      "beside the prefix: objects that are no blocks")                                             \
    X(TEXT, "upload", "tenant", upload_tenant, "single-tenant", "of requests without a header")    \
    X(UINT, "upload", "concurrency", upload_concurrency, "2", "at most, and one for express")      \
    X(DURATION, "upload", "request_timeout", upload_request_timeout, "60s", "without progress")    \
    X(DURATION, "upload", "retry_max_interval", upload_retry_max_interval, "5m", "")               \
    X(BYTES, "upload", "multipart_size", upload_multipart_size, "16MiB", "part size")              \
    X(DURATION, "upload", "manifest_interval", upload_manifest_interval, "5m",                     \
      "what became of each hour's spans is put beside the blocks this often; 0: never")            \
    CONFIG_UPLOAD(X)                                                                               \
    X(TEXT, "upload.dir", "path", upload_dir_path, "", "empty: bucket/ below data_dir")            \
    CONFIG_S3(X)                                                                                   \
    CONFIG_CLOUD(X)                                                                                \
    X(BOOL, "recall", "enabled", recall_enabled, "true",                                           \
      "looks in the bucket for traces that somebody asks for")                                     \
    X(DURATION, "recall", "poll_interval", recall_poll_interval, "5m", "between two looks")        \
    X(UINT, "recall", "max_traces", recall_max_traces, "1000", "of one request")                   \
    X(BYTES, "recall", "max_bytes", recall_max_bytes, "256MiB", "of one request, uncompressed")    \
    CONFIG_RECEIVER(X, "query", query, "127.0.0.1:3200")                                           \
    X(TEXT, "query", "http_api_prefix", http_api_prefix, "", "path in front of /api")              \
    X(UINT, "query", "concurrency", query_concurrency, "4", "queries at once")                     \
    X(UINT, "query", "threads", query_threads, "0", "0: one for each processor, at most 2")        \
    X(DURATION, "query", "timeout", query_timeout, "60s", "of a search or metrics query")          \
    X(BYTES, "query", "max_memory_bytes", query_memory, "128MiB", "of one of them")                \
    X(DURATION, "query", "max_search_duration", query_search_range, "168h", "end - start")         \
    X(DURATION, "query", "max_metrics_duration", query_metrics_range, "24h", "end - start")        \
    X(BYTES, "query", "tags_cache", query_tags_cache, "4MiB",                                      \
      "tags and values of blocks; 0: none")                                                        \
    X(BYTES, "query", "columns_cache", query_columns_cache, "16MiB",                               \
      "what was decoded of blocks that are asked again and again; 0: none")                        \
    X(CHOICE, "query", "backend", query_backend, "local", "local, bucket or both")                 \
    X(BYTES, "query", "bucket_cache", query_bucket_cache, "64MiB", "on disk; 0: none")             \
    X(BYTES, "query", "bucket_memory", query_bucket_memory, "32MiB", "the same in memory")         \
    X(BYTES, "query", "bucket_max_bytes", query_bucket_bytes, "256MiB",                            \
      "fetched for one query; 0: unlimited")                                                       \
    X(UINT, "query", "bucket_max_blocks", query_bucket_blocks, "1000", "the newest of a query")    \
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

#endif
