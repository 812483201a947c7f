/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_cloud - the bucket itself: options, connections, clock, metrics. */
#include "bucket_cloud.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define CONNECT_TIMEOUT_MAX_NS (10 * FM_NS_PER_S)

static struct bucket_cloud *bucket_cloud_of(struct bucket *bucket)
{
    return FM_CONTAINER(bucket, struct bucket_cloud, bucket);
}

/* ---- connections ---- */

struct cloud_client *bucket_cloud_take_client(struct bucket_cloud *cloud, struct fm_why *why)
{
    struct cloud_client *slot = NULL;
    /* The first free one: with few uploads at work the same connections stay warm. */
    for (size_t i = 0; i < CLOUD_CLIENTS_MAX && !slot; i++)
        if (!cloud->clients[i].busy)
            slot = &cloud->clients[i];
    if (!slot) {
        (void)fm_fail(why, FM_EUNAVAILABLE, "all %d connections are in use", CLOUD_CLIENTS_MAX);
        return NULL;
    }
    const struct net_client_options options = {
        .host = cloud->place.url.host,
        .port = cloud->place.url.port,
        .tls = strcmp(cloud->place.url.scheme, "https") == 0,
        .tls_ca_file = cloud->tls_ca_file,
        .interface = cloud->interface,
        .proxy = cloud->proxy,
        .proxy_auth_file = cloud->proxy_auth_file,
        .connect_timeout_ns = FM_MIN(cloud->timeout_ns, CONNECT_TIMEOUT_MAX_NS),
        .stall_timeout_ns = cloud->timeout_ns,
    };
    if (!slot->client && net_client_new(&slot->client, cloud->platform, &options, why) < 0)
        return NULL;
    slot->busy = true;
    return slot;
}

/* ---- operations ---- */

static void bucket_cloud_put(struct bucket *bucket, struct bucket_request *request)
{
    cloud_transfer_start_put(bucket_cloud_of(bucket), request);
}

static void bucket_cloud_get(struct bucket *bucket, struct bucket_request *request)
{
    cloud_transfer_start_get(bucket_cloud_of(bucket), request);
}

static void bucket_cloud_list(struct bucket *bucket, struct bucket_request *request)
{
    cloud_transfer_start_list(bucket_cloud_of(bucket), request);
}

static void bucket_cloud_cancel(struct bucket *bucket, struct bucket_request *request)
{
    (void)bucket;
    if (request->body_private)
        cloud_transfer_cancel(request->body_private);
}

static struct bucket *bucket_cloud_free(struct bucket *bucket)
{
    if (!bucket)
        return NULL;
    struct bucket_cloud *cloud = bucket_cloud_of(bucket);
    for (size_t i = 0; i < CLOUD_CLIENTS_MAX; i++)
        if (cloud->clients[i].client)
            cloud->clients[i].client = net_client_free(cloud->clients[i].client);
    while (!fm_list_empty(&cloud->sessions)) {
        struct cloud_session *session =
            FM_CONTAINER(cloud->sessions.next, struct cloud_session, link);
        fm_list_remove(&session->link);
        free(session);
    }
    cloud_access_fini(&cloud->access);
    free(cloud->tls_ca_file);
    free(cloud->interface);
    free(cloud->proxy);
    free(cloud->proxy_auth_file);
    free(cloud->state_dir);
    free(cloud);
    return NULL;
}

static void bucket_cloud_describe(const struct bucket *bucket, char *text, size_t size)
{
    const struct bucket_cloud *cloud = FM_CONTAINER(bucket, const struct bucket_cloud, bucket);
    const struct cloud_place *place = &cloud->place;
    (void)snprintf(text, size, "%s://%s%s%s at %s://%s:%u",
                   place->kind == CLOUD_AZURE ? "azure" : "gs", place->bucket,
                   place->prefix[0] ? "/" : "", place->prefix, place->url.scheme, place->url.host,
                   place->url.port);
}

static void bucket_cloud_put_metrics(const struct bucket *bucket, struct fm_buf *out)
{
    const struct bucket_cloud *cloud = FM_CONTAINER(bucket, const struct bucket_cloud, bucket);
    bucket_clock_put_metrics(&cloud->clock, out);
    metric_family(out, "fermata_upload_repairs_total", "counter",
                  "Requests repeated at once with another clock, region or fresh credentials.");
    metric_line(out, "fermata_upload_repairs_total", "kind=\"clock\"",
                metric_get(&cloud->clock_repairs));
    metric_line(out, "fermata_upload_repairs_total", "kind=\"credentials\"",
                metric_get(&cloud->credential_repairs));
    metric_counter(out, "fermata_upload_resumed_parts_total",
                   "Parts of multipart uploads that a retry found on the bucket.",
                   &cloud->resumed_parts);
    cloud_access_put_metrics(&cloud->access, out);
}

/* ---- making one ---- */

char *cloud_text_copy(const char *text, bool *ok)
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

static int bucket_cloud_set_options(struct bucket_cloud *cloud,
                                    const struct bucket_cloud_options *options, struct fm_why *why)
{
    bool ok = true;
    int rc = cloud_access_init(&cloud->access, cloud->platform, options, &cloud->clock, why);
    if (rc < 0)
        return rc;
    cloud->tls_ca_file = cloud_text_copy(options->tls_ca_file, &ok);
    cloud->interface = cloud_text_copy(options->interface, &ok);
    cloud->proxy = cloud_text_copy(options->proxy, &ok);
    cloud->proxy_auth_file = cloud_text_copy(options->proxy_auth_file, &ok);
    cloud->state_dir = cloud_text_copy(options->state_dir, &ok);
    if (!ok)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    if (options->block_bytes == 0 || options->timeout_ns == 0)
        return fm_fail(why, FM_ECONFIG, "block size and timeout must not be zero");
    cloud->place = options->place;
    cloud->single_put_max = options->single_put_max;
    cloud->block_bytes = options->block_bytes;
    cloud->timeout_ns = options->timeout_ns;
    bool has_state = cloud->state_dir && cloud->place.kind == CLOUD_GCS;
    return has_state ? cloud_state_load(cloud, why) : FM_OK;
}

int bucket_cloud_new(struct bucket **ret_bucket, struct platform *platform,
                     const struct bucket_cloud_options *options, struct fm_why *why)
{
    static const struct bucket_ops ops = {
        .put = bucket_cloud_put,
        .get = bucket_cloud_get,
        .list = bucket_cloud_list,
        .cancel = bucket_cloud_cancel,
        .free = bucket_cloud_free,
        .describe = bucket_cloud_describe,
        .put_metrics = bucket_cloud_put_metrics,
        .has_wire = true,
    };
    struct bucket_cloud *cloud = calloc(1, sizeof *cloud);
    if (!cloud)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    cloud->bucket.ops = &ops;
    cloud->platform = cloud->clock.platform = platform;
    fm_list_init(&cloud->sessions);
    int rc = bucket_cloud_set_options(cloud, options, why);
    if (rc < 0) {
        (void)bucket_cloud_free(&cloud->bucket);
        return rc;
    }
    *ret_bucket = &cloud->bucket;
    return FM_OK;
}
