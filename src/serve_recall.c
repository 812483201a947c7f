/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_recall.h"

#include "fermata/linux.h"
#include "fermata/tools.h"
#include "fermata/units.h"
#include "serve_credentials.h"
#include "serve_upload.h"

int serve_recall_open(struct recall **ret_recall, struct platform *platform, struct store *store,
                      const struct config *config, struct credentials *credentials,
                      const uint8_t *node, struct fm_why *why)
{
    struct bucket *bucket;
    char host[256];
    *ret_recall = NULL;
    if (!config->upload_enabled || !config->recall_enabled)
        return FM_OK;
    int rc = serve_bucket_make(&bucket, platform, config, credentials, why);
    if (rc < 0)
        return rc;
    linux_host_name(host, sizeof host);
    struct recall_options options = {
        .host = host,
        .poll_ns = config->recall_poll_interval,
        .traces_max = (uint32_t)FM_MIN(config->recall_max_traces, RECALL_TRACES_MAX),
        .bytes_max = config->recall_max_bytes,
        .memory_max = config->query_memory,
    };
    memcpy(options.node, node, sizeof options.node);
    rc = recall_new(ret_recall, platform, store, bucket, &options);
    if (rc < 0) {
        (void)bucket->ops->free(bucket);
        return fm_fail(why, rc, "recall: %s", fm_rc_text(rc));
    }
    return FM_OK;
}

/* ---- the verb ---- */

static int recall_bucket_open(struct bucket **ret_bucket, struct platform *platform,
                              const struct config *config, void **ret_owner, struct fm_why *why)
{
    struct credentials *credentials;
    int rc = serve_credentials_new(&credentials, platform, config, why);
    if (rc < 0)
        return rc;
    *ret_owner = credentials;
    return serve_bucket_make(ret_bucket, platform, config, credentials, why);
}

static void recall_bucket_close(void *owner)
{
    if (owner)
        credentials_stop(owner);
}

int serve_recall_main(int argc, char **argv)
{
    static const struct tool_buckets buckets = {recall_bucket_open, recall_bucket_close};
    return tool_recall(argc, argv, &buckets);
}
