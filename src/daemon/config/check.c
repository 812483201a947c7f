/* SPDX-License-Identifier: Apache-2.0 */
/* What settings must say together, and within which bounds each makes sense.
 *
 * Every message names the key and the cure.  A listener that others than this host can reach needs
 * client certificates or the words that waive them; nobody shall open one by accident.
 */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

struct check_range {
    unsigned index; /* of the key */
    uint64_t min, max;
};

#define CHECK_DAY_NS (UINT64_C(86400) * FM_NS_PER_S)
static const struct check_range check_ranges[] = {
    {CONFIG_INDEX_worker_threads, 1, 64},
    {CONFIG_INDEX_shutdown_timeout, FM_NS_PER_MS, 3600 * FM_NS_PER_S},
    {CONFIG_INDEX_memory_limit, FM_MIB(1), FM_MIB(1) << 20},
    {CONFIG_INDEX_max_body_bytes, FM_KIB(1), FM_MIB(64)},         /* a record of the log */
    {CONFIG_INDEX_max_decompressed_bytes, FM_KIB(1), FM_MIB(64)}, /* holds 64 MiB */
    {CONFIG_INDEX_max_spans_per_request, 1, 10000000},
    {CONFIG_INDEX_max_attribute_bytes, 16, FM_MIB(1)},
    {CONFIG_INDEX_max_bytes_per_trace, FM_KIB(64), FM_MIB(1024)},
    {CONFIG_INDEX_max_connections, 1, 1000000},
    {CONFIG_INDEX_max_concurrent_streams, 1, 100000},
    {CONFIG_INDEX_header_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_body_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_idle_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_retry_after, FM_NS_PER_MS, 3600 * FM_NS_PER_S},
    {CONFIG_INDEX_wal_sync_interval, FM_NS_PER_MS, 60 * FM_NS_PER_S},
    {CONFIG_INDEX_wal_segment_size, FM_KIB(64), FM_MIB(1024)},
    {CONFIG_INDEX_wal_max_pending, FM_KIB(64), FM_MIB(1024)},
    {CONFIG_INDEX_max_block_duration, FM_NS_PER_S, 7 * CHECK_DAY_NS},
    {CONFIG_INDEX_max_block_bytes, FM_KIB(64), FM_MIB(1024)},
    {CONFIG_INDEX_block_memory_limit, FM_MIB(1), FM_MIB(16384)},
    {CONFIG_INDEX_block_compression_level, 1, 19},
    {CONFIG_INDEX_upload_concurrency, 1, 64},
    {CONFIG_INDEX_upload_request_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_upload_retry_max_interval, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_upload_multipart_size, FM_MIB(5), FM_MIB(5120)}, /* S3: 5 MiB to 5 GiB */
    {CONFIG_INDEX_query_concurrency, 1, 256},
};

static const char *check_print(const struct config_key *key, uint64_t value, char text[32])
{
    struct fm_buf buf;

    fm_buf_init(&buf, 32);
    config_value_print(key, &value, &buf);
    (void)snprintf(text, 32, "%.*s", (int)buf.len, (const char *)buf.ptr);
    fm_buf_fini(&buf);
    return text;
}

static void check_all_ranges(struct config_loader *loader)
{
    for (size_t i = 0; i < FM_COUNT(check_ranges); i++) {
        const struct check_range *range = &check_ranges[i];
        const struct config_key *key = &config_keys[range->index];
        uint64_t value;
        char have[32], min[32], max[32], cure[80];

        memcpy(&value, (const char *)loader->config + key->offset, sizeof value);
        if (value >= range->min && value <= range->max)
            continue;
        (void)snprintf(cure, sizeof cure, "accepted: %s to %s", check_print(key, range->min, min),
                       check_print(key, range->max, max));
        config_complain(loader, &loader->places[range->index], cure,
                        "\"%s\" in [%s] is %s, out of its range", key->key, key->section,
                        check_print(key, value, have));
    }
}

