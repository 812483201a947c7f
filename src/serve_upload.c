/* SPDX-License-Identifier: Apache-2.0 */
/* Where blocks go: settings become the bucket that they name. */
#include "serve_upload.h"

#include <stdio.h>

#include "fermata/units.h"

static int upload_make_dir(struct bucket **ret_bucket, struct platform *platform,
                           const struct config *config, struct fm_why *why)
{
    char path[512];
    if (config->upload_dir_path[0])
        (void)snprintf(path, sizeof path, "%s", config->upload_dir_path);
    else
        (void)snprintf(path, sizeof path, "%s/bucket", config->data_dir);
    return bucket_dir_new(ret_bucket, platform, path, why);
}

static int upload_make_s3(struct bucket **ret_bucket, struct platform *platform,
                          const struct config *config, struct fm_why *why)
{
    char state_dir[512];
    (void)snprintf(state_dir, sizeof state_dir, "%s/upload", config->data_dir);
    struct bucket_s3_options options = {
        .access_key_file = config->s3_access_key_file,
        .secret_key_file = config->s3_secret_key_file,
        .session_token_file = config->s3_session_token_file,
        .tls_ca_file = config->s3_tls_ca_file,
        .single_put_max = FM_MIN(FM_MIB(64), 4 * config->upload_multipart_size),
        .part_bytes = config->upload_multipart_size,
        .timeout_ns = config->upload_request_timeout,
        .state_dir = state_dir,
    };
    struct s3_endpoint *endpoint = &options.endpoint;
    (void)snprintf(endpoint->region, sizeof endpoint->region, "%s", config->s3_region);
    (void)snprintf(endpoint->bucket, sizeof endpoint->bucket, "%s", config->s3_bucket);
    (void)snprintf(endpoint->prefix, sizeof endpoint->prefix, "%s", config->s3_prefix);
    endpoint->path_style = config->s3_path_style;
    int rc = s3_endpoint_parse(fm_slice_text(config->s3_endpoint), endpoint, why);
    if (rc < 0)
        return fm_wrap(why, rc, "upload.s3");
    return bucket_s3_new(ret_bucket, platform, &options, why);
}

int serve_bucket_make(struct bucket **ret_bucket, struct platform *platform,
                      const struct config *config, struct fm_why *why)
{
    if (config->upload_destination == CONFIG_TO_DIR)
        return upload_make_dir(ret_bucket, platform, config, why);
    return upload_make_s3(ret_bucket, platform, config, why);
}
