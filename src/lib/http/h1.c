/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 parser: one state function at a time, each eats some input and names the next.
 *
 *   start -> head -+-> sized body --+-> done -> start
 *                  +-> chunk size <-> chunk data, chunk end; trailer -> done
 *                  +-> endless body (responses only)
 *
 * The head is collected line by line in one growing buffer; fields are kept as offsets, because the
 * buffer moves, and become slices when the head is complete.  A failure is final. */
#include "fermata/h1.h"

#include <stdlib.h>

#define H1_AGAIN                100 /* state changed without an event: go on with the next state */
#define H1_METHOD_BYTES_MAX     32u
#define H1_BLANK_LINES_MAX      2u  /* before a request line; old clients send one after a body */
#define H1_CHUNK_LINE_BYTES_MAX 96u /* 16 digits, an extension of at most 64, CR LF */
#define H1_LENGTH_DIGITS_MAX    19u

struct h1_field { /* offsets into head_bytes */
    uint32_t name, name_len;
    uint32_t value, value_len;
};

typedef int h1_state(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                     enum h1_event *ret_event, struct fm_slice *ret_data);

struct h1 {
    h1_state *state;
    enum h1_role role;
    struct http_limits limits;
    int rc; /* the first failure */
    int limit_status;

    struct fm_buf head_bytes;
    size_t line_start;
    struct h1_field *fields;     /* owned */
    struct http_header *headers; /* owned; as many as fields */
    size_t field_count, field_cap;
    struct h1_field method, target;
    struct h1_head head;
    bool has_first_line, has_host, asks_close, asks_keep_alive;
    bool expect_no_body;
    unsigned blank_line_count;

    struct fm_buf line; /* chunk size line or trailer line */
    size_t trailer_bytes, trailer_count;
    uint64_t body_left;  /* of the body or of the chunk */
    uint64_t body_bytes; /* so far, all chunks */
};

static h1_state h1_on_start, h1_on_head, h1_on_sized_body, h1_on_chunk_size, h1_on_chunk_data,
    h1_on_chunk_end, h1_on_trailer, h1_on_endless_body, h1_on_done;

int h1_new(struct h1 **ret_h1, enum h1_role role, const struct http_limits *limits)
{
    FM_AUTO(h1) h1 = calloc(1, sizeof *h1);

    if (!h1)
        return FM_ENOMEM;
    h1->role = role;
    h1->limits = *limits;
    h1->state = h1_on_start;
    fm_buf_init(&h1->head_bytes, limits->header_bytes_max);
    fm_buf_init(&h1->line, FM_MAX(limits->header_bytes_max, H1_CHUNK_LINE_BYTES_MAX));

    *ret_h1 = fm_take(h1);
    return FM_OK;
}

struct h1 *h1_free(struct h1 *h1)
{
    if (!h1)
        return NULL;
    fm_buf_fini(&h1->head_bytes);
    fm_buf_fini(&h1->line);
    free(h1->fields);
    free(h1->headers);
    free(h1);
    return NULL;
}

int h1_feed(struct h1 *h1, struct fm_slice input, size_t *ret_used, enum h1_event *ret_event,
            struct fm_slice *ret_data)
{
    size_t total = 0;
    int rc = h1->rc;

    if (rc < 0)
        return rc;
    do {
        size_t used = 0;
        rc = h1->state(h1, fm_slice(input.ptr + total, input.len - total), &used, ret_event,
                       ret_data);
        total += used;
    } while (rc == H1_AGAIN);
    if (rc < 0) {
        h1->rc = rc;
        return rc;
    }
    *ret_used = total;
    return rc;
}

int h1_feed_end(struct h1 *h1)
{
    if (h1->rc < 0)
        return h1->rc;
    if (h1->state == h1_on_endless_body || h1->state == h1_on_done || h1->state == h1_on_start)
        return FM_OK;
    return FM_ECLOSED;
}

int h1_limit_status(const struct h1 *h1)
{
    return h1->limit_status;
}

