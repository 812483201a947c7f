/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and the environment become a bucket of Azure or Google. */
#include "serve_cloud.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/replicate_cloud.h"

/* What is set, or else what the environment says, or else NULL. */
static const char *cloud_setting(const char *value, const char *variable)
{
    const char *text = value[0] || !variable ? value : getenv(variable);
    return text && text[0] ? text : NULL;
}

static int cloud_copy(char *target, size_t size, const char *value, const char *name,
                      struct fm_why *why)
{
    if (strlen(value) >= size)
        return fm_fail(why, FM_ECONFIG, "%s has %zu characters", name, strlen(value));
    memcpy(target, value, strlen(value) + 1);
    return FM_OK;
}

static int cloud_set_place(struct cloud_place *place, const char *bucket, const char *prefix,
                           const char *control_prefix, const char *endpoint, struct fm_why *why)
{
    int rc = cloud_copy(place->bucket, sizeof place->bucket, bucket, "the bucket's name", why);
    if (rc == FM_OK)
        rc = cloud_copy(place->prefix, sizeof place->prefix, prefix, "prefix", why);
    if (rc == FM_OK)
        rc = cloud_copy(place->control_prefix, sizeof place->control_prefix, control_prefix,
                        "control_prefix", why);
    return rc == FM_OK ? cloud_place_set(place, endpoint, why) : rc;
}

static int cloud_set_azure(struct bucket_cloud_options *options, const struct config *config,
                           struct fm_why *why)
{
    static const enum cloud_auth auths[] = {
        [CONFIG_AZURE_SHARED_KEY] = CLOUD_AUTH_SHARED_KEY,
        [CONFIG_AZURE_SAS] = CLOUD_AUTH_SAS,
        [CONFIG_AZURE_WORKLOAD] = CLOUD_AUTH_WORKLOAD,
        [CONFIG_AZURE_MANAGED] = CLOUD_AUTH_MANAGED,
    };
    options->place.kind = CLOUD_AZURE;
    options->auth = auths[config->azure_auth];
    options->tls_ca_file = config->azure_tls_ca_file;
    options->proxy = config->azure_proxy;
    options->proxy_auth_file = config->azure_proxy_auth_file;
    options->token_url = cloud_setting(config->azure_token_endpoint, NULL);
    options->client_id = cloud_setting(config->azure_client_id, NULL);
    switch (options->auth) {
    case CLOUD_AUTH_SHARED_KEY:
        options->secret_file = config->azure_account_key_file;
        break;
    case CLOUD_AUTH_SAS:
        options->secret_file = config->azure_sas_token_file;
        break;
    case CLOUD_AUTH_WORKLOAD:
        options->secret_file =
            cloud_setting(config->azure_federated_token_file, "AZURE_FEDERATED_TOKEN_FILE");
        options->tenant_id = cloud_setting(config->azure_tenant_id, "AZURE_TENANT_ID");
        options->client_id = cloud_setting(config->azure_client_id, "AZURE_CLIENT_ID");
        options->token_url = cloud_setting(config->azure_token_endpoint, "AZURE_AUTHORITY_HOST");
        break;
    default:
        break;
    }
    int rc = cloud_copy(options->place.account, sizeof options->place.account,
                        config->azure_account, "account", why);
    return rc == FM_OK
               ? cloud_set_place(&options->place, config->azure_container, config->azure_prefix,
                                 config->upload_control_prefix, config->azure_endpoint, why)
               : rc;
}

static int cloud_set_gcs(struct bucket_cloud_options *options, const struct config *config,
                         struct fm_why *why)
{
    static const enum cloud_auth auths[] = {
        [CONFIG_GCS_SERVICE_ACCOUNT] = CLOUD_AUTH_SERVICE_ACCOUNT,
        [CONFIG_GCS_METADATA] = CLOUD_AUTH_METADATA,
        [CONFIG_GCS_NONE] = CLOUD_AUTH_NONE,
    };
    options->place.kind = CLOUD_GCS;
    options->auth = auths[config->gcs_auth];
    options->tls_ca_file = config->gcs_tls_ca_file;
    options->proxy = config->gcs_proxy;
    options->proxy_auth_file = config->gcs_proxy_auth_file;
    if (options->auth == CLOUD_AUTH_METADATA)
        options->token_url = cloud_setting(config->gcs_metadata_endpoint, NULL);
    if (options->auth == CLOUD_AUTH_SERVICE_ACCOUNT)
        options->secret_file =
            cloud_setting(config->gcs_service_account_file, "GOOGLE_APPLICATION_CREDENTIALS");
    return cloud_set_place(&options->place, config->gcs_bucket, config->gcs_prefix,
                           config->upload_control_prefix, config->gcs_endpoint, why);
}

int serve_cloud_make(struct bucket **ret_bucket, struct platform *platform,
                     const struct config *config, struct fm_why *why)
{
    bool is_azure = config->upload_destination == CONFIG_TO_AZURE;
    char state_dir[512];
    (void)snprintf(state_dir, sizeof state_dir, "%s/upload", config->data_dir);
    struct bucket_cloud_options options = {
        .single_put_max = config->upload_multipart_size,
        .block_bytes = config->upload_multipart_size,
        .timeout_ns = config->upload_request_timeout,
        .interface = config->upload_interface,
        .state_dir = state_dir,
    };
    int rc =
        is_azure ? cloud_set_azure(&options, config, why) : cloud_set_gcs(&options, config, why);
    if (rc == FM_OK)
        rc = bucket_cloud_new(ret_bucket, platform, &options, why);
    return rc < 0 ? fm_wrap(why, rc, is_azure ? "upload.azure" : "upload.gcs") : FM_OK;
}
