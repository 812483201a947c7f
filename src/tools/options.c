/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the verbs: --name value, --name=value, -- ends them, -h is --help. */
#include "options.h"

#include <stdio.h>

#include "fermata/units.h"

int options_fail(const struct options *options, int exit, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "fermata %s: ", options->verb);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (exit == EXIT_WRONG_USAGE)
        fprintf(stderr, "try: fermata %.*s --help\n", (int)strcspn(options->verb, " "),
                options->verb);
    return exit;
}

static void options_help(const struct options *options)
{
    char left[80];

    printf("usage: fermata %s %s\n\n%s\n", options->verb, options->synopsis, options->summary);
    if (options->row_count)
        puts("\noptions:");
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option *row = &options->rows[i];
        (void)snprintf(left, sizeof left, "--%s%s%s", row->name, row->value ? " " : "",
                       row->value ? row->value : "");
        printf("  %-26s %s\n", left, row->help);
    }
    printf("\nexamples:\n%s", options->examples);
}

static const struct option *options_find(const struct options *options, const char *name,
                                         size_t len)
{
    for (size_t i = 0; i < options->row_count; i++) {
        if (strlen(options->rows[i].name) == len && memcmp(options->rows[i].name, name, len) == 0)
            return &options->rows[i];
    }
    return NULL;
}

/* The only option that begins with what was typed, to suggest it. */
static const char *options_guess(const struct options *options, const char *name, size_t len)
{
    const char *guess = NULL;

    for (size_t i = 0; i < options->row_count; i++) {
        size_t same = 0;
        while (same < len && options->rows[i].name[same] == name[same])
            same++;
        if (same < 2 || same + 2 < len)
            continue;
        if (guess)
            return NULL;
        guess = options->rows[i].name;
    }
    return guess;
}

static bool option_set_choice(const struct option *row, const char *value)
{
    for (unsigned i = 0; row->words[i]; i++) {
        if (strcmp(row->words[i], value) == 0) {
            *(unsigned *)row->target = i;
            return true;
        }
    }
    return false;
}

static bool option_set(const struct option *row, const char *value)
{
    struct option_list *list = row->target;

    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)row->target = true;
        return true;
    case OPTION_TEXT:
        *(const char **)row->target = value;
        return true;
    case OPTION_MANY:
        if (list->count == OPTION_LIST_MAX)
            return false;
        list->items[list->count++] = value;
        return true;
    case OPTION_UINT:
        return fm_u64_parse(fm_slice_text(value), row->target) == FM_OK;
    case OPTION_DURATION:
        return fm_duration_parse(fm_slice_text(value), row->target) == FM_OK;
    case OPTION_CHOICE:
        break;
    }
    return option_set_choice(row, value);
}

static int option_bad_value(const struct options *options, const struct option *row,
                            const char *value)
{
    static const char *const forms[] = {
        [OPTION_MANY] = "at most 32 times",
        [OPTION_UINT] = "a whole number",
        [OPTION_DURATION] = "a time like 250ms, 10s, 15m",
    };
    char text[160] = "";
    size_t len = 0;

    if (row->type != OPTION_CHOICE)
        return options_fail(options, EXIT_WRONG_USAGE, "--%s %s: accepted is %s", row->name, value,
                            forms[row->type]);
    for (size_t i = 0; row->words[i] && len < sizeof text; i++) {
        int got = snprintf(text + len, sizeof text - len, i ? ", %s" : "%s", row->words[i]);
        len += got > 0 ? (size_t)got : 0;
    }
    return options_fail(options, EXIT_WRONG_USAGE, "--%s %s: accepted is one of %s", row->name,
                        value, text);
}

/* Handles argv[*at], which is an option; *at moves on if it takes the next word.  0 or an exit. */
static int options_take(const struct options *options, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *row = options_find(options, name, len);
    const char *value = equals ? equals + 1 : NULL;

    if (!row) {
        const char *guess = options_guess(options, name, len);
        return options_fail(options, EXIT_WRONG_USAGE, "unknown option --%.*s%s%s%s", (int)len,
                            name, guess ? "; did you mean --" : "", guess ? guess : "",
                            guess ? "?" : "");
    }
    if (row->type == OPTION_FLAG && value)
        return options_fail(options, EXIT_WRONG_USAGE, "--%s takes no value", row->name);
    if (row->type != OPTION_FLAG && !value) {
        if (*at + 1 >= argc)
            return options_fail(options, EXIT_WRONG_USAGE, "--%s needs a value: %s", row->name,
                                row->value);
        value = argv[++*at];
    }
    return option_set(row, value) ? 0 : option_bad_value(options, row, value);
}

bool options_parse(const struct options *options, int argc, char **argv, const char **words,
                   int *ret_exit)
{
    size_t word_count = 0;
    bool only_words = false;

    for (int i = 1; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (is_option && (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)) {
            options_help(options);
            return *ret_exit = EXIT_DONE, false;
        } else if (is_option && argv[i][1] != '-') {
            *ret_exit = options_fail(options, EXIT_WRONG_USAGE, "unknown option %s", argv[i]);
            return false;
        } else if (is_option) {
            *ret_exit = options_take(options, argc, argv, &i);
            if (*ret_exit != 0)
                return false;
        } else if (word_count == options->word_max) {
            *ret_exit = options_fail(options, EXIT_WRONG_USAGE, "one word too many: %s", argv[i]);
            return false;
        } else {
            words[word_count++] = argv[i];
        }
    }
    if (word_count < options->word_min) {
        *ret_exit =
            options_fail(options, EXIT_WRONG_USAGE, "something is missing: %s", options->synopsis);
        return false;
    }
    return true;
}

bool option_time(const char *text, uint64_t *ret_ns)
{
    struct fm_slice whole = fm_slice(text, strcspn(text, "."));
    const char *fraction = text + whole.len;
    uint64_t s, ns = 0;

    if (fm_rfc3339_parse(fm_slice_text(text), ret_ns) == FM_OK)
        return true;
    if (fm_u64_parse(whole, &s) < 0 || s > UINT64_MAX / FM_NS_PER_S - 1)
        return false;
    uint64_t unit = FM_NS_PER_S / 10;
    for (fraction += *fraction == '.'; *fraction; fraction++, unit /= 10) {
        if (*fraction < '0' || *fraction > '9')
            return false;
        ns += (uint64_t)(*fraction - '0') * unit;
    }
    *ret_ns = s * FM_NS_PER_S + ns;
    return true;
}
