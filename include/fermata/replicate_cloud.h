/* SPDX-License-Identifier: Apache-2.0 */
/* replicate_cloud - buckets of Azure Blob Storage and Google Cloud Storage.  Part of replicate. */
#ifndef FERMATA_REPLICATE_CLOUD_H
#define FERMATA_REPLICATE_CLOUD_H

#include "fermata/cloud.h"
#include "fermata/replicate.h"

struct bucket_cloud_options {
    struct cloud_place place;
    enum cloud_auth auth;
    /* The account's key, the shared access signature, the federated token, the service account:
     * read again whenever a token is fetched and after every refusal.  NULL: none. */
    const char *secret_file;
    const char *token_url; /* of the authority or the metadata server; NULL: the service's own */
    const char *tenant_id, *client_id; /* Azure; NULL: none */
    const char *tls_ca_file;
    const char *proxy, *proxy_auth_file; /* HTTP, not to metadata servers; NULL or "": none */
    const char *interface;   /* NULL or "": any */
    uint64_t single_put_max; /* bytes; above: in blocks */
    uint64_t block_bytes;
    uint64_t timeout_ns;   /* without progress */
    const char *state_dir; /* sessions, to resume after a restart; NULL: none */
};
FM_MUST int bucket_cloud_new(struct bucket **ret_bucket, struct platform *platform,
                             const struct bucket_cloud_options *options, struct fm_why *why);

#endif
