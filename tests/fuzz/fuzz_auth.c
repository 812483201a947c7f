/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization headers, htpasswd and tokens files, lists of names. */
#include <stdlib.h>

#include "../../src/daemon/net/auth_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_header(struct fm_slice input)
{
    struct auth_credential credential;

    if (auth_parse_header(input, &credential) < 0)
        return;
    if (credential.secret.len > AUTH_CREDENTIAL_BYTES_MAX)
        abort();
    if (credential.scheme == AUTH_SCHEME_BASIC &&
        (!auth_name_is_good(credential.name) ||
         (credential.secret.len && memchr(credential.secret.ptr, 0, credential.secret.len))))
        abort();
}

static void fuzz_file(enum auth_file_kind kind, struct fm_slice input)
{
    struct auth_file file = {.kind = kind, .path = "f", .rest = input};
    struct auth_entry entry;
    struct fm_why why;
    int rc;

    while ((rc = auth_file_next(&file, &entry, &why)) == FM_OK) {
        if (!auth_name_is_good(entry.name) || !entry.secret.len ||
            entry.secret.ptr + entry.secret.len > input.ptr + input.len)
            abort();
    }
    if (rc != FM_END && rc != FM_ECONFIG)
        abort();
}

/* The input up to its first line end is a name, the rest is the list. */
static void fuzz_names(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t name_len = end ? (size_t)(end - data) : 0;
    char *list = malloc(size - name_len + 1);

    if (!list)
        return;
    if (size > name_len)
        memcpy(list, data + name_len, size - name_len);
    list[size - name_len] = 0;
    struct fm_slice name = fm_slice(data, name_len);
    if (auth_list_has_name(list, name) && !auth_list_has_dns(list, name))
        abort();
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);

    if (size > 8192)
        return 0;
    fuzz_header(input);
    fuzz_file(AUTH_HTPASSWD, input);
    fuzz_file(AUTH_TOKENS, input);
    fuzz_names(data, size);
    return 0;
}