/* One listener: the indexes of its keys and its values. */
struct check_listener {
    const char *section;
    unsigned endpoint_index, cert_index, key_index, client_ca_index;
    bool enabled;
    const char *endpoint, *cert, *key, *client_ca;
    unsigned auth;
};
#define CHECK_LISTENER(c, section, name)                                                           \
    {                                                                                              \
        section, CONFIG_INDEX_##name##_endpoint, CONFIG_INDEX_##name##_tls_cert_file,              \
            CONFIG_INDEX_##name##_tls_key_file, CONFIG_INDEX_##name##_tls_client_ca_file,          \
            (c)->name##_enabled, (c)->name##_endpoint, (c)->name##_tls_cert_file,                  \
            (c)->name##_tls_key_file, (c)->name##_tls_client_ca_file, (c)->name##_auth             \
    }

/* Splits "host:port", "[v6]:port", ":port"; false if it is none of them. */
static bool check_split_endpoint(const char *text, struct fm_slice *ret_host, uint64_t *ret_port)
{
    const char *colon = strrchr(text, ':');

    if (!colon || fm_u64_parse(fm_slice_text(colon + 1), ret_port) < 0 || *ret_port > 65535)
        return false;
    struct fm_slice host = fm_slice(text, (size_t)(colon - text));
    bool is_bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_bracketed)
        host = fm_slice(host.ptr + 1, host.len - 2);
    else if (host.len && memchr(host.ptr, ':', host.len))
        return false; /* an IPv6 address wants its brackets */
    if (host.len > 253 || (host.len && memchr(host.ptr, ' ', host.len)))
        return false;
    *ret_host = host;
    return true;
}

