/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the codec and how: inflate, decode to a size, or a round trip. */
#include "fermata/codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_OUTPUT_MAX FM_KIB(256)

static void fuzz_codec_inflate(enum codec codec, struct fm_slice input)
{
    struct fm_buf target;
    fm_buf_init(&target, FUZZ_OUTPUT_MAX);
    int rc = codec_inflate(codec, input, &target);
    if (target.len > FUZZ_OUTPUT_MAX || (rc < 0 && target.len))
        abort();
    fm_buf_fini(&target);
}

static void fuzz_codec_decode(enum codec codec, struct fm_slice input, size_t target_len)
{
    uint8_t *target = malloc(target_len ? target_len : 1);
    int rc = codec_decode(codec, input, target, target_len);
    if (rc > 0)
        abort();
    free(target);
}

static void fuzz_codec_round_trip(enum codec codec, struct fm_slice input)
{
    FM_AUTO(codec_encoder) encoder = NULL;
    struct fm_buf packed;
    size_t len;
    fm_buf_init(&packed, FM_MIB(4));
    if (codec_encoder_new(&encoder, codec, 1) < 0 ||
        codec_encode(encoder, input, &packed, &len) < 0)
        abort();
    uint8_t *back = malloc(input.len ? input.len : 1);
    if (codec_decode(codec, fm_buf_slice(&packed), back, input.len) < 0 ||
        (input.len && memcmp(back, input.ptr, input.len) != 0))
        abort();
    free(back);
    fm_buf_fini(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    enum codec codec = (enum codec)(data[0] % (CODEC_LZ4 + 1));
    struct fm_slice input = fm_slice(data + 3, size - 3);
    switch (data[0] / 16 % 3) {
    case 0:
        fuzz_codec_inflate(codec, input);
        break;
    case 1:
        fuzz_codec_decode(codec, input, (size_t)data[1] << 8 | data[2]);
        break;
    default:
        fuzz_codec_round_trip(codec, input);
        break;
    }
    return 0;
}
