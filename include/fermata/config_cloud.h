/* SPDX-License-Identifier: Apache-2.0 */
/* config_cloud - the rows of [upload.azure] and [upload.gcs] in the table of settings.  Part of
 * config; see config_keys.h.
 */
#ifndef FERMATA_CONFIG_CLOUD_H
#define FERMATA_CONFIG_CLOUD_H

#define CONFIG_CLOUD(X)                                                                            \
    X(TEXT, "upload.azure", "account", azure_account, "", "the storage account")                   \
    X(TEXT, "upload.azure", "container", azure_container, "", "")                                  \
    X(TEXT, "upload.azure", "prefix", azure_prefix, "", "")                                        \
    X(TEXT, "upload.azure", "endpoint", azure_endpoint, "",                                        \
      "URL; empty: the account's at blob.core.windows.net")                                        \
    X(CHOICE, "upload.azure", "auth", azure_auth, "shared_key",                                    \
      "shared_key, sas, workload_identity or managed_identity")                                    \
    X(TEXT, "upload.azure", "account_key_file", azure_account_key_file, "", "of shared_key")       \
    X(TEXT, "upload.azure", "sas_token_file", azure_sas_token_file, "", "of sas")                  \
    X(TEXT, "upload.azure", "federated_token_file", azure_federated_token_file, "",                \
      "of workload_identity; empty: AZURE_FEDERATED_TOKEN_FILE")                                   \
    X(TEXT, "upload.azure", "tenant_id", azure_tenant_id, "",                                      \
      "of workload_identity; empty: AZURE_TENANT_ID")                                              \
    X(TEXT, "upload.azure", "client_id", azure_client_id, "",                                      \
      "of workload_identity (empty: AZURE_CLIENT_ID), or which managed_identity")                  \
    X(TEXT, "upload.azure", "token_endpoint", azure_token_endpoint, "",                            \
      "URL; empty: AZURE_AUTHORITY_HOST, or login.microsoftonline.com; 169.254.169.254")           \
    X(TEXT, "upload.azure", "tls_ca_file", azure_tls_ca_file, "", "empty: the system's store")     \
    X(TEXT, "upload.azure", "proxy", azure_proxy, "", "host:port of an HTTP proxy; empty: none")   \
    X(TEXT, "upload.azure", "proxy_auth_file", azure_proxy_auth_file, "",                          \
      "one line USER:PASSWORD for it, read before the first request")                              \
    X(TEXT, "upload.gcs", "bucket", gcs_bucket, "", "")                                            \
    X(TEXT, "upload.gcs", "prefix", gcs_prefix, "", "")                                            \
    X(TEXT, "upload.gcs", "endpoint", gcs_endpoint, "", "URL; empty: storage.googleapis.com")      \
    X(CHOICE, "upload.gcs", "auth", gcs_auth, "service_account",                                   \
      "service_account, metadata or none")                                                         \
    X(TEXT, "upload.gcs", "service_account_file", gcs_service_account_file, "",                    \
      "its key, JSON; empty: GOOGLE_APPLICATION_CREDENTIALS")                                      \
    X(TEXT, "upload.gcs", "metadata_endpoint", gcs_metadata_endpoint, "",                          \
      "URL; empty: metadata.google.internal")                                                      \
    X(TEXT, "upload.gcs", "tls_ca_file", gcs_tls_ca_file, "", "empty: the system's store")         \
    X(TEXT, "upload.gcs", "proxy", gcs_proxy, "", "host:port of an HTTP proxy; empty: none")       \
    X(TEXT, "upload.gcs", "proxy_auth_file", gcs_proxy_auth_file, "",                              \
      "one line USER:PASSWORD for it, read before the first request")

#endif
