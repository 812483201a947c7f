/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_ledger.h"

#include "serve_upload.h"

int serve_manifest_open(struct manifest **ret_manifest, struct platform *platform,
                        const struct store *store, const struct config *config,
                        struct credentials *credentials, const uint8_t node[16], struct fm_why *why)
{
    struct manifest_options options = {.interval_ns = config->upload_manifest_interval};
    struct bucket *bucket;
    *ret_manifest = NULL;
    if (!config->upload_enabled || !options.interval_ns)
        return FM_OK;
    memcpy(options.node, node, sizeof options.node);
    int rc = serve_bucket_make(&bucket, platform, config, credentials, why);
    if (rc < 0)
        return rc;
    rc = manifest_new(ret_manifest, platform, store, bucket, &options);
    if (rc < 0) {
        (void)bucket->ops->free(bucket);
        return fm_fail(why, rc, "manifests: %s", fm_rc_text(rc));
    }
    return FM_OK;
}