void h1_expect_no_body(struct h1 *h1)
{
    h1->expect_no_body = true;
}

const struct h1_head *h1_head(const struct h1 *h1)
{
    return &h1->head;
}

/* ---- characters ---- */

static const uint8_t h1_token_table[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['!'] = 1, ['#'] = 1, ['$'] = 1,
    ['%'] = 1,         ['&'] = 1,         ['\''] = 1,        ['*'] = 1, ['+'] = 1, ['-'] = 1,
    ['.'] = 1,         ['^'] = 1,         ['_'] = 1,         ['`'] = 1, ['|'] = 1, ['~'] = 1,
};

static size_t token_len(struct fm_slice text)
{
    size_t len = 0;
    while (len < text.len && h1_token_table[text.ptr[len]])
        len++;
    return len;
}

/* Visible characters, blanks, tabs and everything above ASCII; no controls. */
static bool is_field_text(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct fm_slice slice_trim(struct fm_slice text)
{
    while (text.len && is_blank(text.ptr[0]))
        text = fm_slice(text.ptr + 1, text.len - 1);
    while (text.len && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static int h1_limit(struct h1 *h1, int status)
{
    h1->limit_status = status;
    return FM_ELIMIT;
}

static int h1_unsupported(struct h1 *h1, int status)
{
    h1->limit_status = status;
    return FM_EUNSUPPORTED;
}

/* ---- first lines ---- */

static struct h1_field h1_span(const struct h1 *h1, const uint8_t *start, size_t len)
{
    return (struct h1_field){.value = (uint32_t)(start - h1->head_bytes.ptr),
                             .value_len = (uint32_t)len};
}

/* "HTTP/1.x" */
static int h1_parse_version(struct h1 *h1, struct fm_slice text)
{
    if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || text.ptr[6] != '.')
        return FM_EMALFORMED;
    if (text.ptr[5] < '0' || text.ptr[5] > '9' || text.ptr[7] < '0' || text.ptr[7] > '9')
        return FM_EMALFORMED;
    if (text.ptr[5] != '1')
        return h1_unsupported(h1, 505);
    h1->head.minor_version = (uint8_t)(text.ptr[7] - '0');
    return FM_OK;
}

static int h1_parse_request_line(struct h1 *h1, struct fm_slice line)
{
    size_t method_len = token_len(line);
    if (!method_len || method_len > H1_METHOD_BYTES_MAX)
        return FM_EMALFORMED;
    if (method_len == line.len || line.ptr[method_len] != ' ')
        return FM_EMALFORMED;
    const uint8_t *target = line.ptr + method_len + 1;
    size_t rest = line.len - method_len - 1, target_len = 0;
    while (target_len < rest && target[target_len] > ' ' && target[target_len] < 0x7f)
        target_len++;
    if (!target_len || target_len == rest || target[target_len] != ' ')
        return FM_EMALFORMED;
    if (target_len > h1->limits.target_bytes_max)
        return h1_limit(h1, 414);
    h1->method = h1_span(h1, line.ptr, method_len);
    h1->target = h1_span(h1, target, target_len);
    return h1_parse_version(h1, fm_slice(target + target_len + 1, rest - target_len - 1));
}

static int h1_parse_status_line(struct h1 *h1, struct fm_slice line)
{
    if (line.len < 12 || line.ptr[8] != ' ' || (line.len > 12 && line.ptr[12] != ' '))
        return FM_EMALFORMED;
    int rc = h1_parse_version(h1, fm_slice(line.ptr, 8));
    if (rc < 0)
        return rc;
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line.ptr[i] < '0' || line.ptr[i] > '9')
            return FM_EMALFORMED;
        status = status * 10 + (line.ptr[i] - '0');
    }
    if (status < 100 || status == 101 || status > 599 || !is_field_text(line))
        return FM_EMALFORMED;
    h1->head.status = status;
    return FM_OK;
}

/* ---- fields ---- */

