/* SPDX-License-Identifier: Apache-2.0 */
/* auth_parse - what is written in Authorization headers, htpasswd files and tokens files, and
 * whether a name is on a list.  Functions of their arguments; no files, no hashing. */
#ifndef NET_AUTH_PARSE_H
#define NET_AUTH_PARSE_H

#include "fermata/bytes.h"
#include "fermata/net_auth.h"

#define AUTH_CREDENTIAL_BYTES_MAX 1024u /* user and password, or a token */
#define AUTH_ENTRIES_MAX          10000u
#define AUTH_HASH_BYTES_MAX       256u

enum auth_scheme { AUTH_SCHEME_NONE, AUTH_SCHEME_BASIC, AUTH_SCHEME_BEARER };
struct auth_credential { /* the slices point into bytes, or into the header */
    enum auth_scheme scheme;
    struct fm_slice name;   /* Basic: the user */
    struct fm_slice secret; /* password or token */
    uint8_t bytes[AUTH_CREDENTIAL_BYTES_MAX];
};
/* One Authorization header.  FM_EMALFORMED; FM_EUNSUPPORTED: another scheme. */
FM_MUST int auth_parse_header(struct fm_slice value, struct auth_credential *ret_credential);

/* A line of an htpasswd or tokens file: NAME:HASH or NAME:TOKEN. */
struct auth_entry {
    struct fm_slice name, secret; /* borrowed from the text */
};
enum auth_file_kind { AUTH_HTPASSWD, AUTH_TOKENS };
/* Skips blank lines and # comments.  FM_END: no line is left.  FM_ECONFIG: why says "FILE:LINE:
 * what is wrong", never what the line says. */
struct auth_file {
    enum auth_file_kind kind;
    const char *path;
    struct fm_slice rest;
    unsigned line; /* of the last entry */
};
FM_MUST int auth_file_next(struct auth_file *file, struct auth_entry *ret_entry,
                           struct fm_why *why);

/* A name that may go into logs and files: 1 to NET_IDENTITY_NAME_MAX visible ASCII characters,
 * without quotes and backslash. */
bool auth_name_is_good(struct fm_slice name);
/* One word of a list separated by blanks; FM_END. */
FM_MUST int auth_word_next(struct fm_slice *list, struct fm_slice *ret_word);
/* name equals a word of the list; DNS names in either case and, if a word begins with "*.", with
 * exactly one label in place of the star. */
bool auth_list_has_name(const char *list, struct fm_slice name);
bool auth_list_has_dns(const char *list, struct fm_slice name);

#endif
