/* SPDX-License-Identifier: Apache-2.0 */
/* XML, as far as object stores use it.  The whole document is walked and checked in every case, so
 * that an answer cut short is told apart from one that lacks the element. */
#include "fermata/xml.h"

struct xml_walk {
    const uint8_t *ptr;
    const uint8_t *end;
    struct fm_slice path[XML_DEPTH_MAX]; /* what is looked for */
    size_t path_len;
    struct fm_slice open[XML_DEPTH_MAX]; /* names of the open elements, with prefixes */
    size_t depth;
    size_t matched; /* leading open elements that are those of the path */
    bool rooted;
    bool found;
    const uint8_t *inner; /* where the content of the element at path begins */
    struct fm_buf *text;  /* borrowed; takes the text of the first element at path, or NULL */
    int (*visit)(void *self, struct fm_slice inner);
    void *self;
};

static size_t xml_left(const struct xml_walk *walk)
{
    return (size_t)(walk->end - walk->ptr);
}

static bool xml_starts(const struct xml_walk *walk, const char *text)
{
    size_t len = strlen(text);
    return xml_left(walk) >= len && memcmp(walk->ptr, text, len) == 0;
}

static bool xml_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void xml_skip_blanks(struct xml_walk *walk)
{
    while (walk->ptr < walk->end && xml_is_blank(*walk->ptr))
        walk->ptr++;
}

/* Moves behind the next `text`; what stands before it is *ret_before. */
static int xml_skip_to(struct xml_walk *walk, const char *text, struct fm_slice *ret_before)
{
    const uint8_t *found = memmem(walk->ptr, xml_left(walk), text, strlen(text));
    if (!found)
        return FM_EMALFORMED;
    *ret_before = fm_slice(walk->ptr, (size_t)(found - walk->ptr));
    walk->ptr = found + strlen(text);
    return FM_OK;
}

static int xml_name(struct xml_walk *walk, struct fm_slice *ret_name)
{
    const uint8_t *start = walk->ptr;

    while (walk->ptr < walk->end && !xml_is_blank(*walk->ptr) && !memchr("<>/='\"&", *walk->ptr, 7))
        walk->ptr++;
    if (walk->ptr == start)
        return FM_EMALFORMED;
    *ret_name = fm_slice(start, (size_t)(walk->ptr - start));
    return FM_OK;
}

static struct fm_slice xml_local_name(struct fm_slice name)
{
    const uint8_t *colon = memchr(name.ptr, ':', name.len);
    return colon ? fm_slice(colon + 1, (size_t)(name.ptr + name.len - colon - 1)) : name;
}

