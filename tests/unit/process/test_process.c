/* SPDX-License-Identifier: Apache-2.0 */
/* Every action on every place, the match language, redaction, and that what nothing changes is not
 * touched. */
#include "../../support/test.h"

#include "otlp.h"

static const struct otlp_span spans[] = {
    {.name = "GET",
     .kind = 2,
     .duration_ns = 5000000,
     .method = "GET",
     .route = "/pay/{id}",
     .secret = "hunter2",
     .code = 200},
    {.name = "health", .kind = 2, .route = "/health", .duration_ns = 1000},
    {.name = "query",
     .kind = 3,
     .status = 2,
     .duration_ns = 3000000000,
     .event = "no ann@example.org",
     .message = "from 10.0.0.7"},
};
static const char plain[] =
    "R{service.name=shop,site=north,} S{owner=ann@example.org,}"
    " <GET{http.request.method=GET,http.route=/pay/{id},password=hunter2,"
    "http.response.status_code=200,}>"
    " <health{http.route=/health,}>"
    " <query{}{exception.message=no ann@example.org,}{why=no ann@example.org,}"
    "from 10.0.0.7!2>\n";

static struct fm_buf request_new(void)
{
    struct fm_buf request;
    fm_buf_init(&request, FM_MIB(1));
    otlp_put_resource(&request, "shop", spans, FM_COUNT(spans));
    return request;
}

/* Runs the rules over the request; the result as text, or "" if nothing changed. */
static struct fm_buf run_over(const struct process_rule *rules, size_t count,
                              struct fm_slice request, struct process_tally *ret_tally)
{
    struct process_fault fault;
    struct fm_buf target, text;
    FM_AUTO(process) process = NULL;
    FM_AUTO(process_state) state = NULL;

    fm_buf_init(&target, FM_MIB(1));
    fm_buf_init(&text, FM_MIB(1));
    if (process_new(&process, rules, count, &fault) != FM_OK)
        fail_msg("%s: %s", fault.key ? fault.key : "", fault.why.text);
    assert_ok(process_state_new(&state, process));
    for (int again = 0; again < 2; again++) { /* the state keeps nothing */
        fm_buf_reset(&target);
        int rc = process_run(state, request, &target);
        assert_true(rc == FM_OK || rc == FM_NONE);
        assert_int_equal(rc == FM_NONE, target.len == 0 && request.len > 0 &&
                                            process_tallies(state)[0].dropped == 0);
        fm_buf_reset(&text);
        if (rc == FM_OK)
            otlp_show(fm_buf_slice(&target), &text);
        else
            fm_buf_put_u8(&text, 0);
    }
    if (ret_tally)
        memcpy(ret_tally, process_tallies(state), count * sizeof *ret_tally);
    fm_buf_fini(&target);
    return text;
}

static void check_run(const struct process_rule *rules, size_t count, const char *wanted)
{
    struct fm_buf request = request_new();
    struct fm_buf text = run_over(rules, count, fm_buf_slice(&request), NULL);
    assert_string_equal((char *)text.ptr, wanted);
    fm_buf_fini(&text);
    fm_buf_fini(&request);
}

/* The plain text with each `from` replaced. */
static void check_edit(const struct process_rule *rule, const char *from, const char *to)
{
    struct fm_buf wanted;
    const char *at = plain, *found;
    fm_buf_init(&wanted, FM_MIB(1));
    while (*from && (found = strstr(at, from))) {
        fm_buf_put(&wanted, at, (size_t)(found - at));
        fm_buf_puts(&wanted, to);
        at = found + strlen(from);
    }
    fm_buf_puts(&wanted, *from ? at : "");
    fm_buf_put_u8(&wanted, 0);
    check_run(rule, 1, (char *)wanted.ptr);
    fm_buf_fini(&wanted);
}

