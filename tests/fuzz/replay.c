/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's body over every file of the directories given as arguments: a kept corpus as a
 * regression test, without libFuzzer.  Each input is an exact-size copy on the heap, so that
 * AddressSanitizer sees one byte too many. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay_fail(const char *what, const char *path)
{
    (void)fprintf(stderr, "replay: %s %s\n", what, path);
    exit(1);
}

static void replay_file(const char *path, size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    FILE *file = fopen(path, "rb");
    if (!bytes || !file || fread(bytes, 1, size, file) != size)
        replay_fail("cannot read", path);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, size); /* always 0 */
    free(bytes);
}

static size_t replay_directory(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        replay_fail("cannot open", path);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[4096];
        struct stat status;
        int len = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (len < 0 || (size_t)len >= sizeof name || stat(name, &status) != 0)
            replay_fail("cannot stat", entry->d_name);
        if (!S_ISREG(status.st_mode))
            continue;
        replay_file(name, (size_t)status.st_size);
        count++;
    }
    (void)closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%s: %zu inputs\n", argv[i], replay_directory(argv[i]));
    return 0;
}
