/* SPDX-License-Identifier: Apache-2.0 */
/* quota - how much of a day's and a month's bytes is used.
 *
 * The file says at least what was used: before a block may begin, the file covers it, and some
 * more, so that not every block costs a write.  After a crash what the file says holds.  If it
 * cannot be written the count goes on in memory: uploads are what makes room on a full disk.
 * The file: docs/formats/upload-quota.md.
 */
#include "uplink.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define QUOTA_TITLE     "fermata-quota 1"
#define QUOTA_FILE_MAX  FM_KIB(4)
#define QUOTA_AHEAD_MIN FM_KIB(64)
#define QUOTA_AHEAD_MAX FM_MIB(64)

bool quota_is_on(const struct quota *quota)
{
    return quota->day.limit || quota->month.limit;
}

/* ---- periods ---- */

static void quota_period_set(struct quota_period *period, int64_t number)
{
    if (number == period->number)
        return;
    if (number > period->number)
        period->used = period->written = 0;
    period->number = number; /* the clock was set back: what was used stays used */
}

static void quota_numbers(const struct quota *quota, int64_t *ret_day, int64_t *ret_month)
{
    int64_t unix_s = (int64_t)(pf_wall_ns(quota->platform) / FM_NS_PER_S);
    int64_t local_s = unix_s + calendar_zone_offset_s(quota->zone, unix_s);
    struct fm_civil civil = fm_civil_from_unix(local_s, 0);
    *ret_day = local_s / 86400;
    *ret_month =
        (int64_t)civil.year * 12 + civil.month - 1 - (civil.day < (uint8_t)quota->month_begins);
}

void quota_look(struct quota *quota)
{
    int64_t day, month;
    quota_numbers(quota, &day, &month);
    quota_period_set(&quota->day, day);
    quota_period_set(&quota->month, month);
}

/* ---- the file ---- */

static bool quota_read_line(struct fm_slice *rest, const char *word, struct quota_period *period)
{
    const uint8_t *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    size_t len = strlen(word);
    uint64_t number;
    if (!end || (size_t)(end - rest->ptr) < len || memcmp(rest->ptr, word, len) != 0)
        return false;
    struct fm_slice line = fm_slice(rest->ptr + len, (size_t)(end - rest->ptr) - len);
    const uint8_t *blank = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
    if (!blank || fm_u64_parse(fm_slice(line.ptr, (size_t)(blank - line.ptr)), &number) < 0 ||
        number > INT32_MAX ||
        fm_u64_parse(fm_slice(blank + 1, line.len - (size_t)(blank - line.ptr) - 1),
                     &period->used) < 0)
        return false;
    period->number = (int64_t)number;
    period->written = period->used;
    *rest = fm_slice(end + 1, rest->len - (size_t)(end - rest->ptr) - 1);
    return true;
}

static bool quota_read(struct quota *quota, struct fm_slice text)
{
    struct quota_period day = quota->day, month = quota->month;
    struct fm_slice title = FM_SLICE(QUOTA_TITLE "\n");
    if (text.len < title.len || memcmp(text.ptr, title.ptr, title.len) != 0)
        return false;
    text = fm_slice(text.ptr + title.len, text.len - title.len);
    if (!quota_read_line(&text, "day ", &day) || !quota_read_line(&text, "month ", &month))
        return false;
    quota->day = day;
    quota->month = month;
    return true;
}

static void quota_load(struct quota *quota)
{
    struct fm_buf content;
    struct fm_why why = {""};
    fm_buf_init(&content, QUOTA_FILE_MAX);
    int rc = pf_read_file(quota->platform, quota->path, &content, &why);
    if (rc == FM_OK && !quota_read(quota, fm_buf_slice(&content)))
        log_warn("upload.quota", "path=\"%s\" why=\"not readable: counting begins at nothing\"",
                 quota->path);
    else if (rc < 0 && rc != FM_ENOTFOUND)
        log_warn("upload.quota", "path=\"%s\" why=\"%s\"", quota->path, why.text);
    fm_buf_fini(&content);
}

static void quota_save_work(struct pf_job *job)
{
    struct quota *quota = FM_CONTAINER(job, struct quota, job);
    quota->job_rc =
        pf_replace_file(quota->platform, quota->path, fm_buf_slice(&quota->text), &quota->job_why);
}