static struct process_rule attributes(enum process_action action, enum process_place on,
                                      const char *key, const char *value)
{
    return (struct process_rule){
        .kind = PROCESS_ATTRIBUTES,
        .name = "attributes.a",
        .attributes = {.action = action, .on = on, .key = key, .value = value},
    };
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct process_rule rows[] = {
        attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "http.route", "x"),
        attributes(PROCESS_UPDATE, PROCESS_ON_SPAN, "absent", "x"),
        attributes(PROCESS_DELETE, PROCESS_ON_SPAN, "absent", NULL),
        attributes(PROCESS_HASH, PROCESS_ON_SPAN, "absent", NULL),
        attributes(PROCESS_UPSERT, PROCESS_ON_RESOURCE, "site", "north"), /* as it is */
        attributes(PROCESS_INSERT, PROCESS_ON_RESOURCE, "site", "x"),
        attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "new", NULL), /* no such variable */
        {.kind = PROCESS_FILTER, .name = "f", .match = {.service = "other"}},
        {.kind = PROCESS_FILTER, .name = "f", .match = {.service = "shop"}, .filter = {true}},
        {.kind = PROCESS_REDACTION, .name = "r", .redaction = {.keys = "token *.key"}},
        {.kind = PROCESS_RENAME, .name = "n", .rename = {"{absent}"}},
        {.kind = PROCESS_RENAME, .name = "n", .rename = {"{http.request.method}"}},
    };
    rows[0].match.name = "=~ GET|health";
    rows[11].match.name = "GET"; /* which is its name already */
    rows[6].attributes.from_attribute = "";
    for (size_t i = 0; i < FM_COUNT(rows) - 1; i++)
        check_run(&rows[i], 1, "");
    check_run(&rows[11], 1, "");
    check_run(rows, FM_COUNT(rows), "");
}

static void test_every_action_on_every_place(void **state)
{
    (void)state;
    struct process_rule rule = attributes(PROCESS_INSERT, PROCESS_ON_RESOURCE, "env", "prod");
    check_edit(&rule, "site=north,", "site=north,env=prod,");
    rule = attributes(PROCESS_UPDATE, PROCESS_ON_RESOURCE, "site", "south");
    check_edit(&rule, "site=north,", "site=south,");
    rule = attributes(PROCESS_UPSERT, PROCESS_ON_RESOURCE, "site", "south");
    check_edit(&rule, "site=north,", "site=south,");
    rule = attributes(PROCESS_DELETE, PROCESS_ON_RESOURCE, "s?te", NULL);
    check_edit(&rule, "site=north,", "");
    rule = attributes(PROCESS_HASH, PROCESS_ON_SPAN, "pass*", NULL);
    check_edit(&rule, "hunter2",
               "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7");
    rule = attributes(PROCESS_MOVE, PROCESS_ON_SPAN, "password", NULL);
    rule.attributes.new_key = "secret";
    check_edit(&rule, "password=", "secret=");
    rule.attributes.new_key = "http.route"; /* which goes */
    check_edit(&rule, "http.route=/pay/{id},password=hunter2,", "http.route=hunter2,");
    rule = attributes(PROCESS_INSERT, PROCESS_ON_SCOPE, "x", "1");
    rule.attributes.type = PROCESS_INT;
    check_edit(&rule, "owner=ann@example.org,}", "owner=ann@example.org,x=1,}");
    rule = attributes(PROCESS_DELETE, PROCESS_ON_SCOPE, "owner", NULL);
    check_edit(&rule, "owner=ann@example.org,", "");
    rule = attributes(PROCESS_UPDATE, PROCESS_ON_EVENT, "exception.message", "-1.5");
    rule.attributes.type = PROCESS_DOUBLE;
    check_edit(&rule, "exception.message=no ann@example.org", "exception.message=-1.5");
    rule = attributes(PROCESS_UPSERT, PROCESS_ON_LINK, "y", "true");
    rule.attributes.type = PROCESS_BOOL;
    check_edit(&rule, "{why=no ann@example.org,", "{why=no ann@example.org,y=true,");
    rule = attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "copy", NULL);
    rule.attributes.from_attribute = "password";
    check_edit(&rule, "_code=200,", "_code=200,copy=hunter2,");
    rule.attributes.from_attribute = "resource.site";
    rule.match.name = "health";
    check_edit(&rule, "/health,", "/health,copy=north,");
    rule.attributes.from_attribute = "site"; /* the span has none */
    check_edit(&rule, "/health,", "/health,copy=north,");
}

