/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's file and local.json: whatever is read is written, and reads the same again. */
#include "fermata/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_local(struct fm_slice json)
{
    struct local_facts facts, again;
    struct fm_buf text;
    if (local_parse(json, &facts, NULL) < 0)
        return;
    fm_buf_init(&text, FM_MIB(1));
    local_render(&facts, &text);
    FM_ASSERT(!text.failed);
    int rc = local_parse(fm_buf_slice(&text), &again, NULL);
    FM_ASSERT(rc == FM_OK && again.span_count == facts.span_count);
    FM_ASSERT(again.account.hour_count == facts.account.hour_count);
    FM_ASSERT(ledger_account_spans(&again.account) == ledger_account_spans(&facts.account));
    fm_buf_fini(&text);
}

static void try_entry(const struct ledger_entry *entry)
{
    struct ledger_reader reader;
    struct ledger_entry again;
    struct fm_buf file;
    fm_buf_init(&file, FM_MIB(1));
    ledger_file_begin(&file);
    ledger_entry_put(entry, &file);
    int rc = ledger_reader_init(&reader, fm_buf_slice(&file));
    FM_ASSERT(rc == FM_OK);
    rc = ledger_reader_next(&reader, &again);
    FM_ASSERT(rc == FM_OK && again.kind == entry->kind && again.covers == entry->covers);
    FM_ASSERT(again.row_count == entry->row_count && again.last_lsn == entry->last_lsn);
    FM_ASSERT(memcmp(again.rows, entry->rows, sizeof again.rows) == 0);
    fm_buf_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger_reader reader;
    struct ledger_entry entry;
    struct ledger ledger;
    if (size && data[0] == '{') {
        try_local(fm_slice(data, size));
        return 0;
    }
    if (ledger_reader_init(&reader, fm_slice(data, size)) < 0)
        return 0;
    ledger_init(&ledger);
    while (ledger_reader_next(&reader, &entry) == FM_OK) {
        try_entry(&entry);
        for (uint32_t i = 0; i < entry.row_count; i++) {
            int rc = ledger_add(&ledger, fm_slice_text(entry.tenant), &entry.rows[i]);
            FM_ASSERT(rc == FM_OK);
        }
    }
    FM_ASSERT(reader.end <= size && reader.damaged_bytes <= size && reader.torn_bytes <= size);
    ledger_fold(&ledger, 4, 16);
    ledger_fini(&ledger);
    return 0;
}
