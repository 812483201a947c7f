/* SPDX-License-Identifier: Apache-2.0 */
/* ledger - what became of every span: accounts by tenant and hour of receipt, the file that keeps
 * those of blocks that are gone, and the account that a block carries in its local.json.  Pure.
 *
 *   received = stored + rejected{reason}
 *   stored   = uploaded + sampled_out + expired + pending{lane} + dropped{reason}
 *
 * The formats: docs/formats/ledger.md.
 */
#ifndef FERMATA_LEDGER_H
#define FERMATA_LEDGER_H

#include "fermata/json.h"
#include "fermata/model.h"

#define LEDGER_HOUR_NS (UINT64_C(3600) * 1000000000)

/* Columns: where a span is in the two equations; all before the first that is rejected are stored.
 * name, number in files (never another one), state, label of the state, value of the label */
#define LEDGER_COLUMNS(X)                                                                          \
    X(UPLOADED, 0, "uploaded", "", "")                                                             \
    X(SAMPLED_OUT, 1, "sampled_out", "", "")                                                       \
    X(EXPIRED, 2, "expired", "", "")                                                               \
    X(PENDING_LOG, 3, "pending", "lane", "log")            /* in no block yet */                   \
    X(PENDING_DECIDING, 16, "pending", "lane", "deciding") /* in a block that is not judged yet */ \
    X(PENDING_EXPRESS, 17, "pending", "lane", "express")   /* as the lanes of uploads are named */ \
    X(PENDING_FRESH, 4, "pending", "lane", "fresh")                                                \
    X(PENDING_BACKLOG, 18, "pending", "lane", "backlog")                                           \
    X(DUPLICATE, 5, "dropped", "reason", "duplicate") /* of a span in the same block */            \
    X(UNREADABLE, 6, "dropped", "reason", "unreadable")                                            \
    X(NO_SPACE, 7, "dropped", "reason", "no_space")                                                \
    X(BAD_TRACE_ID, 8, "rejected", "reason", "invalid_trace_id")                                   \
    X(BAD_SPAN_ID, 9, "rejected", "reason", "invalid_span_id")                                     \
    X(UNAVAILABLE, 10, "rejected", "reason", "unavailable")                                        \
    X(TOO_LARGE, 11, "rejected", "reason", "too_large")                                            \
    X(RATE_LIMITED, 12, "rejected", "reason", "rate_limited")                                      \
    X(TENANT_LIMIT, 13, "rejected", "reason", "tenant_limit")                                      \
    X(FILTERED, 14, "rejected", "reason", "filtered")                                              \
    X(HEAD_SAMPLING, 15, "rejected", "reason", "head_sampling")
enum ledger_column {
#define X(name, number, state, label, value) LEDGER_##name,
    LEDGER_COLUMNS(X)
#undef X
        LEDGER_COLUMN_COUNT
};
#define LEDGER_FIRST_PENDING  LEDGER_PENDING_LOG
#define LEDGER_LAST_PENDING   LEDGER_PENDING_BACKLOG
#define LEDGER_FIRST_REJECTED LEDGER_BAD_TRACE_ID
struct ledger_column_text {
    const char *state, *label, *value;
    uint32_t number; /* in files; below LEDGER_COLUMN_COUNT */
};
extern const struct ledger_column_text ledger_column_texts[LEDGER_COLUMN_COUNT];

/* ---- accounts ---- */

struct ledger_row {
    uint32_t hour; /* since 1970; 0: all hours that are too old to be told apart */
    uint64_t spans[LEDGER_COLUMN_COUNT];
};
uint64_t ledger_stored(const struct ledger_row *row);
uint64_t ledger_rejected(const struct ledger_row *row);
uint64_t ledger_pending(const struct ledger_row *row);
void ledger_row_add(struct ledger_row *row, const struct ledger_row *other);

struct ledger_tenant {
    char name[TENANT_LEN_MAX + 1];
    struct ledger_row *rows; /* owned; by hour */
    size_t count, capacity;
};
struct ledger { /* owned arrays; by name */
    struct ledger_tenant **tenants;
    size_t count, capacity;
    size_t row_count;
};
void ledger_init(struct ledger *ledger);
void ledger_fini(struct ledger *ledger);
void ledger_reset(struct ledger *ledger);
FM_MUST int ledger_row_of(struct ledger *ledger, struct fm_slice tenant, uint32_t hour,
                          struct ledger_row **ret_row); /* until the next call */
FM_MUST int ledger_add(struct ledger *ledger, struct fm_slice tenant, const struct ledger_row *row);
FM_MUST int ledger_add_all(struct ledger *ledger, const struct ledger *other);
/* Joins the oldest hours of each tenant until it has hours_max rows at most, and further until all
 * have rows_max; a tenant keeps one at least.  By number, not by the clock, which may be wrong. */
