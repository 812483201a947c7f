/* SPDX-License-Identifier: Apache-2.0 */
/* Trace ids and tenant names as Tempo's API takes them. */
#include "fermata/model.h"

int trace_id_parse(struct fm_slice text, struct trace_id *ret_id, struct fm_why *why)
{
    char padded[32];
    struct trace_id id;

    if (!text.len)
        return fm_fail(why, FM_EMALFORMED, "trace IDs can't be empty");
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i], letter = c | 0x20;
        if ((c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'f'))
            continue;
        const char *prefix = "trace IDs can only contain hex characters: invalid character";
        if (c < 0x20 || c >= 0x7f)
            return fm_fail(why, FM_EMALFORMED, "%s '\\x%02x' at position %zu", prefix, c, i + 1);
        return fm_fail(why, FM_EMALFORMED, "%s '%s%c' at position %zu", prefix,
                       c == '\'' || c == '\\' ? "\\" : "", c, i + 1);
    }
    if (text.len > sizeof padded)
        return fm_fail(why, FM_EMALFORMED, "trace IDs can't be larger than 128 bits");
    memset(padded, '0', sizeof padded);
    memcpy(padded + sizeof padded - text.len, text.ptr, text.len);
    int rc = fm_hex_decode(id.bytes, sizeof id.bytes, fm_slice(padded, sizeof padded));
    if (rc < 0)
        return rc;
    *ret_id = id;
    return FM_OK;
}

void trace_id_print(const struct trace_id *id, char text[33])
{
    fm_hex_encode(text, fm_slice(id->bytes, sizeof id->bytes));
    text[32] = 0;
}

bool tenant_is_valid(struct fm_slice name)
{
    if (!name.len || name.len > TENANT_LEN_MAX || fm_slice_equal_text(name, ".") ||
        fm_slice_equal_text(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i], letter = c | 0x20;
        if ((c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z'))
            continue;
        if (!c || !strchr("!_.*'()-", c))
            return false;
    }
    return true;
}
