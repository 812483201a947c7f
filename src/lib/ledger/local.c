/* SPDX-License-Identifier: Apache-2.0 */
/* local - local.json, what a node knows of a block beside the block itself. */
#include "fermata/bytes.h"
#include "fermata/ledger.h"

static void local_put_account(const struct ledger_account *account, struct json_writer *json)
{
    json_key(json, "hours");
    json_array_begin(json);
    for (size_t i = 0; i < account->hour_count; i++) {
        json_array_begin(json);
        json_uint(json, account->hours[i].hour);
        json_uint(json, account->hours[i].spans);
        json_uint(json, account->hours[i].unreadable);
        json_array_end(json);
    }
    json_array_end(json);
    json_key(json, "duplicates");
    json_uint(json, account->duplicates);
    json_key(json, "receivedUnixNano");
    json_array_begin(json);
    json_uint(json, account->first_unix_ns);
    json_uint(json, account->last_unix_ns);
    json_array_end(json);
    json_key(json, "receivers");
    json_uint(json, account->receivers);
}

void local_render(const struct local_facts *facts, struct fm_buf *buf)
{
    struct json_writer json;
    json_writer_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "version");
    json_uint(&json, 1);
    json_key(&json, "node");
    json_hex(&json, fm_slice(facts->node, sizeof facts->node));
    json_key(&json, "firstLsn");
    json_uint(&json, facts->first_lsn);
    json_key(&json, "lastLsn");
    json_uint(&json, facts->last_lsn);
    json_key(&json, "records");
    json_uint(&json, facts->record_count);
    json_key(&json, "spans");
    json_uint(&json, facts->span_count);
    json_key(&json, "sealedUnixNano");
    json_uint(&json, facts->sealed_unix_ns);
    json_key(&json, "sealedSteadyNano");
    json_uint(&json, facts->sealed_steady_ns);
    local_put_account(&facts->account, &json);
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
}

enum local_key {
    LOCAL_VERSION = 1,
    LOCAL_NODE = 2,
    LOCAL_FIRST = 4,
    LOCAL_LAST = 8,
    LOCAL_RECORDS = 16,
    LOCAL_SPANS = 32,
    LOCAL_SEALED = 64,
    LOCAL_ALL = 127,
    LOCAL_STEADY = 128, /* not of older versions */
};

/* An array of count_max numbers at most, whose '[' comes next, or was read before: in_array. */
static int local_numbers(struct json_reader *reader, bool in_array, uint64_t *values,
                         size_t count_max, size_t *ret_count)
{
    struct json_token token;
    int rc = in_array ? FM_OK : json_next(reader, &token);
    if (rc == FM_OK && !in_array && token.kind != JSON_ARRAY_BEGIN)
        return FM_EMALFORMED;
    for (*ret_count = 0; rc == FM_OK; ++*ret_count) {
        rc = json_next(reader, &token);
        if (rc != FM_OK || token.kind == JSON_ARRAY_END)
            return rc;
        if (*ret_count == count_max)
            return FM_ELIMIT;
        rc = json_u64(&token, &values[*ret_count]);
    }
    return rc;
}

static int local_hours(struct json_reader *reader, struct ledger_account *account)
{
    struct json_token token;
    int rc = json_next(reader, &token);
    if (rc == FM_OK && token.kind != JSON_ARRAY_BEGIN)
        return FM_EMALFORMED;
    while (rc == FM_OK) {
        uint64_t values[3] = {0};
        size_t count;
        rc = json_next(reader, &token);
        if (rc != FM_OK || token.kind == JSON_ARRAY_END)
            return rc;
        if (token.kind != JSON_ARRAY_BEGIN || account->hour_count == LEDGER_HOURS_MAX)
            return FM_EMALFORMED;
        rc = local_numbers(reader, true, values, FM_COUNT(values), &count);
        if (rc == FM_OK &&
            (count != FM_COUNT(values) || values[0] >= UINT32_MAX ||
             (account->hour_count && account->hours[account->hour_count - 1].hour >= values[0])))
            return FM_EMALFORMED;
        account->hours[account->hour_count++] =
            (struct ledger_hour){(uint32_t)values[0], values[1], values[2]};
    }
    return rc;
}

