/* SPDX-License-Identifier: Apache-2.0 */
/* wal inspect: what the segments of a log hold, without a daemon. */
#include "fermata/wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/json.h"
#include "fermata/linux.h"
#include "fermata/model.h"
#include "fermata/units.h"
#include "options.h"
#include "terminal.h"

#define WAL_FILES_MAX   65536u
#define WAL_TENANTS_MAX 256u

struct wal_census { /* of one segment, or of all */
    uint64_t records, spans, stored_bytes, payload_bytes;
    uint64_t first_ns, last_ns; /* received */
    uint64_t holes, hole_bytes, tail_bytes;
    size_t tenant_count;
    struct wal_tenant {
        char name[TENANT_LEN_MAX + 1];
        uint64_t spans;
    } tenants[WAL_TENANTS_MAX]; /* more are not told apart */
};
struct wal_inspection {
    const struct options *options; /* for messages */
    bool json;
    struct wal_census all;
    size_t segment_count, unused_count, damaged_count;
    struct fm_buf out;
};

static void census_add_tenant(struct wal_census *census, struct fm_slice name, uint64_t spans)
{
    size_t i = 0;

    while (i < census->tenant_count && !fm_slice_equal_text(name, census->tenants[i].name))
        i++;
    if (i == WAL_TENANTS_MAX || name.len > TENANT_LEN_MAX)
        return;
    if (i == census->tenant_count) {
        (void)snprintf(census->tenants[i].name, sizeof census->tenants[i].name, "%.*s",
                       (int)name.len, (const char *)name.ptr);
        census->tenant_count++;
    }
    census->tenants[i].spans += spans;
}

static int census_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                            const struct wal_record *record)
{
    struct wal_census *census = self;

    (void)segment;
    (void)offset;
    if (record->type != WAL_SPANS)
        return FM_OK;
    census->records++;
    census->spans += record->span_count;
    census->stored_bytes += record->stored_crc_bytes;
    census->payload_bytes += record->payload_bytes;
    if (!census->first_ns || record->received_unix_ns < census->first_ns)
        census->first_ns = record->received_unix_ns;
    census->last_ns = FM_MAX(census->last_ns, record->received_unix_ns);
    census_add_tenant(census, record->tenant, record->span_count);
    return FM_OK;
}

static int census_on_hole(void *self, uint64_t offset, uint64_t len)
{
    struct wal_census *census = self;

    (void)offset;
    census->holes++;
    census->hole_bytes += len;
    return FM_OK;
}

static void census_add(struct wal_census *all, const struct wal_census *one)
{
    all->records += one->records;
    all->spans += one->spans;
    all->stored_bytes += one->stored_bytes;
    all->payload_bytes += one->payload_bytes;
    all->holes += one->holes;
    all->hole_bytes += one->hole_bytes;
    all->tail_bytes += one->tail_bytes;
    if (one->first_ns && (!all->first_ns || one->first_ns < all->first_ns))
        all->first_ns = one->first_ns;
    all->last_ns = FM_MAX(all->last_ns, one->last_ns);
    for (size_t i = 0; i < one->tenant_count; i++)
        census_add_tenant(all, fm_slice_text(one->tenants[i].name), one->tenants[i].spans);
}

static void census_put(const struct wal_census *census, struct fm_buf *out)
{
    fm_buf_printf(out, "%" PRIu64 " spans in %" PRIu64 " records, ", census->spans,
                  census->records);
    fm_bytes_print_short(out, census->stored_bytes);
    fm_buf_puts(out, " (");
    fm_bytes_print_short(out, census->payload_bytes);
    fm_buf_puts(out, " of payload)");
    if (census->holes)
        fm_buf_printf(out, ", %" PRIu64 " HOLES of %" PRIu64 " bytes", census->holes,
                      census->hole_bytes);
    if (census->tail_bytes)
        fm_buf_printf(out, ", torn tail of %" PRIu64 " bytes", census->tail_bytes);
}

static void census_put_json(const struct wal_census *census, struct json_writer *json)
{
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"records", census->records},
        {"spans", census->spans},
        {"stored_bytes", census->stored_bytes},
        {"payload_bytes", census->payload_bytes},
        {"holes", census->holes},
        {"hole_bytes", census->hole_bytes},
        {"tail_bytes", census->tail_bytes},
    };

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        json_key(json, rows[i].key);
        json_uint(json, rows[i].value);
    }
    json_key(json, "first_received_unix_ns");
    json_uint_text(json, census->first_ns);
    json_key(json, "last_received_unix_ns");
    json_uint_text(json, census->last_ns);
    json_key(json, "tenants");
    json_object_begin(json);
    for (size_t i = 0; i < census->tenant_count; i++) {
        json_key(json, census->tenants[i].name);
        json_uint(json, census->tenants[i].spans);
    }
    json_object_end(json);
}