static int h1_note_length(struct h1 *h1, struct fm_slice value)
{
    uint64_t length = 0;

    if (h1->head.has_length || !value.len || value.len > H1_LENGTH_DIGITS_MAX)
        return FM_EMALFORMED; /* a second one too, even if it is equal */
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return FM_EMALFORMED;
        length = length * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    h1->head.has_length = true;
    h1->head.content_length = length;
    return FM_OK;
}

static int h1_note_coding(struct h1 *h1, struct fm_slice value)
{
    if (h1->head.chunked || h1->head.minor_version == 0)
        return FM_EMALFORMED;
    if (!fm_slice_equal_nocase(value, "chunked"))
        return h1_unsupported(h1, 501);
    h1->head.chunked = true;
    return FM_OK;
}

static void h1_note_connection(struct h1 *h1, struct fm_slice value)
{
    while (value.len) {
        const uint8_t *comma = memchr(value.ptr, ',', value.len);
        size_t len = comma ? (size_t)(comma - value.ptr) : value.len;
        struct fm_slice option = slice_trim(fm_slice(value.ptr, len));
        if (fm_slice_equal_nocase(option, "close"))
            h1->asks_close = true;
        else if (fm_slice_equal_nocase(option, "keep-alive"))
            h1->asks_keep_alive = true;
        size_t skip = FM_MIN(len + 1, value.len);
        value = fm_slice(value.ptr + skip, value.len - skip);
    }
}

static int h1_note_host(struct h1 *h1, struct fm_slice value)
{
    if (h1->has_host)
        return FM_EMALFORMED;
    for (size_t i = 0; i < value.len; i++) {
        if (is_blank(value.ptr[i]) || value.ptr[i] == ',' || value.ptr[i] == '/')
            return FM_EMALFORMED;
    }
    h1->has_host = true;
    return FM_OK;
}

/* The fields that decide how the message is framed. */
static int h1_note_field(struct h1 *h1, struct fm_slice name, struct fm_slice value)
{
    if (fm_slice_equal_text(name, "content-length"))
        return h1_note_length(h1, value);
    if (fm_slice_equal_text(name, "transfer-encoding"))
        return h1_note_coding(h1, value);
    if (h1->role == H1_REQUESTS && fm_slice_equal_text(name, "host"))
        return h1_note_host(h1, value);
    if (fm_slice_equal_text(name, "connection"))
        h1_note_connection(h1, value);
    else if (fm_slice_equal_text(name, "expect") && fm_slice_equal_nocase(value, "100-continue"))
        h1->head.expect_continue = h1->role == H1_REQUESTS && h1->head.minor_version > 0;
    return FM_OK;
}

static int h1_grow_fields(struct h1 *h1)
{
    if (h1->field_count >= h1->limits.header_count_max)
        return h1_limit(h1, 431);
    if (h1->field_count < h1->field_cap)
        return FM_OK;
    size_t cap = h1->field_cap ? h1->field_cap * 2 : 16;
    struct h1_field *fields = realloc(h1->fields, cap * sizeof *fields);
    if (!fields)
        return FM_ENOMEM;
    h1->fields = fields;
    struct http_header *headers = realloc(h1->headers, cap * sizeof *headers);
    if (!headers)
        return FM_ENOMEM;
    h1->headers = headers;
    h1->field_cap = cap;
    return FM_OK;
}

/* "name: value" without its line end; the name is made lower case in place. */
static int field_split(struct fm_slice line, struct fm_slice *ret_name, struct fm_slice *ret_value)
{
    size_t name_len = token_len(line);
    if (!name_len || name_len == line.len || line.ptr[name_len] != ':')
        return FM_EMALFORMED;
    struct fm_slice value = fm_slice(line.ptr + name_len + 1, line.len - name_len - 1);
    if (!is_field_text(value))
        return FM_EMALFORMED;
    *ret_name = fm_slice(line.ptr, name_len);
    *ret_value = slice_trim(value);
    return FM_OK;
}

