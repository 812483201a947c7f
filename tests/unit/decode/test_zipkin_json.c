/* SPDX-License-Identifier: Apache-2.0 */
/* Version 2 JSON, member by member, and what tags, annotations and addresses become.  In the
 * inputs ' stands for ". */
#include "../../support/test.h"

#include "zipkin_sample.h"

static struct fm_buf json_input(const char *text)
{
    struct fm_buf input;
    fm_buf_init(&input, FM_MIB(1));
    fm_buf_puts(&input, text);
    for (size_t i = 0; i < input.len; i++)
        if (input.ptr[i] == '\'')
            input.ptr[i] = '"';
    return input;
}

static void json_expect_refused(const char *text, uint32_t refused, const char *expected)
{
    struct fm_buf input = json_input(text);
    sample_expect_bytes(SAMPLE_JSON, fm_buf_slice(&input), refused, expected);
    fm_buf_fini(&input);
}

static void json_expect(const char *text, const char *expected)
{
    json_expect_refused(text, 0, expected);
}

static void json_expect_failure(const char *text, const char *why)
{
    struct fm_buf input = json_input(text);
    sample_expect_failure(SAMPLE_JSON, fm_buf_slice(&input), FM_EMALFORMED, why);
    fm_buf_fini(&input);
}

#define IDS  "0000000000000000000000000000000a:000000000000000b"
#define HEAD "'traceId':'a','id':'b','timestamp':1"
/* One span of no service, with these members and, of what comes out, what stands behind its ids. */
#define EXPECT(members, expected)                                                                  \
    json_expect("[{" HEAD "," members "}]", "resource{} scopes span{" IDS expected "}")
#define EXPECT_TAGS(tags, expected) EXPECT("'tags':{" tags "}", expected)

static void test_whole_span(void **state)
{
    (void)state;
    json_expect(/* Z1 */
                "[{'traceId':'5b8efff798038103d269b633813fc60c','id':'eee19b7ec3c1b174',"
                "'parentId':'eee19b7ec3c1b173','kind':'SERVER','name':'get /',"
                "'timestamp':1700000000000000,'duration':1500,"
                "'localEndpoint':{'serviceName':'svc','ipv4':'127.0.0.1','ipv6':'::1','port':8080},"
                "'remoteEndpoint':{'serviceName':'cli','ipv4':'10.0.0.2','port':51234},"
                "'annotations':[{'timestamp':1700000000000500,'value':'e1'}],"
                "'tags':{'http.method':'GET'},'debug':true,'shared':true}]",
                "resource{ service.name=\"svc\"} scopes"
                " span{5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174 parent=eee19b7ec3c1b173 "
                "get /"
                " kind=2 1700000000000000000+1500000 http.method=\"GET\" net.host.ip=\"::1\""
                " net.host.port=8080 peer.service=\"cli\" net.peer.ip=\"10.0.0.2\" "
                "net.peer.port=51234"
                " zipkin.shared=true event{1700000000000500000 e1}}");
}

static void test_documents(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "[]", " [ ] ", "[null]", "\xef\xbb\xbf[]"}; /* Z2 */
    for (size_t i = 0; i < FM_COUNT(empty); i++)
        json_expect(empty[i], "");
    json_expect("\xef\xbb\xbf[{" HEAD "}]", "resource{} scopes span{" IDS " 1000+0}"); /* Z34 */
    json_expect_failure("[{" HEAD "},]", "unexpected character at byte 40");
    json_expect_failure("[{" HEAD ",}]", "expected a key at byte 39");
    json_expect_failure("[{'timestamp':NaN}]", "unexpected character at byte 14");
    json_expect_failure("{" HEAD "}", "expected a list of spans at byte 1"); /* Z8 */
    json_expect_failure("5", "expected a list of spans at byte 1");
    json_expect_failure("[{" HEAD "}]x", "text behind the value at byte 40");
    json_expect_failure("[{" HEAD "}][]", NULL);
    json_expect_failure("[5]", "expected a span at byte 2");
    json_expect_failure("[[]]", "expected a span at byte 2");
    json_expect_failure(" ", "unexpected end at byte 1");
    json_expect_failure("[{'x':'", NULL);
    json_expect_failure("[{'duration':"
                        "10000000000000000000000000000000000000000000000000000000000000000}]",
                        "a number of more than 64 characters at byte 78");
}

static void test_deep(void **state)
{
    (void)state;
    char text[400], *end = stpcpy(text, "[{" HEAD ",'x':");
    memset(end, '[', 62);
    memset(end + 62, ']', 62);
    strcpy(end + 124, "}]");
    json_expect(text, "resource{} scopes span{" IDS " 1000+0}");
    memset(end, '[', 63);
    memset(end + 63, ']', 63);
    strcpy(end + 126, "}]");
    json_expect_failure(text, "nested too deeply at byte 105");
}

