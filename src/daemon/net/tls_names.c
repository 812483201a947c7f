/* SPDX-License-Identifier: Apache-2.0 */
/* The names in a certificate: DNS names and URIs of its subjectAltName; the CN only of one that has
 * neither, since authorities check CNs less. */
#include "auth_parse.h"
#include "tls_config.h"

static const uint8_t oid_cn[] = {0x55, 0x04, 0x03}; /* 2.5.4.3 */

enum tls_name_kind { TLS_NAME_DNS, TLS_NAME_URI, TLS_NAME_CN };
struct tls_name {
    enum tls_name_kind kind;
    struct fm_slice text;
};

/* mbedtls keeps the raw entries, each with its context tag. */
static bool name_from_entry(const mbedtls_x509_sequence *entry, struct tls_name *ret_name)
{
    unsigned kind = (unsigned)entry->buf.tag & 0x1fu;

    if (!entry->buf.p || (kind != 2 && kind != 6))
        return false;
    ret_name->kind = kind == 2 ? TLS_NAME_DNS : TLS_NAME_URI;
    ret_name->text = fm_slice(entry->buf.p, entry->buf.len);
    return true;
}

static bool cert_common_name(const mbedtls_x509_crt *cert, struct tls_name *ret_name)
{
    for (const mbedtls_x509_name *part = &cert->subject; part; part = part->next) {
        if (!part->oid.p || !part->val.p || part->oid.len != sizeof oid_cn ||
            memcmp(part->oid.p, oid_cn, sizeof oid_cn) != 0)
            continue;
        *ret_name = (struct tls_name){TLS_NAME_CN, fm_slice(part->val.p, part->val.len)};
        return true;
    }
    return false;
}

/* The name that goes into logs and chooses a tenant. */
static bool cert_first_name(const mbedtls_x509_crt *cert, struct tls_name *ret_name)
{
    for (const mbedtls_x509_sequence *entry = &cert->subject_alt_names; entry;
         entry = entry->next) {
        if (name_from_entry(entry, ret_name))
            return true;
    }
    return cert_common_name(cert, ret_name);
}

void tls_cert_name(const mbedtls_x509_crt *cert, char ret_name[NET_IDENTITY_NAME_MAX + 1])
{
    struct tls_name name;

    ret_name[0] = 0;
    if (!cert_first_name(cert, &name) || !auth_name_is_good(name.text))
        return;
    memcpy(ret_name, name.text.ptr, name.text.len);
    ret_name[name.text.len] = 0;
}

static bool name_is_allowed(const struct tls_name *name, const char *allowed_names)
{
    return name->kind == TLS_NAME_DNS ? auth_list_has_dns(allowed_names, name->text)
                                      : auth_list_has_name(allowed_names, name->text);
}

bool tls_cert_is_allowed(const mbedtls_x509_crt *cert, const char *allowed_names)
{
    struct tls_name name;
    bool has_alternatives = false;

    if (!allowed_names)
        return true;
    for (const mbedtls_x509_sequence *entry = &cert->subject_alt_names; entry;
         entry = entry->next) {
        if (!name_from_entry(entry, &name))
            continue;
        has_alternatives = true;
        if (name_is_allowed(&name, allowed_names))
            return true;
    }
    return !has_alternatives && cert_common_name(cert, &name) &&
           name_is_allowed(&name, allowed_names);
}
