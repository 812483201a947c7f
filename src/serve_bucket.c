/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket that queries read is the one that blocks go to. */
#include "serve_bucket.h"

#include <stdio.h>

#include "fermata/linux.h"
#include "fermata/units.h"

#define BUCKET_TIMEOUT_MAX_NS  (10 * FM_NS_PER_S) /* of a request; somebody waits */
#define QUERY_THREADS_AUTO_MAX 2u /* more are worth their memory only if asked for */

static int serve_bucket_set_endpoint(struct s3_endpoint *endpoint, const struct config *config,
                                     struct fm_why *why)
{
    (void)snprintf(endpoint->region, sizeof endpoint->region, "%s", config->s3_region);
    (void)snprintf(endpoint->bucket, sizeof endpoint->bucket, "%s", config->s3_bucket);
    (void)snprintf(endpoint->prefix, sizeof endpoint->prefix, "%s", config->s3_prefix);
    endpoint->path_style = config->s3_path_style;
    int rc = s3_endpoint_parse(fm_slice_text(config->s3_endpoint), endpoint, why);
    return rc < 0 ? fm_wrap(why, rc, "upload.s3") : FM_OK;
}

unsigned serve_query_threads(const struct config *config)
{
    return config->query_threads ? (unsigned)config->query_threads
                                 : FM_MIN(linux_processor_count(), QUERY_THREADS_AUTO_MAX);
}

int serve_bucket_new(struct bucket_reader **ret_reader, struct platform *platform,
                     const struct config *config, struct credentials *credentials,
                     struct fm_why *why)
{
    char dir[512], cache[512];
    struct bucket_reader_options options = {
        .credentials = credentials,
        .tls_ca_file = config->s3_tls_ca_file,
        .connection_max = (uint32_t)FM_MAX(config->query_concurrency, serve_query_threads(config)),
        .timeout_ns = FM_MIN(config->upload_request_timeout, BUCKET_TIMEOUT_MAX_NS),
        .memory_max = (size_t)config->query_bucket_memory,
        .cache_bytes_max = config->query_bucket_cache,
        .block_max = (uint32_t)FM_MIN(config->query_bucket_blocks, UINT32_MAX),
    };
    int rc = FM_OK;

    *ret_reader = NULL;
    if (config->query_backend == CONFIG_BACKEND_LOCAL)
        return FM_OK;
    if (config->upload_destination == CONFIG_TO_DIR) {
        if (config->upload_dir_path[0])
            (void)snprintf(dir, sizeof dir, "%s", config->upload_dir_path);
        else
            (void)snprintf(dir, sizeof dir, "%s/bucket", config->data_dir);
        options.dir = dir;
    } else {
        (void)snprintf(cache, sizeof cache, "%s/bucket-cache", config->data_dir);
        options.cache_dir = cache;
        rc = serve_bucket_set_endpoint(&options.endpoint, config, why);
    }
    return rc < 0 ? rc : bucket_reader_new(ret_reader, platform, &options, why);
}
