/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for [upload.azure] and [upload.gcs].  What may come from the environment is looked at when
 * the bucket is made. */
#include "internal.h"

#include <stdio.h>

static void check_need(struct config_loader *loader, unsigned index, const char *value,
                       const char *reason)
{
    const struct config_key *key = &config_keys[index];
    char cure[80];

    if (*value)
        return;
    (void)snprintf(cure, sizeof cure, "set %s in [%s]", key->key, key->section);
    config_complain(loader, &loader->places[CONFIG_INDEX_upload_destination], cure,
                    "%s needs \"%s\" in [%s]", reason, key->key, key->section);
}

static void check_url(struct config_loader *loader, unsigned index, const char *url)
{
    const struct config_key *key = &config_keys[index];

    if (*url && strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
        config_complain(loader, &loader->places[index], "accepted: https://host, http://host:port",
                        "bad %s in [%s]", key->key, key->section);
}

static void check_azure(struct config_loader *loader)
{
    const struct config *config = loader->config;

    check_need(loader, CONFIG_INDEX_azure_account, config->azure_account, "destination = azure");
    check_need(loader, CONFIG_INDEX_azure_container, config->azure_container,
               "destination = azure");
    if (config->azure_auth == CONFIG_AZURE_SHARED_KEY)
        check_need(loader, CONFIG_INDEX_azure_account_key_file, config->azure_account_key_file,
                   "auth = shared_key");
    if (config->azure_auth == CONFIG_AZURE_SAS)
        check_need(loader, CONFIG_INDEX_azure_sas_token_file, config->azure_sas_token_file,
                   "auth = sas");
    check_url(loader, CONFIG_INDEX_azure_endpoint, config->azure_endpoint);
    check_url(loader, CONFIG_INDEX_azure_token_endpoint, config->azure_token_endpoint);
}

static void check_gcs(struct config_loader *loader)
{
    const struct config *config = loader->config;

    check_need(loader, CONFIG_INDEX_gcs_bucket, config->gcs_bucket, "destination = gcs");
    check_url(loader, CONFIG_INDEX_gcs_endpoint, config->gcs_endpoint);
    check_url(loader, CONFIG_INDEX_gcs_metadata_endpoint, config->gcs_metadata_endpoint);
}

void config_check_cloud(struct config_loader *loader)
{
    const struct config *config = loader->config;
    bool is_azure = config->upload_destination == CONFIG_TO_AZURE;
    bool is_gcs = config->upload_destination == CONFIG_TO_GCS;

    if (!is_azure && !is_gcs)
        return;
    if (config->query_backend != CONFIG_BACKEND_LOCAL)
        config_complain(loader, &loader->places[CONFIG_INDEX_query_backend],
                        "set backend = local in [query]; Tempo reads the bucket",
                        "fermata reads its own blocks, dir and s3, not destination = %s",
                        is_azure ? "azure" : "gcs");
    if (is_azure && config->upload_enabled)
        check_azure(loader);
    if (is_gcs && config->upload_enabled)
        check_gcs(loader);
}