static void test_unknown_members(void **state)
{
    (void)state;
    EXPECT("'x':{'y':[1,{'z':null}]},'w':[[]],'debug':true,'v':'\\u00e9'", " 1000+0");
    /* null is as good as absent, and so is what has another type */
    EXPECT("'name':null,'kind':null,'parentId':null,'duration':null,'tags':null,'shared':null,"
           "'annotations':null,'localEndpoint':null,'remoteEndpoint':null",
           " 1000+0");
    EXPECT("'name':{},'kind':[],'parentId':5,'duration':{},'tags':[],'shared':0,"
           "'annotations':'x','localEndpoint':[],'remoteEndpoint':'y'",
           " 1000+0");
    EXPECT("'name':'first','name':'last','tags':{'a':'1'},'tags':{'b':'2'}",
           " last 1000+0 a=\"1\" b=\"2\"");
}

/* Z9 */
static void test_ids(void **state)
{
    (void)state;
#define TRACE(id, expected)                                                                        \
    json_expect("[{'traceId':'" id "','id':'b','timestamp':1}]",                                   \
                "resource{} scopes span{" expected ":000000000000000b 1000+0}")
    TRACE("1", "00000000000000000000000000000001");
    TRACE("eee19b7ec3c1b174", "0000000000000000eee19b7ec3c1b174");
    TRACE("1eee19b7ec3c1b174", "0000000000000001eee19b7ec3c1b174");
    TRACE("5b8efff798038103d269b633813fc60c", "5b8efff798038103d269b633813fc60c");
    TRACE("5B8EFFF798038103D269B633813FC60C", "5b8efff798038103d269b633813fc60c");
    TRACE("0000000000000000d269b633813fc60c", "0000000000000000d269b633813fc60c");
    json_expect("[{'id':'eee19b7ec3c1b17','traceId':'a','timestamp':1}]",
                "resource{} scopes span{0000000000000000000000000000000a:0eee19b7ec3c1b17 1000+0}");
    EXPECT("'parentId':'c'", " parent=000000000000000c 1000+0");
    EXPECT("'parentId':'b'", " 1000+0"); /* Z11 */
    EXPECT("'parentId':'000000000000000B'", " 1000+0");
    EXPECT("'parentId':'0000000000000000'", " 1000+0");
    EXPECT("'parentId':''", " 1000+0");
    EXPECT("'parentId':'x'", " 1000+0");
    EXPECT("'parentId':'c','parentId':'x'", " 1000+0");
}

/* Z10: the span is refused and counted, the rest is kept. */
static void test_bad_ids(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "'traceId':'a','id':'0000000000000000'",
        "'traceId':'a','id':'00000000000000001'",
        "'traceId':'a','id':'0x'",
        "'traceId':'a','id':''",
        "'traceId':'a','id':11",
        "'traceId':'a'",
        "'traceId':'0','id':'b'",
        "'traceId':'','id':'b'",
        "'traceId':'123456789012345678901234567890123','id':'b'",
        "'traceId':'1234567890123456789012345678901g','id':'b'",
        "'traceId':'a','traceId':null,'id':'b'",
        "'traceId':1,'id':'b'",
        "'id':'b'",
        "",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        char text[300];
        (void)snprintf(text, sizeof text, "[{%s,'name':'x','x':{'y':1}},{" HEAD "}]", bad[i]);
        if (!*bad[i])
            strcpy(text, "[{},{" HEAD "}]");
        json_expect_refused(text, 1,
                            i < 6 ? "resource{} scopes span{" IDS " 1000+0} resource{} scopes"
                                    " span{00000000000000000000000000000001}"
                                  : "resource{} scopes span{" IDS " 1000+0} resource{} scopes"
                                    " span{}");
    }
    json_expect_refused("[{},{},{'traceId':'c'}]", 3,
                        "resource{} scopes span{} span{}"
                        " span{00000000000000000000000000000001}");
}

static void test_kind(void **state)
{
    (void)state;
    EXPECT("'kind':'SERVER'", " kind=2 1000+0");
    EXPECT("'kind':'CLIENT'", " kind=3 1000+0");
    EXPECT("'kind':'PRODUCER'", " kind=4 1000+0");
    EXPECT("'kind':'CONSUMER'", " kind=5 1000+0");
    EXPECT("'kind':'server'", " kind=2 1000+0");
    EXPECT("'kind':'INTERNAL'", " 1000+0");
    EXPECT("'kind':''", " 1000+0");
    /* Z16: the tag fills in, and stays where it says something else */
    EXPECT_TAGS("'span.kind':'internal'", " kind=1 1000+0");
    EXPECT_TAGS("'span.kind':'Server'", " kind=2 1000+0");
    EXPECT_TAGS("'span.kind':'client'", " kind=3 1000+0");
    EXPECT_TAGS("'span.kind':'producer'", " kind=4 1000+0");
    EXPECT_TAGS("'span.kind':'consumer'", " kind=5 1000+0");
    EXPECT_TAGS("'span.kind':'banana'", " 1000+0 span.kind=\"banana\"");
    EXPECT("'kind':'CLIENT','tags':{'span.kind':'server'}", " kind=3 1000+0 span.kind=\"server\"");
}

