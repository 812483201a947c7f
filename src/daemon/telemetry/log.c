/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on stderr: one event, one line, one write(2).
 *
 * In a pipe or under systemd a line begins with the journald priority "<4>"; on a terminal with a
 * word.  Values are escaped so that a client's bytes can neither start a line nor reach the
 * terminal.  Repeats: at most LOG_PER_SECOND lines a second per event, counted beyond that.
 */
#include "fermata/telemetry.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"

#define LOG_LINE_MAX    1024
#define LOG_PER_SECOND  10
#define LOG_EVENT_SLOTS 64 /* events hash into slots; two in one slot share its rate */

static struct {
    enum log_level level;
    bool json;
    bool terminal;
    struct platform *clock; /* borrowed; NULL: no rate limit */
    pthread_mutex_t mutex;  /* guards slots */
    struct {
        uint64_t second;
        uint32_t count, suppressed;
    } slots[LOG_EVENT_SLOTS];
} logger = {.level = LOG_LEVEL_INFO, .mutex = PTHREAD_MUTEX_INITIALIZER};

static const struct {
    const char *word;
    enum log_level level;
} log_levels[] = {
    {"error", LOG_LEVEL_ERROR},
    {"warn", LOG_LEVEL_WARN},
    {"info", LOG_LEVEL_INFO},
    {"debug", LOG_LEVEL_DEBUG},
};

static const char *log_word(enum log_level level)
{
    for (size_t i = 0; i < FM_COUNT(log_levels); i++) {
        if (log_levels[i].level == level)
            return log_levels[i].word;
    }
    return "info";
}

int log_level_parse(struct fm_slice text, enum log_level *ret_level)
{
    for (size_t i = 0; i < FM_COUNT(log_levels); i++) {
        if (fm_slice_equal_text(text, log_levels[i].word)) {
            *ret_level = log_levels[i].level;
            return FM_OK;
        }
    }
    return FM_EMALFORMED;
}

void log_setup(enum log_level level, bool json, struct platform *clock)
{
    logger.level = level;
    logger.json = json;
    logger.clock = clock;
    logger.terminal = isatty(STDERR_FILENO) == 1;
}

/* Whether this line may be written, and how many of its event were left out before it. */
static bool log_admit(const char *event, uint32_t *ret_suppressed)
{
    *ret_suppressed = 0;
    if (!logger.clock)
        return true;
    uint64_t second = pf_now_ns(logger.clock) / UINT64_C(1000000000);
    size_t slot = fm_hash64(fm_slice_text(event), 0) % LOG_EVENT_SLOTS;
    bool admitted;
    pthread_mutex_lock(&logger.mutex);
    if (logger.slots[slot].second != second) {
        logger.slots[slot].second = second;
        logger.slots[slot].count = 0;
    }
    admitted = logger.slots[slot].count < LOG_PER_SECOND;
    if (admitted) {
        logger.slots[slot].count++;
        *ret_suppressed = logger.slots[slot].suppressed;
        logger.slots[slot].suppressed = 0;
    } else {
        logger.slots[slot].suppressed++;
    }
    pthread_mutex_unlock(&logger.mutex);
    return admitted;
}

/* Control characters and broken UTF-8 become '?', so that one event stays one harmless line. */
static void log_sanitize(char *text)
{
    struct fm_slice rest = fm_slice_text(text);
    for (size_t i = 0; i < rest.len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    }
    while (rest.len) {
        size_t valid = fm_utf8_valid_len(rest);
        if (valid == rest.len)
            return;
        text[rest.ptr - (const uint8_t *)text + (ptrdiff_t)valid] = '?';
        rest = fm_slice(rest.ptr + valid + 1, rest.len - valid - 1);
    }
}

static int log_put_json(char *line, enum log_level level, const char *event, const char *fields,
                        uint32_t suppressed)
{
    char escaped[LOG_LINE_MAX];
    size_t len = 0;
    for (const char *p = fields; *p && len + 2 < sizeof escaped; p++) {
        if (*p == '"' || *p == '\\')
            escaped[len++] = '\\';
        escaped[len++] = *p;
    }
    escaped[len] = '\0';
    return snprintf(line, LOG_LINE_MAX,
                    "{\"level\":\"%s\",\"event\":\"%s\",\"suppressed\":%u,\"fields\":\"%s\"}\n",
                    log_word(level), event, suppressed, escaped);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    uint32_t suppressed;
    if (level > logger.level || !log_admit(event, &suppressed))
        return;
    char fields[LOG_LINE_MAX - 160], line[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(fields, sizeof fields, format, args);
    va_end(args);
    log_sanitize(fields);

    int len;
    char note[48] = "";
    if (suppressed)
        (void)snprintf(note, sizeof note, " suppressed=%u", suppressed);
    if (logger.json)
        len = log_put_json(line, level, event, fields, suppressed);
    else if (logger.terminal)
        len = snprintf(line, sizeof line, "%-5s %s %s%s\n", log_word(level), event, fields, note);
    else
        len = snprintf(line, sizeof line, "<%d>level=%s event=%s %s%s\n", (int)level,
                       log_word(level), event, fields, note);
    if (len <= 0)
        return;
    size_t size = FM_MIN((size_t)len, sizeof line - 1);
    line[size - 1] = '\n';
    (void)!write(STDERR_FILENO, line, size); /* nobody is left to tell */
}
