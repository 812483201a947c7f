/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about process and machine, the service manager's socket, errors only a kernel gives. */
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void notify_expect(struct sockaddr_un *address, size_t size, const char *name)
{
    char bytes[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, (socklen_t)size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    linux_notify("READY=1\nSTATUS=up");
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_int_equal(got, 17);
    assert_memory_equal(bytes, "READY=1\nSTATUS=up", 17);
    linux_notify("WATCHDOG=1");
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 10);
    close(fd);
}

static void test_notify(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    (void)state;

    unsetenv("NOTIFY_SOCKET");
    linux_notify("READY=1"); /* nobody asked */
    snprintf(name, sizeof name, "@fermata-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    notify_expect(&address, offsetof(struct sockaddr_un, sun_path) + strlen(name), name);

    snprintf(name, sizeof name, "/tmp/fermata-test-%d", (int)getpid());
    memset(address.sun_path, 0, sizeof address.sun_path);
    memcpy(address.sun_path, name, strlen(name));
    notify_expect(&address, sizeof address, name);
    unlink(name);
    linux_notify("READY=1"); /* nobody listens */

    static const char *const odd[] = {"", "/", "@", "relative", "vsock:2:3"};
    for (size_t i = 0; i < FM_COUNT(odd); i++) {
        setenv("NOTIFY_SOCKET", odd[i], 1);
        linux_notify("READY=1");
    }
    char long_name[300];
    memset(long_name, '/', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    setenv("NOTIFY_SOCKET", long_name, 1);
    linux_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
}

static void test_watchdog(void **state)
{
    static const struct {
        const char *usec, *pid;
        uint64_t expected_ns;
    } rows[] = {
        {NULL, NULL, 0},
        {"30000000", NULL, UINT64_C(30000000000)},
        {"30000000", "self", UINT64_C(30000000000)},
        {"30000000", "1", 0},
        {"30000000", "x", 0},
        {"30s", NULL, 0},
        {"-1", NULL, 0},
        {"", NULL, 0},
        {"18446744073709551615", NULL, 0},
        {"99999999999999999999999", NULL, 0},
    };
    (void)state;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        char self[16];
        snprintf(self, sizeof self, "%d", (int)getpid());
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (rows[i].usec)
            setenv("WATCHDOG_USEC", rows[i].usec, 1);
        if (rows[i].pid)
            setenv("WATCHDOG_PID", strcmp(rows[i].pid, "self") ? rows[i].pid : self, 1);
        assert_true(linux_watchdog_ns() == rows[i].expected_ns);
    }
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void test_facts(void **state)
{
    uint8_t id[16];
    char name[256], two[2];
    (void)state;

    int rc = linux_machine_id(id);
    assert_true(rc == FM_OK || rc == FM_ENOTFOUND);
    linux_host_name(name, sizeof name);
    assert_true(strlen(name) > 0);
    linux_host_name(two, sizeof two);
    assert_true(strlen(two) <= 1);

    uint64_t rss = linux_rss_bytes(), limit = linux_memory_limit();
    assert_true(rss > FM_KIB(100) && rss < limit);
    assert_true(limit >= FM_MIB(16));

    uint64_t cpu = linux_cpu_ns();
    for (volatile unsigned i = 0; i < 3000000; i++)
        continue;
    assert_true(linux_cpu_ns() > cpu);

    uint32_t files = linux_open_files();
    int pair[2];
    assert_int_equal(pipe(pair), 0);
    assert_int_equal(linux_open_files(), files + 2);
    assert_false(linux_is_terminal(pair[0]));
    assert_int_equal(linux_terminal_width(pair[0]), 80);
    close(pair[0]);
    close(pair[1]);
    linux_trim();
}

/* In a child: these settings cannot be taken back. */
static void test_process_settings(void **state)
{
    (void)state;
    pid_t child = fork();

    if (!child) {
        struct rlimit core;
        linux_tune_allocator();
        linux_harden();
        getrlimit(RLIMIT_CORE, &core);
        _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) != 0 ||
              core.rlim_max != 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_kernel_errors(void **state)
{
    struct platform *platform = linux_platform();
    struct pf_file *file;
    struct fm_why why;
    (void)state;

    assert_ok(pf_open(platform, "/dev/full", PF_WRITE, &file, &why));
    assert_int_equal(platform->ops->write(file, 0, &FM_SLICE("x"), 1, &why), FM_ENOSPACE);
    assert_string_equal(why.text, "write /dev/full: No space left on device");
    pf_close(platform, file);

    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(1)); /* a file that says it is empty */
    assert_ok(pf_read_file(platform, "/proc/self/status", &buf, &why));
    assert_true(buf.len > 100);
    fm_buf_fini(&buf);
    fm_buf_init(&buf, 50);
    assert_int_equal(pf_read_file(platform, "/proc/self/status", &buf, &why), FM_ELIMIT);
    fm_buf_fini(&buf);
    assert_int_equal(platform->ops->make_dir(platform, "/proc/fermata", &why), FM_ENOTFOUND);
    assert_int_equal(pf_open(platform, "/proc/self/mem/x", PF_READ, &file, &why), FM_EIO);
}

static void test_out_of_files(void **state)
{
    struct platform *platform = linux_platform();
    struct rlimit before, few;
    struct pf_file *files[64];
    struct fm_why why;
    size_t count = 0;
    int rc = FM_OK;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 32;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < FM_COUNT(files) &&
           (rc = pf_open(platform, "/dev/null", PF_READ, &files[count], &why)) == FM_OK)
        count++;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, FM_EUNAVAILABLE);
    while (count)
        pf_close(platform, files[--count]);
}

