/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_s3 - the bucket itself: options, credentials, connections, what the server can do. */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define CONNECT_TIMEOUT_MAX_NS (10 * FM_NS_PER_S)

static struct bucket_s3 *bucket_s3_of(struct bucket *bucket)
{
    return FM_CONTAINER(bucket, struct bucket_s3, bucket);
}

int64_t bucket_s3_now_s(struct bucket_s3 *s3)
{
    return (int64_t)(pf_wall_ns(s3->platform) / FM_NS_PER_S) + s3->clock_offset_s;
}

/* ---- connections ---- */

static int bucket_s3_connect(struct bucket_s3 *s3, struct s3_client *slot, struct fm_why *why)
{
    if (slot->client && slot->generation != s3->generation)
        slot->client = net_client_free(slot->client);
    if (slot->client)
        return FM_OK;
    s3_endpoint_host(&s3->endpoint, slot->host);
    slot->generation = s3->generation;
    struct net_client_options options = {
        .host = slot->host,
        .port = s3->endpoint.port,
        .tls = strcmp(s3->endpoint.scheme, "https") == 0,
        .tls_ca_file = s3->tls_ca_file,
        .connect_timeout_ns = FM_MIN(s3->timeout_ns, CONNECT_TIMEOUT_MAX_NS),
        .stall_timeout_ns = s3->timeout_ns,
    };
    return net_client_new(&slot->client, s3->platform, &options, why);
}

struct s3_client *bucket_s3_take_client(struct bucket_s3 *s3, struct fm_why *why)
{
    struct s3_client *slot = NULL;
    /* The first free one: with few uploads at work the same connections stay warm. */
    for (size_t i = 0; i < S3_CLIENTS_MAX && !slot; i++)
        if (!s3->clients[i].busy)
            slot = &s3->clients[i];
    if (!slot) {
        (void)fm_fail(why, FM_EUNAVAILABLE, "all %d connections are in use", S3_CLIENTS_MAX);
        return NULL;
    }
    if (bucket_s3_connect(s3, slot, why) < 0)
        return NULL;
    slot->busy = true;
    return slot;
}

void bucket_s3_give_client(struct s3_client *slot)
{
    slot->busy = false;
}

/* ---- credentials ---- */

static int credential_read(struct bucket_s3 *s3, const char *path, struct fm_buf *text,
                           struct fm_why *why)
{
    fm_buf_reset(text);
    if (!path)
        return FM_OK;
    int rc = pf_read_file(s3->platform, path, text, why);
    if (rc < 0)
        return rc;
    size_t lead = 0;
    while (text->len && text->ptr[text->len - 1] <= ' ')
        text->len--;
    while (lead < text->len && text->ptr[lead] <= ' ')
        lead++;
    fm_buf_consume(text, lead);
    return text->len ? FM_OK : fm_fail(why, FM_ECONFIG, "%s is empty", path);
}

int bucket_s3_read_credentials(struct bucket_s3 *s3, struct fm_buf texts[3], struct fm_why *why)
{
    int rc = credential_read(s3, s3->access_key_file, &texts[0], why);
    if (rc == FM_OK)
        rc = credential_read(s3, s3->secret_key_file, &texts[1], why);
    if (rc == FM_OK)
        rc = credential_read(s3, s3->session_token_file, &texts[2], why);
    return rc;
}

static bool credential_swap(struct fm_buf *own, struct fm_buf *fresh)
{
    bool differs = !fm_slice_equal(fm_buf_slice(own), fm_buf_slice(fresh));
    struct fm_buf old = *own;
    *own = *fresh;
    *fresh = old;
    return differs;
}

bool bucket_s3_set_credentials(struct bucket_s3 *s3, struct fm_buf texts[3])
{
    bool differs = credential_swap(&s3->access_key, &texts[0]);
    differs |= credential_swap(&s3->secret_key, &texts[1]);
    differs |= credential_swap(&s3->session_token, &texts[2]);
    s3->has_credentials = true;
    return differs;
}

static void credential_fini(struct fm_buf *text)
{
    if (text->ptr)
        explicit_bzero(text->ptr, text->cap);
    fm_buf_fini(text);
}

/* ---- operations ---- */

static void s3_put(struct bucket *bucket, struct bucket_request *request)
{
    transfer_start_put(bucket_s3_of(bucket), request);
}

static void s3_get(struct bucket *bucket, struct bucket_request *request)
{
    transfer_start_get(bucket_s3_of(bucket), request);
}

static void s3_cancel(struct bucket *bucket, struct bucket_request *request)
{
    (void)bucket;
    if (request->body_private)
        transfer_cancel(request->body_private);
}