static int h1_parse_field(struct h1 *h1, struct fm_slice line)
{
    struct fm_slice name, value;
    int rc = field_split(line, &name, &value);
    if (rc < 0)
        return rc;
    rc = h1_grow_fields(h1);
    if (rc < 0)
        return rc;
    uint8_t *letters = h1->head_bytes.ptr + (name.ptr - h1->head_bytes.ptr);
    for (size_t i = 0; i < name.len; i++) {
        if (letters[i] >= 'A' && letters[i] <= 'Z')
            letters[i] |= 0x20;
    }
    h1->fields[h1->field_count++] = (struct h1_field){
        .name = (uint32_t)(name.ptr - h1->head_bytes.ptr),
        .name_len = (uint32_t)name.len,
        .value = (uint32_t)(value.ptr - h1->head_bytes.ptr),
        .value_len = (uint32_t)value.len,
    };
    return h1_note_field(h1, name, value);
}

/* ---- head ---- */

static int h1_on_start(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                       enum h1_event *ret_event, struct fm_slice *ret_data)
{
    (void)ret_used, (void)ret_event, (void)ret_data;
    if (!input.len)
        return FM_MORE;
    fm_buf_reset(&h1->head_bytes);
    h1->line_start = h1->field_count = 0;
    h1->head = (struct h1_head){0};
    h1->has_first_line = h1->has_host = h1->asks_close = h1->asks_keep_alive = false;
    h1->trailer_bytes = h1->trailer_count = 0;
    h1->body_bytes = h1->body_left = 0;
    h1->blank_line_count = 0;
    h1->state = h1_on_head;
    return H1_AGAIN;
}

/* What follows the head. */
static int h1_frame_body(struct h1 *h1)
{
    struct h1_head *head = &h1->head;
    bool bodiless = h1->role == H1_RESPONSES && (h1->expect_no_body || head->status < 200 ||
                                                 head->status == 204 || head->status == 304);

    if (head->chunked && head->has_length)
        return FM_EMALFORMED;
    if (bodiless) {
        h1->state = h1_on_done;
    } else if (head->chunked) {
        h1->state = h1_on_chunk_size;
    } else if (head->has_length || h1->role == H1_REQUESTS) {
        if (head->content_length > h1->limits.body_bytes_max)
            return h1_limit(h1, 413);
        h1->body_left = head->content_length;
        h1->state = h1->body_left ? h1_on_sized_body : h1_on_done;
    } else {
        head->keep_alive = false;
        h1->state = h1_on_endless_body;
    }
    return FM_OK;
}

static struct fm_slice h1_text(const struct h1 *h1, uint32_t offset, uint32_t len)
{
    return fm_slice(h1->head_bytes.ptr + offset, len);
}

static int h1_complete_head(struct h1 *h1)
{
    struct h1_head *head = &h1->head;

    if (h1->role == H1_REQUESTS && head->minor_version > 0 && !h1->has_host)
        return FM_EMALFORMED;
    for (size_t i = 0; i < h1->field_count; i++) {
        const struct h1_field *field = &h1->fields[i];
        h1->headers[i].name = h1_text(h1, field->name, field->name_len);
        h1->headers[i].value = h1_text(h1, field->value, field->value_len);
    }
    head->headers = h1->headers;
    head->header_count = h1->field_count;
    head->method = h1_text(h1, h1->method.value, h1->method.value_len);
    head->target = h1_text(h1, h1->target.value, h1->target.value_len);
    head->keep_alive = !h1->asks_close && (head->minor_version > 0 || h1->asks_keep_alive);
    return h1_frame_body(h1);
}