static void segment_put(struct wal_inspection *inspection, const char *path, const char *state,
                        const struct wal_replay_result *result, const struct wal_census *census)
{
    struct json_writer json;

    if (!inspection->json) {
        terminal_put_text(&inspection->out, fm_slice_text(path), 0);
        fm_buf_printf(&inspection->out, "  %-8s", state);
        if (result) {
            fm_buf_printf(&inspection->out,
                          "  epoch %u, sequence %" PRIu64 ", lsn %" PRIu64 " to %" PRIu64 ": ",
                          result->segment.epoch, result->segment.sequence, result->segment.base_lsn,
                          result->end_lsn);
            census_put(census, &inspection->out);
        }
        fm_buf_puts(&inspection->out, "\n");
        terminal_flush(&inspection->out);
        return;
    }
    json_writer_init(&json, &inspection->out);
    json_object_begin(&json);
    json_key(&json, "file");
    json_text(&json, path);
    json_key(&json, "state");
    json_text(&json, state);
    if (result) {
        json_key(&json, "epoch");
        json_uint(&json, result->segment.epoch);
        json_key(&json, "sequence");
        json_uint(&json, result->segment.sequence);
        json_key(&json, "base_lsn");
        json_uint(&json, result->segment.base_lsn);
        json_key(&json, "end_lsn");
        json_uint(&json, result->end_lsn);
        census_put_json(census, &json);
    }
    json_object_end(&json);
    fm_buf_puts(&inspection->out, "\n");
    terminal_flush(&inspection->out);
}

static int wal_inspect_file(struct wal_inspection *inspection, const char *path, struct fm_why *why)
{
    struct wal_replay_result result = {0};
    struct pf_source file;
    struct fm_source source;
    struct wal_census *census = calloc(1, sizeof *census);

    if (!census)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    int rc = pf_source_open(&file, linux_platform(), path, &source, why);
    if (rc < 0) {
        free(census);
        return rc;
    }
    const struct wal_visitor visitor = {census, census_on_record, census_on_hole};
    rc = wal_replay(source, &visitor, &result, why);
    pf_source_close(&file);
    census->tail_bytes = result.tail_bytes;
    inspection->segment_count++;
    if (rc == FM_OK) {
        segment_put(inspection, path, result.sealed ? "sealed" : "open", &result, census);
        census_add(&inspection->all, census);
    } else if (rc == FM_NONE) {
        inspection->unused_count++;
        segment_put(inspection, path, "unused", NULL, NULL);
        rc = FM_OK;
    } else if (rc == FM_ECORRUPT) {
        inspection->damaged_count++;
        segment_put(inspection, path, "damaged", NULL, NULL);
        rc = FM_OK;
    }
    free(census);
    return rc;
}

/* ---- directories ---- */

struct wal_files {
    char folder[1024];
    char **paths; /* owned, each owned */
    size_t count;
};

static int wal_on_entry(void *self, const char *name, bool is_directory)
{
    struct wal_files *files = self;
    size_t len = strlen(name);

    if (is_directory || name[0] == '.' || len < 4 || strcmp(name + len - 4, ".seg") != 0)
        return FM_OK;
    if (files->count == WAL_FILES_MAX)
        return FM_ELIMIT;
    char **paths = realloc(files->paths, (files->count + 1) * sizeof *paths);
    if (!paths)
        return FM_ENOMEM;
    files->paths = paths;
    if (asprintf(&paths[files->count], "%s/%s", files->folder, name) < 0)
        return FM_ENOMEM;
    files->count++;
    return FM_OK;
}

