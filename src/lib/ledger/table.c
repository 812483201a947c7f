/* SPDX-License-Identifier: Apache-2.0 */
/* table - accounts by tenant and hour. */
#include <stdlib.h>

#include "fermata/ledger.h"
#include "fermata/units.h"

const struct ledger_column_text ledger_column_texts[LEDGER_COLUMN_COUNT] = {
#define X(name, number, state, label, value) {state, label, value, number},
    LEDGER_COLUMNS(X)
#undef X
};

static uint64_t row_sum(const struct ledger_row *row, size_t begin, size_t end)
{
    uint64_t sum = 0;
    for (size_t i = begin; i < end; i++)
        sum += row->spans[i];
    return sum;
}

uint64_t ledger_stored(const struct ledger_row *row)
{
    return row_sum(row, 0, LEDGER_FIRST_REJECTED);
}

uint64_t ledger_rejected(const struct ledger_row *row)
{
    return row_sum(row, LEDGER_FIRST_REJECTED, LEDGER_COLUMN_COUNT);
}

uint64_t ledger_pending(const struct ledger_row *row)
{
    return row_sum(row, LEDGER_FIRST_PENDING, LEDGER_LAST_PENDING + 1);
}

void ledger_row_add(struct ledger_row *row, const struct ledger_row *other)
{
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT; i++)
        row->spans[i] += other->spans[i];
}

void ledger_init(struct ledger *ledger)
{
    *ledger = (struct ledger){0};
}

void ledger_reset(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->count; i++) {
        free(ledger->tenants[i]->rows);
        free(ledger->tenants[i]);
    }
    ledger->count = ledger->row_count = 0;
}

void ledger_fini(struct ledger *ledger)
{
    ledger_reset(ledger);
    free(ledger->tenants);
    ledger_init(ledger);
}

