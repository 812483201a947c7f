/* SPDX-License-Identifier: Apache-2.0 */
/* The overrides file: any bytes are refused with a place, or give tenants that can be looked up. */
#include "../../src/daemon/tenants/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tenants_options options = {.default_tenant = TENANT_DEFAULT,
                                            .overrides_file = "f",
                                            .rates = {10, 20, 30, 40},
                                            .active_max = 4};
    struct overrides *overrides = NULL;
    struct fm_buf messages;
    if (size > OVERRIDES_FILE_MAX)
        return 0;
    fm_buf_init(&messages, FM_KIB(64));
    int rc = overrides_new(&overrides, &options, fm_slice(data, size), 1, 0, &messages);
    FM_ASSERT(rc == FM_OK || (rc == FM_ECONFIG && messages.len && !overrides));
    if (rc == FM_OK) {
        const struct overrides_grant *grants;
        FM_ASSERT(!messages.len && overrides->tenant_count);
        for (uint32_t i = 0; i < overrides->tenant_count; i++) {
            struct tenant *tenant = &overrides->tenants[i];
            struct fm_slice name = fm_slice_text(tenant->name);
            FM_ASSERT(tenant_is_valid(name));
            FM_ASSERT(index_find(&overrides->index, tenant->hash, name) == tenant);
            FM_ASSERT(overrides_is_closed(overrides, tenant->hash, name) == tenant->has_identities);
        }
        for (uint32_t i = 0; i < overrides->grant_count; i++) {
            struct net_identity identity = {.kind = overrides->grants[i].kind};
            memcpy(identity.name, overrides->grants[i].name, strlen(overrides->grants[i].name));
            FM_ASSERT(overrides_find(overrides, &identity, &grants) > 0);
        }
    }
    (void)overrides_free(overrides);
    fm_buf_fini(&messages);
    return 0;
}
