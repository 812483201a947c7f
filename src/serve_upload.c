/* SPDX-License-Identifier: Apache-2.0 */
/* Where blocks go: settings become the bucket that they name. */
#include "serve_upload.h"

#include <stdio.h>

#include "fermata/units.h"
#include "serve_cloud.h"

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

static int upload_set_tags(struct s3_storage *storage, struct fm_slice text, struct fm_why *why)
{
    int rc = FM_OK;
    while (text.len && rc == FM_OK) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        struct fm_slice line = fm_slice(text.ptr, end ? (size_t)(end - text.ptr) : text.len);
        size_t used = FM_MIN(line.len + 1, text.len);
        text = fm_slice(text.ptr + used, text.len - used);
        const uint8_t *equals = line.len ? memchr(line.ptr, '=', line.len) : NULL;
        if (line.len && !equals)
            return fm_fail(why, FM_ECONFIG, "a tag is KEY=VALUE");
        if (equals)
            rc = s3_storage_add_tag(
                storage, fm_slice(line.ptr, (size_t)(equals - line.ptr)),
                fm_slice(equals + 1, line.len - (size_t)(equals + 1 - line.ptr)), why);
    }
    return rc;
}

static int upload_set_storage(struct s3_storage *storage, const struct config *config,
                              struct fm_why *why)
{
    static const char *const sse[] = {
        [CONFIG_SSE_NONE] = "", [CONFIG_SSE_AES256] = "AES256", [CONFIG_SSE_KMS] = "aws:kms"};
    (void)snprintf(storage->sse, sizeof storage->sse, "%s", sse[config->s3_sse]);
    if (strlen(config->s3_sse_kms_key_id) >= sizeof storage->sse_kms_key_id ||
        strlen(config->s3_storage_class) >= sizeof storage->storage_class)
        return fm_fail(why, FM_ECONFIG, "sse_kms_key_id or storage_class is too long");
    (void)snprintf(storage->sse_kms_key_id, sizeof storage->sse_kms_key_id, "%s",
                   config->s3_sse_kms_key_id);
    (void)snprintf(storage->storage_class, sizeof storage->storage_class, "%s",
                   config->s3_storage_class);
    return upload_set_tags(storage, fm_slice_text(config->s3_tags), why);
}

static int upload_make_s3(struct bucket **ret_bucket, struct platform *platform,
                          const struct config *config, struct credentials *credentials,
                          struct fm_why *why)
{
    char state_dir[512];
    (void)snprintf(state_dir, sizeof state_dir, "%s/upload", config->data_dir);
    struct bucket_s3_options options = {
        .credentials = credentials,
        .control_prefix = config->upload_control_prefix,
        .proxy = config->s3_proxy,
        .proxy_auth_file = config->s3_proxy_auth_file,
        .tls_ca_file = config->s3_tls_ca_file,
        .interface = config->upload_interface,
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
    rc = upload_set_storage(&options.storage, config, why);
    return rc < 0 ? fm_wrap(why, rc, "upload.s3")
                  : bucket_s3_new(ret_bucket, platform, &options, why);
}

int serve_bucket_make(struct bucket **ret_bucket, struct platform *platform,
                      const struct config *config, struct credentials *credentials,
                      struct fm_why *why)
{
    if (config->upload_destination == CONFIG_TO_DIR)
        return upload_make_dir(ret_bucket, platform, config, why);
    if (config->upload_destination != CONFIG_TO_S3)
        return serve_cloud_make(ret_bucket, platform, config, why);
    return upload_make_s3(ret_bucket, platform, config, credentials, why);
}
