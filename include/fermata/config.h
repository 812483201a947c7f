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
#include "fermata/config_keys.h"

#define CONFIG_FIELD_TEXT     const char *
#define CONFIG_FIELD_LIST     const char *
#define CONFIG_FIELD_LINES    const char *
#define CONFIG_FIELD_BOOL     bool
#define CONFIG_FIELD_UINT     uint64_t
#define CONFIG_FIELD_BYTES    uint64_t
#define CONFIG_FIELD_DURATION uint64_t
#define CONFIG_FIELD_RATE     uint64_t
#define CONFIG_FIELD_PERCENT  uint64_t
#define CONFIG_FIELD_CHOICE   unsigned

struct config_named; /* config_named.h */
struct config {      /* immutable after load */
#define X(type, section, key, field, value, help) CONFIG_FIELD_##type field;
    CONFIG_KEYS(X)
#undef X
    const struct config_named *named; /* the first; NULL: none */
    struct fm_arena arena;            /* owns the texts and what is named */
};

/* Values of the CHOICE fields, in the order of their help. */
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOGFMT, CONFIG_LOG_JSON };
enum config_sync { CONFIG_SYNC_GROUP, CONFIG_SYNC_INTERVAL, CONFIG_SYNC_NONE };
enum config_wal_compression { CONFIG_WAL_LZ4, CONFIG_WAL_NONE };
enum config_block_align { CONFIG_ALIGN_HOUR, CONFIG_ALIGN_NONE };
enum config_block_compression { CONFIG_BLOCK_ZSTD, CONFIG_BLOCK_SNAPPY };
enum config_on_full { CONFIG_FULL_REJECT, CONFIG_FULL_DROP_OLDEST };
enum config_destination { CONFIG_TO_DIR, CONFIG_TO_S3, CONFIG_TO_AZURE, CONFIG_TO_GCS };
enum config_azure_auth {
    CONFIG_AZURE_SHARED_KEY,
    CONFIG_AZURE_SAS,
    CONFIG_AZURE_WORKLOAD,
    CONFIG_AZURE_MANAGED,
};
enum config_gcs_auth { CONFIG_GCS_SERVICE_ACCOUNT, CONFIG_GCS_METADATA, CONFIG_GCS_NONE };
enum config_s3_sse { CONFIG_SSE_NONE, CONFIG_SSE_AES256, CONFIG_SSE_KMS };
enum config_backend { CONFIG_BACKEND_LOCAL, CONFIG_BACKEND_BUCKET, CONFIG_BACKEND_BOTH };
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
/* storage.quota: bytes, *ret_percent 0; or a share, *ret_bytes the bound on it. */
FM_MUST int config_quota(const struct config *config, uint64_t *ret_bytes, unsigned *ret_percent);
FM_DEFINE_AUTO(config)
/* The whole table as an ini file with every setting commented out: config/fermata.ini. */
void config_put_defaults(struct fm_buf *out);
/* What is in force, as an ini file. */
void config_put_effective(const struct config *config, struct fm_buf *out);

#endif