/* The kernel writes up to the limit and reports less than asked: the rest must be tried again. */
static void test_short_write_then_error(void **state)
{
    struct world world;
    struct rlimit before, small;
    static const uint8_t bytes[10000];
    struct fm_slice slices[] = {fm_slice(bytes, 5000), fm_slice(bytes, 5000)};
    struct fm_why why;
    uint64_t size;
    (void)state;

    world_open_uv(&world);
    struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 6000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = world.platform->ops->write(file, 0, slices, 2, &why);
    int allocated = world.platform->ops->allocate(file, 10000, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, FM_ENOSPACE);
    assert_int_equal(allocated, FM_ENOSPACE);
    assert_non_null(strstr(why.text, "File too large"));
    assert_ok(world.platform->ops->size(file, &size));
    assert_int_equal(size, 6000);
    pf_close(world.platform, file);
    world_close(&world);
}

static void test_the_lock_outlives_its_opener_only_in_the_process(void **state)
{
    struct world world;
    (void)state;

    world_open_uv(&world);
    const char *path = world_path(&world, "LOCK");
    pid_t child = fork();
    if (!child)
        _exit(world.platform->ops->lock(world.platform, path, NULL) != FM_OK);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(world.platform->ops->lock(world.platform, path, NULL)); /* the holder is gone */
    child = fork();
    if (!child)
        _exit(world.platform->ops->lock(world.platform, path, NULL) != FM_EEXISTS);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    world_close(&world);
}

static void test_without_memory(void **state)
{
    struct world world;
    struct pf_file *file;
    (void)state;

    world_open_uv(&world);
    for (uint64_t nth = 1;; nth++) {
        test_alloc_fail_at(nth);
        int rc = pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("x"), NULL);
        if (rc == FM_OK)
            rc = pf_remove_tree(world.platform, world.root, NULL);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        if (!failed) {
            assert_ok(rc);
            break;
        }
        assert_int_equal(rc, FM_ENOMEM);
    }
    assert_ok(world.platform->ops->make_dir(world.platform, world.root, NULL));
    test_alloc_fail_at(1);
    assert_int_equal(
        pf_open(world.platform, world_path(&world, "f"), PF_WRITE | PF_CREATE, &file, NULL),
        FM_ENOMEM);
    test_alloc_disarm();
    assert_false(world_has(&world, "f"));
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_process_settings),
        cmocka_unit_test(test_kernel_errors),
        cmocka_unit_test(test_out_of_files),
        cmocka_unit_test(test_short_write_then_error),
        cmocka_unit_test(test_the_lock_outlives_its_opener_only_in_the_process),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
