/* SPDX-License-Identifier: Apache-2.0 */
/* save - an exporter's place, from and to disk.
 *
 * Written once a second or after some MiB, never before the upstream has acknowledged.  A write
 * that fails is tried again; what it costs is what is sent twice after a crash. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SAVE_INTERVAL_NS FM_NS_PER_S
#define SAVE_RETRY_NS    (5 * FM_NS_PER_S)
#define SAVE_BYTES       FM_MIB(8)
#define SAVE_TEXT_MAX    FM_MIB(16)

static void save_on_timer(struct pf_timer *timer);

void exporter_save_init(struct exporter *exporter)
{
    exporter->save_timer.fire = save_on_timer;
    fm_buf_init(&exporter->save_text, SAVE_TEXT_MAX);
}

/* ---- reading ---- */

static int exporter_restore(struct exporter *exporter, const struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        store_cursor_restore(exporter->cursor, places->lines[i].tenant, &places->lines[i].place);
    return FM_OK;
}

/* What cannot be read is set aside, and everything is sent again: twice is better than never. */
static int exporter_read_places(struct exporter *exporter, struct places *ret_places,
                                struct fm_why *why)
{
    struct platform *platform = exporter->exports->platform;
    struct fm_buf text;
    char aside[1100];
    fm_buf_init(&text, SAVE_TEXT_MAX);
    int rc = pf_read_file(platform, exporter->path, &text, why);
    if (rc == FM_OK)
        rc = places_parse(fm_buf_slice(&text), ret_places, why);
    fm_buf_fini(&text);
    if (rc == FM_ENOTFOUND) {
        ret_places->begin_lsn = exporter->options.from_oldest ? 0 : UINT64_MAX;
        return FM_OK;
    }
    if (rc != FM_ECORRUPT && rc != FM_EMALFORMED && rc != FM_ELIMIT)
        return rc;
    (void)snprintf(aside, sizeof aside, "%s.unreadable", exporter->path);
    log_error("export.place_unreadable",
              "exporter=%s why=\"%s\" begins again with all that is there", exporter->name,
              why->text);
    return platform->ops->rename(platform, exporter->path, aside, why);
}

/* ---- writing ---- */

static int exporter_gather(struct exporter *exporter)
{
    struct places *places = &exporter->saving;
    size_t count = store_cursor_tenant_count(exporter->cursor);
    struct place_line *lines = realloc(places->lines, (count + 1) * sizeof *lines);
    if (!lines)
        return FM_ENOMEM;
    places->lines = lines;
    places->count = count;
    places->begin_lsn = store_cursor_begin(exporter->cursor);
    for (size_t i = 0; i < count; i++) {
        lines[i].place = store_cursor_place(exporter->cursor, i);
        (void)snprintf(lines[i].tenant, sizeof lines[i].tenant, "%s",
                       store_cursor_tenant(exporter->cursor, i));
    }
    fm_buf_reset(&exporter->save_text);
    places_render(places, &exporter->save_text);
    return exporter->save_text.failed ? FM_ENOMEM : FM_OK;
}

static void save_work(struct pf_job *job)
{
    struct exporter *exporter = FM_CONTAINER(job, struct exporter, save_job);
    exporter->save_rc = pf_replace_file(exporter->exports->platform, exporter->path,
                                        fm_buf_slice(&exporter->save_text), &exporter->save_why);
}

static void save_start_timer(struct exporter *exporter, uint64_t delay_ns)
{
    if (exporter->save_timer_runs || exporter->is_closing)
        return;
    exporter->save_timer_runs = true;
    pf_timer_start(exporter->exports->platform, &exporter->save_timer, delay_ns);
}

static void save_note(struct exporter *exporter)
{
    for (size_t i = 0; i < exporter->saving.count; i++)
        store_cursor_saved(exporter->cursor, i, exporter->saving.lines[i].place.lsn);
}

