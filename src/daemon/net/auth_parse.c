/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials as text.  Headers come from strangers, files from the operator; both are bounded. */
#include "auth_parse.h"

#define BCRYPT_BYTES      60u
#define BCRYPT_COST_MAX   14u /* a second or so */
#define SHA_ROUNDS_DIGITS 6u  /* below a million: some hundred milliseconds */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct fm_slice slice_skip(struct fm_slice text, size_t len)
{
    return fm_slice(text.ptr + len, text.len - len);
}

static struct fm_slice slice_trim(struct fm_slice text)
{
    while (text.len && (is_blank(text.ptr[0]) || text.ptr[0] == '\r'))
        text = slice_skip(text, 1);
    while (text.len && (is_blank(text.ptr[text.len - 1]) || text.ptr[text.len - 1] == '\r'))
        text.len--;
    return text;
}

static bool slice_begins(struct fm_slice text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

/* ---- headers ---- */

static bool is_visible(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f)
            return false;
    }
    return text.len != 0;
}

static int auth_parse_basic(struct fm_slice text, struct auth_credential *credential)
{
    size_t len = 0;

    if (text.len > AUTH_CREDENTIAL_BYTES_MAX || fm_base64_decode(credential->bytes, &len, text) < 0)
        return FM_EMALFORMED;
    const uint8_t *colon = memchr(credential->bytes, ':', len);
    if (!colon || memchr(credential->bytes, 0, len)) /* crypt ends at a NUL */
        return FM_EMALFORMED;
    size_t name_len = (size_t)(colon - credential->bytes);
    credential->scheme = AUTH_SCHEME_BASIC;
    credential->name = fm_slice(credential->bytes, name_len);
    credential->secret = fm_slice(colon + 1, len - name_len - 1);
    return auth_name_is_good(credential->name) ? FM_OK : FM_EMALFORMED;
}

int auth_parse_header(struct fm_slice value, struct auth_credential *ret_credential)
{
    size_t len = 0;

    value = slice_trim(value);
    while (len < value.len && !is_blank(value.ptr[len]))
        len++;
    struct fm_slice scheme = fm_slice(value.ptr, len), rest = slice_trim(slice_skip(value, len));
    ret_credential->scheme = AUTH_SCHEME_NONE;
    if (fm_slice_equal_nocase(scheme, "basic"))
        return auth_parse_basic(rest, ret_credential);
    if (!fm_slice_equal_nocase(scheme, "bearer"))
        return FM_EUNSUPPORTED;
    if (rest.len > AUTH_CREDENTIAL_BYTES_MAX || !is_visible(rest))
        return FM_EMALFORMED;
    ret_credential->scheme = AUTH_SCHEME_BEARER;
    ret_credential->name = FM_SLICE("");
    ret_credential->secret = rest;
    return FM_OK;
}

/* ---- files ---- */

static bool is_hash_text(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    c == '.' || c == '/' || c == '$' || c == '=' || c == ',' || c == '_' ||
                    c == '-';
        if (!good)
            return false;
    }
    return true;
}

/* "$2y$10$" and 53 characters.  NULL: good; else what is wrong. */
static const char *bcrypt_complaint(struct fm_slice hash)
{
    const uint8_t *text = hash.ptr;

    if (hash.len != BCRYPT_BYTES || text[6] != '$' || text[4] < '0' || text[4] > '9' ||
        text[5] < '0' || text[5] > '9')
        return "not a whole bcrypt hash";
    unsigned cost = (unsigned)(text[4] - '0') * 10 + (unsigned)(text[5] - '0');
    return cost < 4 || cost > BCRYPT_COST_MAX ? "bcrypt cost out of 4 to 14" : NULL;
}

/* "$5$salt$hash" or "$6$rounds=N$salt$hash". */
static const char *sha_complaint(struct fm_slice hash)
{
    struct fm_slice rest = slice_skip(hash, 3);

    if (slice_begins(rest, "rounds=")) {
        const uint8_t *end = memchr(rest.ptr, '$', rest.len);
        if (!end || (size_t)(end - rest.ptr) > strlen("rounds=") + SHA_ROUNDS_DIGITS)
            return "more than 999999 rounds";
        rest = slice_skip(rest, (size_t)(end - rest.ptr) + 1);
    }
    const uint8_t *end = memchr(rest.ptr, '$', rest.len);
    size_t digest_bytes = hash.ptr[1] == '5' ? 43 : 86;
    if (!end || (size_t)(rest.ptr + rest.len - end) != digest_bytes + 1)
        return "not a whole SHA-crypt hash";
    return NULL;
}

