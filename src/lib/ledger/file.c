/* SPDX-License-Identifier: Apache-2.0 */
/* file - entries one behind the other, each with a checksum of its own; docs/formats/ledger.md.
 *
 * Behind damage the next valid entry is looked for, so that it costs no more than what it hit.
 * Zeros behind the last entry are room that was made ready.
 */
#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/ledger.h"

#define FILE_MAGIC   UINT64_C(0x31524744454c4d46) /* "FMLEDGR1" */
#define FILE_VERSION 1u
#define ENTRY_MAGIC  UINT32_C(0x5952544e) /* "NTRY" */

/* Offsets in an entry; its length counts all of it, padding included. */
enum {
    ENTRY_LEN = 4,
    ENTRY_CRC = 8,
    ENTRY_KIND = 12,
    ENTRY_FLAGS = 13, /* bit 0: covers */
    ENTRY_TENANT_LEN = 14,
    ENTRY_ID = 16,
    ENTRY_FIRST = 32,
    ENTRY_LAST = 40,
    ENTRY_TIME = 48,
    ENTRY_ROWS = 56,
    ENTRY_TENANT = 60,
    ENTRY_FIXED_BYTES = 60,
    ROW_HOUR = 0,
    ROW_CELLS = 4,
    ROW_FIXED_BYTES = 8,
    CELL_COLUMN = 0,
    CELL_SPANS = 4,
    CELL_BYTES = 12,
};
#define ENTRY_BYTES_MAX                                                                            \
    (ENTRY_FIXED_BYTES + TENANT_LEN_MAX +                                                          \
     LEDGER_HOURS_MAX * (ROW_FIXED_BYTES + LEDGER_COLUMN_COUNT * CELL_BYTES) + 8)

bool ledger_entry_is_same(const struct ledger_entry *entry, const struct ledger_entry *other)
{
    if (entry->kind != other->kind || entry->kind == LEDGER_SUM ||
        strcmp(entry->tenant, other->tenant) != 0)
        return false;
    return entry->kind == LEDGER_BLOCK
               ? memcmp(entry->id, other->id, sizeof entry->id) == 0
               : entry->first_lsn == other->first_lsn && entry->last_lsn == other->last_lsn;
}

void ledger_file_begin(struct fm_buf *buf)
{
    uint8_t header[LEDGER_FILE_HEADER_BYTES] = {0};
    fm_store_le64(header, FILE_MAGIC);
    fm_store_le32(header + 8, FILE_VERSION);
    fm_buf_put(buf, header, sizeof header);
}

static uint32_t entry_checksum(const uint8_t *entry, size_t len)
{
    uint32_t crc = fm_crc32c(0, fm_slice(entry + ENTRY_LEN, 4));
    return fm_crc32c(crc, fm_slice(entry + ENTRY_KIND, len - ENTRY_KIND));
}

static void put_row(const struct ledger_row *row, struct fm_buf *buf)
{
    uint8_t fixed[ROW_FIXED_BYTES], cell[CELL_BYTES];
    uint32_t cells = 0;
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT; i++)
        cells += row->spans[i] != 0;
    fm_store_le32(fixed + ROW_HOUR, row->hour);
    fm_store_le32(fixed + ROW_CELLS, cells);
    fm_buf_put(buf, fixed, sizeof fixed);
    for (uint32_t i = 0; i < LEDGER_COLUMN_COUNT; i++) {
        if (!row->spans[i])
            continue;
        fm_store_le32(cell + CELL_COLUMN, ledger_column_texts[i].number);
        fm_store_le64(cell + CELL_SPANS, row->spans[i]);
        fm_buf_put(buf, cell, sizeof cell);
    }
}

void ledger_entry_put(const struct ledger_entry *entry, struct fm_buf *buf)
{
    uint8_t fixed[ENTRY_FIXED_BYTES] = {0};
    size_t begin = buf->len, tenant_len = strlen(entry->tenant);
    fm_store_le32(fixed, ENTRY_MAGIC);
    fixed[ENTRY_KIND] = (uint8_t)entry->kind;
    fixed[ENTRY_FLAGS] = entry->covers;
    fm_store_le16(fixed + ENTRY_TENANT_LEN, (uint16_t)tenant_len);
    memcpy(fixed + ENTRY_ID, entry->id, sizeof entry->id);
    fm_store_le64(fixed + ENTRY_FIRST, entry->first_lsn);
    fm_store_le64(fixed + ENTRY_LAST, entry->last_lsn);
    fm_store_le64(fixed + ENTRY_TIME, entry->unix_ns);
    fm_store_le32(fixed + ENTRY_ROWS, entry->row_count);
    fm_buf_put(buf, fixed, sizeof fixed);
    fm_buf_put(buf, entry->tenant, tenant_len);
    for (uint32_t i = 0; i < entry->row_count; i++)
        put_row(&entry->rows[i], buf);
    fm_buf_put_zeros(buf, (8 - (buf->len - begin) % 8) % 8);
    if (buf->failed)
        return;
    size_t len = buf->len - begin;
    fm_store_le32(buf->ptr + begin + ENTRY_LEN, (uint32_t)len);
    fm_store_le32(buf->ptr + begin + ENTRY_CRC, entry_checksum(buf->ptr + begin, len));
}

void ledger_sums_put(const struct ledger *ledger, uint64_t unix_ns, struct fm_buf *buf)
{
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_tenant *tenant = ledger->tenants[i];
        struct ledger_entry entry = {.kind = LEDGER_SUM, .unix_ns = unix_ns};
        memcpy(entry.tenant, tenant->name, sizeof entry.tenant);
        for (size_t k = 0; k < tenant->count; k += entry.row_count) {
            entry.row_count = (uint32_t)FM_MIN(tenant->count - k, LEDGER_HOURS_MAX);
            memcpy(entry.rows, &tenant->rows[k], entry.row_count * sizeof entry.rows[0]);
            ledger_entry_put(&entry, buf);
        }
    }
}