static void test_times(void **state)
{
    (void)state;
#define TIMES(members, expected)                                                                   \
    json_expect("[{'traceId':'a','id':'b'" members "}]", "resource{} scopes span{" IDS expected "}")
#define ABSENT " otel.zipkin.absentField.startTime=true"
    TIMES("", " 0+0" ABSENT); /* Z22 */
    TIMES(",'timestamp':null", " 0+0" ABSENT);
    TIMES(",'timestamp':0,'duration':7", " 0+7000" ABSENT);
    TIMES(",'timestamp':-5", " 0+0" ABSENT);
    TIMES(",'timestamp':'x'", " 0+0" ABSENT);
    TIMES(",'timestamp':'1700000000000000','duration':'7'", " 1700000000000000000+7000");
    TIMES(",'timestamp':1.7e15", " 1700000000000000000+0");
    TIMES(",'timestamp':5,'duration':0", " 5000+0"); /* Z23 */
    TIMES(",'timestamp':5,'duration':-1", " 5000+0");
    TIMES(",'timestamp':5,'duration':1.5", " 5000+0");                     /* not a whole number */
    TIMES(",'timestamp':18446744073709551615", " 18446744073709551615+0"); /* no wrap-around */
    TIMES(",'timestamp':18446744073709551,'duration':1", " 18446744073709551000+615");
    TIMES(",'timestamp':5,'duration':18446744073709551615", " 5000+-5001");
}

static void test_shared(void **state)
{
    (void)state;
    EXPECT("'shared':true,'kind':'SERVER'", " kind=2 1000+0 zipkin.shared=true"); /* Z26 */
    EXPECT("'shared':true", " 1000+0 zipkin.shared=true");
    EXPECT("'shared':'true'", " 1000+0 zipkin.shared=true");
    EXPECT("'shared':false", " 1000+0");
    EXPECT("'shared':true,'kind':'CLIENT'", " kind=3 1000+0"); /* it cannot be */
    json_expect("[{" HEAD ",'kind':'CLIENT'},{" HEAD ",'kind':'SERVER','shared':true}]",
                "resource{} scopes span{" IDS " kind=3 1000+0} span{" IDS
                " kind=2 1000+0 zipkin.shared=true}");
}

/* ---- endpoints ---- */