/* Dotted quad that begins with 127, ::1, or the name localhost. */
static bool check_is_loopback(struct fm_slice host)
{
    unsigned dots = 0;

    if (fm_slice_equal_text(host, "::1") || fm_slice_equal_nocase(host, "localhost"))
        return true;
    if (host.len < 7 || memcmp(host.ptr, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        dots += host.ptr[i] == '.';
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return false;
    }
    return dots == 3;
}

static void check_tls(struct config_loader *loader, const struct check_listener *listener)
{
    if (!*listener->cert != !*listener->key)
        config_complain(
            loader, &loader->places[*listener->cert ? listener->cert_index : listener->key_index],
            *listener->cert ? "add tls_key_file" : "add tls_cert_file",
            "[%s] has only one of tls_cert_file and tls_key_file", listener->section);
    if (*listener->client_ca && !*listener->cert && !*listener->key)
        config_complain(loader, &loader->places[listener->client_ca_index],
                        "add tls_cert_file and tls_key_file",
                        "[%s] asks for client certificates without TLS", listener->section);
}

static void check_listener(struct config_loader *loader, const struct check_listener *listener)
{
    const struct config_place *place = &loader->places[listener->endpoint_index];
    struct fm_slice host;
    uint64_t port;
    char cure[160];

    check_tls(loader, listener);
    if (!listener->enabled)
        return;
    if (strncmp(listener->endpoint, "unix:", 5) == 0) {
        size_t len = strlen(listener->endpoint + 5);
        if (len == 0 || len > 107)
            config_complain(loader, place, "accepted: unix:PATH with at most 107 characters",
                            "bad socket path in [%s]", listener->section);
        return;
    }
    if (!check_split_endpoint(listener->endpoint, &host, &port)) {
        config_complain(loader, place, "accepted: 127.0.0.1:4317, [::1]:4317, host:port, unix:PATH",
                        "bad endpoint \"%s\" in [%s]", listener->endpoint, listener->section);
        return;
    }
    if (check_is_loopback(host) || listener->auth == CONFIG_AUTH_NONE || *listener->client_ca)
        return;
    (void)snprintf(cure, sizeof cure,
                   "set tls_client_ca_file in [%s], or write auth = none there to allow everybody",
                   listener->section);
    config_complain(loader, place, cure,
                    "others can reach \"%s\" and [%s] asks nobody who they are", listener->endpoint,
                    listener->section);
}

static void check_listeners(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const struct check_listener listeners[] = {
        CHECK_LISTENER(config, "receiver.otlp_grpc", otlp_grpc),
        CHECK_LISTENER(config, "receiver.otlp_http", otlp_http),
        CHECK_LISTENER(config, "query", query),
    };

    for (size_t i = 0; i < FM_COUNT(listeners); i++) {
        check_listener(loader, &listeners[i]);
        size_t len = strlen(listeners[i].endpoint);
        bool any_port = len > 2 && strcmp(listeners[i].endpoint + len - 2, ":0") == 0;
        for (size_t j = 0; j < i && !any_port; j++) {
            if (listeners[i].enabled && listeners[j].enabled &&
                strcmp(listeners[i].endpoint, listeners[j].endpoint) == 0)
                config_complain(loader, &loader->places[listeners[i].endpoint_index], NULL,
                                "[%s] and [%s] have the same endpoint \"%s\"", listeners[j].section,
                                listeners[i].section, listeners[i].endpoint);
        }
    }
}

static void check_upload(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const struct config_place *places = loader->places;

    if (!config->upload_enabled || config->upload_destination != CONFIG_TO_S3)
        return;
    if (!*config->s3_bucket)
        config_complain(loader, &places[CONFIG_INDEX_upload_destination],
                        "set bucket in [upload.s3]", "destination = s3 needs a bucket");
    if (!*config->s3_region && !*config->s3_endpoint)
        config_complain(loader, &places[CONFIG_INDEX_s3_region],
                        "set region or endpoint in [upload.s3]",
                        "destination = s3 needs a region or an endpoint");
    if (*config->s3_endpoint && strncmp(config->s3_endpoint, "https://", 8) != 0 &&
        strncmp(config->s3_endpoint, "http://", 7) != 0)
        config_complain(loader, &places[CONFIG_INDEX_s3_endpoint],
                        "accepted: https://host, http://host:port", "bad endpoint in [upload.s3]");
    if (!*config->s3_access_key_file != !*config->s3_secret_key_file)
        config_complain(loader,
                        &places[*config->s3_access_key_file ? CONFIG_INDEX_s3_access_key_file
                                                            : CONFIG_INDEX_s3_secret_key_file],
                        *config->s3_access_key_file ? "add secret_key_file" : "add access_key_file",
                        "[upload.s3] has only one of access_key_file and secret_key_file");
}

static bool check_is_tenant(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        bool is_letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z');
        bool is_digit = name[i] >= '0' && name[i] <= '9';
        if (!is_letter && !is_digit && !strchr("!_.*'()-", name[i]))
            return false;
    }
    return len >= 1 && len <= 150 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void check_texts(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const struct config_place *places = loader->places;
    size_t prefix_len = strlen(config->http_api_prefix);

    if (!*config->data_dir || strlen(config->data_dir) > 255)
        config_complain(loader, &places[CONFIG_INDEX_data_dir],
                        "accepted: a directory's path of at most 255 characters",
                        "bad data_dir in [fermata]");
    if (!*config->node_id || strlen(config->node_id) > 63 || strchr(config->node_id, '/'))
        config_complain(loader, &places[CONFIG_INDEX_node_id],
                        "accepted: machine-id, hostname, or a name of at most 63 characters",
                        "bad node_id in [fermata]");
    if (!check_is_tenant(config->upload_tenant))
        config_complain(loader, &places[CONFIG_INDEX_upload_tenant],
                        "accepted: 1 to 150 letters, digits and !_.*'()-",
                        "bad tenant in [upload]");
    if (prefix_len &&
        (config->http_api_prefix[0] != '/' || config->http_api_prefix[prefix_len - 1] == '/'))
        config_complain(loader, &places[CONFIG_INDEX_http_api_prefix],
                        "accepted: empty, or a path like /tempo", "bad http_api_prefix in [query]");
}

static void check_sizes(struct config_loader *loader)
{
    const struct config *config = loader->config;

    if (config->memory_limit < config->max_body_bytes)
        config_complain(loader, &loader->places[CONFIG_INDEX_memory_limit],
                        "raise memory_limit or lower max_body_bytes",
                        "memory_limit in [limits] is smaller than max_body_bytes");
    if (config->max_decompressed_bytes < config->max_body_bytes)
        config_complain(loader, &loader->places[CONFIG_INDEX_max_decompressed_bytes],
                        "raise max_decompressed_bytes or lower max_body_bytes",
                        "max_decompressed_bytes in [limits] is smaller than max_body_bytes");
}

void config_check(struct config_loader *loader)
{
    check_all_ranges(loader);
    check_texts(loader);
    check_sizes(loader);
    check_listeners(loader);
    check_upload(loader);
}