/* Appends a code point as UTF-8. */
static int xml_put_code_point(struct fm_buf *buf, uint32_t code)
{
    uint8_t bytes[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    if (!code || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
        return FM_EMALFORMED;
    for (size_t i = len; i-- > 1; code >>= 6)
        bytes[i] = (uint8_t)(0x80 | (code & 0x3f));
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    bytes[0] = (uint8_t)(leads[len] | code);
    if (buf)
        fm_buf_put(buf, bytes, len);
    return FM_OK;
}

/* "#233" or "#xe9". */
static int xml_character(struct fm_slice name, struct fm_buf *buf)
{
    bool hex = name.len > 1 && name.ptr[1] == 'x';
    uint32_t code = 0;
    size_t i = hex ? 2 : 1;

    if (i == name.len)
        return FM_EMALFORMED;
    for (; i < name.len; i++) {
        uint32_t c = name.ptr[i], letter = c | 0x20, digit = 16;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (letter >= 'a' && letter <= 'f')
            digit = letter - 'a' + 10;
        if (digit >= (hex ? 16 : 10) || code > 0x10ffff)
            return FM_EMALFORMED;
        code = code * (hex ? 16 : 10) + digit;
    }
    return xml_put_code_point(buf, code);
}

static int xml_entity(struct fm_slice name, struct fm_buf *buf)
{
    static const struct {
        const char *name;
        uint8_t byte;
    } entities[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};

    if (name.len && name.ptr[0] == '#')
        return xml_character(name, buf);
    for (size_t i = 0; i < FM_COUNT(entities); i++) {
        if (!fm_slice_equal_text(name, entities[i].name))
            continue;
        if (buf)
            fm_buf_put_u8(buf, entities[i].byte);
        return FM_OK;
    }
    return FM_EMALFORMED;
}

/* Where the text of the document goes just now: NULL outside of what xml_find wants. */
static struct fm_buf *xml_collector(const struct xml_walk *walk)
{
    bool inside = walk->inner != NULL && !walk->found;
    return inside ? walk->text : NULL;
}

/* Text up to the next tag. */
static int xml_text(struct xml_walk *walk)
{
    struct fm_buf *buf = xml_collector(walk);
    const uint8_t *stop = memchr(walk->ptr, '<', xml_left(walk));
    struct fm_slice rest = fm_slice(walk->ptr, (size_t)((stop ? stop : walk->end) - walk->ptr));

    walk->ptr += rest.len;
    while (rest.len) {
        const uint8_t *mark = memchr(rest.ptr, '&', rest.len);
        size_t plain = mark ? (size_t)(mark - rest.ptr) : rest.len;
        for (size_t i = 0; !walk->depth && i < plain; i++) {
            if (!xml_is_blank(rest.ptr[i]))
                return FM_EMALFORMED;
        }
        if (buf)
            fm_buf_put(buf, rest.ptr, plain);
        rest = fm_slice(rest.ptr + plain, rest.len - plain);
        if (!rest.len)
            break;
        const uint8_t *semicolon = memchr(rest.ptr, ';', FM_MIN(rest.len, 12));
        if (!semicolon || !walk->depth)
            return FM_EMALFORMED;
        size_t len = (size_t)(semicolon - rest.ptr);
        int rc = xml_entity(fm_slice(rest.ptr + 1, len - 1), buf);
        if (rc < 0)
            return rc;
        rest = fm_slice(rest.ptr + len + 1, rest.len - len - 1);
    }
    return FM_OK;
}

/* Attributes up to ">" or "/>". */
static int xml_attributes(struct xml_walk *walk, bool *ret_closed)
{
    struct fm_slice unused;

    for (;;) {
        xml_skip_blanks(walk);
        bool closed = xml_starts(walk, "/>");
        if (closed || xml_starts(walk, ">")) {
            walk->ptr += closed ? 2 : 1;
            *ret_closed = closed;
            return FM_OK;
        }
        int rc = xml_name(walk, &unused);
        if (rc < 0)
            return rc;
        xml_skip_blanks(walk);
        if (!xml_starts(walk, "="))
            return FM_EMALFORMED;
        walk->ptr++;
        xml_skip_blanks(walk);
        const char *quote = xml_starts(walk, "\"") ? "\"" : "'";
        if (!xml_starts(walk, quote))
            return FM_EMALFORMED;
        walk->ptr++;
        rc = xml_skip_to(walk, quote, &unused);
        if (rc < 0)
            return rc;
    }
}

/* The innermost element ends; its content ended at content_end. */
static int xml_leave(struct xml_walk *walk, const uint8_t *content_end)
{
    int rc = FM_OK;

    if (walk->matched == walk->depth) {
        if (walk->depth == walk->path_len && walk->inner) {
            struct fm_slice inner = fm_slice(walk->inner, (size_t)(content_end - walk->inner));
            walk->found = true;
            walk->inner = NULL;
            rc = walk->visit ? walk->visit(walk->self, inner) : FM_OK;
        }
        walk->matched--;
    }
    walk->depth--;
    return rc;
}

static int xml_open_tag(struct xml_walk *walk)
{
    struct fm_slice name;
    bool closed;

    walk->ptr++;
    int rc = xml_name(walk, &name);
    if (rc == FM_OK)
        rc = xml_attributes(walk, &closed);
    if (rc < 0)
        return rc;
    if (!walk->depth && walk->rooted)
        return FM_EMALFORMED;
    if (walk->depth == XML_DEPTH_MAX)
        return FM_ELIMIT;
    walk->rooted = true;
    walk->open[walk->depth] = name;
    if (walk->matched == walk->depth && walk->depth < walk->path_len &&
        fm_slice_equal(xml_local_name(name), walk->path[walk->depth])) {
        walk->matched++;
        if (walk->matched == walk->path_len)
            walk->inner = walk->ptr;
    }
    walk->depth++;
    return closed ? xml_leave(walk, walk->ptr) : FM_OK;
}

static int xml_close_tag(struct xml_walk *walk)
{
    const uint8_t *content_end = walk->ptr;
    struct fm_slice name;

    walk->ptr += 2;
    int rc = xml_name(walk, &name);
    if (rc < 0)
        return rc;
    xml_skip_blanks(walk);
    if (!xml_starts(walk, ">") || !walk->depth ||
        !fm_slice_equal(name, walk->open[walk->depth - 1]))
        return FM_EMALFORMED;
    walk->ptr++;
    return xml_leave(walk, content_end);
}

/* One tag, comment, instruction or CDATA section, whose '<' is next. */
static int xml_markup(struct xml_walk *walk)
{
    struct fm_slice text;

    if (xml_starts(walk, "</"))
        return xml_close_tag(walk);
    if (xml_starts(walk, "<?"))
        return xml_skip_to(walk, "?>", &text);
    if (xml_starts(walk, "<!--")) {
        walk->ptr += 4;
        return xml_skip_to(walk, "-->", &text);
    }
    if (xml_starts(walk, "<![CDATA[") && walk->depth) {
        walk->ptr += 9;
        int rc = xml_skip_to(walk, "]]>", &text);
        if (rc == FM_OK && xml_collector(walk))
            fm_buf_put_slice(xml_collector(walk), text);
        return rc;
    }
    return xml_starts(walk, "<!") ? FM_EMALFORMED : xml_open_tag(walk);
}

static int xml_run(struct xml_walk *walk, struct fm_slice document, const char *path)
{
    if (!document.len)
        return FM_EMALFORMED;
    if (document.len > XML_DOCUMENT_MAX)
        return FM_ELIMIT;
    for (const char *start = path; *start;) {
        size_t len = strcspn(start, "/");
        if (walk->path_len == XML_DEPTH_MAX)
            return FM_ELIMIT;
        walk->path[walk->path_len++] = fm_slice(start, len);
        start += len + (start[len] == '/');
    }
    walk->ptr = document.ptr;
    walk->end = document.ptr + document.len;
    if (xml_starts(walk, "\xef\xbb\xbf"))
        walk->ptr += 3;
    while (walk->ptr < walk->end) {
        int rc = *walk->ptr == '<' ? xml_markup(walk) : xml_text(walk);
        if (rc != FM_OK)
            return rc;
    }
    return walk->rooted && !walk->depth ? FM_OK : FM_EMALFORMED;
}

int xml_find(struct fm_slice document, const char *path, struct fm_buf *target)
{
    struct xml_walk walk = {.text = target};
    int rc = xml_run(&walk, document, path);

    if (rc < 0)
        return rc;
    if (target->failed)
        return FM_ELIMIT;
    return walk.found ? FM_OK : FM_NONE;
}

int xml_each(struct fm_slice document, const char *path,
             int (*visit)(void *self, struct fm_slice inner), void *self)
{
    struct xml_walk walk = {.visit = visit, .self = self};
    return xml_run(&walk, document, path);
}
