/* SPDX-License-Identifier: Apache-2.0 */
/* What machines say of themselves, and what the presets of redaction find. */
#include "../../support/test.h"

#include "../../../src/lib/process/internal.h"
#include "fermata/process_facts.h"

/* "key=value\n" of each fact. */
static void check_facts(const struct process_facts *facts, const char *wanted)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    for (size_t i = 0; i < facts->count; i++) {
        fm_buf_put_slice(&text, facts->pairs[i].key);
        fm_buf_puts(&text, "=");
        fm_buf_put_slice(&text, facts->pairs[i].value);
        fm_buf_puts(&text, "\n");
    }
    fm_buf_put_u8(&text, 0);
    assert_string_equal((char *)text.ptr, wanted);
    fm_buf_fini(&text);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void facts_cgroup_all(struct process_facts *facts, struct fm_slice text)
{
    process_facts_cgroup(facts, text, 7);
}
static void facts_aws(struct process_facts *facts, struct fm_slice text)
{
    (void)process_facts_aws(facts, text);
}
static void facts_gcp(struct process_facts *facts, struct fm_slice text)
{
    (void)process_facts_gcp(facts, text);
}
static void facts_azure(struct process_facts *facts, struct fm_slice text)
{
    (void)process_facts_azure(facts, text);
}

static const struct {
    void (*read)(struct process_facts *facts, struct fm_slice text);
    const char *text, *wanted;
} fact_rows[] = {
    {process_facts_environment, "a=1, b = x%20y%2Cz ,a=2,c,=d,e=,f=%zz%4",
     "a=1\nb=x y,z\nf=%zz%4\n"},
    {process_facts_environment, "a=x%0ay,b=%ff,c=ok", "c=ok\n"},
    {process_facts_os_release,
     "PRETTY_NAME=\"A \\\"B\\\" 12\"\nNAME='N M'\n# NAME=x\nVERSION_ID=12\nID=n\n",
     "os.description=A \"B\" 12\nos.name=N M\nos.version=12\n"},
    {process_facts_labels, "app=\"till\"\nk8s.io/x=\"a\\\\b\"\n\n=\"c\"\n",
     "k8s.pod.label.app=till\nk8s.pod.label.k8s.io/x=a\\b\n"},
    {facts_cgroup_all, "0::/system.slice/fermata.service\n",
     "systemd.unit=fermata.service\nsystemd.slice=system.slice\n"},
    {facts_cgroup_all, "12:cpu,memory:/docker/" ID "\n0::/\n", "container.id=" ID "\n"},
    {facts_cgroup_all,
     "0::/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/"
     "cri-containerd-" ID ".scope\n",
     "container.id=" ID "\n"
     "systemd.slice=kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice\n"
     "k8s.pod.uid=01234567-89ab-cdef-0123-456789abcdef\n"},
    {facts_cgroup_all, "1:x:/kubepods/besteffort/pod01234567-89ab-cdef-0123-456789abcdef/" ID "\n",
     "container.id=" ID "\nk8s.pod.uid=01234567-89ab-cdef-0123-456789abcdef\n"},
    {facts_cgroup_all, "0::/../x" ID "\n1\n:\n::\n0::/podxx\n", ""},
    {process_facts_mountinfo,
     "1 2 0:3 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw\n",
     "container.id=" ID "\n"},
    {facts_aws,
     "{\"accountId\":\"7\",\"region\":\"r\",\"x\":{\"region\":\"no\"},\"y\":[{\"region\":\"no\"}],"
     "\"availabilityZone\":\"ra\",\"instanceId\":\"i-1\",\"instanceType\":null}",
     "cloud.account.id=7\ncloud.region=r\ncloud.availability_zone=ra\nhost.id=i-1\n"
     "cloud.provider=aws\n"},
    {facts_gcp,
     "{\"instance\":{\"id\":123,\"zone\":\"projects/1/zones/z-a\",\"disks\":[{\"id\":1}]},"
     "\"project\":{\"projectId\":\"p\",\"attributes\":{\"zone\":\"x\"}}}",
     "host.id=123\ncloud.availability_zone=z-a\ncloud.account.id=p\ncloud.provider=gcp\n"},
    {facts_azure, "{\"compute\":{\"location\":\"north\",\"vmId\":\"v\",\"zone\":\"\"}}",
     "cloud.region=north\nhost.id=v\ncloud.provider=azure\n"},
    {facts_aws, "<html>", ""},
    {facts_aws, "[{\"region\":\"r\"}]", ""},
    {facts_aws, "{\"other\":\"r\"}", ""},
};

