/* SPDX-License-Identifier: Apache-2.0 */
/* memory - of the simulated hardware, out of reach of a test's failing malloc. */
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

#define MAPPED_BYTES FM_KIB(256) /* from here on the kernel's zeros are cheaper than ours */

void *sim_alloc(size_t size)
{
    void *ptr;

    if (size >= MAPPED_BYTES) {
        ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FM_ASSERT(ptr != MAP_FAILED);
        return ptr;
    }
    FM_ASSERT(posix_memalign(&ptr, 16, FM_MAX(size, (size_t)1)) == 0);
    return memset(ptr, 0, size);
}

void sim_release(void *ptr, size_t size)
{
    if (size >= MAPPED_BYTES)
        munmap(ptr, size);
    else
        free(ptr);
}

void *sim_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity ? 2 * *capacity : 8;
    void *grown = sim_alloc(wanted * element_size);
    if (array)
        memcpy(grown, array, count * element_size);
    sim_release(array, *capacity * element_size);
    *capacity = wanted;
    return grown;
}