static void save_failed(struct exporter *exporter, const char *why)
{
    metric_add(&exporter->save_failures, 1);
    exporter->is_dirty = true;
    log_warn("export.place_not_written", "exporter=%s why=\"%s\"", exporter->name, why);
    save_start_timer(exporter, SAVE_RETRY_NS);
}

static void save_on_done(struct pf_job *job)
{
    struct exporter *exporter = FM_CONTAINER(job, struct exporter, save_job);
    exporter->is_saving = false;
    if (exporter->save_rc == FM_OK) {
        metric_add(&exporter->saves, 1);
        save_note(exporter);
        if (exporter->is_dirty)
            save_start_timer(exporter, SAVE_INTERVAL_NS);
    } else {
        save_failed(exporter, exporter->save_why.text);
    }
    exporter_on_saved(exporter);
}

bool exporter_save_now(struct exporter *exporter)
{
    if (exporter->is_saving || !exporter->is_dirty)
        return exporter->is_saving;
    if (exporter->save_timer_runs)
        pf_timer_stop(exporter->exports->platform, &exporter->save_timer);
    exporter->save_timer_runs = false;
    exporter->is_dirty = false;
    exporter->unsaved_bytes = 0;
    if (exporter_gather(exporter) < 0) {
        save_failed(exporter, fm_rc_text(FM_ENOMEM));
        return false;
    }
    exporter->is_saving = true;
    exporter->save_job =
        (struct pf_job){.work = save_work, .done = save_on_done, .lane = PF_LANE_DISK};
    pf_job_submit(exporter->exports->platform, &exporter->save_job);
    return true;
}

static void save_on_timer(struct pf_timer *timer)
{
    struct exporter *exporter = FM_CONTAINER(timer, struct exporter, save_timer);
    exporter->save_timer_runs = false;
    (void)exporter_save_now(exporter); /* or one is under way, which sets the timer again */
}

void exporter_note_advance(struct exporter *exporter, uint64_t bytes)
{
    exporter->is_dirty = true;
    exporter->unsaved_bytes += bytes;
    if (exporter->unsaved_bytes >= SAVE_BYTES)
        (void)exporter_save_now(exporter);
    else if (!exporter->is_saving)
        save_start_timer(exporter, SAVE_INTERVAL_NS);
}

/* ---- start ---- */

static void exporter_on_more(void *self)
{
    exporter_note_more(self);
}

static int exporter_write_first(struct exporter *exporter, struct fm_why *why)
{
    int rc = exporter_gather(exporter);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for the place of an exporter");
    rc = pf_replace_file(exporter->exports->platform, exporter->path,
                         fm_buf_slice(&exporter->save_text), why);
    if (rc == FM_OK)
        save_note(exporter);
    return rc;
}

int exporter_load(struct exporter *exporter, struct fm_why *why)
{
    struct places places = {0};
    char folder[1024];
    int len = snprintf(folder, sizeof folder, "%s/export", exporter->options.data_dir);
    if (len < 0 || (size_t)len >= sizeof folder)
        return fm_fail(why, FM_ECONFIG, "data directory: too long a path");
    if (asprintf(&exporter->path, "%s/%s", folder, exporter->name) < 0) {
        exporter->path = NULL;
        return fm_fail(why, FM_ENOMEM, "no memory for an exporter");
    }
    int rc = pf_make_path(exporter->exports->platform, folder, why);
    if (rc == FM_OK)
        rc = exporter_read_places(exporter, &places, why);
    if (rc < 0)
        return rc;
    const struct store_cursor_options cursor = {
        .begin_lsn = places.begin_lsn,
        .decided_only = exporter->options.sampled_only,
        .on_more = exporter_on_more,
        .self = exporter,
    };
    rc = store_cursor_open(&exporter->cursor, exporter->exports->store, &cursor);
    if (rc == FM_OK)
        rc = exporter_restore(exporter, &places);
    places_fini(&places);
    return rc < 0 ? fm_fail(why, rc, "exporter: %s", fm_rc_text(rc))
                  : exporter_write_first(exporter, why);
}