/* ---- reading ---- */

int ledger_reader_init(struct ledger_reader *reader, struct fm_slice file)
{
    if (file.len < LEDGER_FILE_HEADER_BYTES || fm_load_le64(file.ptr) != FILE_MAGIC)
        return FM_ECORRUPT;
    if (fm_load_le32(file.ptr + 8) != FILE_VERSION)
        return FM_EUNSUPPORTED;
    *reader = (struct ledger_reader){
        .file = file, .position = LEDGER_FILE_HEADER_BYTES, .end = LEDGER_FILE_HEADER_BYTES};
    return FM_OK;
}

static int take_column(uint32_t number, size_t *ret_column)
{
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT; i++) {
        if (ledger_column_texts[i].number != number)
            continue;
        *ret_column = i;
        return FM_OK;
    }
    return FM_ECORRUPT;
}

static int take_row(struct fm_slice *rest, struct ledger_row *row)
{
    if (rest->len < ROW_FIXED_BYTES)
        return FM_ECORRUPT;
    uint32_t cells = fm_load_le32(rest->ptr + ROW_CELLS);
    row->hour = fm_load_le32(rest->ptr + ROW_HOUR);
    *rest = fm_slice(rest->ptr + ROW_FIXED_BYTES, rest->len - ROW_FIXED_BYTES);
    if (cells > LEDGER_COLUMN_COUNT || rest->len < (size_t)cells * CELL_BYTES)
        return FM_ECORRUPT;
    for (uint32_t i = 0; i < cells; i++) {
        size_t column;
        if (take_column(fm_load_le32(rest->ptr + CELL_COLUMN), &column) < 0)
            return FM_ECORRUPT;
        row->spans[column] += fm_load_le64(rest->ptr + CELL_SPANS);
        *rest = fm_slice(rest->ptr + CELL_BYTES, rest->len - CELL_BYTES);
    }
    return FM_OK;
}

static int entry_decode(struct fm_slice bytes, struct ledger_entry *entry)
{
    size_t tenant_len = fm_load_le16(bytes.ptr + ENTRY_TENANT_LEN);
    uint32_t rows = fm_load_le32(bytes.ptr + ENTRY_ROWS);
    uint8_t kind = bytes.ptr[ENTRY_KIND], flags = bytes.ptr[ENTRY_FLAGS];
    struct fm_slice tenant = fm_slice(bytes.ptr + ENTRY_TENANT, tenant_len);
    if (kind < LEDGER_SUM || kind > LEDGER_RECORD || flags > 1 || rows > LEDGER_HOURS_MAX ||
        tenant_len > TENANT_LEN_MAX || tenant_len > bytes.len - ENTRY_FIXED_BYTES ||
        !tenant_is_valid(tenant))
        return FM_ECORRUPT;
    struct fm_slice rest =
        fm_slice(tenant.ptr + tenant_len, bytes.len - ENTRY_FIXED_BYTES - tenant_len);
    *entry = (struct ledger_entry){
        .kind = (enum ledger_kind)kind,
        .covers = flags != 0,
        .first_lsn = fm_load_le64(bytes.ptr + ENTRY_FIRST),
        .last_lsn = fm_load_le64(bytes.ptr + ENTRY_LAST),
        .unix_ns = fm_load_le64(bytes.ptr + ENTRY_TIME),
        .row_count = rows,
    };
    memcpy(entry->id, bytes.ptr + ENTRY_ID, sizeof entry->id);
    memcpy(entry->tenant, tenant.ptr, tenant_len);
    if (entry->first_lsn > entry->last_lsn || (entry->covers && entry->last_lsn == UINT64_MAX))
        return FM_ECORRUPT;
    for (uint32_t i = 0; i < rows; i++) {
        if (take_row(&rest, &entry->rows[i]) < 0)
            return FM_ECORRUPT;
    }
    return rest.len < 8 ? FM_OK : FM_ECORRUPT;
}

static int entry_at(struct fm_slice bytes, struct ledger_entry *entry, size_t *ret_len)
{
    if (bytes.len < ENTRY_FIXED_BYTES || fm_load_le32(bytes.ptr) != ENTRY_MAGIC)
        return FM_ECORRUPT;
    size_t len = fm_load_le32(bytes.ptr + ENTRY_LEN);
    if (len < ENTRY_FIXED_BYTES || len > ENTRY_BYTES_MAX || len > bytes.len || len % 8 ||
        fm_load_le32(bytes.ptr + ENTRY_CRC) != entry_checksum(bytes.ptr, len))
        return FM_ECORRUPT;
    *ret_len = len;
    return entry_decode(fm_slice(bytes.ptr, len), entry);
}

int ledger_reader_next(struct ledger_reader *reader, struct ledger_entry *ret_entry)
{
    struct fm_slice file = reader->file;
    for (size_t at = reader->position; at + ENTRY_FIXED_BYTES <= file.len; at += 8) {
        size_t len;
        if (entry_at(fm_slice(file.ptr + at, file.len - at), ret_entry, &len) < 0)
            continue;
        reader->damaged_bytes += at - reader->position;
        reader->position = reader->end = at + len;
        return FM_OK;
    }
    size_t torn = file.len;
    for (size_t at = reader->position; at < torn; at++) {
        if (file.ptr[at])
            torn = at;
    }
    reader->torn_bytes = file.len - torn;
    reader->position = file.len;
    return FM_END;
}