/* One whole line, without CR LF. */
static int h1_parse_line(struct h1 *h1, struct fm_slice line, enum h1_event *ret_event)
{
    if (!h1->has_first_line) {
        if (!line.len) {
            h1->head_bytes.len = h1->line_start;
            bool allowed = h1->role == H1_REQUESTS && h1->blank_line_count++ < H1_BLANK_LINES_MAX;
            return allowed ? H1_AGAIN : FM_EMALFORMED;
        }
        h1->has_first_line = true;
        int rc = h1->role == H1_REQUESTS ? h1_parse_request_line(h1, line)
                                         : h1_parse_status_line(h1, line);
        return rc < 0 ? rc : H1_AGAIN;
    }
    if (line.len) {
        int rc = h1_parse_field(h1, line);
        return rc < 0 ? rc : H1_AGAIN;
    }
    int rc = h1_complete_head(h1);
    if (rc < 0)
        return rc;
    *ret_event = H1_HEAD;
    return FM_OK;
}

static int h1_on_head(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                      enum h1_event *ret_event, struct fm_slice *ret_data)
{
    (void)ret_data;
    if (!input.len)
        return FM_MORE;
    const uint8_t *newline = memchr(input.ptr, '\n', input.len);
    size_t take = newline ? (size_t)(newline - input.ptr) + 1 : input.len;
    size_t line_len = h1->head_bytes.len - h1->line_start + take;

    if (!h1->has_first_line && h1->role == H1_REQUESTS &&
        line_len > h1->limits.target_bytes_max + H1_METHOD_BYTES_MAX + sizeof "  HTTP/1.1\r\n")
        return h1_limit(h1, 414);
    if (take > h1->limits.header_bytes_max - h1->head_bytes.len)
        return h1_limit(h1, h1->has_first_line ? 431 : 414);
    fm_buf_put(&h1->head_bytes, input.ptr, take);
    if (h1->head_bytes.failed)
        return FM_ENOMEM;
    *ret_used = take;
    if (!newline)
        return FM_MORE;

    const uint8_t *line = h1->head_bytes.ptr + h1->line_start;
    if (line_len < 2 || line[line_len - 2] != '\r')
        return FM_EMALFORMED;
    int rc = h1_parse_line(h1, fm_slice(line, line_len - 2), ret_event);
    h1->line_start = h1->head_bytes.len;
    return rc;
}

/* ---- bodies ---- */

/* Hands out what is here of the body or chunk that has body_left bytes to come. */
static int h1_hand_out(struct h1 *h1, struct fm_slice input, h1_state *next, size_t *ret_used,
                       enum h1_event *ret_event, struct fm_slice *ret_data)
{
    if (!input.len)
        return FM_MORE;
    size_t take = (size_t)FM_MIN((uint64_t)input.len, h1->body_left);
    h1->body_left -= take;
    h1->body_bytes += take;
    if (!h1->body_left)
        h1->state = next;
    *ret_used = take;
    *ret_data = fm_slice(input.ptr, take);
    *ret_event = H1_BODY;
    return FM_OK;
}

static int h1_on_sized_body(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                            enum h1_event *ret_event, struct fm_slice *ret_data)
{
    return h1_hand_out(h1, input, h1_on_done, ret_used, ret_event, ret_data);
}

static int h1_on_endless_body(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                              enum h1_event *ret_event, struct fm_slice *ret_data)
{
    if (input.len > h1->limits.body_bytes_max - FM_MIN(h1->body_bytes, h1->limits.body_bytes_max))
        return h1_limit(h1, 413);
    h1->body_left = UINT64_MAX;
    return h1_hand_out(h1, input, h1_on_endless_body, ret_used, ret_event, ret_data);
}

static int h1_on_done(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                      enum h1_event *ret_event, struct fm_slice *ret_data)
{
    (void)input, (void)ret_used, (void)ret_data;
    if (h1->head.status < 100 || h1->head.status >= 200)
        h1->expect_no_body = false;
    h1->state = h1_on_start;
    *ret_event = H1_DONE;
    return FM_OK;
}

/* Collects one short line in h1->line.  FM_OK: complete, ret_line without CR LF; FM_MORE. */
static int h1_collect_line(struct h1 *h1, struct fm_slice input, size_t bytes_max, size_t *ret_used,
                           struct fm_slice *ret_line)
{
    if (!input.len)
        return FM_MORE;
    const uint8_t *newline = memchr(input.ptr, '\n', input.len);
    size_t take = newline ? (size_t)(newline - input.ptr) + 1 : input.len;