static int wal_compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder's own segments, or those of wal/ below it. */
static int wal_list(struct wal_files *files, const char *folder, struct fm_why *why)
{
    struct platform *platform = linux_platform();

    (void)snprintf(files->folder, sizeof files->folder, "%s", folder);
    int rc = platform->ops->list(platform, files->folder, wal_on_entry, files, why);
    if (rc < 0 || files->count)
        return rc;
    (void)snprintf(files->folder, sizeof files->folder, "%s/wal", folder);
    rc = platform->ops->list(platform, files->folder, wal_on_entry, files, NULL);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

static void wal_put_total(struct wal_inspection *inspection)
{
    struct fm_buf *out = &inspection->out;
    struct json_writer json;

    if (inspection->json) {
        json_writer_init(&json, out);
        json_object_begin(&json);
        json_key(&json, "segments");
        json_uint(&json, inspection->segment_count);
        json_key(&json, "unused");
        json_uint(&json, inspection->unused_count);
        json_key(&json, "damaged");
        json_uint(&json, inspection->damaged_count);
        census_put_json(&inspection->all, &json);
        json_object_end(&json);
        fm_buf_puts(out, "\n");
        return;
    }
    fm_buf_printf(out,
                  "total     %zu segments (%zu unused, %zu damaged): ", inspection->segment_count,
                  inspection->unused_count, inspection->damaged_count);
    census_put(&inspection->all, out);
    if (inspection->all.first_ns) {
        fm_buf_puts(out, "\nreceived  ");
        fm_rfc3339_print(out, inspection->all.first_ns);
        fm_buf_puts(out, " to ");
        fm_rfc3339_print(out, inspection->all.last_ns);
    }
    for (size_t i = 0; i < inspection->all.tenant_count; i++) {
        fm_buf_puts(out, i ? ", " : "\ntenants   ");
        terminal_put_text(out, fm_slice_text(inspection->all.tenants[i].name), 0);
        fm_buf_printf(out, " %" PRIu64, inspection->all.tenants[i].spans);
    }
    fm_buf_puts(out, "\n");
}

static int wal_inspect(struct wal_inspection *inspection, const char *path)
{
    struct wal_files files = {0};
    struct fm_why why = {""};

    int rc = wal_list(&files, path, &why);
    if (rc < 0 && rc != FM_ENOTFOUND) { /* no directory: then it is a segment */
        rc = wal_inspect_file(inspection, path, &why);
    } else if (rc == FM_OK) {
        qsort(files.paths, files.count, sizeof *files.paths, wal_compare_paths);
        for (size_t i = 0; i < files.count && rc == FM_OK; i++)
            rc = wal_inspect_file(inspection, files.paths[i], &why);
    }
    for (size_t i = 0; i < files.count; i++)
        free(files.paths[i]);
    free(files.paths);
    if (rc == FM_ENOTFOUND)
        return options_fail(inspection->options, EXIT_NOT_FOUND, "%s: nothing is there", path);
    if (rc < 0)
        return options_fail(inspection->options, EXIT_IO, "%s",
                            why.text[0] ? why.text : fm_rc_text(rc));
    if (!inspection->segment_count)
        return options_fail(inspection->options, EXIT_NOT_FOUND, "%s: no segments there", path);
    wal_put_total(inspection);
    terminal_flush(&inspection->out);
    return inspection->damaged_count || inspection->all.holes ? EXIT_DAMAGED : EXIT_DONE;
}

int tool_wal(int argc, char **argv)
{
    bool json = false;
    const struct option rows[] = {
        {"json", OPTION_FLAG, &json, NULL, "one object a segment, then one for all", NULL},
    };
    const struct options options = {
        .verb = "wal",
        .synopsis = "inspect DIR|FILE [--json]",
        .summary = "Reads a log's segments as a start of the daemon would: records, spans,\n"
                   "tenants, holes.  Exit 65 if something in it is damaged.",
        .examples = "  fermata wal inspect /var/lib/fermata\n"
                    "  fermata wal inspect /var/lib/fermata/wal/00000001-000000000000.seg --json\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
        .word_min = 2,
        .word_max = 2,
    };
    const char *words[2];
    int exit;

    if (!options_parse(&options, argc, argv, words, &exit))
        return exit;
    if (strcmp(words[0], "inspect") != 0)
        return options_fail(&options, EXIT_WRONG_USAGE, "%s: accepted is inspect", words[0]);
    struct wal_inspection *inspection = calloc(1, sizeof *inspection);
    if (!inspection)
        return options_fail(&options, EXIT_TEMPORARY, "out of memory");
    inspection->options = &options;
    inspection->json = json;
    fm_buf_init(&inspection->out, FM_MIB(16));
    exit = wal_inspect(inspection, words[1]);
    fm_buf_fini(&inspection->out);
    free(inspection);
    return exit;
}
