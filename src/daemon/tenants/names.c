/* SPDX-License-Identifier: Apache-2.0 */
/* The index of tenants by name. */
#include <stdlib.h>

#include "internal.h"

int index_init(struct tenant_index *index, uint32_t tenant_max)
{
    uint32_t head_count = 16;

    while (head_count < tenant_max)
        head_count *= 2;
    *index = (struct tenant_index){.heads = calloc(head_count, sizeof(struct tenant *)),
                                   .head_count = head_count};
    return index->heads ? FM_OK : FM_ENOMEM;
}

void index_fini(struct tenant_index *index)
{
    free(index->heads);
    *index = (struct tenant_index){0};
}

static struct tenant **index_head(const struct tenant_index *index, uint64_t hash)
{
    return &index->heads[hash & (index->head_count - 1)];
}

struct tenant *index_find(const struct tenant_index *index, uint64_t hash, struct fm_slice name)
{
    struct tenant *tenant = *index_head(index, hash);

    while (tenant && (tenant->hash != hash || !fm_slice_equal_text(name, tenant->name)))
        tenant = tenant->next;
    return tenant;
}

void index_add(struct tenant_index *index, struct tenant *tenant)
{
    struct tenant **head = index_head(index, tenant->hash);

    tenant->next = *head;
    *head = tenant;
}

void index_remove(struct tenant_index *index, struct tenant *tenant)
{
    struct tenant **place = index_head(index, tenant->hash);

    while (*place != tenant)
        place = &(*place)->next;
    *place = tenant->next;
}
