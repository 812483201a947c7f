/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts of traces: open addressing, a word for each.  62 bits of a word are the trace's: one
 * that is unknown is taken for one of a million others once in 4e12 times. */
#include <stdlib.h>

#include "internal.h"

#define MEMORY_GENERATIONS 4u
#define MEMORY_BYTES_MIN   FM_KIB(4)
#define VERDICT_MASK       UINT64_C(3)

struct memory_generation {
    uint64_t *words; /* 0: empty */
    uint64_t count;
};
struct sample_memory {
    struct memory_generation generations[MEMORY_GENERATIONS];
    uint64_t *words;     /* owned; of all generations */
    uint64_t slot_count; /* of one generation, a power of two */
    uint64_t count_max;  /* of one generation */
    uint64_t seed, forgotten;
    unsigned youngest;
};

int sample_memory_new(struct sample_memory **ret_memory, size_t bytes_max, uint64_t seed)
{
    FM_AUTO(sample_memory) memory = calloc(1, sizeof *memory);
    uint64_t slots = 1;

    if (!memory)
        return FM_ENOMEM;
    bytes_max = FM_MAX(bytes_max, MEMORY_BYTES_MIN);
    while (slots * 2 * sizeof(uint64_t) * MEMORY_GENERATIONS <= bytes_max)
        slots *= 2;
    memory->slot_count = slots;
    memory->count_max = slots - slots / 4;
    memory->seed = seed;
    memory->words = calloc(slots * MEMORY_GENERATIONS, sizeof *memory->words);
    if (!memory->words)
        return FM_ENOMEM;
    for (unsigned i = 0; i < MEMORY_GENERATIONS; i++)
        memory->generations[i].words = memory->words + i * slots;
    *ret_memory = fm_take(memory);
    return FM_OK;
}

struct sample_memory *sample_memory_free(struct sample_memory *memory)
{
    if (!memory)
        return NULL;
    free(memory->words);
    free(memory);
    return NULL;
}

/* Every bit of it depends on every bit of the key; different keys have different ones. */
static uint64_t memory_mix(const struct sample_memory *memory, uint64_t trace_key)
{
    uint64_t value = trace_key ^ memory->seed;
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* The trace's word, or the empty one where it belongs; a generation is never full. */
static uint64_t *memory_slot(const struct sample_memory *memory,
                             const struct memory_generation *generation, uint64_t mixed)
{
    uint64_t mask = memory->slot_count - 1;
    uint64_t at = mixed >> 2 & mask;

    while (generation->words[at] && ((generation->words[at] ^ mixed) & ~VERDICT_MASK) != 0)
        at = (at + 1) & mask;
    return &generation->words[at];
}

void sample_memory_age(struct sample_memory *memory)
{
    memory->youngest = (memory->youngest + 1) % MEMORY_GENERATIONS;
    struct memory_generation *generation = &memory->generations[memory->youngest];
    if (generation->count)
        memset(generation->words, 0, memory->slot_count * sizeof *generation->words);
    memory->forgotten += generation->count;
    generation->count = 0;
}

void sample_memory_put(struct sample_memory *memory, uint64_t trace_key,
                       enum sample_verdict verdict)
{
    uint64_t mixed = memory_mix(memory, trace_key);
    struct memory_generation *generation = &memory->generations[memory->youngest];
    uint64_t *word = memory_slot(memory, generation, mixed);

    if (!*word && generation->count == memory->count_max) {
        sample_memory_age(memory);
        generation = &memory->generations[memory->youngest];
        word = memory_slot(memory, generation, mixed);
    }
    generation->count += !*word;
    *word = (mixed & ~VERDICT_MASK) | (uint64_t)verdict;
}

enum sample_verdict sample_memory_find(const struct sample_memory *memory, uint64_t trace_key)
{
    uint64_t mixed = memory_mix(memory, trace_key);

    for (unsigned i = 0; i < MEMORY_GENERATIONS; i++) {
        unsigned index = (memory->youngest + MEMORY_GENERATIONS - i) % MEMORY_GENERATIONS;
        const struct memory_generation *generation = &memory->generations[index];
        uint64_t word = generation->count ? *memory_slot(memory, generation, mixed) : 0;
        if (word)
            return (enum sample_verdict)(word & VERDICT_MASK);
    }
    return SAMPLE_UNKNOWN;
}

struct sample_memory_stats sample_memory_stats(const struct sample_memory *memory)
{
    struct sample_memory_stats stats = {
        .room = memory->count_max * MEMORY_GENERATIONS,
        .forgotten = memory->forgotten,
        .bytes = memory->slot_count * MEMORY_GENERATIONS * sizeof *memory->words,
    };
    for (unsigned i = 0; i < MEMORY_GENERATIONS; i++)
        stats.traces += memory->generations[i].count;
    return stats;
}