static void test_endpoints(void **state)
{
    (void)state;
    EXPECT("'localEndpoint':{'ipv4':'1.2.3.4','port':80}",
           " 1000+0 net.host.ip=\"1.2.3.4\" net.host.port=80"); /* Z14 */
    EXPECT("'localEndpoint':{'serviceName':''}", " 1000+0");
    EXPECT("'remoteEndpoint':{'serviceName':'db','x':[1],'ipv4':null,'port':null}",
           " 1000+0 peer.service=\"db\"");
    EXPECT("'remoteEndpoint':{'port':'5432'}", " 1000+0 net.peer.port=5432");
    EXPECT("'remoteEndpoint':{'port':65535}", " 1000+0 net.peer.port=65535");
    EXPECT("'remoteEndpoint':{'port':70000}", " 1000+0"); /* Z25 */
    EXPECT("'remoteEndpoint':{'port':-1}", " 1000+0");
    EXPECT("'remoteEndpoint':{'port':0}", " 1000+0");
    /* IPv6 wins over IPv4, and what the sender says in tags over both */
    EXPECT("'remoteEndpoint':{'ipv6':'2001:db8::1','ipv4':'1.2.3.4'}",
           " 1000+0 net.peer.ip=\"2001:db8::1\"");
    EXPECT("'remoteEndpoint':{'serviceName':'a','ipv4':'1.2.3.4','port':1},"
           "'localEndpoint':{'ipv4':'1.2.3.4','port':1},"
           "'tags':{'peer.service':'b','net.peer.ip':'c','net.peer.port':'d','net.host.ip':'e',"
           "'net.host.port':'f'}",
           " 1000+0 peer.service=\"b\" net.peer.ip=\"c\" net.peer.port=\"d\" net.host.ip=\"e\""
           " net.host.port=\"f\"");
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"10.0.0.1", "10.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"010.000.000.001", "10.0.0.1"},
        {"0.0.0.0", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.5", NULL},
        {"1.2.3.256", NULL},
        {"1.2.3.0004", NULL},
        {"1.2.3.", NULL},
        {"1..3.4", NULL},
        {" 1.2.3.4", NULL},
        {"1.2.3.4 ", NULL},
        {"::1", "::1"},
        {"::", NULL},
        {"1::", "1::"},
        {"2001:DB8::1", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"}, /* RFC 5952: shortened as far as it goes */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* one group is not elided */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* the longest run */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* the first of two */
        {"2001:0db8::0001", "2001:db8::1"},               /* no zeros in front */
        {"fe80:0:0:0:0:0:0:0", "fe80::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"abcd:ef01:2345:6789:abcd:ef01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1::3:4:5:6:7:8", "1:0:3:4:5:6:7:8"},
        {"::ffff:10.0.0.9", "10.0.0.9"}, /* IPv4 in IPv6 is IPv4 */
        {"::FFFF:0A00:0009", "10.0.0.9"},
        {"0:0:0:0:0:ffff:10.0.0.9", "10.0.0.9"},
        {"::10.0.0.9", "::a00:9"}, /* compatible, not mapped */
        {"64:ff9b::10.0.0.9", "64:ff9b::a00:9"},
        {"::ffff:0.0.0.0", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
        {"::1:2:3:4:5:6:7:8", NULL},
        {"1::2::3", NULL},
        {":::", NULL},
        {":1", NULL},
        {"1:", NULL},
        {"1:2:3:4:5:6:7:", NULL},
        {"12345::", NULL},
        {"g::", NULL},
        {"fe80::1%eth0", NULL},
        {"::1.2.3", NULL},
        {"::1.2.3.4:5", NULL},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"localhost", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        for (int is_six = 0; is_six < 2; is_six++) { /* whichever member it stands in */
            char text[200], expected[200];
            (void)snprintf(text, sizeof text, "[{" HEAD ",'localEndpoint':{'ipv%c':'%s'}}]",
                           is_six ? '6' : '4', rows[i][0]);
            (void)snprintf(expected, sizeof expected,
                           "resource{} scopes span{" IDS " 1000+0%s%s%s}",
                           rows[i][1] ? " net.host.ip=\"" : "", rows[i][1] ? rows[i][1] : "",
                           rows[i][1] ? "\"" : "");
            json_expect(text, expected);
        }
    /* one that is none does not take back one that is */
    EXPECT("'localEndpoint':{'ipv4':'1.2.3.4','ipv6':'x'}", " 1000+0 net.host.ip=\"1.2.3.4\"");
}

/* ---- resources and scopes ---- */

#define SERVED(name, more) "{" HEAD ",'localEndpoint':{'serviceName':'" name "'}" more "}"
#define SPAN               "span{" IDS " 1000+0}"

static void test_resources(void **state)
{
    (void)state;
    json_expect("[" SERVED("a", "") "," SERVED("b", "") "," SERVED("a", "") "]", /* Z12 */
                "resource{ service.name=\"a\"} scopes " SPAN " " SPAN
                " resource{ service.name=\"b\"} scopes " SPAN);
    json_expect("[{" HEAD ",'localEndpoint':{'serviceName':'a','ipv4':'1.1.1.1'}},"
                "{" HEAD ",'localEndpoint':{'serviceName':'a','ipv4':'2.2.2.2'}}]", /* Z13 */
                "resource{ service.name=\"a\"} scopes span{" IDS " 1000+0 net.host.ip=\"1.1.1.1\"}"
                " span{" IDS " 1000+0 net.host.ip=\"2.2.2.2\"}");
#define POD(name) ",'tags':{'k8s.pod.name':'" name "','x':'y','host.name':'h'}"
    json_expect("[" SERVED("a", POD("p")) "," SERVED("a", POD("q")) "," SERVED("a", "") "," SERVED(
                    "a", POD("p")) "]", /* Z15 */
                "resource{ service.name=\"a\" k8s.pod.name=\"p\" host.name=\"h\"} scopes"
                " span{" IDS " 1000+0 x=\"y\"} span{" IDS " 1000+0 x=\"y\"}"
                " resource{ service.name=\"a\" k8s.pod.name=\"q\" host.name=\"h\"} scopes"
                " span{" IDS " 1000+0 x=\"y\"} resource{ service.name=\"a\"} scopes " SPAN);
    EXPECT("'localEndpoint':null", " 1000+0");
    json_expect("[{" HEAD ",'tags':{'service.version':'1'}}]", /* no service: kept all the same */
                "resource{ service.version=\"1\"} scopes " SPAN);
}

static void test_service_name_tag(void **state)
{
    (void)state;
    json_expect("[" SERVED("a", ",'tags':{'service.name':'a'}") "," SERVED("a", "") "]",
                "resource{ service.name=\"a\"} scopes " SPAN " " SPAN);
    json_expect("[" SERVED("a", ",'tags':{'service.name':'b'}") "]",
                "resource{ service.name=\"a\"} scopes span{" IDS " 1000+0 service.name=\"b\"}");
    json_expect("[{" HEAD ",'tags':{'service.name':'b'}}]",
                "resource{ service.name=\"b\"} scopes " SPAN);
#define SOURCE(more) ",'tags':{'otlp.service.name.source':'faas.name'" more "}"
    json_expect("[" SERVED("a", SOURCE("")) "," SERVED("a", "") "]",
                "resource{ faas.name=\"a\"} scopes " SPAN
                " resource{ service.name=\"a\"} scopes " SPAN);
    json_expect("[" SERVED("a", SOURCE(",'faas.name':'a','faas.id':'i'")) "]",
                "resource{ faas.name=\"a\" faas.id=\"i\"} scopes " SPAN);
    json_expect("[" SERVED("a", SOURCE(",'faas.name':'b'")) "]", /* nothing is lost */
                "resource{ faas.name=\"a\"} scopes span{" IDS " 1000+0 faas.name=\"b\"}");
    json_expect("[{" HEAD SOURCE("") "}]", "resource{} scopes " SPAN);
}

static void test_scopes(void **state)
{
    (void)state;
#define SCOPED(tags)     SERVED("a", ",'tags':{" tags "}")
#define SCOPE_NAME(n)    "'otel.scope.name':'" n "'"
#define SCOPE_VERSION(v) "'otel.scope.version':'" v "'"
#define LIBRARY_NAME(n)  "'otel.library.name':'" n "'"
#define LIBRARY_VER(v)   "'otel.library.version':'" v "'"
    static const char spans[] = /* clang-format off */
        "[" SCOPED(SCOPE_NAME("n") "," SCOPE_VERSION("1"))
        "," SCOPED(LIBRARY_NAME("n") "," LIBRARY_VER("2"))
        "," SCOPED(LIBRARY_NAME("n") "," LIBRARY_VER("1"))
        "," SCOPED(SCOPE_NAME("m") "," LIBRARY_NAME("n"))
        "," SCOPED(SCOPE_VERSION("3"))
        "," SERVED("a", "") "]"; /* clang-format on */
    json_expect(spans, "resource{ service.name=\"a\"} scopes scope{n 1} " SPAN " " SPAN
                       " scopes scope{n 2} " SPAN " scopes scope{m} " SPAN " scopes scope{ 3} " SPAN
                       " scopes " SPAN);
    json_expect("[" SCOPED("'otel.scope.name':'','otel.library.name':'n'") "]",
                "resource{ service.name=\"a\"} scopes scope{n} " SPAN);
}

/* So many groups that their tables are in use, in two rounds. */
static void test_many_groups(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct fm_buf input;
    struct decode_facts facts;
    fm_buf_init(&input, FM_MIB(1));
    for (int i = 0; i < 2 * COUNT; i++)
        fm_buf_printf(&input,
                      "%c{\"traceId\":\"a\",\"id\":\"b\",\"timestamp\":1,\"localEndpoint\":"
                      "{\"serviceName\":\"%d\"},\"tags\":{\"otel.scope.name\":\"%d\"}}",
                      i ? ',' : '[', i % COUNT, i % COUNT);
    fm_buf_puts(&input, "]");
    struct fm_buf target = sample_translate(SAMPLE_JSON, fm_buf_slice(&input), 0);
    struct fm_slice rest = fm_buf_slice(&target);
    struct pb_field field;
    size_t count = 0;
    while (pb_next(&rest, &field) == FM_OK)
        count++;
    assert_int_equal(count, COUNT);
    decode_facts_init(&facts);
    assert_ok(otlp_pb_check(fm_buf_slice(&target), &decode_limits_default, &facts, NULL));
    assert_int_equal(facts.span_count, 2 * COUNT);
    decode_facts_fini(&facts);
    fm_buf_fini(&target);
    fm_buf_fini(&input);
}

/* ---- tags ---- */

static void test_tags(void **state)
{
    (void)state;
    EXPECT_TAGS("'n':5,'b':true,'f':false,'x':null,'d':1.50,'o':{'a':1},'l':[1],'':'e','k':''",
                " 1000+0 n=\"5\" b=\"true\" f=\"false\" d=\"1.50\" =\"e\" k=\"\""); /* Z24 */
    EXPECT_TAGS("'':''", " 1000+0");
    EXPECT_TAGS("'a\\u0062\\n':'\\u00e9\\ud83d\\ude00'",
                " 1000+0 ab\n=\"\xc3\xa9\xf0\x9f\x98\x80\"");
    EXPECT_TAGS("'a':'\xff'", " 1000+0 a=\"\xef\xbf\xbd\""); /* repaired */
    /* the last value of a key, at the place of the first */
    EXPECT_TAGS("'a':'1','b':'2','a':'3','error':'x','c':'4','error':'true'",
                " 1000+0 a=\"3\" b=\"2\" c=\"4\" error");
}

static void test_long_values(void **state)
{
    (void)state;
    /* the lengths at which a length takes one more byte, at each level */
    for (size_t len = 90; len < 140; len++) {
        char value[150], text[300], expected[300];
        memset(value, 'v', len);
        value[len] = 0;
        (void)snprintf(text, sizeof text, "[{" HEAD ",'tags':{'key':'%s'}}]", value);
        (void)snprintf(expected, sizeof expected,
                       "resource{} scopes span{" IDS " 1000+0 key=\"%s\"}", value);
        json_expect(text, expected);
        (void)snprintf(text, sizeof text, "[{" HEAD ",'name':'%s'}]", value);
        (void)snprintf(expected, sizeof expected, "resource{} scopes span{" IDS " %s 1000+0}",
                       value);
        json_expect(text, expected);
    }
}

static void test_many_tags(void **state)
{
    (void)state;
    struct fm_buf input, expected;
    fm_buf_init(&input, FM_MIB(1));
    fm_buf_init(&expected, FM_MIB(1));
    fm_buf_puts(&input, "[{\"traceId\":\"a\",\"id\":\"b\",\"timestamp\":1,\"tags\":{");
    fm_buf_puts(&expected, "resource{} scopes span{" IDS " 1000+0");
    for (int i = 0; i < 1000; i++) {
        fm_buf_printf(&input, "%s\"k%d\":\"%d\"", i ? "," : "", i, i);
        fm_buf_printf(&expected, " k%d=\"%d\"", i, i);
    }
    fm_buf_puts(&input, "}}]");
    fm_buf_puts(&expected, "}");
    fm_buf_put_u8(&expected, 0);
    sample_expect_bytes(SAMPLE_JSON, fm_buf_slice(&input), 0, (const char *)expected.ptr);
    fm_buf_fini(&expected);
    fm_buf_fini(&input);
}

static void test_status(void **state)
{
    (void)state;
    EXPECT_TAGS("'error':''", " 1000+0 error"); /* Z17 */
    EXPECT_TAGS("'error':'true'", " 1000+0 error");
    EXPECT_TAGS("'error':'TRUE'", " 1000+0 error");
    EXPECT_TAGS("'error':true", " 1000+0 error");
    EXPECT_TAGS("'error':'false'", " 1000+0 error=\"false\"");
    EXPECT_TAGS("'error':false", " 1000+0 error=\"false\"");
    EXPECT_TAGS("'error':'boom'", " 1000+0 error=\"boom\" error=\"boom\"");
    EXPECT_TAGS("'error':'boom','otel.status_description':'d'",
                " 1000+0 error=\"boom\" error=\"d\"");
    EXPECT_TAGS("'otel.status_code':'ERROR'", " 1000+0 error"); /* Z18 */
    EXPECT_TAGS("'otel.status_code':'Error'", " 1000+0 error");
    EXPECT_TAGS("'otel.status_code':'STATUS_CODE_ERROR','otel.status_description':'d'",
                " 1000+0 error=\"d\"");
    EXPECT_TAGS("'otel.status_code':'Ok'", " 1000+0 ok");
    EXPECT_TAGS("'otel.status_code':'status_code_ok'", " 1000+0 ok");
    EXPECT_TAGS("'otel.status_code':'UNSET'", " 1000+0");
    EXPECT_TAGS("'otel.status_code':'STATUS_CODE_UNSET','otel.status_description':'d'",
                " 1000+0 unset=\"d\"");
    EXPECT_TAGS("'otel.status_code':'STATUS_CODE_'", " 1000+0");
    EXPECT_TAGS("'otel.status_code':'2'", " 1000+0");
    EXPECT_TAGS("'otel.status_code':'OK','error':'true'", " 1000+0 error"); /* as the Collector */
    EXPECT_TAGS("'otel.status_code':'OK','error':'false'", " 1000+0 error=\"false\" ok");
    EXPECT_TAGS("'otel.status_description':'d'", " 1000+0 otel.status_description=\"d\"");
    EXPECT_TAGS("'otel.status_description':'d','error':'true'", " 1000+0 error=\"d\"");
    EXPECT_TAGS("'http.status_code':'500'", " 1000+0 http.status_code=\"500\"");
}

static void test_trace_state(void **state)
{
    (void)state;
    EXPECT_TAGS("'w3c.tracestate':'a=1,b=2','x':'y'", " state=a=1,b=2 1000+0 x=\"y\"");
    EXPECT_TAGS("'w3c.tracestate':''", " 1000+0");
}

/* ---- annotations and links ---- */

#define EXPECT_NOTE(value, expected)                                                               \
    EXPECT("'annotations':[{'timestamp':2,'value':'" value "'}]", " 1000+0 event{2000" expected "}")

static void test_annotations(void **state)
{
    (void)state;
    EXPECT("'annotations':[{'value':'b','timestamp':3},{'timestamp':'2','value':'a','x':[]}]",
           " 1000+0 event{3000 b} event{2000 a}");
    /* without a time or a text it is none */
    EXPECT("'annotations':[{'value':'b'},{'timestamp':2},{'timestamp':0,'value':'c'},{},null,5,"
           "'x',[{'timestamp':2,'value':'d'}],{'timestamp':-2,'value':'e'},"
           "{'timestamp':2,'value':''},{'timestamp':2,'value':null}]",
           " 1000+0");
    EXPECT(
        "'annotations':[{'timestamp':2,'value':7},{'timestamp':18446744073709551615,'value':'m'}]",
        " 1000+0 event{2000 7} event{18446744073709551615 m}");
    /* two letters mean nothing special in version 2 */
    EXPECT("'kind':'CLIENT','annotations':[{'timestamp':2,'value':'ws'}]",
           " kind=3 1000+0 event{2000 ws}");
}

static void test_annotation_attributes(void **state)
{
    (void)state;
    /* Z19, the Collector's way */
    EXPECT_NOTE("a|{\\\"x\\\":1}|2", " a x=1 dropped=2");
    EXPECT_NOTE("a|{}|0", " a");
    EXPECT_NOTE("|{\\\"x\\\":\\\"|\\\"}|0", "  x=\"|\"");
    EXPECT_NOTE(
        "a|{\\\"x\\\":1.5,\\\"y\\\":true,\\\"z\\\":false,\\\"s\\\":\\\"t\\\",\\\"n\\\":null,"
        "\\\"o\\\":{\\\"p\\\":1},\\\"l\\\":[1],\\\"i\\\":-3}|0",
        " a x=1.5f y=true z=false s=\"t\" i=-3");
    EXPECT_NOTE("a|{\\\"x\\\":1e400,\\\"y\\\":36893488147419103232}|0",
                " a x=\"1e400\" y=3.68935e+19f");
    EXPECT_NOTE("a|{\\\"x\\\":\\\"\\\\u0041\\\"}|7", " a x=\"A\" dropped=7");
    /* Z20, and others that are not quite it: the text as it is */
    EXPECT_NOTE("a|b|c", " a|b|c");
    EXPECT_NOTE("a|b", " a|b");
    EXPECT_NOTE("a|{}|", " a|{}|");
    EXPECT_NOTE("a|{}|x", " a|{}|x");
    EXPECT_NOTE("a|{}|-1", " a|{}|-1");
    EXPECT_NOTE("a|{}|99999999999999999999", " a|{}|99999999999999999999");
    EXPECT_NOTE("a|{\\\"x\\\"}|0", " a|{\"x\"}|0");
    EXPECT_NOTE("a|{\\\"x\\\":1} |0", " a x=1");
    EXPECT_NOTE("a|{\\\"x\\\":1}y|0", " a|{\"x\":1}y|0");
    EXPECT_NOTE("a|[1]|0", " a|[1]|0");
    EXPECT_NOTE("a||0", " a||0");
    EXPECT_NOTE("|||", " |||");
    /* other exporters' ways */
    EXPECT_NOTE("a: {\\\"x\\\":1}", " a x=1");
    EXPECT_NOTE("a b:{\\\"x\\\":1}", " a b x=1");
    EXPECT_NOTE("\\\"a\\\": {\\\"x\\\":1}", " a x=1");
    EXPECT_NOTE("{\\\"a\\\": {\\\"x\\\":1}}", " a x=1");
    EXPECT_NOTE("a: {}", " a");
    EXPECT_NOTE("a: {\\\"x\\\":1", " a: {\"x\":1");
    EXPECT_NOTE("a: {\\\"x\\\":1}}", " a: {\"x\":1}}");
    EXPECT_NOTE("{\\\"a\\\": {\\\"x\\\":1}", " {\"a\": {\"x\":1}");
    EXPECT_NOTE("{\\\"x\\\":1}", " {\"x\":1}");
    EXPECT_NOTE("{\\\"a\\\":{\\\"x\\\":1},\\\"b\\\":{}}", " {\"a\":{\"x\":1},\"b\":{}}");
    EXPECT_NOTE("\\\"a\\\\\\\"\\\": {}", " \"a\\\"\": {}");
    EXPECT_NOTE("\\\"a: {}", " \"a: {}");
    EXPECT_NOTE("{}", " {}");
    EXPECT_NOTE("{{}}", " {{}}");
    EXPECT_NOTE(":{}", " :{}");
    EXPECT_NOTE("a:}", " a:}");
    EXPECT_NOTE("http://x/{id}", " http://x/{id}");
}

static void test_links(void **state)
{
    (void)state;
#define LINK_IDS  "abababababababababababababababab|00000000000000ff"
#define LINK_TEXT "abababababababababababababababab:00000000000000ff"
    EXPECT_TAGS("'otlp.link.0':'" LINK_IDS "|a=1|{\\\"x\\\":1}|2','y':'z'", /* Z21 */
                " 1000+0 y=\"z\" link{" LINK_TEXT " state=a=1 x=1 dropped=2}");
    EXPECT_TAGS("'otlp.link.0':'" LINK_IDS "||{}|0','otlp.link.127':'" LINK_IDS "||{}|0'",
                " 1000+0 link{" LINK_TEXT "} link{" LINK_TEXT "}");
    EXPECT_TAGS("'otlp.link.0':'" LINK_IDS "||{\\\"x\\\":\\\"|\\\"}|0'",
                " 1000+0 link{" LINK_TEXT " x=\"|\"}");
    /* what is none stays an attribute */
    static const char *const bad[] = {
        "",
        "a|b|c",
        LINK_IDS "||{}",
        LINK_IDS "||{}|",
        LINK_IDS "||{}|x",
        LINK_IDS "||{|0",
        LINK_IDS "|||0",
        "ab|00000000000000ff||{}|0",
        "abababababababababababababababab|0||{}|0",
        "abababababababababababababababag|00000000000000ff||{}|0",
        "00000000000000000000000000000000|00000000000000ff||{}|0",
        "abababababababababababababababab|0000000000000000||{}|0",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        char text[300], expected[300];
        (void)snprintf(text, sizeof text, "[{" HEAD ",'tags':{'otlp.link.0':'%s'}}]", bad[i]);
        (void)snprintf(expected, sizeof expected,
                       "resource{} scopes span{" IDS " 1000+0 otlp.link.0=\"%s\"}", bad[i]);
        json_expect(text, expected);
    }
    EXPECT_TAGS("'otlp.link.':'" LINK_IDS "||{}|0'", " 1000+0 otlp.link.=\"" LINK_IDS "||{}|0\"");
    EXPECT_TAGS("'otlp.link.x':'y'", " 1000+0 otlp.link.x=\"y\"");
}

/* ---- hostile ---- */

static const char json_sample[] =
    "[{'traceId':'5b8efff798038103d269b633813fc60c','id':'eee19b7ec3c1b174','parentId':'1',"
    "'kind':'SERVER','name':'g\\u00e9t','timestamp':1700000000000000,'duration':1500,"
    "'localEndpoint':{'serviceName':'svc','ipv4':'127.0.0.1','ipv6':'2001:db8::1','port':8080},"
    "'remoteEndpoint':{'serviceName':'cli','ipv4':'010.0.0.2','port':51234},"
    "'annotations':[{'timestamp':17,'value':'a: {\\\"x\\\":\\\"\\\\n\\\"}'}],'tags':{'otlp.link.0':"
    "'" LINK_IDS "|a=1|{\\\"x\\\":1}|2','otel.scope.name':'n','error':'boom','host.name':'h'},"
    "'shared':true},{" HEAD ",'annotations':[{'timestamp':3,'value':'sr','endpoint':"
    "{'serviceName':'w'}}],'binaryAnnotations':[{'key':'k','value':5,'endpoint':{'port':1}}]},{}]";

static void test_cut_and_flipped(void **state)
{
    (void)state;
    struct fm_buf input = json_input(json_sample);
    sample_cut_and_flip(SAMPLE_JSON, fm_buf_slice(&input));
    fm_buf_fini(&input);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fm_buf input = json_input(json_sample);
    sample_fail_each(SAMPLE_JSON, fm_buf_slice(&input));
    fm_buf_fini(&input);
}

static void test_limits(void **state)
{
    (void)state;
    struct fm_buf input = json_input(json_sample), target;
    struct fm_arena scratch;
    struct fm_why why = {{0}};
    static const uint8_t huge[1];
    struct fm_buf whole = sample_translate(SAMPLE_JSON, fm_buf_slice(&input), 1);
    fm_buf_init(&target, 0);
    fm_arena_init(&scratch, SAMPLE_SCRATCH_MAX);
    for (; target.bytes_max < whole.len; target.bytes_max++) {
        assert_int_equal(zipkin_json_decode(fm_buf_slice(&input), &scratch, &target, &why),
                         FM_ELIMIT);
        assert_true(target.len == 0 && !target.failed);
        assert_string_equal(why.text, "the spans need more memory than they may");
    }
    fm_buf_fini(&whole);
    target.bytes_max = FM_MIB(1);
    int rc = FM_ELIMIT;
    for (size_t max = 0; rc != FM_OK; max += 50) {
        assert_true(max < 20000);
        fm_arena_fini(&scratch);
        fm_arena_init(&scratch, max);
        rc = zipkin_json_decode(fm_buf_slice(&input), &scratch, &target, &why);
        assert_true(rc == FM_OK || (rc == FM_ELIMIT && target.len == 0 && !target.failed));
    }
    assert_int_equal(zipkin_json_decode(fm_slice(huge, FM_MIB(500)), &scratch, &target, &why),
                     FM_ELIMIT);
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
    fm_buf_fini(&input);
}

/* X3: few bytes that become as much as they can, many times. */
static void test_memory(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *unit, *end;
    } rows[] = {
        {"[", "{},", "{}]"},
        {"[", "{'traceId':'1','id':'1'},", "{}]"},
        {"[", "{'traceId':'1','id':'1','tags':{'a':0}},", "{}]"},
        {"[", "{'traceId':'1','id':'1','annotations':[{'timestamp':1,'value':'a'}]},", "{}]"},
        {"[", "{'traceId':'1','id':'1','binaryAnnotations':[]},", "{}]"},
        {"[{'traceId':'1','id':'1','tags':{", "'':0,", "'':0}}]"},
        {"[{'traceId':'1','id':'1','tags':{", "'\\n':0,", "'':0}}]"},
        {"[{'traceId':'1','id':'1','tags':{", "'\xff':0,", "'':0}}]"},
        {"[{'traceId':'1','id':'1','annotations':[", "{'timestamp':1,'value':0},", "0]}]"},
        {"[{'traceId':'1','id':'1','annotations':[", "{'timestamp':1,'value':'a: {}'},", "0]}]"},
        {"[{'traceId':'1','id':'1','binaryAnnotations':[", "{'key':0,'value':0},", "0]}]"},
        {"[{'traceId':'1','id':'1','binaryAnnotations':[",
         "{'key':0,'value':0,'endpoint':{'port':1}},", "0]}]"},
        {"[{'traceId':'1','id':'1','x':[", "[],", "0]}]"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf input = json_input(rows[i].begin), unit = json_input(rows[i].unit);
        struct fm_buf end = json_input(rows[i].end);
        while (input.len < 200000)
            fm_buf_put_slice(&input, fm_buf_slice(&unit));
        fm_buf_put_slice(&input, fm_buf_slice(&end));
        sample_expect_frugal(SAMPLE_JSON, fm_buf_slice(&input));
        fm_buf_fini(&end);
        fm_buf_fini(&unit);
        fm_buf_fini(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_span),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_unknown_members),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_kind),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_service_name_tag),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_many_groups),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_many_tags),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_trace_state),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_annotation_attributes),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
