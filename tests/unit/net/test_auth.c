/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials and names as text, and the table of other hosts. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "../../support/test.h"

#include "../../../src/daemon/net/auth_parse.h"
#include "../../../src/daemon/net/password.h"
#include "../../../src/daemon/net/peers.h"

#define S UINT64_C(1000000000)

static const char alice[] = "$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW";

static void test_headers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        enum auth_scheme scheme;
        const char *name, *secret;
    } rows[] = {
        {"Basic YWxpY2U6d29uZGVybGFuZA==", FM_OK, AUTH_SCHEME_BASIC, "alice", "wonderland"},
        {"bAsIc\t YWxpY2U6 ", FM_OK, AUTH_SCHEME_BASIC, "alice", ""},
        {"Basic YWxpY2U6YTpi", FM_OK, AUTH_SCHEME_BASIC, "alice", "a:b"},
        {"Bearer abc.DEF-123_~+/=", FM_OK, AUTH_SCHEME_BEARER, "", "abc.DEF-123_~+/="},
        {"Basic", FM_EMALFORMED, 0, NULL, NULL},
        {"Basic YWxpY2U=", FM_EMALFORMED, 0, NULL, NULL},     /* no colon */
        {"Basic OnNlY3JldA==", FM_EMALFORMED, 0, NULL, NULL}, /* no name */
        {"Basic YWxpY2U6AHg=", FM_EMALFORMED, 0, NULL, NULL}, /* a NUL */
        {"Basic YWwgaWNlOng=", FM_EMALFORMED, 0, NULL, NULL}, /* a blank in the name */
        {"Basic YWxpY2U6eA==, x", FM_EMALFORMED, 0, NULL, NULL},
        {"Bearer", FM_EMALFORMED, 0, NULL, NULL},
        {"Bearer a b", FM_EMALFORMED, 0, NULL, NULL},
        {"Digest username=x", FM_EUNSUPPORTED, 0, NULL, NULL},
        {"", FM_EUNSUPPORTED, 0, NULL, NULL},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct auth_credential credential;
        assert_int_equal(auth_parse_header(fm_slice_text(rows[i].text), &credential), rows[i].rc);
        if (rows[i].rc < 0)
            continue;
        assert_int_equal(credential.scheme, rows[i].scheme);
        assert_true(fm_slice_equal_text(credential.name, rows[i].name));
        assert_true(fm_slice_equal_text(credential.secret, rows[i].secret));
    }
}

static void test_long_headers(void **state)
{
    (void)state;
    struct auth_credential credential;
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    for (size_t i = 0; i < 2 * AUTH_CREDENTIAL_BYTES_MAX; i++) {
        fm_buf_reset(&text);
        fm_buf_puts(&text, i % 2 ? "Basic " : "Bearer ");
        for (size_t n = 0; n < i; n++)
            fm_buf_put_u8(&text, 'Q');
        int rc = auth_parse_header(fm_buf_slice(&text), &credential);
        if (i > AUTH_CREDENTIAL_BYTES_MAX)
            assert_int_equal(rc, FM_EMALFORMED);
    }
    fm_buf_fini(&text);
}

static void check_file(enum auth_file_kind kind, const char *text, const char *expected)
{
    struct auth_file file = {.kind = kind, .path = "f", .rest = fm_slice_text(text)};
    struct auth_entry entry;
    struct fm_why why = {""};
    struct fm_buf seen;
    int rc;

    fm_buf_init(&seen, FM_KIB(64));
    while ((rc = auth_file_next(&file, &entry, &why)) == FM_OK)
        fm_buf_printf(&seen, "%.*s ", (int)entry.name.len, (const char *)entry.name.ptr);
    if (rc < 0)
        fm_buf_puts(&seen, why.text);
    fm_buf_put_u8(&seen, 0);
    assert_string_equal((const char *)seen.ptr, expected);
    fm_buf_fini(&seen);
}

#define BCRYPT "$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW"
#define SHA256 "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
#define WEAK   "MD5 hashes are too weak; use bcrypt: htpasswd -B"
#define NEITHER                                                                                    \
    "neither a bcrypt nor a SHA-crypt hash (plain text, DES and SHA-1 are not taken); use "        \
    "bcrypt: htpasswd -B"

