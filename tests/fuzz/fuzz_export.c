/* SPDX-License-Identifier: Apache-2.0 */
/* What an exporter reads from others: OTLP to be cut, answers, places, URLs, headers.  The first
 * byte says which. */
#include "../../src/daemon/export/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool keeps_odd(void *self, const struct slice_span *span)
{
    (void)self;
    return span->index % 2;
}

static bool keeps_even(void *self, const struct slice_span *span)
{
    ++*(uint64_t *)self;
    return span->index % 2 == 0;
}

/* Two halves are the whole. */
static void fuzz_slice(struct fm_slice input)
{
    struct fm_buf odd, even, again;
    uint64_t all = 0, halves = 0;
    fm_buf_init(&odd, FM_MIB(64));
    fm_buf_init(&even, FM_MIB(64));
    fm_buf_init(&again, FM_MIB(64));
    int rc = slice_otlp(input, keeps_odd, NULL, &odd);
    if (slice_otlp(input, keeps_even, &all, &even) == FM_OK) {
        FM_ASSERT(rc == FM_OK);
        FM_ASSERT(slice_otlp(fm_buf_slice(&odd), keeps_even, &halves, &again) == FM_OK);
        FM_ASSERT(slice_otlp(fm_buf_slice(&even), keeps_even, &halves, &again) == FM_OK);
        FM_ASSERT(all == halves);
    }
    fm_buf_fini(&odd);
    fm_buf_fini(&even);
    fm_buf_fini(&again);
}

static void fuzz_places(struct fm_slice input)
{
    struct places places, again;
    struct fm_buf text;
    if (places_parse(input, &places, NULL) != FM_OK)
        return;
    fm_buf_init(&text, FM_MIB(64));
    places_render(&places, &text);
    FM_ASSERT(places_parse(fm_buf_slice(&text), &again, NULL) == FM_OK);
    FM_ASSERT(again.count == places.count && again.begin_lsn == places.begin_lsn);
    places_fini(&places);
    places_fini(&again);
    fm_buf_fini(&text);
}

static void fuzz_texts(struct fm_slice input)
{
    struct http_header headers[UPSTREAM_HEADERS_MAX];
    struct upstream_url url;
    size_t count = 0;
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_put_slice(&text, input);
    if (upstream_headers_parse(text.ptr, text.len, headers, &count, NULL) == FM_OK)
        FM_ASSERT(count <= UPSTREAM_HEADERS_MAX);
    fm_buf_reset(&text);
    fm_buf_put_slice(&text, input);
    fm_buf_put_u8(&text, 0);
    for (unsigned i = 0; i < 2 && !text.failed; i++) {
        if (upstream_url_parse((const char *)text.ptr, (enum export_protocol)i, &url, NULL) ==
            FM_OK)
            FM_ASSERT(url.path[0] == '/' && url.endpoint.host[0]);
    }
    fm_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct export_request request = {.codec = CODEC_ZSTD};
    if (!size)
        return 0;
    struct fm_slice input = fm_slice(data + 1, size - 1);
    const struct upstream_answer_grpc answers[] = {{.grpc_status = 8, .details = input},
                                                   {.grpc_status = 0, .body = input}};
    switch (data[0] % 5) {
    case 0:
        fuzz_slice(input);
        break;
    case 1:
        upstream_answer_grpc(&request, &answers[input.len % 2]);
        break;
    case 2:
        upstream_answer_http(&request, 200 + data[0], input, 0, input);
        break;
    case 3:
        fuzz_places(input);
        break;
    default:
        fuzz_texts(input);
    }
    return 0;
}