/* What is missing is made: a resource and a scope. */
static void test_inserting_where_nothing_is(void **state)
{
    (void)state;
    struct process_rule rules[] = {
        attributes(PROCESS_INSERT, PROCESS_ON_SCOPE, "s", "1"),
        {.kind = PROCESS_RESOURCE,
         .name = "resource",
         .resource = {(struct process_pair[]){{FM_SLICE("host.name"), FM_SLICE("n1")},
                                              {FM_SLICE("site"), FM_SLICE("south")}},
                      2}},
    };
    struct otlp_span span = {.name = "a"};
    struct fm_buf request, text;
    fm_buf_init(&request, FM_MIB(1));
    otlp_put_resource(&request, NULL, &span, 1);
    otlp_put_resource(&request, "shop", &span, 1);
    text = run_over(rules, 2, fm_buf_slice(&request), NULL);
    assert_string_equal((char *)text.ptr, "R{host.name=n1,site=south,} S{s=1,} <a{}>\n"
                                          "R{service.name=shop,site=north,host.name=n1,}"
                                          " S{owner=ann@example.org,s=1,} <a{}>\n");
    fm_buf_fini(&text);
    fm_buf_fini(&request);
}

/* Which spans a filter drops, by first letters. */
static void test_match_language(void **state)
{
    (void)state;
    static const struct {
        struct process_match match;
        const char *dropped;
    } rows[] = {
        {{.service = "shop"}, "ghq"},
        {{.service = "=~ sh.*", .name = "health"}, "h"},
        {{.service = "!= shop"}, ""},
        {{.service = "!~ x"}, "ghq"},
        {{.name = "= GET"}, "g"},
        {{.name = "!= GET"}, "hq"},
        {{.name = "=~ .*e.*"}, "hq"},
        {{.name = "=~ e"}, ""}, /* the whole name */
        {{.name = "!~ q.*\n!= health"}, "g"},
        {{.kind = "server"}, "gh"},
        {{.kind = "!= Server"}, "q"},
        {{.status = "error"}, "q"},
        {{.status = "!= error"}, "gh"},
        {{.status = "unset"}, "gh"},
        {{.duration = "> 1s"}, "q"},
        {{.duration = ">= 5ms"}, "gq"},
        {{.duration = "<= 1us"}, "h"},
        {{.duration = "> 1us\n< 1s"}, "g"},
        {{.attribute = "http.route"}, "gh"},
        {{.attribute = "http.route = /health"}, "h"},
        {{.attribute = "http.route=/health"}, "h"},
        {{.attribute = "http.route != /health"}, "gq"},
        {{.attribute = "http.route = \"/health\""}, "h"},
        {{.attribute = "http.route =~ /pay/.*"}, "g"},
        {{.attribute = "http.response.status_code = 200"}, "g"},
        {{.attribute = "http.response.status_code >= 200\nhttp.response.status_code < 300"}, "g"},
        {{.attribute = "http.response.status_code > 200"}, ""},
        {{.attribute = "http.response.status_code =~ 2.."}, "g"},
        {{.attribute = "http.route > 1"}, ""},
        {{.attribute = "resource.site = north"}, "ghq"},
        {{.attribute = "resource.http.route"}, ""},
        {{.attribute = "site = north", .kind = "client"}, "q"},
        {{.attribute = "site != north"}, ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct process_rule rule = {.kind = PROCESS_FILTER, .name = "f", .match = rows[i].match};
        struct fm_buf request = request_new();
        struct process_tally tally;
        for (int keep = 0; keep < 2; keep++) {
            rule.filter.keep = keep;
            struct fm_buf text = run_over(&rule, 1, fm_buf_slice(&request), &tally);
            const char *shown = text.len > 1 || tally.dropped ? (char *)text.ptr : plain;
            const char *dropped = rows[i].dropped;
            const char *names[] = {"<GET", "<health", "<query"};
            for (size_t s = 0; s < 3; s++) {
                bool is_dropped = (strchr(dropped, "ghq"[s]) != NULL) != keep;
                if ((strstr(shown, names[s]) == NULL) != is_dropped)
                    fail_msg("row %zu keep %d: %s", i, keep, shown);
            }
            assert_int_equal(tally.dropped, keep ? 3 - strlen(dropped) : strlen(dropped));
            fm_buf_fini(&text);
        }
        fm_buf_fini(&request);
    }
}

/* An envelope without spans goes; others stay as they were. */
static void test_empty_envelopes(void **state)
{
    (void)state;
    struct process_rule rule = {.kind = PROCESS_FILTER, .name = "f", .match = {.service = "shop"}};
    struct fm_buf request = request_new(), target;
    struct process_fault fault;
    FM_AUTO(process) process = NULL;
    FM_AUTO(process_state) run = NULL;
    fm_buf_init(&target, FM_MIB(1));
    assert_ok(process_new(&process, &rule, 1, &fault));
    assert_ok(process_state_new(&run, process));
    assert_ok(process_run(run, fm_buf_slice(&request), &target));
    assert_int_equal(target.len, 0);
    size_t first = request.len;
    otlp_put_resource(&request, "other", spans, 2);
    size_t second = request.len;
    otlp_put_resource(&request, "shop", spans, 3);
    assert_ok(process_run(run, fm_buf_slice(&request), &target));
    assert_int_equal(process_tallies(run)[0].dropped, 6);
    assert_int_equal(target.len, second - first);
    assert_memory_equal(target.ptr, request.ptr + first, second - first);
    fm_buf_fini(&target);
    fm_buf_fini(&request);
}

static struct process_rule redaction(const char *keys, const char *presets, const char *patterns)
{
    return (struct process_rule){
        .kind = PROCESS_REDACTION,
        .name = "redaction.r",
        .redaction =
            {.keys = keys, .presets = presets, .patterns = patterns, .mask = "****", .names = true},
    };
}

static void test_redaction(void **state)
{
    (void)state;
    struct process_rule rule = redaction("pass* x", "", "");
    check_edit(&rule, "hunter2", "****");
    rule.redaction.mode = PROCESS_MODE_DELETE;
    check_edit(&rule, "password=hunter2,", "");
    rule.redaction.mode = PROCESS_MODE_HASH;
    check_edit(&rule, "hunter2",
               "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7");
    rule = redaction("", "email", "");
    check_edit(&rule, "ann@example.org", "****");
    rule.redaction.ignored_keys = "owner exception.*";
    check_edit(&rule, "{why=no ann@example.org", "{why=no ****");
    rule = redaction("", "address", "");
    check_edit(&rule, "10.0.0.7", "****");
    rule.redaction.names = false;
    check_run(&rule, 1, "");
    rule = redaction("", "", "hunter[0-9]\nnothing");
    check_edit(&rule, "hunter2", "****");
    rule = redaction("", "", "quer"); /* a span's name goes as a whole */
    check_edit(&rule, "<query", "<****");
}

/* Maps and arrays. */
static void test_redaction_inside_of_values(void **state)
{
    (void)state;
    struct fm_buf request, text;
    struct process_tally tally;
    fm_buf_init(&request, FM_MIB(1));
    size_t rs = pb_begin(&request, 1), ss = pb_begin(&request, 2), span = pb_begin(&request, 2);
    size_t kv = pb_begin(&request, 9);
    pb_put_text(&request, 1, "k");
    size_t value = pb_begin(&request, 2), map = pb_begin(&request, 6);
    otlp_string(&request, 1, "password", "p");
    otlp_string(&request, 1, "mail", "to a.b@c.de now");
    otlp_int(&request, 1, "n", 5);
    size_t pair = pb_begin(&request, 1);
    pb_put_text(&request, 1, "list");
    size_t inner = pb_begin(&request, 2), list = pb_begin(&request, 5), item;
    item = pb_begin(&request, 1);
    pb_put_text(&request, 1, "x@y.org");
    pb_end(&request, item);
    pb_end(&request, list);
    pb_end(&request, inner);
    pb_end(&request, pair);
    pb_end(&request, map);
    pb_end(&request, value);
    pb_end(&request, kv);
    otlp_int(&request, 9, "card", 4111111111111111);
    pb_end(&request, span);
    pb_end(&request, ss);
    pb_end(&request, rs);
    struct process_rule rule = redaction("password", "email card", "");
    text = run_over(&rule, 1, fm_buf_slice(&request), &tally);
    assert_string_equal((char *)text.ptr, " <{k=[password:****;mail:to **** now;n:5;"
                                          "list:[****;];],card=****,}>\n");
    assert_int_equal(tally.redacted, 4);
    assert_int_equal(tally.changed, 1);
    fm_buf_fini(&text);
    rule.redaction.mode = PROCESS_MODE_DELETE;
    text = run_over(&rule, 1, fm_buf_slice(&request), &tally);
    assert_string_equal((char *)text.ptr, " <{}>\n");
    fm_buf_fini(&text);
    fm_buf_fini(&request);
}

static void test_rename(void **state)
{
    (void)state;
    struct process_rule rule = {
        .kind = PROCESS_RENAME,
        .name = "rename.r",
        .rename = {"{http.request.method|http.method} {http.route}"},
    };
    check_edit(&rule, "<GET", "<GET /pay/{id}");
    rule.rename.template = "{service.name}: {http.response.status_code}";
    check_edit(&rule, "<GET", "<shop: 200");
    rule.rename.template = "{absent|http.route}";
    rule.match.name = "health";
    check_edit(&rule, "<health", "</health");
}

/* Each rule sees what the ones before it left. */
static void test_rules_in_their_order(void **state)
{
    (void)state;
    struct process_rule rules[] = {
        attributes(PROCESS_UPSERT, PROCESS_ON_RESOURCE, "service.name", "till"),
        {.kind = PROCESS_FILTER, .name = "f", .match = {.service = "shop"}},
        {.kind = PROCESS_RENAME, .name = "n", .rename = {"{http.route}"}},
        {.kind = PROCESS_FILTER, .name = "g", .match = {.name = "/health"}},
        redaction("", "email address", ""),
        attributes(PROCESS_DELETE, PROCESS_ON_SPAN, "http.*", NULL),
    };
    struct fm_buf request = request_new();
    struct process_tally tallies[FM_COUNT(rules)];
    struct fm_buf text = run_over(rules, FM_COUNT(rules), fm_buf_slice(&request), tallies);
    assert_string_equal((char *)text.ptr,
                        "R{service.name=till,site=north,} S{owner=****,}"
                        " </pay/{id}{password=hunter2,}>"
                        " <query{}{exception.message=no ****,}{why=no ****,}from ****!2>\n");
    static const uint64_t changed[] = {1, 0, 2, 0, 2, 1}, dropped[] = {0, 0, 0, 1, 0, 0};
    for (size_t i = 0; i < FM_COUNT(rules); i++) {
        assert_int_equal(tallies[i].changed, changed[i]);
        assert_int_equal(tallies[i].dropped, dropped[i]);
    }
    assert_int_equal(tallies[4].redacted, 4);
    fm_buf_fini(&text);
    fm_buf_fini(&request);
}

/* ---- settings ---- */

static void test_settings_that_are_wrong(void **state)
{
    (void)state;
    struct process_rule move = attributes(PROCESS_MOVE, PROCESS_ON_SPAN, "a", NULL);
    struct process_rule number = attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "a", "1x");
    struct process_rule place = attributes(PROCESS_DELETE, PROCESS_ON_RESOURCE, "a", NULL);
    number.attributes.type = PROCESS_INT;
    place.match.name = "x";
    const struct {
        struct process_rule rule;
        const char *key, *why;
    } rows[] = {
        {attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "", "v"), "key", "it has no key"},
        {attributes(PROCESS_INSERT, PROCESS_ON_SPAN, "a*", "v"), "key", "a pattern: \"a*\""},
        {move, "new_key", "action = rename needs new_key"},
        {number, "value", "not of the type: \"1x\""},
        {place, "match_name", "a resource or a scope belongs to many spans"},
        {{.kind = PROCESS_FILTER, .name = "f"},
         "action",
         "a filter without conditions drops everything"},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.name = "=~ ("}},
         "match_name",
         "missing closing ): `(`"},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.kind = "x"}},
         "match_kind",
         "no kind of a span: \"x\""},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.kind = "=~ x"}},
         "match_kind",
         "cannot be read: \"=~ x\""},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.duration = "2s"}},
         "match_duration",
         "cannot be read: \"2s\""},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.duration = "> 2"}},
         "match_duration",
         "no duration: \"> 2\""},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.attribute = "a > b"}},
         "match_attribute",
         "no number: \"a > b\""},
        {{.kind = PROCESS_FILTER, .name = "f", .match = {.attribute = "a b"}},
         "match_attribute",
         "cannot be read: \"a b\""},
        {redaction("", "", ""), "keys", "it says nothing of what to redact"},
        {redaction("", "emails", ""), "presets", "no preset: \"emails\""},
        {redaction("", "", "("), "patterns", NULL},
        {{.kind = PROCESS_RENAME, .name = "n", .rename = {"GET"}},
         "template",
         "it takes nothing from the span"},
        {{.kind = PROCESS_RENAME, .name = "n", .rename = {"{a"}},
         "template",
         "a key's braces are empty or not closed"},
        {{.kind = PROCESS_RENAME, .name = "n", .rename = {"{}"}},
         "template",
         "a key's braces are empty or not closed"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct process_fault fault;
        struct process *process = NULL;
        struct process_rule two[] = {attributes(PROCESS_DELETE, PROCESS_ON_SPAN, "a", NULL),
                                     rows[i].rule};
        assert_int_equal(process_new(&process, two, 2, &fault), FM_ECONFIG);
        assert_null(process);
        assert_int_equal(fault.rule, 1);
        assert_string_equal(fault.key, rows[i].key);
        if (rows[i].why)
            assert_string_equal(fault.why.text, rows[i].why);
    }
}

