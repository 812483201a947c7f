/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/xml.h"

static void assert_find(const char *document, const char *path, int expected_rc,
                        const char *expected)
{
    struct fm_buf text;
    fm_buf_init(&text, 1000);
    uint8_t *copy = test_exact_copy(fm_slice_text(document));
    assert_int_equal(xml_find(fm_slice(copy, strlen(document)), path, &text), expected_rc);
    if (expected_rc == FM_OK)
        assert_true(fm_slice_equal_text(fm_buf_slice(&text), expected));
    free(copy);
    fm_buf_fini(&text);
}

static const char error_answer[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- x -->\n"
    "<Error><Code>NoSuch&amp;Key</Code><Message>it&apos;s &lt;gone&gt; &#233;&#x20AC;</Message>"
    "<Empty/><Inner><Code>inner</Code></Inner><RequestId>a<![CDATA[<b>&]]>c</RequestId></Error>\n";

static void test_find(void **state)
{
    (void)state;
    assert_find(error_answer, "Error/Code", FM_OK, "NoSuch&Key");
    assert_find(error_answer, "Error/Message", FM_OK, "it's <gone> \xc3\xa9\xe2\x82\xac");
    assert_find(error_answer, "Error/Inner/Code", FM_OK, "inner");
    assert_find(error_answer, "Error/Empty", FM_OK, "");
    assert_find(error_answer, "Error/RequestId", FM_OK, "a<b>&c");
    assert_find(error_answer, "Error/None", FM_NONE, NULL);
    assert_find(error_answer, "Code", FM_NONE, NULL);
    assert_find(error_answer, "Error/Inner/Code/Deeper", FM_NONE, NULL);
    assert_find("<a xmlns='http://s3' b = \"/>\" ><s:b c='1'>x</s:b ></a>", "a/b", FM_OK, "x");
    assert_find("<a><b>1</b><b>2</b></a>", "a/b", FM_OK, "1");
    assert_find("<x><a><b>1</b></a></x>", "a/b", FM_NONE, NULL);
    assert_find("<a/>", "a", FM_OK, "");
    assert_find("\xef\xbb\xbf<a>1<b>2</b>3</a>", "a", FM_OK, "123");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        "x",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>x",
        "<a>&nbsp;</a>",
        "<a>&</a>",
        "<a>&#0;</a>",
        "<a>&#xd800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#12a;</a>",
        "<!DOCTYPE a><a/>",
        "<a b></a>",
        "<a b=c></a>",
        "<a b='></a>",
        "< a/>",
        "<a><!-- </a>",
        "<a><![CDATA[ </a>",
        "<![CDATA[x]]><a/>",
        "<a",
        "<a/",
        "<a>&amp</a>",
        "&amp;<a/>",
        "<a><?x </a>",
        "<a>&#99999999999;</a>",
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_find(rows[i], "a", FM_EMALFORMED, NULL);
}

static void test_limits(void **state)
{
    (void)state;
    char deep[200] = "";
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        strcat(deep, "<a>");
    for (int i = 0; i < XML_DEPTH_MAX; i++)
        strcat(deep, "</a>");
    assert_find(deep, "a/a", FM_OK, "");
    memmove(deep + 3, deep, strlen(deep) + 1);
    assert_find(deep, "a/a", FM_ELIMIT, NULL);
    struct fm_buf text;
    fm_buf_init(&text, 3);
    assert_int_equal(xml_find(FM_SLICE("<a>1234</a>"), "a", &text), FM_ELIMIT);
    fm_buf_fini(&text);
    struct fm_buf large;
    fm_buf_init(&large, 2 * XML_DOCUMENT_MAX);
    fm_buf_put_zeros(&large, XML_DOCUMENT_MAX + 1);
    assert_int_equal(xml_find(fm_buf_slice(&large), "a", &text), FM_ELIMIT);
    fm_buf_fini(&large);
}

static int xml_on_element(void *self, struct fm_slice inner)
{
    struct fm_buf *buf = self;
    fm_buf_put_slice(buf, inner);
    fm_buf_put_u8(buf, ';');
    return inner.len == 4 ? FM_MORE : FM_OK;
}

static void test_each(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 1000);
    assert_ok(xml_each(FM_SLICE("<l><k>1</k><o><k>no</k></o><k><x>2</x>&lt;</k><k/></l>"), "l/k",
                       xml_on_element, &buf));
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "1;<x>2</x>&lt;;;"));
    fm_buf_reset(&buf);
    assert_int_equal(xml_each(FM_SLICE("<l><k>stop</k><k>2</k>"), "l/k", xml_on_element, &buf),
                     FM_MORE);
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "stop;"));
    fm_buf_fini(&buf);
}

static void xml_body(void *self, struct fm_slice input)
{
    struct fm_buf text;
    fm_buf_init(&text, 1000);
    int rc = xml_find(input, "Error/Message", &text);
    if (self) /* a prefix that lacks more than the last line feed */
        assert_true(input.len + 1 >= sizeof error_answer - 1 || rc == FM_EMALFORMED);
    fm_buf_fini(&text);
}

static void test_hostile_input(void **state)
{
    (void)state;
    int prefix;
    test_each_prefix(fm_slice_text(error_answer), xml_body, &prefix);
    test_each_bit_flip(fm_slice_text(error_answer), xml_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_each),
        cmocka_unit_test(test_hostile_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