static void test_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(fact_rows); i++) {
        struct process_facts facts;
        process_facts_init(&facts);
        fact_rows[i].read(&facts, fm_slice_text(fact_rows[i].text));
        check_facts(&facts, fact_rows[i].wanted);
        process_facts_fini(&facts);
    }
}

struct hostile {
    void (*read)(struct process_facts *facts, struct fm_slice text);
};

static void read_hostile(void *self, struct fm_slice text)
{
    const struct hostile *hostile = self;
    struct process_facts facts;
    process_facts_init(&facts);
    hostile->read(&facts, text);
    process_facts_fini(&facts);
}

static void test_hostile_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(fact_rows); i++) {
        struct hostile hostile = {fact_rows[i].read};
        test_each_prefix(fm_slice_text(fact_rows[i].text), read_hostile, &hostile);
        test_each_bit_flip(fm_slice_text(fact_rows[i].text), read_hostile, &hostile);
    }
    struct process_facts facts;
    struct fm_buf many;
    fm_buf_init(&many, FM_MIB(1));
    for (int i = 0; i < 1000; i++)
        fm_buf_printf(&many, "k%d=%d,", i, i);
    process_facts_init(&facts);
    process_facts_environment(&facts, fm_buf_slice(&many));
    assert_int_equal(facts.count, PROCESS_FACTS_MAX);
    process_facts_fini(&facts);
    fm_buf_fini(&many);
}

/* ---- presets ---- */

static void test_presets(void **state)
{
    (void)state;
    static const struct {
        struct process_found (*find)(struct fm_slice text, size_t from);
        const char *text, *found; /* "": nothing */
    } rows[] = {
        {process_find_email, "to Ann.B+c@mail.example.org, now", "Ann.B+c@mail.example.org"},
        {process_find_email, "a@b @c.de x@", ""},
        {process_find_email, "<a@b.co.uk>", "a@b.co.uk"},
        {process_find_email, "git@host:x a@b.c", ""},
        {process_find_email, "@@@@a@b.de@", "a@b.de"},
        {process_find_card, "4111 1111 1111 1111.", "4111 1111 1111 1111"},
        {process_find_card, "n=4111-1111-1111-1111", "4111-1111-1111-1111"},
        {process_find_card, "12 378282246310005 7", "378282246310005"},
        {process_find_card, "4111111111111112", ""},
        {process_find_card, "x4111111111111111", ""},
        {process_find_card, "41111111111111111111111111111", ""},
        {process_find_card, "1795221125000000000", ""},
        {process_find_address, "from 10.0.0.7:80", "10.0.0.7"},
        {process_find_address, "v1.2.3.4 1.2.3.4.5 1.2.3 256.1.1.1", ""},
        {process_find_address, "at 192.168.1.1.", "192.168.1.1"},
        {process_find_address, "[2001:db8::1]:80", "2001:db8::1"},
        {process_find_address, "::1", "::1"},
        {process_find_address, "peer fe80::1: gone", "fe80::1"},
        {process_find_address, "::ffff:10.0.0.1 x", "::ffff:10.0.0.1"},
        {process_find_address, "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {process_find_address, "at 12:34:56 std::vector 00:11:22:33:44:55", ""},
        {process_find_token, "Authorization: Bearer abcdefgh.ijk", "Bearer abcdefgh.ijk"},
        {process_find_token, "bearer of news", ""},
        {process_find_token, "key AKIAIOSFODNN7EXAMPLE!", "AKIAIOSFODNN7EXAMPLE"},
        {process_find_token, "xAKIAIOSFODNN7EXAMPLE", ""},
        {process_find_token, "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln",
         "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln"},
        {process_find_token, "", ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice text = fm_slice_text(rows[i].text);
        uint8_t *copy = test_exact_copy(text);
        struct process_found found = rows[i].find(fm_slice(copy, text.len), 0);
        char shown[128];
        (void)snprintf(shown, sizeof shown, "%.*s", (int)found.len, rows[i].text + found.start);
        if (strcmp(shown, rows[i].found) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].text, shown, rows[i].found);
        free(copy);
    }
}

static void test_globs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},           {"", "a", false},     {"*", "", true},
        {"a*c", "abc", true},     {"a*c", "ac", true},  {"a*c", "acb", false},
        {"a?c", "abc", true},     {"a?c", "ac", false}, {"*.key", "a.b.key", true},
        {"*a*b", "xaxbxb", true}, {"**", "x", true},    {"http.*.x", "http.y", false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_int_equal(process_glob(fm_slice_text(rows[i].pattern), fm_slice_text(rows[i].text)),
                         rows[i].matches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_hostile_facts),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_globs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
