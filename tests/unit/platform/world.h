/* SPDX-License-Identifier: Apache-2.0 */
/* world - a body of the platform with an empty directory, so that one contract serves all. */
#ifndef TESTS_UNIT_PLATFORM_WORLD_H
#define TESTS_UNIT_PLATFORM_WORLD_H

#include "../../support/test.h"

#include "fermata/linux.h"
#include "fermata/platform.h"
#include "fermata/sim.h"
#include "fermata/uv.h"

struct world {
    struct platform *platform;
    struct sim *sim; /* NULL: uv and linux */
    char root[128];  /* an empty directory */
    char path[4][192];
    unsigned path_next;
};

static inline void world_open_sim(struct world *world, uint64_t seed)
{
    *world = (struct world){0};
    assert_ok(sim_new(&world->sim, seed));
    world->platform = sim_platform(world->sim);
    snprintf(world->root, sizeof world->root, "/data");
    assert_ok(pf_make_path(world->platform, world->root, NULL));
}

static inline void world_open_uv(struct world *world)
{
    *world = (struct world){0};
    assert_ok(uv_platform_new(&world->platform, 2, 1));
    const char *base = getenv("TMPDIR");
    snprintf(world->root, sizeof world->root, "%s/fermata-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(world->root));
}

static inline void world_close(struct world *world)
{
    if (world->sim) {
        world->sim = sim_free(world->sim);
        return;
    }
    struct fm_why why;
    int rc = pf_remove_tree(world->platform, world->root, &why);
    if (rc < 0)
        print_error("%s\n", why.text);
    assert_ok(rc);
    world->platform = uv_platform_free(world->platform);
}

/* Runs until nothing is left. */
static inline void world_run(struct world *world)
{
    if (world->sim) {
        while (sim_step(world->sim))
            continue;
        return;
    }
    uv_platform_stop(world->platform);
    uv_platform_run(world->platform);
}

/* root/name; valid until the fourth call after. */
static inline const char *world_path(struct world *world, const char *name)
{
    char *path = world->path[world->path_next++ % FM_COUNT(world->path)];

    snprintf(path, sizeof world->path[0], "%s/%s", world->root, name);
    return path;
}

static inline struct pf_file *world_file(struct world *world, const char *name, unsigned flags)
{
    struct pf_file *file;
    struct fm_why why;
    int rc = pf_open(world->platform, world_path(world, name), flags, &file, &why);

    if (rc < 0)
        print_error("%s\n", why.text);
    assert_ok(rc);
    return file;
}

static inline void world_write(struct world *world, struct pf_file *file, uint64_t offset,
                               const char *text)
{
    struct fm_slice slice = fm_slice_text(text);

    assert_ok(world->platform->ops->write(file, offset, &slice, 1, NULL));
}

static inline void world_expect_content(struct world *world, const char *name, const char *text)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(16));
    assert_ok(pf_read_file(world->platform, world_path(world, name), &buf, NULL));
    assert_int_equal(buf.len, strlen(text));
    assert_memory_equal(buf.ptr, text, buf.len);
    fm_buf_fini(&buf);
}

static inline bool world_has(struct world *world, const char *name)
{
    struct pf_file *file;
    int rc = pf_open(world->platform, world_path(world, name), PF_READ, &file, NULL);

    if (rc == FM_ENOTFOUND)
        return false;
    assert_ok(rc);
    pf_close(world->platform, file);
    return true;
}

#endif
