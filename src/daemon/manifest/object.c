/* SPDX-License-Identifier: Apache-2.0 */
/* One manifest: its key and its text. */
#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/manifest.h"
#include "fermata/units.h"

void manifest_key(const uint8_t node[16], uint32_t hour, char key[MANIFEST_KEY_BYTES])
{
    char hex[33] = "";
    struct fm_civil time = fm_civil_from_unix((int64_t)hour * 3600, 0);
    fm_hex_encode(hex, fm_slice(node, 16));
    (void)snprintf(key, MANIFEST_KEY_BYTES, "manifest/%s/%04d-%02u-%02u/%02u.json", hex,
                   (int)time.year, time.month, time.day, time.hour);
}

/* The tenant's row of that hour, or NULL. */
static const struct ledger_row *hour_of(const struct ledger_tenant *tenant, uint32_t hour)
{
    for (size_t i = tenant->count; i-- > 0 && tenant->rows[i].hour >= hour;) {
        if (tenant->rows[i].hour == hour)
            return &tenant->rows[i];
    }
    return NULL;
}

void manifest_render(const struct ledger *ledger, const uint8_t node[16], uint32_t hour,
                     bool is_over, struct fm_buf *buf)
{
    struct ledger_row total = {0};
    struct json_writer json;
    struct fm_buf text;
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_row *row = hour_of(ledger->tenants[i], hour);
        if (row)
            ledger_row_add(&total, row);
    }
    fm_buf_init(&text, 64);
    ledger_put_hour(hour, &text);
    json_writer_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "version");
    json_uint(&json, 1);
    json_key(&json, "node");
    json_hex(&json, fm_slice(node, 16));
    json_key(&json, "hour");
    json_string(&json, fm_buf_slice(&text));
    json_key(&json, "over");
    json_bool(&json, is_over);
    ledger_put_json(&total, &json);
    json_key(&json, "tenants");
    json_array_begin(&json);
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_row *row = hour_of(ledger->tenants[i], hour);
        if (!row)
            continue;
        json_object_begin(&json);
        json_key(&json, "tenant");
        json_text(&json, ledger->tenants[i]->name);
        ledger_put_json(row, &json);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
    fm_buf_fini(&text);
}