/* ---- hostile bytes and scarce memory ---- */

static const struct process_rule *all_rules(size_t *ret_count)
{
    static struct process_rule rules[8];
    rules[0] = attributes(PROCESS_UPSERT, PROCESS_ON_RESOURCE, "site", "s");
    rules[1] = attributes(PROCESS_INSERT, PROCESS_ON_SCOPE, "n", "v");
    rules[2] = attributes(PROCESS_HASH, PROCESS_ON_SPAN, "pass*", NULL);
    rules[3] = redaction("x", "email card address token", "nothing");
    rules[4] = (struct process_rule){
        .kind = PROCESS_RENAME, .name = "n", .rename = {"{http.request.method} {http.route}"}};
    rules[5] =
        (struct process_rule){.kind = PROCESS_FILTER, .name = "f", .match = {.name = "=~ heal.*"}};
    rules[6] = attributes(PROCESS_UPSERT, PROCESS_ON_EVENT, "e", "v");
    rules[7] = attributes(PROCESS_UPSERT, PROCESS_ON_LINK, "l", "v");
    *ret_count = FM_COUNT(rules);
    return rules;
}

static void run_hostile(void *self, struct fm_slice bytes)
{
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(1));
    int rc = process_run(self, bytes, &target);
    assert_true(rc == FM_OK || rc == FM_NONE || rc == FM_EMALFORMED || rc == FM_ELIMIT);
    fm_buf_fini(&target);
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    size_t count;
    const struct process_rule *rules = all_rules(&count);
    struct process_fault fault;
    FM_AUTO(process) process = NULL;
    FM_AUTO(process_state) run = NULL;
    struct fm_buf request = request_new();
    assert_ok(process_new(&process, rules, count, &fault));
    assert_ok(process_state_new(&run, process));
    test_each_prefix(fm_buf_slice(&request), run_hostile, run);
    test_each_bit_flip(fm_buf_slice(&request), run_hostile, run);
    fm_buf_fini(&request);
}