static void test_files(void **state)
{
    (void)state;
    check_file(AUTH_HTPASSWD, "", "");
    check_file(AUTH_HTPASSWD, "# x\n\n  a:" BCRYPT "  \r\nb:" SHA256, "a b ");
    check_file(AUTH_HTPASSWD,
               "a:$5$rounds=999999$saltstring$"
               "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
               "a ");
    check_file(AUTH_HTPASSWD, "a:$5$rounds=1000000$saltstring$x", "f:1: more than 999999 rounds");
    check_file(AUTH_HTPASSWD, "a:$5$saltstring$x", "f:1: not a whole SHA-crypt hash");
    check_file(AUTH_HTPASSWD, "a:$2b$31$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW",
               "f:1: bcrypt cost out of 4 to 14");
    check_file(AUTH_HTPASSWD, "a:$2b$05$abc", "f:1: not a whole bcrypt hash");
    check_file(AUTH_HTPASSWD, "\na:$apr1$abcdefgh$aaaaaaaaaaaaaaaaaaaaa1", "f:2: " WEAK);
    check_file(AUTH_HTPASSWD, "a:$1$abcdefgh$aaaaaaaaaaaaaaaaaaaaa1", "f:1: " WEAK);
    check_file(AUTH_HTPASSWD, "a:abJnggxhB/yWI", "f:1: " NEITHER);
    check_file(AUTH_HTPASSWD, "a:hunter2 x", "f:1: no password hash; use bcrypt: htpasswd -B");
    check_file(AUTH_HTPASSWD, "a", "f:1: no colon; lines are NAME:HASH");
    check_file(AUTH_HTPASSWD, "a b:" BCRYPT,
               "f:1: a name has 1 to 127 visible characters without quotes and backslash");
    check_file(AUTH_TOKENS, "a:secret\n# c\nb:with:colon\n a : x ", "a b a ");
    check_file(AUTH_TOKENS, "a:secret\nnothing", "a f:2: no colon; lines are NAME:TOKEN");
    check_file(AUTH_TOKENS, "a:", "f:1: a token has 1 to 1024 visible characters");
    check_file(AUTH_TOKENS, "a:b c", "f:1: a token has 1 to 1024 visible characters");
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *list, *name;
        bool dns, exact;
    } rows[] = {
        {"a b.example c", "b.example", true, true},
        {" a\tb ", "b", true, true},
        {"a.example", "A.Example", true, false},
        {"*.example", "a.example", true, false},
        {"*.example", "A.EXAMPLE", true, false},
        {"*.example", "a.b.example", false, false},
        {"*.example", ".example", false, false},
        {"*.example", "example", false, false},
        {"*.example", "*.example", true, true}, /* word for word */
        {"*.b.example", "*.example", false, false},
        {"a.example", "*.example", false, false},
        {"*", "a", false, false},
        {"*.", "a.", true, false},
        {"", "a", false, false},
        {"a", "", false, false},
        {"spiffe://x/y", "spiffe://x/y", true, true},
        {"spiffe://x/y", "spiffe://x/Y", true, false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_int_equal(auth_list_has_dns(rows[i].list, fm_slice_text(rows[i].name)), rows[i].dns);
        assert_int_equal(auth_list_has_name(rows[i].list, fm_slice_text(rows[i].name)),
                         rows[i].exact);
    }
    assert_true(auth_name_is_good(FM_SLICE("web-1.example:8080/x")));
    assert_false(auth_name_is_good(FM_SLICE("")));
    assert_false(auth_name_is_good(FM_SLICE("a b")));
    assert_false(auth_name_is_good(FM_SLICE("a\"b")));
    assert_false(auth_name_is_good(FM_SLICE("a\nb")));
    assert_false(auth_name_is_good(FM_SLICE("\xc3\xa9")));
}

static void test_passwords(void **state)
{
    (void)state;
    assert_true(password_matches("wonderland", alice));
    assert_false(password_matches("wonderlanD", alice));
    assert_false(password_matches("", alice));
    assert_true(password_matches("Hello world!", SHA256));
    assert_false(password_matches("Hello world", SHA256));
    assert_false(password_matches("x", "plain"));
    assert_false(password_matches("x", "*0"));
    assert_true(password_hash_is_known(alice));
    assert_false(password_hash_is_known("$nosuch$x"));
}

static struct sockaddr_storage address_from(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        address.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
        address.ss_family = AF_INET6;
    return address;
}

static struct peer *join(struct peers *peers, const char *text)
{
    const struct sockaddr_storage address = address_from(text);
    return peers_join(peers, &address);
}

static void test_peers(void **state)
{
    (void)state;
    struct peers peers;
    peers_init(&peers, 7);
    struct peer *one = join(&peers, "192.0.2.1"), *same = join(&peers, "::ffff:192.0.2.1");
    struct peer *other = join(&peers, "192.0.2.2");
    assert_ptr_equal(one, same);
    assert_ptr_not_equal(one, other);
    assert_int_equal(one->conn_count, 2);
    struct peer *v6 = join(&peers, "2001:db8::1"), *near = join(&peers, "2001:db8::ffff:1");
    struct peer *far = join(&peers, "2001:db8:0:1::1");
    assert_ptr_equal(v6, near); /* of one /64 */
    assert_ptr_not_equal(v6, far);
    for (int i = 0; i < 10; i++) {
        assert_false(peer_fails_often(one, 100 * S));
        peer_note_failure(one, 100 * S);
    }
    assert_true(peer_fails_often(one, 100 * S));
    peers_leave(&peers, one, 101 * S);
    peers_leave(&peers, one, 101 * S);
    one = join(&peers, "192.0.2.1"); /* hanging up does not help */
    assert_int_equal(one->conn_count, 1);
    assert_true(peer_fails_often(one, 102 * S));
    assert_false(peer_fails_often(one, 107 * S));
    peer_note_failure(one, 107 * S);
    assert_true(peer_fails_often(one, 107 * S));
    assert_false(peer_fails_often(one, 1000 * S));
    peers_leave(&peers, one, 1000 * S);
    peers_leave(&peers, other, 1000 * S);
    peers_leave(&peers, v6, 1000 * S);
    peers_leave(&peers, v6, 1000 * S);
    peers_leave(&peers, far, 1000 * S);
    for (unsigned i = 0; i < 5000; i++) { /* many that fail once: few are remembered */
        char text[32];
        (void)snprintf(text, sizeof text, "10.0.%u.%u", i / 256, i % 256);
        struct peer *peer = join(&peers, text);
        peer_note_failure(peer, 1000 * S);
        peers_leave(&peers, peer, 1000 * S);
    }
    assert_true(peers.quiet_count <= 512);
    peers_fini(&peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_long_headers),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_passwords), cmocka_unit_test(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
