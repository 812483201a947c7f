/* SPDX-License-Identifier: Apache-2.0 */
/* Tail sampling in the status: what was decided since the start, what waits, and who decided. */
#include "status_sampling.h"

#include <inttypes.h>

static bool status_get_sampling(const struct api *api, struct api_sampling *sampling)
{
    *sampling = (struct api_sampling){0};
    return api->options.sampling && api->options.sampling(api->options.self, sampling);
}

static bool status_get_policy(const struct api *api, size_t index, struct api_policy *policy)
{
    return api->options.policy_at && api->options.policy_at(api->options.self, index, policy);
}

static void put_number(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

void status_put_sampling_json(const struct api *api, struct json_writer *json)
{
    struct api_sampling sampling;
    struct api_policy policy;
    if (!status_get_sampling(api, &sampling))
        return;
    json_key(json, "sampling");
    json_object_begin(json);
    put_number(json, "kept_spans", sampling.kept_spans);
    put_number(json, "ahead_spans", sampling.ahead_spans);
    put_number(json, "sampled_out_spans", sampling.sampled_out_spans);
    put_number(json, "deciding_spans", sampling.deciding_spans);
    put_number(json, "deciding_blocks", sampling.deciding_blocks);
    put_number(json, "unbuilt_blocks", sampling.unbuilt_blocks);
    json_key(json, "problem");
    json_text(json, sampling.problem);
    json_key(json, "policies");
    json_array_begin(json);
    for (size_t i = 0; status_get_policy(api, i, &policy); i++) {
        json_object_begin(json);
        json_key(json, "name");
        json_text(json, policy.name);
        put_number(json, "kept_spans", policy.kept_spans);
        put_number(json, "sampled_out_spans", policy.sampled_out_spans);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
}

void status_put_sampling_text(const struct api *api, struct fm_buf *out)
{
    struct api_sampling sampling;
    struct api_policy policy;
    if (!status_get_sampling(api, &sampling))
        return;
    fm_buf_printf(out,
                  "  sampling %" PRIu64 " spans kept, %" PRIu64 " sampled out, %" PRIu64
                  " in %" PRIu64 " blocks wait for a decision\n",
                  sampling.kept_spans, sampling.sampled_out_spans, sampling.deciding_spans,
                  sampling.deciding_blocks);
    for (size_t i = 0; status_get_policy(api, i, &policy); i++) {
        if (policy.kept_spans || policy.sampled_out_spans)
            fm_buf_printf(out, "           %s: %" PRIu64 " kept, %" PRIu64 " sampled out\n",
                          policy.name, policy.kept_spans, policy.sampled_out_spans);
    }
    if (sampling.problem[0])
        fm_buf_printf(out, "  problem  %s\n", sampling.problem);
}
