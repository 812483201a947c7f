/* SPDX-License-Identifier: Apache-2.0 */
/* Limits, reasons and what a check gathers. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/decode.h"

/* Attributes: clients stop at 128 by default; keys and strings as Tempo's max_attribute_bytes. */
const struct decode_limits decode_limits_default = {
    .span_count_max = 100000,
    .value_depth_max = 64,
    .attribute_count_max = 1024,
    .attribute_bytes_max = 2048,
};

const char *decode_reason_text(enum decode_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) [DECODE_##name] = text,
        DECODE_REASONS(X)
#undef X
    };
    return (unsigned)reason < FM_COUNT(texts) ? texts[reason] : "unknown";
}

void decode_facts_init(struct decode_facts *facts)
{
    *facts = (struct decode_facts){.start_min_ns = UINT64_MAX};
}

void decode_facts_fini(struct decode_facts *facts)
{
    free(fm_take(facts->trace_keys));
    facts->trace_key_count = facts->trace_key_cap = 0;
}

void decode_facts_reset(struct decode_facts *facts)
{
    *facts = (struct decode_facts){
        .start_min_ns = UINT64_MAX,
        .trace_keys = facts->trace_keys,
        .trace_key_cap = facts->trace_key_cap,
    };
}

void decode_facts_message(const struct decode_facts *facts, char *text, size_t size)
{
    if (!size)
        return;
    int len = snprintf(text, size, "%u span%s refused:", facts->refused_count,
                       facts->refused_count == 1 ? "" : "s");
    const char *separator = " ";
    for (unsigned i = 0; i < DECODE_REASON_COUNT; i++) {
        if (!facts->refused[i] || len < 0 || (size_t)len >= size)
            continue;
        len += snprintf(text + len, size - (size_t)len, "%s%s %u", separator, decode_reason_text(i),
                        facts->refused[i]);
        separator = ", ";
    }
}
