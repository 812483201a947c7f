/* SPDX-License-Identifier: Apache-2.0 */
/* Result codes, their texts, explanations for humans, and the panic of last resort. */
#include "fermata/base.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *text;
    bool retryable;
} errors[] = {
#define X(name, retryable, text) [FM_INDEX_##name] = {text, retryable},
    FM_ERRORS(X)
#undef X
};

const char *fm_rc_text(int rc)
{
    switch (rc) {
    case FM_OK:
        return "done";
    case FM_MORE:
        return "more input needed";
    case FM_END:
        return "end";
    case FM_NONE:
        return "none";
    }
    size_t index = (size_t)(-1 - rc);
    return rc < 0 && index < FM_COUNT(errors) ? errors[index].text : "unknown result";
}

bool fm_rc_retryable(int rc)
{
    size_t index = (size_t)(-1 - rc);
    return rc < 0 && index < FM_COUNT(errors) && errors[index].retryable;
}

int fm_fail(struct fm_why *why, int rc, const char *format, ...)
{
    if (why) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    return rc;
}

int fm_wrap(struct fm_why *why, int rc, const char *format, ...)
{
    if (why) {
        char inner[sizeof why->text];
        memcpy(inner, why->text, sizeof inner);
        va_list args;
        va_start(args, format);
        int len = vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
        if (len >= 0 && (size_t)len < sizeof why->text) {
            size_t left = sizeof why->text - (size_t)len;
            (void)snprintf(why->text + len, left, ": %.*s", (int)left, inner);
        }
    }
    return rc;
}

_Noreturn void fm_panic(const char *condition, const char *file, int line)
{
    char text[512];
    int len = snprintf(text, sizeof text, "fermata: invariant broken: %s at %s:%d\n", condition,
                       file, line);
    if (len > 0)
        (void)!write(STDERR_FILENO, text, FM_MIN((size_t)len, sizeof text - 1));
    void *frames[48];
    backtrace_symbols_fd(frames, backtrace(frames, FM_COUNT(frames)), STDERR_FILENO);
    abort();
}
