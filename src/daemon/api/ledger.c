/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger in the status: totals, by tenant, and by hour of receipt of the last two days. */
#include "ledger.h"

#include <inttypes.h>

#include "fermata/units.h"

#define LEDGER_STATUS_HOURS   48u
#define LEDGER_STATUS_TENANTS 256u /* shown apart; the others together, as "(others)" */

static void put_tenant(const char *name, const struct ledger_row *row, struct json_writer *json)
{
    json_object_begin(json);
    json_key(json, "tenant");
    json_text(json, name);
    ledger_put_json(row, json);
    json_object_end(json);
}

static void put_tenants(const struct ledger *ledger, struct json_writer *json)
{
    struct ledger_row others = {0};
    json_key(json, "tenants");
    json_array_begin(json);
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_tenant *tenant = ledger->tenants[i];
        struct ledger_row row = {0};
        for (size_t k = 0; k < tenant->count; k++)
            ledger_row_add(&row, &tenant->rows[k]);
        if (i < LEDGER_STATUS_TENANTS)
            put_tenant(tenant->name, &row, json);
        else
            ledger_row_add(&others, &row);
    }
    if (ledger->count > LEDGER_STATUS_TENANTS)
        put_tenant("(others)", &others, json);
    json_array_end(json);
}

static void put_hour(const struct ledger_row *row, struct json_writer *json)
{
    struct fm_buf text;
    fm_buf_init(&text, 64);
    ledger_put_hour(row->hour, &text);
    json_object_begin(json);
    json_key(json, "hour");
    json_string(json, fm_buf_slice(&text));
    ledger_put_json(row, json);
    json_object_end(json);
    fm_buf_fini(&text);
}

static void put_hours(const struct ledger *ledger, uint32_t now_hour, struct json_writer *json)
{
    struct ledger_row hours[LEDGER_STATUS_HOURS] = {0};
    uint32_t first = now_hour - FM_MIN(now_hour, LEDGER_STATUS_HOURS - 1);
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_tenant *tenant = ledger->tenants[i];
        for (size_t k = 0; k < tenant->count; k++) {
            if (tenant->rows[k].hour >= first && tenant->rows[k].hour <= now_hour)
                ledger_row_add(&hours[tenant->rows[k].hour - first], &tenant->rows[k]);
        }
    }
    json_key(json, "hours");
    json_array_begin(json);
    for (uint32_t i = 0; i < LEDGER_STATUS_HOURS; i++) {
        hours[i].hour = first + i;
        if (ledger_stored(&hours[i]) || ledger_rejected(&hours[i]))
            put_hour(&hours[i], json);
    }
    json_array_end(json);
}

void status_put_ledger_json(const struct api *api, struct json_writer *json)
{
    const struct store *store = api->options.store;
    struct ledger ledger;
    struct ledger_row total;
    if (store_ledger_read(store, &ledger) < 0)
        return;
    ledger_total(&ledger, &total);
    json_key(json, "ledger");
    json_object_begin(json);
    json_key(json, "balanced");
    json_bool(json, store_ledger_check(store, NULL));
    ledger_put_json(&total, json);
    put_tenants(&ledger, json);
    put_hours(&ledger, (uint32_t)(api_unix_ns(api) / LEDGER_HOUR_NS), json);
    json_object_end(json);
    ledger_fini(&ledger);
}

void status_put_ledger_text(const struct api *api, struct fm_buf *out)
{
    const struct store *store = api->options.store;
    struct ledger ledger;
    struct ledger_row total;
    struct fm_why why = {""};
    if (store_ledger_read(store, &ledger) < 0)
        return;
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    uint64_t pending = ledger_pending(&total);
    uint64_t dropped = total.spans[LEDGER_DUPLICATE] + total.spans[LEDGER_UNREADABLE] +
                       total.spans[LEDGER_NO_SPACE];
    fm_buf_printf(out,
                  "  ledger   %" PRIu64 " received = %" PRIu64 " stored + %" PRIu64
                  " rejected\n           %" PRIu64 " stored = %" PRIu64 " uploaded + %" PRIu64
                  " sampled out + %" PRIu64 " expired + %" PRIu64 " pending + %" PRIu64
                  " dropped\n",
                  ledger_stored(&total) + ledger_rejected(&total), ledger_stored(&total),
                  ledger_rejected(&total), ledger_stored(&total), total.spans[LEDGER_UPLOADED],
                  total.spans[LEDGER_SAMPLED_OUT], total.spans[LEDGER_EXPIRED], pending, dropped);
    if (!store_ledger_check(store, &why))
        fm_buf_printf(out, "  problem  the ledger does not add up: %s\n", why.text);
}