/* FM_NONE: a key of no account. */
static int local_account_member(struct json_reader *reader, struct fm_slice key,
                                struct ledger_account *account)
{
    uint64_t values[2] = {0}, receivers = 0;
    struct json_token token;
    size_t count;
    int rc;
    if (fm_slice_equal_text(key, "hours")) {
        account->hour_count = 0;
        return local_hours(reader, account);
    }
    if (fm_slice_equal_text(key, "receivedUnixNano")) {
        rc = local_numbers(reader, false, values, FM_COUNT(values), &count);
        account->first_unix_ns = values[0];
        account->last_unix_ns = values[1];
        return rc;
    }
    if (fm_slice_equal_text(key, "duplicates")) {
        rc = json_next(reader, &token);
        return rc == FM_OK ? json_u64(&token, &account->duplicates) : rc;
    }
    if (!fm_slice_equal_text(key, "receivers"))
        return FM_NONE;
    rc = json_next(reader, &token);
    if (rc == FM_OK)
        rc = json_u64(&token, &receivers);
    account->receivers = (uint8_t)receivers;
    return rc;
}

static int local_member(struct json_reader *reader, struct fm_slice key, struct local_facts *facts,
                        unsigned *seen)
{
    uint64_t version = 0;
    const struct {
        const char *name;
        enum local_key key;
        uint64_t *value;
    } numbers[] = {
        {"version", LOCAL_VERSION, &version},
        {"firstLsn", LOCAL_FIRST, &facts->first_lsn},
        {"lastLsn", LOCAL_LAST, &facts->last_lsn},
        {"records", LOCAL_RECORDS, &facts->record_count},
        {"spans", LOCAL_SPANS, &facts->span_count},
        {"sealedUnixNano", LOCAL_SEALED, &facts->sealed_unix_ns},
        {"sealedSteadyNano", LOCAL_STEADY, &facts->sealed_steady_ns},
    };
    struct json_token token;
    int rc = local_account_member(reader, key, &facts->account);
    if (rc != FM_NONE)
        return rc;
    rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (fm_slice_equal_text(key, "node")) {
        *seen |= LOCAL_NODE;
        return fm_hex_decode(facts->node, sizeof facts->node, token.text);
    }
    for (size_t i = 0; i < FM_COUNT(numbers); i++) {
        if (!fm_slice_equal_text(key, numbers[i].name))
            continue;
        *seen |= numbers[i].key;
        rc = json_u64(&token, numbers[i].value);
        return rc < 0 || numbers[i].key != LOCAL_VERSION || version == 1 ? rc : FM_EUNSUPPORTED;
    }
    return json_skip(reader, &token);
}

/* Every span of the block has its hour, or the account is that of an older version. */
static void local_check_account(struct local_facts *facts)
{
    struct ledger_account *account = &facts->account;
    uint64_t spans = ledger_account_spans(account);
    if (!account->hour_count || account->duplicates > spans ||
        spans - account->duplicates != facts->span_count)
        ledger_account_default(account, facts->sealed_unix_ns, facts->span_count);
}

int local_parse(struct fm_slice json, struct local_facts *ret_facts, struct fm_why *why)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    struct local_facts facts = {0};
    unsigned seen = 0;
    fm_arena_init(&scratch, 65536);
    json_reader_init(&reader, json, &scratch);
    int rc = json_next(&reader, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        rc = FM_EMALFORMED;
    while (rc == FM_OK) {
        rc = json_next(&reader, &token);
        if (rc == FM_OK && token.kind == JSON_OBJECT_END)
            break;
        if (rc == FM_OK)
            rc = local_member(&reader, token.text, &facts, &seen);
    }
    fm_arena_fini(&scratch);
    if (rc != FM_OK || (seen & LOCAL_ALL) != LOCAL_ALL || facts.first_lsn > facts.last_lsn ||
        facts.last_lsn == UINT64_MAX)
        return fm_fail(why, rc < 0 ? rc : FM_EMALFORMED, "local.json is not one");
    local_check_account(&facts);
    *ret_facts = facts;
    return FM_OK;
}