void ledger_fold(struct ledger *ledger, size_t hours_max, size_t rows_max);
/* From here on a tenant's hours are told apart. */
uint32_t ledger_first_hour(const struct ledger_tenant *tenant);
void ledger_total(const struct ledger *ledger, struct ledger_row *ret_total);
/* The members of an open JSON object: received, stored, rejected, ... */
void ledger_put_json(const struct ledger_row *row, struct json_writer *json);
void ledger_put_hour(uint32_t hour, struct fm_buf *text); /* 2026-11-21T14:00:00Z */

/* ---- the account of a block ---- */

#define LEDGER_HOURS_MAX 8u /* of a block; the last one takes what comes later */
struct ledger_hour {
    uint32_t hour;
    uint64_t spans;      /* that came with readable records, duplicates included */
    uint64_t unreadable; /* of records that could not be read when the block was built */
};
struct ledger_account {
    uint32_t hour_count;
    struct ledger_hour hours[LEDGER_HOURS_MAX]; /* by hour */
    uint64_t duplicates;                        /* of the spans above, not in the block */
    uint64_t first_unix_ns, last_unix_ns;       /* received; 0: not known */
    uint8_t receivers;                          /* bits by number; 0: not known */
};
void ledger_account_add(struct ledger_account *account, uint64_t received_unix_ns, uint64_t spans,
                        uint64_t unreadable);
/* Whether what was received then has an hour of its own. */
bool ledger_account_has_room(const struct ledger_account *account, uint64_t received_unix_ns);
void ledger_account_join(struct ledger_account *account, const struct ledger_account *other);
/* Without hours: all at that time, as files of older versions have it. */
void ledger_account_default(struct ledger_account *account, uint64_t unix_ns, uint64_t spans);
uint64_t ledger_account_spans(const struct ledger_account *account); /* readable ones */
struct ledger_split {                                                /* of a block's spans */
    uint64_t span_count, kept, ahead; /* kept: of span_count; ahead: of kept, sent before */
    uint64_t ahead_waiting;           /* of ahead: the bucket does not have them yet */
    enum ledger_column column;        /* of those that are kept and not ahead */
};
/* Rows, at most LEDGER_HOURS_MAX: what is not kept is sampled_out; shares of hours are in
 * proportion. */
size_t ledger_account_rows(const struct ledger_account *account, const struct ledger_split *split,
                           struct ledger_row *rows);
/* Names of receivers as they label metrics; NULL: there is none of that number. */
#define LEDGER_RECEIVERS_MAX 8u
const char *ledger_receiver_text(unsigned number);

struct local_facts { /* local.json */
    uint8_t node[16];
    uint64_t first_lsn, last_lsn;
    uint64_t record_count, span_count;
    uint64_t sealed_unix_ns;
    uint64_t sealed_steady_ns; /* on a clock that never jumps; 0: unknown */
    struct ledger_account account;
};
void local_render(const struct local_facts *facts, struct fm_buf *buf);
FM_MUST int local_parse(struct fm_slice json, struct local_facts *ret_facts, struct fm_why *why);

/* ---- the file ---- */

enum ledger_kind {
    LEDGER_SUM = 1,    /* to be added, each once */
    LEDGER_BLOCK = 2,  /* the last account of a block: void while there is a block of that id */
    LEDGER_LOST = 3,   /* records that are in no block and never will be */
    LEDGER_RECORD = 4, /* a record that was found and could not be used; it is still in the log */
};
struct ledger_entry {
    enum ledger_kind kind;
    bool covers; /* its LSNs are dealt with: no start may take these records up again */
    char tenant[TENANT_LEN_MAX + 1];
    uint8_t id[16];               /* BLOCK; else zeros */
    uint64_t first_lsn, last_lsn; /* not of SUM */
    uint64_t unix_ns;             /* when it was written down */
    uint32_t row_count;           /* with a span */
    struct ledger_row rows[LEDGER_HOURS_MAX];
};
/* Whether the later of the two replaces the earlier. */
bool ledger_entry_is_same(const struct ledger_entry *entry, const struct ledger_entry *other);
#define LEDGER_FILE_HEADER_BYTES 16u
void ledger_file_begin(struct fm_buf *buf);
void ledger_entry_put(const struct ledger_entry *entry, struct fm_buf *buf);
void ledger_sums_put(const struct ledger *ledger, uint64_t unix_ns, struct fm_buf *buf);

struct ledger_reader {
    struct fm_slice file; /* borrowed */
    size_t position;
    size_t end;           /* behind the last valid entry */
    size_t damaged_bytes; /* in front of valid entries */
    size_t torn_bytes;    /* behind the last one, from the first that is not zero */
};
/* FM_ECORRUPT: not a ledger; FM_EUNSUPPORTED: of a later version. */
FM_MUST int ledger_reader_init(struct ledger_reader *reader, struct fm_slice file);
/* FM_OK; FM_END.  What is damaged is left out and counted. */
FM_MUST int ledger_reader_next(struct ledger_reader *reader, struct ledger_entry *ret_entry);

#endif
