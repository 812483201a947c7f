/* SPDX-License-Identifier: Apache-2.0 */
/* story - what why.c found, told to programs and to people. */
#include "why.h"

#include <inttypes.h>
#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/ledger.h"
#include "fermata/units.h"

static const char *const kind_names[] = {
    [STORY_LOG] = "log", [STORY_BLOCK] = "block", [STORY_GONE] = "gone", [STORY_COPY] = "copy"};
static const char *const verdict_names[] = {[STORE_UNDECIDED] = "undecided",
                                            [STORE_WHOLE] = "whole",
                                            [STORE_NOTHING] = "nothing",
                                            [STORE_PART] = "part"};

/* Where it is in the ledger: uploaded, pending, sampled_out, expired, dropped. */
static const char *place_state(const struct story_place *place)
{
    if (place->kind == STORY_GONE)
        return strcmp(place->end, "no_space") == 0 || strcmp(place->end, "unreadable") == 0
                   ? "dropped"
                   : place->end;
    if (place->kind == STORY_LOG)
        return "pending";
    if (place->went_ahead)
        return place->ahead_waits ? "pending" : "uploaded";
    if (place->verdict == STORE_NOTHING || (place->verdict == STORE_PART && !place->is_kept))
        return "sampled_out";
    return place->is_uploaded ? "uploaded" : "pending";
}

/* ---- for programs ---- */

static void put_time(struct json_writer *json, const char *key, uint64_t unix_ns)
{
    struct fm_buf text;
    if (!unix_ns)
        return;
    fm_buf_init(&text, 64);
    fm_rfc3339_print(&text, unix_ns);
    json_key(json, key);
    json_string(json, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

static void put_text(struct json_writer *json, const char *key, const char *text)
{
    if (!text[0])
        return;
    json_key(json, key);
    json_text(json, text);
}

static void put_destinations(const struct story_place *place, struct json_writer *json)
{
    if (place->destination_count == 1)
        put_text(json, "destination", place->destinations[0]);
    if (place->destination_count <= 1)
        return;
    json_key(json, "destinations");
    json_array_begin(json);
    for (uint32_t i = 0; i < FM_MIN(place->destination_count, STORY_DESTINATIONS_MAX); i++)
        json_text(json, place->destinations[i]);
    json_array_end(json);
}

static void put_place(const struct story_place *place, struct json_writer *json)
{
    json_object_begin(json);
    put_text(json, "place", kind_names[place->kind]);
    put_text(json, "state", place_state(place));
    put_text(json, "path", place->path);
    put_text(json, "block", place->block);
    if (place->kind == STORY_LOG) {
        json_key(json, "lsn");
        json_uint(json, place->lsn);
    }
    if (place->spans) {
        json_key(json, "spans");
        json_uint(json, place->spans);
    }
    put_time(json, "received_first", place->first_unix_ns);
    put_time(json, "received_last", place->last_unix_ns);
    json_key(json, "receivers");
    json_array_begin(json);
    for (unsigned i = 0; i < LEDGER_RECEIVERS_MAX; i++) {
        if (place->receivers >> i & 1 && ledger_receiver_text(i))
            json_text(json, ledger_receiver_text(i));
    }
    json_array_end(json);
    put_time(json, "sealed", place->sealed_unix_ns);
    if (place->kind == STORY_BLOCK) {
        put_text(json, "verdict", verdict_names[place->verdict]);
        put_time(json, "decided", place->decided_unix_ns);
        put_text(json, "policy", place->policy);
        json_key(json, "went_ahead");
        json_bool(json, place->went_ahead);
        put_text(json, "policies", place->policies);
    }
    put_time(json, "uploaded", place->uploaded_unix_ns);
    if (place->uploaded_last_unix_ns != place->uploaded_unix_ns)
        put_time(json, "uploaded_last", place->uploaded_last_unix_ns);
    put_destinations(place, json);
    put_text(json, "lane", place->lane);
    put_time(json, "gone", place->gone_unix_ns);
    put_text(json, "end", place->end);
    if (place->kind == STORY_GONE || (place->kind == STORY_COPY && !place->spans)) {
        json_key(json, "certain");
        json_bool(json, false);
    }
    json_object_end(json);
}

void story_put_json(const struct story *story, struct fm_buf *out)
{
    struct json_writer json;
    json_writer_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "trace");
    json_hex(&json, fm_slice(story->question->id.bytes, sizeof story->question->id.bytes));
    json_key(&json, "tenant");
    json_text(&json, story->question->tenant);
    json_key(&json, "seen");
    json_bool(&json, story->count != 0);
    json_key(&json, "places");
    json_array_begin(&json);
    for (size_t i = 0; i < story->count; i++)
        put_place(&story->places[i], &json);
    json_array_end(&json);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {{"more_places", story->more},
                {"blocks_searched", story->blocks},
                {"gone_blocks_searched", story->gone_blocks},
                {"segments_searched", story->segments},
                {"damaged_files", story->damaged}};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        json_key(&json, rows[i].key);
        json_uint(&json, rows[i].value);
    }
    json_object_end(&json);
    fm_buf_puts(out, "\n");
}