static void quota_on_saved(struct pf_job *job)
{
    struct quota *quota = FM_CONTAINER(job, struct quota, job);
    quota->is_saving = false;
    if (quota->job_rc < 0 && !quota->saving_failed)
        log_warn("upload.quota", "path=\"%s\" why=\"%s: counting goes on in memory\"", quota->path,
                 quota->job_why.text);
    quota->saving_failed = quota->job_rc < 0;
    if (quota->job_rc == FM_OK && quota->saved_day == quota->day.number)
        quota->day.written = quota->saved_day_used;
    if (quota->job_rc == FM_OK && quota->saved_month == quota->month.number)
        quota->month.written = quota->saved_month_used;
    quota->saved(quota->self);
}

static uint64_t quota_ahead(const struct quota *quota)
{
    uint64_t least = UINT64_MAX;
    if (quota->day.limit)
        least = quota->day.limit;
    if (quota->month.limit)
        least = FM_MIN(least, quota->month.limit);
    return FM_MAX(FM_MIN(least / 64, QUOTA_AHEAD_MAX), QUOTA_AHEAD_MIN);
}

static void quota_save(struct quota *quota, uint64_t ahead)
{
    if (quota->is_saving)
        return;
    quota->saved_day = quota->day.number;
    quota->saved_month = quota->month.number;
    quota->saved_day_used = quota->day.used + ahead;
    quota->saved_month_used = quota->month.used + ahead;
    fm_buf_reset(&quota->text);
    fm_buf_printf(&quota->text, QUOTA_TITLE "\nday %lld %llu\nmonth %lld %llu\n",
                  (long long)quota->saved_day, (unsigned long long)quota->saved_day_used,
                  (long long)quota->saved_month, (unsigned long long)quota->saved_month_used);
    quota->is_saving = true;
    quota->job =
        (struct pf_job){.work = quota_save_work, .done = quota_on_saved, .lane = PF_LANE_DISK};
    pf_job_submit(quota->platform, &quota->job);
}

void quota_save_last(struct quota *quota)
{
    quota_save(quota, 0);
}

/* ---- use ---- */

static bool quota_period_fits(const struct quota_period *period, uint64_t reserved, uint64_t bytes)
{
    /* What is larger than the whole quota goes when nothing of it is used, or it never would. */
    return !period->limit || period->used + reserved + bytes <= period->limit ||
           (bytes > period->limit && !period->used && !reserved);
}

static bool quota_is_covered(const struct quota *quota, uint64_t bytes)
{
    uint64_t more = quota->reserved + bytes;
    return (!quota->day.limit || quota->day.used + more <= quota->day.written) &&
           (!quota->month.limit || quota->month.used + more <= quota->month.written);
}

bool quota_admits(struct quota *quota, uint64_t bytes)
{
    if (!quota_is_on(quota))
        return true;
    quota_look(quota);
    if (!quota_period_fits(&quota->day, quota->reserved, bytes) ||
        !quota_period_fits(&quota->month, quota->reserved, bytes))
        return false;
    if (!quota->path[0] || quota->saving_failed || quota_is_covered(quota, bytes)) {
        quota->saving_failed = false; /* the next one tries again */
        return true;
    }
    quota_save(quota, quota->reserved + bytes + quota_ahead(quota));
    return false;
}

void quota_use(struct quota *quota, uint64_t bytes)
{
    if (!quota_is_on(quota))
        return;
    quota->day.used += bytes;
    quota->month.used += bytes;
    /* More than was foreseen: repeated attempts, express blocks. */
    if (quota->path[0] && !quota->saving_failed && !quota_is_covered(quota, 0))
        quota_save(quota, quota->reserved + quota_ahead(quota));
}

/* ---- life ---- */

int quota_init(struct quota *quota, struct platform *platform, const struct uplink_options *options,
               struct fm_why *why)
{
    *quota = (struct quota){.platform = platform};
    quota->day.limit = options->daily_quota;
    quota->month.limit = options->monthly_quota;
    quota->month_begins = FM_MAX(options->month_begins, 1);
    fm_buf_init(&quota->text, QUOTA_FILE_MAX);
    if (!quota_is_on(quota))
        return FM_OK;
    int rc = window_zone_new(&quota->zone, platform, options->timezone, why);
    if (rc < 0)
        return fm_wrap(why, rc, "[upload.bandwidth]");
    if (options->state_file) {
        int len = snprintf(quota->path, sizeof quota->path, "%s", options->state_file);
        if (len < 0 || (size_t)len >= sizeof quota->path)
            return fm_fail(why, FM_ECONFIG, "%s: the path is too long", options->state_file);
        quota_load(quota);
    }
    quota_look(quota);
    return FM_OK;
}

void quota_fini(struct quota *quota)
{
    quota->zone = calendar_zone_free(quota->zone);
    fm_buf_fini(&quota->text);
}
