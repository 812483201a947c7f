/* SPDX-License-Identifier: Apache-2.0 */
/* What settings must say together, and within which bounds each makes sense.  Every message names
 * the key and the cure. */
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
    {CONFIG_INDEX_storage_merge_below, 0, FM_MIB(1024)},
    {CONFIG_INDEX_storage_scrub_rate, FM_KIB(64), FM_MIB(1024)},
    {CONFIG_INDEX_future_tolerance, 60 * FM_NS_PER_S, 3650 * CHECK_DAY_NS},
    {CONFIG_INDEX_upload_concurrency, 1, 64},
    {CONFIG_INDEX_upload_burst, FM_KIB(16), FM_MIB(1024)},
    {CONFIG_INDEX_upload_month_begins, 1, 28},
    {CONFIG_INDEX_upload_backlog_age, 0, 365 * CHECK_DAY_NS},
    {CONFIG_INDEX_upload_request_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_upload_retry_max_interval, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_upload_multipart_size, FM_MIB(5), FM_MIB(5120)}, /* S3: 5 MiB to 5 GiB */
    {CONFIG_INDEX_query_concurrency, 1, 256},
    {CONFIG_INDEX_query_threads, 0, 16},
    {CONFIG_INDEX_query_timeout, FM_NS_PER_MS, CHECK_DAY_NS},
    {CONFIG_INDEX_query_memory, FM_MIB(8), FM_MIB(1) << 20},
    {CONFIG_INDEX_query_search_range, FM_NS_PER_S, 3650 * CHECK_DAY_NS},
    {CONFIG_INDEX_query_metrics_range, FM_NS_PER_S, 3650 * CHECK_DAY_NS},
    {CONFIG_INDEX_query_series, 0, 1000000},
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

static void check_upload(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const struct ini_place *places = loader->places;

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
    if (*config->s3_sse_kms_key_id && config->s3_sse != CONFIG_SSE_KMS)
        config_complain(loader, &places[CONFIG_INDEX_s3_sse_kms_key_id], "set sse = kms",
                        "[upload.s3] has sse_kms_key_id without sse = kms");
}

int config_quota(const struct config *config, uint64_t *ret_bytes, unsigned *ret_percent)
{
    struct fm_slice text = fm_slice_text(config->storage_quota);
    uint64_t percent;

    *ret_percent = 0;
    if (!text.len || text.ptr[text.len - 1] != '%')
        return fm_bytes_parse(text, ret_bytes);
    int rc = fm_u64_parse(fm_slice(text.ptr, text.len - 1), &percent);
    if (rc < 0 || percent < 1 || percent > 100)
        return rc < 0 ? rc : FM_EMALFORMED;
    *ret_percent = (unsigned)percent;
    *ret_bytes = config->storage_quota_max;
    return FM_OK;
}

static void check_storage(struct config_loader *loader)
{
    uint64_t bytes;
    unsigned percent;

    if (config_quota(loader->config, &bytes, &percent) < 0)
        config_complain(loader, &loader->places[CONFIG_INDEX_storage_quota],
                        "accepted: bytes, 20GiB, or a share of the file system, 1% to 100%",
                        "bad quota in [storage]");
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
    const struct ini_place *places = loader->places;
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
    config_check_listeners(loader);
    config_check_exporters(loader);
    config_check_processors(loader);
    config_check_upload_windows(loader);
    config_check_cloud(loader);
    config_check_sampling(loader);
    check_storage(loader);
    check_upload(loader);
}
