/* SPDX-License-Identifier: Apache-2.0 */
/* A reader: where the bucket is, who we are there, what is kept, what is counted. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/net.h"
#include "internal.h"

#define READER_TIMEOUT_NS     (10 * FM_NS_PER_S)
#define READER_MEMORY_MAX     FM_MIB(32)
#define READER_LISTING_AGE_NS (30 * FM_NS_PER_S)
#define READER_BLOCK_MAX      1000u
#define READER_CONNECTION_MAX 8u

/* ---- credentials ---- */

static int credential_read(struct bucket_reader *reader, const char *path, char **ret_text,
                           struct fm_why *why)
{
    struct fm_buf text;
    fm_buf_init(&text, BUCKET_CREDENTIAL_MAX);
    int rc = pf_read_file(reader->platform, path, &text, why);
    while (rc == FM_OK && text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    if (rc == FM_OK && !text.len)
        rc = fm_fail(why, FM_EDENIED, "%s is empty", path);
    if (rc == FM_OK) {
        size_t lead = 0;
        while (text.ptr[lead] <= ' ')
            lead++;
        *ret_text = strndup((const char *)text.ptr + lead, text.len - lead);
        rc = *ret_text ? FM_OK : FM_ENOMEM;
    }
    if (text.ptr)
        explicit_bzero(text.ptr, text.cap);
    fm_buf_fini(&text);
    return rc;
}

static void credential_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

int bucket_reader_refresh(struct bucket_reader *reader, struct fm_why *why)
{
    char *fresh[3] = {NULL};
    bool differs = false;
    int rc = FM_OK;
    for (size_t i = 0; i < FM_COUNT(fresh) && rc == FM_OK; i++) {
        if (reader->files[i])
            rc = credential_read(reader, reader->files[i], &fresh[i], why);
    }
    pf_lock(&reader->lock);
    for (size_t i = 0; i < FM_COUNT(fresh) && rc == FM_OK; i++) {
        char *before = reader->texts[i];
        if (!fresh[i])
            continue;
        differs |= !before || strcmp(before, fresh[i]) != 0;
        reader->texts[i] = fresh[i];
        fresh[i] = before;
    }
    pf_unlock(&reader->lock);
    for (size_t i = 0; i < FM_COUNT(fresh); i++)
        credential_free(fresh[i]);
    return rc < 0 ? rc : differs ? FM_OK : FM_NONE;
}

/* ---- life ---- */

static char *text_copy(const char *text, bool *ok)
{
    char *copy = text && text[0] ? strdup(text) : NULL;
    if (text && text[0] && !copy)
        *ok = false;
    return copy;
}

static int reader_set_identity(struct bucket_reader *reader,
                               const struct bucket_reader_options *options, struct fm_why *why)
{
    bool ok = true;
    reader->endpoint = options->endpoint;
    reader->dir = text_copy(options->dir, &ok);
    reader->credentials = options->credentials;
    reader->files[0] = text_copy(options->access_key_file, &ok);
    reader->files[1] = text_copy(options->secret_key_file, &ok);
    reader->files[2] = text_copy(options->session_token_file, &ok);
    reader->texts[0] = text_copy(options->access_key, &ok);
    reader->texts[1] = text_copy(options->secret_key, &ok);
    reader->texts[2] = text_copy(options->session_token, &ok);
    if (!ok)
        return FM_ENOMEM;
    bool has_access = reader->files[0] || reader->texts[0];
    bool has_secret = reader->files[1] || reader->texts[1];
    if (!reader->dir && has_access != has_secret)
        return fm_fail(why, FM_ECONFIG, "the bucket needs an access key and a secret key");
    return FM_OK;
}

static int reader_open(struct bucket_reader *reader, const struct bucket_reader_options *options,
                       struct fm_why *why)
{
    const struct net_fetcher_options fetcher = {
        .tls_ca_file = options->tls_ca_file,
        .connection_max = options->connection_max ? options->connection_max : READER_CONNECTION_MAX,
        .connect_timeout_ns = FM_MIN(reader->timeout_ns, 5 * FM_NS_PER_S),
        .stall_timeout_ns = reader->timeout_ns,
    };
    int rc = reader_set_identity(reader, options, why);
    if (rc == FM_OK && !reader->dir)
        rc = net_fetcher_new(&reader->fetcher, &fetcher, why);
    if (rc == FM_OK && options->cache_dir && options->cache_dir[0] && options->cache_bytes_max)
        rc = bucket_disk_new(&reader->cache.disk, reader->platform, options->cache_dir,
                             options->cache_bytes_max, why);
    if (rc == FM_OK && !reader->dir && reader->files[0])
        rc = bucket_reader_refresh(reader, why);
    if (rc == FM_NONE)
        rc = FM_OK;
    if (rc < 0 && !reader->texts[0] && reader->fetcher && reader->files[0])
        rc = FM_OK; /* the files may come later: requests are refused until then */
    return rc;
}

int bucket_reader_new(struct bucket_reader **ret_reader, struct platform *platform,
                      const struct bucket_reader_options *options, struct fm_why *why)
{
    FM_AUTO(bucket_reader) reader = calloc(1, sizeof *reader);
    if (!reader)
        return FM_ENOMEM;
    reader->platform = platform;
    reader->timeout_ns = options->timeout_ns ? options->timeout_ns : READER_TIMEOUT_NS;
    reader->listing_age_ns =
        options->listing_age_ns ? options->listing_age_ns : READER_LISTING_AGE_NS;
    reader->block_max = options->block_max ? options->block_max : READER_BLOCK_MAX;
    reader->lock = PF_LOCK_INIT;
    bucket_cache_init(&reader->cache, options->memory_max ? options->memory_max : READER_MEMORY_MAX,
                      pf_random_u64(platform));
    int rc = reader_open(reader, options, why);
    if (rc < 0)
        return rc;
    *ret_reader = fm_take(reader);
    return FM_OK;
}

struct bucket_reader *bucket_reader_free(struct bucket_reader *reader)
{
    if (!reader)
        return NULL;
    reader->fetcher = net_fetcher_free(reader->fetcher);
    for (size_t i = 0; i < BUCKET_LISTINGS_MAX; i++)
        bucket_listing_release(reader->listings[i]);
    bucket_cache_fini(&reader->cache);
    for (size_t i = 0; i < FM_COUNT(reader->files); i++) {
        free(reader->files[i]);
        credential_free(reader->texts[i]);
    }
    free(reader->dir);
    free(reader);
    return NULL;
}

/* ---- metrics ---- */

static void reader_put_cache_line(struct fm_buf *out, const char *kind, const char *where,
                                  uint64_t value)
{
    char labels[64];
    (void)snprintf(labels, sizeof labels, "kind=\"%s\",found=\"%s\"", kind, where);
    metric_line(out, "fermata_bucket_lookups_total", labels, value);
}

static void reader_put_cache(const struct bucket_reader *reader, struct fm_buf *out)
{
    static const char *const kinds[] = {[BUCKET_META] = "meta",
                                        [BUCKET_BLOOM] = "bloom",
                                        [BUCKET_FOOTER] = "footer",
                                        [BUCKET_DATA] = "data"};
    const struct bucket_cache *cache = &reader->cache;
    metric_family(out, "fermata_bucket_lookups_total", "counter",
                  "Pieces of the bucket that queries needed, by where they were found.");
    for (size_t i = 0; i < BUCKET_KIND_COUNT; i++) {
        reader_put_cache_line(out, kinds[i], "memory", metric_get(&cache->hits[i]));
        reader_put_cache_line(out, kinds[i], "disk", metric_get(&cache->disk_hits[i]));
        reader_put_cache_line(out, kinds[i], "bucket", metric_get(&cache->misses[i]));
    }
    metric_gauge(out, "fermata_bucket_memory_bytes", "Pieces of the bucket kept in memory.",
                 metric_get(&cache->bytes));
    metric_gauge(out, "fermata_bucket_disk_bytes", "Pieces of the bucket kept on disk.",
                 bucket_disk_bytes(cache->disk));
    metric_family(out, "fermata_bucket_evicted_total", "counter",
                  "Pieces of the bucket that gave way to others.");
    metric_line(out, "fermata_bucket_evicted_total", "from=\"memory\"",
                metric_get(&cache->evicted));
    metric_line(out, "fermata_bucket_evicted_total", "from=\"disk\"",
                bucket_disk_evicted(cache->disk));
}

void bucket_reader_put_metrics(const struct bucket_reader *reader, struct fm_buf *out)
{
    metric_counter(out, "fermata_bucket_requests_total", "Requests to the bucket for queries.",
                   &reader->requests);
    metric_counter(out, "fermata_bucket_retries_total", "Of these: sent again.", &reader->retries);
    metric_family(out, "fermata_bucket_failures_total", "counter",
                  "Pieces of the bucket that could not be had.");
    metric_line(out, "fermata_bucket_failures_total", "reason=\"denied\"",
                metric_get(&reader->refused));
    metric_line(out, "fermata_bucket_failures_total", "reason=\"other\"",
                metric_get(&reader->failures));
    metric_counter(out, "fermata_bucket_read_bytes_total", "Bytes that the bucket sent.",
                   &reader->bytes);
    metric_counter(out, "fermata_bucket_read_ahead_bytes_total",
                   "Of these: asked for before they were needed.", &reader->read_ahead_bytes);
    metric_counter(out, "fermata_bucket_listings_total", "Listings of a tenant's blocks.",
                   &reader->listings_made);
    metric_counter(out, "fermata_bucket_indexes_total", "Of these: Tempo's index was enough.",
                   &reader->indexes_used);
    metric_histogram_put(out, "fermata_bucket_request_seconds",
                         "Pieces of the bucket, retries included.", &reader->seconds);
    reader_put_cache(reader, out);
}
