/* SPDX-License-Identifier: Apache-2.0 */
/* account - when the spans of a block were received, and what became of them. */
#include "fermata/ledger.h"

void ledger_account_add(struct ledger_account *account, uint64_t received_unix_ns, uint64_t spans,
                        uint64_t unreadable)
{
    uint32_t hour = (uint32_t)FM_MIN(received_unix_ns / LEDGER_HOUR_NS, (uint64_t)UINT32_MAX);
    size_t at = account->hour_count;
    if (received_unix_ns) {
        if (!account->first_unix_ns || received_unix_ns < account->first_unix_ns)
            account->first_unix_ns = received_unix_ns;
        account->last_unix_ns = FM_MAX(account->last_unix_ns, received_unix_ns);
    }
    while (at && account->hours[at - 1].hour > hour)
        at--;
    if (at && (account->hours[at - 1].hour == hour ||
               (at == account->hour_count && at == LEDGER_HOURS_MAX))) {
        at--;
    } else if (account->hour_count < LEDGER_HOURS_MAX) {
        memmove(&account->hours[at + 1], &account->hours[at],
                (account->hour_count - at) * sizeof account->hours[0]);
        account->hours[at] = (struct ledger_hour){.hour = hour};
        account->hour_count++;
    } /* else: full, and the hour after it takes it */
    account->hours[at].spans += spans;
    account->hours[at].unreadable += unreadable;
}

bool ledger_account_has_room(const struct ledger_account *account, uint64_t received_unix_ns)
{
    for (size_t i = 0; i < account->hour_count; i++) {
        if (account->hours[i].hour == received_unix_ns / LEDGER_HOUR_NS)
            return true;
    }
    return account->hour_count < LEDGER_HOURS_MAX;
}

void ledger_account_join(struct ledger_account *account, const struct ledger_account *other)
{
    uint64_t first = account->first_unix_ns,
             last = FM_MAX(account->last_unix_ns, other->last_unix_ns);
    for (size_t i = 0; i < other->hour_count; i++)
        ledger_account_add(account, other->hours[i].hour * LEDGER_HOUR_NS, other->hours[i].spans,
                           other->hours[i].unreadable);
    account->duplicates += other->duplicates;
    account->receivers |= other->receivers;
    account->first_unix_ns = first && other->first_unix_ns ? FM_MIN(first, other->first_unix_ns)
                                                           : FM_MAX(first, other->first_unix_ns);
    account->last_unix_ns = last;
}

void ledger_account_default(struct ledger_account *account, uint64_t unix_ns, uint64_t spans)
{
    *account = (struct ledger_account){0};
    ledger_account_add(account, unix_ns, spans, 0);
    account->first_unix_ns = account->last_unix_ns = 0;
}

uint64_t ledger_account_spans(const struct ledger_account *account)
{
    uint64_t spans = 0;
    for (size_t i = 0; i < account->hour_count; i++)
        spans += account->hours[i].spans;
    return spans;
}

/* part of whole, which has the same share of every portion; the roundings add up. */
static uint64_t share_of(uint64_t before, uint64_t portion, uint64_t part, uint64_t whole)
{
    if (!whole)
        return 0;
    unsigned __int128 up_to = (unsigned __int128)(before + portion) * part / whole;
    unsigned __int128 down_to = (unsigned __int128)before * part / whole;
    return (uint64_t)(up_to - down_to);
}

size_t ledger_account_rows(const struct ledger_account *account, const struct ledger_split *split,
                           struct ledger_row *rows)
{
    uint64_t spans = ledger_account_spans(account), before = 0, before_unique = 0, before_kept = 0;
    uint64_t before_ahead = 0;
    uint64_t duplicates = FM_MIN(account->duplicates, spans), unique_all = spans - duplicates;
    uint64_t kept_all = FM_MIN(split->kept, unique_all);
    uint64_t ahead_all = FM_MIN(split->ahead, kept_all);
    uint64_t waiting_all = FM_MIN(split->ahead_waiting, ahead_all);
    if (split->kept == split->span_count)
        kept_all = unique_all;
    for (size_t i = 0; i < account->hour_count; i++) {
        const struct ledger_hour *hour = &account->hours[i];
        uint64_t doubled = share_of(before, hour->spans, duplicates, spans);
        uint64_t unique = hour->spans - doubled;
        uint64_t kept = share_of(before_unique, unique, kept_all, unique_all);
        uint64_t ahead = share_of(before_kept, kept, ahead_all, kept_all);
        uint64_t waiting = share_of(before_ahead, ahead, waiting_all, ahead_all);
        rows[i] = (struct ledger_row){.hour = hour->hour};
        rows[i].spans[LEDGER_DUPLICATE] = doubled;
        rows[i].spans[LEDGER_UNREADABLE] = hour->unreadable;
        rows[i].spans[LEDGER_SAMPLED_OUT] = unique - kept;
        rows[i].spans[LEDGER_UPLOADED] = ahead - waiting;
        rows[i].spans[LEDGER_PENDING_EXPRESS] = waiting;
        rows[i].spans[split->column] += kept - ahead;
        before += hour->spans;
        before_unique += unique;
        before_kept += kept;
        before_ahead += ahead;
    }
    return account->hour_count;
}

const char *ledger_receiver_text(unsigned number)
{
    static const char *const names[] = {
        "otlp_grpc",
        "otlp_http",
        "jaeger_thrift_compact",
        "jaeger_thrift_binary",
        "jaeger_thrift_http",
        "jaeger_grpc",
        "zipkin",
    };
    return number < FM_COUNT(names) ? names[number] : NULL;
}