    if (h1->line.len > bytes_max || take > bytes_max - h1->line.len)
        return h1_limit(h1, 431);
    fm_buf_put(&h1->line, input.ptr, take);
    if (h1->line.failed)
        return FM_ENOMEM;
    *ret_used = take;
    if (!newline)
        return FM_MORE;
    size_t len = h1->line.len;
    fm_buf_reset(&h1->line);
    if (len < 2 || h1->line.ptr[len - 2] != '\r')
        return FM_EMALFORMED;
    *ret_line = fm_slice(h1->line.ptr, len - 2);
    return FM_OK;
}

/* 1*16 HEXDIG, then nothing or [blanks] ";" extension. */
static int chunk_size_parse(struct fm_slice line, uint64_t *ret_size)
{
    uint64_t size = 0;
    size_t digits = 0;

    for (; digits < line.len; digits++) {
        uint8_t byte = line.ptr[digits], lower = byte | 0x20;
        unsigned value;
        if (byte >= '0' && byte <= '9')
            value = byte - '0';
        else if (lower >= 'a' && lower <= 'f')
            value = lower - 'a' + 10u;
        else
            break;
        if (digits == 16)
            return FM_EMALFORMED;
        size = size << 4 | value;
    }
    struct fm_slice rest = slice_trim(fm_slice(line.ptr + digits, line.len - digits));
    if (!digits || !is_field_text(rest))
        return FM_EMALFORMED;
    if (digits < line.len && (!rest.len || rest.ptr[0] != ';'))
        return FM_EMALFORMED;
    *ret_size = size;
    return FM_OK;
}

static int h1_on_chunk_size(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                            enum h1_event *ret_event, struct fm_slice *ret_data)
{
    struct fm_slice line;
    (void)ret_event, (void)ret_data;

    int rc = h1_collect_line(h1, input, H1_CHUNK_LINE_BYTES_MAX, ret_used, &line);
    if (rc != FM_OK)
        return rc;
    rc = chunk_size_parse(line, &h1->body_left);
    if (rc < 0)
        return rc;
    if (h1->body_left > h1->limits.body_bytes_max - h1->body_bytes)
        return h1_limit(h1, 413);
    h1->state = h1->body_left ? h1_on_chunk_data : h1_on_trailer;
    return H1_AGAIN;
}

static int h1_on_chunk_data(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                            enum h1_event *ret_event, struct fm_slice *ret_data)
{
    return h1_hand_out(h1, input, h1_on_chunk_end, ret_used, ret_event, ret_data);
}

static int h1_on_chunk_end(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                           enum h1_event *ret_event, struct fm_slice *ret_data)
{
    struct fm_slice line;
    (void)ret_event, (void)ret_data;

    int rc = h1_collect_line(h1, input, 2, ret_used, &line);
    if (rc != FM_OK)
        return rc == FM_ELIMIT ? FM_EMALFORMED : rc;
    h1->state = h1_on_chunk_size;
    return line.len ? FM_EMALFORMED : H1_AGAIN;
}

/* Trailers are checked like fields and dropped: nothing we do depends on one. */
static int h1_on_trailer(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                         enum h1_event *ret_event, struct fm_slice *ret_data)
{
    struct fm_slice line, name, value;
    size_t bytes_max = h1->limits.header_bytes_max - h1->trailer_bytes;
    (void)ret_event, (void)ret_data;

    int rc = h1_collect_line(h1, input, bytes_max, ret_used, &line);
    if (rc != FM_OK)
        return rc;
    if (!line.len) {
        h1->state = h1_on_done;
        return H1_AGAIN;
    }
    h1->trailer_bytes += line.len + 2;
    if (++h1->trailer_count > h1->limits.header_count_max)
        return h1_limit(h1, 431);
    rc = field_split(line, &name, &value);
    return rc < 0 ? rc : H1_AGAIN;
}