/* The first tenant whose name is not before this one. */
static size_t ledger_position(const struct ledger *ledger, struct fm_slice tenant)
{
    size_t low = 0, high = ledger->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fm_slice_compare(fm_slice_text(ledger->tenants[middle]->name), tenant) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int ledger_tenant_of(struct ledger *ledger, struct fm_slice name,
                            struct ledger_tenant **ret_tenant)
{
    size_t at = ledger_position(ledger, name);
    if (at < ledger->count && fm_slice_equal_text(name, ledger->tenants[at]->name)) {
        *ret_tenant = ledger->tenants[at];
        return FM_OK;
    }
    if (name.len > TENANT_LEN_MAX)
        return FM_ELIMIT;
    if (ledger->count == ledger->capacity) {
        size_t capacity = ledger->capacity ? ledger->capacity * 2 : 8;
        struct ledger_tenant **grown = realloc(ledger->tenants, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        ledger->tenants = grown;
        ledger->capacity = capacity;
    }
    struct ledger_tenant *tenant = calloc(1, sizeof *tenant);
    if (!tenant)
        return FM_ENOMEM;
    memcpy(tenant->name, name.ptr, name.len);
    memmove(&ledger->tenants[at + 1], &ledger->tenants[at],
            (ledger->count - at) * sizeof *ledger->tenants);
    ledger->tenants[at] = tenant;
    ledger->count++;
    *ret_tenant = tenant;
    return FM_OK;
}

/* Hours mostly come in order: looked for from the end. */
int ledger_row_of(struct ledger *ledger, struct fm_slice name, uint32_t hour,
                  struct ledger_row **ret_row)
{
    struct ledger_tenant *tenant;
    int rc = ledger_tenant_of(ledger, name, &tenant);
    if (rc < 0)
        return rc;
    size_t at = tenant->count;
    while (at && tenant->rows[at - 1].hour > hour)
        at--;
    if (at && tenant->rows[at - 1].hour == hour) {
        *ret_row = &tenant->rows[at - 1];
        return FM_OK;
    }
    if (tenant->count == tenant->capacity) {
        size_t capacity = tenant->capacity ? tenant->capacity * 2 : 4;
        struct ledger_row *grown = realloc(tenant->rows, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        tenant->rows = grown;
        tenant->capacity = capacity;
    }
    memmove(&tenant->rows[at + 1], &tenant->rows[at], (tenant->count - at) * sizeof *tenant->rows);
    tenant->rows[at] = (struct ledger_row){.hour = hour};
    tenant->count++;
    ledger->row_count++;
    *ret_row = &tenant->rows[at];
    return FM_OK;
}

int ledger_add(struct ledger *ledger, struct fm_slice tenant, const struct ledger_row *row)
{
    struct ledger_row *target;
    int rc = ledger_row_of(ledger, tenant, row->hour, &target);
    if (rc == FM_OK)
        ledger_row_add(target, row);
    return rc;
}

int ledger_add_all(struct ledger *ledger, const struct ledger *other)
{
    int rc = FM_OK;
    for (size_t i = 0; i < other->count; i++) {
        const struct ledger_tenant *tenant = other->tenants[i];
        for (size_t k = 0; rc == FM_OK && k < tenant->count; k++)
            rc = ledger_add(ledger, fm_slice_text(tenant->name), &tenant->rows[k]);
    }
    return rc;
}

/* The first row takes up those that follow it, until there are rows_max. */
static void tenant_fold(struct ledger *ledger, struct ledger_tenant *tenant, size_t rows_max)
{
    if (tenant->count <= rows_max)
        return;
    size_t old = tenant->count - rows_max + 1;
    for (size_t i = 1; i < old; i++)
        ledger_row_add(&tenant->rows[0], &tenant->rows[i]);
    tenant->rows[0].hour = 0;
    memmove(&tenant->rows[1], &tenant->rows[old], (tenant->count - old) * sizeof *tenant->rows);
    tenant->count -= old - 1;
    ledger->row_count -= old - 1;
}

void ledger_fold(struct ledger *ledger, size_t hours_max, size_t rows_max)
{
    for (hours_max = FM_MAX(hours_max, 1u);; hours_max /= 2) {
        for (size_t i = 0; i < ledger->count; i++)
            tenant_fold(ledger, ledger->tenants[i], hours_max);
        if (ledger->row_count <= rows_max || hours_max == 1)
            return;
    }
}

uint32_t ledger_first_hour(const struct ledger_tenant *tenant)
{
    if (!tenant->count || tenant->rows[0].hour)
        return 0;
    return tenant->count > 1 ? tenant->rows[1].hour : UINT32_MAX;
}

void ledger_total(const struct ledger *ledger, struct ledger_row *ret_total)
{
    *ret_total = (struct ledger_row){0};
    for (size_t i = 0; i < ledger->count; i++) {
        for (size_t k = 0; k < ledger->tenants[i]->count; k++)
            ledger_row_add(ret_total, &ledger->tenants[i]->rows[k]);
    }
}

void ledger_put_json(const struct ledger_row *row, struct json_writer *json)
{
    json_key(json, "received");
    json_uint(json, ledger_stored(row) + ledger_rejected(row));
    json_key(json, "stored");
    json_uint(json, ledger_stored(row));
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT;) {
        const struct ledger_column_text *text = &ledger_column_texts[i];
        json_key(json, text->state);
        if (!text->value[0]) {
            json_uint(json, row->spans[i++]);
            continue;
        }
        json_object_begin(json);
        do {
            json_key(json, ledger_column_texts[i].value);
            json_uint(json, row->spans[i++]);
        } while (i < LEDGER_COLUMN_COUNT && strcmp(ledger_column_texts[i].state, text->state) == 0);
        json_object_end(json);
    }
}

void ledger_put_hour(uint32_t hour, struct fm_buf *text)
{
    fm_rfc3339_print(text, hour * LEDGER_HOUR_NS);
}
