/* SPDX-License-Identifier: Apache-2.0 */
/* block: looks into a block's directory, without a daemon. */
#include <inttypes.h>
#include <stdio.h>

#include "block_files.h"
#include "fermata/json.h"
#include "fermata/units.h"
#include "options.h"
#include "otlp_json.h"
#include "terminal.h"

#define BLOCK_TEXT_MAX FM_MIB(64)

static const struct options block_options = {
    .verb = "block",
    .synopsis = "inspect|verify|dump DIR",
    .summary = "Looks into a block: a directory with meta.json, bloom-0 and data.parquet.\n"
               "  inspect  what it holds, and what each column costs\n"
               "  verify   decodes every page and holds it against meta.json; exit 65 if damaged\n"
               "  dump     every trace as one line of OTLP/JSON",
    .examples = "  fermata block inspect /var/lib/fermata/blocks/single-tenant/ID\n"
                "  fermata block verify ./ID && echo good\n"
                "  fermata block dump ./ID | jq .resourceSpans\n",
    .word_min = 2,
    .word_max = 2,
};

static int block_fail(int rc, const struct fm_why *why)
{
    int exit = rc == FM_ENOTFOUND                 ? EXIT_NOT_FOUND
               : rc == FM_EIO || rc == FM_EDENIED ? EXIT_IO
               : rc == FM_ENOMEM                  ? EXIT_TEMPORARY
                                                  : EXIT_DAMAGED;
    return options_fail(&block_options, exit, "%s", why->text);
}

static void block_put_meta(const struct block_meta *meta, struct fm_buf *out)
{
    char id[37];

    block_id_print(&meta->id, id);
    fm_buf_printf(out, "block       %s  vParquet%d\n", id, (int)meta->version);
    fm_buf_puts(out, "tenant      ");
    terminal_put_text(out, fm_slice_text(meta->tenant), 0);
    fm_buf_puts(out, "\ntime        ");
    fm_rfc3339_print(out, meta->start_ns);
    fm_buf_puts(out, " to ");
    fm_rfc3339_print(out, meta->end_ns);
    fm_buf_printf(out, "\ntraces      %" PRIu64 "\nsize        ", meta->trace_count);
    fm_bytes_print_short(out, meta->size_bytes);
    fm_buf_printf(out,
                  ", footer %u bytes, %u row group%s, %u bloom%s, compaction level %u, "
                  "replication factor %u\n",
                  meta->footer_bytes, meta->row_group_count, meta->row_group_count == 1 ? "" : "s",
                  meta->bloom_shard_count, meta->bloom_shard_count == 1 ? "" : "s",
                  meta->compaction_level, meta->replication_factor);
    for (uint32_t i = 0; i < meta->dedicated_count; i++) {
        fm_buf_puts(out, i ? ", " : "dedicated   ");
        terminal_put_text(out, fm_slice_text(meta->dedicated[i].name), 0);
    }
    if (meta->dedicated_count)
        fm_buf_puts(out, "\n");
}

static int block_inspect_files(struct block_files *files, struct fm_why *why)
{
    struct fm_buf out;

    fm_buf_init(&out, BLOCK_TEXT_MAX);
    block_put_meta(&files->meta, &out);
    fm_buf_puts(&out, "\n");
    int rc = block_inspect(files->data, &files->meta, &out, why);
    terminal_flush(&out);
    fm_buf_fini(&out);
    return rc;
}

static int block_verify_files(struct block_files *files, struct fm_why *why)
{
    struct block_census census;

    int rc = block_verify(files->data, &files->meta, files->blooms, &census, why);
    if (rc < 0)
        return rc;
    printf("good: %" PRIu64 " traces, %" PRIu64 " spans, %" PRIu64 " events, %" PRIu64
           " links, %" PRIu64 " attributes\n",
           census.trace_count, census.span_count, census.event_count, census.link_count,
           census.attribute_count);
    return FM_OK;
}

static int block_dump_trace(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct fm_buf *out = self;

    (void)id;
    int rc = otlp_json_put(otlp, out);
    if (rc < 0)
        return rc;
    fm_buf_puts(out, "\n");
    terminal_flush(out);
    return FM_OK;
}

static int block_dump_files(struct block_files *files, struct fm_why *why)
{
    FM_AUTO(block) block = NULL;
    struct fm_buf out;

    int rc = block_open(&block, files->data, &files->meta, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&out, BLOCK_TEXT_MAX);
    why->text[0] = '\0';
    rc = block_each_trace(block, block_dump_trace, &out, why);
    fm_buf_fini(&out);
    return rc < 0 && !why->text[0] ? fm_fail(why, rc, "%s", fm_rc_text(rc)) : rc;
}

int tool_block(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct block_files *files, struct fm_why *why);
    } deeds[] = {{"inspect", block_inspect_files},
                 {"verify", block_verify_files},
                 {"dump", block_dump_files}};
    struct block_files files;
    struct fm_why why;
    const char *words[2];
    int exit;

    if (!options_parse(&block_options, argc, argv, words, &exit))
        return exit;
    for (size_t i = 0; i < FM_COUNT(deeds); i++) {
        if (strcmp(words[0], deeds[i].name) != 0)
            continue;
        int rc = block_files_open(&files, words[1], &why);
        if (rc == FM_OK)
            rc = deeds[i].run(&files, &why);
        exit = rc < 0 ? block_fail(rc, &why) : EXIT_DONE;
        block_files_close(&files);
        return exit;
    }
    return options_fail(&block_options, EXIT_WRONG_USAGE, "%s: accepted is inspect, verify or dump",
                        words[0]);
}