static struct bucket *s3_free(struct bucket *bucket)
{
    if (!bucket)
        return NULL;
    struct bucket_s3 *s3 = bucket_s3_of(bucket);
    for (size_t i = 0; i < S3_CLIENTS_MAX; i++)
        if (s3->clients[i].client)
            s3->clients[i].client = net_client_free(s3->clients[i].client);
    while (!fm_list_empty(&s3->uploads)) {
        struct s3_pending_upload *upload =
            FM_CONTAINER(s3->uploads.next, struct s3_pending_upload, link);
        fm_list_remove(&upload->link);
        free(upload);
    }
    credential_fini(&s3->access_key);
    credential_fini(&s3->secret_key);
    credential_fini(&s3->session_token);
    free(s3->access_key_file);
    free(s3->secret_key_file);
    free(s3->session_token_file);
    free(s3->tls_ca_file);
    free(s3->state_dir);
    free(s3);
    return NULL;
}

static void s3_describe(const struct bucket *bucket, char *text, size_t size)
{
    const struct bucket_s3 *s3 = FM_CONTAINER(bucket, const struct bucket_s3, bucket);
    const struct s3_endpoint *endpoint = &s3->endpoint;
    (void)snprintf(text, size, "s3://%s%s%s at %s://%s:%u", endpoint->bucket,
                   endpoint->prefix[0] ? "/" : "", endpoint->prefix, endpoint->scheme,
                   endpoint->host, endpoint->port);
}

static void s3_put_metrics(const struct bucket *bucket, struct fm_buf *out)
{
    const struct bucket_s3 *s3 = FM_CONTAINER(bucket, const struct bucket_s3, bucket);
    metric_family(out, "fermata_upload_clock_offset_seconds", "gauge",
                  "The bucket's clock minus ours, as it told us when it refused a request.");
    metric_line_double(out, "fermata_upload_clock_offset_seconds", NULL,
                       (double)s3->clock_offset_s);
    metric_family(out, "fermata_upload_repairs_total", "counter",
                  "Requests repeated at once with another clock, region or fresh credentials.");
    metric_line(out, "fermata_upload_repairs_total", "kind=\"clock\"",
                metric_get(&s3->clock_repairs));
    metric_line(out, "fermata_upload_repairs_total", "kind=\"region\"",
                metric_get(&s3->region_repairs));
    metric_line(out, "fermata_upload_repairs_total", "kind=\"credentials\"",
                metric_get(&s3->credential_repairs));
    metric_counter(out, "fermata_upload_resumed_parts_total",
                   "Parts of multipart uploads that a retry found on the bucket.",
                   &s3->resumed_parts);
}

/* ---- making one ---- */

/* A copy of text, NULL for NULL and ""; clears *ok without memory. */
static char *text_copy(const char *text, bool *ok)
{
    if (!text || !text[0])
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    else
        *ok = false;
    return copy;
}

static int bucket_s3_set_options(struct bucket_s3 *s3, const struct bucket_s3_options *options,
                                 struct fm_why *why)
{
    bool ok = true;
    s3->access_key_file = text_copy(options->access_key_file, &ok);
    s3->secret_key_file = text_copy(options->secret_key_file, &ok);
    s3->session_token_file = text_copy(options->session_token_file, &ok);
    s3->tls_ca_file = text_copy(options->tls_ca_file, &ok);
    s3->state_dir = text_copy(options->state_dir, &ok);
    if (!ok)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    if (!s3->access_key_file || !s3->secret_key_file)
        return fm_fail(why, FM_ECONFIG, "[upload.s3] needs access_key_file and secret_key_file");
    if (options->part_bytes == 0 || options->timeout_ns == 0)
        return fm_fail(why, FM_ECONFIG, "part size and timeout of S3 must not be zero");
    s3->endpoint = options->endpoint;
    s3->single_put_max = options->single_put_max;
    s3->part_bytes = options->part_bytes;
    s3->timeout_ns = options->timeout_ns;
    return s3->state_dir ? multipart_state_load(s3, why) : FM_OK;
}

int bucket_s3_new(struct bucket **ret_bucket, struct platform *platform,
                  const struct bucket_s3_options *options, struct fm_why *why)
{
    static const struct bucket_ops ops = {
        .put = s3_put,
        .get = s3_get,
        .cancel = s3_cancel,
        .free = s3_free,
        .describe = s3_describe,
        .put_metrics = s3_put_metrics,
    };
    struct bucket_s3 *s3 = calloc(1, sizeof *s3);
    if (!s3)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    s3->bucket.ops = &ops;
    s3->platform = platform;
    s3->use_conditional = s3->use_checksum = s3->use_multipart = true;
    fm_list_init(&s3->uploads);
    fm_buf_init(&s3->access_key, S3_CREDENTIAL_BYTES_MAX);
    fm_buf_init(&s3->secret_key, S3_CREDENTIAL_BYTES_MAX);
    fm_buf_init(&s3->session_token, S3_CREDENTIAL_BYTES_MAX);
    int rc = bucket_s3_set_options(s3, options, why);
    if (rc < 0) {
        (void)s3_free(&s3->bucket);
        return rc;
    }
    *ret_bucket = &s3->bucket;
    return FM_OK;
}
