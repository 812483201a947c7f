/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_s3 - the bucket itself: options, connections, what the server can do. */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define CONNECT_TIMEOUT_MAX_NS (10 * FM_NS_PER_S)

static struct bucket_s3 *bucket_s3_of(struct bucket *bucket)
{
    return FM_CONTAINER(bucket, struct bucket_s3, bucket);
}

struct s3_endpoint bucket_s3_endpoint(const struct bucket_s3 *s3,
                                      const struct bucket_request *request)
{
    struct s3_endpoint endpoint = s3->endpoint;
    if (request->is_control)
        memcpy(endpoint.prefix, s3->control_prefix, sizeof endpoint.prefix);
    return endpoint;
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
        .interface = s3->interface,
        .proxy = s3->proxy,
        .proxy_auth_file = s3->proxy_auth_file,
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

/* ---- operations ---- */

static void s3_put(struct bucket *bucket, struct bucket_request *request)
{
    transfer_start_put(bucket_s3_of(bucket), request);
}

static void s3_get(struct bucket *bucket, struct bucket_request *request)
{
    transfer_start_get(bucket_s3_of(bucket), request);
}

static void s3_list(struct bucket *bucket, struct bucket_request *request)
{
    transfer_start_list(bucket_s3_of(bucket), request);
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
    free(s3->tls_ca_file);
    free(s3->interface);
    free(s3->proxy);
    free(s3->proxy_auth_file);
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
    bucket_clock_put_metrics(&s3->clock, out);
    if (s3->credentials)
        credentials_put_metrics(s3->credentials, out);
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

/* Without slashes around it. */
static int bucket_s3_set_control(struct bucket_s3 *s3, const char *prefix, struct fm_why *why)
{
    prefix += strspn(prefix, "/");
    size_t len = strlen(prefix);
    while (len && prefix[len - 1] == '/')
        len--;
    if (len >= sizeof s3->control_prefix)
        return fm_fail(why, FM_ECONFIG, "the control prefix is too long");
    memcpy(s3->control_prefix, prefix, len);
    s3->control_prefix[len] = '\0';
    size_t own = strlen(s3->endpoint.prefix);
    /* A reader takes every first name below the prefix for a tenant. */
    if (len && own && strncmp(s3->control_prefix, s3->endpoint.prefix, own) == 0 &&
        (s3->control_prefix[own] == '/' || s3->control_prefix[own] == '\0'))
        return fm_fail(why, FM_ECONFIG, "the control prefix must not be below the prefix");
    return FM_OK;
}

static int bucket_s3_set_options(struct bucket_s3 *s3, const struct bucket_s3_options *options,
                                 struct fm_why *why)
{
    bool ok = true;
    s3->tls_ca_file = text_copy(options->tls_ca_file, &ok);
    s3->interface = text_copy(options->interface, &ok);
    s3->proxy = text_copy(options->proxy, &ok);
    s3->proxy_auth_file = text_copy(options->proxy_auth_file, &ok);
    s3->state_dir = text_copy(options->state_dir, &ok);
    if (!ok)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    if (options->part_bytes == 0 || options->timeout_ns == 0)
        return fm_fail(why, FM_ECONFIG, "part size and timeout of S3 must not be zero");
    s3->credentials = options->credentials;
    s3->storage = options->storage;
    s3->endpoint = options->endpoint;
    s3->single_put_max = options->single_put_max;
    s3->part_bytes = options->part_bytes;
    s3->timeout_ns = options->timeout_ns;
    int rc =
        options->control_prefix ? bucket_s3_set_control(s3, options->control_prefix, why) : FM_OK;
    return rc == FM_OK && s3->state_dir ? multipart_state_load(s3, why) : rc;
}

int bucket_s3_new(struct bucket **ret_bucket, struct platform *platform,
                  const struct bucket_s3_options *options, struct fm_why *why)
{
    static const struct bucket_ops ops = {
        .put = s3_put,
        .get = s3_get,
        .list = s3_list,
        .cancel = s3_cancel,
        .free = s3_free,
        .describe = s3_describe,
        .put_metrics = s3_put_metrics,
        .has_wire = true,
    };
    struct bucket_s3 *s3 = calloc(1, sizeof *s3);
    if (!s3)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    s3->bucket.ops = &ops;
    s3->platform = s3->clock.platform = platform;
    s3->use_conditional = s3->use_checksum = s3->use_multipart = true;
    fm_list_init(&s3->uploads);
    int rc = bucket_s3_set_options(s3, options, why);
    if (rc < 0) {
        (void)s3_free(&s3->bucket);
        return rc;
    }
    *ret_bucket = &s3->bucket;
    return FM_OK;
}
