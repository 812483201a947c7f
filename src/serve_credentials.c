/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_credentials.h"

#include <stdlib.h>

static const char *credentials_environment(const char *name)
{
    return getenv(name);
}

int serve_credentials_new(struct credentials **ret_credentials, struct platform *platform,
                          const struct config *config, struct fm_why *why)
{
    const struct credentials_options options = {
        .auth = (enum credentials_auth)config->s3_auth,
        .access_key_file = config->s3_access_key_file,
        .secret_key_file = config->s3_secret_key_file,
        .session_token_file = config->s3_session_token_file,
        .shared_file = config->s3_shared_file,
        .profile = config->s3_profile,
        .region = config->s3_region,
        .tls_ca_file = config->s3_tls_ca_file,
        .proxy = config->s3_proxy,
        .proxy_auth_file = config->s3_proxy_auth_file,
        .sts_endpoint = config->s3_sts_endpoint,
        .imds_endpoint = config->s3_imds_endpoint,
        .environment = credentials_environment,
    };
    bool uploads = config->upload_enabled || config->query_backend != CONFIG_BACKEND_LOCAL;
    *ret_credentials = NULL;
    if (config->upload_destination != CONFIG_TO_S3 || options.auth == CREDENTIALS_NONE || !uploads)
        return FM_OK;
    return credentials_new(ret_credentials, platform, &options, why);
}
