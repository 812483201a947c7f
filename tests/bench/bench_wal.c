/* SPDX-License-Identifier: Apache-2.0 */
/* bench_wal [MIB] - encoding, placing and replaying records in memory: MiB of OTLP per second. */
#include "../support/test.h"

#include <time.h>

#include "fermata/wal.h"

#define PAYLOAD_BYTES 65536u

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int count_record(void *self, const struct wal_segment *segment, uint64_t offset,
                        const struct wal_record *record)
{
    (void)segment;
    (void)offset;
    *(uint64_t *)self += record->payload_bytes;
    return FM_OK;
}

/* Text with the redundancy of spans: about 1:4 under lz4. */
static void fill(uint8_t *payload, size_t len)
{
    static const char *const words[] = {"service.name", "http.request.method", "GET",    "checkout",
                                        "url.path",     "/api/v1/items/",      "status", "200"};
    uint64_t state = 1;
    for (size_t at = 0; at < len;) {
        const char *word = words[fm_random_next(&state) % FM_COUNT(words)];
        for (; *word && at < len; word++)
            payload[at++] = (uint8_t)*word;
        for (unsigned i = 0; i < 4 && at < len; i++)
            payload[at++] = (uint8_t)fm_random_next(&state);
    }
}

static void bench(const char *name, struct codec_encoder *encoder, size_t total_mib)
{
    static uint8_t payload[PAYLOAD_BYTES];
    struct wal_segment segment = {.salt = 5, .epoch = 1, .base_lsn = 4096, .is_used = true};
    struct wal_record record = {.type = WAL_SPANS, .tenant = FM_SLICE("single-tenant")};
    uint8_t header[WAL_HEADER_BYTES];
    struct fm_buf buf;
    uint64_t size, bytes = 0;
    size_t count = FM_MIB(total_mib) / PAYLOAD_BYTES;
    fill(payload, sizeof payload);
    fm_buf_init(&buf, SIZE_MAX / 4);
    wal_segment_encode(&segment, header);
    fm_buf_put(&buf, header, sizeof header);
    double begin = seconds();
    for (size_t i = 0; i < count; i++) {
        record.lsn = segment.base_lsn + buf.len - WAL_HEADER_BYTES;
        assert_ok(wal_record_encode(&segment, &record, fm_slice(payload, sizeof payload), encoder,
                                    &buf, &size));
    }
    double encoded = seconds();
    struct wal_visitor visitor = {&bytes, count_record, NULL};
    struct wal_replay_result result;
    struct fm_slice slice = fm_buf_slice(&buf);
    assert_ok(wal_replay(fm_source_memory(&slice), &visitor, &result, NULL));
    double replayed = seconds();
    assert_int_equal(result.record_count, count);
    printf("bench_wal %-5s encode %6.0f MiB/s  replay %6.0f MiB/s  ratio %.2f\n", name,
           (double)total_mib / (encoded - begin), (double)total_mib / (replayed - encoded),
           (double)bytes / (double)buf.len);
    fm_buf_fini(&buf);
}

int main(int argc, char **argv)
{
    size_t total_mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 256;
    FM_AUTO(codec_encoder) encoder = NULL;
    if (codec_encoder_new(&encoder, CODEC_LZ4, 0) != FM_OK)
        return 1;
    bench("lz4", encoder, total_mib);
    bench("plain", NULL, total_mib);
    return 0;
}