/* ---- for people ---- */

static void tell_received(const struct story_place *place, struct fm_buf *out)
{
    const char *before = " by ";
    fm_buf_puts(out, "    received ");
    if (!place->first_unix_ns) {
        fm_buf_puts(out, "at a time that is not known");
    } else {
        fm_rfc3339_print(out, place->first_unix_ns);
        if (place->last_unix_ns != place->first_unix_ns) {
            fm_buf_puts(out, " to ");
            fm_rfc3339_print(out, place->last_unix_ns);
            fm_buf_puts(out, " (the whole block)");
        }
    }
    for (unsigned i = 0; i < LEDGER_RECEIVERS_MAX; i++) {
        if (!(place->receivers >> i & 1) || !ledger_receiver_text(i))
            continue;
        fm_buf_printf(out, "%s%s", before, ledger_receiver_text(i));
        before = ", ";
    }
    fm_buf_puts(out, "\n");
}

static void tell_time(const char *before, uint64_t unix_ns, const char *after, struct fm_buf *out)
{
    fm_buf_puts(out, before);
    if (unix_ns)
        fm_rfc3339_print(out, unix_ns);
    else
        fm_buf_puts(out, "at a time that is not known");
    fm_buf_puts(out, after);
}

static void tell_verdict(const struct story_place *place, struct fm_buf *out)
{
    if (place->verdict == STORE_UNDECIDED)
        return;
    bool is_kept = place->is_kept || place->verdict == STORE_WHOLE;
    tell_time("    sampling decided ", place->decided_unix_ns, ": ", out);
    fm_buf_puts(out, is_kept ? "it leaves" : "it stays on the node");
    if (strcmp(place->policy, "late") == 0)
        fm_buf_puts(out, ", spans that came late follow the trace");
    else if (strcmp(place->policy, "express") == 0)
        fm_buf_puts(out, ", the trace is one that left ahead");
    else if (place->policy[0])
        fm_buf_printf(out, " by policy %s", place->policy);
    if (place->policies[0])
        fm_buf_printf(out, " (of this block: %s)", place->policies);
    fm_buf_puts(out, "\n");
}

static void tell_end(const struct story_place *place, struct fm_buf *out)
{
    static const struct {
        const char *end, *text;
    } rows[] = {
        {"uploaded", "after it was uploaded"},
        {"sampled_out", "sampling had decided that nothing of it leaves"},
        {"part", "after the part that sampling kept was uploaded"},
        {"expired", "expired: too old, and not uploaded"},
        {"no_space", "dropped for lack of space, and not uploaded"},
        {"unreadable", "dropped: it had become unreadable, and was not uploaded"},
    };
    const char *text = place->end;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (strcmp(rows[i].end, place->end) == 0)
            text = rows[i].text;
    }
    tell_time("    deleted here ", place->gone_unix_ns, ", ", out);
    fm_buf_printf(out, "%s\n    by the block's filter, which is wrong once in a hundred times\n",
                  text);
}