static const char *hash_complaint(struct fm_slice hash)
{
    if (hash.len > AUTH_HASH_BYTES_MAX || !is_hash_text(hash))
        return "no password hash; use bcrypt: htpasswd -B";
    if (slice_begins(hash, "$2y$") || slice_begins(hash, "$2b$") || slice_begins(hash, "$2a$"))
        return bcrypt_complaint(hash);
    if (slice_begins(hash, "$5$") || slice_begins(hash, "$6$"))
        return sha_complaint(hash);
    if (slice_begins(hash, "$y$"))
        return NULL;
    if (slice_begins(hash, "$apr1$") || slice_begins(hash, "$1$"))
        return "MD5 hashes are too weak; use bcrypt: htpasswd -B";
    return "neither a bcrypt nor a SHA-crypt hash (plain text, DES and SHA-1 are not taken); "
           "use bcrypt: htpasswd -B";
}

static const char *entry_complaint(enum auth_file_kind kind, const struct auth_entry *entry)
{
    if (!auth_name_is_good(entry->name))
        return "a name has 1 to 127 visible characters without quotes and backslash";
    if (kind == AUTH_HTPASSWD)
        return hash_complaint(entry->secret);
    if (!is_visible(entry->secret) || entry->secret.len > AUTH_CREDENTIAL_BYTES_MAX)
        return "a token has 1 to 1024 visible characters";
    return NULL;
}

int auth_file_next(struct auth_file *file, struct auth_entry *ret_entry, struct fm_why *why)
{
    const char *complaint = "no colon; lines are NAME:HASH";

    while (file->rest.len) {
        const uint8_t *end = memchr(file->rest.ptr, '\n', file->rest.len);
        size_t len = end ? (size_t)(end - file->rest.ptr) : file->rest.len;
        struct fm_slice line = slice_trim(fm_slice(file->rest.ptr, len));
        file->rest = slice_skip(file->rest, len + (end != NULL));
        file->line++;
        if (!line.len || line.ptr[0] == '#')
            continue;
        const uint8_t *colon = memchr(line.ptr, ':', line.len);
        if (colon) {
            size_t name_len = (size_t)(colon - line.ptr);
            struct auth_entry entry = {
                .name = slice_trim(fm_slice(line.ptr, name_len)),
                .secret = slice_trim(slice_skip(line, name_len + 1)),
            };
            complaint = entry_complaint(file->kind, &entry);
            if (!complaint) {
                *ret_entry = entry;
                return FM_OK;
            }
        } else if (file->kind == AUTH_TOKENS) {
            complaint = "no colon; lines are NAME:TOKEN";
        }
        return fm_fail(why, FM_ECONFIG, "%.200s:%u: %s", file->path, file->line, complaint);
    }
    return FM_END;
}

/* ---- names ---- */

bool auth_name_is_good(struct fm_slice name)
{
    if (!name.len || name.len > NET_IDENTITY_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.ptr[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\'' || byte == '\\')
            return false;
    }
    return true;
}

int auth_word_next(struct fm_slice *list, struct fm_slice *ret_word)
{
    size_t len = 0;

    while (list->len && list->ptr[0] <= ' ')
        *list = slice_skip(*list, 1);
    while (len < list->len && list->ptr[len] > ' ')
        len++;
    if (!len)
        return FM_END;
    *ret_word = fm_slice(list->ptr, len);
    *list = slice_skip(*list, len);
    return FM_OK;
}

bool auth_list_has_name(const char *list, struct fm_slice name)
{
    struct fm_slice rest = fm_slice_text(list), word;

    while (auth_word_next(&rest, &word) == FM_OK) {
        if (fm_slice_equal(word, name))
            return true;
    }
    return false;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static bool dns_equal(struct fm_slice a, struct fm_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    }
    return true;
}

bool auth_list_has_dns(const char *list, struct fm_slice name)
{
    struct fm_slice rest = fm_slice_text(list), word;
    const uint8_t *dot = name.len ? memchr(name.ptr, '.', name.len) : NULL;

    while (auth_word_next(&rest, &word) == FM_OK) {
        if (dns_equal(word, name))
            return true;
        if (!slice_begins(word, "*.") || !dot || dot == name.ptr || name.ptr[0] == '*')
            continue;
        size_t label_len = (size_t)(dot - name.ptr);
        if (dns_equal(slice_skip(word, 1), slice_skip(name, label_len)))
            return true;
    }
    return false;
}