static void test_too_little_room(void **state)
{
    (void)state;
    size_t count;
    const struct process_rule *rules = all_rules(&count);
    struct process_fault fault;
    FM_AUTO(process) process = NULL;
    FM_AUTO(process_state) run = NULL;
    struct fm_buf request = request_new();
    bool fits = false;
    assert_ok(process_new(&process, rules, count, &fault));
    assert_ok(process_state_new(&run, process));
    for (size_t room = 1; !fits; room += 7) {
        struct fm_buf target;
        fm_buf_init(&target, room);
        int rc = process_run(run, fm_buf_slice(&request), &target);
        fits = rc == FM_OK;
        assert_int_equal(rc, fits ? FM_OK : FM_ELIMIT);
        fm_buf_fini(&target);
    }
    fm_buf_fini(&request);
}

static int run_once(const struct process_rule *rules, size_t count, struct fm_slice request)
{
    struct process_fault fault;
    struct fm_buf target;
    FM_AUTO(process) process = NULL;
    FM_AUTO(process_state) run = NULL;
    int rc = process_new(&process, rules, count, &fault);
    if (rc == FM_OK)
        rc = process_state_new(&run, process);
    if (rc < 0)
        return rc;
    fm_buf_init(&target, FM_MIB(1));
    rc = process_run(run, request, &target);
    fm_buf_fini(&target);
    return rc;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    size_t count;
    const struct process_rule *rules = all_rules(&count);
    struct fm_buf request = request_new();
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        test_alloc_fail_at(nth);
        int rc = run_once(rules, count, fm_buf_slice(&request));
        failed = test_alloc_failed();
        test_alloc_disarm();
        /* the regex's cache does without, the result's room is one matter with its limit */
        assert_true(rc == FM_OK || (failed && (rc == FM_ENOMEM || rc == FM_ELIMIT)));
    }
    fm_buf_fini(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_every_action_on_every_place),
        cmocka_unit_test(test_inserting_where_nothing_is),
        cmocka_unit_test(test_match_language),
        cmocka_unit_test(test_empty_envelopes),
        cmocka_unit_test(test_redaction),
        cmocka_unit_test(test_redaction_inside_of_values),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_rules_in_their_order),
        cmocka_unit_test(test_settings_that_are_wrong),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_too_little_room),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