static void tell_uploaded(const struct story_place *place, struct fm_buf *out)
{
    uint32_t shown = FM_MIN(place->destination_count, STORY_DESTINATIONS_MAX);
    tell_time("    uploaded ", place->uploaded_unix_ns, "", out);
    if (place->destination_count > 1)
        tell_time(" to ", place->uploaded_last_unix_ns,
                  ", as one of the blocks it was merged of:", out);
    else if (shown)
        fm_buf_puts(out, " as block");
    for (uint32_t i = 0; i < shown; i++)
        fm_buf_printf(out, "%s%s", place->destination_count > 1 ? "\n      " : " ",
                      place->destinations[i]);
    if (shown < place->destination_count)
        fm_buf_printf(out, "\n      and %" PRIu32 " more", place->destination_count - shown);
    fm_buf_puts(out, "\n");
}

/* What left, or will, beside the block that the spans are in. */
static void tell_copy(const struct story_place *place, struct fm_buf *out)
{
    static const struct {
        const char *lane, *text;
    } rows[] = {
        {"express", "an express copy, ahead of its block"},
        {"recall", "a recalled copy"},
        {"normal", "what sampling kept of a block"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (strcmp(rows[i].lane, place->lane) == 0)
            fm_buf_printf(out, "  %s: block %s", rows[i].text, place->block);
    }
    if (place->spans)
        fm_buf_printf(out, ", %" PRIu64 " spans\n    %s", place->spans, place->path);
    fm_buf_puts(out, "\n");
    if (place->is_uploaded)
        tell_uploaded(place, out);
    else
        fm_buf_puts(out, "    not uploaded yet\n");
    if (!place->spans)
        fm_buf_puts(out, "    by the block's filter, which is wrong once in a hundred times\n");
}

static void tell_place(const struct story_place *place, struct fm_buf *out)
{
    if (place->kind == STORY_COPY) {
        tell_copy(place, out);
        return;
    }
    if (place->kind == STORY_LOG)
        fm_buf_printf(out, "  in the log: record %" PRIu64 " of %s, %" PRIu64 " spans\n",
                      place->lsn, place->path, place->spans);
    else if (place->kind == STORY_BLOCK)
        fm_buf_printf(out, "  in block %s: %" PRIu64 " spans\n    %s\n", place->block, place->spans,
                      place->path);
    else
        fm_buf_printf(out, "  in block %s, which is gone\n", place->block);
    tell_received(place, out);
    if (place->kind == STORY_LOG)
        fm_buf_puts(out, "    waits for the next block\n");
    if (place->kind == STORY_GONE)
        tell_end(place, out);
    if (place->kind != STORY_BLOCK)
        return;
    tell_time("    sealed ", place->sealed_unix_ns, "\n", out);
    tell_verdict(place, out);
    if (place->went_ahead) {
        fm_buf_puts(out, "    all of it here left ahead, in an express block\n");
    } else if (place->is_uploaded && strcmp(place_state(place), "uploaded") == 0) {
        tell_uploaded(place, out);
    } else if (strcmp(place_state(place), "pending") == 0) {
        fm_buf_puts(out, "    not uploaded yet\n");
    }
}

void story_put_text(const struct story *story, struct fm_buf *out)
{
    char hex[33] = "";
    fm_hex_encode(hex, fm_slice(story->question->id.bytes, 16));
    fm_buf_printf(out, "trace %s, tenant %s\n", hex, story->question->tenant);
    for (size_t i = 0; i < story->count; i++)
        tell_place(&story->places[i], out);
    if (story->more)
        fm_buf_printf(out, "  and in %" PRIu64 " places more\n", story->more);
    if (!story->count)
        fm_buf_printf(out,
                      "  never seen here: not in the log, not in %" PRIu64
                      " blocks, not in what is known of %" PRIu64 " that are gone\n",
                      story->blocks, story->gone_blocks);
    if (story->damaged)
        fm_buf_printf(out, "  %" PRIu64 " files could not be read\n", story->damaged);
}
